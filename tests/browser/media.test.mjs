// What the media of real browsers does beside flowing: ICE restarts, statistics, who speaks.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Ringcast, sleep, slower, until } from '../lib/ringcast.mjs';
import { openBrowser, Person } from './person.mjs';

let ringcast;
const browsers = [];
const people = [];

before(async () => {
  ringcast = await Ringcast.start({ MEDIASOUP_NUM_WORKERS: '2', RINGCAST_ROOM_TOGETHER: '0' });
  let code;
  for (const name of ['Ada', 'Grace']) {
    const browser = await openBrowser();
    browsers.push(browser);
    const person = await Person.open(browser, ringcast, name);
    await person.signUp();
    if (code) await person.join(code);
    else code = await person.create('Media');
    person.id = await person.page.evaluate(() => JSON.parse(sessionStorage['ringcast-session']).user.id);
    await person.page.evaluate(() => {
      window.told = [];
      window.ringcast.socket.onAny((name, value) => window.told.push({ name, value, at: performance.now() }));
    });
    people.push(person);
  }
  for (const person of people) await person.sees(1);
});

after(async () => {
  await Promise.all(browsers.map((browser) => browser.close()));
  await ringcast?.stop();
});

const request = (person, event, payload) => person.page.evaluate(
  ([name, value]) => window.ringcast.request(name, value), [event, payload]);
// Notices of this name since the last time.
const told = (person, name) => person.page.evaluate((wanted) => {
  const found = window.told.filter((notice) => notice.name === wanted);
  window.told = window.told.filter((notice) => notice.name !== wanted);
  return found;
}, name);

test('ICE restarts with stock mediasoup-client: media goes on, nothing is lost', async () => {
  const before = await Promise.all(people.map((p) => p.media()));
  for (let round = 1; round <= 2; round++) {
    for (const person of people) {
      const states = await person.page.evaluate(async () => {
        const seen = [];
        for (const transport of [window.ringcast.sendTransport, window.ringcast.recvTransport]) {
          transport.on('connectionstatechange', (state) => seen.push(state));
          const { iceParameters } = await window.ringcast.request('media:restartIce', { transportId: transport.id });
          await transport.restartIce({ iceParameters });
        }
        return seen;
      });
      assert.ok(!states.includes('failed'), states.join(' '));
    }
    await until(async () => (await ringcast.counters()).counters.ice_restarts === 4 * round, 5000,
      'checks with the new credentials came for all four transports');
    await sleep(1500);
  }
  const later = await Promise.all(people.map((p) => p.media()));
  later.forEach((media, i) => media.forEach((m, k) => {
    const was = before[i][k];
    assert.ok(m.packetsReceived - was.packetsReceived > 60, `${people[i].name}: ${m.kind} went on`);
    assert.equal(m.packetsLost - was.packetsLost, 0, `${people[i].name}: ${m.kind} lost`);
  }));
  for (const row of await ringcast.rows('transport_state')) {
    assert.equal(row.ice_state, 'completed');
    assert.equal(row.dtls_state, 'connected');
  }
  const { verdicts } = await ringcast.counters();
  assert.equal(verdicts.drop_stun_unauthentic ?? 0, 0);
  assert.equal((await request(people[0], 'media:restartIce', { transportId: 'x' }).catch((e) => e.message)).includes('no such transport'), true);
});

test('media flows through the grace time: nothing is lost while the signaling is away', async () => {
  const [ada, grace] = people;
  const before = await Promise.all(people.map((p) => p.media()));
  const rows = (await ringcast.rows('transport')).map((row) => row.index);
  await ada.page.evaluate(() => { window.ringcast.socket.io.reconnection(false); window.ringcast.socket.io.engine.close(); });
  await sleep(1200); // of the 2 s that these tests give
  await ada.page.evaluate(() => { window.ringcast.socket.io.reconnection(true); window.ringcast.socket.connect(); });
  await ada.page.waitForFunction(() => window.ringcast.socket.connected, null, { timeout: 5000 });
  await sleep(2500); // past the end of the grace time
  const later = await Promise.all(people.map((p) => p.media()));
  later.forEach((media, i) => media.forEach((m, k) => {
    const was = before[i][k];
    assert.ok(m.packetsReceived - was.packetsReceived > 60, `${people[i].name}: ${m.kind} went on`);
    assert.equal(m.packetsLost - was.packetsLost, 0, `${people[i].name}: ${m.kind} lost`);
  }));
  assert.deepEqual((await ringcast.rows('transport')).map((row) => row.index), rows, 'the same transports');
  assert.deepEqual(await told(grace, 'room:userLeft'), []);
});

