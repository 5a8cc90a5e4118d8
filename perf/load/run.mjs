// Starts a Ringcast on one core (free ports, data in /tmp), ringcast-load on another, runs a named
// scenario, stops both and says what came out. Also a library: see tests/integration/load.test.mjs.

import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { binaries, Ringcast } from '../../tests/lib/ringcast.mjs';
import { machine } from '../machine.mjs';

const usage = `perf/load/run SCENARIO [N] [options] [-- options of ringcast-load]
  video-1-to-N N     one publisher, N subscribers (default 100)
  audio-20-to-50     twenty publishers, fifty subscribers that take all of them
  rooms-10x10        ten rooms of ten, everybody publishes audio and video
  idle-30000 [N]     N silent transports, beside them video 1 to 10
  small-beside-large [N]  ten rooms of 1 to 5 video beside one of 1 to N (default 1000), each room's latency;
                     compare with N = 5: a large room must not delay its neighbours
  fan-out            the largest N of video-1-to-N with loss <= 0.1 %, found by bisection
  audio-fan-out      the same of audio, twenty publishers
options
  --p99 MS           fan-out: and with a p99 of latency within MS
  --from N           fan-out: where to begin (default 400)
  --rounds N         the same again, each with a new server (default 1); prints min and median
  --json FILE        all results, with command line, date and machine; perf/report reads it
  --server-core N    default 0     --load-core N   default 1
  --nice N           of both, such as -15 on a machine that others use (default 0)
  --lock FILE        each measurement holds this lock (flock)
  --env NAME=VALUE   a setting of the server, such as RINGCAST_IO_BACKEND=socket
Exit status: that of ringcast-load (0 measured, 1 not, 3 not valid).`;

const ENDPOINTS_PER_MEMBER = 200;

export const scenarios = {
  'video-1-to-N': (n = 100) => ['--publishers', 1, '--subscribers', n],
  'audio-20-to-50': (n = 50) => ['--audio', '--publishers', 20, '--subscribers', n],
  'rooms-10x10': () => ['--rooms', 10, '--participants', 10],
  'idle-30000': (n = 30000) => ['--idle', n, '--publishers', 1, '--subscribers', 10, '--settle-seconds', 60],
  'small-beside-large': (n = 1000) => ['--rooms', 11, '--publishers', 1, '--subscribers', 5, '--large', n, '--room-latency'],
};

// The same datagrams through a bare forwarder: HZ times a second so many of so many bytes to N. Options of
// ringcast-load that make other datagrams leave it without a bound.
const changing = ['--fps', '--video-kbps', '--video-bytes', '--audio-bytes', '--video', '--publishers', '--subscribers',
  '--rooms', '--participants', '--large', '--idle', '--churn', '--loss'];
const changesWork = (words) => words.some((word) => changing.includes(word));
const bareWork = {
  'video-1-to-N': (n = 100) => ['--paced', 30, '--segments', 9, '--bytes', 1200, '--destinations', n],
  'audio-20-to-50': (n = 50) => ['--paced', 1000, '--segments', 1, '--bytes', 160, '--destinations', n],
};

// What it costs, on the same processors, right after a run: the bound. Null where there is none.
async function bare(name, n, options) {
  const words = bareWork[name]?.(n);
  if (!words || n > 10000) return null;
  const command = [...prefix(options), 'taskset', '-c', `${options.serverCore},${options.loadCore}`,
    join(binaries, 'ringcast-bench-io'), ...words, '--json'].map(String);
  try {
    const { stdout } = await promisify(execFile)(command[0], command.slice(1));
    return { ...JSON.parse(stdout).paced, command: command.join(' ') };
  } catch (error) {
    console.error(`no bound for this run: ${(error.stderr || error.message).trim()}`);
    return null;
  }
}

const besideBare = ({ result, bare }) => (bare && result?.measured
  ? `bare forwarder ${Math.round(bare.ns)} ns: ${(result.server.cpu_ns_per_packet / bare.ns).toFixed(2)} times it` : '');

export const prefix = (options) => (options.nice ? ['nice', '-n', String(options.nice)] : []);

// A Ringcast on its core, with the limits that thousands of clients from one address need.
export function serve(options) {
  return Ringcast.start({
    MEDIASOUP_NUM_WORKERS: '1', MEDIASOUP_LOG_LEVEL: 'warn', RINGCAST_PAGE: '', RECONNECT_GRACE: '0',
    RATE_LIMIT_EVENTS: '100000', RINGCAST_LOGIN_ATTEMPTS: '100000', MAX_PARTICIPANTS_PER_ROOM: '10000',
    RINGCAST_SOCKETS_PER_ADDRESS: '1000000',
    RINGCAST_TRANSPORTS_PER_PARTICIPANT: String(ENDPOINTS_PER_MEMBER + 16), ...options.environment,
  }, [...prefix(options), 'taskset', '-c', String(options.serverCore)]);
}

