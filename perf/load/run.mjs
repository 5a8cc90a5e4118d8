// Runs a scenario of ringcast-load against a new Ringcast (free ports, data in /tmp). Also a library: see
// tests/integration/load.test.mjs.

import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { binaries, Ringcast } from '../../tests/lib/ringcast.mjs';
import { machine } from '../machine.mjs';

const usage = `perf/load/run SCENARIO [N] [options] [-- options of ringcast-load]
Starts a Ringcast on one core, runs ringcast-load on another, stops both and prints the result.
  video-1-to-N [N]   one publisher of video, N subscribers (default 100)
  audio-20-to-50 [N] twenty publishers of audio, N subscribers (default 50) that receive all of them
  rooms-10x10        ten rooms of ten participants; each publishes audio and video
  idle-30000 [N]     N transports without media (default 30000), and one publisher of video with ten subscribers
  small-beside-large [N]
                     one room with N subscribers of video (default 1000) and ten rooms with five; prints the
                     latency of each room. Compare it with a run of N = 5: a large room must not slow down others.
  join-100 [N]       N subscribers (default 100) join a running publisher of video within a second; prints how
                     long each waits for a complete key frame, and how many the publisher is asked for
  flip-layers [N]    one publisher of simulcast; N subscribers (default 20) change the layer each second, and check
                     how the server rewrites the stream
  fan-out            searches the largest N of video-1-to-N with a loss of at most 0.1 %
  audio-fan-out      the same with audio of twenty publishers
options
  --p99 MS           fan-out: the p99 of latency must also be at most MS
  --from N           fan-out: begin with N (default 400)
  --rounds N         run it N times, each with a new server (default 1); prints minimum and median
  --json FILE        write all results, with command line, date and machine; perf/report reads the file
  --server-core N    core of the server (default 0)
  --load-core N      core of ringcast-load (default 1)
  --nice N           priority of both, such as -15 on a machine that others use (default 0)
  --lock FILE        hold this lock (flock) during each measurement
  --env NAME=VALUE   a setting of the server, such as RINGCAST_IO_BACKEND=socket
Exit status: that of ringcast-load (0 measured; 1 could not measure; 2 wrong options; 3 not valid).`;

const ENDPOINTS_PER_MEMBER = 200;

export const scenarios = {
  'video-1-to-N': (n = 100) => ['--publishers', 1, '--subscribers', n],
  'audio-20-to-50': (n = 50) => ['--audio', '--publishers', 20, '--subscribers', n],
  'rooms-10x10': () => ['--rooms', 10, '--participants', 10],
  'idle-30000': (n = 30000) => ['--idle', n, '--publishers', 1, '--subscribers', 10, '--settle-seconds', 60],
  'join-100': (n = 100) => ['--publishers', 1, '--subscribers', 1, '--join', n],
  'flip-layers': (n = 20) => ['--publishers', 1, '--subscribers', n, '--simulcast', 3, '--layers', 'flip', '--verify'],
  'small-beside-large': (n = 1000) => ['--rooms', 11, '--publishers', 1, '--subscribers', 5, '--large', n, '--room-latency'],
};

// The bare forwarder (see README.md) must forward the same datagrams as the server. With these options of
// ringcast-load it would not, so then it does not run.
const changing = ['--fps', '--video-kbps', '--video-bytes', '--audio-bytes', '--video', '--publishers', '--subscribers',
  '--rooms', '--participants', '--large', '--idle', '--churn', '--loss', '--receive-loss', '--simulcast', '--svc', '--codec',
  '--join', '--via'];
const changesWork = (words) => words.some((word) => changing.includes(word));
// Options of ringcast-bench-io: bursts per second, datagrams in a burst, their size, receivers.
const bareWork = {
  'video-1-to-N': (n = 100) => ['--paced', 30, '--segments', 9, '--bytes', 1200, '--destinations', n],
  'audio-20-to-50': (n = 50) => ['--paced', 1000, '--segments', 1, '--bytes', 160, '--destinations', n],
};