test('statistics agree with what the browser counts', async () => {
  const [ada] = people;
  // Chromium reports on audio every 5 s; from then on the round trip is known.
  await until(() => ada.page.evaluate(async () => {
    for (const id of window.ringcast.consumers.keys())
      if (!(await window.ringcast.request('media:getStats', { consumerId: id }))[0].roundTripTime) return false;
    return true;
  }), 15000, 'round trips of all consumers');
  const both = await ada.page.evaluate(async () => {
    const call = window.ringcast;
    const ask = (payload) => call.request('media:getStats', payload);
    const own = async (source) => [...(await source.getStats()).values()];
    const result = { producers: [], consumers: [] };
    for (const producer of call.producers.values())
      result.producers.push({ kind: producer.kind, theirs: await ask({ producerId: producer.id }),
        ours: (await own(producer)).find((row) => row.type === 'outbound-rtp') });
    for (const { consumer } of call.consumers.values())
      result.consumers.push({ kind: consumer.kind, ssrc: consumer.rtpParameters.encodings[0].ssrc,
        theirs: await ask({ consumerId: consumer.id }),
        ours: (await own(consumer)).find((row) => row.type === 'inbound-rtp') });
    result.send = (await ask({ transportId: call.sendTransport.id }))[0];
    result.recv = (await ask({ transportId: call.recvTransport.id }))[0];
    return result;
  });
  const near = (a, b, share, least, what) => assert.ok(Math.abs(a - b) <= Math.max(share * b, least), `${what}: ${a}, the browser says ${b}`);
  for (const { kind, theirs, ours } of both.producers) {
    assert.equal(theirs.length, 1);
    assert.equal(theirs[0].type, 'inbound-rtp');
    assert.equal(theirs[0].kind, kind);
    assert.equal(theirs[0].ssrc, ours.ssrc);
    assert.match(theirs[0].mimeType, kind === 'audio' ? /^audio\/opus$/i : /^video\//);
    near(theirs[0].packetCount, ours.packetsSent, 0.1, 40, `${kind} packets sent`);
    assert.ok(theirs[0].bitrate > (kind === 'audio' ? 1000 : 20000), `${kind} ${theirs[0].bitrate} bit/s`);
    assert.equal(theirs[0].packetsLost, 0);
    for (const field of ['byteCount', 'fractionLost', 'jitter', 'pliCount', 'packetsRetransmitted', 'timestamp'])
      assert.equal(typeof theirs[0][field], 'number', field);
    for (const field of ['score', 'roundTripTime', 'firCount']) // nobody counts these for publishers
      assert.equal(theirs[0][field], undefined, field);
  }
  for (const { kind, ssrc, theirs, ours } of both.consumers) {
    assert.deepEqual(theirs.map((row) => row.type), ['outbound-rtp', 'inbound-rtp']);
    assert.equal(theirs[0].ssrc, ssrc);
    assert.equal(theirs[0].ssrc, ours.ssrc);
    near(theirs[0].packetCount, ours.packetsReceived, 0.1, 40, `${kind} packets received`);
    assert.ok(theirs[0].bitrate > (kind === 'audio' ? 1000 : 20000), `${kind} ${theirs[0].bitrate} bit/s`);
    assert.equal(theirs[0].packetsLost, 0);
    assert.ok(theirs[0].roundTripTime > 0 && theirs[0].roundTripTime < 1000 * slower, `round trip ${theirs[0].roundTripTime}`);
  }
  for (const [row, received, sent] of [[both.send, 10000, 100], [both.recv, 100, 10000]]) {
    assert.equal(row.type, 'webrtc-transport');
    assert.equal(row.iceState, 'completed');
    assert.equal(row.dtlsState, 'connected');
    assert.equal(row.iceSelectedTuple.protocol, 'udp');
    assert.ok(row.recvBitrate > received && row.sendBitrate > sent, JSON.stringify(row));
    assert.ok(row.bytesReceived > 0 && row.bytesSent > 0);
  }
  assert.ok(both.send.rtpRecvBitrate > 20000 && both.send.rtpSendBitrate === 0);
  assert.ok(both.recv.rtpSendBitrate > 20000 && both.recv.rtpRecvBitrate === 0);
});

// The microphone becomes a tone of ours, whose loudness we hold in our hands.
const takeMicrophone = (person) => person.page.evaluate(async () => {
  const context = new AudioContext();
  const tone = new OscillatorNode(context, { frequency: 440 });
  window.loudness = new GainNode(context, { gain: 0.0005 });
  const out = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
  tone.connect(window.loudness).connect(out);
  tone.start();
  await context.resume();
  await window.ringcast.producers.get('microphone').replaceTrack({ track: out.stream.getAudioTracks()[0] });
});
const speak = (person, gain) => person.page.evaluate((value) => { window.loudness.gain.value = value; }, gain);
const QUIET = 0.0005, LOUD = 0.3;

test('who speaks: media:activeSpeaker and media:audioLevels', async () => {
  const [ada, grace] = people;
  for (const person of people) await takeMicrophone(person);
  await request(ada, 'room:join', { roomId: await ada.page.evaluate(() => window.ringcast.roomId), audioLevels: true });
  await speak(ada, LOUD); // the beeps of Chromium's fake device may have given her the word already
  await sleep(2500);
  for (const person of people) await told(person, 'media:activeSpeaker');

  const takesWord = async (speaker, others) => {
    const began = performance.now();
    for (const other of others) await speak(other, QUIET);
    await speak(speaker, LOUD);
    let notices = [];
    await until(async () => (notices = notices.concat(await told(ada, 'media:activeSpeaker'))).length, 4000, `${speaker.name} has the word`);
    console.log(`# ${speaker.name} has the word after ${Math.round(performance.now() - began)} ms`);
    assert.ok(performance.now() - began < 1800 * slower);
    assert.equal(notices.length, 1);
    assert.equal(notices[0].value.userId, speaker.id);
    assert.equal(notices[0].value.producerId, await speaker.page.evaluate(() => window.ringcast.producers.get('microphone').id));
  };
  await takesWord(grace, [ada]);
  await sleep(1500);
  await takesWord(ada, [grace]);
  await sleep(1500);

  // A bang of 100 ms takes the word from nobody, though there is silence now.
  await speak(ada, QUIET);
  await sleep(1500);
  await speak(grace, 0.9);
  await sleep(100);
  await speak(grace, QUIET);
  await sleep(1500);
  assert.deepEqual(await told(ada, 'media:activeSpeaker'), []);

  // Volumes: to Ada, who asked, every 500 ms at most.
  await told(ada, 'media:audioLevels');
  await speak(grace, LOUD);
  await sleep(2600);
  const levels = await told(ada, 'media:audioLevels');
  assert.ok(levels.length >= 3 && levels.length <= 6, `${levels.length} in 2.6 s`);
  const last = levels.at(-1).value.volumes[0];
  assert.equal(last.userId, grace.id);
  assert.ok(last.volume > -25 && last.volume < -6, `${last.volume} dBov`); // a sine of 0.3: -13.5
  assert.deepEqual(await told(grace, 'media:audioLevels'), []);

  // Muted by its owner, it is told of no more.
  await request(grace, 'media:pauseProducer', { producerId: await grace.page.evaluate(() => window.ringcast.producers.get('microphone').id) });
  await sleep(1200);
  await told(ada, 'media:audioLevels');
  await sleep(1200);
  assert.ok((await told(ada, 'media:audioLevels')).every(({ value }) => value.volumes.every((v) => v.userId !== grace.id)));
  assert.deepEqual(people.flatMap((p) => p.problems), [], 'no errors in any console');
});

test('transport states are told as they change', async () => {
  const [ada, grace] = people;
  await told(ada, 'media:transportState');
  const id = await ada.page.evaluate(async () => {
    const { id: transportId } = await window.ringcast.request('media:createTransport', { roomId: window.ringcast.roomId, direction: 'send' });
    return transportId;
  });
  assert.deepEqual(await told(ada, 'media:transportState'), []);
  await request(ada, 'media:closeTransport', { transportId: id });
  // The other one's browser goes: its transports lose their consent no sooner than its seat.
  await grace.page.evaluate(() => { window.ringcast.recvTransport.close(); });
  await until(async () => (await told(grace, 'media:transportState')).some(({ value }) => value.dtlsState === 'closed'), 5000,
    'a transport that the client closed is told of as closed');
});
