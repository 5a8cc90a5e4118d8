// REST as a client sees it. The real control plane runs on a free port, with its own data directory and without
// a data plane.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync, chmodSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { binaries, sanitizerOptions, slower } from '../lib/build.mjs';
import { onServers, sharedPostgres, storesOf } from '../lib/servers.mjs';
import { HANG_MS, sleep, until } from '../lib/waiting.mjs';

const program = join(binaries, 'ringcast-controlplane');

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.on('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

class ControlPlane {
  static async start(folder, environment = {}) {
    const self = new ControlPlane();
    const port = await freePort();
    self.port = port;
    self.url = `http://127.0.0.1:${port}`;
    self.folder = folder;
    self.log = '';
    const stores = await storesOf(folder);
    self.database = stores.POSTGRES_DB;
    self.postgres = await sharedPostgres();
    self.process = spawn(program, [], {
      env: {
        PATH: process.env.PATH,
        PORT: String(port),
        RINGCAST_DATA: folder,
        RINGCAST_HTTP_LISTEN_IP: '127.0.0.1',
        RINGCAST_LOGIN_ATTEMPTS: '100000',
        ...sanitizerOptions,
        ...stores,
        ...environment,
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    self.process.stderr.on('data', (data) => (self.log += data));
    self.ended = new Promise((resolve) =>
      self.process.on('exit', (code, signal) => resolve({ code, signal })),
    );
    for (const end = performance.now() + HANG_MS; performance.now() < end;) {
      if (self.process.exitCode !== null) throw new Error(`it ended at the start:\n${self.log}`);
      const up = await fetch(`${self.url}/health`).catch(() => null);
      if (up && (await up.json()).persistence.status === 'ok') return self;
      await sleep(25);
    }
    self.process.kill('SIGKILL');
    throw new Error(`it did not start within ${HANG_MS} ms:\n${self.log}`);
  }

  async stop(signal = 'SIGTERM') {
    this.process.kill(signal);
    const timer = setTimeout(() => this.process.kill('SIGKILL'), HANG_MS);
    const end = await this.ended;
    clearTimeout(timer);
    return end;
  }

  async call(method, path, { body, token, headers = {}, raw } = {}) {
    const response = await fetch(this.url + path, {
      method,
      headers: {
        ...(body !== undefined || raw !== undefined ? { 'content-type': 'application/json' } : {}),
        ...(token ? { authorization: `Bearer ${token}` } : {}),
        ...headers,
      },
      body: raw ?? (body === undefined ? undefined : JSON.stringify(body)),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: text ? JSON.parse(text) : null };
  }

  // Rows of the database, read by another program.
  sql(text) {
    if (onServers) return this.postgres.sqlSync(text, this.database);
    return execFileSync('sqlite3', ['-cmd', '.timeout 2000', join(this.folder, 'ringcast.sqlite3'), text], {
      encoding: 'utf8',
    }).trim();
  }
}

let folder;
let plane;
let count = 0;
const person = () => ({
  email: `person${++count}@example.org`,
  password: 'correct horse battery',
  displayName: `Person ${count}`,
});

async function registered(on = plane) {
  const who = person();
  const reply = await on.call('POST', '/auth/register', { body: who });
  assert.equal(reply.status, 201, JSON.stringify(reply.body));
  return { ...who, ...reply.body };
}

function errorShape(reply, status) {
  assert.equal(reply.status, status, JSON.stringify(reply.body));
  assert.equal(reply.body.statusCode, status);
  assert.equal(typeof reply.body.error, 'string');
  assert.ok(reply.body.message);
}

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringcast-rest-'));
  // When root starts it, the control plane becomes another user, who must be able to reach the directory.
  chmodSync(folder, 0o755);
  plane = await ControlPlane.start(join(folder, 'data'));
});

after(async () => {
  await plane?.stop();
  rmSync(folder, { recursive: true, force: true });
});

describe('accounts', () => {
  test('register, login, me', async () => {
    const who = { email: '  Ada.Lovelace@Example.ORG ', password: 'correct horse', displayName: '  Ada 🎩 ' };
    const created = await plane.call('POST', '/auth/register', { body: who });
    assert.equal(created.status, 201);
    assert.deepEqual(Object.keys(created.body).sort(), ['accessToken', 'expiresIn', 'user']);
    assert.equal(created.body.expiresIn, 3600);
    assert.deepEqual(
      { ...created.body.user, id: '' },
      { id: '', email: 'ada.lovelace@example.org', displayName: 'Ada 🎩' },
    );
    assert.match(created.body.user.id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.match(created.headers.get('cache-control'), /no-store/);

    const [header, claims] = created.body.accessToken.split('.', 2)
      .map((part) => JSON.parse(Buffer.from(part, 'base64url')));
    assert.deepEqual(header, { alg: 'HS256', typ: 'JWT' });
    assert.deepEqual(Object.keys(claims).sort(), ['displayName', 'email', 'exp', 'iat', 'sub']);
    assert.equal(claims.sub, created.body.user.id);
    assert.equal(claims.exp - claims.iat, 3600);

    const login = await plane.call('POST', '/auth/login', {
      body: { email: 'ADA.lovelace@example.org', password: 'correct horse' },
    });
    assert.equal(login.status, 200);
    assert.deepEqual(login.body.user, created.body.user);

    const me = await plane.call('GET', '/auth/me', { token: login.body.accessToken });
    assert.equal(me.status, 200);
    assert.deepEqual(Object.keys(me.body).sort(), ['createdAt', 'displayName', 'email', 'id', 'isActive']);
    assert.equal(me.body.isActive, true);
    assert.match(me.body.createdAt, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.ok(Math.abs(Date.parse(me.body.createdAt) - Date.now()) < 10000);
  });

  test('a taken email is 409, whatever its case', async () => {
    const who = await registered();
    const again = await plane.call('POST', '/auth/register', {
      body: { email: who.email.toUpperCase(), password: 'another password', displayName: 'X' },
    });
    errorShape(again, 409);
  });

  test('one answer for wrong password, unknown and deactivated user', async () => {
    const who = await registered();
    const off = await registered();
    plane.sql(`UPDATE users SET "isActive"=(1=0) WHERE email='${off.email}'`);
    const answers = [];
    for (const body of [
      { email: who.email, password: 'wrong password' },
      { email: 'nobody@example.org', password: 'wrong password' },
      { email: off.email, password: off.password },
    ]) {
      const reply = await plane.call('POST', '/auth/login', { body });
      errorShape(reply, 401);
      answers.push(JSON.stringify(reply.body));
    }
    assert.equal(new Set(answers).size, 1);
    errorShape(await plane.call('GET', '/auth/me', { token: off.accessToken }), 401);
  });

  test('tokens: none, forged, expired, other algorithms are 401', async () => {
    const who = await registered();
    const secret = readFileSync(join(plane.folder, 'jwt-secret'), 'utf8').trim();
    const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const make = (header, claims, key = secret, hash = 'sha256') => {
      const input = `${encode(header)}.${encode(claims)}`;
      return `${input}.${createHmac(hash, key).update(input).digest('base64url')}`;
    };
    const now = Math.floor(Date.now() / 1000);
    const header = { alg: 'HS256', typ: 'JWT' };
    const claims = { sub: who.user.id, email: who.email, displayName: 'P', iat: now, exp: now + 60 };
    const statusOf = async (token) => (await plane.call('GET', '/auth/me', { token })).status;
    assert.equal(await statusOf(make(header, claims)), 200); // a valid token has this form
    for (const token of [
      undefined,
      'x',
      make({ alg: 'none' }, claims),
      make({ alg: 'none' }, claims).replace(/[^.]*$/, ''),
      make({ alg: 'HS512', typ: 'JWT' }, claims, secret, 'sha512'),
      make(header, claims, 'another secret'),
      make(header, { ...claims, exp: now - 1, iat: now - 100 }),
      make(header, { ...claims, exp: undefined }),
      make(header, { ...claims, sub: '00000000-0000-4000-8000-000000000000' }),
      make(header, claims) + '.x',
      make(header, claims).slice(0, -1),
    ]) {
      assert.equal(await statusOf(token), 401, token);
    }
    const basic = await plane.call('GET', '/auth/me', { headers: { authorization: 'Basic YTpi' } });
    errorShape(basic, 401);
    assert.equal(basic.headers.get('www-authenticate'), 'Bearer');
  });
});

describe('validation', () => {
  const rows = [
    ['/auth/register', {}, ['email must be an email', 'password must be a string', 'displayName must be a string']],
    [
      '/auth/register',
      { email: 'x', password: 'short', displayName: ' ' },
      [
        'email must be an email',
        'password must be longer than or equal to 8 characters',
        'displayName must be longer than or equal to 1 characters',
      ],
    ],
    [
      '/auth/register',
      { email: 'a@b.cd', password: 'x'.repeat(129), displayName: 'y'.repeat(101) },
      [
        'password must be shorter than or equal to 128 characters',
        'displayName must be shorter than or equal to 100 characters',
      ],
    ],
    ['/auth/register', { email: ['a@b.cd'], password: { $ne: 1 }, displayName: 7 },
      ['email must be an email', 'password must be a string', 'displayName must be a string']],
    ['/auth/login', {}, ['email must be an email', 'password must be a string']],
    ['/auth/login', { email: "' OR 1=1 --", password: 'x' }, ['email must be an email']],
    ['/rooms', {}, ['title must be a string']],
    ['/rooms', { title: '', maxParticipants: 1 },
      ['title must be longer than or equal to 1 characters', 'maxParticipants must not be less than 2']],
    ['/rooms', { title: 'x', maxParticipants: 101 }, ['maxParticipants must not be greater than 100']],
    ['/rooms', { title: 'x', maxParticipants: '5' }, ['maxParticipants must be an integer number']],
  ];

  test('one sentence for each wrong field, in the words of class-validator', async () => {
    const { accessToken: token } = await registered();
    for (const [path, body, sentences] of rows) {
      const reply = await plane.call('POST', path, { body, token });
      errorShape(reply, 400);
      assert.deepEqual(reply.body.message, sentences, path);
      assert.equal(reply.body.error, 'Bad Request');
    }
  });

  test('a missing token is reported before wrong fields', async () => {
    errorShape(await plane.call('POST', '/rooms', { body: {} }), 401);
  });
});

describe('HTTP', () => {
  test('bad JSON, wrong types and sizes', async () => {
    const path = '/auth/login';
    for (const raw of ['', '{', '[]', '"x"', 'null', '{"email":1,}', '{} x', '{"a":"\u0001"}', '{"a":"\\ud800"}'])
      errorShape(await plane.call('POST', path, { raw }), 400);
    errorShape(await plane.call('POST', path, { raw: '{}', headers: { 'content-type': 'text/plain' } }), 415);
    errorShape(await plane.call('POST', path, { raw: `{"a":"${'x'.repeat(70000)}"}` }), 413);
    const deep = await plane.call('POST', path, { raw: '{"a":'.repeat(100) + '1' + '}'.repeat(100) });
    errorShape(deep, 400);
  });

  test('unknown routes are 404, wrong methods 405 with Allow', async () => {
    errorShape(await plane.call('GET', '/nothing'), 404);
    errorShape(await plane.call('GET', '/auth'), 404);
    errorShape(await plane.call('POST', '/auth/loginx', { body: {} }), 404);
    for (const [method, path, allow] of [
      ['GET', '/auth/login', 'POST'],
      ['PUT', '/auth/register', 'POST'],
      ['DELETE', '/auth/me', 'GET'],
      ['DELETE', '/rooms', 'POST'],
      ['POST', '/health', 'GET'],
    ]) {
      const reply = await plane.call(method, path, method === 'GET' ? {} : { body: {} });
      errorShape(reply, 405);
      assert.match(reply.headers.get('allow'), new RegExp(allow));
    }
  });

  test('health is degraded without a data plane', async () => {
    const reply = await plane.call('GET', '/health');
    assert.equal(reply.status, 503);
    assert.equal(reply.body.status, 'degraded');
    assert.notEqual(reply.body.dataplane.status, 'ok');
    assert.equal(reply.body.persistence.status, 'ok');
    assert.equal(reply.body.persistence.backend, onServers ? 'postgres' : 'sqlite');
    const { status, waitingBytesMax, alarms, rowsLost } = reply.body.persistence.audit;
    assert.deepEqual([status, waitingBytesMax, alarms, rowsLost], ['ok', 256 << 20, 0, 0]);
  });

  test('a client that leaves in the middle of a login changes nothing for others', async () => {
    const body = JSON.stringify({ email: 'gone@example.org', password: 'correct horse' });
    for (let i = 0; i < 10; i++) {
      await new Promise((resolve) => {
        const socket = connect(plane.port, '127.0.0.1', () => {
          socket.write(
            `POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n` +
              `Content-Length: ${body.length}\r\n\r\n${body}`,
            () => socket.destroy(),
          );
        });
        socket.on('close', resolve);
        socket.on('error', resolve);
      });
    }
    await registered();
  });
});

describe('rooms', () => {
  test('create, and find by id and by code', async () => {
    const { accessToken: token, user } = await registered();
    const created = await plane.call('POST', '/rooms', { token, body: { title: '  Stand-up ', maxParticipants: 7 } });
    assert.equal(created.status, 201);
    assert.deepEqual(Object.keys(created.body).sort(), ['roomCode', 'roomId']);
    const { roomId, roomCode } = created.body;
    assert.match(roomCode, /^[A-HJ-NP-Z2-9]{4}-[A-HJ-NP-Z2-9]{4}-[A-HJ-NP-Z2-9]{4}$/);
    for (const key of [roomId, roomCode, roomCode.toLowerCase(), roomId.toUpperCase()]) {
      const found = await plane.call('GET', `/rooms/${key}`, { token });
      assert.equal(found.status, 200, key);
      const { createdAt, updatedAt, ...row } = found.body;
      assert.deepEqual(row, {
        id: roomId,
        title: 'Stand-up',
        roomCode,
        hostId: user.id,
        status: 'waiting',
        maxParticipants: 7,
        startedAt: null,
        endedAt: null,
        peakParticipants: 0,
        participantCount: 0,
      });
      assert.equal(createdAt, updatedAt);
      assert.ok(Math.abs(Date.parse(createdAt) - Date.now()) < 10000);
    }
    const other = await plane.call('POST', '/rooms', { token, body: { title: 'x' } });
    const found = await plane.call('GET', `/rooms/${other.body.roomId}`, { token });
    assert.equal(found.body.maxParticipants, 100);
    for (const key of ['AAAA-AAAA-AAAA', '00000000-0000-4000-8000-000000000000', "x'OR'1'='1"])
      errorShape(await plane.call('GET', `/rooms/${key}`, { token }), 404);
    for (const key of ["x'%20OR%20'1", '%00', 'x'.repeat(3000)]) {
      const { status } = await plane.call('GET', `/rooms/${key}`, { token });
      assert.ok(status === 400 || status === 404, `${key}: ${status}`);
    }
    errorShape(await plane.call('GET', `/rooms/${roomId}`), 401);
  });

  test('one user may create 60 in a minute', async () => {
    const { accessToken: token } = await registered();
    const { accessToken: other } = await registered();
    const replies = await Promise.all(
      Array.from({ length: 70 }, () => plane.call('POST', '/rooms', { token, body: { title: 'x' } })),
    );
    assert.equal(replies.filter((reply) => reply.status === 201).length, 60);
    const refused = replies.filter((reply) => reply.status === 429);
    assert.equal(refused.length, 10);
    assert.ok(Number(refused[0].headers.get('retry-after')) >= 1);
    assert.equal((await plane.call('POST', '/rooms', { token: other, body: { title: 'x' } })).status, 201);
  });
});

describe('throttles', () => {
  test('the sixth failure within a minute is 429 with Retry-After', async () => {
    const who = await registered();
    const login = (password) => plane.call('POST', '/auth/login', { body: { email: who.email, password } });
    assert.equal((await login(who.password)).status, 200);
    for (let i = 0; i < 5; i++) errorShape(await login('wrong password'), 401);
    const refused = await login('wrong password');
    errorShape(refused, 429);
    const seconds = Number(refused.headers.get('retry-after'));
    assert.ok(seconds >= 30 && seconds <= 63, String(seconds));
    errorShape(await login(who.password), 429); // the failures count for the user at this address
  });

  test('attempts of one address, and a login flood', async () => {
    const own = await ControlPlane.start(join(folder, 'throttled'), {
      RINGCAST_LOGIN_ATTEMPTS: '20',
      TRUSTED_PROXIES: '127.0.0.1',
    });
    try {
      const login = (i, ip) =>
        own.call('POST', '/auth/login', {
          body: { email: `${i}@example.org`, password: 'x' },
          headers: { 'x-forwarded-for': ip },
        });
      for (let i = 0; i < 20; i++) errorShape(await login(i, '192.0.2.1'), 401);
      errorShape(await login(20, '192.0.2.1'), 429);
      errorShape(await login(20, '192.0.2.2'), 401);
      // 200 logins at once from 200 addresses: at least 66 are served, the others get 503. Meanwhile the
      // server answers other requests.
      const flood = Array.from({ length: 200 }, (_, i) => login(i + 100, `198.51.100.${i}`));
      const times = [];
      for (let i = 0; i < 20; i++) {
        const start = performance.now();
        await own.call('GET', '/health');
        times.push(performance.now() - start);
      }
      const replies = await Promise.all(flood);
      const by = (status) => replies.filter((reply) => reply.status === status);
      assert.equal(by(401).length + by(503).length, 200);
      assert.ok(by(401).length >= 66, `${by(401).length} were served`);
      assert.ok(by(503).length > 0, 'no login got 503');
      assert.ok(by(503).every((reply) => Number(reply.headers.get('retry-after')) >= 1));
      times.sort((a, b) => a - b);
      assert.ok(times[19] < 1000 * slower, `health took ${times[19]} ms during the flood`);
      await until(() => own.sql(`SELECT count(*) FROM audit_logs WHERE action='rate_limited'`) === '1', 'the audit row');
      assert.equal(
        own.sql(`SELECT count(*) FROM audit_logs WHERE action='user_login_failed' AND "ipAddress"='192.0.2.1'`),
        '20',
      );
    } finally {
      await own.stop();
    }
  });
});

describe('start and stop', () => {
  test('a locked database: 503 within a second, and service again when it is unlocked', async (t) => {
    const { accessToken: token } = await registered();
    // The audit rows of the registration are being written, so the lock must wait for them.
    const locker = onServers
      ? spawn('psql', plane.postgres.arguments(plane.database), { stdio: ['pipe', 'pipe', 'ignore'] })
      : spawn('sqlite3', ['-bail', '-cmd', '.timeout 5000', join(plane.folder, 'ringcast.sqlite3')],
        { stdio: ['pipe', 'pipe', 'ignore'] });
    t.after(() => locker.kill());
    locker.stdin.write(onServers ? 'BEGIN; LOCK TABLE meetings; SELECT 1;\n' : 'BEGIN IMMEDIATE; SELECT 1;\n');
    assert.ok(await new Promise((resolve) => {
      locker.stdout.once('data', resolve);
      locker.once('exit', () => resolve(null));
    }), 'locked');
    const start = performance.now();
    const reply = await plane.call('POST', '/rooms', { token, body: { title: 'x' } });
    errorShape(reply, 503);
    assert.ok(reply.headers.get('retry-after'));
    assert.ok(performance.now() - start < 1000 + 500 * slower);
    const health = await plane.call('GET', '/health');
    assert.notEqual(health.body.persistence.status, 'ok');
    assert.equal((await plane.call('GET', '/auth/me', { token })).status, 200); // reading still works
    locker.stdin.end('ROLLBACK;\n');
    await new Promise((resolve) => locker.once('exit', resolve));
    await until(async () => (await plane.call('GET', '/health')).body.persistence.status === 'ok', 'the store works again');
    assert.equal((await plane.call('POST', '/rooms', { token, body: { title: 'x' } })).status, 201);
  });

  test('a second control plane in the same directory is refused with a reason', async () => {
    await assert.rejects(ControlPlane.start(plane.folder), /already uses the data directory/);
  });

  test('production without a good secret is refused with a reason', async () => {
    for (const JWT_SECRET of ['', 'short', 'your-super-secret-jwt-key-change-in-production'])
      await assert.rejects(
        ControlPlane.start(join(folder, 'production'), { NODE_ENV: 'production', JWT_SECRET }),
        /JWT_SECRET (is not set|is shorter than 32 bytes|is a known default)/,
      );
  });

  test('a data directory that cannot be made is refused with a reason', async () => {
    writeFileSync(join(folder, 'file'), '');
    await assert.rejects(ControlPlane.start(join(folder, 'file', 'data')), /cannot create the data directory/);
  });

  test('stores everything before it stops; the next start accepts the old tokens', async () => {
    const own = await ControlPlane.start(join(folder, 'twice'));
    const who = await registered(own);
    const room = await own.call('POST', '/rooms', { token: who.accessToken, body: { title: 'x' } });
    const { code } = await own.stop(); // at once: the audit rows are still in the spool
    assert.equal(code, 0, own.log);
    assert.equal(own.sql(`SELECT action FROM audit_logs ORDER BY ${onServers ? '"createdAt"' : 'rowid'}`),
      'user_registered\nroom_created');
    const [address, metadata] =
      own.sql(`SELECT "ipAddress", metadata FROM audit_logs WHERE "roomId"='${room.body.roomId}'`).split('|');
    assert.equal(address, '127.0.0.1');
    assert.deepEqual(JSON.parse(metadata), { roomCode: room.body.roomCode, maxParticipants: 100 });
    const files = readdirSync(own.folder);
    assert.deepEqual(files.filter((name) => name.startsWith('audit-spool')), []);
    for (const name of files) assert.equal(statSync(join(own.folder, name)).mode & 0o077, 0, name);
    // threat C23: the log has no secrets
    const secret = readFileSync(join(own.folder, 'jwt-secret'), 'utf8').trim();
    for (const planted of [secret, who.password, who.accessToken]) assert.ok(!own.log.includes(planted));

    const next = await ControlPlane.start(join(folder, 'twice'));
    try {
      assert.equal((await next.call('GET', '/auth/me', { token: who.accessToken })).status, 200);
      const found = await next.call('GET', `/rooms/${room.body.roomCode}`, { token: who.accessToken });
      assert.equal(found.status, 200);
    } finally {
      await next.stop();
    }
  });

  test('kill -9 during 60 registrations: each answered one is stored and audited once', async () => {
    const own = await ControlPlane.start(join(folder, 'killed'));
    const acknowledged = [];
    const calls = Array.from({ length: 60 }, async () => {
      const who = person();
      const reply = await own.call('POST', '/auth/register', { body: who }).catch(() => null);
      if (reply?.status === 201) acknowledged.push(reply.body.user.id);
    });
    while (acknowledged.length < 15) await sleep(5);
    await own.stop('SIGKILL');
    await Promise.all(calls);
    const next = await ControlPlane.start(join(folder, 'killed'));
    await next.stop(); // writes the audit rows that wait
    for (const id of acknowledged) {
      assert.equal(next.sql(`SELECT count(*) FROM users WHERE id='${id}'`), '1');
      assert.equal(
        next.sql(`SELECT count(*) FROM audit_logs WHERE action='user_registered' AND "userId"='${id}'`),
        '1',
      );
    }
  });
});
