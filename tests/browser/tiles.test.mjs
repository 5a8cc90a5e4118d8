// The page publishes several layers, asks for the one that fits each tile, and says in its panel what arrives.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Client } from '../lib/client.mjs';
import { Relay, useRelay } from '../lib/relay.mjs';
import { Ringcast, sleep, until } from '../lib/ringcast.mjs';
import { openBrowser, Person } from './person.mjs';

const camera = { width: 960, height: 540 }; // the smallest with three layers
const phone = { width: 390, height: 844 }, desktop = { width: 1280, height: 800 };
const highest = { size: { width: 1600, height: 1000 }, layer: 2 }, middle = { size: { width: 900, height: 600 }, layer: 1 };
const lowest = { size: { width: 480, height: 360 }, layer: 0 }; // windows, and the layer that fits Ada's tile in them

let ringcast, relay, ada, grace, code;
const browsers = [], clients = [];

async function person(name, options) {
  browsers.push(await openBrowser());
  const self = await Person.open(browsers.at(-1), ringcast, name, options);
  await self.signUp();
  return self;
}

before(async () => {
  ringcast = await Ringcast.start({ MEDIASOUP_LISTEN_IP: '127.0.0.1' }); // the relay has the same ports at another address
  ada = await person('Ada', { camera });
  grace = await person('Grace');
  code = await ada.create('Layers');
  ada.id = await ada.page.evaluate(() => JSON.parse(sessionStorage['ringcast-session']).user.id);
  await grace.join(code);
  await grace.page.evaluate(() => {
    window.asked = [];
    window.ringcast.socket.onAnyOutgoing((event, payload) => {
      if (/^media:(setPreferredLayers|pauseConsumer|resumeConsumer)$/.test(event)) window.asked.push({ event, ...payload });
    });
  });
});

after(async () => {
  for (const one of clients) one.close();
  await Promise.all(browsers.map((browser) => browser.close()));
  await relay?.stop();
  await ringcast?.stop();
});

// The layers that Ada's browser sends: [{ height, packets }], the smallest first.
const sent = (who, source = 'camera') => who.page.evaluate(async (wanted) => [...(await window.ringcast.producers.get(wanted).getStats()).values()]
  .filter(({ type }) => type === 'outbound-rtp').sort((a, b) => (a.rid ?? '').localeCompare(b.rid ?? ''))
  .map((row) => ({ height: row.frameHeight, packets: row.packetsSent, scalabilityMode: row.scalabilityMode, codec: row.codecId })), source);

// What this person receives of Ada's camera.
const received = (who) => who.page.evaluate(async (id) => {
  const entry = [...window.ringcast.consumers.values()].find(({ userId, source }) => userId === id && source === 'camera');
  const rows = [...(await entry.consumer.getStats()).values()], row = rows.find(({ type }) => type === 'inbound-rtp');
  return { height: row?.frameHeight, frames: row?.framesDecoded, lost: row?.packetsLost, told: entry.layers,
    codec: rows.find(({ id: rowId }) => rowId === row?.codecId)?.mimeType };
}, ada.id);

const asked = (who) => who.page.evaluate(() => window.asked.splice(0));

// What the panel says of the picture or the sound of a person: one text.
const panel = (who, key, source = 'camera') => who.page.evaluate(([person, stream]) => {
  const found = document.querySelector(`#stats-people [data-of="${person}"] [data-of="${stream}"]`);
  return found && [...found.querySelectorAll('p, th, td')].map((part) => part.textContent).join('|');
}, [key, source]);

const says = (who, key, pattern, source) => until(async () => pattern.test(await panel(who, key, source)),
  `the panel says ${pattern}`).catch(async (error) => { throw new Error(`${error.message}: ${await panel(who, key, source)}`); });

const openPanel = async (who) => {
  if (!await who.page.isVisible('#stats')) await who.page.keyboard.press('i');
};

async function receivesLayer({ layer }) {
  await until(async () => {
    const theirs = await sent(ada), ours = await received(grace);
    return theirs[layer].height && ours.height === theirs[layer].height;
  }, 20000, `Grace receives layer ${layer}`).catch(async (error) => {
    throw new Error(`${error.message}\n${JSON.stringify([await sent(ada), await received(grace), await asked(grace)])}`);
  });
}

