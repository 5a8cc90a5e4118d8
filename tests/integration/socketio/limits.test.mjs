// What one client may cost: slow ones, many from one address, those that stop reading, idle ones.

import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { Echo, frame, measuresMemory, sleep, slower, within } from './server.mjs';

const LONG = { RINGCAST_PING_INTERVAL: '20000', RINGCAST_PING_TIMEOUT: '20000' };
let echo;
before(async () => { echo = await Echo.start(LONG); });
after(() => echo.stop());

// Sends the pieces with pauses until the server has enough; resolves to what it said and when.
function drip(server, pieces, pauseMs) {
  return new Promise((resolve) => {
    const start = Date.now();
    const socket = connect(server.port, '127.0.0.1');
    let text = '';
    let open = true;
    socket.on('data', (data) => { text += data; });
    socket.on('error', () => {});
    socket.on('close', () => { open = false; resolve({ text, ms: Date.now() - start }); });
    (async () => {
      for (const piece of pieces) {
        if (!open) return;
        socket.write(piece);
        await sleep(pauseMs);
      }
    })();
  });
}

describe('slow clients', { concurrency: true }, () => {
  it('a head that takes 5 s is answered 408, others are served meanwhile', async () => {
    const slow = Array.from({ length: 50 }, () => drip(echo, ['GET / HTTP/1.1\r\n', ...Array(40).fill('X-A: b\r\n')], 300));
    for (let i = 0; i < 20; i++) {
      const start = performance.now();
      assert.equal((await echo.get('/things/1')).status, 200);
      assert.ok(performance.now() - start < 200 * slower);
      await sleep(100);
    }
    for (const { text, ms } of await Promise.all(slow)) {
      assert.match(text, /^HTTP\/1\.1 408 /);
      assert.ok(ms > 4500 && ms < 8000, `${ms}`);
    }
  });
  it('a connection that says nothing is closed after 5 s', async () => {
    const { text, ms } = await drip(echo, [], 0);
    assert.equal(text, '');
    assert.ok(ms > 4500 && ms < 5000 + 1000 * slower, `${ms}`);
  });
  it('a WebSocket message that takes 10 s ends the connection', async () => {
    const slow = await echo.rawWebsocket();
    const start = Date.now();
    slow.socket.write(Buffer.concat([frame(1, '40'), frame(1, '42["message"', { length: 1000 })]));
    const timer = setInterval(() => slow.socket.write('x'), 300);
    await within(slow.ended, 14000, 'the end');
    clearInterval(timer);
    assert.ok(Date.now() - start > 9500, `${Date.now() - start}`);
  });
  it('a body that takes 10 s is answered 408', async () => {
    const head = 'POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n';
    const { text, ms } = await drip(echo, [head, ...Array(60).fill('{')], 250);
    assert.match(text, /^HTTP\/1\.1 408 /);
    assert.ok(ms > 9500 && ms < 13000, `${ms}`);
  });
});

// Without /counters, which is a connection of its own.
const metric = async (server, name) => Number((await (await server.get('/metrics')).text()).match(new RegExp(`^ringcast_${name} (\\S+)$`, 'm'))?.[1]);

describe('many from one address', () => {
  it('connections opened too fast are answered 429, and taken again after a while', async () => {
    const small = await Echo.start({ ...LONG, RINGCAST_CONNECTIONS_PER_MINUTE: '60' });
    const statuses = [];
    for (let i = 0; i < 80; i++) statuses.push((await small.raw('GET /things/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')).status);
    const taken = statuses.filter((status) => status === 200).length;
    assert.ok(taken >= 60 && taken <= 65 * slower, `${taken} were taken`);
    assert.equal(statuses.at(-1), 429);
    await sleep(3000); // one a second comes back
    assert.equal(await metric(small, 'http_connections_over_rate_total'), 80 - taken);
    await small.stop();
  });
  it('connections over the total are answered 503', async () => {
    const small = await Echo.start({ ...LONG, RINGCAST_CONNECTIONS: '5' });
    const held = Array.from({ length: 5 }, () => connect(small.port, '127.0.0.1'));
    await sleep(100);
    assert.match((await small.raw('')).text, /^HTTP\/1\.1 503 /);
    held.forEach((socket) => socket.destroy());
    await sleep(100);
    assert.equal(await metric(small, 'http_connections_over_total_total'), 1);
    await small.stop();
  });
  it('connections over the cap are answered 429, and taken again when others end', async () => {
    const small = await Echo.start({ ...LONG, RINGCAST_SOCKETS_PER_ADDRESS: '10' });
    const held = Array.from({ length: 10 }, () => connect(small.port, '127.0.0.1'));
    await Promise.all(held.map((socket) => new Promise((resolve) => socket.on('connect', resolve))));
    await sleep(50);
    const { text } = await small.raw('');
    assert.match(text, /^HTTP\/1\.1 429 [^]*Retry-After: /);
    held.forEach((socket) => socket.destroy());
    await sleep(50);
    assert.equal((await small.get('/things/1')).status, 200);
    await small.stop();
  });
  it('sessions over the cap are refused: a polling one holds no connection', async () => {
    const small = await Echo.start({ ...LONG, RINGCAST_SOCKETS_PER_ADDRESS: '10' });
    for (let i = 0; i < 10; i++) await small.open();
    const response = await small.get(small.engine());
    assert.equal(response.status, 429);
    assert.ok(response.headers.get('retry-after'));
    await small.stop();
  });
  it('a trusted proxy has no cap, who is behind it has', async () => {
    const small = await Echo.start({ ...LONG, RINGCAST_SOCKETS_PER_ADDRESS: '5', TRUSTED_PROXIES: '127.0.0.1' });
    const from = (ip) => small.get(small.engine(), { headers: { 'x-forwarded-for': ip } });
    const statuses = await Promise.all(Array.from({ length: 12 }, (_, i) => from(i % 2 ? '203.0.113.1' : '203.0.113.2')));
    assert.deepEqual(statuses.map(({ status }) => status).sort(), [...Array(10).fill(200), 429, 429]);
    assert.equal((await Promise.all(Array.from({ length: 7 }, (_, i) => from(`2001:db8::${i + 1}`)))).filter(({ status }) => status === 429).length, 2);
    await small.stop();
  });
});

