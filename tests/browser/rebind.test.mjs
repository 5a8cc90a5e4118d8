// The address of browsers changes during a call, as behind a NAT that loses its table. A browser must prove that
// it receives at the new address before media goes there (threat D4); that may take 1.5 s from its first check.
// REBIND_ROUNDS=N: how often the address changes (default 2).

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Nat } from '../lib/nat.mjs';
import { Ringcast, sleep, slower, until } from '../lib/ringcast.mjs';
import { openBrowser, Person } from './person.mjs';

const CLIENTS_SEND_TO = '127.0.0.2';
const RECOVERY_MS_MAX = 1500 * slower;
const ROUNDS = Number(process.env.REBIND_ROUNDS ?? 2);
const PATIENCE_MS = 60000; // for events whose time is not measured
const browsers = [];
let ringcast, nat;

after(async () => {
  for (const browser of browsers) await browser.close();
  await ringcast?.stop();
  nat?.close();
});

test(`two browsers behind a NAT that forgets, ${ROUNDS} times`, async () => {
  ringcast = await Ringcast.start({ MEDIASOUP_LISTEN_IP: '127.0.0.1', MEDIASOUP_ANNOUNCED_IP: CLIENTS_SEND_TO });
  nat = await Nat.open(CLIENTS_SEND_TO, (await ringcast.rows('worker_state')).map((row) => row.udp_port));
  const people = [];
  for (const name of ['Ada', 'Grace']) {
    browsers.push(await openBrowser());
    const person = await Person.open(browsers.at(-1), ringcast, name);
    await person.signUp();
    people.push(person);
  }
  const code = await people[0].create('Moving');
  await people[1].join(code);
  for (const person of people) await person.sees(1);
  const times = [];
  for (let i = 0; i < ROUNDS; i++) {
    await sleep(3000); // until reports flow and the checks have their usual interval
    const flows = nat.receivers;
    assert.equal(flows.length, 2);
    await nat.rebind(flows);
    await until(() => flows.every((flow) => flow.since.check && flow.since.media), PATIENCE_MS, 'media at the new addresses');
    for (const { since } of flows)
      times.push({ check: Math.round(since.check - since.at), media: Math.round(since.media - since.check) });
    await until(() => flows.every((flow) => flow.since.rtp > 100), PATIENCE_MS, 'the streams go on');
  }
  await nat.rebind(); // publishers, too
  for (const person of people) {
    const decoded = async () => (await person.media()).find((m) => m.kind === 'video').framesDecoded;
    const before = await decoded();
    await until(async () => await decoded() > before + 20, PATIENCE_MS, `${person.name} decodes more frames`);
  }
  const { counters } = await ringcast.counters();
  console.log('first check from the new address after', times.map((t) => t.check).join(', '), 'ms; media came',
    times.map((t) => t.media).join(', '), 'ms after that;', counters.path_challenges, 'challenges,', counters.path_proofs, 'proofs');
  for (const { media } of times) assert.ok(media <= RECOVERY_MS_MAX, `media after ${media} ms`);
  for (const person of people) assert.deepEqual(person.problems, []);
});