test('a camera is published in three layers, a small one in one', async () => {
  await grace.sees(1);
  await until(async () => (await sent(ada)).every(({ packets }) => packets > 20), 20000, 'all layers are sent');
  const layers = await sent(ada);
  assert.deepEqual(layers.map(({ height }) => Math.round(8 * height / layers[2].height)), [2, 4, 8], JSON.stringify(layers));
  const rows = await ringcast.rows('producer');
  const video = rows.filter(({ kind }) => kind === 'video').sort((a, b) => b.encoding_count - a.encoding_count);
  assert.deepEqual(video.map(({ encoding_count: count }) => count), [3, 1]);
  assert.deepEqual(video[0].encoding_temporal_layers.slice(0, 3), [3, 3, 3]);
  await until(async () => {
    const state = (await ringcast.rows('producer_state')).find(({ index }) => index === video[0].index);
    return state?.encoding_packets.slice(0, 3).every((packets) => packets > 20);
  }, 20000, 'the server has packets of all three');
  console.log(`# ${JSON.stringify(layers.map(({ height, packets }) => ({ height, packets })))}`);
});

test('the panel shows the layer, loss, repair, and what is sent', async () => {
  await openPanel(ada);
  await says(ada, 'you', /Your picture is sent well\.\|Layer 1\|\d+×\d+, \d+ frames\/s, \d+ kbit\/s\|Layer 2\|\d+×\d+,.*\|Layer 3\|\d+×\d+/);
  await says(ada, 'you', /Your sound is sent well\.\|Data\|\d+ kbit/, 'microphone');
  await ada.screenshot('panel-sending-desktop');
  await openPanel(grace);
  await says(grace, ada.id, /The picture is good\.\|Picture\|\d+×\d+, layer [123] of 3\|Moves\|\d+ frames\/s\|Data\|\d+ kbit\/s\|Lost\|0\.0 %\|(Repaired\|0 of 0 packets\|)?Frozen\|never/);
  await says(grace, ada.id, /The sound is good\./, 'microphone');
  await says(grace, 'you', /Your picture is sent well\.\|Picture\|\d+×\d+/);
  await grace.screenshot('panel-desktop');
  await grace.page.setViewportSize(phone);
  await sleep(1500);
  await grace.screenshot('panel-phone');
  assert.deepEqual(await grace.page.evaluate(() => document.querySelector('#stats').scrollWidth > document.querySelector('#stats').clientWidth), false);
  await grace.page.setViewportSize(desktop);
});

test('each tile gets the layer that fits it, and the picture follows', async () => {
  await asked(grace);
  for (const window of [lowest, middle, highest, lowest, highest]) {
    await grace.page.setViewportSize(window.size);
    const beganMs = performance.now();
    await receivesLayer(window);
    console.log(`# layer ${window.layer} after ${Math.round(performance.now() - beganMs)} ms`);
    await openPanel(grace);
    await says(grace, ada.id, new RegExp(`layer ${window.layer + 1} of 3`));
  }
  const requests = await asked(grace);
  assert.deepEqual(requests.map(({ spatialLayer }) => spatialLayer), [0, 1, 2, 0, 2], 'one request for each change');
  assert.deepEqual((await received(grace)).told, { spatialLayer: 2, temporalLayer: 2 });
});

test('only what has changed is written into the panel', async () => {
  await says(grace, ada.id, /The picture is good\./);
  const changes = await grace.page.evaluate(async () => {
    const seen = [];
    const selection = getSelection(), heading = document.querySelector('#stats-people h4');
    selection.selectAllChildren(heading);
    const observer = new MutationObserver((all) => all.forEach(({ target }) => seen.push(target.nodeName)));
    observer.observe(document.querySelector('#stats'), { childList: true, subtree: true });
    await new Promise((resolve) => setTimeout(resolve, 4000));
    observer.disconnect();
    return { seen: [...new Set(seen)], selected: String(selection) === heading.textContent };
  });
  assert.deepEqual(changes.seen.filter((name) => name !== 'TD'), [], 'figures change, rows and sentences stay');
  assert.ok(changes.seen.length, 'figures do change');
  assert.equal(changes.selected, true, 'a selection stays');
});

