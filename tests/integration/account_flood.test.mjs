// One account from one address does what it likes within what TCP carries: many sockets, large messages, colliding
// keys, deep nesting, binary events, logins, REST, joins and leaves, polling, sockets that do not read. Other people
// are answered in time, memory stays, nothing restarts (threat C0).
//   RINGCAST_FLOOD_SECONDS=N seconds in all (8); `make account-flood` takes 60

import assert from 'node:assert/strict';
import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { createInterface } from 'node:readline';
import { measuresMemory, Ringcast, root, sleep, slower, until } from '../lib/ringcast.mjs';
import { frame } from './socketio/server.mjs';

const SECONDS = Number(process.env.RINGCAST_FLOOD_SECONDS ?? 8);
const P99_MS = 100, GROWTH_MIB = 64, SOCKETS = 100;
const UPGRADE = 'GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
  + 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';

// ---- the attacker: a process of its own, so that its work is not the well-behaved client's ----

// Writes `next(n)` again and again as fast as the server takes it. A closed connection is opened again.
function pour(port, hello, next, { reads = true } = {}) {
  let n = 0;
  const open = () => {
    const socket = connect(port, '127.0.0.1');
    const go = () => { while (socket.writable && socket.write(next(n++)) && n % 64); if (socket.writable && n % 64 === 0) setImmediate(go); };
    if (reads) socket.resume(); else socket.pause();
    socket.on('error', () => {}).on('drain', go).on('close', () => setTimeout(open, 20)).on('connect', () => { socket.write(hello); setTimeout(go, 300); });
  };
  open();
}

