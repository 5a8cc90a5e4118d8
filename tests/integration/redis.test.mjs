// Live state in Redis: it has the keys of the NestJS backend, and it is equal to the rooms again after every
// failure of Redis or of the control plane (threats F11–F15), while calls continue.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, test } from 'node:test';
import { Client } from '../lib/client.mjs';
import { RedisServer, startRedis } from '../lib/redis.mjs';
import { binaries, freePort, Ringcast, sanitizerOptions, sleep, slower, until } from '../lib/ringcast.mjs';

const opened = [];
const open = async (starting) => { const it = await starting; opened.push(it); return it; };
afterEach(async () => { for (const it of opened.splice(0).reverse()) await it.stop(); });

const startRingcast = (redis, environment = {}) => open(Ringcast.start({
  ...redis.environment, RATE_LIMIT_EVENTS: '100000', REDIS_TIMEOUT: '1000', RECONNECT_GRACE: '1', ...environment }));

// A control plane without a data plane: enough for /health.
class ControlPlane {
  static async start(environment) {
    const self = new ControlPlane();
    const port = await freePort();
    self.url = `http://127.0.0.1:${port}`;
    self.directory = await mkdtemp(join(tmpdir(), 'ringcast-redis-'));
    self.log = '';
    self.process = spawn(join(binaries, 'ringcast-controlplane'), [], {
      env: { PATH: process.env.PATH, PORT: String(port), RINGCAST_DATA: join(self.directory, 'data'),
        RINGCAST_RUN_AS: '', ...sanitizerOptions, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [self.process.stdout, self.process.stderr])
      stream.on('data', (data) => { self.log += data; });
    self.exited = new Promise((resolve) => { self.process.on('exit', resolve); });
    await until(() => self.health(), 5000, 'answers').catch(async (error) => {
      await self.stop();
      throw new Error(`${error.message}\n${self.log}`);
    });
    return self;
  }

  async health() {
    return (await fetch(`${this.url}/health`)).json();
  }

  async stop() {
    this.process.kill('SIGTERM');
    await this.exited;
    await rm(this.directory, { recursive: true, force: true });
  }
}

const participantFields = ({ userId, socketId, role, joinedAt, producerIds, isMuted, isVideoOff }) =>
  ({ userId, socketId, role, joinedAt, producerIds, isMuted, isVideoOff });

// What Redis should hold. A client in each room asks for its participants.
async function wanted(clients) {
  const rooms = {}, sockets = {}, users = {};
  for (const client of clients) {
    sockets[client.socket.id] = client.userId;
    users[client.userId] = client.socket.id;
    if (!client.roomId || rooms[client.roomId]) continue;
    const { participants } = await client.call('room:join', { roomId: client.roomId });
    rooms[client.roomId] = Object.fromEntries(participants.map((p) => [p.userId, participantFields(p)]));
  }
  return { rooms, sockets, users };
}

// What Redis holds, in the same form. Every key must be known and have the right time to live.
async function found(redis) {
  const rooms = {}, sockets = {}, users = {}, listed = [];
  for (const [key, { type, ttl, value }] of Object.entries(await redis.everything())) {
    const [, room, people] = key.match(/^room:([0-9a-f-]{36})(:participants)?$/) ?? [];
    if (room) {
      assert.equal(type, 'hash');
      assert.ok(ttl > 86000 && ttl <= 86400, `${key} ${ttl}`);
      rooms[room] ??= {};
      if (people) for (const [id, json] of Object.entries(value)) rooms[room][id] = JSON.parse(json);
    } else if (/^(socket:user|user:socket):/.test(key)) {
      assert.equal(type, 'string');
      assert.ok(ttl > 6900 && ttl <= 7200, `${key} ${ttl}`);
      (key.startsWith('socket') ? sockets : users)[key.split(':')[2]] = value;
    } else if (key === 'active_rooms') {
      assert.deepEqual([type, ttl], ['set', -1]);
      listed.push(...value);
    } else {
      assert.match(key, /^ringcast:[0-9a-f-]{36}:(rooms|sockets)$/);
    }
  }
  assert.deepEqual(listed.sort(), Object.keys(rooms).sort());
  return { rooms, sockets, users };
}

const assertEqualSoon = (redis, clients, ms = 5000) => until(async () => {
  assert.deepEqual(await found(redis), await wanted(clients));
  return true;
}, ms, 'Redis is equal to the rooms');

const state = async (ringcast) => (await ringcast.health()).state;
const untilState = (ringcast, status, ms = 8000) =>
  until(async () => (await state(ringcast)).status === status, ms, `state is ${status}`);

test('keys, types, values and times to live after join, produce, mute, role change, leave and close', async () => {
  const redis = await open(startRedis()), ringcast = await startRingcast(redis);
  const [host, guest] = [await Client.open(ringcast, 'host'), await Client.open(ringcast, 'guest')];
  const { roomId, roomCode } = await host.call('room:create', { title: 'Büro "A"\n'.trim(), maxParticipants: 7 });
  const participant = async (client) => JSON.parse(await redis.ask('HGET', `room:${roomId}:participants`, client.userId));
  assert.equal(await redis.ask('EXISTS', `room:${roomId}`), 0, 'an empty room has no key');

  await guest.call('room:join', { roomId });
  guest.roomId = roomId;
  await assertEqualSoon(redis, [host, guest]);
  const { createdAt, instance, ...fields } = await redis.ask('HGETALL', `room:${roomId}`);
  assert.deepEqual(fields, { hostUserId: host.userId, status: 'waiting', routerId: roomId, title: 'Büro "A"', roomCode,
    maxParticipants: '7' });
  assert.ok(Math.abs(Date.now() - Number(createdAt)) < 60000);
  assert.match(instance, /^[0-9a-f-]{36}$/);
  assert.deepEqual(Object.keys(await participant(guest)),
    ['userId', 'socketId', 'role', 'joinedAt', 'producerIds', 'isMuted', 'isVideoOff']);

  await host.call('room:join', { roomId });
  host.roomId = roomId;
  await assertEqualSoon(redis, [host, guest]);
  assert.equal(await redis.ask('HGET', `room:${roomId}`, 'status'), 'active');
  assert.equal((await participant(host)).role, 'host');

  const audio = await guest.produce(roomId, 'audio'), video = await guest.produce(roomId, 'video');
  await until(async () => {
    assert.deepEqual(await participant(guest), { ...await participant(guest),
      producerIds: [audio.producerId, video.producerId], isMuted: false, isVideoOff: false });
    return true;
  }, 2000, 'producers are there');
  await host.call('room:muteAll', { roomId });
  await until(async () => (await participant(guest)).isMuted === true, 2000, 'muted');
  await guest.call('media:closeProducer', { roomId, producerId: video.producerId });
  await until(async () => {
    const { producerIds, isVideoOff } = await participant(guest);
    return producerIds.length === 1 && isVideoOff;
  }, 2000, 'closed');
  await host.call('room:changeRole', { roomId, targetUserId: guest.userId, newRole: 'co_host' });
  await until(async () => (await participant(guest)).role === 'co_host', 2000, 'role changed');
  await assertEqualSoon(redis, [host, guest]);

  guest.close();
  await until(async () => await participant(guest) === null, 4000, 'removed after the grace time');
  await assertEqualSoon(redis, [host]);
  await host.call('room:close', { roomId });
  delete host.roomId;
  await assertEqualSoon(redis, [host]);
  host.close();
  await until(async () => (await redis.ask('DBSIZE')) === 0, 2000, 'no key is left');
});

test('a refresh renews the times to live and writes missing keys again', async () => {
  const redis = await open(startRedis()), ringcast = await startRingcast(redis, { REDIS_REFRESH: '1' });
  const host = await Client.open(ringcast, 'host');
  host.roomId = (await host.call('room:create', { title: 'T' })).roomId;
  await host.call('room:join', { roomId: host.roomId });
  await assertEqualSoon(redis, [host]);
  for (const key of Object.keys(await redis.everything()))
    if (key !== 'active_rooms') await redis.cli('EXPIRE', key, '100');
  await assertEqualSoon(redis, [host]); // found() checks the times to live
  for (const loss of [['DEL', `room:${host.roomId}`], ['DEL', `socket:user:${host.socket.id}`], ['DEL', 'active_rooms'],
    ['FLUSHALL']]) {
    await redis.cli(...loss);
    await assertEqualSoon(redis, [host], 8000);
  }
  assert.match(ringcast.log, /Redis has lost some of the live state; writing all of it again/);
  host.close();
});

// ---- outages ----

// `make redis-drill` has longer outages and more users.
const outageMs = 1000 * (process.env.RINGCAST_DRILL_SECONDS ?? 1.5);
const movesPerSecond = Number(process.env.RINGCAST_DRILL_RATE ?? 50);

// Clients that join and leave until stop(). Each answer must come within 500 ms.
class Churn {
  constructor(clients, rooms) {
    Object.assign(this, { clients, rooms, calls: 0, failures: [] });
    this.running = this.#run();
  }

  async #step() {
    const client = this.clients[Math.floor(Math.random() * this.clients.length)];
    const roomId = this.rooms[Math.floor(Math.random() * this.rooms.length)];
    if (client.busy || client.stays) return;
    client.busy = true;
    const answer = client.roomId ? await client.ask('room:leave', { roomId: client.roomId })
      : await client.ask('room:join', { roomId });
    if (answer.status === 'error') this.failures.push(answer);
    client.roomId = client.roomId ? undefined : roomId;
    client.busy = false;
    this.calls++;
  }

  async #run() {
    const steps = new Set(), began = Date.now();
    for (let begun = 0; !this.stopped; await sleep(10))
      for (; begun < (Date.now() - began) * movesPerSecond / 1000; begun++) {
        const step = this.#step();
        steps.add(step);
        step.finally(() => steps.delete(step)).catch(() => {});
      }
    await Promise.all(steps);
  }

