// Settings of a running Ringcast: a reload changes every live setting, a wrong file changes nothing, the log
// names the settings that need a restart, and the audit log has the names of changed settings, not their values.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { Polling } from '../lib/polling.mjs';
import { Ringcast, binaries, sleep, slower, until } from '../lib/ringcast.mjs';

const run = promisify(execFile);
const directory = mkdtempSync(join(tmpdir(), 'ringcast-settings-'));
const file = join(directory, 'ringcast.conf');
const keyFile = join(directory, 'keys');
const SECRET = randomBytes(24).toString('hex');
const OLDER = randomBytes(24).toString('hex');
// High limits, so that tests may send many requests. The test is a trusted proxy, so each request can have an
// address of its own.
const BASE = {
  trusted_proxies: '127.0.0.1', login_attempts_per_minute: 1000, rate_limit_events: 1000, jwt_secret: SECRET,
  media_log_level: 'warn', workers: 2, reconnect_grace_s: 0,
};
let ringcast;
let addresses = 0, stops = 0;

chmodSync(directory, 0o755);

function write(settings, extra = '') {
  const text = Object.entries(settings).map(([name, value]) => `${name} = ${value}\n`).join('') + extra;
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

// Whether `probe` becomes true within this time; for things that must not happen.
async function within(ms, probe) {
  const deadline = performance.now() + ms * slower;
  while (!probe() && performance.now() < deadline) await sleep(20);
  return Boolean(probe());
}

// Reloads, and returns what the processes logged. The control plane logs a line with why= or changed= when it is
// done. The supervisor may log nothing at its level, so it gets a moment.
async function reload() {
  const from = ringcast.log.length;
  ringcast.process.kill('SIGHUP');
  await until(() => /process=controlplane area=reload (why|changed)=/.test(ringcast.log.slice(from)), 10000, 'reloaded');
  await sleep(150 * slower);
  return ringcast.log.slice(from);
}

async function configure(settings, extra) {
  write({ ...BASE, ...settings }, extra);
  return reload();
}

before(async () => {
  write(BASE);
  ringcast = await Ringcast.start({ RINGCAST_LOGIN_ATTEMPTS: '', MEDIASOUP_LOG_LEVEL: '', RECONNECT_GRACE: '' }, [], ['--config', file]);
  ringcast.url = `http://127.0.0.1:${ringcast.port}`; // not ::1, which is not a trusted proxy here
});
after(async () => {
  await ringcast?.stop();
  rmSync(directory, { recursive: true, force: true });
});

// ---- clients, each with an address of its own ----

const address = () => `198.18.${++addresses >> 8}.${addresses & 255}`;

async function rest(method, path, { body, token, ip = address(), headers = {} } = {}) {
  const reply = await fetch(ringcast.url + path, {
    method, body: body && JSON.stringify(body),
    headers: { 'x-forwarded-for': ip, 'content-type': 'application/json', ...(token ? { authorization: `Bearer ${token}` } : {}), ...headers },
  });
  return { status: reply.status, headers: reply.headers, body: await reply.json() };
}

async function person(ip) {
  const who = { email: `p${randomBytes(6).toString('hex')}@example.org`, password: 'correct horse', displayName: 'P' };
  const { status, body } = await rest('POST', '/auth/register', { body: who, ip });
  assert.equal(status, 201, JSON.stringify(body));
  return { ...who, token: body.accessToken, expiresIn: body.expiresIn, id: body.user.id };
}

const connect = (token, ip = address()) => Polling.open(ringcast.url, token, { 'x-forwarded-for': ip });

async function sql(text) {
  const { stdout } = await run('sqlite3', ['-cmd', '.timeout 3000', join(ringcast.directory, 'data/ringcast.sqlite3'), text]);
  return stdout.trim();
}

function forged(secret) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return async () => {
    const { id, email } = await person();
    const now = Math.floor(Date.now() / 1000);
    const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: id, email, displayName: 'P', iat: now, exp: now + 600 })}`;
    const token = `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
    return (await rest('GET', '/auth/me', { token })).status;
  };
}

