// The largest room that the server admits, and producers that keep as much as they may: everybody can still join
// and come back, and no answer is longer than what a client may be sent (threats C0, C20).

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Client } from '../lib/client.mjs';
import { Polling } from '../lib/polling.mjs';
import { measuresMemory, Ringcast, root, sanitizer } from '../lib/ringcast.mjs';

const { produceRtpParameters } = JSON.parse(readFileSync(join(root, 'tests/data/ortc/produce-av-video.json')));
const APP_DATA = 4096 - 20, PRODUCERS = 32, PEOPLE = sanitizer ? 20 : 100;
let ringcast;
before(async () => {
  ringcast = await Ringcast.start({ RATE_LIMIT_EVENTS: '100000', RINGCAST_MESSAGES_PER_ADDRESS: '1000000',
    RINGCAST_MESSAGE_KIB_PER_ADDRESS: '1000000', MEDIASOUP_LOG_LEVEL: 'warn', RECONNECT_GRACE: '60',
    RINGCAST_ROOMS_PER_USER: '100', RINGCAST_PRODUCERS_PER_USER: '1000' });
});
after(() => ringcast.stop());

// rtpParameters whose SSRCs and mid belong to no other producer of the transport.
function distinct(n, extra = {}) {
  const copy = structuredClone(produceRtpParameters);
  copy.mid = String(n);
  copy.encodings = [{ ssrc: 1000 + 2 * n, rtx: { ssrc: 1001 + 2 * n } }];
  return { ...copy, ...extra };
}

async function transportOf(client, roomId) {
  return client.call('media:createTransport', { roomId, direction: 'send' });
}

const bytesOf = (value) => JSON.stringify(value).length;

async function fill(client, transport, roomId, count) {
  const acks = await Promise.all(Array.from({ length: count }, (_, n) => client.ask('media:produce', { roomId,
    transportId: transport.id, kind: 'video', rtpParameters: distinct(n), appData: { text: 'x'.repeat(APP_DATA) } })));
  return acks.map(({ code }) => code ?? 'ok');
}

test('eight people with 32 producers of 4 kB appData: one more joins, the host comes back', async () => {
  const host = await Client.open(ringcast, 'host');
  const { roomId } = await host.call('room:create', { title: 'full' });
  const people = [host];
  for (let i = 1; i < 8; i++) people.push(await Client.open(ringcast, `person${i}`));
  const codes = [];
  for (const client of people) {
    await client.call('room:join', { roomId });
    codes.push(...await fill(client, await transportOf(client, roomId), roomId, PRODUCERS));
  }
  const late = await Client.open(ringcast, 'late');
  const joined = await late.call('room:join', { roomId });
  assert.equal(joined.existingProducers.length, codes.filter((code) => code === 'ok').length);
  assert.equal(joined.existingProducers.length, 8 * PRODUCERS);
  const polling = await Polling.open(ringcast.url, (await ringcast.person('polling')).token);
  assert.equal((await polling.must('room:join', { roomId })).existingProducers.length, 8 * PRODUCERS);
  const again = await Client.open(ringcast, 'host again', host.account);
  const resumed = await again.call('room:join', { roomId, resume: true });
  assert.equal(resumed.resumed, true);
  assert.equal(resumed.producers.length, PRODUCERS);
  console.log(`# 8 × 32 × 4 kB: the answer of a join has ${bytesOf(joined)} bytes, that of the host who comes back ${bytesOf(resumed)}`);
  await polling.close();
  [...people, late, again].forEach((client) => client.close());
});

test(`a room of ${PEOPLE} people who produce as much as they may: the appData is bounded, everybody joins`, async () => {
  const host = await Client.open(ringcast, 'host');
  const { roomId } = await host.call('room:create', { title: 'largest' });
  const people = [host], codes = { ok: 0, limit_reached: 0 };
  await host.call('room:join', { roomId });
  for (let i = 1; i < PEOPLE; i++) {
    const client = await Client.open(ringcast, 'n'.repeat(40));
    await client.call('room:join', { roomId });
    people.push(client);
  }
  for (const client of people.slice(0, sanitizer ? 12 : 16)) {
    const transport = await transportOf(client, roomId);
    for (const code of await fill(client, transport, roomId, PRODUCERS)) codes[code]++;
    const small = await client.ask('media:produce', { roomId, transportId: transport.id, kind: 'video', rtpParameters: distinct(900), appData: { source: 'camera' } });
    if (small.code) assert.equal(small.code, 'limit_reached');
  }
  // Who has produced nothing has a share of its own.
  const honest = people.at(-1), transport = await transportOf(honest, roomId);
  await honest.call('media:produce', { roomId, transportId: transport.id, kind: 'video', rtpParameters: distinct(0), appData: { text: 'x'.repeat(2000) } });
  honest.close();
  const again = await Client.open(ringcast, 'again', honest.account);
  const resumed = await again.call('room:join', { roomId, resume: true });
  const bytes = bytesOf(resumed), appData = resumed.existingProducers.reduce((sum, { appData: data }) => sum + bytesOf(data), 0);
  console.log(`# ${PEOPLE} people, ${codes.ok} producers of 4 kB, ${codes.limit_reached} refused: the answer of a join has ${bytes} bytes, ${appData} of them appData`);
  assert.equal(resumed.participants.length, PEOPLE);
  assert.ok(codes.limit_reached > 0, JSON.stringify(codes));
  assert.ok(appData <= 1024 * 1024 + 16 * 4096 && bytes < 3 * 1024 * 1024);
  [...people, again].forEach((client) => client.close());
});

const residentMib = async () => Number((await (await fetch(`${ringcast.url}/metrics`)).text()).match(/resident_bytes ([\d.e+]+)/)[1]) / 2 ** 20;

test('unknown members of rtpParameters are not kept, nor what a binary event brings', async () => {
  const client = await Client.open(ringcast, 'ballast');
  const { roomId } = await client.call('room:create', { title: 'ballast' });
  await client.call('room:join', { roomId });
  const junk = Object.fromEntries(Array.from({ length: 110 }, (_, i) => [`k${i}`, Array(30).fill([1, 2, 'x'.repeat(50)])]));
  const transport = await transportOf(client, roomId);
  const produce = (n, extra) => client.call('media:produce', { roomId, transportId: transport.id, kind: 'video', rtpParameters: distinct(n, extra) });
  await produce(100, { junk }); // what the first one costs in buffers is not its ballast
  const before = await residentMib();
  let bytes = 0;
  for (let n = 0; n < 30; n++) {
    await produce(n, { junk });
    bytes += bytesOf(junk);
  }
  const grown = (await residentMib()) - before;
  console.log(`# ${(bytes / 1e6).toFixed(1)} MB of unknown members in 30 producers: ${grown.toFixed(1)} MiB more`);
  if (measuresMemory) assert.ok(grown < 8, `${grown} MiB`);
  client.close();
});
