// Accounts on a whole Ringcast: a flood of logins, sockets of users who lose their right to be connected, and
// secrets, which must be in no log (threats C3, C7, C23).

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { Polling } from '../lib/polling.mjs';
import { Ringcast, measuresMemory, sleep, slower, until } from '../lib/ringcast.mjs';
import { Session } from './malformed.mjs';

const run = promisify(execFile);
const SECRET = `planted-${randomBytes(20).toString('hex')}`;
const SERVERS = Object.fromEntries(['POSTGRES_PASSWORD', 'REDIS_PASSWORD', 'TURN_SECRET'].map((name) => [name, `planted-${randomBytes(12).toString('hex')}`]));
const FLOOD = 600;       // logins at once: 66 are hashed or wait, the others are told when to try again
let ringcast;

before(async () => { ringcast = await Ringcast.start({ RINGCAST_LOG_LEVEL: 'debug', JWT_SECRET: SECRET, TURN_URLS: 'turn:turn.example.org', ...SERVERS, RECONNECT_GRACE: '0', RINGCAST_LOGIN_ATTEMPTS: '100000', RINGCAST_ACCOUNT_ATTEMPTS: '100000' }); });
after(() => ringcast?.stop());

const rssKib = (pid) => Number(readFileSync(`/proc/${pid}/status`, 'utf8').match(/VmRSS:\s+(\d+)/)[1]);
const percentile = (list, p) => list.sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * p / 100))];

function token(claims, secret = SECRET, header = { alg: 'HS256', typ: 'JWT' }) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${part(header)}.${part(claims)}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}

async function sql(text) {
  const { stdout } = await run('sqlite3', ['-cmd', '.timeout 3000', join(ringcast.directory, 'data/ringcast.sqlite3'), text]);
  return stdout.trim();
}

async function login(email, password) {
  const reply = await fetch(`${ringcast.url}/auth/login`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ email, password }),
  });
  await reply.text();
  return { status: reply.status, retryAfter: Number(reply.headers.get('retry-after')) };
}

test('C3: a flood of logins neither delays other requests nor fills the memory', async () => {
  const { token: mine, user } = await ringcast.person('ada');
  const session = await Session.open(ringcast.port, mine);
  const { roomId } = await session.call('room:create', { title: 'x' }, 1);
  await session.call('room:join', { roomId }, 2);
  const { controlplane } = await ringcast.pids();
  const before = rssKib(controlplane);
  const rounds = [];
  let most = before, id = 3, flooding = true, statuses = {}, withoutRetryAfter = 0;
  const flood = (async () => {
    const replies = await Promise.all(Array.from({ length: FLOOD }, (_, i) => login(`nobody${i}@example.org`, 'wrong horse')));
    for (const { status, retryAfter } of replies) {
      statuses[status] = (statuses[status] ?? 0) + 1;
      if (status !== 401 && !(retryAfter >= 1)) withoutRetryAfter++;
    }
    flooding = false;
  })();
  while (flooding) {
    const began = performance.now();
    assert.ok((await session.call('media:getRouterCapabilities', { roomId }, id++)).rtpCapabilities);
    rounds.push(performance.now() - began);
    most = Math.max(most, rssKib(controlplane));
    await sleep(5);
  }
  await flood;
  session.end();
  console.log(`# ${FLOOD} logins: ${JSON.stringify(statuses)}; ${rounds.length} requests on a socket meanwhile, p99 ${percentile(rounds, 99).toFixed(1)} ms, RSS +${most - before} KiB`);
  assert.equal((statuses[401] ?? 0) + (statuses[503] ?? 0), FLOOD, JSON.stringify(statuses));
  assert.ok(statuses[503] > FLOOD / 4, JSON.stringify(statuses)); // the queue has a limit
  assert.equal(withoutRetryAfter, 0);
  assert.ok(rounds.length > 20);
  assert.ok(percentile(rounds, 99) < 200 * slower);
  if (measuresMemory) assert.ok(most - before < 64 * 1024, `${most - before} KiB`);
  assert.equal((await login((await sql(`SELECT email FROM users WHERE id='${user.id}'`)), 'correct horse')).status, 200);
});

