// Somebody sets the wall clock: two hours forward, four hours back, while people are in a call. Durations are
// counted on the monotonic clock, so no socket is cut, no process replaced, no packet lost. Every process of
// Ringcast runs with tests/tools/wall_clock.c, which sets the clock of that process alone.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Client } from '../lib/client.mjs';
import { Ringcast, root, slower, sleep, until } from '../lib/ringcast.mjs';

const SECRET = randomBytes(32).toString('hex');
const HOUR_S = 3600;
const LIFE_S = Math.ceil(8 * Math.min(slower, 2));
let ringcast, folder, shim, clock;

// Sets the wall clock of all processes to so many seconds after the real time.
function setClock(seconds) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt(seconds) * 1000000000n);
  writeFileSync(clock, bytes, { flag: 'r+' });
}

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

function token(user, fromS, seconds) {
  const now = Date.now() / 1000 + fromS;
  const text = `${part({ alg: 'HS256' })}.${part({ sub: user.id, iat: now, exp: now + seconds })}`;
  return `${text}.${createHmac('sha256', SECRET).update(text).digest('base64url')}`;
}

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringcast-clock-'));
  chmodSync(folder, 0o755);
  [shim, clock] = [join(folder, 'wall_clock.so'), join(folder, 'clock')];
  execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', shim, join(root, 'tests/tools/wall_clock.c'), '-ldl']);
  writeFileSync(clock, Buffer.alloc(8), { mode: 0o644 });
  const options = `verify_asan_link_order=0:${process.env.ASAN_OPTIONS ?? ''}`;
  ringcast = await Ringcast.start({ JWT_SECRET: SECRET, LD_PRELOAD: shim, RINGCAST_TEST_CLOCK: clock, ASAN_OPTIONS: options });
});
after(async () => {
  await ringcast?.stop();
  rmSync(folder, { recursive: true, force: true });
});

test('two hours forward and four hours back during a call: nobody notices', async () => {
  const pids = await ringcast.pids();
  for (const role of ['run', 'controlplane', 'supervisor', 'forwarder', 'handshaker'])
    assert.ok(readFileSync(`/proc/${pids[role]}/maps`, 'utf8').includes('wall_clock.so'), `${role} has the clock that is set`);
  const [ada, bob] = [await Client.open(ringcast, 'ada'), await Client.open(ringcast, 'bob')];
  const disconnects = [];
  for (const client of [ada, bob]) client.socket.on('disconnect', (reason) => disconnects.push(reason));
  const { roomId } = await ada.call('room:create', { title: 'x' });
  await ada.call('room:join', { roomId });
  await bob.call('room:join', { roomId });

  const call = ringcast.probe('--seconds', '20');
  await until(async () => (await ringcast.rows('consumer_state')).length > 0, 'the call runs');
  for (const seconds of [2 * HOUR_S, -2 * HOUR_S, 0]) {
    setClock(seconds);
    await sleep(5000);
    const { user } = await ringcast.person('carl'); // positive control: this wall clock is the one that was set
    const [[created]] = await ringcast.sql(ringcast.database
      ? `SELECT extract(epoch FROM "createdAt")*1000 FROM users WHERE id='${user.id}'` : `SELECT createdAt FROM users WHERE id='${user.id}'`);
    const ahead = /^[0-9.]+$/.test(created) ? Number(created) / 1000 - Date.now() / 1000 : Date.parse(`${created.replace(' ', 'T').replace(/Z$/, '')}Z`) / 1000 - Date.now() / 1000;
    console.log(`# clock ${seconds / HOUR_S} h: an account is made at ${(ahead / HOUR_S).toFixed(2)} h; sockets closed: ${disconnects.length}`);
    assert.ok(Math.abs(ahead - seconds) < 60, `${created}`);
    assert.deepEqual(disconnects, []);
    assert.equal((await ada.call('media:getRouterCapabilities', { roomId })).status, undefined);
    assert.deepEqual(await ringcast.pids(), pids);
    assert.equal((await ringcast.health()).status, 'ok');
  }
  const { status, report, errors } = await call;
  console.log(`# the call meanwhile: ${JSON.stringify(report)?.slice(0, 400)}`);
  assert.equal(status, 0, errors);

  setClock(2 * HOUR_S); // everything still begins after the clock was set
  const late = await Client.open(ringcast, 'dora');
  await late.call('room:join', { roomId });
  late.close();
  const second = await ringcast.probe('--seconds', '1');
  assert.equal(second.status, 0, second.errors);
  ada.close();
  bob.close();
  setClock(0);
});

test('a token that was presented ends when its time is over, whatever the wall clock says', async () => {
  const account = await ringcast.person('ada');
  for (const seconds of [2 * HOUR_S, -2 * HOUR_S]) {
    setClock(0);
    const began = performance.now();
    const client = await Client.open(ringcast, 'ada', { user: account.user, token: token(account.user, 0, LIFE_S) });
    let closedMs = 0;
    client.socket.on('disconnect', () => { closedMs = performance.now() - began; });
    setClock(seconds);
    await until(() => closedMs, 60000, 'closed');
    console.log(`# clock ${seconds / HOUR_S} h: a token of ${LIFE_S} s held the socket for ${Math.round(closedMs)} ms`);
    assert.ok(closedMs > LIFE_S * 1000 - 100 && closedMs < LIFE_S * 1000 + 5000 * slower, `${closedMs} ms`);
    // a new socket needs a token that is valid by the clock that was set
    await assert.rejects(Client.open(ringcast, 'ada', { user: account.user, token: token(account.user, seconds - 60, 30) }), /Authentication failed/);
    (await Client.open(ringcast, 'ada', { user: account.user, token: token(account.user, seconds, 60) })).close();
  }
  setClock(0);
});
