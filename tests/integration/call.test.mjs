// Calls of ringcast-probe, an independent WebRTC client, through all processes of Ringcast.

import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { binaries, Ringcast, sleep, slower, until } from '../lib/ringcast.mjs';

const run = promisify(execFile);
const RESTART_MS_MAX = 1000 * slower;
const PATIENCE_MS = 60000; // for events whose time is not measured: the machine may be busy
let running;

async function start(environment) {
  await running?.stop();
  running = await Ringcast.start(environment);
  return running;
}

after(() => running?.stop());

// Fails unless both participants sent and received everything.
function assertWorks({ status, report, errors }) {
  assert.equal(status, 0, `${report?.why ?? ''} ${errors}`);
  assert.equal(report.works, true);
  for (const participant of report.participants) {
    assert.equal(participant.srtp, 'SRTP_AEAD_AES_128_GCM');
    for (const step of ['accountMs', 'socketMs', 'joinMs', 'iceMs', 'dtlsMs'])
      assert.ok(participant[step] > 0 && participant[step] < 2000 * slower, `${step} ${participant[step]}`);
    for (const stream of participant.sent) assert.equal(stream.lost ?? 0, 0, `lost on the way to the server: ${stream.lost}`);
    assert.deepEqual(participant.received.map((s) => s.kind).sort(), ['audio', 'video']);
    for (const stream of participant.received) {
      assert.equal(stream.lost, 0, `${stream.kind} lost ${stream.lost}`);
      assert.equal(stream.duplicates, 0);
      assert.ok(stream.packets > (stream.kind === 'video' ? 150 : 80), `${stream.kind}: ${stream.packets}`);
      assert.ok(stream.firstPacketMs < 1000 * slower, `first ${stream.kind} after ${stream.firstPacketMs} ms`);
      if (stream.latencyP50Us) assert.ok(stream.latencyP50Us < 50000 * slower, `latency ${stream.latencyP50Us} µs`);
    }
  }
}

const printReport = ({ report }) => console.log(report.participants.map((p) => `ICE ${p.iceMs.toFixed(1)} ms, DTLS ` +
  `${p.dtlsMs.toFixed(1)} ms, ${p.received.map((s) => `${s.kind} ${s.packets} p50 ${s.latencyP50Us} p99 ${s.latencyP99Us} µs`)}`).join('; '));

async function assertEmpty(ringcast) {
  await until(() => ringcast.isEmpty(), PATIENCE_MS, 'no rows are left');
}

for (const backend of ['io_uring', 'socket'])
  for (const workers of [1, 2])
    test(`a call: ${backend}, ${workers} worker${workers > 1 ? 's' : ''}`, async () => {
      const ringcast = await start({ RINGCAST_IO_BACKEND: backend, MEDIASOUP_NUM_WORKERS: String(workers),
        RINGCAST_ROOM_TOGETHER: '0' }); // with two workers the room is spread over both
      const states = await ringcast.rows('worker_state');
      assert.deepEqual(states.map((row) => row.backend), Array(workers).fill(backend));
      const result = await ringcast.probe('--seconds', '4');
      assertWorks(result);
      printReport(result);
      await assertEmpty(ringcast);
      await until(async () => {
        const { verdicts, counters } = await ringcast.counters();
        assert.ok(verdicts.forwarded > 1000);
        assert.equal(counters.handed > 500, workers > 1, `${counters.handed} handed over`);
        assert.equal(counters.handoff_full, 0);
        assert.equal(Object.values(verdicts).reduce((a, b) => a + b), counters.received);
        return true;
      }, PATIENCE_MS, 'every datagram has a verdict');
      const { verdicts } = await ringcast.counters();
      for (const [name, value] of Object.entries(verdicts)) // these may happen while one plane is ahead of the other
        if (!['drop_rtp_unrouted', 'drop_dtls_unconnected', 'drop_media_stranger', 'drop_dtls_stranger'].includes(name))
          assert.ok(!name.startsWith('drop_') || value === 0, `${name} ${value}`);
      assert.deepEqual(await ringcast.stop(), { code: 0, signal: null });
      running = null;
    });

for (const backend of ['io_uring', 'socket'])
  test(`a call over IPv6: ${backend}`, async () => {
    const ringcast = await start({
      RINGCAST_IO_BACKEND: backend, MEDIASOUP_LISTEN_IP: '0.0.0.0,::', MEDIASOUP_ANNOUNCED_IP: '::1',
    });
    const call = ringcast.probe('--seconds', '4');
    await until(async () => {
      const rows = await ringcast.rows('transport_state');
      return rows.length === 4 && rows.every((row) => row.remote_ip === '::1' && row.dtls_state === 'connected');
    }, PATIENCE_MS, 'four transports over ::1');
    assertWorks(await call);
    await assertEmpty(ringcast);
  });

test('IPv4 and IPv6 addresses are announced', async () => {
  const ringcast = await start({ MEDIASOUP_LISTEN_IP: '0.0.0.0,::', MEDIASOUP_ANNOUNCED_IP: '127.0.0.1,::1' });
  assertWorks(await ringcast.probe('--seconds', '4'));
  await assertEmpty(ringcast);
});

// :: alone listens on all addresses, as it does elsewhere. Before, no client got an IPv4 candidate.
for (const backend of ['io_uring', 'socket'])
  test(`MEDIASOUP_LISTEN_IP=:: with an IPv4 address announced: ${backend}`, async () => {
    const ringcast = await start({ RINGCAST_IO_BACKEND: backend, MEDIASOUP_LISTEN_IP: '::', MEDIASOUP_ANNOUNCED_IP: '127.0.0.1' });
    const call = ringcast.probe('--seconds', '3');
    await until(async () => {
      const rows = await ringcast.rows('transport_state');
      return rows.length === 4 && rows.every((row) => row.remote_ip === '127.0.0.1' && row.dtls_state === 'connected');
    }, PATIENCE_MS, 'four transports over 127.0.0.1');
    assertWorks(await call);
    await assertEmpty(ringcast);
  });

