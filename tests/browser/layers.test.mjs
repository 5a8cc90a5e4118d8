// Chromium publishes layers, and a subscriber changes between them: the picture follows, and never freezes.
// `make flips` is the long form: 60 s of VP8, H264, VP9 and AV1.
//   RINGCAST_LAYER_SECONDS  how long each codec is measured (10)
//   RINGCAST_LAYER_CODECS   names of codecs; without it, those of `make test`

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Ringcast, sleep, slower, until } from '../lib/ringcast.mjs';
import { openBrowser, Person } from './person.mjs';

const seconds = Number(process.env.RINGCAST_LAYER_SECONDS ?? 10);
const isLong = seconds >= 30;
const flipMs = 1000;
const width = 960, height = 540; // Chromium makes fewer layers of smaller pictures

const simulcast = [0, 1, 2].map((i) => ({ rid: `r${i}`, scaleResolutionDownBy: 4 >> i, maxBitrate: [100000, 250000, 700000][i], scalabilityMode: 'L1T3' }));
const kinds = {
  VP8: { mimeType: 'video/VP8', encodings: simulcast },
  H264: { mimeType: 'video/H264', encodings: simulcast.map((one) => ({ ...one, scalabilityMode: undefined })) },
  VP9: { mimeType: 'video/VP9', encodings: [{ scalabilityMode: 'L3T3_KEY', maxBitrate: 900000 }] },
  AV1: { mimeType: 'video/AV1', encodings: [{ scalabilityMode: 'L3T3_KEY', maxBitrate: 900000 }] },
};
const wanted = (process.env.RINGCAST_LAYER_CODECS ?? 'VP8 AV1').split(' ');

let ringcast;

before(async () => {
  ringcast = await Ringcast.start({ RATE_LIMIT_EVENTS: '1000' });
});

after(async () => {
  await ringcast?.stop();
});

// Runs in the publisher's page before all else: its camera has this size.
function largeCamera({ width, height }) {
  navigator.mediaDevices.getUserMedia = (constraints) => MediaDevices.prototype.getUserMedia.call(navigator.mediaDevices,
    { ...constraints, ...(constraints.video ? { video: { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: 15 } } } : {}) });
}

// Runs in the publisher's page: publishes its camera with these encodings instead of the page's own.
async function publish({ mimeType, encodings }) {
  const call = window.ringcast;
  const stream = await navigator.mediaDevices.getUserMedia({ video: true });
  await call.stopProducing('camera');
  const codec = call.device.rtpCapabilities?.codecs?.find((one) => one.mimeType.toLowerCase() === mimeType.toLowerCase())
    ?? call.device.sendRtpCapabilities.codecs.find((one) => one.mimeType.toLowerCase() === mimeType.toLowerCase());
  if (!codec) throw new Error(`this browser cannot send ${mimeType}`);
  const producer = await call.sendTransport.produce({ track: stream.getVideoTracks()[0], encodings, codec, appData: { source: 'layers' } });
  return producer.id;
}

// Runs in the subscriber's page: asks for the lowest and the highest layer in turn, and notes when the height of
// the decoded frames follows. Frames are looked at one by one.
async function flip({ producerId, seconds, flipMs }) {
  const { consumer } = [...window.ringcast.consumers.values()].find((one) => one.consumer.producerId === producerId);
  window.ringcast.viewing.drop(consumer.id); // this test asks for layers, not the page
  const row = async () => [...(await consumer.getStats()).values()].find((one) => one.type === 'inbound-rtp');
  const video = document.createElement('video');
  const heights = [];
  video.muted = true;
  video.srcObject = new MediaStream([consumer.track]);
  document.body.append(video);
  await Promise.race([video.play(), new Promise((resolve, reject) => setTimeout(() => reject(new Error('no picture within 15 s')), 15000))]);
  const note = (now, frame) => {
    heights.push({ at: performance.now(), height: frame.height });
    video.requestVideoFrameCallback(note);
  };
  video.requestVideoFrameCallback(note);
  const ask = (spatialLayer) => window.ringcast.request('media:setPreferredLayers', { consumerId: consumer.id, spatialLayer, temporalLayer: 2 });
  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const switches = [];
  await ask(2);
  await wait(4000);
  const first = await row();
  for (let i = 0; i < seconds * 1000 / flipMs; i++) {
    const low = i % 2 === 0;
    switches.push({ at: performance.now(), low });
    await ask(low ? 0 : 2);
    await wait(flipMs - (performance.now() - switches.at(-1).at));
  }
  const last = await row();
  video.remove();
  return { switches, heights, first, last };
}

