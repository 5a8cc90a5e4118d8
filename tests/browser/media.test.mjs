// Real browsers: ICE restarts, lost signaling, statistics, who speaks, states of transports.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Ringcast, sleep, slower, until } from '../lib/ringcast.mjs';
import { openBrowser, Person } from './person.mjs';

// Longer than a browser on a busy machine needs to connect again.
const graceMs = Math.min(5000 * slower, 15000);

let ringcast;
const browsers = [];
const people = [];

before(async () => {
  ringcast = await Ringcast.start({ MEDIASOUP_NUM_WORKERS: '2', RINGCAST_ROOM_TOGETHER: '0', RECONNECT_GRACE: String(graceMs / 1000) });
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
      window.notices = [];
      window.ringcast.socket.onAny((name, value) => window.notices.push({ name, value, at: performance.now() }));
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
// The notices of this name that the page has received since the last call.
const newNotices = (person, name) => person.page.evaluate((wanted) => {
  const found = window.notices.filter((notice) => notice.name === wanted);
  window.notices = window.notices.filter((notice) => notice.name !== wanted);
  return found;
}, name);

test('ICE restarts of mediasoup-client lose no packet', async () => {
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
      'checks with the new credentials have arrived for all four transports');
    await sleep(1500);
  }
  const later = await Promise.all(people.map((p) => p.media()));
  later.forEach((media, i) => media.forEach((m, k) => {
    const was = before[i][k];
    assert.ok(m.packetsReceived - was.packetsReceived > 60, `${people[i].name}: ${m.kind} has stopped`);
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

test('no packet is lost while the signaling connection is lost for less than the grace time', async () => {
  const [ada, grace] = people;
  const before = await Promise.all(people.map((p) => p.media()));
  const rows = (await ringcast.rows('transport')).map((row) => row.index);
  await ada.page.evaluate(() => { window.ringcast.socket.io.reconnection(false); window.ringcast.socket.io.engine.close(); });
  await sleep(1200);
  await ada.page.evaluate(() => { window.ringcast.socket.io.reconnection(true); window.ringcast.socket.connect(); });
  await ada.page.waitForFunction(() => window.ringcast.socket.connected);
  await sleep(graceMs + 500);
  const later = await Promise.all(people.map((p) => p.media()));
  later.forEach((media, i) => media.forEach((m, k) => {
    const was = before[i][k];
    assert.ok(m.packetsReceived - was.packetsReceived > 60, `${people[i].name}: ${m.kind} has stopped`);
    assert.equal(m.packetsLost - was.packetsLost, 0, `${people[i].name}: ${m.kind} lost`);
  }));
  assert.deepEqual((await ringcast.rows('transport')).map((row) => row.index), rows, 'the same transports');
  assert.deepEqual(await newNotices(grace, 'room:userLeft'), []);
});

test('our statistics agree with those of the browser', async () => {
  const [ada] = people;
  // Chromium sends reports about audio every 5 s. Until then the round trip is not known.
  await until(() => ada.page.evaluate(async () => {
    for (const id of window.ringcast.consumers.keys())
      if (!(await window.ringcast.request('media:getStats', { consumerId: id }))[0].roundTripTime) return false;
    for (const producer of window.ringcast.producers.values()) // Chromium answers the clock in our reports
      if (!(await window.ringcast.request('media:getStats', { producerId: producer.id }))[0].roundTripTime) return false;
    return true;
  }), 15000, 'round trips of all producers and consumers');
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
  const near = (a, b, share, least, what) => assert.ok(Math.abs(a - b) <= Math.max(share * b, least), `${what}: ${a}; the browser counts ${b}`);
  for (const { kind, theirs, ours } of both.producers) {
    assert.equal(theirs.length, 1);
    assert.equal(theirs[0].type, 'inbound-rtp');
    assert.equal(theirs[0].kind, kind);
    assert.equal(theirs[0].ssrc, ours.ssrc);
    assert.match(theirs[0].mimeType, kind === 'audio' ? /^audio\/opus$/i : /^video\//);
    near(theirs[0].packetCount, ours.packetsSent, 0.1, 40, `${kind} packets sent`);
    assert.ok(theirs[0].bitrate > (kind === 'audio' ? 1000 : 20000), `${kind} ${theirs[0].bitrate} bit/s`);
    assert.equal(theirs[0].packetsLost, 0);
    for (const field of ['byteCount', 'fractionLost', 'jitter', 'pliCount', 'firCount', 'packetsRetransmitted', 'packetsRepaired',
      'packetsDiscarded', 'timestamp'])
      assert.equal(typeof theirs[0][field], 'number', field);
    assert.equal(theirs[0].score, 10);
    assert.equal(typeof theirs[0].bitrateByLayer, 'object');
    assert.ok(theirs[0].roundTripTime > 0 && theirs[0].roundTripTime < 1000 * slower, `round trip ${theirs[0].roundTripTime}`);
  }
  for (const { kind, ssrc, theirs, ours } of both.consumers) {
    assert.deepEqual(theirs.map((row) => row.type), ['outbound-rtp', 'inbound-rtp']);
    assert.equal(theirs[0].ssrc, ssrc);
    assert.equal(theirs[0].ssrc, ours.ssrc);
    near(theirs[0].packetCount, ours.packetsReceived, 0.1, 40, `${kind} packets received`);
    assert.ok(theirs[0].bitrate > (kind === 'audio' ? 1000 : 20000), `${kind} ${theirs[0].bitrate} bit/s`);
    assert.equal(theirs[0].packetsLost, 0);
    assert.equal(theirs[0].score, 10);
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

// Two encodings of a moving picture; the page of the other one receives it as a screen.
const publishLayers = (person) => person.page.evaluate(async () => {
  const canvas = document.createElement('canvas');
  Object.assign(canvas, { width: 640, height: 360 });
  const context = canvas.getContext('2d');
  let n = 0;
  window.painting = setInterval(() => {
    context.fillStyle = `hsl(${n * 7 % 360} 80% 50%)`;
    context.fillRect(n * 13 % 600, n * 7 % 320, 40, 40);
    n++;
  }, 60);
  window.layered = await window.ringcast.sendTransport.produce({
    track: window.painted = canvas.captureStream(15).getVideoTracks()[0],
    encodings: [{ rid: 'r0', scaleResolutionDownBy: 2, maxBitrate: 80000, scalabilityMode: 'L1T3' },
      { rid: 'r1', scaleResolutionDownBy: 1, maxBitrate: 200000, scalabilityMode: 'L1T3' }],
    stopTracks: false,
    codec: window.ringcast.device.rtpCapabilities?.codecs.find((codec) => codec.mimeType === 'video/VP8'),
    appData: { source: 'screen' },
  });
  return window.layered.id;
});

// What the browser shows of the layered producer.
const shown = (person, producerId) => person.page.evaluate(async (id) => {
  for (const { consumer } of window.ringcast.consumers.values())
    if (consumer.producerId === id)
      for (const row of (await consumer.getStats()).values())
        if (row.type === 'inbound-rtp')
          return { consumerId: consumer.id, height: row.frameHeight, packets: row.packetsReceived,
            bytes: row.bytesReceived + row.headerBytesReceived };
  return {};
}, producerId);

// The publisher stops for a moment, so that both sides have counted the same. { what: [ours, the browser's] }
async function countedAlone(publisher, viewer, producerId, consumerId) {
  await publisher.page.evaluate(() => window.layered.replaceTrack({ track: null }));
  await sleep(2500); // the data plane publishes every 500 ms
  const counts = {};
  const inbound = await request(publisher, 'media:getStats', { producerId });
  for (const row of await publisher.page.evaluate(async () => [...(await window.layered.getStats()).values()].filter(({ type }) => type === 'outbound-rtp'))) {
    const { packetCount, byteCount } = inbound.find(({ rid }) => rid === row.rid);
    counts[`packets of ${row.rid}`] = [packetCount, row.packetsSent - row.retransmittedPacketsSent];
    counts[`bytes of ${row.rid}`] = [byteCount, row.bytesSent + row.headerBytesSent - row.retransmittedBytesSent];
  }
  const received = await shown(viewer, producerId), [outbound] = await request(viewer, 'media:getStats', { consumerId });
  counts['packets of the consumer'] = [outbound.packetCount, received.packets];
  counts['bytes of the consumer'] = [outbound.byteCount, received.bytes];
  return counts;
}

test('preferred layers are shown, and told with media:layersChanged and media:score', async () => {
  const [ada, grace] = people;
  for (const person of people) for (const name of ['media:layersChanged', 'media:score']) await newNotices(person, name);
  const producerId = await publishLayers(ada);
  let consumerId;
  await until(async () => ({ consumerId } = await shown(grace, producerId)).consumerId, 30000 * slower, 'Grace consumes it');
  await until(async () => (await shown(grace, producerId)).height === 360, 60000 * slower, 'the best layer comes');

  const layers = [];
  const lastLayers = async () => {
    layers.push(...(await newNotices(grace, 'media:layersChanged')).map(({ value }) => value).filter((value) => value.consumerId === consumerId));
    return layers.at(-1)?.layers;
  };
  await until(async () => (await lastLayers())?.spatialLayer === 1, 10000 * slower, 'layersChanged: the best layer');
  for (const [wanted, height, answer] of [[{ spatialLayer: 0, temporalLayer: 0 }, 180, { spatialLayer: 0, temporalLayer: 0 }],
    [{ spatialLayer: 7 }, 360, { spatialLayer: 1, temporalLayer: 2 }]]) {
    const asked = await request(grace, 'media:setPreferredLayers', { consumerId, ...wanted });
    assert.deepEqual(asked, { preferredLayers: answer });
    await until(async () => (await shown(grace, producerId)).height === height, 30000 * slower, `height ${height}`);
    await until(async () => (await lastLayers())?.spatialLayer === answer.spatialLayer, 10000 * slower, 'layersChanged');
  }
  assert.deepEqual(await request(grace, 'media:setPriority', { consumerId, priority: 200 }), { priority: 200 });
  for (const [event, members] of [['media:setPreferredLayers', { spatialLayer: '1' }], ['media:setPriority', { priority: 0 }]])
    assert.match(await request(grace, event, { consumerId, ...members }).then(JSON.stringify, (error) => error.message),
      /does not understand/); // the page's sentence for invalid_payload
  assert.equal(await request(ada, 'media:setPriority', { consumerId, priority: 2 }).then(() => 'allowed', () => 'refused'), 'refused');

  let scores = [];
  await until(async () => {
    scores = scores.concat((await newNotices(ada, 'media:score')).map(({ value }) => value));
    return scores.filter((value) => value.producerId === producerId).at(-1)?.score.length === 2;
  }, 10000 * slower, 'scores of both encodings');
  const { score } = scores.filter((value) => value.producerId === producerId).at(-1);
  assert.deepEqual(score.map(({ encodingIdx, rid }) => [encodingIdx, rid]), [[0, 'r0'], [1, 'r1']]);
  for (const one of score) assert.ok(one.ssrc > 0 && one.score > 0 && one.score <= 10, JSON.stringify(one));
  const ofConsumer = (await newNotices(grace, 'media:score')).map(({ value }) => value).filter((value) => value.consumerId === consumerId).at(-1);
  assert.equal(ofConsumer.score.producerScores.length, 2);
  assert.ok(ofConsumer.score.score > 0 && ofConsumer.score.producerScore > 0, JSON.stringify(ofConsumer));

  const before = await countedAlone(ada, grace, producerId, consumerId);
  await ada.page.evaluate(() => window.layered.replaceTrack({ track: window.painted }));
  await sleep(5000);
  const after = await countedAlone(ada, grace, producerId, consumerId);
  for (const name of Object.keys(after)) {
    const [a, b] = after[name].map((count, i) => count - before[name][i]);
    console.log(`# ${name}: ${a}, the browser ${b}`);
    assert.ok(b > 20 && Math.abs(a - b) <= 0.01 * b, `${name}: ${a}; the browser counts ${b}`);
  }
  const [row] = await request(ada, 'media:getStats', { producerId });
  assert.deepEqual(Object.keys(row.bitrateByLayer), ['0.0', '0.1', '0.2']);
  await until(async () => (await newNotices(ada, 'media:score')).map(({ value }) => value)
    .some((value) => value.producerId === producerId && value.score.every((one) => one.score === 0)), 10000 * slower, 'a silent producer has score 0');
  await ada.page.evaluate(() => {
    clearInterval(window.painting);
    window.layered.close();
  });
  await request(ada, 'media:closeProducer', { producerId });
});

// Replaces the microphone by a tone. setLoudness() sets how loud it is, from now on or for a time.
const useTone = (person) => person.page.evaluate(async () => {
  const context = new AudioContext();
  const tone = new OscillatorNode(context, { frequency: 440 });
  window.loudness = new GainNode(context, { gain: 0.0005 });
  window.toneContext = context;
  const out = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
  tone.connect(window.loudness).connect(out);
  tone.start();
  await context.resume();
  await window.ringcast.producers.get('microphone').replaceTrack({ track: out.stream.getAudioTracks()[0] });
});
const setLoudness = (person, gain) => person.page.evaluate((value) => { window.loudness.gain.value = value; }, gain);
const loudFor = (person, seconds, gain, after) => person.page.evaluate(([duration, value, later]) => {
  const now = window.toneContext.currentTime + 0.05;
  window.loudness.gain.setValueAtTime(value, now);
  window.loudness.gain.setValueAtTime(later, now + duration);
}, [seconds, gain, after]);
const QUIET = 0.0005, LOUD = 0.3;

test('media:activeSpeaker names who speaks, media:audioLevels says how loud', async () => {
  const [ada, grace] = people;
  for (const person of people) await useTone(person);
  await request(ada, 'room:join', { roomId: await ada.page.evaluate(() => window.ringcast.roomId), audioLevels: true });
  await setLoudness(ada, LOUD); // she may be the active speaker already, by the beeps of the fake microphone
  await sleep(2500);
  for (const person of people) await newNotices(person, 'media:activeSpeaker');

  const becomesActive = async (speaker, others) => {
    const began = performance.now();
    for (const other of others) await setLoudness(other, QUIET);
    await setLoudness(speaker, LOUD);
    let notices = [];
    await until(async () => (notices = notices.concat(await newNotices(ada, 'media:activeSpeaker'))).length, 4000,
      `${speaker.name} is the active speaker`);
    const tookMs = Math.round(performance.now() - began);
    console.log(`# ${speaker.name} is the active speaker after ${tookMs} ms`);
    assert.ok(tookMs < 5000 * slower, `${tookMs} ms`); // about 1 s on a quiet machine
    assert.equal(notices.length, 1);
    assert.equal(notices[0].value.userId, speaker.id);
    assert.equal(notices[0].value.producerId, await speaker.page.evaluate(() => window.ringcast.producers.get('microphone').id));
  };
  await becomesActive(grace, [ada]);
  await sleep(1500);
  await becomesActive(ada, [grace]);
  await sleep(1500);

  // Nobody speaks. A noise of 100 ms does not make Grace the active speaker.
  await setLoudness(ada, QUIET);
  await sleep(1500);
  await loudFor(grace, 0.1, 0.9, QUIET);
  await sleep(1500);
  assert.deepEqual(await newNotices(ada, 'media:activeSpeaker'), []);

  // Only Ada has asked for volumes. She gets them at most every 500 ms.
  await newNotices(ada, 'media:audioLevels');
  const beganMs = performance.now();
  await setLoudness(grace, LOUD);
  await sleep(2600);
  const levels = await newNotices(ada, 'media:audioLevels');
  const elapsedMs = performance.now() - beganMs;
  assert.ok(levels.length >= 3 && levels.length <= elapsedMs / 500 + 1, `${levels.length} in ${elapsedMs} ms`);
  const last = levels.at(-1).value.volumes[0];
  assert.equal(last.userId, grace.id);
  assert.ok(last.volume > -25 && last.volume < -6, `${last.volume} dBov`); // a sine with an amplitude of 0.3 has -13.5
  assert.deepEqual(await newNotices(grace, 'media:audioLevels'), []);

  // Grace mutes herself, and her volume is no longer announced.
  await request(grace, 'media:pauseProducer', { producerId: await grace.page.evaluate(() => window.ringcast.producers.get('microphone').id) });
  await sleep(1200);
  await newNotices(ada, 'media:audioLevels');
  await sleep(1200);
  assert.ok((await newNotices(ada, 'media:audioLevels')).every(({ value }) => value.volumes.every((v) => v.userId !== grace.id)));
  assert.deepEqual(people.flatMap((p) => p.problems), [], 'no browser has written an error to its console');
});

test('media:transportState announces each change of a transport', async () => {
  const [ada, grace] = people;
  await newNotices(ada, 'media:transportState');
  const id = await ada.page.evaluate(async () => {
    const { id: transportId } = await window.ringcast.request('media:createTransport', { roomId: window.ringcast.roomId, direction: 'send' });
    return transportId;
  });
  assert.deepEqual(await newNotices(ada, 'media:transportState'), []);
  await request(ada, 'media:closeTransport', { transportId: id });
  await grace.page.evaluate(() => { window.ringcast.recvTransport.close(); });
  await until(async () => (await newNotices(grace, 'media:transportState')).some(({ value }) => value.dtlsState === 'closed'), 5000,
    'the transport that the client has closed is announced as closed');
});