  async stop() {
    this.stopped = true;
    await this.running;
    assert.deepEqual(this.failures, []);
    const slowest = Math.max(...this.clients.map((client) => client.slowestMs));
    console.log(`# ${this.calls} joins and leaves, slowest answer ${slowest.toFixed(0)} ms`);
    assert.ok(slowest < 500 * slower, `slowest answer ${slowest} ms`);
    for (const client of this.clients) client.slowestMs = 0;
  }
}

// Clients in rooms. In each room one client stays, so that the room exists all the time.
async function people(ringcast, roomCount = 4, moving = Math.max(12, movesPerSecond / 5)) {
  const clients = [], rooms = [];
  for (let i = 0; i < roomCount; i++) {
    const client = await Client.open(ringcast, 'stays');
    client.stays = true;
    client.roomId = (await client.call('room:create', { title: `Room ${i}` })).roomId;
    await client.call('room:join', { roomId: client.roomId });
    rooms.push(client.roomId);
    clients.push(client);
  }
  for (let i = 0; i < moving; i++) clients.push(await Client.open(ringcast, 'moves'));
  return { clients, rooms, close: () => clients.forEach((client) => client.close()) };
}

test('Redis killed, hung and full: calls and media continue, and Redis is equal to the rooms afterwards', async () => {
  const redis = await open(startRedis({ config: ['maxmemory-policy noeviction'] }));
  const ringcast = await startRingcast(redis);
  const all = await people(ringcast);
  const call = ringcast.probe('--seconds', String(Math.ceil(16 + 3 * outageMs / 1000)));
  const churn = () => new Churn(all.clients, all.rooms);

  let moving = churn();
  await sleep(1000);
  await redis.halt();
  await untilState(ringcast, 'down');
  const degraded = await fetch(`${ringcast.url}/health`);
  assert.equal(degraded.status, 503);
  assert.match((await degraded.json()).state.problem, /^Redis at 127\.0\.0\.1:\d+: /);
  await sleep(outageMs);
  await redis.launch(); // empty
  await untilState(ringcast, 'ok');
  await moving.stop();

  moving = churn();
  await sleep(500);
  redis.signal('SIGSTOP');
  await untilState(ringcast, 'down');
  assert.match((await state(ringcast)).problem, /no answer within 1000 ms/);
  await sleep(outageMs);
  redis.signal('SIGCONT');
  await untilState(ringcast, 'ok');
  await moving.stop();

  moving = churn();
  await redis.cli('CONFIG', 'SET', 'maxmemory', '1');
  await untilState(ringcast, 'refused');
  assert.match((await state(ringcast)).problem, /refuses: OOM .*raise its maxmemory/);
  await sleep(outageMs);
  await redis.cli('CONFIG', 'SET', 'maxmemory', '0');
  await untilState(ringcast, 'ok', 40000);
  await moving.stop();

  const { status, report, errors } = await call;
  assert.equal(status, 0, `${report?.why ?? ''} ${errors}`);
  for (const { received } of report.participants)
    for (const stream of received) assert.equal(stream.lost, 0, `${stream.kind} lost ${stream.lost}`);
  await assertEqualSoon(redis, all.clients);
  all.close();
  await until(async () => (await redis.ask('DBSIZE')) === 0, 5000, 'no key is left');
});

