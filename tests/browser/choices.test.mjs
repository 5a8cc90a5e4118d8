// What the page decides without a browser: encodings, layers, requests for them, and its words about quality
// (controlplane/page/src/{encodings,layers,viewing,quality,statistics}.js).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { screen, simulcast, svc } from '../../controlplane/page/src/encodings.js';
import { fittingLayers, shownSize, sizesOf } from '../../controlplane/page/src/layers.js';
import { pictureState, scoresOf, sendingState, soundState, Steady, worst } from '../../controlplane/page/src/quality.js';
import { Statistics } from '../../controlplane/page/src/statistics.js';
import { Viewing } from '../../controlplane/page/src/viewing.js';

/* ---- what is sent ---- */

test('a camera is sent in as many layers as its size is worth', () => {
  for (const [width, height, sizes] of [
    [1920, 1080, [270, 540, 1080]], [1280, 720, [180, 360, 720]], [720, 1280, [180, 360, 720]], [960, 540, [135, 270, 540]],
    [640, 480, [240, 480]], [640, 360, [180, 360]], [480, 270, [135, 270]], [320, 180, [180]], [undefined, undefined, [180, 360, 720]],
  ]) {
    const options = simulcast({ width, height }, true), what = `${width} × ${height}`;
    assert.deepEqual(options.sizes, sizes, what);
    assert.deepEqual(options.encodings.map((one) => one.scaleResolutionDownBy), [4, 2, 1].slice(-sizes.length), what);
    options.encodings.forEach(({ maxBitrate, scalabilityMode }, i, all) => {
      assert.equal(scalabilityMode, 'L1T3');
      assert.ok(maxBitrate >= 100000 && maxBitrate <= 3000000 && (i === 0 || maxBitrate > 1.5 * all[i - 1].maxBitrate), what);
    });
    assert.ok(simulcast({ width, height }, false).encodings.every((one) => !('scalabilityMode' in one)), 'Firefox');
    const one = svc({ width, height });
    assert.deepEqual(one.sizes, sizes, what);
    assert.deepEqual(one.encodings.map((e) => e.scalabilityMode), [sizes.length === 1 ? 'L1T3' : `L${sizes.length}T3_KEY`]);
  }
});

test('a screen is sent once, in full size', () => {
  const { sizes, encodings } = screen({ width: 1920, height: 1080 }, true);
  assert.deepEqual([sizes, encodings.length, encodings[0].scalabilityMode, encodings[0].scaleResolutionDownBy], [[1080], 1, 'L1T2', undefined]);
  assert.ok(encodings[0].maxBitrate >= 2000000 && encodings[0].maxFramerate === 15);
});

/* ---- what is wanted ---- */

const camera = { sizes: [180, 360, 720], temporalLayers: 3 };

test('a tile gets the lowest layer that looks sharp in it', () => {
  for (const [width, height, pixelRatio, spatialLayer, temporalLayer] of [
    [1280, 720, 1, 2, 2], [1280, 720, 2, 2, 2], [3840, 2160, 1, 2, 2], [640, 360, 1, 1, 2], [640, 360, 2, 2, 2],
    [320, 180, 1, 0, 2], [320, 180, 2, 1, 2], [320, 180, 3, 1, 2], [400, 225, 1, 0, 2], [402, 227, 1, 1, 2], [160, 90, 1, 0, 1], [160, 90, 2, 0, 2],
  ])
    assert.deepEqual(fittingLayers(camera, shownSize({ width, height, isWhole: false, pixelRatio }, 16 / 9)),
      { spatialLayer, temporalLayer }, `${width} × ${height} at ${pixelRatio}`);
  assert.deepEqual(fittingLayers({ sizes: [360], temporalLayers: 1 }, 50), { spatialLayer: 0, temporalLayer: 0 });
});

test('a picture that fills its tile counts with what is cut off, an upright one with its width', () => {
  assert.equal(shownSize({ width: 400, height: 360, isWhole: false, pixelRatio: 1 }, 16 / 9), 360);
  assert.equal(shownSize({ width: 400, height: 360, isWhole: true, pixelRatio: 1 }, 16 / 9), 225);
  assert.equal(shownSize({ width: 1280, height: 720, isWhole: true, pixelRatio: 1 }, 9 / 16), 405);
});