// The cost of the bare forwarder on the same cores, right after a run. Null: there is none for this scenario.
async function measureBare(name, n, options) {
  const words = bareWork[name]?.(n);
  if (!words || n > 10000) return null;
  const command = [...prefix(options), 'taskset', '-c', `${options.serverCore},${options.loadCore}`,
    join(binaries, 'ringcast-bench-io'), ...words, '--json'].map(String);
  try {
    const { stdout } = await promisify(execFile)(command[0], command.slice(1));
    return { ...JSON.parse(stdout).paced, command: command.join(' ') };
  } catch (error) {
    console.error(`the bare forwarder failed: ${(error.stderr || error.message).trim()}`);
    return null;
  }
}

const besideBare = ({ result, bare }) => (bare && result?.measured
  ? `bare forwarder ${Math.round(bare.ns)} ns per packet; the server needs ${(result.server.cpu_ns_per_packet / bare.ns).toFixed(2)} times as much` : '');

export const prefix = (options) => (options.nice ? ['nice', '-n', String(options.nice)] : []);

// Starts a Ringcast on its core. Its limits allow thousands of clients from one address.
export function serve(options) {
  return Ringcast.start({
    MEDIASOUP_NUM_WORKERS: '1', MEDIASOUP_LOG_LEVEL: 'warn', RINGCAST_PAGE: '', RECONNECT_GRACE: '0',
    RATE_LIMIT_EVENTS: '100000', RINGCAST_LOGIN_ATTEMPTS: '100000', MAX_PARTICIPANTS_PER_ROOM: '10000',
    RINGCAST_SOCKETS_PER_ADDRESS: '1000000',
    RINGCAST_TRANSPORTS_PER_PARTICIPANT: String(ENDPOINTS_PER_MEMBER + 16), RINGCAST_TRANSPORTS_PER_USER: '1000000',
    RINGCAST_PRODUCERS_PER_USER: '1000000', RINGCAST_CONSUMERS_PER_USER: '1000000', RINGCAST_ADDRESS_SHARE: '100', ...options.environment,
  }, [...prefix(options), 'taskset', '-c', String(options.serverCore)]);
}