// A relay to Redis. After cut() it keeps the bytes of the connections that are open then; heal() delivers them,
// as a network does that works again.
class Relay {
  static async to(port) {
    const self = new Relay();
    self.links = new Set();
    self.server = createServer((near) => {
      const link = { near, far: connect(port, '127.0.0.1'), kept: null };
      self.links.add(link);
      near.on('data', (data) => { if (link.kept) link.kept.push(data); else link.far.write(data); });
      link.far.on('data', (data) => { if (!link.kept) near.write(data); });
      near.on('close', () => { if (!link.kept) link.far.destroy(); });
      link.far.on('close', () => near.destroy());
      for (const end of [near, link.far]) end.on('error', () => {});
    });
    await new Promise((resolve) => { self.server.listen(0, '127.0.0.1', resolve); });
    self.port = self.server.address().port;
    return self;
  }

  cut() { for (const link of this.links) link.kept = []; }

  // Returns how many bytes it delivered late.
  async heal() {
    let bytes = 0;
    for (const link of this.links) for (const data of link.kept ?? []) {
      bytes += data.length;
      link.far.write(data);
    }
    await sleep(200);
    return bytes;
  }

  async stop() {
    for (const { near, far } of this.links) { near.destroy(); far.destroy(); }
    await new Promise((resolve) => { this.server.close(resolve); });
  }
}

