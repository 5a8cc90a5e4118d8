// Attacks on Ringcast during a call: a flood of datagrams at the media ports, malformed messages at the HTTP
// port. No process may crash or grow, the call must not notice, and every datagram must be counted.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { measuresMemory, Ringcast, root, sanitizer, sleep, slower, until } from '../lib/ringcast.mjs';
import { attack, Session } from './malformed.mjs';

const run = promisify(execFile);
const COUNT = Number(process.env.RINGCAST_FLOOD_COUNT ?? (sanitizer ? 300_000 : 10_000_000));
const RATE = Number(process.env.RINGCAST_FLOOD_RATE ?? (sanitizer ? 15_000 : 150_000));
const MESSAGES = Number(process.env.RINGCAST_MALFORMED_COUNT ?? (sanitizer ? 2_000 : 10_000));
// Growth that is allowed: some pages of tables. Both backends have 512 receive buffers of 66 kB; a buffer needs
// memory when a burst first reaches it, and a test cannot make sure that all were reached before.
const FORWARDER_GROWTH_KB = { io_uring: 512 * 67, socket: 512 * 67 };
const OTHERS_GROWTH_KB = 4096;
let running;

after(() => running?.stop());

const rssKb = (pid) => Number(readFileSync(`/proc/${pid}/status`, 'utf8').match(/VmRSS:\s+(\d+)/)[1]);
const allRss = (pids) => Object.fromEntries(Object.entries(pids).map(([role, pid]) => [role, rssKb(pid)]));
const total = (values) => Object.values(values).reduce((a, b) => a + b, 0);
const percentile = (list, p) => list.sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * p / 100))];

// How many datagrams the media sockets had no room for.
function socketDrops(ports) {
  let drops = 0;
  for (const file of ['/proc/net/udp', '/proc/net/udp6'])
    for (const line of readFileSync(file, 'utf8').split('\n').slice(1)) {
      const words = line.trim().split(/\s+/);
      if (words.length > 10 && ports.includes(parseInt(words[1].split(':')[1], 16))) drops += Number(words.at(-1));
    }
  return drops;
}

function udpErrors() {
  const [names, values] = readFileSync('/proc/net/snmp', 'utf8').split('\n').filter((l) => l.startsWith('Udp:')).map((l) => l.split(' '));
  return Object.fromEntries(names.map((name, i) => [name, Number(values[i])]));
}

// Lets the kernel count datagrams to the media ports, and answers from them to attackers.
class Witness {
  static async open(ports) {
    await run('nft', ['delete table inet witness']).catch(() => {}); // left by a failed test
    const list = `{ ${ports.join(', ')} }`;
    for (const line of ['add table inet witness', 'add counter inet witness arrivals', 'add counter inet witness answers',
      'add chain inet witness in { type filter hook input priority 0 ; }', 'add chain inet witness out { type filter hook output priority 0 ; }',
      `add rule inet witness in udp dport ${list} counter name arrivals`,
      `add rule inet witness out udp sport ${list} ip daddr 127.0.0.2-127.255.255.255 counter name answers`,
      `add rule inet witness out udp sport ${list} ip6 daddr ::1 counter name answers`])
      await run('nft', [line]);
    return new Witness();
  }

  async counters() {
    const { nftables } = JSON.parse((await run('nft', ['-j', 'list', 'counters', 'table', 'inet', 'witness'])).stdout);
    return Object.fromEntries(nftables.filter((n) => n.counter).map((n) => [n.counter.name, n.counter.packets]));
  }

  close() { return run('nft', ['delete table inet witness']); }
}

// Starts the flood. It captures packets of the call first, then sends. Returns { output, errors, end, ended }.
function startFlood(ports, count, rate, ...more) {
  const child = spawn(join(root, 'build/release/tests/integration/flood/flood'),
    [...ports.flatMap((port) => ['--port', String(port)]), '--count', String(count), '--rate', String(rate), '--ipv6', '--seconds-max', '400', ...more],
    { stdio: ['ignore', 'pipe', 'pipe'] });
  const flood = { output: '', errors: '' };
  child.stdout.on('data', (data) => { flood.output += data; });
  child.stderr.on('data', (data) => { flood.errors += data; });
  flood.end = () => child.kill();
  flood.ended = new Promise((resolve) => child.on('close', (status) => { flood.status = status; resolve(status); }));
  return flood;
}

// Asks for /health every 250 ms until end(). Keeps the times of the answers.
function watchHealth(ringcast) {
  const watch = { ms: [], bad: [] };
  let stop = false;
  const loop = (async () => {
    while (!stop) {
      const began = performance.now();
      const { status } = await ringcast.health().catch((error) => ({ status: String(error) }));
      watch.ms.push(performance.now() - began);
      if (status !== 'ok') watch.bad.push(status);
      await sleep(250);
    }
  })();
  watch.end = () => { stop = true; return loop; };
  return watch;
}