// Puts two sockets into a room, lets the second one act, and says whether the first one hears the event.
async function hears(name, act) {
  const [a, b] = [await connect((await person()).token), await connect((await person()).token)];
  const { roomId } = await a.must('room:create', { title: 'x' });
  await a.must('room:join', { roomId });
  await b.must('room:join', { roomId });
  const from = a.heard.length;
  await act(b, roomId);
  const result = await within(1500, () => a.heard.slice(from).some((event) => event.name === name));
  await Promise.all([a.close(), b.close()]);
  return result;
}

async function refusedAfter(count, waitMs = 0, ip = address()) {
  const socket = await connect((await person()).token, ip);
  for (let i = 0; i < count; i++) await socket.call('room:create', { title: 'x' });
  await sleep(waitMs);
  const ack = await socket.call('room:create', { title: 'x' });
  await socket.close();
  return ack.code ?? 'passed';
}

// The number of workers that serve four transports of one room; each worker has a port of its own.
async function workersOfRoom() {
  const socket = await connect((await person()).token);
  const { roomId } = await socket.must('room:create', { title: 'x' });
  await socket.must('room:join', { roomId });
  const ports = new Set();
  for (let i = 0; i < 4; i++)
    ports.add((await socket.must('media:createTransport', { roomId, direction: 'send' })).iceCandidates[0].port);
  await socket.close();
  return ports.size;
}

async function transports(most = 6) {
  const socket = await connect((await person()).token);
  const { roomId } = await socket.must('room:create', { title: 'x' });
  await socket.must('room:join', { roomId });
  let count = 0;
  while (count < most && !(await socket.call('media:createTransport', { roomId, direction: 'send' })).code) count++;
  await socket.close();
  return count;
}

// How many of four (or `most`) producers one user may have, and of four consumers another one.
async function media(most = 4, appData = {}) {
  const [a, b] = [await connect((await person()).token), await connect((await person()).token)];
  const { roomId } = await a.must('room:create', { title: 'x' });
  const count = { producers: 0, consumers: 0 };
  for (const socket of [a, b]) await socket.must('room:join', { roomId });
  const send = await a.must('media:createTransport', { roomId, direction: 'send' });
  const recv = await b.must('media:createTransport', { roomId, direction: 'recv' });
  const codecs = [{ mimeType: 'audio/opus', payloadType: 111, clockRate: 48000, channels: 2 }];
  let producer;
  for (let i = 0; i < most; i++) {
    const made = await a.call('media:produce', { roomId, transportId: send.id, kind: 'audio', appData,
      rtpParameters: { mid: String(i), codecs, encodings: [{ ssrc: 4711 + i }] } });
    count.producers += Boolean(made.producerId);
    producer ??= made.producerId;
  }
  const rtpCapabilities = { codecs: [{ ...codecs[0], kind: 'audio', preferredPayloadType: 111 }] };
  for (let i = 0; i < 4; i++) {
    const made = await b.call('media:consume', { roomId, transportId: recv.id, producerId: producer, rtpCapabilities });
    count.consumers += Boolean(made.consumerId);
  }
  await Promise.all([a.close(), b.close()]);
  return count;
}

async function hashOfNewAccount() {
  const { id } = await person();
  return (await sql(`SELECT passwordHash FROM users WHERE id='${id}'`)).split('$')[3];
}

async function wrongLogins(ip) {
  const { email } = await person();
  const statuses = [];
  for (let i = 0; i < 3; i++) statuses.push((await rest('POST', '/auth/login', { body: { email, password: 'wrong horse' }, ip: ip ?? address() })).status);
  return statuses.join();
}

// Whether the control plane logs debug lines, here when a socket closes.
async function debugLine() {
  const from = ringcast.log.length;
  await (await connect((await person()).token)).close();
  return within(1500, () => /level=debug process=controlplane/.test(ringcast.log.slice(from)));
}

