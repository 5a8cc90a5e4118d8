// Compares Ringcast with other servers: the same generator and scenario, the servers in turn on one core, a
// new server for each run. Prints a table and writes JSON. Started by perf/compare.

import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { root } from '../../tests/lib/ringcast.mjs';
import { load, lock, scenarios, serve, share, verdict } from '../load/run.mjs';
import { machine } from '../machine.mjs';
import * as janus from './janus/janus.mjs';
import * as mediasoup from './mediasoup/mediasoup.mjs';

const usage = `perf/compare --targets ringcast,janus --scenario NAME [options] [-- options of ringcast-load]
Compares the CPU time per packet of several servers under the same load.
  scenarios: video-1-to-N (--n N, default 100), audio-20-to-50, rooms-10x10
  targets: ringcast, janus, mediasoup (a target that is not installed is named and left out)
  --rounds N             rounds of all targets (default 5); the first round does not count
  --fan-out              search the largest number of subscribers with a loss of at most 0.1 %
  --p99 MS               --fan-out: the p99 of latency must also be at most MS
  --seconds N            length of each measurement (default 10; --fan-out: 5)
  --profile P            SRTP cipher: gcm128 (default), gcm256, cm
  --server-core N        core of the servers (default 0)
  --load-core N          core of the generator (default 1)
  --janus-event-loops N  threads that serve all handles of Janus (default 1, by far the cheapest on one core);
                         0: a thread for each handle, as Janus does without configuration
  --nice N               priority of servers and generator, such as -15 on a machine that others use (default 0)
  --lock FILE            hold this lock (flock) during each round
  --json FILE            write all results; perf/report reads the file
Exit status: 0 measured; 1 a target could not be measured; 2 wrong options; 3 the generator was the bottleneck.`;

const REPEATS = 2; // how often a spoiled run is repeated
const LOSS_MAX = 0.001;
const OTHERS_MAX = 0.1; // share of the server's core that other processes may use

const targets = {
  ringcast: {
    missing: async () => null,
    start: (o) => serve({ ...o, environment: {} }),
    words: [],
    from: 400,
  },
  janus: {
    missing: janus.missing,
    start: (o) => janus.Janus.start({ ...o, eventLoops: o.janusEventLoops }),
    words: janus.Janus.loadWords,
    from: 50,
  },
  mediasoup: {
    missing: mediasoup.missing,
    start: (o) => mediasoup.Mediasoup.start(o),
    words: [],
    from: 200,
  },
};

const compared = ['video-1-to-N', 'audio-20-to-50', 'rooms-10x10'];

// ---- one run ----

async function once(name, words, options) {
  const target = targets[name];
  const server = await target.start(options);
  try {
    const r = await load(server, [...target.words, '--profile', options.profile, ...words, ...options.words], options);
    return { ...valuesOf(r, options.p99), target: name, version: server.version ?? await ringcastVersion() };
  } finally {
    await server.stop();
  }
}

// Runs something while holding --lock, so that all targets of a round see the same machine.
async function withLock(options, run) {
  const unlock = await lock(options.lock);
  try {
    await run();
  } finally {
    unlock();
  }
}

let described;
async function ringcastVersion() {
  described ??= promisify(execFile)('git', ['-c', 'safe.directory=*', '-C', root, 'describe', '--always', '--dirty'])
    .then(({ stdout }) => `Ringcast ${stdout.trim()}`, () => 'Ringcast');
  return described;
}

// The values of a run that the tables need, and everything that the generator reported.
function valuesOf(r, p99) {
  const { result, command, status, text, backend } = r;
  const base = { command: command.join(' '), status, backend, result };
  if (!result?.measured) return { ...base, valid: false, answer: 'no', why: result?.failure || text.trim() };
  const latency = result.video.receivers ? result.video_latency_ms : result.audio_latency_ms;
  return {
    ...base, valid: result.valid, answer: verdict(r, p99), why: result.invalid_because.join('; '),
    cpu_ns: result.server.cpu_ns_per_packet, sendto: result.server.sendto_per_packet,
    loss: Math.max(share(result.video), share(result.audio)),
    p50_ms: latency.p50, p99_ms: latency.p99, server_share: result.server.cpu_share,
    // The share of the server's core that other processes used. It is high on a busy machine.
    others_share: Math.max(0, result.server.core_busy_share - result.server.cpu_share),
    packets_per_second: result.packets_per_second, generator_share: result.generator.cpu_share,
  };
}

// Why a run says nothing about the server, or null. Either the generator was the bottleneck, or packets were
// lost while other processes used much of the server's core.
function spoiled(run) {
  if (run.status === 3) return `not valid: ${run.why}`;
  if (run.loss > LOSS_MAX && run.others_share > OTHERS_MAX)
    return `lost ${percent(run.loss)} while other processes used ${percent(run.others_share, 0)} of the server's core`;
  return null;
}

// Repeats a spoiled run, at most twice; then it keeps the last result.
async function repeatIfSpoiled(name, words, options) {
  for (let again = 0; ; again++) {
    const run = await once(name, words, options);
    const why = spoiled(run);
    if (!why) return run;
    run.spoiled = why;
    if (again === REPEATS) return run;
    console.log(`${name.padEnd(10)}${why}; ${again + 1 === REPEATS ? 'repeating it for the last time' : 'repeating it'}`);
  }
}

