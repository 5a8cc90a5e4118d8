// What strangers, and all clients of one address together, may make the server hold.

import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { Echo, frame, measuresMemory, slower, until } from './server.mjs';

const MIB = 1024 * 1024;
let echo;
before(async () => { echo = await Echo.start(); });
after(() => echo.stop());

// Opens `count` connections that send `head` and a part of the body that it announces.
async function holdBodies(count, head, part) {
  const held = Array.from({ length: count }, () => {
    const socket = connect(echo.port, '127.0.0.1');
    const one = { socket, text: '' };
    socket.on('error', () => {});
    socket.on('data', (data) => { one.text += data.toString('latin1'); });
    socket.write(head);
    socket.write(part);
    return one;
  });
  held.statuses = () => held.map(({ text }) => Number(text.slice(9, 12)) || 0);
  held.end = () => held.forEach(({ socket }) => socket.destroy());
  return held;
}

const postHead = (sid, bytes) => `POST /socket.io/?EIO=4&transport=polling&sid=${sid} HTTP/1.1\r\nHost: x\r\n`
  + `Content-Type: text/plain\r\nContent-Length: ${bytes}\r\n\r\n`;

// Runs `attack` and returns by how many MiB the server's resident memory has grown.
async function growth(attack) {
  const { rss_bytes: before } = await echo.counters();
  await attack();
  return ((await echo.counters()).rss_bytes - before) / MIB;
}

// A client that has done nothing wrong: it opens a session, connects and gets an answer.
async function assertServed() {
  const sid = await echo.open();
  assert.deepEqual(await echo.post(sid, '40'), { status: 200, text: 'ok' });
  await echo.poll(sid);
  assert.deepEqual(await echo.post(sid, `421["ack-one","${'x'.repeat(200000)}"]`), { status: 200, text: 'ok' });
  assert.match((await echo.poll(sid)).text, /431\[true\]/);
  assert.equal((await echo.post(sid, '41')).status, 200);
}

describe('memory', () => {
  it('a POST with an unknown session id is refused before its body is read', async () => {
    let held;
    const mib = await growth(async () => {
      held = await holdBodies(200, postHead('A'.repeat(20), 990000), 'x'.repeat(900000));
      await until(() => held.statuses().every((status) => status !== 0), 'all are answered');
    });
    console.log(`# 200 POSTs of 900 kB with an unknown session id: ${mib.toFixed(1)} MiB more`);
    assert.deepEqual([...new Set(held.statuses())], [400]);
    assert.match(held[0].text, /"code":1/);
    if (measuresMemory) assert.ok(mib < 16, `${mib} MiB`);
    held.end();
    await assertServed();
  });
  it('only POST may have a body, and only over polling', async () => {
    const sid = await echo.open();
    const head = (line) => `${line} HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n`;
    const path = `/socket.io/?EIO=4&sid=${sid}&transport=`;
    for (const line of [`GET ${path}polling`, `DELETE ${path}polling`, `POST ${path}websocket`, 'POST /socket.io/?EIO=4&transport=polling'])
      assert.equal((await echo.raw(head(line), { headOnly: true })).status, 400, line);
  });
  it('a session that has not connected may send 64 KiB, and all strangers of one address hold 2 MiB', async () => {
    const sid = await echo.open();
    assert.equal((await echo.raw(postHead(sid, 65537), { headOnly: true })).status, 413);
    let held;
    const mib = await growth(async () => {
      held = await holdBodies(200, postHead(sid, 65536), '4'.repeat(60000));
      await until(() => held.statuses().filter((status) => status === 429).length >= 160, '160 of 200 are refused');
    });
    console.log(`# 200 unfinished POSTs of strangers: ${mib.toFixed(1)} MiB more, ${held.statuses().filter((s) => s === 429).length} refused`);
    if (measuresMemory) assert.ok(mib < 8, `${mib} MiB`);
    assert.ok(await echo.metric('http_held_over_budget_total') >= 160);
    held.end();
    await until(async () => (await echo.post(await echo.open(), '40')).status === 200, 'the budget is free again');
    await assertServed();
  });
  it('unfinished messages of connected sockets hold 16 MiB per address', async () => {
    const { sockets_open: open } = await echo.counters();
    const peers = [];
    for (let i = 0; i < 60; i++) {
      const peer = await echo.rawWebsocket();
      peer.socket.write(frame(1, '40'));
      await peer.receives('42["auth"');
      peers.push(peer);
    }
    const mib = await growth(async () => {
      for (const { socket } of peers) socket.write(frame(1, `42["message","${'x'.repeat(900000)}`, { length: 990000 }));
      await until(() => peers.filter(({ closed }) => closed).length >= 40, '40 of 60 are closed');
    });
    const refused = peers.filter(({ closed }) => closed);
    console.log(`# 60 unfinished messages of 900 kB: ${mib.toFixed(1)} MiB more, ${refused.length} closed`);
    if (measuresMemory) assert.ok(mib < 32, `${mib} MiB`);
    assert.ok(refused.every(({ bytes }) => bytes.includes(Buffer.from([0x88, 2, 0x03, 0xf5]))), 'closed with 1013');
    peers.forEach(({ socket }) => socket.destroy());
    await until(async () => (await echo.counters()).sockets_open === open, 'the sockets are closed');
    await assertServed();
  });
});

