// Chromium on a bad network: lost packets are repaired, so that pictures do not freeze and speech is whole.
// The long form is `make repair`.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Ringcast, sleep, slower } from '../lib/ringcast.mjs';
import { Relay, useRelay } from '../lib/relay.mjs';
import { openBrowser, Person } from './person.mjs';

const seconds = Number(process.env.RINGCAST_REPAIR_SECONDS ?? 10); // of each call
const isLong = seconds >= 30;
const ROUND_TRIP = 'delay=20';

let ringcast;

before(async () => {
  ringcast = await Ringcast.start({ MEDIASOUP_LISTEN_IP: '127.0.0.1' }); // the relay has the same ports at another address
});

after(async () => {
  await ringcast?.stop();
});

// Notes each frame that is shown, for all videos of the page.
function watchFrames() {
  window.frameTimes = [];
  const watched = new WeakSet();
  setInterval(() => {
    for (const video of document.querySelectorAll('.tile:not(.self) video')) {
      if (watched.has(video) || !video.srcObject) continue;
      watched.add(video);
      const note = (now) => {
        window.frameTimes.push(now);
        video.requestVideoFrameCallback(note);
      };
      video.requestVideoFrameCallback(note);
    }
  }, 100);
}

const inbound = (person) => person.page.evaluate(async () => {
  const result = {};
  for (const { consumer } of window.ringcast.consumers.values())
    for (const row of (await consumer.getStats()).values())
      if (row.type === 'inbound-rtp') result[row.kind] = row;
  return result;
});

// One call of two people, one of whom has a bad link: `bad` is 'subscriber' or 'publisher'. Returns what the
// subscriber's browser measured, and what the relay saw.
async function call(name, bad, up, down = up) {
  const relay = await Relay.start(ringcast, { up, down });
  const browsers = [];
  const before = (await ringcast.counters()).counters;
  const person = async (who, isBad) => {
    browsers.push(await openBrowser());
    const self = await Person.open(browsers.at(-1), ringcast, who, isBad ? { prepare: useRelay, argument: relay.listen } : {});
    await self.page.addInitScript(watchFrames);
    await self.page.reload();
    await self.signUp();
    return self;
  };
  let result;
  try {
    const publisher = await person('Ada', bad === 'publisher');
    const subscriber = await person('Grace', bad === 'subscriber');
    await subscriber.join(await publisher.create('Repair'));
    await subscriber.sees(1);
    await sleep(4000);
    await subscriber.page.evaluate(() => { window.frameTimes.length = 0; });
    const first = await inbound(subscriber);
    await sleep(seconds * 1000);
    const last = await inbound(subscriber);
    const times = await subscriber.page.evaluate(() => window.frameTimes);
    const grown = (kind, field) => (last[kind][field] ?? 0) - (first[kind][field] ?? 0);
    result = {
      framesPerSecond: grown('video', 'framesDecoded') / seconds,
      longestGapMs: Math.round(Math.max(...times.slice(1).map((at, i) => at - times[i]))),
      freezes: grown('video', 'freezeCount'),
      lost: grown('video', 'packetsLost'),
      repaired: grown('video', 'retransmittedPacketsReceived'),
      keyFramesAsked: grown('video', 'pliCount') + grown('video', 'firCount'),
      audioNacks: grown('audio', 'nackCount'),
      concealed: grown('audio', 'concealedSamples') / grown('audio', 'totalSamplesReceived'),
      audioDelayMs: Math.round(1000 * grown('audio', 'jitterBufferDelay') / grown('audio', 'jitterBufferEmittedCount')),
    };
  } finally {
    await Promise.all(browsers.map((browser) => browser.close()));
    const { counters } = await ringcast.counters();
    result = { ...result, relay: await relay.stop(), nacks: counters.nack_sent - before.nack_sent,
      repairedIn: counters.repaired_in - before.repaired_in, sentAgain: counters.rtx_sent - before.rtx_sent };
    console.log(`# ${name}`, JSON.stringify(result));
  }
  return result;
}

// The long form (make repair) judges by what a call shall be like, the short one lets a busy machine pass.
const percent = (share) => `${(100 * share).toFixed(1)} %`;
function isGood(lossy, good) {
  const gapMs = good.longestGapMs + (isLong ? 120 : 250) * slower;
  assert.ok(lossy.freezes <= good.freezes + (isLong ? 0 : 2), `${lossy.freezes} freezes`);
  assert.ok(lossy.framesPerSecond >= good.framesPerSecond * (isLong ? 22 / 24 : 0.8), `${lossy.framesPerSecond} frames/s`);
  assert.ok(lossy.longestGapMs <= gapMs, `${lossy.longestGapMs} ms, without loss ${good.longestGapMs} ms`);
  assert.ok(lossy.concealed <= good.concealed + (isLong ? 0.01 : 0.02), `${percent(lossy.concealed)} of the audio is concealed`);
  isSafe(lossy);
}

// Threat D13: SRTP encrypts what comes again with the same index, so it must be the same.
function isSafe({ relay }) {
  assert.equal(relay.up.changed, 0);
  assert.equal(relay.down.changed, 0);
}

for (const bad of ['subscriber', 'publisher'])
  test(`5 % loss on the link of the ${bad} freezes no picture, and audio is repaired`, async () => {
    const good = await call(`${bad}: no loss`, bad, ROUND_TRIP);
    const lossy = await call(`${bad}: 5 % loss`, bad, `${ROUND_TRIP},loss=5`);
    isGood(lossy, good);
    if (bad === 'subscriber') {
      assert.ok(lossy.relay.down.repeated > 0, 'no audio was sent again');
      assert.ok(lossy.repaired >= lossy.lost * 0.99 - 2, `${lossy.repaired} of ${lossy.lost} lost packets came again`);
    } else {
      assert.ok(lossy.relay.up.repeated > 0, 'the publisher sent no audio again');
    }
  });

test('after bursts of loss the picture is back within 2 s', async () => {
  const lossy = await call('subscriber: 20 % in bursts', 'subscriber', `${ROUND_TRIP},loss=20,burst=4`);
  assert.ok(lossy.longestGapMs <= 2000 * slower, `${lossy.longestGapMs} ms`);
  isSafe(lossy);
});

test('packets in another order are not taken for lost ones', async () => {
  const late = await call('subscriber: 150 ± 50 ms', 'subscriber', 'delay=150,jitter=50');
  assert.ok(late.keyFramesAsked <= 2, `${late.keyFramesAsked} key frames asked for`);
  isSafe(late);
});
