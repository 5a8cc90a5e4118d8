// What strangers, and all clients of one address together, may make the server hold.

import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { Echo, frame, measuresMemory, until } from './server.mjs';

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