// ---- equal load ----

const median = (values) => {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b), middle = sorted.length >> 1;
  if (!sorted.length) return NaN;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

const percent = (x, digits = 3) => `${(100 * x).toFixed(digits)} %`;

function runText(run) {
  if (run.cpu_ns === undefined) return `FAILED: ${run.why}`;
  return `${Math.round(run.cpu_ns)} ns/packet = ${run.sendto.toFixed(3)} sendto, loss ${percent(run.loss)}, ` +
    `p50 ${run.p50_ms.toFixed(2)} p99 ${run.p99_ms.toFixed(2)} ms, ${Math.round(run.packets_per_second)} packets/s, ` +
    `its core: server ${percent(run.server_share, 0)}, other processes ${percent(run.others_share, 0)}; ` +
    `generator ${percent(run.generator_share, 0)}${run.valid ? '' : ` NOT VALID: ${run.why}`}`;
}

// True: the run is valid and not of the first round.
const counts = (run) => run.round > 1 && run.valid;

// Medians of the rounds that count.
function summary(rounds) {
  const counted = rounds.filter(counts);
  const of = (field) => median(counted.map((r) => r[field]));
  return {
    rounds: counted.length, cpu_ns: of('cpu_ns'), cpu_ns_min: Math.min(...counted.map((r) => r.cpu_ns)),
    sendto: of('sendto'), loss_worst: Math.max(...counted.map((r) => r.loss)), p50_ms: of('p50_ms'),
    p99_ms: of('p99_ms'), server_share: of('server_share'), others_share: of('others_share'),
    packets_per_second: of('packets_per_second'),
  };
}

// The first target's cost divided by the other's: the median of the ratios of all rounds.
function ratio(first, other) {
  const pairs = first.filter(counts).map((r) => [r, other.find((o) => o.round === r.round && o.valid)]);
  const of = (field) => median(pairs.filter(([, o]) => o).map(([r, o]) => r[field] / o[field]));
  return { cpu: of('cpu_ns'), sendto: of('sendto') };
}

async function equalLoad(names, options) {
  const words = [...scenarios[options.scenario](options.n), '--seconds', options.seconds ?? 10];
  const rounds = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 1; round <= options.rounds; round++)
    await withLock(options, async () => {
      for (const name of names) {
        const run = { round, ...await repeatIfSpoiled(name, words, options) };
        rounds[name].push(run);
        console.log(`${name.padEnd(10)}round ${round}${round === 1 ? ' (does not count)' : ''}: ${runText(run)}`);
        if (round === 1) console.log(`          ${run.command}`);
      }
    });
  const medians = Object.fromEntries(names.map((name) => [name, summary(rounds[name])]));
  const ratios = Object.fromEntries(names.slice(1).map((name) => [name, ratio(rounds[names[0]], rounds[name])]));
  printEqualLoad(names, medians, ratios, rounds);
  return { kind: 'equal-load', load_words: words.map(String), rounds, medians, ratios };
}

function printEqualLoad(names, medians, ratios, rounds) {
  const row = (cells) => console.log(cells.map((cell, i) => (i ? String(cell).padStart(13) : String(cell).padEnd(10))).join(''));
  console.log('');
  row(['', 'rounds', 'min ns/pkt', 'median', 'sendto', 'worst loss', 'p50 ms', 'p99 ms', 'packets/s', 'core', 'other',
    'ratio']);
  for (const name of names) {
    const m = medians[name];
    if (!m.rounds) row([name, 0, '-', '(no valid round)']);
    else row([name, m.rounds, Math.round(m.cpu_ns_min), Math.round(m.cpu_ns), m.sendto.toFixed(3), percent(m.loss_worst),
      m.p50_ms.toFixed(2), m.p99_ms.toFixed(2), Math.round(m.packets_per_second), percent(m.server_share, 0),
      percent(m.others_share, 0), ratios[name] ? `${ratios[name].cpu.toFixed(3)}x` : '']);
  }
  if (names.length > 1) console.log(`ratio: CPU time per packet of ${names[0]} divided by that of this server`);
  for (const name of names) console.log(`${name}: ${rounds[name].at(-1).version}`);
}

// ---- largest fan-out, by bisection ----

// Doubles N until the server does not carry it, then halves the interval down to 3 %. Targets take turns.
class Search {
  constructor(name) {
    Object.assign(this, { name, low: 0, high: Infinity, n: targets[name].from, steps: [] });
  }

  get done() {
    return this.high - this.low <= Math.max(1, this.low * 0.03) || this.n <= this.low;
  }

  async step(options) {
    const words = [...scenarios[options.scenario](this.n), '--seconds', options.seconds ?? 5];
    const run = { n: this.n, ...await repeatIfSpoiled(this.name, words, options) };
    this.steps.push(run);
    console.log(`${this.name.padEnd(10)}${String(this.n).padStart(5)} ${run.answer.padEnd(8)}${runText(run)}`);
    if (this.steps.length === 1) console.log(`          ${run.command}`);
    if (run.answer === 'yes') this.low = this.n;
    else this.high = this.n;
    this.n = this.high === Infinity ? this.n * 2 : (this.low + this.high) >> 1;
  }