test('two probes of different processes meet in one room', async () => {
  const ringcast = await start();
  const host = await ringcast.person('host');
  const { status, body } = await ringcast.request('POST', '/rooms', { title: 'Probes' }, host.token);
  assert.equal(status, 201);
  const first = ringcast.probe('--room', body.roomCode, '--seconds', '8');
  await until(async () => (await ringcast.rows('producer')).length === 2, PATIENCE_MS, 'the first one publishes');
  const second = ringcast.probe('--room', body.roomId, '--seconds', '5');
  for (const call of [second, first]) assertWorks(await call);
  await assertEmpty(ringcast);
});

test('the probe reports lost packets', async () => {
  const ringcast = running;
  const port = (await ringcast.rows('worker_state'))[0].udp_port;
  await run('nft', ['add table inet loss']);
  await run('nft', ['add chain inet loss in { type filter hook input priority 0 ; }']);
  await run('nft', [`add rule inet loss in udp dport ${port}-${port + 9} @th,64,8 & 0xc0 == 0x80 numgen random mod 100 < 10 drop`]);
  try {
    const { status, report } = await ringcast.probe('--seconds', '5');
    assert.equal(status, 1);
    assert.equal(report.works, false);
    assert.match(report.why, /^\d+\.\d\d % of .* (was lost|did not reach the server)$/);
    for (const stream of report.participants.flatMap((p) => p.received))
      assert.ok(stream.lossPercent > 4 && stream.lossPercent < 18, `${stream.kind}: ${stream.lossPercent} %`);
  } finally {
    await run('nft', ['delete table inet loss']);
  }
  await assertEmpty(ringcast);
});

test('media is blocked: status 1 and a sentence', async () => {
  const ringcast = running;
  const port = (await ringcast.rows('worker_state'))[0].udp_port;
  await run('nft', ['add table inet block']);
  await run('nft', ['add chain inet block in { type filter hook input priority 0 ; }']);
  await run('nft', [`add rule inet block in udp dport ${port}-${port + 9} drop`]);
  try {
    const printed = run(join(binaries, 'ringcast-probe'), [ringcast.url]).catch((error) => error);
    const { status, report } = await ringcast.probe();
    assert.equal(status, 1);
    assert.equal(report.works, false);
    assert.match(report.why, /no answer .*is UDP open/);
    assert.equal((await printed).code, 1);
    assert.match((await printed).stdout, /This installation does not work: .*is UDP open/);
  } finally {
    await run('nft', ['delete table inet block']);
  }
  await assertEmpty(ringcast);
  assertWorks(await ringcast.probe('--seconds', '4'));
});

test('each process is killed: it is back within 1 s, the others stay, new calls work', async () => {
  const ringcast = await start();
  await ringcast.probe('--seconds', '1');
  for (const role of ['controlplane', 'handshaker', 'forwarder', 'supervisor']) {
    const before = await ringcast.pids();
    assert.deepEqual(Object.keys(before).sort(), ['controlplane', 'forwarder', 'handshaker', 'run', 'supervisor']);
    const began = Date.now();
    process.kill(before[role], 'SIGKILL');
    await until(async () => {
      const pid = (await ringcast.pids())[role];
      return pid && pid !== before[role] && (await ringcast.health()).status === 'ok';
    }, PATIENCE_MS, `${role} is back`);
    const took = Date.now() - began;
    const later = await ringcast.pids();
    for (const [other, pid] of Object.entries(before))
      if (other !== role) assert.equal(later[other], pid, `${other} was replaced after ${role} was killed`);
    console.log(`${role} back and healthy after ${took} ms`);
    assert.ok(took < RESTART_MS_MAX, `${role} was back after ${took} ms`);
    assertWorks(await ringcast.probe('--seconds', '4'));
    await assertEmpty(ringcast);
  }
});

test('each process is killed during a call: the next call works and no rows are left', async () => {
  for (const role of ['handshaker', 'forwarder', 'supervisor', 'controlplane']) {
    const ringcast = running;
    const { [role]: pid } = await ringcast.pids();
    const call = ringcast.probe('--seconds', '3');
    await until(async () => (await ringcast.rows('consumer')).length === 4, PATIENCE_MS, 'the call is running');
    await sleep(500);
    process.kill(pid, 'SIGKILL');
    const { status, report, errors } = await call;
    assert.ok(report && (status === 0 || report.why), `the probe ends with a report: ${errors}`);
    console.log(`${role} killed during a call: ${status === 0 ? 'the call continued' : report.why}`);
    if (role === 'handshaker' || role === 'supervisor') assert.equal(status, 0, 'a running call does not need this process');
    await until(async () => (await ringcast.health()).status === 'ok', PATIENCE_MS, 'healthy again');
    assertWorks(await ringcast.probe('--seconds', '4'));
    await until(() => ringcast.isEmpty(), PATIENCE_MS, 'no rows are left after the grace time');
  }
});

test('no server: status 1 and a sentence; wrong options: status 2', async () => {
  const ringcast = running;
  await ringcast.stop();
  running = null;
  const { status, report } = await ringcast.probe();
  assert.equal(status, 1);
  assert.match(report.why, /localhost:\d+\/auth\/register: .*connect/i);
  for (const words of [[], ['ftp://x'], ['http://x', '--seconds', '0'], ['http://x', '--email', 'a@b.c'], ['http://x', 'y']])
    assert.equal(spawnSync(join(binaries, 'ringcast-probe'), words).status, 2, words.join(' '));
});