// One run of ringcast-load against a server: any object with `port` and `process` (see perf/peers). Returns
// { status, result, text, command, counters, backend }; the last two are the server's at the end of the run.
export async function load(server, words, options) {
  const directory = await mkdtemp(join(tmpdir(), 'ringcast-load-'));
  try {
    const file = join(directory, 'result.json');
    const command = [...prefix(options), join(binaries, 'ringcast-load'), `http://127.0.0.1:${server.port}`,
      '--cpu', options.loadCore, ...(options.accounting === false ? [] : ['--server-cpu', options.serverCore,
        '--server-pid', server.process.pid]),
      '--endpoints-per-member', ENDPOINTS_PER_MEMBER, '--json', file, ...(options.realtime === false ? [] : ['--realtime']), '--quiet', ...words].map(String);
    const child = spawn(command[0], command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    child.stdout.on('data', (data) => { text += data; });
    child.stderr.on('data', (data) => { text += data; });
    const status = await new Promise((resolve) => child.on('close', resolve));
    const counters = await server.counters?.().catch(() => null);
    const backend = await server.backend?.().catch(() => null);
    return { status, text, command, counters, backend, result: JSON.parse(await readFile(file, 'utf8').catch(() => 'null')) };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

// Waits for the lock. Returns a function that releases it.
export async function lock(file) {
  if (!file) return () => {};
  const holder = spawn('flock', [file, 'sh', '-c', 'echo; exec cat'], { stdio: ['pipe', 'pipe', 'inherit'] });
  await new Promise((resolve, reject) => {
    holder.stdout.once('data', resolve);
    holder.once('exit', () => reject(new Error(`cannot lock ${file}`)));
  });
  return () => holder.stdin.end();
}

// One run of ringcast-load against a new Ringcast.
export async function measure(words, options) {
  const unlock = await lock(options.lock);
  let server;
  try {
    server = await serve(options);
    const run = { ...await load(server, words, options), log: server.log };
    await server.stop();
    return { ...run, bare: options.bare ? await options.bare() : null };
  } finally {
    await server?.stop();
    unlock();
  }
}

export const share = (sums) => (sums?.expected ? sums.lost / sums.expected : 0);

// Does the server carry this load? 'yes', 'no', or 'unknown' if the generator was the bottleneck.
export function verdict({ result }, p99) {
  if (!result?.measured || result.server.died) return 'no';
  if (!result.valid) return 'unknown';
  if (share(result.video) > 0.001 || share(result.audio) > 0.001) return 'no';
  const late = Math.max(result.video_latency_ms.p99, result.audio_latency_ms.p99);
  return p99 && late > p99 ? 'no' : 'yes';
}

// Warnings and errors of the server.
const complaints = (log) => log.split('\n').filter((l) => /level=(warn|error)/.test(l))
  .map((l) => `          server: ${l.replace(/^time=\S+ /, '')}`).slice(0, 6);
const died = (log) => (log.match(/a process died/g) ?? []).length;

function line(n, r) {
  const { result } = r;
  const deaths = died(r.log) ? `; ${died(r.log)} process(es) of the server died` : '';
  if (!result?.measured) return `${n}: ${result?.failure ?? r.text}${deaths}`;
  const latency = result.video.receivers ? result.video_latency_ms : result.audio_latency_ms;
  return `${n}: loss ${(100 * Math.max(share(result.video), share(result.audio))).toFixed(3)} %, ` +
    `p50 ${latency.p50.toFixed(2)} p99 ${latency.p99.toFixed(2)} ms, ${Math.round(result.packets_per_second)} packets/s, ` +
    `${Math.round(result.server.cpu_ns_per_packet)} ns each (${result.server.sendto_per_packet.toFixed(3)} sendto), ` +
    `server core ${(100 * result.server.core_busy_share).toFixed(0)} %, generator ${(100 * result.generator.cpu_share).toFixed(0)} %` +
    (r.bare ? `, ${besideBare(r)}` : '') + deaths + (result.valid ? '' : ` INVALID: ${result.invalid_because.join('; ')}`);
}

// The latency of the first room, and the worst and the median of the other rooms.
function rooms([first, ...others]) {
  const sorted = (key) => others.map((room) => room[key]).sort((a, b) => a - b);
  const ms = (value) => value.toFixed(2);
  return ['p50', 'p99', 'max'].map((key) => `rooms     ${key.padEnd(4)} first ${ms(first[key])} ms, others ` +
    `${ms(sorted(key)[others.length >> 1])} (median), ${ms(sorted(key).at(-1))} (worst)`).join('\n');
}

// The part of a run that --json keeps.
const kept = ({ result, command, backend, text, bare }) => ({ measured: false, failure: text.trim(), ...result,
  backend, bare, command: command.join(' ') });

// Doubles N until the server does not carry it, then halves the interval down to 3 %. If the generator was
// the bottleneck, the run is repeated once; then this N counts as not carried, and the result as "or more".
async function fanOut(scenario, options, words) {
  const all = [];
  const attempt = async (n) => {
    for (let again = 0; ; again++) {
      const r = await measure([...scenario(n), '--seconds', 5, ...words], options);
      const answer = verdict(r, options.p99);
      all.push({ n, answer, ...kept(r) });
      console.log(`${answer.padEnd(8)}${line(n, r)}`);
      if (answer !== 'unknown' || again) return answer;
    }
  };
  let low = 0, high = Infinity, n = options.from, unknown = false;
  while (high - low > Math.max(1, low * 0.03)) {
    const answer = await attempt(n);
    if (answer === 'yes') low = n;
    else high = n;
    unknown = answer === 'unknown' || (unknown && answer === 'yes');
    n = high === Infinity ? n * 2 : Math.floor((low + high) / 2);
    if (n === low) break;
  }
  console.log(`largest: ${low}${unknown ? ' or more: with a larger N the generator was the bottleneck' : ''}`);
  return { status: unknown ? 3 : 0, all };
}

function readWords(argv) {
  const options = { p99: 0, from: 400, rounds: 1, serverCore: 0, loadCore: 1, nice: 0, json: null, lock: null, environment: {} };
  const names = { '--p99': 'p99', '--from': 'from', '--rounds': 'rounds', '--server-core': 'serverCore',
    '--load-core': 'loadCore', '--nice': 'nice', '--json': 'json',
    '--lock': 'lock' };
  const cut = argv.indexOf('--');
  const words = cut < 0 ? [] : argv.slice(cut + 1), free = [];
  const rest = cut < 0 ? argv : argv.slice(0, cut);
  for (let i = 0; i < rest.length; i++) {
    if (rest[i] === '--env') {
      const [, name, value] = rest[++i]?.match(/^(\w+)=(.*)$/) ?? [];
      if (!name) throw new Error('--env: must be NAME=VALUE');
      options.environment[name] = value;
    } else if (names[rest[i]]) {
      const name = names[rest[i]], value = rest[++i];
      options[name] = name === 'json' || name === 'lock' ? value : Number(value);
      if (value === undefined || Number.isNaN(options[name])) throw new Error(`${rest[i - 1]}: its value is missing or is no number`);
    } else if (rest[i].startsWith('-')) {
      throw new Error(`${rest[i]}: unknown option`);
    } else free.push(rest[i]);
  }
  const [name, n] = free;
  const known = scenarios[name] ?? { 'fan-out': 1, 'audio-fan-out': 1 }[name];
  if (!known || free.length > 2 || (n !== undefined && !(Number(n) > 0))) throw new Error(free.length ? `unknown scenario: ${free.join(' ')}` : 'name a scenario');
  return { name, n: n === undefined ? undefined : Number(n), options, words };
}

async function main() {
  let given;
  if (process.argv.slice(2, process.argv.includes('--') ? process.argv.indexOf('--') : undefined).includes('--help')) {
    console.log(usage);
    return 0;
  }
  try {
    given = readWords(process.argv.slice(2));
  } catch (error) {
    console.error(`${error.message}\n${usage}`);
    return 2;
  }
  const { name, n, options, words } = given;
  const about = { program: 'perf/load/run', command: ['perf/load/run', ...process.argv.slice(2)].join(' '),
    began: new Date().toISOString(), machine: options.json ? await machine() : null };
  let status = 0, all = [];
  if (name.endsWith('fan-out')) {
    const scenario = scenarios[name === 'fan-out' ? 'video-1-to-N' : 'audio-20-to-50'];
    ({ status, all } = await fanOut(scenario, options, words));
  } else {
    options.bare = changesWork(words) ? null : () => measureBare(name, n, options);
    for (let round = 0; round < options.rounds; round++) {
      const r = await measure([...scenarios[name](n), ...words], options);
      if (r.result?.room_latency_ms) console.log(rooms(r.result.room_latency_ms));
      console.log(options.rounds > 1 ? line(`round ${round + 1}`, r) : [r.text.trimEnd(), besideBare(r), ...complaints(r.log)]
        .filter(Boolean).join('\n'));
      all.push(kept(r));
      status = Math.max(status, r.status ?? 1);
    }
    const costs = all.filter((r) => r?.valid).map((r) => r.server).sort((a, b) => a.cpu_ns_per_packet - b.cpu_ns_per_packet);
    if (options.rounds > 1 && costs.length) {
      const median = costs[Math.floor(costs.length / 2)];
      console.log(`${costs.length} valid rounds: min ${Math.round(costs[0].cpu_ns_per_packet)} ns = ${costs[0].sendto_per_packet.toFixed(3)} sendto, ` +
        `median ${Math.round(median.cpu_ns_per_packet)} ns = ${median.sendto_per_packet.toFixed(3)} sendto per forwarded packet`);
    }
  }
  if (options.json)
    await writeFile(options.json, JSON.stringify({ ...about, scenario: name, n, p99: options.p99, environment: options.environment,
      profile: words.includes('--profile') ? words[words.indexOf('--profile') + 1] : 'gcm128', runs: all }, null, 1));
  return status;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) process.exitCode = await main();
