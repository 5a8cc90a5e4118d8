// Engine.IO without Socket.IO above it: the server sends back every message.

import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { Echo } from './server.mjs';

let echo;
before(async () => { echo = await Echo.start({ ECHO_ENGINE: '1' }); });
after(() => echo.stop());

async function exchange(body) {
  const sid = await echo.open();
  assert.deepEqual(await echo.post(sid, body), { status: 200, text: 'ok' });
  return (await echo.poll(sid)).text;
}

it('one text packet over polling', async () => assert.equal(await exchange('4hello'), '4hello'));
it('several text packets over polling', async () =>
  assert.equal(await exchange('4test1\x1e4test2\x1e4test3'), '4test1\x1e4test2\x1e4test3'));
it('text and binary packets over polling', async () =>
  assert.equal(await exchange('4hello\x1ebAQIDBA==\x1e4\u00fc\u20ac\ud834\udd1e'), '4hello\x1ebAQIDBA==\x1e4\u00fc\u20ac\ud834\udd1e'));
it('an empty message over polling', async () => assert.equal(await exchange('4'), '4'));

it('a text packet over WebSocket', async () => {
  const link = echo.websocket();
  await link.next();
  link.send('4hello');
  assert.equal(await link.next(), '4hello');
  link.socket.close();
});
it('a binary packet over WebSocket', async () => {
  const link = echo.websocket();
  await link.next();
  link.send(Buffer.from([1, 2, 3, 4]));
  assert.deepEqual(await link.next(), Buffer.from([1, 2, 3, 4]));
  link.socket.close();
});