test('out of sight is not sent, and comes back when it is looked at', async () => {
  for (let i = 0; i < 24; i++) {
    const one = await Client.open(ringcast, `Guest${i + 1}`);
    clients.push(one);
    await one.call('room:join', { roomId: code });
  }
  await grace.page.setViewportSize({ width: 390, height: 500 }); // Ada's tile is one of the first
  const paused = async () => (await ringcast.rows('consumer')).filter((row) => row.kind === 'video' && row.paused === 1).length;
  const scroll = (top) => grace.page.evaluate((y) => { document.getElementById('grid').scrollTop = y; }, top);
  await until(() => grace.page.evaluate(() => document.getElementById('grid').scrollHeight > 2 * document.getElementById('grid').clientHeight), 'the tiles do not fit');
  await asked(grace);
  await scroll(100000);
  await until(async () => await paused() === 1, 20000, 'the server sends nothing');
  await openPanel(grace);
  await says(grace, ada.id, /Not in sight/);
  await scroll(0);
  await until(async () => await paused() === 0, 20000, 'the server sends again');
  const { frames } = await received(grace);
  await until(async () => (await received(grace)).frames > frames + 10, 20000, 'the picture is back');
  await says(grace, ada.id, /The picture is good/);
  const events = (await asked(grace)).map(({ event }) => event.split(':')[1]).filter((event) => event !== 'setPreferredLayers');
  assert.deepEqual(events, ['pauseConsumer', 'resumeConsumer']);
});

test('whose picture does not arrive is told in the panel and on the tile', async () => {
  const [silent] = clients;
  await silent.produce(code, 'video'); // it has no media at all
  await says(grace, silent.userId, /^(The server (gets|sends) no picture|No picture arrives)/);
  const tile = () => grace.page.getAttribute(`[data-key="${silent.userId}"].tile`, 'aria-label');
  await until(async () => /Guest1, muted, (The server|No picture)/.test(await tile()), 20000, 'the tile says it too');
  await grace.page.keyboard.press('i');
  await grace.page.setViewportSize(phone);
  await grace.screenshot('weak-phone');
  await grace.page.setViewportSize(desktop);
  await grace.screenshot('weak-desktop');
  for (const one of clients.splice(0)) {
    await one.call('room:leave', { roomId: code });
    one.close();
  }
});

test('the panel counts what a bad network loses and what is repaired', async () => {
  relay = await Relay.start(ringcast, { up: 'delay=20,loss=5', down: 'delay=20,loss=5' });
  const edsger = await person('Edsger', { prepare: useRelay, argument: relay.listen });
  await edsger.join(code);
  await openPanel(edsger);
  await says(edsger, ada.id, /Lost\|([2-9]|1\d)\.\d %\|Repaired\|[1-9]\d* of [1-9]\d* packets/);
  await says(edsger, ada.id, /network loses some data, and it is repaired|network is weak|froze just now/);
  await sleep(3000);
  await edsger.screenshot('panel-lossy-desktop');
  console.log(`# ${await panel(edsger, ada.id)}`);
  assert.deepEqual(edsger.problems, []);
  await edsger.page.click('#leave');
});

test('with ?video=vp9 one stream carries all layers; a browser that cannot do it sends VP8', async () => {
  await ada.page.click('#leave');
  await ada.page.goto(`${ringcast.url}/?video=vp9&room=${code}`);
  await ada.page.waitForSelector('#lobby:not([hidden])');
  await ada.join(code);
  assert.equal(new URL(ada.page.url()).searchParams.get('video'), 'vp9');
  await grace.sees(1);
  await until(async () => (await received(grace)).codec === 'video/VP9', 'Grace decodes VP9');
  const layers = await sent(ada);
  assert.deepEqual(layers.map(({ scalabilityMode }) => scalabilityMode), ['L3T3_KEY']);
  const [row] = (await ringcast.rows('producer')).filter(({ encoding_spatial_layers: layers }) => layers[0] === 3);
  assert.deepEqual([row.encoding_count, row.encoding_spatial_layers[0], row.encoding_temporal_layers[0]], [1, 3, 3]);
  assert.equal(await grace.page.evaluate((id) => [...window.ringcast.consumers.values()].find(({ userId, source }) => userId === id && source === 'camera').sizes.join(), ada.id),
    '135,270,540');
  await ada.page.click('#leave');
  await ada.page.evaluate(() => { navigator.mediaCapabilities.encodingInfo = async () => ({ supported: false }); });
  await ada.join(code);
  await until(async () => (await received(grace)).codec === 'video/VP8', 'Grace decodes VP8');
});

test('nothing was written to the console', () => {
  assert.deepEqual([...ada.problems, ...grace.problems], []);
});