test('a tile near a border between two layers does not change to and fro', () => {
  for (const border of [180, 360]) {
    let before, changes = 0;
    for (let i = 0; i < 20; i++) {
      const { spatialLayer } = fittingLayers(camera, border * 1.25 + (i % 2 ? 4 : -4), before);
      if (before !== undefined && spatialLayer !== before) changes++;
      before = spatialLayer;
    }
    assert.ok(changes <= 1, `${changes} changes`);
    assert.equal(fittingLayers(camera, border * 1.05, 2).spatialLayer, border === 180 ? 0 : 1, 'but goes down when it is clearly smaller');
  }
});

test('what a publisher says about its layers is believed only if it makes sense', () => {
  assert.deepEqual(sizesOf([135, 270, 540], 3), [135, 270, 540]);
  for (const told of [undefined, null, 'x', [1, 2], [0, 1, 2], ['1', 2, 3], [NaN, 1, 2], [Infinity, 1, 2], {}])
    assert.deepEqual(sizesOf(told, 3), [180, 360, 720], JSON.stringify(told));
});

/* ---- how it is asked for ---- */

// A server that notes the requests, { event, id, layer, atMs }, on a clock of its own. answer(event, payload)
// may throw. pass(ms) lets time pass.
function server(t, { answer = () => {}, ...times } = {}) {
  let nowMs = 1000;
  t.mock.timers.enable({ apis: ['setTimeout'] });
  t.mock.method(performance, 'now', () => nowMs);
  const requests = [];
  const viewing = new Viewing(async (event, payload) => {
    requests.push({ event: event.split(':')[1], id: payload.consumerId, layer: payload.spatialLayer, atMs: nowMs });
    await answer(event, payload);
  }, times);
  return {
    viewing, requests,
    names: () => requests.map(({ event, id, layer }) => [event, id, layer].filter((x) => x !== undefined).join(' ')),
    pass: async (ms) => {
      for (const end = nowMs + ms; nowMs < end;) {
        nowMs += 10;
        t.mock.timers.tick(10);
        for (let i = 0; i < 10; i++) await null; // what was answered goes on
      }
    },
  };
}

const low = { spatialLayer: 0, temporalLayer: 2, isPaused: false }, middle = { ...low, spatialLayer: 1 };
const all = { ...low, spatialLayer: 2 }, hidden = { ...low, isPaused: true };
const refusal = (code) => Object.assign(new Error(code), { code });

test('many changes of a moment are one request, and none if nothing is different after all', async (t) => {
  const { viewing, names, pass } = server(t);
  viewing.add('a', 3, 3);
  assert.equal(viewing.begin('a'), true);
  for (let i = 0; i < 20; i++) {
    viewing.want('a', i % 2 ? low : middle);
    await pass(10);
  }
  assert.deepEqual(names(), [], 'a wish must hold');
  await pass(300);
  assert.deepEqual(names(), ['setPreferredLayers a 0']);
  viewing.want('a', middle);
  await pass(20);
  viewing.want('a', low);
  await pass(5000);
  assert.deepEqual(names(), ['setPreferredLayers a 0']);
});

test('a new consumer begins with what its tile needs, or not at all', async (t) => {
  const { viewing, names, pass } = server(t);
  for (const id of ['big', 'small', 'hidden']) viewing.add(id, 3, 3);
  viewing.want('big', all);
  viewing.want('small', low);
  viewing.want('hidden', hidden);
  assert.deepEqual(['big', 'small', 'hidden'].map((id) => viewing.begin(id)), [true, true, false]);
  assert.deepEqual(names(), ['setPreferredLayers small 0'], 'at once: before it is resumed');
  await pass(5000);
  assert.deepEqual(names(), ['setPreferredLayers small 0']);
  viewing.want('hidden', low);
  await pass(20);
  assert.deepEqual(names().slice(1), ['setPreferredLayers hidden 0', 'resumeConsumer hidden'], 'at once when it comes into sight');
});

