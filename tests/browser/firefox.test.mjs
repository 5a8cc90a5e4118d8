// Firefox holds a call with Chromium. It uses no loopback address for media, so the network namespace of
// this test gets an interface of its own.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { Ringcast, sleep, until } from '../lib/ringcast.mjs';
import { Firefox } from './firefox.mjs';
import { openBrowser, Person } from './person.mjs';

const SFU = '10.98.0.1';
let ringcast, fox, ada; // fox uses Firefox, ada Chromium
const browsers = [];

function addInterface() {
  const ip = (...words) => execFileSync('ip', words, { encoding: 'utf8' });
  const names = JSON.parse(ip('-json', 'link')).map(({ ifname }) => ifname);
  assert.deepEqual(names.filter((name) => !/^(lo|tunl0|sit0|gre0|erspan0|gretap0|ip\w+)$/.test(name)), [],
    'this test may change only a network namespace of its own');
  ip('link', 'add', 'media0', 'type', 'veth', 'peer', 'name', 'media1');
  for (const name of ['media0', 'media1']) ip('link', 'set', name, 'up');
  ip('address', 'add', `${SFU}/24`, 'dev', 'media0');
  ip('route', 'add', 'default', 'dev', 'media0'); // Firefox asks the routing table for its own address
}

before(async () => {
  addInterface();
  ringcast = await Ringcast.start({ MEDIASOUP_ANNOUNCED_IP: SFU });
  browsers.push(await Firefox.launch());
  browsers.push(await openBrowser());
  console.log(`# Firefox ${browsers[0].capabilities.browserVersion}, Chromium ${browsers[1].version()}`);
  fox = await Person.open(browsers[0], ringcast, 'Fox');
  ada = await Person.open(browsers[1], ringcast, 'Ada');
  for (const person of [fox, ada]) await person.signUp();
  await ada.join(await fox.create('Two browsers'));
  for (const person of [fox, ada])
    person.id = await person.page.evaluate(() => JSON.parse(sessionStorage['ringcast-session']).user.id);
});

after(async () => {
  await Promise.all(browsers.map((browser) => browser.close()));
  await ringcast?.stop();
});

// The statistics of what this person receives of one kind, with the codec: { framesDecoded, … } or undefined.
const received = (person, kind) => person.page.evaluate(async (wanted) => {
  for (const { consumer } of window.ringcast.consumers.values()) {
    if (consumer.kind !== wanted) continue;
    const stats = [...(await consumer.getStats()).values()];
    const row = stats.find(({ type }) => type === 'inbound-rtp');
    if (row) return { framesDecoded: row.framesDecoded ?? 0, packetsReceived: row.packetsReceived, packetsLost: row.packetsLost,
      frameHeight: row.frameHeight, samples: row.totalSamplesReceived,
      codec: stats.find(({ id }) => id === row.codecId)?.mimeType };
  }
  return undefined;
}, kind);

// Waits until this person decodes more frames, of this codec.
async function decodes(person, codec, frames = 20) {
  let began, now;
  await until(async () => {
    now = await received(person, 'video');
    if (now?.codec !== codec) return false;
    began ??= now.framesDecoded;
    return now.framesDecoded >= began + frames;
  }, 15000, `${person.name} decodes ${frames} frames of ${codec}`).catch((error) => {
    throw new Error(`${error.message}: ${JSON.stringify(now)}\n${person.problems.join('\n')}`);
  });
  console.log(`# ${person.name} decodes ${codec}: ${began} → ${now.framesDecoded} frames, ${now.packetsLost} packets lost`);
  return now;
}

// Sends the camera anew, with this codec and these encodings.
const sendCamera = (person, mimeType, encodings) => person.page.evaluate(async ([wanted, layers]) => {
  const call = window.ringcast;
  const { track } = call.producers.get('camera');
  await call.stopProducing('camera');
  const codec = call.device.sendRtpCapabilities.codecs.find((c) => c.mimeType.toLowerCase() === wanted.toLowerCase());
  const producer = await call.sendTransport.produce({ track, codec, encodings: layers ?? undefined, stopTracks: false,
    disableTrackOnPause: true, zeroRtpOnPause: true, appData: { source: 'camera' } });
  call.producers.set('camera', producer);
}, [mimeType, encodings ?? null]);

// What a browser can send or receive: 'sender' or 'receiver'.
const knows = (person, side, mimeType) => person.page.evaluate(([which, wanted]) => {
  const { codecs } = (which === 'sender' ? RTCRtpSender : RTCRtpReceiver).getCapabilities('video');
  return codecs.some((codec) => codec.mimeType.toLowerCase() === wanted.toLowerCase());
}, [side, mimeType]);

test('Firefox and Chromium see and hear each other with VP8', async () => {
  for (const person of [fox, ada]) await person.sees(1);
  for (const person of [fox, ada]) {
    const was = await received(person, 'audio');
    await decodes(person, 'video/VP8');
    const now = await received(person, 'audio');
    assert.equal(now.codec, 'audio/opus');
    assert.ok(now.packetsReceived > was.packetsReceived && now.packetsLost === 0, JSON.stringify(now));
  }
});

