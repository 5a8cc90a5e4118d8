// Threat C22: the control plane is killed again and again while people register, create rooms, join and
// leave; in every other round its database is locked. Everything that it acknowledged must be in the audit
// log exactly once, in order.
//   RINGCAST_KILLS=100  kills it 100 times (make audit-kills); default 10

import assert from 'node:assert/strict';
import { spawn, execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Polling } from '../lib/polling.mjs';
import { binaries, freePort, sanitizerOptions, sleep, slower, until } from '../lib/ringcast.mjs';

const PATIENCE_MS = 60000; // for events whose time is not measured: the machine may be busy
const KILLS = Number(process.env.RINGCAST_KILLS ?? 10);
const folder = mkdtempSync(join(tmpdir(), 'ringcast-audit-'));
const data = join(folder, 'data');
const database = join(data, 'ringcast.sqlite3');
let plane, port, log = '';

chmodSync(folder, 0o755);

async function start() {
  plane = spawn(join(binaries, 'ringcast-controlplane'), [], {
    env: {
      PATH: process.env.PATH, PORT: String(port), RINGCAST_DATA: data, RINGCAST_HTTP_LISTEN_IP: '127.0.0.1', RINGCAST_LOGIN_ATTEMPTS: '100000',
      RATE_LIMIT_EVENTS: '100000', RECONNECT_GRACE: '0', JWT_SECRET: 'audit-test-audit-test-0123456789-abcdef', ...sanitizerOptions,
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  plane.stderr.on('data', (text) => { log += text; });
  plane.ended = new Promise((resolve) => plane.on('exit', resolve));
  await until(() => fetch(`http://127.0.0.1:${port}/health`).then((r) => r.text()).catch(() => false), PATIENCE_MS, 'up');
}

after(async () => {
  plane?.kill('SIGTERM');
  await plane?.ended;
  rmSync(folder, { recursive: true, force: true });
});

async function post(path, body, token) {
  const reply = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...(token ? { authorization: `Bearer ${token}` } : {}) },
  });
  return { status: reply.status, body: await reply.json() };
}

// What was acknowledged: "action id of user or room" -> how often.
const acknowledged = new Map();
const note = (action, id) => acknowledged.set(`${action} ${id}`, (acknowledged.get(`${action} ${id}`) ?? 0) + 1);
let count = 0;

async function register() {
  const { status, body } = await post('/auth/register', { email: `p${process.pid}-${++count}@example.org`, password: 'correct horse', displayName: 'P' });
  if (status !== 201) return null;
  note('user_registered', body.user.id);
  return body.accessToken;
}

// Each of these works until the control plane is killed.
async function registrar(running) {
  while (running.on) await register();
}
async function roomCreator(running, token) {
  while (running.on) {
    const { status, body } = await post('/rooms', { title: 'x' }, token);
    if (status === 201) note('room_created', body.roomId);
  }
}
async function guest(running, token, rooms) {
  const socket = await Polling.open(`http://127.0.0.1:${port}`, token);
  for (let turn = 0; running.on && !socket.closed; turn++) {
    const made = turn % 4 === 0 ? await socket.call('room:create', { title: 'x' }) : null;
    if (made?.roomId) note('room_created', made.roomId);
    const roomId = made?.roomId ?? rooms[turn % rooms.length];
    if ((await socket.call('room:join', { roomId })).roomId) note('user_joined', roomId);
    else continue;
    if ((await socket.call('room:leave', { roomId })).success) note('user_left', roomId);
  }
}

// Rooms that stay open while their host is there: guests join and leave them even without a database.
async function openRooms(token) {
  const socket = await Polling.open(`http://127.0.0.1:${port}`, token);
  const rooms = [];
  for (let i = 0; i < 3; i++) {
    const { roomId } = await socket.must('room:create', { title: 'open' });
    note('room_created', roomId);
    await socket.must('room:join', { roomId });
    note('user_joined', roomId);
    rooms.push(roomId);
  }
  return rooms;
}