// Opens WebSockets of one user on `server`.
async function socketsOf(server, user, count) {
  const peers = [];
  for (let i = 0; i < count; i++) {
    const peer = await server.rawWebsocket();
    peer.socket.write(frame(1, `40{"user":"${user}"}`));
    await peer.receives('42["auth"');
    peers.push(peer);
  }
  return peers;
}

// Asks on a socket for acknowledgements, one after the other, and returns how long the slowest of 99 in 100 took.
async function ackP99(peer, count) {
  const times = [];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    peer.socket.write(frame(1, `421${i}["ack-one"]`));
    await peer.receives(`431${i}[true]`);
    times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b)[Math.ceil(count * 0.99) - 1];
}

describe('messages', () => {
  let small;
  before(async () => { small = await Echo.start({ RINGCAST_MESSAGES_PER_ADDRESS: '1000', RINGCAST_MESSAGE_KIB_PER_ADDRESS: '400' }); });
  after(() => small.stop());

  it('all sockets of an account have one budget, and others are answered in time', async () => {
    const [other] = await socketsOf(small, 'other', 1);
    const peers = await socketsOf(small, 'flood', 30);
    const { events_received: events } = await small.counters();
    const start = performance.now();
    for (const { socket } of peers) socket.write(Buffer.concat(Array(300).fill(frame(1, '420["ack-one"]'))));
    const p99 = await ackP99(other, 30);
    await until(async () => await small.metric('http_slowed_by_budget_total') >= 20, 'the flood is slowed down');
    const taken = (await small.counters()).events_received - events;
    const seconds = (performance.now() - start) / 1000;
    console.log(`# 9000 events on 30 sockets of one account: ${taken} taken in ${seconds.toFixed(1)} s; another account's ack p99 ${p99.toFixed(1)} ms`);
    // The burst, the rate, one read of each socket, and those of the other account.
    assert.ok(taken < 500 + 125 * seconds + 30 * 50 + 30, `${taken} events`);
    assert.ok(p99 < 100 * slower, `${p99} ms`);
    [...peers, other].forEach(({ socket }) => socket.destroy());
  });
  it('bytes count, too', async () => {
    const [peer] = await socketsOf(small, 'long', 1);
    const [other] = await socketsOf(small, 'short', 1);
    const start = performance.now();
    for (let i = 0; i < 4; i++) peer.socket.write(frame(1, `42${i}["ack-one","${'x'.repeat(100000)}"]`));
    await peer.receives('433[true]');
    const ms = performance.now() - start;
    console.log(`# 400 kB of one account, which may send 200 KiB at once and 50 a second: ${ms.toFixed(0)} ms`);
    assert.ok(ms > 3000, `${ms} ms`);
    assert.ok(await ackP99(other, 10) < 1000 * slower);
    [peer, other].forEach(({ socket }) => socket.destroy());
  });
  it('whoever owes too much gets no new POST in', async () => {
    const sids = [];
    for (let i = 0; i < 8; i++) {
      sids.push(await small.open());
      await small.post(sids[i], `40{"user":"post"}`);
      await small.poll(sids[i]);
    }
    const replies = sids.map((sid) => small.post(sid, `42["message-none","${'x'.repeat(150000)}"]`));
    const [last] = await until(async () => {
      const { status } = await small.post(sids[0], '420["ack-one"]');
      return status === 429 && [status];
    }, 'a POST is refused');
    assert.equal(last, 429);
    assert.ok(await small.metric('http_refused_by_budget_total') >= 1);
    await Promise.allSettled(replies);
  });
});