test('a tile that is out of sight for a moment is not paused', async (t) => {
  const { viewing, requests, names, pass } = server(t);
  viewing.add('a', 3, 3);
  viewing.begin('a');
  viewing.want('a', { ...all, isPaused: true });
  await pass(1900);
  viewing.want('a', all);
  await pass(5000);
  assert.deepEqual(names(), []);
  viewing.want('a', { ...all, isPaused: true });
  assert.equal(viewing.wantsPaused('a'), true);
  const hiddenMs = performance.now();
  await pass(5000);
  assert.equal(requests[0].atMs - hiddenMs, 2000);
  viewing.want('a', all);
  await pass(20);
  assert.deepEqual(names(), ['pauseConsumer a', 'resumeConsumer a']);
});

test('requests stay within the rate limit, and the last wish is sent in the end', async (t) => {
  const { viewing, requests, pass } = server(t);
  const ids = Array.from({ length: 20 }, (_, i) => `c${i}`);
  for (const id of ids) viewing.add(id, 3, 3);
  for (let round = 0; round < 20; round++) {
    for (const id of ids) viewing.want(id, round % 2 ? low : middle);
    await pass(1000);
  }
  await pass(60000);
  assert.ok(ids.every((id) => requests.findLast((r) => r.id === id)?.layer === 0), 'all have the last wish');
  const most = Math.max(...requests.map(({ atMs }) => requests.filter((other) => other.atMs >= atMs && other.atMs < atMs + 60000).length));
  assert.equal(most, 30 + 2 * 20, 'in a minute');
});

test('a refusal is quiet: later again for what may pass, never again for what the server does not know', async (t) => {
  for (const [code, isRepeated] of [['rate_limited', true], ['unavailable', true], ['disconnected', true], ['unknown_event', false], ['unsupported', false], ['consumer_not_found', false]]) {
    let refuses = true;
    const { viewing, names, pass } = server(t, { answer: () => { if (refuses) throw refusal(code); } });
    viewing.add('a', 3, 3);
    viewing.begin('a');
    viewing.want('a', low);
    await pass(1000);
    assert.equal(names().length, 1, code);
    refuses = false;
    await pass(2000);
    assert.equal(names().length, isRepeated ? 2 : 1, `${code}: ${names()}`);
    viewing.want('a', middle);
    await pass(5000);
    assert.equal(names().length, isRepeated ? 3 : 1, `${code}: ${names()}`);
    t.mock.reset();
  }
});

test('while it is refused it asks less and less often; a new connection begins anew', async (t) => {
  let refuses = true;
  const { viewing, requests, pass } = server(t, { answer: () => { if (refuses) throw refusal('rate_limited'); } });
  viewing.add('a', 3, 3);
  viewing.begin('a');
  viewing.want('a', low);
  await pass(200000);
  const pauses = requests.slice(1).map(({ atMs }, i) => Math.round((atMs - requests[i].atMs) / 1000));
  assert.deepEqual(pauses, [2, 4, 8, 16, 32, 60, 60]);
  refuses = false;
  viewing.connected();
  await pass(20);
  assert.equal(requests.length, pauses.length + 2, 'at once');
  await pass(200000);
  assert.equal(requests.length, pauses.length + 2);
});

/* ---- words ---- */

const figures = { arrived: 300, lost: 0, lossPercent: 0, repaired: 0, concealedPercent: 0, packetsNow: 90, framesPerSecond: 30, framesDecoded: 900,
  isFrozenNow: false };
const picture = (facts, more = {}) => pictureState({ name: 'Grace', isScreen: false, isPaused: false, isOutOfSight: false, isConnected: true,
  layers: undefined, score: undefined, figures: facts && { ...figures, ...facts }, ...more });

test('the panel says why a tile is black', () => {
  for (const [level, pattern, facts, more] of [
    ['off', /camera is off/, {}, { isPaused: true }],
    ['off', /Not in sight/, {}, { isOutOfSight: true }],
    ['bad', /connection for sound and pictures is interrupted/, null, { isConnected: false }],
    ['bad', /No picture arrives here/, null],
    ['bad', /No picture arrives here/, { packetsNow: 0 }],
    ['bad', /server gets no picture from Grace/, { packetsNow: 0 }, { score: { score: 10, producerScore: 0, producerScores: [0, 0] } }],
    ['bad', /server sends no picture/, { packetsNow: 0 }, { layers: null }],
    ['bad', /server sends no picture/, { packetsNow: 0 }, { layers: null, score: { score: 10, producerScore: 0, producerScores: [9, 0] } }],
    ['bad', /Data arrives, but no complete picture/, { framesPerSecond: 0 }],
    ['good', /does not change/, { packetsNow: 0 }, { isScreen: true }],
    ['bad', /No picture arrives/, { packetsNow: 0, framesDecoded: 0 }, { isScreen: true }],
    ['good', /is good/, {}], // it is black because the camera is: her hand is before it
  ]) {
    const state = picture(facts, more);
    assert.equal(state.level, level, state.text);
    assert.match(state.text, pattern);
  }
});

