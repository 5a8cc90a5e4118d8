// PostgreSQL stops or hangs, and comes back, while users join and leave (threats F16–F18). Requests that need
// the database fail within a second, rooms keep running, and afterwards every change of state is in the audit table
// exactly once and in order.

import assert from 'node:assert/strict';
import { kill } from 'node:process';
import { afterEach, beforeEach, test } from 'node:test';
import { ask, connect, Crowd } from '../lib/crowd.mjs';
import { Ringcast, sleep, slower, until } from '../lib/ringcast.mjs';
import { startServers } from '../lib/servers.mjs';

const SECONDS = Number(process.env.OUTAGE_SECONDS ?? 8);
const RATE = Number(process.env.OUTAGE_RATE ?? 60);
const ANSWER_MS_MAX = 1000 * slower;

let servers, ringcast, crowd;

beforeEach(async () => {
  servers = await startServers();
  ringcast = await Ringcast.start({ ...servers.environment, RATE_LIMIT_EVENTS: '100000', RECONNECT_GRACE: '1' });
  crowd = await Crowd.gather(ringcast, 4, 3);
});

afterEach(async () => {
  crowd?.close();
  await ringcast?.stop();
  await servers?.stop();
});

const rows = async () => JSON.parse(await servers.postgres.sql(
  `SELECT coalesce(json_agg(json_build_object('action', action, 'userId', "userId", 'roomId', "roomId")
   ORDER BY "createdAt"), '[]') FROM audit_logs`, servers.environment.POSTGRES_DB));

async function recovered() {
  await until(async () => {
    const { persistence } = await ringcast.health();
    return persistence.status === 'ok' && persistence.audit.waitingBytes === 0;
  }, 10000 + SECONDS * 200, 'the database works and has every row');
}

// Requests that need the database fail within a second.
async function assertUnavailable(token, socket) {
  const timed = async (asking) => {
    const began = performance.now();
    const answer = await asking;
    const ms = performance.now() - began;
    assert.ok(ms < ANSWER_MS_MAX, `answered after ${ms.toFixed(0)} ms`);
    return answer;
  };
  const [room, me, created, refused] = await Promise.all([
    timed(ringcast.request('POST', '/rooms', { title: 'x' }, token)),
    timed(ringcast.request('GET', '/auth/me', undefined, token)),
    timed(ask(socket, 'room:create', { title: 'x' })),
    timed(connect(ringcast, token).then(() => null, (error) => error)),
  ]);
  assert.equal(room.status, 503, JSON.stringify(room.body));
  assert.equal(me.status, 503);
  assert.equal(created.code, 'unavailable');
  assert.ok(refused, 'a socket was accepted although its user could not be checked');
}

// Repeats assertUnavailable for this time, and returns how often.
async function assertUnavailableFor(seconds, token, socket) {
  const end = performance.now() + seconds * 1000;
  let asked = 0;
  for (; performance.now() < end; asked++) {
    await assertUnavailable(token, socket);
    await sleep(200);
  }
  const { status, persistence } = await ringcast.health();
  assert.equal(status, 'degraded');
  assert.match(persistence.status, /PostgreSQL/);
  assert.ok(persistence.audit.waitingBytes > 0);
  return asked;
}

function printLatencies(what, asked) {
  const sorted = [...crowd.latenciesMs].sort((a, b) => a - b);
  const at = (part) => sorted[Math.floor((sorted.length - 1) * part)].toFixed(1);
  console.log(`${what}: ${crowd.count} changes of state, confirmed after p50 ${at(0.5)} p99 ${at(0.99)} ` +
    `max ${at(1)} ms; ${4 * asked} requests failed in time`);
}

for (const [what, begin, end] of [['stopped', 'stop', 'start'], ['hung', 'hang', 'go on']])
  test(`PostgreSQL ${what} for ${SECONDS} s: rooms keep running, no audit row is lost or stored twice`, async () => {
    const outsider = await crowd.person('outsider');
    const media = ringcast.probe('--seconds', String(SECONDS + 4), '--max-loss', '0');
    await until(async () => (await ringcast.rows('consumer')).length >= 4, 10000, 'media flows');
    crowd.start(RATE);
    await sleep(1000);
    await servers.postgres.tell(begin);
    const asked = await assertUnavailableFor(SECONDS, outsider.token, outsider.socket);
    await servers.postgres.tell(end);
    await recovered();
    await sleep(500);
    await crowd.stop();
    for (const room of crowd.rooms) assert.equal(room.broken, undefined);
    printLatencies(what, asked);
    assert.ok(crowd.count > RATE * SECONDS * 0.6, `only ${crowd.count} changes`);
    const { status, report, errors } = await media;
    assert.equal(status, 0, `the call was disturbed: ${report?.why ?? errors}`);
    await recovered();
    crowd.assertRecorded(await rows());
    assert.equal((await ringcast.request('POST', '/rooms', { title: 'x' }, outsider.token)).status, 201);
  });

test('control plane killed in the outage: every confirmed change is in the spool', async () => {
  crowd.start(RATE);
  await sleep(1000);
  await servers.postgres.tell('crash');
  await sleep(SECONDS * 250);
  const pids = await ringcast.pids();
  kill(pids.controlplane, 'SIGKILL');
  const waiting = await until(async () => {
    const { persistence } = await ringcast.health();
    return persistence.audit.waitingBytes;
  }, 10000, 'a new control plane runs, without the database');
  await crowd.stop();
  await until(() => crowd.rooms.every((room) => !room.host.socket.connected), 5000, 'all sockets are closed');
  assert.ok(waiting > 0);
  await sleep(SECONDS * 250);
  await servers.postgres.tell('start');
  await recovered();
  crowd.assertRecorded(await rows(), true);
  printLatencies('killed', 0);
  await until(async () => await servers.postgres.sql(`SELECT count(*) FROM meetings WHERE status = 'active'`,
    servers.environment.POSTGRES_DB) === '0', 5000, 'the meetings of the killed control plane are closed');
});
