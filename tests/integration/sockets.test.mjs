// Thousands of connected sockets that join and leave rooms: how long acknowledgements take, how much memory a
// socket needs, and that all of it is freed afterwards.
//   RINGCAST_SOCKETS=N (1000), RINGCAST_JOINS=N in a second (100), RINGCAST_JOIN_SECONDS=N (8)

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createHmac, randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createInterface } from 'node:readline';
import { binaries, measuresMemory, patience, Ringcast, slower, until } from '../lib/ringcast.mjs';

const SOCKETS = Number(process.env.RINGCAST_SOCKETS ?? 1000);
const JOINS = Number(process.env.RINGCAST_JOINS ?? 100);
const SECONDS = Number(process.env.RINGCAST_JOIN_SECONDS ?? 8);
const PER_ROOM = 10; // sockets for each room; half of them are in it at any time
const PER_SOCKET_BYTES = 20 * 1024;
const GROWTH_BYTES = 512 * 1024 + SOCKETS * 256; // in a round
const ACK_P99_MS = 50;
const SECRET = '0123456789abcdef0123456789abcdef';
const TRIES = 3; // of the round whose times count
const ROUNDS = TRIES + 5; // at most, each with new rooms: a room ends with its last participant
const cores = availableParallelism() > 1;

let running;
before(async () => {
  running = await Ringcast.start({
    JWT_SECRET: SECRET, RECONNECT_GRACE: '0', MEDIASOUP_LOG_LEVEL: 'warn', RINGCAST_LOG_LEVEL: 'warn',
    RINGCAST_SOCKETS_PER_ADDRESS: '100000', RINGCAST_CONNECTIONS_PER_MINUTE: '10000000', RINGCAST_USERS_PER_ADDRESS: '1000000',
  }, cores ? ['taskset', '-c', '0'] : []);
  fill();
});
after(() => running?.stop());

