// Limits for each client: slow clients, many from one address, those that stop reading, idle ones.

import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { closesSoon, Echo, frame, measuresMemory, sleep, slower, until, within } from './server.mjs';

let echo;
before(async () => { echo = await Echo.start(); });
after(() => echo.stop());

// Sends the pieces with pauses until the server closes the connection. Resolves to the answer and the time.
function drip(server, pieces, pauseMs) {
  return new Promise((resolve) => {
    const start = performance.now();
    const socket = connect(server.port, '127.0.0.1');
    let text = '';
    let open = true;
    socket.on('data', (data) => { text += data; });
    socket.on('error', () => {});
    socket.on('close', () => { open = false; resolve({ text, ms: performance.now() - start }); });
    (async () => {
      for (const piece of pieces) {
        if (!open) return;
        socket.write(piece);
        await sleep(pauseMs);
      }
    })();
  });
}

// The server's limits of time. Upper bounds have patience for a slow machine.
const inTime = (ms, limitMs) => assert.ok(ms > limitMs - 500 && ms < limitMs + 3000 * slower, `${ms} ms, not ${limitMs}`);

describe('slow clients', { concurrency: true }, () => {
  it('a head that takes 5 s is answered 408; others are served meanwhile', async () => {
    const slow = Array.from({ length: 50 }, () => drip(echo, ['GET / HTTP/1.1\r\n', ...Array(100).fill('X-A: b\r\n')], 300));
    for (let i = 0; i < 20; i++) {
      const start = performance.now();
      assert.equal((await echo.get('/things/1')).status, 200);
      assert.ok(performance.now() - start < 200 * slower);
      await sleep(100);
    }
    for (const { text, ms } of await Promise.all(slow)) {
      assert.match(text, /^HTTP\/1\.1 408 /);
      inTime(ms, 5000);
    }
  });
  it('a connection that sends nothing is closed after 5 s', async () => {
    const { text, ms } = await drip(echo, [], 0);
    assert.equal(text, '');
    inTime(ms, 5000);
  });
  it('a WebSocket message that takes 10 s ends the connection', async () => {
    const slow = await echo.rawWebsocket();
    const start = performance.now();
    slow.socket.write(Buffer.concat([frame(1, '40'), frame(1, '42["message"', { length: 1000 })]));
    const timer = setInterval(() => slow.socket.write('x'), 300);
    await within(slow.ended, 'the end');
    clearInterval(timer);
    inTime(performance.now() - start, 10000);
  });
  it('a body that takes 10 s is answered 408', async () => {
    const head = 'POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n';
    const { text, ms } = await drip(echo, [head, ...Array(200).fill('{')], 250);
    assert.match(text, /^HTTP\/1\.1 408 /);
    inTime(ms, 10000);
  });
});

// Waits until the server accepts a connection again. Returns the metric, which counts refused connections, without
// those that this function opened itself.
async function refusals(server, name) {
  let own = -1;
  const all = await until(() => { own++; return server.metric(name); }, 'a connection is accepted again');
  return all - own;
}

// Opens connections that send nothing. The kernel hands them to the server in this order.
const hold = (server, count) => Promise.all(Array.from({ length: count }, () => new Promise((resolve) => {
  const socket = connect(server.port, '127.0.0.1', () => resolve(socket));
})));