// The call lost nothing except the datagrams that the kernel had no room for.
function assertCall({ status, report, errors }, explained) {
  assert.ok(report, errors);
  for (const participant of report.participants) {
    assert.deepEqual(participant.received.map((s) => s.kind).sort(), ['audio', 'video']);
    for (const stream of participant.received) {
      assert.ok(stream.lost <= explained, `${stream.kind}: ${stream.lost} lost, ${explained} dropped by full sockets`);
      assert.equal(stream.duplicates, 0);
    }
  }
  if (explained === 0) assert.equal(status, 0, report.why);
}

const logCall = (name, { report }) => console.log(name, report.participants.flatMap((p) => p.received).map((s) =>
  `${s.kind} ${s.packets} lost ${s.lost} p50 ${s.latencyP50Us} p99 ${s.latencyP99Us} max ${s.latencyMaxUs} µs`).join('; '));

async function flooded(backend, count) {
  await running?.stop(); // left by a failed test
  const ringcast = running = await Ringcast.start({
    RINGCAST_IO_BACKEND: backend, MEDIASOUP_LISTEN_IP: '0.0.0.0,::', MEDIASOUP_LOG_LEVEL: 'warn',
  });
  const ports = (await ringcast.rows('worker_state')).map((row) => row.udp_port);
  const pids = await ringcast.pids();
  const witness = await Witness.open(ports);
  const begun = []; // processes to end when the test fails: they keep node alive
  try {
    // The longest datagrams, so that most receive buffers have their memory.
    assert.equal(await startFlood(ports, 6000, 4000, '--only', 'jumbo', '--capture-seconds', '0').ended, 0);
    const errorsBefore = udpErrors();
    const flood = startFlood(ports, count, RATE);
    begun.push(flood);
    await until(() => flood.errors.includes('capturing'), 'the flood captures');
    const call = ringcast.probe('--seconds', '600'); // the flood captures its handshakes
    begun.push(call);
    await until(() => flood.errors.includes('sending'), 'the flood sends');
    const health = watchHealth(ringcast);
    begun.push(health);
    const second = ringcast.probe('--seconds', '3');
    await Promise.race([second, flood.ended]);
    const rssEarly = allRss(pids);
    await flood.ended;
    const rssLate = allRss(pids);
    await health.end();
    assert.equal(flood.status, 0, flood.errors);
    const sent = JSON.parse(flood.output);
    console.log(`${backend}: sent ${sent.sent} in ${sent.seconds} s`, JSON.stringify(sent.kinds));
    assert.equal(sent.sent + sent.refused, count);
    assert.equal(sent.refused, 0, 'the kernel refused to send some');
    for (const [name, value] of Object.entries(sent.samples)) assert.ok(value > 0, `the flood captured no ${name} of the call`);

    const callResult = await call.end(), secondResult = await second;
    await until(() => ringcast.isEmpty(), 'no rows are left');
    await sleep(300 * slower); // the workers publish their counters every 100 ms
    const seen = await witness.counters(), { verdicts, counters } = await ringcast.counters();
    const drops = socketDrops(ports), errors = udpErrors();
    const explained = errors.RcvbufErrors - errorsBefore.RcvbufErrors;
    logCall('the call:', callResult);
    logCall('a call that began during the flood:', secondResult);
    console.log(`health: p50 ${percentile(health.ms, 50).toFixed(1)} p99 ${percentile(health.ms, 99).toFixed(1)} ms of ${health.ms.length}`);
    console.log('verdicts:', JSON.stringify(Object.fromEntries(Object.entries(verdicts).filter(([, v]) => v))));
    console.log(`seen ${seen.arrivals}, received ${counters.received}, dropped by full sockets ${drops} (all sockets ${explained})`);
    console.log('resident kB early and late:', JSON.stringify(rssEarly), JSON.stringify(rssLate));

    assert.deepEqual(await ringcast.pids(), pids, 'a process was replaced');
    assert.equal(errors.InCsumErrors, 0);
    assert.equal(total(verdicts), counters.received, 'a datagram has no verdict');
    assert.equal(counters.received + drops, seen.arrivals, 'a datagram is not accounted for');
    assert.ok(seen.arrivals >= sent.sent, `${sent.sent} sent, ${seen.arrivals} seen`);
    assert.equal(seen.answers, 0, 'an attacker was answered');
    assert.deepEqual([sent.replies, sent.replyBytes], [0, 0], 'an attacker was answered');
    for (const name of ['drop_empty', 'drop_oversize', 'drop_first_byte', 'drop_stun_malformed', 'drop_stun_stranger', 'drop_stun_unauthentic',
      'drop_dtls_stranger', 'drop_media_stranger', 'drop_rtp_unauthentic', 'drop_rtp_replay', 'drop_rtcp_unauthentic', 'drop_rtcp_replay'])
      assert.ok(verdicts[name] > 0, `no datagram got the verdict ${name}`);
    assert.equal(counters.rows_refused + counters.events_lost + counters.send_failed + counters.send_full, 0);
    assertCall(callResult, explained);
    assertCall(secondResult, explained);
    if (!sanitizer && slower === 1) assert.deepEqual(health.bad, []); // else heartbeats may be late
    assert.equal((await ringcast.health()).status, 'ok');
    // The video of the calls is kept, to be sent again. Each packet had one receiver.
    const historyKb = Math.min(65536, 1.1 * counters.rtp_sent_bytes / 1000);
    for (const role of measuresMemory ? Object.keys(pids) : [])
      assert.ok(rssLate[role] - rssEarly[role] <= (role === 'forwarder' ? FORWARDER_GROWTH_KB[backend] + historyKb : OTHERS_GROWTH_KB),
        `${role} grew from ${rssEarly[role]} to ${rssLate[role]} kB`);
    assert.equal((await ringcast.probe('--seconds', '2')).status, 0, 'a call after the attack');
    assert.doesNotMatch(ringcast.log, /level=error/);
    assert.deepEqual(await ringcast.stop(), { code: 0, signal: null });
    running = null;
  } catch (error) {
    console.log(ringcast.log);
    for (const each of begun) each.end();
    throw error;
  } finally {
    await witness.close();
  }
}