function judge({ switches, heights }) {
  const top = Math.max(...heights.map((one) => one.height));
  const delays = [];
  let missed = 0;
  for (const { at, low } of switches) {
    const hit = heights.find((one) => one.at > at && one.at < at + flipMs && (low ? one.height <= top / 2 : one.height === top));
    if (hit) delays.push(hit.at - at);
    else missed++;
  }
  delays.sort((a, b) => a - b);
  const gaps = heights.slice(1).map((one, i) => one.at - heights[i].at);
  return { flips: switches.length, missed, p50Ms: Math.round(delays[delays.length >> 1]), p95Ms: Math.round(delays[Math.floor(delays.length * 0.95)]),
    longestGapMs: Math.round(Math.max(...gaps)), heights: [...new Set(heights.map((one) => one.height))].sort((a, b) => a - b) };
}

for (const name of wanted)
  test(`${name}: the picture follows the preferred layer, and never freezes`, async () => {
    const browsers = [await openBrowser(), await openBrowser()];
    try {
      const ada = await Person.open(browsers[0], ringcast, 'Ada', { prepare: largeCamera, argument: { width, height } });
      const grace = await Person.open(browsers[1], ringcast, 'Grace');
      for (const one of [ada, grace]) await one.signUp();
      await grace.join(await ada.create('Layers'));
      const producerId = await ada.page.evaluate(publish, kinds[name]);
      await until(() => grace.page.evaluate((id) => [...window.ringcast.consumers.values()].some((one) => one.consumer.producerId === id), producerId),
        15000, 'the subscriber consumes the layers');
      const isSimulcast = kinds[name].encodings.length > 1;
      const state = async () => (await ringcast.rows('producer_state')).find((row) => isSimulcast ? row.encoding_ssrc[2] : row.id === producerId || row.layer_bytes?.[4] > 0);
      const result = await grace.page.evaluate(flip, { producerId, seconds, flipMs });
      const seen = { ...judge(result),
        fps: ((result.last.framesDecoded - result.first.framesDecoded) / seconds).toFixed(1),
        freezes: result.last.freezeCount - result.first.freezeCount,
        pliOfBrowser: result.last.pliCount - result.first.pliCount,
        firOfBrowser: result.last.firCount - result.first.firCount,
        lost: result.last.packetsLost - result.first.packetsLost,
        nacks: result.last.nackCount - result.first.nackCount,
        keyFramesDecoded: result.last.keyFramesDecoded - result.first.keyFramesDecoded,
        decoder: result.last.decoderImplementation };
      const row = await state();
      console.log(`# ${name}`, JSON.stringify(seen), 'asked of the publisher:', JSON.stringify(row && { pli: row.encoding_pli_sent, packets: row.encoding_packets, layers: row.layer_bytes }));
      assert.equal(seen.freezes, 0);
      assert.equal(seen.pliOfBrowser, 0, 'the browser never had to ask for a key frame');
      assert.ok(seen.missed <= (isLong ? 0 : 1), `${seen.missed} of ${seen.flips} changes were not seen within a second`);
      assert.ok(seen.p95Ms <= 250 * (isLong ? 1 : 2 * slower), `95 % of the changes were seen after ${seen.p95Ms} ms`);
      assert.deepEqual(grace.problems, []);
    } finally {
      await Promise.all(browsers.map((browser) => browser.close()));
    }
  });
