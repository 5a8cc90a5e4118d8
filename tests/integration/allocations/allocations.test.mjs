// Threat H10: whichever allocation of the control plane fails, no process dies or hangs, requests are answered
// "unavailable" or the connection closes, other people's connections stay, and afterwards all is well.
//
// Short: a sample. RINGCAST_ALLOCATIONS_ALL=1: every k from 1 to 2000. RINGCAST_ALLOCATIONS=every:7 or once:1234
// repeats one case.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, closeSync, mkdirSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { binaries, freePort, Ringcast, sanitizerOptions, until } from '../../lib/ringcast.mjs';
import { http, Peer, Session } from './session.mjs';

const all = Boolean(process.env.RINGCAST_ALLOCATIONS_ALL);
const only = process.env.RINGCAST_ALLOCATIONS_CASE;
const K_MAX = 2000;

// What the allocator shall do (failing.c), in a file that both map.
class Orders {
  constructor(folder) {
    this.folder = folder;
    chmodSync(folder, 0o755);
    this.path = join(folder, 'orders');
    writeFileSync(this.path, Buffer.alloc(4096));
    chmodSync(this.path, 0o666);
    this.file = openSync(this.path, 'r+');
  }

  #write(offset, ...words) {
    const bytes = Buffer.alloc(8 * words.length);
    words.forEach((word, i) => bytes.writeBigUInt64LE(BigInt(word), 8 * i));
    writeSync(this.file, bytes, 0, bytes.length, offset);
  }

  // Allocation `first` from now on fails, and every `every`-th after it (0: no other).
  fail(first, every) {
    this.#write(0, 0, every, 0, 0, 0);
    this.#write(0, first);
  }

  // Nothing fails any more. Returns how many were asked for, how many failed, and where the last one was.
  stop() {
    this.#write(0, 0);
    const bytes = Buffer.alloc(40);
    readSync(this.file, bytes, 0, 40, 0);
    return { count: Number(bytes.readBigUInt64LE(16)), failed: Number(bytes.readBigUInt64LE(24)), who: bytes.readBigUInt64LE(32) };
  }

  close() {
    closeSync(this.file);
  }
}

const folder = mkdtempSync(join(tmpdir(), 'ringcast-allocations-'));
chmodSync(folder, 0o755);
const orders = new Orders(folder);
const page = join(folder, 'page');
mkdirSync(page);
writeFileSync(join(page, 'index.html'), '<p>A page</p>');
let ringcast, host, guest, reference, bystanders;

const settings = { RINGCAST_ALLOCATIONS: orders.path, RINGCAST_PAGE: page, RECONNECT_GRACE: '1', RATE_LIMIT_EVENTS: '100000',
  RINGCAST_ACCOUNT_ATTEMPTS: '1000', RINGCAST_PING_INTERVAL: '300000', MEDIASOUP_LOG_LEVEL: 'warn',
  RINGCAST_CONNECTIONS_PER_MINUTE: '100000' };

async function account(name) {
  const { token, user } = await ringcast.person(name);
  return { token, ...user };
}

before(async () => {
  ringcast = await Ringcast.start(settings);
  [host, guest] = [await account('host'), await account('guest')];
  reference = await new Session(ringcast.port, host, guest).run();
  assert.deepEqual(reference.faults, []);
  assert.deepEqual(Object.entries(reference.steps).filter(([, { result }]) => result !== 'ok'), []);
  await openBystanders();
});

// Two people in a room of their own, who do nothing while allocations fail.
async function openBystanders() {
  const peers = [];
  for (const name of ['a', 'b']) peers.push(await Peer.open(ringcast.port, (await account(name)).token));
  const { roomId } = await peers[0].ask('room:create', { title: 'bystanders' });
  for (const peer of peers) await peer.ask('room:join', { roomId });
  bystanders = { peers, roomId };
}

after(async () => {
  orders.stop();
  if (bystanders) await Promise.all(bystanders.peers.map((peer) => peer.end()));
  const exit = await ringcast?.stop();
  orders.close();
  rmSync(folder, { recursive: true, force: true });
  if (process.env.RINGCAST_SHOW_LOG) console.log(ringcast.log);
  assert.deepEqual(exit, { code: 0, signal: null }, ringcast.log.slice(-5000));
  const complaints = ringcast.log.split('\n').filter((line) => /Sanitizer|runtime error/.test(line) && !/sandbox/.test(line));
  assert.deepEqual(complaints, [], ringcast.log.slice(-20000));
});

const session = (fresh) => Object.assign(new Session(ringcast.port, host, guest, fresh ?? reference), { capabilities: reference.capabilities }).run();

async function bystandersAreWell() {
  const [a, b] = bystanders.peers, faults = [];
  for (const peer of [a, b]) {
    const answer = peer.closed ? { code: 'closed' } : await peer.ask('media:getRouterCapabilities', { roomId: bystanders.roomId });
    if (!answer.rtpCapabilities) faults.push(`a bystander: ${JSON.stringify(answer)} ${peer.why ?? ''}`);
  }
  return faults;
}

// Runs a session while allocations fail. Returns what was wrong.
async function attempt(first, every) {
  const { controlplane } = await ringcast.pids();
  const from = ringcast.log.length;
  orders.fail(first, every);
  const done = await session(), { faults, steps } = done;
  const sums = orders.stop();
  await done.leave();
  const now = await ringcast.pids();
  if (now.controlplane !== controlplane) {
    faults.push(`the control plane died:\n${ringcast.log.slice(from).slice(0, 6000)}`);
    await until(async () => (await ringcast.health()).status === 'ok', 'healthy again');
    await openBystanders();
  } else faults.push(...await bystandersAreWell());
  return { faults, steps, ...sums };
}

