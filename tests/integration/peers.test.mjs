// perf/compare: what it says when something is missing or wrong. If Janus of Debian is installed,
// also that the load generator publishes to it and subscribes from it. The tests do not install
// Janus, because its package starts a server.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { load } from '../../perf/load/run.mjs';
import * as janus from '../../perf/peers/janus/janus.mjs';
import * as mediasoup from '../../perf/peers/mediasoup/mediasoup.mjs';
import { patience, root } from '../lib/ringcast.mjs';

const options = { serverCore: 0, loadCore: availableParallelism() > 1 ? 1 : 0, eventLoops: 1 };
const janusMissing = await janus.missing() ?? false;

function compare(...words) {
  return spawnSync(join(root, 'perf/compare'), words, { encoding: 'utf8', timeout: 60000 * patience });
}

test('every script can be parsed', () => {
  for (const file of ['compare.mjs', 'janus/janus.mjs', 'mediasoup/mediasoup.mjs', 'mediasoup/server.mjs']) {
    const r = spawnSync(process.execPath, ['--check', join(root, 'perf/peers', file)], { encoding: 'utf8' });
    assert.equal(r.status, 0, r.stderr);
  }
});

test('wrong arguments give a sentence', () => {
  assert.equal(compare('--help').status, 0);
  for (const words of [['--scenario', 'dancing'], ['--scenario', 'video-1-to-N', '--targets', 'skype'],
    ['--scenario', 'video-1-to-N', '--rounds', 'many'], ['--scenario', 'video-1-to-N', '--rounds', '1'],
    ['--scenario', 'rooms-10x10', '--fan-out'], ['--scenario']]) {
    const r = compare(...words);
    assert.equal(r.status, 2, words.join(' '));
    assert.match(r.stderr, /^compare: .+/, words.join(' '));
  }
});

test('a server that is not on this machine is named and left out', async (t) => {
  const why = await mediasoup.missing();
  if (!why) return t.skip('mediasoup and its worker are on this machine');
  assert.match(why, /^mediasoup('s worker)? is not on this machine \(.+\): its side is left out$/);
  const r = compare('--targets', 'mediasoup', '--scenario', 'video-1-to-N');
  assert.equal(r.status, 1);
  assert.ok(r.stdout.includes(why));
  assert.match(r.stderr, /none of the targets is on this machine/);
});

let server;
before(async () => { if (!janusMissing) server = await janus.Janus.start(options); });
after(() => server?.stop());

async function againstJanus(...words) {
  const r = await load(server, [...janus.Janus.loadWords, '--seconds', 1, ...words], options);
  assert.ok(r.result?.measured, `${r.result?.failure ?? ''} ${r.text} ${server.log}`);
  return r.result;
}

function assertWhole(sums, receivers) {
  assert.equal(sums.receivers, receivers);
  assert.equal(sums.silent + sums.lost + sums.duplicates + sums.ancient, 0);
  assert.ok(sums.expected > 0);
}

test('Janus: in two rooms of three, everything arrives once', { skip: janusMissing }, async () => {
  const r = await againstJanus('--rooms', 2, '--participants', 3, '--transport-cc', '--nack');
  assertWhole(r.video, 12);
  assertWhole(r.audio, 12);
  assert.equal(r.counts.unauthentic + r.counts.corrupt + r.counts.misrouted + r.counts.foreign, 0);
  assert.ok(r.server.cpu_ns_per_packet > 1000);
});

test('Janus: with counter mode, subscribers join and leave', { skip: janusMissing }, async () => {
  const r = await againstJanus('--subscribers', 4, '--churn', 3, '--profile', 'cm');
  assert.ok(r.churned >= 2, `${r.churned} left`);
  assert.equal(r.video.lost, 0);
});