  // The reason why the failure of the smallest N that failed does not count, or null. With a
  // reason, the server may carry more.
  get spoiled() {
    return this.steps.find((s) => s.n === this.high)?.spoiled ?? null;
  }
}

async function fanOut(names, options) {
  const searches = names.map((name) => new Search(name));
  while (searches.some((s) => !s.done))
    await withLock(options, async () => {
      for (const search of searches) if (!search.done) await search.step(options);
    });
  console.log(`\nlargest fan-out of ${options.scenario} with loss <= ${percent(LOSS_MAX, 1)}${options.p99 ? `, p99 <= ${options.p99} ms` : ''}`);
  const largest = {};
  for (const s of searches) {
    const best = s.steps.find((step) => step.n === s.low);
    largest[s.name] = { n: s.low, or_more: s.spoiled !== null, loss: best?.loss, p99_ms: best?.p99_ms,
      packets_per_second: best?.packets_per_second };
    console.log(`${s.name.padEnd(10)}${s.low}${s.spoiled ? ` or more (${s.high} ${s.spoiled})` : ''}` +
      (best ? `: loss ${percent(best.loss)}, p99 ${best.p99_ms.toFixed(1)} ms, ` +
        `${Math.round(best.packets_per_second)} packets/s; ${best.version}` : ''));
  }
  return { kind: 'fan-out', steps: Object.fromEntries(searches.map((s) => [s.name, s.steps])), largest };
}

// ---- command line ----

function readWords(argv) {
  const options = { targets: 'ringcast,janus', scenario: null, n: undefined, rounds: 5, seconds: undefined, profile: 'gcm128',
    serverCore: 0, loadCore: 1, janusEventLoops: 1, nice: 0, p99: 0, lock: null, json: null, fanOut: false };
  const texts = ['targets', 'scenario', 'profile', 'lock', 'json'];
  const cut = argv.indexOf('--'), own = cut < 0 ? argv : argv.slice(0, cut);
  options.words = cut < 0 ? [] : argv.slice(cut + 1);
  for (let i = 0; i < own.length; i++) {
    const name = own[i].replace(/^--/, '').replace(/-([a-z])/g, (_, letter) => letter.toUpperCase());
    if (!own[i].startsWith('--') || !(name in options) || name === 'words') throw new Error(`${own[i]}: unknown option`);
    if (name === 'fanOut') {
      options.fanOut = true;
      continue;
    }
    const value = own[++i];
    if (value === undefined) throw new Error(`${own[i - 1]}: its value is missing`);
    if (!texts.includes(name) && !/^-?\d+$/.test(value)) throw new Error(`${own[i - 1]} ${value}: must be a whole number`);
    options[name] = texts.includes(name) ? value : Number(value);
  }
  options.targets = options.targets.split(',');
  const unknown = options.targets.find((name) => !targets[name]);
  if (unknown !== undefined) throw new Error(`${unknown}: unknown target; there are ${Object.keys(targets).join(', ')}`);
  if (!compared.includes(options.scenario)) throw new Error(options.scenario === null ? '--scenario is missing' : `--scenario ${options.scenario}: unknown scenario`);
  if (options.fanOut && options.scenario === 'rooms-10x10') throw new Error('--fan-out is not possible with rooms-10x10');
  if (!options.fanOut && options.rounds < 2) throw new Error('--rounds 1: must be at least 2, because the first round does not count');
  return options;
}

// The targets that are installed. Prints why the others are left out.
async function findInstalled(names) {
  const there = [];
  for (const name of names) {
    const why = await targets[name].missing();
    if (why) console.log(why);
    else there.push(name);
  }
  return there;
}

async function main() {
  let options;
  if (process.argv.includes('--help')) {
    console.log(usage);
    return 0;
  }
  try {
    options = readWords(process.argv.slice(2));
  } catch (error) {
    console.error(`compare: ${error.message}\n${usage}`);
    return 2;
  }
  const names = await findInstalled(options.targets);
  if (!names.length) {
    console.error('compare: none of the targets is on this machine');
    return 1;
  }
  const began = new Date().toISOString(), measuredOn = await machine();
  const measured = options.fanOut ? await fanOut(names, options) : await equalLoad(names, options);
  const runs = Object.values(measured.rounds ?? measured.steps).flat();
  if (options.json)
    await writeFile(options.json, JSON.stringify({ began, command: ['perf/compare', ...process.argv.slice(2)].join(' '),
      machine: measuredOn, n: options.n,
      scenario: options.scenario, profile: options.profile, targets: names, ...measured }, null, 1));
  if (!options.fanOut && runs.some((r) => r.round > 1 && r.cpu_ns === undefined)) return 1;
  return runs.some((r) => r.status === 3) ? 3 : 0;
}

// This is process 1 of its PID namespace: when it ends, the kernel ends all others.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1));
if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) process.exit(await main());