describe('who says much', () => {
  it('is slowed down, not refused', async () => {
    const fast = await echo.rawWebsocket();
    const start = Date.now();
    const all = () => fast.bytes.toString('latin1').includes('432999[true]');
    fast.socket.write(frame(1, '40'));
    fast.socket.write(Buffer.concat(Array.from({ length: 3000 }, (_, i) => frame(1, `42${i}["ack-one"]`))));
    while (!all() && Date.now() - start < 9000) await sleep(50);
    assert.ok(all() && Date.now() - start > 2500, `3000 answers after ${Date.now() - start} ms`);
    assert.ok(await metric(echo, 'http_websocket_pauses_total') > 0);
    fast.socket.destroy();
  });
});

describe('who stops reading', () => {
  it('over WebSocket is closed at 1 MiB, others do not notice', async () => {
    const { slow_readers: before, rss_bytes: rss } = await echo.counters();
    const peers = [];
    for (let i = 0; i < 10; i++) {
      const peer = await echo.rawWebsocket();
      peer.socket.write(frame(1, '40'));
      await sleep(20);
      peer.socket.pause();
      peer.socket.write(frame(1, '42["flood-me",5000,10000]'));
      peers.push(peer);
    }
    const link = await echo.connected();
    link.send('421["ack-one"]');
    assert.equal(await link.next(), '431[true]');
    await sleep(300);
    const now = await echo.counters();
    assert.equal(now.slow_readers, before + 10);
    assert.ok(!measuresMemory || now.rss_bytes < rss + 40 * 1024 * 1024);
    assert.equal(now.last_reason, 'slow reader');
    peers.forEach(({ socket }) => socket.destroy());
    link.socket.terminate();
  });
  it('over polling likewise', async () => {
    const { slow_readers: before } = await echo.counters();
    const sid = await echo.open();
    await echo.post(sid, '40');
    await echo.poll(sid);
    await echo.post(sid, '42["flood-me",200,10000]');
    assert.equal((await echo.poll(sid)).status, 400);
    assert.equal((await echo.counters()).slow_readers, before + 1);
  });
});

describe('idle sockets', () => {
  it('cost at most 20 KiB each', async () => {
    const count = 500;
    await echo.counters();
    const before = await echo.counters();
    const links = [];
    for (let i = 0; i < count; i++) links.push(await echo.connected());
    const now = await echo.counters();
    assert.equal(now.sockets_open, before.sockets_open + count);
    const heap = (now.heap_bytes - before.heap_bytes) / count;
    const resident = (now.rss_bytes - before.rss_bytes) / count;
    console.log(`# per idle socket: ${heap.toFixed(0)} bytes of heap, ${resident.toFixed(0)} resident`);
    if (measuresMemory) assert.ok(Math.max(heap, resident) < 20 * 1024);
    links.forEach((link) => link.socket.terminate());
    await Promise.all(links.map((link) => within(link.closed, 3000, 'close')));
    await sleep(200);
    const after = await echo.counters();
    assert.equal(after.sockets_open, before.sockets_open);
    assert.ok(!measuresMemory || after.heap_bytes - before.heap_bytes < 64 * 1024, `${after.heap_bytes - before.heap_bytes} bytes left`);
  });
});