test('C7: when another program deactivates a user, only the sockets of that user are closed, within 5 s', async () => {
  const [a, b] = [await ringcast.person('ada'), await ringcast.person('bob')];
  const [of_a, second_of_a, of_b] = [await Polling.open(ringcast.url, a.token), await Polling.open(ringcast.url, a.token), await Polling.open(ringcast.url, b.token)];
  await sleep(1000);
  const began = performance.now();
  await sql(`UPDATE users SET isActive=0 WHERE id='${a.user.id}'`);
  await of_a.until(() => of_a.closed, 5000 * slower, 'closed');
  await second_of_a.until(() => second_of_a.closed, 5000 * slower, 'closed');
  const elapsed = performance.now() - began;
  console.log(`# closed after ${elapsed.toFixed(0)} ms`);
  assert.ok(elapsed < 5000 * slower, `${elapsed} ms`);
  assert.equal(of_b.closed, null);
  await assert.rejects(Polling.open(ringcast.url, a.token), /Authentication failed/);
  assert.equal((await ringcast.request('GET', '/auth/me', null, a.token)).status, 401);
  await sql(`UPDATE users SET isActive=1 WHERE id='${a.user.id}'`);
  await (await Polling.open(ringcast.url, a.token)).close();
  await of_b.close();
});

test('C7: a socket is closed when its token expires', async () => {
  const { user } = await ringcast.person('ada');
  const now = Math.floor(Date.now() / 1000);
  const claims = { sub: user.id, email: user.email, displayName: 'Ada', iat: now, exp: now + 2 };
  const socket = await Polling.open(ringcast.url, token(claims));
  const opened = performance.now();
  await socket.until(() => socket.closed, 10000 * slower, 'closed');
  const elapsed = performance.now() - opened;
  assert.ok(Date.now() / 1000 >= claims.exp);
  assert.ok(elapsed < 10000 * slower, `${elapsed} ms`);
});

// ---- C23 ----

// Plants a different secret in each place where a client can send or receive one, in requests that succeed and
// in requests that fail.
test('C23: no password, token, key or ICE password is in a log of level debug', async () => {
  const planted = { JWT_SECRET: SECRET, ...SERVERS };
  const plant = (name) => (planted[name] = `planted-${randomBytes(12).toString('hex')}`);
  const who = (password) => ({ email: `p${randomBytes(5).toString('hex')}@example.org`, password, displayName: 'P' });
  const mine = who(plant('password'));
  const { body } = await ringcast.request('POST', '/auth/register', mine);
  planted.token = body.accessToken;
  planted.signature = body.accessToken.split('.')[2];
  await ringcast.request('POST', '/auth/register', { ...mine, password: plant('password of a duplicate') });
  await ringcast.request('POST', '/auth/login', { ...mine, password: plant('wrong password') });
  await ringcast.request('POST', '/auth/login', mine);
  await ringcast.request('POST', '/auth/login', { email: 'no address', password: plant('password beside a bad email') });
  await ringcast.request('POST', '/auth/register', { ...who(plant('password beside a bad name')), displayName: '' });
  await fetch(`${ringcast.url}/auth/login`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: `{"password":"${plant('password in broken JSON')}"` });
  await fetch(`${ringcast.url}/auth/login?password=${plant('password in a URL')}`, { method: 'POST' }).then((r) => r.text());
  await ringcast.request('GET', '/auth/me', null, `${planted.token}x`);
  const strange = plant('token of another issuer');
  await ringcast.request('GET', '/auth/me', null, strange);
  await assert.rejects(Polling.open(ringcast.url, strange));
  const expired = token({ sub: body.user.id, email: 'x@example.org', displayName: 'P', iat: 1, exp: 2 });
  planted['expired token'] = expired;
  await assert.rejects(Polling.open(ringcast.url, expired));
  const socket = await Polling.open(ringcast.url, planted.token);
  await socket.call('room:join', { roomId: 'x', token: plant('token in a payload') });
  await socket.call(`nothing:${plant('secret in an event name')}`, {});
  const { roomId } = await socket.must('room:create', { title: 'x' });
  await socket.must('room:join', { roomId });
  const transport = await socket.must('media:createTransport', { roomId, direction: 'send' });
  planted['ICE password'] = transport.iceParameters.password;
  planted['TURN credential'] = transport.iceServers[0].credential;
  await socket.call('media:connectTransport', { transportId: transport.id, dtlsParameters: { role: 'client', fingerprints: [] } });
  await socket.close();
  const call = await ringcast.probe('--seconds', '1');
  assert.equal(call.status, 0, call.errors);
  await until(() => ringcast.log.includes('level=debug'), 3000, 'debug lines'); // else the test proves nothing
  await sleep(200);
  for (const [name, secret] of Object.entries(planted)) {
    assert.ok(secret.length > 12, name);
    assert.ok(!ringcast.log.includes(secret), `${name} is in the log:\n${ringcast.log.split('\n').find((line) => line.includes(secret))}`);
  }
  const audit = await sql('SELECT * FROM audit_logs');
  for (const [name, secret] of Object.entries(planted)) assert.ok(!audit.includes(secret), `${name} is in the audit log`);
});