// One line for each case that went wrong, and a figure for all.
async function sweep(what, cases) {
  const wrong = [], sums = { cases: 0, failed: 0, ok: 0, unavailable: 0, closed: 0, most: 0 };
  for (const [first, every] of cases) {
    const { faults, steps, count, failed, who } = await attempt(first, every);
    sums.cases++;
    sums.failed += failed;
    sums.most = Math.max(sums.most, count);
    for (const { result } of Object.values(steps)) sums[result]++;
    if (!faults.length) continue;
    wrong.push(`${every ? `every:${every}` : `once:${first}`} (${failed} failed, the last at 0x${who.toString(16)}):\n${faults.join('\n')}`);
    console.log(`# ${wrong.at(-1).replaceAll('\n', '\n# ')}`);
    if (wrong.length >= 20) break;
  }
  console.log(`# ${what}: ${sums.cases} sessions, ${sums.failed} failed allocations, of up to ${sums.most} in a session; steps: `
    + `${sums.ok} done, ${sums.unavailable} unavailable, ${sums.closed} closed`);
  const clean = await session();
  assert.deepEqual(clean.faults, [], 'afterwards a session succeeds');
  assert.deepEqual(Object.entries(clean.steps).filter(([, { result }]) => result !== 'ok'), []);
  assert.deepEqual(wrong, [], `${wrong.length} cases`);
}

// Starts a control plane of its own. { count, text }: how it ended.
async function start(first) {
  const own = new Orders(mkdtempSync(join(folder, 'start-')));
  own.fail(first, 0);
  const child = spawn(join(binaries, 'ringcast-controlplane'), [], { stdio: ['ignore', 'ignore', 'pipe'], env: {
    PATH: process.env.PATH, PORT: String(await freePort()), RINGCAST_DATA: join(own.folder, 'data'), RINGCAST_RUN_AS: '', ...sanitizerOptions,
    ASAN_OPTIONS: `${sanitizerOptions.ASAN_OPTIONS}:detect_leaks=0`, RINGCAST_ALLOCATIONS: own.path } });
  let text = '';
  const ended = new Promise((resolve) => child.on('close', (code, signal) => resolve({ code, signal })));
  await Promise.race([ended, new Promise((resolve) => child.stderr.on('data', (data) => { text += data; if (/msg=serving/.test(text)) resolve(); }))]);
  const { count, who } = own.stop();
  child.kill('SIGTERM');
  const exit = await ended;
  own.close();
  return { count, who, text, ...exit };
}

// A start without memory ends with a sentence, or succeeds.
async function starts() {
  const { count, code, text } = await start(2 ** 40), wrong = [];
  assert.equal(code, 0, text);
  const cases = all ? Math.min(K_MAX, count) : 10, ends = { served: 0, refused: 0, sanitizer: 0 };
  for (let i = 0; i < cases; i++) {
    const first = 1 + Math.floor((i * count) / cases), one = await start(first);
    // AddressSanitizer itself needs memory when a thread begins, and ends the process without it.
    if (/CHECK failed: sanitizer_linux_libcdep\.cpp:\d+ "\(\(pthread_getattr_np/.test(one.text)) {
      ends.sanitizer++;
      continue;
    }
    const refused = /level=error|ringcast-controlplane: /.test(one.text) && one.code > 0;
    ends[refused ? 'refused' : 'served']++;
    if (process.env.RINGCAST_SHOW_LOG) console.log(`# ${first}: ${one.code} ${one.text.trim().split('\n').at(-1)}`);
    if ((one.code === 0 || refused) && !/Sanitizer|runtime error/.test(one.text)) continue;
    wrong.push(`once:${first} (0x${one.who.toString(16)}): ${one.code} ${one.signal}\n${one.text.slice(0, 3000)}`);
    console.log(`# ${wrong.at(-1).replaceAll('\n', '\n# ')}`);
    if (wrong.length >= 10) break;
  }
  console.log(`# starts: ${cases} of ${count} allocations: ${ends.served} served, ${ends.refused} ended with a sentence, ${ends.sanitizer} were the sanitizer's own`);
  assert.ok(ends.sanitizer < cases / 2);
  assert.deepEqual(wrong, []);
}

const range = (count, of) => Array.from({ length: count }, (_, i) => of(i));

if (only) {
  const [kind, k] = only.split(':');
  test(`one case: ${only}`, () => sweep(only, [kind === 'every' ? [Number(k), Number(k)] : [Number(k), 0]]));
} else {
  test('every k-th allocation fails during a session', () => sweep('every k-th',
    all ? range(K_MAX, (i) => [i + 1, i + 1]) : range(14, (i) => [Math.floor(1.7 ** i) + i, Math.floor(1.7 ** i) + i])));
  test('one allocation of a session fails', async () => {
    orders.fail(2 ** 40, 0);
    await session();
    const { count } = orders.stop();
    const cases = all ? K_MAX : 14;
    await sweep('one of all', range(cases, (i) => [1 + Math.floor((i * count) / cases), 0]));
  });
  test('one allocation of the start fails', () => starts());
  test('nothing is left of the sessions', async () => {
    await until(async () => {
      const { body } = await http(ringcast.port, 'GET', '/metrics');
      const value = (name) => Number(body.match(new RegExp(`^ringcast_${name} (\\d+)`, 'm'))[1]);
      assert.deepEqual(['socketio_sockets_open', 'socketio_sessions_open', 'rooms_open', 'participants'].map(value), [2, 2, 1, 2]);
      return true;
    }, 'only the bystanders are connected');
    await until(() => ringcast.isEmpty(), 'the tables are empty');
  });
}