// Another program locks the database.
async function lockDatabase() {
  const holder = spawn('sqlite3', [database], { stdio: ['pipe', 'pipe', 'inherit'] });
  holder.stdin.write('.timeout 5000\nBEGIN IMMEDIATE;\nSELECT 1;\n');
  await new Promise((resolve) => holder.stdout.once('data', resolve));
  return async () => {
    const ended = new Promise((resolve) => holder.on('exit', resolve));
    holder.stdin.end('ROLLBACK;\n');
    await ended;
  };
}

async function round(number) {
  await start();
  const token = await until(register, PATIENCE_MS, 'registered');
  const rooms = await openRooms(token);
  const running = { on: true };
  const locked = number % 2 === 1;
  const others = [await until(register, PATIENCE_MS, 'registered'), await until(register, PATIENCE_MS, 'registered')];
  const ignoreErrors = (work) => work.catch(() => {}); // the process was killed during a request
  const work = [ignoreErrors(registrar(running)), ignoreErrors(roomCreator(running, token)), ...others.map((other) => ignoreErrors(guest(running, other, rooms)))];
  const release = locked ? await lockDatabase() : null;
  await sleep(50 + Math.random() * (locked ? 450 : 250) * slower);
  plane.kill('SIGKILL');
  await plane.ended;
  running.on = false;
  await Promise.all(work);
  await release?.();
  return locked;
}

const sql = (text) => execFileSync('sqlite3', ['-cmd', '.timeout 5000', database, text], { encoding: 'utf8', maxBuffer: 1 << 28 }).trim();
const spooled = () => readdirSync(data).filter((name) => name.startsWith('audit-spool-')).reduce((sum, name) => sum + statSync(join(data, name)).size, 0);

test(`${KILLS} kills: everything acknowledged is in the audit log exactly once, in order`, async () => {
  port = await freePort();
  let replayed = 0;
  for (let i = 0; i < KILLS; i++) {
    await round(i);
    replayed += spooled() > 0;
  }
  await start();
  await until(() => spooled() === 0, PATIENCE_MS, 'the spool is replayed');
  const rows = new Map();
  let last = 0;
  for (const line of sql(`SELECT action, CASE WHEN action='user_registered' THEN userId ELSE roomId END, createdAt FROM audit_logs ORDER BY rowid`).split('\n')) {
    const [action, id, at] = line.split('|');
    rows.set(`${action} ${id}`, (rows.get(`${action} ${id}`) ?? 0) + 1);
    assert.ok(Number(at) >= last - 50, `${line} is out of order`); // 50 ms: two processes wrote them
    last = Number(at);
  }
  const sum = [...acknowledged.values()].reduce((a, b) => a + b, 0);
  console.log(`# ${KILLS} kills, ${replayed} of them with rows in the spool; ${sum} requests acknowledged, ${sql('SELECT count(*) FROM audit_logs')} rows`);
  assert.ok(sum > KILLS * 10);
  assert.ok(replayed >= KILLS / 4, 'too few kills happened while rows were in the spool');
  for (const [key, times] of acknowledged) {
    const found = rows.get(key) ?? 0;
    if (/^user_(joined|left)/.test(key)) assert.ok(found >= times, `${key}: ${found} rows for ${times} acknowledged requests`); // some were written but not acknowledged
    else assert.equal(found, times, `${key}: ${found} rows for ${times} acknowledged requests`);
  }
  for (const [key, found] of rows) if (/^(room_created|user_registered)/.test(key)) assert.equal(found, 1, key);
  // Nobody leaves more often than they joined. A row that was written twice would be found like this.
  assert.equal(sql(`SELECT count(*) FROM (SELECT roomId, userId, sum(action='user_left') - sum(action='user_joined') surplus FROM audit_logs
    WHERE action IN ('user_joined','user_left') GROUP BY roomId, userId) WHERE surplus > 0`), '0');
  assert.doesNotMatch(log, /audit row lost|damaged line/);
});