const file = (name) => join(running.directory, name);
const token = (id, seconds = 3600) => {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const now = Math.floor(Date.now() / 1000);
  const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: id, email: `${id}@example.org`, displayName: 'Somebody', iat: now, exp: now + seconds })}`;
  return `${text}.${createHmac('sha256', SECRET).update(text).digest('base64url')}`;
};

// Writes users and rooms into the database. To register thousands of users would measure argon2id.
function fill() {
  const people = Array.from({ length: SOCKETS }, () => randomUUID());
  const rooms = Array.from({ length: ROUNDS }, () => Array.from({ length: Math.ceil(SOCKETS / PER_ROOM) }, () => randomUUID()));
  const sql = ['PRAGMA busy_timeout = 10000;', 'BEGIN;'];
  for (const id of people)
    sql.push(`INSERT INTO users (id, email, passwordHash, displayName) VALUES ('${id}', '${id}@example.org', '!', 'Somebody');`);
  for (const id of rooms.flat())
    sql.push(`INSERT INTO meetings (id, title, roomCode, hostId) VALUES ('${id}', 'Load', '${id.slice(0, 18)}', '${people[0]}');`);
  sql.push('COMMIT;');
  execFileSync('sqlite3', [join(running.directory, 'data/ringcast.sqlite3')], { input: sql.join('\n') });
  writeFileSync(file('tokens'), people.map((id) => `${token(id)}\n`).join(''));
  rooms.forEach((ids, i) => writeFileSync(file(`rooms-${i}`), ids.map((id) => `${id}\n`).join('')));
}

const metrics = async () => {
  const text = await (await fetch(`${running.url}/metrics`)).text();
  return Object.fromEntries([...text.matchAll(/^ringcast_([^ {]+) (\S+)$/gm)].map(([, name, value]) => [name, Number(value)]));
};

// Runs the generator, one phase after the other.
function generate(round, rate, seconds) {
  const words = [String(running.port), file('tokens'), file(`rooms-${round}`), String(rate), String(seconds), '1500'];
  const program = join(binaries, 'tests/integration/socket_load/generator');
  const child = cores ? spawn('taskset', ['-c', '1', program, ...words]) : spawn(program, words);
  let errors = '';
  child.stderr.on('data', (data) => { errors += data; });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async phase(name) {
      const { value, done } = await lines.next();
      if (done) throw new Error(`generator ended before "${name}": ${errors}`);
      const result = JSON.parse(value);
      assert.equal(result.phase, name);
      return { ...result, complaints: errors };
    },
    go: () => child.stdin.write('go\n'),
  };
}

const gone = () => until(async () => {
  const now = await metrics();
  return now.socketio_sessions_open === 0 && now.participants === 0 && now.rooms_open === 0 && now;
}, 'no sessions, participants and rooms are left');

async function round(number, rate, seconds) {
  const before = await metrics();
  const load = generate(number, rate, seconds);
  const { sockets, seconds: connecting } = await load.phase('connected');
  const connected = await metrics();
  assert.equal(connected.socketio_sockets_open, SOCKETS);
  load.go();
  const start = await metrics();
  const joined = await load.phase('joined');
  const end = await metrics();
  load.go();
  await load.phase('gone');
  const left = await gone();
  return {
    sockets, connecting, joined, left,
    perSocket: (connected.controlplane_resident_bytes - before.controlplane_resident_bytes) / SOCKETS,
    cpu: (end.controlplane_cpu_seconds_total - start.controlplane_cpu_seconds_total) / joined.seconds,
  };
}

test(`${SOCKETS} sockets, ${JOINS} joins in a second for ${SECONDS} s`, { timeout: 400000 * patience }, async () => {
  // If the generator is late or always busy, the times measure the generator: such a round is not valid. It is
  // tried again, because other programs may take its processor for a moment.
  const isValid = ({ joined: { cpu_share, late_p99_ms } }) => cpu_share < 0.8 * slower && late_p99_ms < ACK_P99_MS / 2 * slower;
  let first = await round(0, JOINS, SECONDS);
  for (let tries = 1; tries < TRIES && !isValid(first); tries++) {
    console.log(`# not valid: the generator was ${first.joined.late_p99_ms} ms late`);
    first = await round(tries, JOINS, SECONDS);
  }
  const { joined, perSocket, cpu, connecting, left } = first;
  console.log(`# ${SOCKETS} sockets connected in ${connecting} s, ${Math.round(perSocket)} bytes resident each`);
  console.log(`# ${joined.joins} joins and as many leaves: ack p50 ${joined.ack_p50_ms} ms, p99 ${joined.ack_p99_ms} ms, max ${joined.ack_max_ms} ms`);
  console.log(`# ${joined.messages} messages, ${joined.megabytes} MB to clients; server ${(cpu * 100).toFixed(0)} % of a core, generator ${(joined.cpu_share * 100).toFixed(0)} %`);
  assert.equal(joined.errors, 0, joined.complaints);
  assert.equal(joined.skipped, 0, 'a socket had no acknowledgement yet when its next request was due');
  assert.ok(joined.acks >= joined.joins + Math.max(0, joined.joins - SOCKETS / 2) - 1, `${joined.acks} acks`);
  if (measuresMemory) assert.ok(perSocket <= PER_SOCKET_BYTES, `${perSocket} bytes a socket`);
  assert.ok(isValid(first), `the run is not valid: the generator used ${joined.cpu_share} of a core and was ${joined.late_p99_ms} ms late`);
  assert.ok(joined.ack_p99_ms < ACK_P99_MS * slower, `p99 ${joined.ack_p99_ms} ms`);

  // The memory is free for the next rounds: it stops growing. Bursts on a busy machine may need more once.
  const resident = [left.controlplane_resident_bytes];
  const grown = () => resident.at(-1) - resident.at(-2);
  for (let i = TRIES; i < ROUNDS && !(i > TRIES + 1 && grown() < GROWTH_BYTES); i++)
    resident.push((await round(i, JOINS, Math.min(SECONDS, 4))).left.controlplane_resident_bytes);
  console.log(`# resident after all left, MB: ${resident.map((b) => (b / 1e6).toFixed(1)).join(', ')}`);
  if (measuresMemory) assert.ok(grown() < GROWTH_BYTES, `memory grew by ${grown()} bytes in the last round`);
});