// Whether a forwarder that was running before the change of the level logs an info line when it stops.
async function forwarderInfoLine() {
  const from = ringcast.log.length;
  const { forwarder } = await ringcast.pids();
  process.kill(forwarder, 'SIGTERM');
  await until(async () => { const now = (await ringcast.pids()).forwarder; return now && now !== forwarder; }, 5000, 'replaced');
  await until(async () => (await ringcast.health()).status === 'ok', 5000, 'well');
  return /process=forwarder .*msg="stopped cleanly"/.test(ringcast.log.slice(from));
}

const counter = async (name) => {
  const text = await (await fetch(`${ringcast.url}/metrics`)).text();
  return Number(text.match(new RegExp(`^\\w*${name} (\\d+)`, 'm'))[1]);
};

// Whether the server slows down a client that sends `count` events of this size at once.
async function slowed(count, title) {
  const socket = await connect((await person()).token);
  const before = await counter('slowed_by_budget_total');
  await Promise.all(Array.from({ length: count }, () => socket.call('media:getStats', { title }).catch(() => {})));
  const result = (await counter('slowed_by_budget_total')) > before;
  await socket.close();
  return result;
}

// Sends a POST whose body does not end on each of these sockets. Returns the first status that the server sends; ''
// when it waits for the rest of all bodies.
async function unfinishedPosts(sockets) {
  let status = '';
  const posts = sockets.map(({ url, headers }) => {
    const post = connectTcp(ringcast.port, '127.0.0.1');
    const { pathname, search } = new URL(url);
    post.on('error', () => {});
    post.on('data', (data) => { status ||= data.toString('latin1').slice(9, 12); });
    post.write(`POST ${pathname}${search} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: ${headers['x-forwarded-for']}\r\n`
      + `Content-Type: text/plain\r\nContent-Length: 990000\r\n\r\n${'x'.repeat(900000)}`);
    return post;
  });
  await within(5000, () => status !== '');
  posts.forEach((post) => post.destroy());
  return status === '408' ? '' : status; // 408: on a busy machine we have waited longer than it waits for any body
}

const TURN = { turn_secret: SECRET };
const TURN_AT = { turn_urls: 'turn:a.example.org' };
async function iceServers() {
  const socket = await Polling.open(ringcast.url, (await person()).token);
  const { roomId } = await socket.must('room:create', { title: 'x' });
  const { iceServers: servers } = await socket.must('room:join', { roomId });
  await socket.close();
  return servers;
}