test(`${COUNT} bad datagrams: io_uring`, () => flooded('io_uring', COUNT));
test(`${COUNT / 10} bad datagrams: socket`, () => flooded('socket', COUNT / 10));

test(`${MESSAGES} malformed HTTP and Socket.IO messages`, async (t) => {
  await running?.stop();
  const ringcast = running = await Ringcast.start({
    MEDIASOUP_LOG_LEVEL: 'warn', RINGCAST_CONNECT_TIMEOUT: '2000', RINGCAST_PING_INTERVAL: '1000', RINGCAST_PING_TIMEOUT: '2000',
    RINGCAST_LOGIN_ATTEMPTS: '100000',
  });
  const pids = await ringcast.pids();
  const descriptors = () => readdirSync(`/proc/${pids.controlplane}/fd`).length;
  const [mallory, alice] = [await ringcast.person('mallory'), await ringcast.person('alice')];
  await Promise.all(Array.from({ length: 8 }, (_, i) => ringcast.person(`warm${i}`))); // allocates the memory for password hashes
  const call = ringcast.probe('--seconds', '600');
  let stop = false;
  t.after(() => { stop = true; call.end(); });
  await until(async () => (await ringcast.rows('consumer')).length === 4, 'the call has begun');

  // Another user sends a request every 50 ms.
  const healthy = await Session.open(ringcast.port, alice.token);
  const { roomId } = await healthy.call('room:create', { title: 'Quiet' }, 1);
  assert.equal((await healthy.call('room:join', { roomId }, 2)).role, 'host');
  const descriptorsBefore = descriptors();
  const times = [];
  const asking = (async () => {
    for (let id = 10; !stop; id++) {
      const began = performance.now();
      const answer = await healthy.call('media:getRouterCapabilities', { roomId }, id);
      assert.ok(answer?.rtpCapabilities, JSON.stringify(answer));
      times.push(performance.now() - began);
      await sleep(50);
    }
  })();

  let rssEarly;
  const sum = await attack({
    port: ringcast.port, token: mallory.token, count: MESSAGES, seed: 20261124,
    progress: ({ sent }) => { if (sent >= MESSAGES / 5) rssEarly ??= allRss(pids); },
  });
  const rssLate = allRss(pids);
  stop = true;
  await asking;
  console.log(JSON.stringify(sum));
  console.log(`requests of another user: p50 ${percentile(times, 50).toFixed(1)} p99 ${percentile(times, 99).toFixed(1)} ms of ${times.length}`);
  console.log('resident kB early and late:', JSON.stringify(rssEarly), JSON.stringify(rssLate));
  assert.equal(sum.sent, MESSAGES);
  assert.equal(sum.statuses[500] ?? 0, 0);
  assert.ok(percentile(times, 99) < 100 * slower, `p99 ${percentile(times, 99)} ms`);
  assert.deepEqual(await ringcast.pids(), pids, 'a process was replaced');
  if (measuresMemory)
    assert.ok(rssLate.controlplane - rssEarly.controlplane <= OTHERS_GROWTH_KB, 'the control plane grew');
  assert.equal((await ringcast.health()).status, 'ok');
  await until(() => descriptors() <= descriptorsBefore + 2, 'the connections of the attack are closed');
  healthy.end();
  const result = await call.end();
  logCall('the call:', result);
  assertCall(result, 0);
  await until(() => ringcast.isEmpty(), 'no rows are left');
  assert.equal((await ringcast.probe('--seconds', '2')).status, 0, 'a call after the attack');
  assert.doesNotMatch(ringcast.log, /level=error/);
  assert.deepEqual(await ringcast.stop(), { code: 0, signal: null });
  running = null;
});