// Firefox knows H264 only with a plugin that it downloads from Cisco. Debian does not have it.
// What this person has received of the other's sound. There is nothing to read for a moment after a change.
async function heard(person) {
  let row;
  await until(async () => (row = await received(person, 'audio')), `${person.name} hears somebody`);
  return row;
}

test('H264: Firefox decodes and sends it if it has the plugin; if not, it says so and the sound goes on', async () => {
  const has = { receiver: await knows(fox, 'receiver', 'video/H264'), sender: await knows(fox, 'sender', 'video/H264') };
  console.log(`# H264 in Firefox: receiver ${has.receiver}, sender ${has.sender}`);
  await sendCamera(ada, 'video/H264');
  if (has.receiver) await decodes(fox, 'video/H264');
  else {
    await until(async () => /This browser cannot show one of the streams/.test(await fox.page.textContent('#toasts')), 'Firefox says it');
    const { packetsReceived: was } = await heard(fox);
    await until(async () => (await heard(fox)).packetsReceived > was + 20, 'Fox still hears Ada');
  }
  if (has.sender) {
    await sendCamera(fox, 'video/H264');
    await decodes(ada, 'video/H264');
    await sendCamera(fox, 'video/VP8');
  }
  await sendCamera(ada, 'video/VP8');
  await decodes(fox, 'video/VP8');
});

test('Chromium decodes what Firefox sends with simulcast', async () => {
  await sendCamera(fox, 'video/VP8', [
    { scaleResolutionDownBy: 4, maxBitrate: 100000 }, { scaleResolutionDownBy: 2, maxBitrate: 300000 }, { maxBitrate: 900000 }]);
  const { frameHeight } = await decodes(ada, 'video/VP8');
  const sent = await fox.page.evaluate(async () => [...(await window.ringcast.producers.get('camera').getStats()).values()]
    .filter(({ type }) => type === 'outbound-rtp').map(({ rid, framesSent, framesEncoded }) => ({ rid, frames: framesSent ?? framesEncoded })));
  const layers = sent.filter(({ frames }) => frames > 0).map(({ rid }) => rid).sort();
  console.log(`# Firefox sends the layers ${layers.join(' ')}; Chromium shows ${frameHeight} lines`);
  assert.deepEqual(layers, ['r0', 'r1', 'r2'], 'all three, as mediasoup-client names them');
  await sendCamera(fox, 'video/VP8');
  await decodes(ada, 'video/VP8');
});

test('mute stops the sound of either browser, and unmute brings it back', async () => {
  for (const [from, to] of [[fox, ada], [ada, fox]]) {
    const isMarked = () => to.page.evaluate((id) => document.querySelector(`[data-key="${id}"]`).classList.contains('muted'), from.id);
    const packets = async () => (await heard(to)).packetsReceived;
    assert.equal(await isMarked(), false);
    await from.page.keyboard.press('m');
    await until(isMarked, `${to.name} sees that ${from.name} is muted`);
    await sleep(300); // packets under way
    const was = await packets();
    await sleep(1500);
    assert.ok(await packets() - was <= 2, `${await packets() - was} packets in 1.5 s from ${from.name}, who is muted`);
    await from.page.keyboard.press('m');
    await until(async () => !(await isMarked()) && await packets() > was + 20, `${to.name} hears ${from.name} again`);
  }
});

test('another camera and microphone replace the first while the call goes on', async () => {
  for (const [from, to] of [[fox, ada], [ada, fox]]) {
    const lines = 120; // the new camera shows so many; the first one shows more
    const labels = await from.page.evaluate(async (height) => {
      for (const source of ['camera', 'microphone']) window.ringcast.producers.get(source).track.stop();
      const microphone = (await navigator.mediaDevices.enumerateDevices()).findLast((device) => device.kind === 'audioinput');
      // Not navigator.mediaDevices.getUserMedia, which person.mjs has replaced.
      const stream = await MediaDevices.prototype.getUserMedia.call(navigator.mediaDevices,
        { video: { height, width: height * 4 / 3, frameRate: 15 }, audio: { deviceId: { exact: microphone.deviceId } } });
      for (const track of stream.getTracks())
        await window.ringcast.producers.get(track.kind === 'video' ? 'camera' : 'microphone').replaceTrack({ track });
      return stream.getTracks().map((track) => track.label);
    }, lines);
    const { packetsReceived: was } = await heard(to);
    await until(async () => (await received(to, 'video')).frameHeight === lines, `${to.name} sees the other camera of ${from.name}`);
    await decodes(to, 'video/VP8');
    await until(async () => (await heard(to)).packetsReceived > was + 20, `${to.name} still hears ${from.name}`);
    console.log(`# ${from.name} uses ${labels.join(' and ')}`);
  }
  assert.deepEqual([...fox.problems, ...ada.problems], [], 'no browser has written an error to its console');
});