describe('many from one address', () => {
  it('connections that are opened too fast are answered 429, and accepted again after a while', async () => {
    const small = await Echo.start({ RINGCAST_CONNECTIONS_PER_MINUTE: '60' });
    const start = performance.now(), statuses = [];
    for (let i = 0; i < 80; i++) statuses.push((await small.raw('GET /things/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')).status);
    const taken = statuses.filter((status) => status === 200).length;
    // One more is allowed each second.
    const seconds = Math.ceil((performance.now() - start) / 1000);
    assert.ok(taken >= 60 && taken <= 60 + seconds, `${taken} were accepted in ${seconds} s`);
    assert.ok(statuses.slice(-2).includes(429));
    assert.equal(await refusals(small, 'http_connections_over_rate_total'), 80 - taken);
    await small.stop();
  });
  it('connections over the total are answered 503', async () => {
    const small = await Echo.start({ RINGCAST_CONNECTIONS: '5' });
    const held = await hold(small, 5);
    assert.match((await small.raw('')).text, /^HTTP\/1\.1 503 /);
    held.forEach((socket) => socket.destroy());
    assert.equal(await refusals(small, 'http_connections_over_total_total'), 1);
    await small.stop();
  });
  it('connections over the limit are answered 429, and accepted again when others have ended', async () => {
    const small = await Echo.start({ RINGCAST_SOCKETS_PER_ADDRESS: '10' });
    const held = await hold(small, 10);
    const { text } = await small.raw('');
    assert.match(text, /^HTTP\/1\.1 429 [^]*Retry-After: /);
    held.forEach((socket) => socket.destroy());
    await until(async () => (await small.get('/things/1')).status === 200, 'a connection is accepted again');
    await small.stop();
  });
  it('sessions over the limit are refused, also polling ones, which hold no connection', async () => {
    const small = await Echo.start({ RINGCAST_SOCKETS_PER_ADDRESS: '10' });
    for (let i = 0; i < 10; i++) await small.open();
    const response = await small.get(small.engine());
    assert.equal(response.status, 429);
    assert.ok(response.headers.get('retry-after'));
    await small.stop();
  });
  it('a trusted proxy has no limit; each client behind it has one', async () => {
    const small = await Echo.start({ RINGCAST_SOCKETS_PER_ADDRESS: '5', TRUSTED_PROXIES: '127.0.0.1' });
    const from = (ip) => small.get(small.engine(), { headers: { 'x-forwarded-for': ip } });
    const statuses = await Promise.all(Array.from({ length: 12 }, (_, i) => from(i % 2 ? '203.0.113.1' : '203.0.113.2')));
    assert.deepEqual(statuses.map(({ status }) => status).sort(), [...Array(10).fill(200), 429, 429]);
    assert.equal((await Promise.all(Array.from({ length: 7 }, (_, i) => from(`2001:db8::${i + 1}`)))).filter(({ status }) => status === 429).length, 2);
    await small.stop();
  });
});

describe('a client that sends too much', () => {
  it('is slowed down, not refused', async () => {
    const fast = await echo.rawWebsocket();
    const start = performance.now();
    fast.socket.write(frame(1, '40'));
    fast.socket.write(Buffer.concat(Array.from({ length: 3000 }, (_, i) => frame(1, `42${i}["ack-one"]`))));
    await fast.receives('432999[true]');
    const ms = performance.now() - start;
    assert.ok(ms > 2500, `3000 answers after ${ms} ms`);
    assert.ok(await echo.metric('http_websocket_pauses_total') > 0);
    fast.socket.destroy();
  });
});

describe('a client that stops reading', () => {
  it('over WebSocket is closed at 1 MiB; others do not notice', async () => {
    const { slow_readers: before, rss_bytes: rss } = await echo.counters();
    const peers = [];
    for (let i = 0; i < 10; i++) {
      const peer = await echo.rawWebsocket();
      peer.socket.write(frame(1, '40'));
      await peer.receives('42["auth"');
      peer.socket.pause();
      peer.socket.write(frame(1, '42["flood-me",5000,10000]'));
      peers.push(peer);
    }
    const link = await echo.connected();
    link.send('421["ack-one"]');
    assert.equal(await link.next(), '431[true]');
    await until(async () => (await echo.counters()).slow_readers === before + 10, 'ten slow readers are closed');
    const now = await echo.counters();
    assert.ok(!measuresMemory || now.rss_bytes < rss + 40 * 1024 * 1024);
    assert.equal(now.last_reason, 'slow reader');
    peers.forEach(({ socket }) => socket.destroy());
    link.socket.terminate();
  });
  it('with more messages behind the one that closed it', async () => {
    const { slow_readers: before } = await echo.counters();
    const peer = await echo.rawWebsocket();
    peer.socket.write(frame(1, '40'));
    await peer.receives('42["auth"');
    peer.socket.pause();
    peer.socket.write(Buffer.concat(Array(1000).fill(frame(1, '42["flood-me",90,10000]'))));
    await until(async () => (await echo.counters()).slow_readers === before + 1, 'the slow reader is closed');
    peer.socket.destroy();
    assert.equal((await echo.get('/things/1')).status, 200);
  });
  it('over polling is closed too', async () => {
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
    await Promise.all(links.map((link) => closesSoon(link.closed, 3000)));
    await until(async () => (await echo.counters()).sockets_open === before.sockets_open, 'the sockets are closed');
    const after = await echo.counters();
    assert.ok(!measuresMemory || after.heap_bytes - before.heap_bytes < 64 * 1024, `${after.heap_bytes - before.heap_bytes} bytes left`);
  });
});