// ---- audit rows ----

test('every REST request that changes something has an audit row with user, address and metadata', async () => {
  const who = { email: `p${randomBytes(5).toString('hex')}@example.org`, password: 'correct horse', displayName: 'P' };
  const last = async () => (await sql('SELECT max(rowid) FROM audit_logs')) || '0';
  let user;
  const table = [
    ['POST', '/auth/register', who, 201, ['user_registered', /^\{"expiresIn":3600\}$/]],
    ['POST', '/auth/register', who, 409, null],
    ['POST', '/auth/register', { ...who, email: 'none' }, 400, null],
    ['POST', '/auth/login', who, 200, ['user_login', /^\{"expiresIn":3600,"rehashed":false\}$/]],
    ['POST', '/auth/login', { ...who, password: 'wrong horse' }, 401, ['user_login_failed', /^\{"reason":"wrong_password"\}$/]],
    ['POST', '/auth/login', { ...who, email: 'nobody@example.org' }, 401, ['user_login_failed', /^\{"reason":"unknown_email"\}$/, '']],
    ['GET', '/auth/me', null, 200, null],
    ['POST', '/rooms', { title: 'x', maxParticipants: 7 }, 201, ['room_created', /^\{"roomCode":"[A-Z2-9-]{14}","maxParticipants":7\}$/]],
    ['POST', '/rooms', { title: '' }, 400, null],
    ['GET', '/rooms/none', null, 404, null],
  ];
  for (const [method, path, body, status, row] of table) {
    const from = await last();
    const reply = await ringcast.request(method, path, body, user?.token);
    const what = `${method} ${path} ${JSON.stringify(body)}`;
    assert.equal(reply.status, status, `${what}: ${JSON.stringify(reply.body)}`);
    if (reply.body.accessToken) user = { token: reply.body.accessToken, id: reply.body.user.id };
    const read = () => sql(`SELECT action, coalesce(userId,''), coalesce(roomId,''), ipAddress, metadata FROM audit_logs WHERE rowid > ${from}`);
    if (!row) {
      await sleep(100);
      assert.equal(await read(), '', what);
      continue;
    }
    const [action, userId, roomId, ip, metadata] = (await until(read, 3000, what)).split('|');
    assert.equal(action, row[0], what);
    assert.equal(userId, row[2] ?? user.id, what);
    assert.equal(roomId, reply.body.roomId ?? '', what);
    assert.match(ip, /^(127\.0\.0\.1|::1)$/, what);
    assert.match(metadata, row[1], what);
  }
});

test('every step of a call has an audit row, with a JSON object and the address', async () => {
  const from = await sql('SELECT max(rowid) FROM audit_logs');
  const { status, errors } = await ringcast.probe('--seconds', '1');
  assert.equal(status, 0, errors);
  const counts = await until(async () => {
    const rows = (await sql(`SELECT action, count(*) FROM audit_logs WHERE rowid > ${from} GROUP BY action`)).split('\n').map((line) => line.split('|'));
    return rows.some(([action]) => action === 'room_closed') && Object.fromEntries(rows.map(([action, n]) => [action, Number(n)]));
  }, 15000, 'the room is closed');
  console.log(`# ${JSON.stringify(counts)}`);
  assert.deepEqual(counts, {
    user_registered: 2, room_created: 1, user_joined: 2, transport_connected: 4, producer_created: 4, consumer_created: 4,
    producer_closed: 4, user_left: 2, room_closed: 1,
  });
  const metrics = await (await fetch(`${ringcast.url}/metrics`)).text();
  for (const line of ['audit_calls_refused_total 0', 'audit_rows_lost_total 0', 'audit_alarms_total 0', 'audit_spool_bytes 0', 'audit_spool_bytes_max 268435456'])
    assert.ok(metrics.includes(`\nringcast_${line}\n`), `${line}: ${metrics}`);
  assert.equal(await sql(`SELECT count(*) FROM audit_logs WHERE metadata IS NULL OR json_type(metadata) <> 'object'`), '0');
  assert.equal(await sql(`SELECT count(*) FROM audit_logs WHERE ipAddress IS NULL AND action NOT IN ('room_closed', 'config_changed')`), '0');
});