function attack(port, token, roomId) {
  const hello = Buffer.concat([Buffer.from(UPGRADE), frame(1, `40${JSON.stringify({ token })}`)]);
  const event = (name, payload) => frame(1, `421${JSON.stringify([name, payload])}`);
  const keys = Object.fromEntries(Array.from({ length: 250 }, (_, i) => [`key${i}`, Object.fromEntries(Array.from({ length: 60 }, (_, k) => [`${i}-${k}`, 1]))]));
  const messages = {
    'small events': [frame(1, '421["no:such",{}]')],
    'large messages': [event('room:create', { title: 'x'.repeat(900000) })],
    'many keys': [event('room:create', keys)],
    'deep nesting': [event('room:create', JSON.parse(`${'[1,'.repeat(12)}1${']'.repeat(12)}`)), frame(1, `421["x",${'['.repeat(100000)}`)],
    'many values': [frame(1, `421["x",[${Array(16000).fill('1').join(',')}]]`)],
    'joins and leaves': [event('room:join', { roomId }), event('room:leave', { roomId })],
    'binary events': [frame(1, `451-1["x",{"_placeholder":true,"num":0},"${'y'.repeat(200000)}"]`), frame(2, 'z'.repeat(100000))],
    fragments: [Buffer.concat([frame(1, '421["x"', { fin: false }), ...Array(500).fill(frame(0, ' ', { fin: false })), frame(0, ']')])],
    pings: [Buffer.concat(Array(200).fill(frame(9, 'p'.repeat(100))))],
    'free events': [event('media:getRouterCapabilities', { roomId })],
  };
  const kinds = Object.values(messages);
  for (let i = 0; i < SOCKETS; i++) {
    const shapes = kinds[i % kinds.length];
    pour(port, hello, (n) => shapes[n % shapes.length], { reads: i % 7 !== 0 });
  }
  const post = (path, body, type = 'application/json') => `POST ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Type: ${type}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
  const login = post('/auth/login', JSON.stringify({ email: 'victim@example.org', password: 'wrong password' }));
  const get = (path) => `GET ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`;
  const requests = [login, post('/rooms', JSON.stringify({ title: 'x' })), post('/rooms', JSON.stringify(keys)), get('/auth/me'), get(`/rooms/${roomId}`),
    get('/health'), get('/socket.io/?EIO=4&transport=polling'), post('/socket.io/?EIO=4&transport=polling&sid=nobody', '4'.repeat(60000), 'text/plain')];
  for (let i = 0; i < 24; i++) pour(port, '', () => requests[i % requests.length]);
}

if (process.argv[2] === 'attack') {
  const [, , , port, token, roomId] = process.argv;
  attack(Number(port), token, roomId);
} else test(`one account and one address for ${SECONDS} s`, async () => {
  const cores = availableParallelism() > 1;
  const ringcast = await Ringcast.start({ MEDIASOUP_LOG_LEVEL: 'error', RECONNECT_GRACE: '1', RINGCAST_LOGIN_ATTEMPTS: '20',
    TRUSTED_PROXIES: '127.0.0.2' }, cores ? ['taskset', '-c', '0'] : []);
  let attacker;
  try {
    const [hostile, good] = [await ringcast.person('hostile'), await ringcast.person('good')];
    const room = async (person) => (await ringcast.request('POST', '/rooms', { title: 'x' }, person.token)).body.roomId;
    const theirs = await room(hostile);
    const metrics = async () => Object.fromEntries([...(await (await fetch(`${ringcast.url}/metrics`)).text()).matchAll(/^ringcast_(\w+) (\S+)$/gm)].map(([, name, value]) => [name, Number(value)]));
    const { controlplane } = await ringcast.pids(), before = await metrics();
    // How long another person waits while `during` runs.
    const measure = async (during) => {
      const well = spawn('node', [join(root, 'tests/integration/socket_load/well_behaved.mjs'), ringcast.url, good.token, await room(good)], { stdio: ['pipe', 'pipe', 'inherit'] });
      const lines = createInterface({ input: well.stdout })[Symbol.asyncIterator]();
      assert.equal((await lines.next()).value, 'ready');
      await during();
      well.stdin.end();
      return JSON.parse((await lines.next()).value);
    };
    const quiet = await measure(() => sleep(2000)); // other programs may use the processor
    attacker = fork(fileURLToPath(import.meta.url), ['attack', ringcast.port, hostile.token, theirs], { stdio: 'ignore' });
    let most = 0;
    const figures = await measure(async () => {
      for (const end = performance.now() + SECONDS * 1000; performance.now() < end; await sleep(250)) {
        const now = await metrics().catch(() => null);
        if (now) most = Math.max(most, now.controlplane_resident_bytes);
      }
    });
    attacker.kill('SIGKILL');
    await once(attacker, 'exit');
    const after = await metrics(), grown = (most - before.controlplane_resident_bytes) / 2 ** 20;
    const taken = Object.entries(after).filter(([name]) => /events_received|slowed_by_budget|refused_by_budget|slow_readers|http_requests_total|held_over/.test(name)).map(([name, value]) => `${name} ${value - before[name]}`);
    console.log(`# ${SOCKETS} sockets and 24 connections of one account for ${SECONDS} s: another's p50 ${figures.p50_ms} ms, p99 ${figures.p99_ms} ms (without it ${quiet.p99_ms} ms), `
      + `${figures.answered} of ${figures.asked} answered; at most ${grown.toFixed(1)} MiB more\n# ${taken.join(', ')}`);
    assert.equal((await ringcast.pids()).controlplane, controlplane, 'no restart');
    assert.equal(figures.answered, figures.asked);
    assert.ok(figures.p99_ms < P99_MS * slower + 3 * quiet.p99_ms, `${figures.p99_ms} ms`);
    if (measuresMemory) assert.ok(grown < GROWTH_MIB, `${grown} MiB`);
    assert.ok(after.http_slowed_by_budget_total > before.http_slowed_by_budget_total, 'the flood met its budget');
    await until(async () => (await metrics()).socketio_sockets_open === 0, 'all sockets are closed');
  } finally {
    attacker?.kill('SIGKILL');
    await ringcast.stop();
  }
});
