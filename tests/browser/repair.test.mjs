// Chromium on a bad network: lost packets are repaired, so that pictures do not freeze.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Ringcast, sleep, slower } from '../lib/ringcast.mjs';
import { Relay, useRelay } from '../lib/relay.mjs';
import { openBrowser, Person } from './person.mjs';

const seconds = Number(process.env.RINGCAST_REPAIR_SECONDS ?? 10);
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
// subscriber's browser measured.
async function call(bad, links, { stable = 4000 } = {}) {
  const relay = await Relay.start(ringcast, links);
  const browsers = [];
  const person = async (name, isBad) => {
    browsers.push(await openBrowser());
    const self = await Person.open(browsers.at(-1), ringcast, name, isBad ? { prepare: useRelay, argument: relay.listen } : {});
    await self.page.addInitScript(watchFrames);
    await self.page.reload();
    await self.signUp();
    return self;
  };
  try {
    const publisher = await person('Ada', bad === 'publisher');
    const subscriber = await person('Grace', bad === 'subscriber');
    await subscriber.join(await publisher.create('Repair'));
    await subscriber.sees(1);
    await sleep(stable);
    await subscriber.page.evaluate(() => { window.frameTimes.length = 0; });
    const first = await inbound(subscriber);
    await sleep(seconds * 1000);
    const last = await inbound(subscriber);
    const times = await subscriber.page.evaluate(() => window.frameTimes);
    const grown = (kind, field) => last[kind][field] - first[kind][field];
    return {
      framesPerSecond: grown('video', 'framesDecoded') / seconds,
      longestGapMs: Math.round(Math.max(...times.slice(1).map((at, i) => at - times[i]))),
      freezes: grown('video', 'freezeCount'),
      packets: grown('video', 'packetsReceived'),
      lost: grown('video', 'packetsLost'),
      nacks: grown('video', 'nackCount'),
      repaired: grown('video', 'retransmittedPacketsReceived'),
      keyFramesAsked: grown('video', 'pliCount'),
      concealed: grown('audio', 'concealedSamples') / grown('audio', 'totalSamplesReceived'),
    };
  } finally {
    await Promise.all(browsers.map((browser) => browser.close()));
    console.log('# relay', JSON.stringify(await relay.stop()));
  }
}

for (const bad of ['subscriber', 'publisher'])
  test(`5 % loss on the link of the ${bad} freezes no picture`, async () => {
    const good = await call(bad, { up: ROUND_TRIP, down: ROUND_TRIP });
    console.log('# no loss', JSON.stringify(good));
    const lossy = await call(bad, { up: `${ROUND_TRIP},loss=5`, down: `${ROUND_TRIP},loss=5` });
    console.log('# 5 % loss', JSON.stringify(lossy));
    assert.equal(lossy.freezes, 0);
    assert.ok(lossy.framesPerSecond > good.framesPerSecond * 0.9);
    assert.ok(lossy.longestGapMs <= good.longestGapMs + 120 * slower, `${lossy.longestGapMs} ms, without loss ${good.longestGapMs} ms`);
  });