for (const fenced of [true, false])
  test(`commands of a closed connection arrive late: ${fenced ? 'Redis does not run them' : 'without the right to CLIENT, everything is written again'}`, async () => {
    const redis = await open(startRedis()), relay = await open(Relay.to(redis.port));
    await redis.cli('ACL', 'SETUSER', 'ringcast', 'on', '>pw', '~*', '+@all', ...(fenced ? [] : ['-client']));
    const ringcast = await startRingcast(redis, { REDIS_TIMEOUT: '500', REDIS_PORT: String(relay.port),
      REDIS_USERNAME: 'ringcast', REDIS_PASSWORD: 'pw' });
    const stays = await people(ringcast, 1, 0);
    await assertEqualSoon(redis, stays.clients);
    relay.cut();
    const late = await Client.open(ringcast, 'late');
    await late.call('room:join', { roomId: stays.rooms[0] });
    await sleep(100);
    await untilState(ringcast, 'down');
    await late.call('room:leave', { roomId: stays.rooms[0] });
    late.close();
    await untilState(ringcast, 'ok');
    await assertEqualSoon(redis, stays.clients);
    assert.ok(await relay.heal() > 500, 'bytes were delivered late');
    if (fenced) assert.deepEqual(await found(redis), await wanted(stays.clients));
    else await assertEqualSoon(redis, stays.clients);
    stays.close();
  });