test('the panel says whose network is weak', () => {
  for (const [level, pattern, facts, more] of [
    ['weak', /network of Grace is weak/, {}, { score: { score: 9, producerScore: 4 } }],
    ['weak', /^Your network is weak/, {}, { score: { score: 4, producerScore: 10 } }],
    ['weak', /^Your network is weak/, {}, { score: 3 }],
    ['good', /repaired/, { lost: 20, lossPercent: 5, repaired: 20 }],
    ['weak', /^Your network is weak/, { lost: 20, lossPercent: 5, repaired: 2 }],
    ['weak', /very weak/, { lost: 90, lossPercent: 25, repaired: 0 }],
    ['good', /is good/, { lost: 90, lossPercent: 25, repaired: null }], // Firefox: what is not known is not blamed
    ['weak', /froze/, { isFrozenNow: true }],
    ['good', /is good/, { lost: 1, lossPercent: 0.3, repaired: 0 }],
  ]) {
    const state = picture(facts, more);
    assert.equal(state.level, level, state.text);
    assert.match(state.text, pattern);
  }
  const sound = (facts, more) => soundState({ name: 'Grace', isPaused: false, isConnected: true, score: undefined, figures: { ...figures, ...facts }, ...more }).text;
  assert.match(sound({}, { isPaused: true }), /Muted/);
  assert.match(sound({}, { isConnected: false }), /interrupted/);
  assert.match(sound({ packetsNow: 0 }), /No sound arrives here/);
  assert.match(sound({}), /sound is good/);
  assert.match(sound({ concealedPercent: 5 }), /^Your network is weak/);
  assert.match(sound({ lossPercent: 5, repaired: 10 }), /repaired/);
  assert.match(sound({}, { score: { score: 10, producerScore: 2 } }), /network of Grace is weak/);
});

test('the panel says how well we send', () => {
  const layer = { isSent: true, limitedBy: 'none', lossPercent: 0 };
  for (const [level, pattern, layers, more] of [
    ['good', /picture is sent well/, [layer, layer]],
    ['off', /camera is off/, [layer], { isPaused: true }],
    ['bad', /not sent/, [{ ...layer, isSent: false }]],
    ['bad', /not sent/, []],
    ['good', /picture is sent well/, [layer, { ...layer, isSent: false }]],
    ['weak', /network is slow/, [layer, { ...layer, limitedBy: 'bandwidth' }]],
    ['weak', /computer is busy/, [layer, { ...layer, limitedBy: 'cpu' }]],
    ['weak', /network is weak/, [{ ...layer, lossPercent: 20 }]],
    ['weak', /network is weak/, [layer], { score: [{ rid: 'r0', score: 3 }, { rid: 'r1', score: 0 }] }],
    ['bad', /server gets no picture/, [layer], { score: [{ score: 0 }] }],
    ['good', /sound is sent well/, [{ ...layer, isSent: false }], { source: 'microphone', score: 0 }], // silence
    ['good', /screen is sent well/, [layer], { source: 'screen' }],
  ]) {
    const state = sendingState({ source: 'camera', isPaused: false, layers, score: undefined, ...more });
    assert.equal(state.level, level, state.text);
    assert.match(state.text, pattern);
  }
});

test('scores may be a number, an object, or one for each layer', () => {
  assert.deepEqual([7, { score: 7 }, { score: 7, producerScore: 4 }, [{ score: 2 }, { score: 7 }], { score: [3, 7] }, { score: 7, producerScore: 0, producerScores: [2, 6] }, undefined, null, 'x', [], {}]
    .map(scoresOf).map(({ own, sender }) => [own, sender]), [[7, undefined], [7, undefined], [7, 4], [7, undefined], [undefined, undefined], [7, 6],
    [undefined, undefined], [undefined, undefined], [undefined, undefined], [undefined, undefined], [undefined, undefined]]);
});

