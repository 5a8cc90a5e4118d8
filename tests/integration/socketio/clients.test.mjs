// The stock client, over each transport and from one to the other.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { io } from 'socket.io-client';
import { Echo, sleep, within } from './server.mjs';

let echo;
before(async () => { echo = await Echo.start(); });
after(() => echo.stop());

const connect = (options) => io(echo.url, { forceNew: true, reconnection: false, ...options });
const once = (emitter, event, ms = 3000) =>
  within(new Promise((resolve) => emitter.once(event, (...args) => resolve(args))), ms, event);

for (const [name, options] of [
  ['polling only', { transports: ['polling'] }],
  ['WebSocket only', { transports: ['websocket'] }],
  ['polling, then upgraded', {}],
]) {
  describe(name, () => {
    it('connects, talks both ways, gets acks, stays alive over pings', async () => {
      const socket = connect({ ...options, auth: { token: 'x' } });
      const auth = once(socket, 'auth');
      await once(socket, 'connect');
      assert.deepEqual(await auth, [{ token: 'x' }]);
      assert.equal(socket.id.length, 20);
      while (name.includes('upgraded') && socket.io.engine.transport.name === 'polling') await sleep(10);
      assert.equal(socket.io.engine.transport.name, name.startsWith('polling only') ? 'polling' : 'websocket');
      for (let i = 0; i < 40; i++) {
        const back = once(socket, 'message-back');
        socket.emit('message', i, { text: 'ü€𝄞\n"\\', list: [1, null, true] });
        assert.deepEqual(await back, [i, { text: 'ü€𝄞\n"\\', list: [1, null, true] }]);
        assert.equal(await socket.timeout(1000).emitWithAck('message-with-ack', i), i);
        await sleep(30); // several ping intervals in all
      }
      assert.ok(socket.connected);
      socket.disconnect();
    });
    it('keeps the order of a burst', async () => {
      const socket = connect(options);
      await once(socket, 'connect');
      const acks = Array.from({ length: 500 }, (_, i) => socket.timeout(3000).emitWithAck('message-with-ack', i));
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
    it('is refused with the reason', async () => {
      const socket = connect({ ...options, auth: { token: 'bad' } });
      const [error] = await once(socket, 'connect_error');
      assert.equal(error.message, 'Authentication failed');
      socket.disconnect();
    });
    it('hears of an unknown namespace', async () => {
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
      assert.equal(await second.timeout(1000).emitWithAck('message-with-ack', 1), 1);
      second.disconnect();
    });
    it('disconnects, and is disconnected after what was said', async () => {
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
      await sleep(100);
      assert.equal((await echo.counters()).closed, closed + 1);
    });
    it('notices when the server goes, comes back when it does', async () => {
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
      const got = once(socket, 'flood', 5000);
      socket.emit('flood-me', 1, 900000);
      assert.equal((await got)[0].length, 900000);
      socket.disconnect();
    });
  });
}