test('control plane killed: its old keys are removed, those of other instances stay', async () => {
  const redis = await open(startRedis()), ringcast = await startRingcast(redis);
  const all = await people(ringcast);
  await assertEqualSoon(redis, all.clients);
  const other = '3f9c0a52-6d0b-4a26-9d8e-000000000001';
  await redis.cli('HSET', `room:${other}`, 'hostUserId', 'x', 'instance', 'another');
  await redis.cli('SADD', 'active_rooms', other);
  await redis.cli('SET', 'user:socket:someone', 'elsewhere');
  // Our room that another instance has taken over, and our user who is connected there now.
  const taken = all.rooms[0], person = all.clients[1].userId;
  await redis.cli('HSET', `room:${taken}`, 'instance', 'another');
  await redis.cli('SET', `user:socket:${person}`, 'elsewhere');
  process.kill((await ringcast.pids()).controlplane, 'SIGKILL');
  await until(async () => (await ringcast.health().catch(() => ({}))).status === 'ok', 10000, 'back');
  await until(async () => {
    assert.deepEqual((await redis.ask('KEYS', '*')).sort(), ['active_rooms', `room:${other}`, `room:${taken}`,
      `room:${taken}:participants`, `user:socket:${person}`, 'user:socket:someone'].sort());
    assert.deepEqual((await redis.ask('SMEMBERS', 'active_rooms')).sort(), [other, taken].sort());
    return true;
  }, 5000, 'no old keys');
  all.close();
});

test('a master that becomes a replica is left, found by a write or by the heartbeat', async () => {
  const redis = await open(startRedis()), ringcast = await startRingcast(redis);
  const all = await people(ringcast, 2, 2);
  for (const found of [/READONLY/, /it has become a replica/]) {
    await redis.cli('REPLICAOF', '127.0.0.1', '1');
    if (found.source === 'READONLY') await all.clients[0].produce(all.rooms[0], 'audio');
    await untilState(ringcast, 'down');
    await redis.cli('REPLICAOF', 'NO', 'ONE');
    await untilState(ringcast, 'ok');
    assert.match(ringcast.log, found);
    await assertEqualSoon(redis, all.clients);
  }
  all.close();
});

test('a control plane that is stopped removes all its keys', async () => {
  const redis = await open(startRedis()), ringcast = await startRingcast(redis);
  const all = await people(ringcast);
  await assertEqualSoon(redis, all.clients);
  await ringcast.stop();
  opened.splice(opened.indexOf(ringcast), 1);
  assert.equal(await redis.ask('DBSIZE'), 0);
  all.close();
});

// ---- access ----