test('what is shown does not flicker', () => {
  const steady = new Steady(), good = { level: 'good', text: 'Good.' }, weak = { level: 'weak', text: 'Weak.' }, bad = { level: 'bad', text: 'Bad.' };
  const off = { level: 'off', text: 'Off.' };
  const shown = (state, ms) => steady.show('a', state, ms).text;
  assert.equal(shown(bad, 0), 'Starting…', 'media needs a moment');
  assert.equal(shown(good, 500), 'Good.');
  for (let ms = 1000; ms < 20000; ms += 500) assert.equal(shown((ms / 500) % 2 ? weak : good, ms), 'Good.', 'to and fro');
  assert.equal(shown(good, 20000), 'Good.');
  assert.equal(shown(weak, 30000), 'Good.');
  assert.equal(shown(weak, 31000), 'Good.');
  assert.equal(shown(weak, 32000), 'Weak.');
  assert.equal(shown(good, 33000), 'Weak.');
  assert.equal(shown(good, 36000), 'Weak.');
  assert.equal(shown(good, 38000), 'Good.');
  assert.equal(shown(off, 38500), 'Off.', 'a pressed button shows at once');
  assert.equal(shown(bad, 39000), 'Starting…');
  assert.equal(shown(bad, 41500), 'Bad.');
  steady.keep(new Set());
  assert.equal(shown(good, 42000), 'Good.');
  assert.equal(worst([good, bad, off, weak]).text, 'Bad.');
});

/* ---- figures ---- */

test('loss and repair are those of the last seconds, and counters that start anew give no nonsense', async (t) => {
  let nowMs = 0, row;
  t.mock.method(performance, 'now', () => nowMs);
  const call = {
    producers: new Map(),
    consumers: new Map([['c', { consumer: { rtpParameters: { encodings: [{ ssrc: 7 }] } } }]]),
    recvTransport: { getStats: async () => new Map([['x', row], ['pair', { type: 'candidate-pair', nominated: true, currentRoundTripTime: 0.04 }]]) },
  };
  const statistics = new Statistics();
  const read = async (ms, values) => {
    nowMs = ms;
    row = { type: 'inbound-rtp', ssrc: 7, kind: 'video', bytesReceived: 0, packetsReceived: 0, packetsLost: 0, retransmittedPacketsReceived: 0, framesDecoded: 0, ...values };
    const figures = await statistics.read(call);
    return { ...figures, stream: figures.received.get('c') };
  };
  await read(0, { packetsReceived: 1000, packetsLost: 500, bytesReceived: 1e6, framesDecoded: 100 });
  for (let s = 1; s <= 10; s++) {
    const { stream, lossPercent, receiveKbps, roundTripMs } = await read(1000 * s, { packetsReceived: 1000 + 95 * s, packetsLost: 500 + 5 * s,
      retransmittedPacketsReceived: 4 * s, bytesReceived: 1e6 + 125000 * s, framesDecoded: 100 + 30 * s });
    assert.ok(Math.abs(stream.lossPercent - 5) < 0.01 && Math.abs(lossPercent - 5) < 0.01, `${stream.lossPercent} %: loss of before does not count`);
    assert.equal(Math.round(receiveKbps), 1000);
    assert.equal(Math.round(stream.framesPerSecond), 30);
    assert.equal(stream.repaired / stream.lost, 4 / 5);
    assert.equal(roundTripMs, 40);
  }
  const still = { packetsReceived: 1950, packetsLost: 550, bytesReceived: 2.25e6, framesDecoded: 400, retransmittedPacketsReceived: 40 };
  for (let s = 11; s < 20; s++) {
    const { stream } = await read(1000 * s, still);
    assert.equal(stream.packetsNow > 0, s < 13, `${s}: packets of the last 3 s`);
    assert.ok(stream.lost > 0, `${s}: loss of the last 10 s`);
  }
  const quiet = await read(20000, still);
  assert.deepEqual([quiet.stream.lost, quiet.stream.lossPercent, quiet.stream.packetsNow, quiet.stream.framesPerSecond], [0, 0, 0, 0]);
  const anew = await read(26000, { packetsReceived: 5 });
  assert.deepEqual([anew.stream.lossPercent, anew.stream.kbps, anew.stream.framesPerSecond], [0, 0, 0]);
});