// One run of ringcast-load against it: { status, result, text, command, counters, backend: the server's, at
// its end }. Any server will do that has `port` and `process`; see perf/peers.
export async function load(server, words, options) {
  const directory = await mkdtemp(join(tmpdir(), 'ringcast-load-'));
  try {
    const file = join(directory, 'result.json');
    const command = [...prefix(options), join(binaries, 'ringcast-load'), `http://127.0.0.1:${server.port}`,
      '--cpu', options.loadCore, ...(options.accounting === false ? [] : ['--server-cpu', options.serverCore,
        '--server-pid', server.process.pid]),
      '--endpoints-per-member', ENDPOINTS_PER_MEMBER, '--json', file, '--realtime', '--quiet', ...words].map(String);
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

// Waits until nobody else measures on this machine; returns who ends it.
export async function lock(file) {
  if (!file) return () => {};
  const holder = spawn('flock', [file, 'sh', '-c', 'echo; exec cat'], { stdio: ['pipe', 'pipe', 'inherit'] });
  await new Promise((resolve, reject) => {
    holder.stdout.once('data', resolve);
    holder.once('exit', () => reject(new Error(`${file} cannot be locked`)));
  });
  return () => holder.stdin.end();
}

// The same with a server of its own.
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

// Is N carried? 'yes', 'no', or 'unknown' when the generator spoiled the run.
export function verdict({ result }, p99) {
  if (!result?.measured || result.server.died) return 'no';
  if (!result.valid) return 'unknown';
  if (share(result.video) > 0.001 || share(result.audio) > 0.001) return 'no';
  const late = Math.max(result.video_latency_ms.p99, result.audio_latency_ms.p99);
  return p99 && late > p99 ? 'no' : 'yes';
}

// What the server itself complained about.
const complaints = (log) => log.split('\n').filter((l) => /level=(warn|error)/.test(l))
  .map((l) => `          server: ${l.replace(/^time=\S+ /, '')}`).slice(0, 6);
const died = (log) => (log.match(/a process died/g) ?? []).length;

function line(n, r) {
  const { result } = r;
  const deaths = died(r.log) ? `; the server lost ${died(r.log)} process(es) in this run` : '';
  if (!result?.measured) return `${n}: ${result?.failure ?? r.text}${deaths}`;
  const latency = result.video.receivers ? result.video_latency_ms : result.audio_latency_ms;
  return `${n}: loss ${(100 * Math.max(share(result.video), share(result.audio))).toFixed(3)} %, ` +
    `p50 ${latency.p50.toFixed(2)} p99 ${latency.p99.toFixed(2)} ms, ${Math.round(result.packets_per_second)} packets/s, ` +
    `${Math.round(result.server.cpu_ns_per_packet)} ns each (${result.server.sendto_per_packet.toFixed(3)} sendto), ` +
    `server core ${(100 * result.server.core_busy_share).toFixed(0)} %, generator ${(100 * result.generator.cpu_share).toFixed(0)} %` +
    (r.bare ? `, ${besideBare(r)}` : '') + deaths + (result.valid ? '' : ` INVALID: ${result.invalid_because.join('; ')}`);
}

// The first room beside the worst and the median of the others.
function rooms([first, ...others]) {
  const sorted = (key) => others.map((room) => room[key]).sort((a, b) => a - b);
  const ms = (value) => value.toFixed(2);
  return ['p50', 'p99', 'max'].map((key) => `rooms     ${key.padEnd(4)} first ${ms(first[key])} ms, the others ` +
    `${ms(sorted(key)[others.length >> 1])} (median), ${ms(sorted(key).at(-1))} (worst)`).join('\n');
}

// Of a run, for --json.
const kept = ({ result, command, backend, text, bare }) => ({ measured: false, failure: text.trim(), ...result,
  backend, bare, command: command.join(' ') });

// Doubles until it fails, then halves the interval down to 3 %. A run that the generator spoiled is
// tried once more; then the search ends with what is known.
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
  console.log(`largest: ${low}${unknown ? ' or more: above, the generator was the bottleneck' : ''}`);
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
      if (!name) throw new Error('--env NAME=VALUE is wanted');
      options.environment[name] = value;
    } else if (names[rest[i]]) {
      const name = names[rest[i]], value = rest[++i];
      options[name] = name === 'json' || name === 'lock' ? value : Number(value);
      if (value === undefined || Number.isNaN(options[name])) throw new Error(`${rest[i - 1]}: its value is missing or no number`);
    } else if (rest[i].startsWith('-')) {
      throw new Error(`${rest[i]}: no such option`);
    } else free.push(rest[i]);
  }
  const [name, n] = free;
  const known = scenarios[name] ?? { 'fan-out': 1, 'audio-fan-out': 1 }[name];
  if (!known || free.length > 2 || (n !== undefined && !(Number(n) > 0))) throw new Error(`no such scenario: ${free.join(' ') || '(none)'}`);
  return { name, n: n === undefined ? undefined : Number(n), options, words };
}

async function main() {
  let given;
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
    options.bare = changesWork(words) ? null : () => bare(name, n, options);
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
