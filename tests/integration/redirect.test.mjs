// Threat D4: valid ICE checks from another address do not move media there; a client whose address really changes
// gets its media back fast. ringcast-probe is the client, and a NAT of the test stands between it and the server.
// REDIRECT_SECONDS=N: how long an attack lasts (default 10).

import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { after, test } from 'node:test';
import { isCheckAnswer, isRtp, Nat } from '../lib/nat.mjs';
import { Ringcast, sleep, slower, until } from '../lib/ringcast.mjs';

const SECONDS = Number(process.env.REDIRECT_SECONDS ?? 10);
const BYTES_MAX = 5000 + 150 * SECONDS; // dataplane/engines/proof.h; 9500 in 30 s
const RECOVERY_MS_MAX = 1500 * slower;
const CLIENTS_SEND_TO = '127.0.0.2';
const PATIENCE_MS = 60000; // for events whose time is not measured
let ringcast, nat, call;

async function start() {
  await stop();
  ringcast = await Ringcast.start({ MEDIASOUP_LISTEN_IP: '127.0.0.1', MEDIASOUP_ANNOUNCED_IP: CLIENTS_SEND_TO });
  nat = await Nat.open(CLIENTS_SEND_TO, (await ringcast.rows('worker_state')).map((row) => row.udp_port));
}

async function stop() {
  call?.end();
  await call;
  nat?.close();
  await ringcast?.stop();
  nat = ringcast = call = null;
}

after(stop);

// A call of two probes; both get media. They end after a minute if the test does not end them.
async function startCall(seconds = 60) {
  call = ringcast.probe('--seconds', String(seconds));
  call.then((result) => { call.result = result; });
  await until(() => {
    if (call.result) throw new Error(`the call ended: ${JSON.stringify(call.result)}`);
    return nat.receivers.length === 2 && nat.receivers.every((flow) => flow.since.rtp > 50);
  }, PATIENCE_MS, 'both get media');
  await sleep(2500); // reports go every second
}

const streams = ({ report }) => report.participants.flatMap((p) => p.received);

test(`a captured check, sent again 4 times a second for ${SECONDS} s from another port`, async () => {
  await start();
  await startCall();
  const attacker = createSocket('udp4');
  const got = { bytes: 0, rtp: 0 };
  attacker.on('message', (data) => { got.bytes += data.length; got.rtp += isRtp(data); });
  const [flow] = nat.receivers;
  assert.ok(flow.lastCheck);
  let sent = 0;
  const before = flow.since.rtp;
  for (const end = performance.now() + SECONDS * 1000; performance.now() < end; await sleep(250)) {
    attacker.send(flow.lastCheck, flow.serverPort, '127.0.0.1');
    sent += flow.lastCheck.length;
  }
  const arrived = flow.since.rtp - before;
  const result = await call.end();
  attacker.close();
  const { counters } = await ringcast.counters();
  console.log(`the attacker sent ${sent} bytes and got ${got.bytes}, ${got.rtp} of them RTP packets; the client got ${arrived} packets, lost`,
    streams(result).map((s) => s.lost).join(', '));
  assert.ok(got.bytes <= BYTES_MAX && got.bytes <= 3 * sent, `${got.bytes} bytes`);
  assert.equal(got.rtp, 0);
  assert.ok(arrived > 50 * SECONDS);
  // On a busy machine the NAT of the test loses some.
  for (const stream of streams(result)) assert.ok(stream.lost <= stream.packets / 50, `${stream.kind}: ${stream.lost} lost`);
  assert.equal(counters.path_moves, 0);
});

// The participant is silent at its old address and sends all that it has, checks and authentic reports, with the
// victim's. It gets nothing that goes there, except the answers to its checks: without them the probe would hang up.
test(`a participant that points its stream at a silent address for ${SECONDS} s`, async () => {
  await start();
  await startCall();
  const [flow] = nat.receivers;
  await nat.rebind([flow], isCheckAnswer);
  await until(() => flow.since.check, PATIENCE_MS, 'a check with the address of the victim');
  const began = performance.now();
  while (performance.now() < began + SECONDS * 1000) {
    flow.fromClient(flow.lastCheck); // more checks than the client makes by itself
    await sleep(100);
  }
  const { since } = flow;
  const state = (await ringcast.rows('transport_state')).find((row) => row.remote_port === flow.outside.address().port);
  console.log(`sent with the address of the victim: ${since.sent} bytes; it got ${since.bytes}, ${since.rtp} of them RTP packets;`,
    `selected: ${Boolean(state)}, ${state?.path_withheld} datagrams withheld`);
  await call.end();
  if (SECONDS >= 10) assert.equal(state?.path_proof, 0); // the old address is silent for long enough
  const seconds = (performance.now() - since.at) / 1000;
  assert.ok(since.bytes <= 5000 + 150 * seconds, `${since.bytes} bytes in ${seconds.toFixed(1)} s`);
  assert.ok(since.bytes <= 3 * since.sent);
});

test('media comes back when the address of both clients changes, three times', async () => {
  await start();
  await startCall(90);
  const times = [];
  for (let i = 0; i < 3; i++) {
    const flows = nat.receivers;
    await nat.rebind(flows);
    await until(() => flows.every((flow) => flow.since.check && flow.since.media), PATIENCE_MS, 'media at the new addresses');
    for (const { since } of flows)
      times.push({ check: Math.round(since.check - since.at), media: Math.round(since.media - since.check) });
    await until(() => flows.every((flow) => flow.since.rtp > 100), PATIENCE_MS, 'the streams go on');
    await sleep(2000);
  }
  await call.end();
  const { counters } = await ringcast.counters();
  console.log('first check from the new address after', times.map((t) => t.check).join(', '), 'ms; media came',
    times.map((t) => t.media).join(', '), 'ms after that;', counters.path_challenges, 'challenges,', counters.path_proofs, 'proofs');
  for (const { media } of times) assert.ok(media <= RECOVERY_MS_MAX, `media after ${media} ms`);
});