// For each live setting: values, and what a client or the log shows with each value. `with`: settings that the
// value needs beside it.
const live = {
  log_level: { values: { info: false, debug: true }, see: debugLine },
  media_log_level: { values: { error: false, debug: true }, see: forwarderInfoLine },
  cors_origins: {
    values: { 'https://a.example.org': 'https://a.example.org', 'https://b.example.org': null },
    see: async () => (await rest('GET', '/health', { headers: { origin: 'https://a.example.org' } })).headers.get('access-control-allow-origin'),
  },
  trusted_proxies: {
    values: { '127.0.0.1': '203.0.113.9', '10.0.0.1': '127.0.0.1' },
    see: async () => {
      const { id } = await person('203.0.113.9');
      return until(() => sql(`SELECT ipAddress FROM audit_logs WHERE userId='${id}'`), 3000, 'audited');
    },
  },
  jwt_secret: { values: { [OLDER]: 200, [`${SECRET},${OLDER}`]: 200, [SECRET]: 401 }, see: forged(OLDER) },
  jwt_secret_file: {
    values: { [keyFile]: 200, '""': 401 },
    with: { [keyFile]: { jwt_secret: '""' }, '""': { jwt_secret: SECRET } },
    see: forged(OLDER),
  },
  jwt_expiration_s: { values: { 60: 60, 7200: 7200 }, see: async () => (await person()).expiresIn },
  room_participants_max: {
    values: { 5: 400, 50: 201 },
    see: async () => (await rest('POST', '/rooms', { token: (await person()).token, body: { title: 'x', maxParticipants: 20 } })).status,
  },
  transports_per_participant_max: { values: { 2: 2, 4: 4 }, see: transports },
  rooms_per_user_max: { values: { 2: 'limit_reached', 100: 'passed' }, see: () => refusedAfter(2) },
  transports_per_user_max: { values: { 2: 2, 4: 4 }, see: transports },
  producers_per_user_max: { values: { 1: 1, 3: 3 }, see: async () => (await media()).producers },
  consumers_per_user_max: { values: { 1: 1, 3: 3 }, see: async () => (await media()).consumers },
  users_per_address: {
    values: { 1: 'limit_reached', 250: 'passed' }, with: { 1: { rooms_per_user_max: 1 }, 250: {} },
    see: async () => {
      const ip = address();
      await refusedAfter(0, 0, ip);
      return refusedAfter(0, 0, ip);
    },
  },
  address_share_percent: {
    values: { 1: 327, 100: 330 },
    with: { 1: { transports_per_participant_max: 1000, transports_per_user_max: 1000 },
      100: { transports_per_participant_max: 1000, transports_per_user_max: 1000 } },
    see: () => transports(330),
  },
  room_app_data_kib: { values: { 64: 16, 1024: 20 }, see: async () => (await media(20, { text: 'x'.repeat(4000) })).producers },
  reconnect_grace_s: {
    values: { 0: true, 30: false },
    see: () => hears('room:userLeft', (b) => b.close()),
  },
  rate_limit_events: { values: { 2: 'rate_limited', 100: 'passed' }, see: () => refusedAfter(2) },
  rate_limit_window_s: {
    values: { 1: 'passed', 3600: 'rate_limited' }, with: { 1: { rate_limit_events: 2 }, 3600: { rate_limit_events: 2 } },
    see: () => refusedAfter(2, 1100),
  },
  short_events: {
    values: { on: true, off: false },
    see: () => hears('userLeft', (b, roomId) => b.call('room:leave', { roomId })),
  },
  login_attempts_per_minute: {
    values: { 2: '401,401,429', 100: '401,401,401' }, with: { 2: { account_attempts_per_minute: 100 }, 100: { account_attempts_per_minute: 100 } },
    see: () => wrongLogins(address()),
  },
  account_attempts_per_minute: { values: { 1: '401,429,429', 5: '401,401,401' }, see: () => wrongLogins() },
  argon2_memory_kib: { values: { 19456: 'm=19456,t=2,p=1', 20480: 'm=20480,t=2,p=1' }, see: hashOfNewAccount },
  argon2_passes: { values: { 2: 'm=19456,t=2,p=1', 3: 'm=19456,t=3,p=1' }, see: hashOfNewAccount },
  argon2_lanes: { values: { 1: 'm=19456,t=2,p=1', 2: 'm=19456,t=2,p=2' }, see: hashOfNewAccount },
  sockets_per_address_max: {
    values: { 2: 'refused', 10: 'open' },
    see: async () => {
      const { token } = await person();
      const ip = address();
      const held = [await connect(token, ip), await connect(token, ip)];
      const third = await connect(token, ip).catch(() => null);
      await Promise.all([...held, third].map((socket) => socket?.close()));
      return third ? 'open' : 'refused';
    },
  },
  keep_alive_s: {
    values: { 1: true, 60: false },
    // Whether an HTTP connection is closed soon after its reply.
    see: async () => {
      const socket = connectTcp(ringcast.port, '127.0.0.1');
      let closed = false;
      socket.on('error', () => {});
      socket.on('data', () => {});
      socket.on('close', () => { closed = true; });
      socket.write('GET /health HTTP/1.1\r\nHost: x\r\n\r\n');
      const result = await within(2500, () => closed);
      socket.destroy();
      return result;
    },
  },
  unfinished_mib_per_address: {
    values: { 1: '429', 64: '' },
    // What one of two unfinished messages from one address gets.
    see: async () => {
      const ip = address(), sockets = [];
      for (let i = 0; i < 2; i++) sockets.push(await connect((await person()).token, ip));
      const status = await unfinishedPosts(sockets);
      await Promise.all(sockets.map((socket) => socket.close()));
      return status;
    },
  },
  messages_per_address: { values: { 100: true, 1000000: false }, see: () => slowed(100, 'x') },
  message_kib_per_address: { values: { 100: true, 1000000: false }, see: () => slowed(4, 'x'.repeat(40000)) },
  turn_urls: {
    values: { 'turn:a.example.org': 'turn:a.example.org', 'turn:b.example.org,stun:c.example.org': 'stun:c.example.org,turn:b.example.org' },
    with: { 'turn:a.example.org': TURN, 'turn:b.example.org,stun:c.example.org': TURN },
    see: async () => (await iceServers()).flatMap((server) => server.urls).sort().join(),
  },
  turn_secret: {
    values: { [SECRET]: SECRET, [OLDER]: OLDER }, with: { [SECRET]: TURN_AT, [OLDER]: TURN_AT },
    see: async () => {
      const { username, credential } = (await iceServers())[0];
      return [SECRET, OLDER].find((secret) => createHmac('sha1', secret).update(username).digest('base64') === credential);
    },
  },
  turn_ttl_s: {
    values: { 60: 60, 600: 600 }, with: { 60: { ...TURN, ...TURN_AT }, 600: { ...TURN, ...TURN_AT } },
    see: async () => Math.round((Number((await iceServers())[0].username.split(':')[0]) - Date.now() / 1000) / 10) * 10,
  },
  connections_per_minute: {
    values: { 3: 3, 1000: 8 },
    see: async () => {
      const from = `127.0.0.${3 + ++addresses % 250}`; // not a trusted proxy
      let served = 0;
      for (let i = 0; i < 8; i++) served += await new Promise((resolve) => {
        const socket = connectTcp({ host: '127.0.0.1', port: ringcast.port, localAddress: from });
        let text = '';
        socket.on('data', (data) => { text += data; });
        socket.on('error', () => {});
        socket.on('close', () => resolve(text.startsWith('HTTP/1.1 200') ? 1 : 0));
        socket.write('GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
      });
      return served;
    },
  },
  drain_s: {
    values: { 0: false, 3: true },
    // Whether a socket stays open after SIGTERM until the drain is over. Then the next control plane starts.
    see: async () => {
      const socket = await connect((await person()).token);
      process.kill((await ringcast.pids()).controlplane, 'SIGTERM');
      const from = performance.now();
      await socket.until(() => socket.closed, 20000 * slower, 'closed');
      const stayed = performance.now() - from > 2500 && socket.heard.some((event) => event.name === 'server:draining');
      const stopped = until(() => ringcast.log.match(/process=controlplane area=main msg=stopped/g)?.length > stops, 8000, 'stopped');
      await stopped;
      stops = ringcast.log.match(/process=controlplane area=main msg=stopped/g).length;
      await until(async () => (await ringcast.health()).status === 'ok', 10000, 'started again');
      return stayed;
    },
  },
  room_together: { values: { 1000000: 1, 0: 2 }, see: workersOfRoom },
};

// The settings that configs/settings.md marks as changed by a reload.
async function liveNames() {
  const { stdout } = await run(join(binaries, 'ringcastctl'), ['settings', '--markdown']);
  return stdout.split('\n').map((line) => line.split(' | ')).filter((cells) => cells[5] === 'yes')
    .map((cells) => cells[0].match(/`(.*)`/)[1]);
}

test('this file tests every live setting', async () => {
  assert.deepEqual(Object.keys(live).sort(), (await liveNames()).sort(), 'add it to `live`');
});

writeFileSync(keyFile, `${SECRET}\n${OLDER}\n`, { mode: 0o600 });
chmodSync(keyFile, 0o644); // started by root, the control plane runs as another user

for (const [name, { values, with: more = {}, see }] of Object.entries(live))
  test(`a reload changes ${name}`, async () => {
    const seen = {};
    for (const value of Object.keys(values)) {
      await configure({ [name]: value, ...more[value] });
      seen[value] = await see();
    }
    assert.deepEqual(seen, values, ringcast.log.slice(-2000));
  });

// ---- threat F9: what a reload may not do ----

test('a file with a wrong value is refused with a sentence, and none of its values applies', async () => {
  await configure({ jwt_expiration_s: 1234 });
  const wrong = [
    ['htp_port = 3', 'there is no setting htp_port; did you mean http_port?'],
    ['jwt_expiration_s = 59', 'jwt_expiration_s cannot be \\"59\\": set it to a whole number from 60 to 31536000 s'],
    ['workers = 17', 'workers cannot be \\"17\\": set it to a whole number from 0 to 16'],
    ['log_level = loud', 'log_level cannot be \\"loud\\": set it to error, warn, info or debug'],
    ['cors_origins = nonsense', "CORS_ORIGINS: 'nonsense' is not an origin"],
    ['trusted_proxies = nowhere', "TRUSTED_PROXIES: 'nowhere' is not an address"],
    [`jwt_secret_file = ${join(directory, 'none')}`, 'jwt_secret and jwt_secret_file are both set'],
    [`jwt_secret = ""\njwt_secret_file = ${join(directory, 'none')}`, 'cannot be read: No such file'],
    ['jwt_secret = a,', 'ends with a comma'],
    ['turn_urls = turn:a.example.org', 'TURN_SECRET is not set'],
    ['turn_urls = http://a.example.org', 'which is not a stun:, stuns:, turn: or turns: URL'],
    ['http_port', "has no '=': write the line as name = value"],
  ];
  for (const [line, says] of wrong) {
    const log = await configure({ jwt_expiration_s: 4321 }, `${line}\n`);
    assert.match(log, /process=controlplane area=reload why=.*the old ones stay in force/, line);
    assert.ok(log.includes(says), `${line}: ${log}`);
    assert.equal((await person()).expiresIn, 1234, line);
    assert.equal((await ringcast.health()).status, 'ok');
  }
  rmSync(`${file}`);
  assert.match(await reload(), /cannot be read: No such file/);
  assert.equal((await person()).expiresIn, 1234);
  const before = await ringcast.pids();
  await configure({ jwt_expiration_s: 4321 });
  assert.equal((await person()).expiresIn, 4321);
  assert.deepEqual(await ringcast.pids(), before); // no process restarted
});

test('the log names settings that need a restart', async () => {
  const log = await configure({ node_env: 'staging', ping_interval_ms: 1000, consent_timeout_ms: 6000 });
  assert.match(log, /process=controlplane .*settings="?node_env,ping_interval_ms"? .*need a restart/);
  await until(() => /process=supervisor .*settings=consent_timeout_ms .*need a restart/.test(ringcast.log), 5000, 'named');
});

test('the audit log has the names of changed settings, not their values', async () => {
  const planted = `planted-${randomBytes(16).toString('hex')}-planted`;
  await configure({ jwt_secret: `${SECRET},${planted}`, jwt_expiration_s: 60, cors_origins: 'https://c.example.org' });
  await configure({ jwt_secret: `${SECRET},${planted}`, jwt_expiration_s: 60, cors_origins: 'https://c.example.org' }); // no change
  const rows = await until(async () => {
    const text = await sql(`SELECT metadata FROM audit_logs WHERE action='config_changed' ORDER BY rowid`);
    return text.includes('cors_origins,jwt_secret,jwt_expiration_s') && text.split('\n').map((line) => JSON.parse(line));
  }, 5000, 'audited');
  assert.equal(rows.filter((row) => row.settings === 'cors_origins,jwt_secret,jwt_expiration_s').length, 1);
  const known = new Set(Object.keys(live));
  for (const { settings } of rows) for (const name of settings.split(',')) assert.ok(known.has(name), name);
  assert.ok(!ringcast.log.includes(planted));
  assert.ok(!readFileSync(join(ringcast.directory, 'data/ringcast.sqlite3')).includes(planted));
});