describe('access to Redis', () => {
  test('password, TLS both ways, another database', async () => {
    const redis = await open(startRedis({ tls: true, password: 'planted-s3cret;#1' }));
    const ringcast = await startRingcast(redis, { REDIS_DB: '7' });
    const host = await Client.open(ringcast, 'host');
    await until(async () => (await redis.cli('-n', '7', 'GET', `socket:user:${host.socket.id}`)).trim() === host.userId,
      2000, 'the key is in database 7');
    assert.equal(await redis.ask('DBSIZE'), 0);
    assert.ok(!ringcast.log.includes('planted'), 'the password is never logged');
    host.close();
  });

  test('an ACL user with only the commands that are needed', async () => {
    const redis = await open(startRedis());
    await redis.cli('ACL', 'SETUSER', 'ringcast', 'on', '>pw', 'resetkeys', '~room:*', '~socket:user:*', '~user:socket:*',
      '~active_rooms', '~ringcast:*', '-@all', '+multi', '+exec', '+eval', '+hset', '+hdel', '+hget', '+hgetall', '+hlen',
      '+sadd', '+srem', '+smembers', '+set', '+get', '+del', '+expire', '+ping', '+select');
    const ringcast = await startRingcast(redis, { REDIS_USERNAME: 'ringcast', REDIS_PASSWORD: 'pw' });
    const all = await people(ringcast, 1, 2);
    await assertEqualSoon(redis, all.clients);
    all.close();
    await until(async () => (await redis.ask('DBSIZE')) === 0, 3000, 'the keys are removed');
  });

  test('a server or proxy that knows neither ROLE nor CLIENT', async () => {
    const redis = await open(startRedis({ config: ['rename-command ROLE ""', 'rename-command CLIENT ""'] }));
    const ringcast = await startRingcast(redis);
    const all = await people(ringcast, 1, 2);
    await assertEqualSoon(redis, all.clients);
    await redis.halt();
    await untilState(ringcast, 'down');
    await redis.launch();
    await untilState(ringcast, 'ok');
    await assertEqualSoon(redis, all.clients);
    all.close();
  });

  for (const [what, options, environment, problem] of [
    ['a wrong password', { password: 'right' }, { REDIS_PASSWORD: 'wrong' }, /Redis answered AUTH with: (WRONGPASS|ERR)/],
    ['no password', { password: 'right' }, { REDIS_PASSWORD: '' }, /Redis answered \w+ with: NOAUTH/],
    ['an unknown authority', { tls: true }, { REDIS_TLS_CA: '' }, /certificate of the server is not accepted: /],
    ['a certificate for another address', { tls: true }, { REDIS_HOST: '127.0.0.2' }, /certificate of the server is not accepted: IP address mismatch/],
    ['a server without TLS', {}, { REDIS_TLS: 'on' }, /TLS|closed the connection|no connection/],
    ['a database that does not exist', {}, { REDIS_DB: '999' }, /Redis answered SELECT with: ERR/],
    ['a port without a server', {}, { REDIS_PORT: '1' }, /connection refused/],
    ['a name that does not exist', {}, { REDIS_HOST: 'no.such.host.invalid' }, /the server name cannot be resolved: /],
    ['a replica', { config: ['replicaof 127.0.0.1 1'] }, {}, /it is a replica, not a master/],
    ['Sentinels that do not know the master', {}, { REDIS_SENTINELS: '127.0.0.1:1' }, /connection refused/],
  ])
    test(`${what}: /health and one line of the log name the problem, and the control plane works`, async () => {
      const redis = await open(startRedis(options));
      const plane = await open(ControlPlane.start({ ...redis.environment, ...environment }));
      const { state: { status, problem: named } } = await until(async () => {
        const health = await plane.health();
        assert.match(health.state.problem ?? '', problem);
        return health;
      }, 5000, '/health names the problem');
      assert.equal(status, 'down');
      assert.match(named, /^Redis at /);
      await sleep(600); // more attempts meanwhile
      assert.equal(plane.log.match(/Redis is not usable/g).length, 1, plane.log);
    });
});

// ---- Sentinels ----

test('Sentinels: it finds the master, follows a failover, and leaves a master that became a replica', async () => {
  const master = await open(startRedis({ config: ['repl-ping-replica-period 1'] }));
  const replica = await open(startRedis({ config: [`replicaof 127.0.0.1 ${master.port}`] }));
  await until(async () => (await replica.cli('INFO', 'replication')).includes('master_link_status:up'), 10000, 'replicating');
  const sentinels = [];
  for (let i = 0; i < 3; i++)
    sentinels.push(await open(RedisServer.start({ sentinel: { name: 'ours', host: '127.0.0.1', port: master.port } })));
  await until(async () => (await sentinels[0].ask('SENTINEL', 'SENTINELS', 'ours')).length === 2
    && (await sentinels[0].ask('SENTINEL', 'REPLICAS', 'ours')).length === 1, 10000, 'Sentinels know each other');
  const dead = await freePort();
  const ringcast = await startRingcast(master, { REDIS_PORT: '1', REDIS_SENTINEL_MASTER: 'ours',
    REDIS_SENTINELS: [dead, ...sentinels.map((s) => s.port)].map((port) => `127.0.0.1:${port}`).join(', ') });
  const all = await people(ringcast, 3, 6);
  await assertEqualSoon(master, all.clients);
  const moving = new Churn(all.clients, all.rooms);
  await master.halt();
  await until(async () => (await replica.cli('ROLE')).startsWith('master'), 20000, 'failed over');
  await untilState(ringcast, 'ok', 10000);
  await moving.stop();
  await assertEqualSoon(replica, all.clients);
  await master.launch(); // becomes a replica and refuses writes
  await until(async () => (await master.cli('ROLE')).startsWith('slave'), 20000, 'demoted');
  await untilState(ringcast, 'ok');
  await assertEqualSoon(replica, all.clients);
  all.close();
});
