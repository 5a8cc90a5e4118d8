// The public Socket.IO client over polling, over WebSocket, and upgraded between them.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { io } from 'socket.io-client';
import { Echo, HANG_MS, sleep, until, within } from './server.mjs';

let echo;
before(async () => { echo = await Echo.start({ RINGCAST_PING_INTERVAL: '300' }); });
after(() => echo.stop());

const connect = (options) => io(echo.url, { forceNew: true, reconnection: false, ...options });
const once = (emitter, event) =>
  within(new Promise((resolve) => emitter.once(event, (...args) => resolve(args))), event);

for (const [name, options] of [
  ['polling only', { transports: ['polling'] }],
  ['WebSocket only', { transports: ['websocket'] }],
  ['polling, then upgraded', {}],
]) {
  describe(name, () => {
    it('connects, sends and receives, gets acks, and stays connected over pings', async () => {
      const socket = connect({ ...options, auth: { token: 'x' } });
      const auth = once(socket, 'auth');
      await once(socket, 'connect');
      assert.deepEqual(await auth, [{ token: 'x' }]);
      assert.equal(socket.id.length, 20);
      if (name.includes('upgraded')) await until(() => socket.io.engine.transport.name !== 'polling', 'the upgrade');
      assert.equal(socket.io.engine.transport.name, name.startsWith('polling only') ? 'polling' : 'websocket');
      for (let i = 0; i < 40; i++) {
        const back = once(socket, 'message-back');
        socket.emit('message', i, { text: 'ü€𝄞\n"\\', list: [1, null, true] });
        assert.deepEqual(await back, [i, { text: 'ü€𝄞\n"\\', list: [1, null, true] }]);
        assert.equal(await socket.timeout(HANG_MS).emitWithAck('message-with-ack', i), i);
        await sleep(30); // 40 times: several ping intervals
      }
      assert.ok(socket.connected);
      socket.disconnect();
    });
    it('keeps the order of a burst', async () => {
      const socket = connect(options);
      await once(socket, 'connect');
      const acks = Array.from({ length: 500 }, (_, i) => socket.timeout(HANG_MS).emitWithAck('message-with-ack', i));
      assert.deepEqual(await Promise.all(acks), Array.from({ length: 500 }, (_, i) => i));
      socket.disconnect();
    });
    it('sends and gets binary', async () => {
      const socket = connect(options);
      await once(socket, 'connect');
      const back = once(socket, 'message-back');
      socket.emit('message', { a: Buffer.from([1, 2, 3]), b: Buffer.alloc(100000, 7) });
      const [{ a, b }] = await back;
      assert.deepEqual([Buffer.from(a), Buffer.from(b).length], [Buffer.from([1, 2, 3]), 100000]);
      socket.disconnect();
    });
    it('is refused with a reason', async () => {
      const socket = connect({ ...options, auth: { token: 'bad' } });
      const [error] = await once(socket, 'connect_error');
      assert.equal(error.message, 'Authentication failed');
      socket.disconnect();
    });
    it('is told that a namespace is unknown', async () => {
      const socket = io(`${echo.url}/nowhere`, { forceNew: true, reconnection: false, ...options });
      const [error] = await once(socket, 'connect_error');
      assert.equal(error.message, 'Invalid namespace');
      socket.disconnect();
    });
    it('uses a second namespace on the same connection', async () => {
      const first = connect(options);
      await once(first, 'connect');
      const second = first.io.socket('/custom');
      await once(second, 'connect');
      const back = once(second, 'message-back');
      second.emit('message', 'there');
      assert.deepEqual(await back, ['there']);
      first.disconnect();
      assert.equal(await second.timeout(HANG_MS).emitWithAck('message-with-ack', 1), 1);
      second.disconnect();
    });
    it('disconnects; when the server disconnects, earlier events arrive first', async () => {
      const socket = connect(options);
      await once(socket, 'connect');
      const bye = once(socket, 'bye');
      const gone = once(socket, 'disconnect');
      socket.emit('disconnect-me');
      await bye;
      assert.equal((await gone)[0], 'io server disconnect');
      const again = connect(options);
      await once(again, 'connect');
      const { closed } = await echo.counters();
      again.disconnect();
      await until(async () => (await echo.counters()).closed === closed + 1, 'the server closes the socket');
    });
    it('notices the end of the server', async () => {
      const server = await Echo.start();
      const socket = io(server.url, { forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 50, ...options });
      await once(socket, 'connect');
      const gone = once(socket, 'disconnect');
      await server.stop();
      assert.match((await gone)[0], /transport|server disconnect/);
      socket.disconnect();
    });
    it('gets large messages', async () => {
      const socket = connect(options);
      await once(socket, 'connect');
      const got = once(socket, 'flood');
      socket.emit('flood-me', 1, 900000);
      assert.equal((await got)[0].length, 900000);
      socket.disconnect();
    });
  });
}
