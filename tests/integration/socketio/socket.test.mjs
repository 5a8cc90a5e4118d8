// Socket.IO 5 over WebSocket: the cases of its public test suite, and more.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { closesSoon, Echo, sleep, slower, until, within } from './server.mjs';

let echo;
let text; // a server without binary events, like the product
let hurried; // a server that waits only a short time for CONNECT, and pings often
const CONNECT_TIMEOUT_MS = 1000 * slower;
before(async () => {
  echo = await Echo.start();
  text = await Echo.start({ ECHO_TEXT_ONLY: '1' });
  hurried = await Echo.start({ RINGCAST_CONNECT_TIMEOUT: String(CONNECT_TIMEOUT_MS), RINGCAST_PING_INTERVAL: '300' });
});
after(async () => {
  await echo.stop();
  await text.stop();
  await hurried.stop();
});

async function opened(server = echo) {
  const link = server.websocket();
  await link.next();
  return link;
}
const isSid = (data, prefix) => assert.match(data, new RegExp(`^${prefix}\\{"sid":"[\\w-]{20}"\\}$`));

describe('connect', () => {
  it('to the main namespace', async () => {
    const link = await opened();
    link.send('40');
    isSid(await link.next(), '40');
    assert.equal(await link.next(), '42["auth",{}]');
    link.socket.close();
  });
  it('to the main namespace with a payload', async () => {
    const link = await opened();
    link.send('40{"token":"123"}');
    isSid(await link.next(), '40');
    assert.equal(await link.next(), '42["auth",{"token":"123"}]');
    link.socket.close();
  });
  it('to a custom namespace', async () => {
    const link = await opened();
    link.send('40/custom,');
    isSid(await link.next(), '40/custom,');
    assert.equal(await link.next(), '42/custom,["auth",{}]');
    link.socket.close();
  });
  it('to a custom namespace with a payload', async () => {
    const link = await opened();
    link.send('40/custom,{"token":"abc"}');
    isSid(await link.next(), '40/custom,');
    assert.equal(await link.next(), '42/custom,["auth",{"token":"abc"}]');
    link.socket.close();
  });
  it('not to an unknown namespace', async () => {
    const link = await opened();
    link.send('40/random');
    assert.equal(await link.next(), '44/random,{"message":"Invalid namespace"}');
    link.send('40');
    isSid(await link.next(), '40');
    link.socket.close();
  });
  it('with another id each time, unlike the session\'s', async () => {
    const link = echo.websocket();
    const { sid } = JSON.parse((await link.next()).slice(1));
    link.send('40');
    assert.notEqual(JSON.parse((await link.next()).slice(2)).sid, sid);
    link.socket.close();
  });
  it('the handler answers later', async () => {
    const link = await opened();
    link.send('40{"token":"later"}');
    isSid(await link.nextData(), '40');
    link.socket.close();
  });
  it('refused by the handler: CONNECT_ERROR, then the transport closes', async () => {
    const link = await opened();
    link.send('40{"token":"bad"}');
    assert.equal(await link.next(), '44{"message":"Authentication failed"}');
    assert.equal(await closesSoon(link.closed), 1000);
  });
  it('the client leaves before the answer', async () => {
    const link = await opened();
    link.send('40{"token":"later"}');
    link.socket.terminate();
    await sleep(300); // the server answers after 200 ms
    assert.ok((await echo.counters()).connections > 0);
  });
  it('the handler gets the Authorization header of the handshake', async () => {
    const link = echo.websocket('', { headers: { authorization: 'Bearer abc.def' } });
    await link.next();
    link.send('40');
    await link.next();
    await link.next();
    assert.equal(await link.next(), '42["bearer","abc.def"]');
    link.socket.close();
  });
  for (const wrong of [
    '4abc', '40"x"', '40[1]', '40{"a":1', '400{}', '40/custom,5', '45-["x"]', '41{}', '40{"a":1}x', '40 {}x', '47["x"]', '4-1',
    '44{"message":"x"}', '42["message"]', '41', '43[]', '40{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":1}}}}}}}}}}}}}}}}}',
    `40/${'n'.repeat(64)},`,
  ]) {
    it(`closes on ${wrong.slice(0, 40)} instead of a handshake`, async () => {
      const link = await opened();
      link.send(wrong);
      await closesSoon(link.closed);
    });
  }
  it('closes on a second CONNECT', async () => {
    const link = await echo.connected();
    link.send('40');
    await closesSoon(link.closed);
  });
  it('closes on an event before CONNECT is answered', async () => {
    const link = await opened();
    link.send('40{"token":"later"}');
    link.send('42["message","early"]');
    await closesSoon(link.closed);
  });
  it('closes a client that never connects', async () => {
    const start = performance.now();
    const link = await opened(hurried);
    link.answersPings = true;
    await within(link.closed, 'close');
    const elapsed = performance.now() - start;
    assert.ok(elapsed > CONNECT_TIMEOUT_MS - 200 && elapsed < CONNECT_TIMEOUT_MS + 1000 * slower, `${elapsed} ms`);
  });
});

describe('disconnect', () => {
  it('from the main namespace; the connection stays for another CONNECT', async () => {
    const before = (await echo.counters()).closed;
    const link = await echo.connected();
    link.send('41');
    await until(async () => (await echo.counters()).closed === before + 1, 'the server closes the socket');
    assert.equal((await echo.counters()).last_reason, 'client disconnect');
    link.send('40');
    isSid(await link.nextData(), '40');
    link.socket.close();
  });
  it('from the main namespace, and no CONNECT again: closed', async () => {
    const link = await hurried.connected();
    link.answersPings = true;
    link.send('41');
    await closesSoon(link.closed, 2000);
  });
  it('from a custom namespace', async () => {
    const link = await echo.connected();
    link.send('40/custom');
    await link.nextData();
    await link.nextData();
    link.send('41/custom');
    link.send('42["message","message to main namespace"]');
    assert.equal(await link.nextData(), '42["message-back","message to main namespace"]');
    link.socket.close();
  });
  it('by the server: earlier events arrive first', async () => {
    const link = await echo.connected();
    link.send('42["disconnect-me"]');
    assert.equal(await link.nextData(), '42["bye"]');
    assert.equal(await link.nextData(), '41');
    assert.equal(await closesSoon(link.closed), 1000);
    assert.equal((await echo.counters()).last_reason, 'server disconnect');
  });
  it('by the server over polling', async () => {
    const sid = await echo.open();
    await echo.post(sid, '40');
    await echo.poll(sid);
    await echo.post(sid, '42["disconnect-me"]');
    assert.equal((await echo.poll(sid)).text, '42["bye"]\x1e41');
    assert.equal((await echo.poll(sid)).text, '1');
    assert.equal((await echo.poll(sid)).status, 400);
  });
});

describe('message', () => {
  it('plain text', async () => {
    const link = await echo.connected();
    link.send('42["message",1,"2",{"3":[true]}]');
    assert.equal(await link.nextData(), '42["message-back",1,"2",{"3":[true]}]');
    link.socket.close();
  });
  it('with binary attachments', async () => {
    const link = await echo.connected();
    link.send('452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]');
    link.send(Buffer.from([1, 2, 3]));
    link.send(Buffer.from([4, 5, 6]));
    assert.equal(await link.nextData(), '452-["message-back",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]');
    assert.deepEqual(await link.nextData(), Buffer.from([1, 2, 3]));
    assert.deepEqual(await link.nextData(), Buffer.from([4, 5, 6]));
    link.socket.close();
  });
  it('plain text with an ack', async () => {
    const link = await echo.connected();
    link.send('42456["message-with-ack",1,"2",{"3":[false]}]');
    assert.equal(await link.nextData(), '43456[1,"2",{"3":[false]}]');
    link.socket.close();
  });
  it('with binary attachments and an ack', async () => {
    const link = await echo.connected();
    link.send('452-789["message-with-ack",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]');
    link.send(Buffer.from([1, 2, 3]));
    link.send(Buffer.from([4, 5, 6]));
    assert.equal(await link.nextData(), '462-789[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]');
    assert.deepEqual(await link.nextData(), Buffer.from([1, 2, 3]));
    assert.deepEqual(await link.nextData(), Buffer.from([4, 5, 6]));
    link.socket.close();
  });
  it('binary without attachments, and an ack that the server did not ask for', async () => {
    const link = await echo.connected();
    link.send('450-["message",1]');
    assert.equal(await link.nextData(), '42["message-back",1]');
    link.send('4399[1]');
    link.send('461-99[{"_placeholder":true,"num":0}]');
    link.send(Buffer.from([1]));
    link.send('42["message",2]');
    assert.equal(await link.nextData(), '42["message-back",2]');
    link.socket.close();
  });
  for (const wrong of [
    '4abc', '42{}', '42abc["message-with-ack",1]', '42', '42[]', '42[1]', '42[null]', '42[{}]', '42[""]', '42"x"',
    '42["connect"]', '42["connect_error"]', '42["disconnect"]', '42["disconnecting"]', '42["newListener"]', '42["removeListener"]',
    '42["message",01]', '42["message",1e999]', '42["message","\u0001"]', '42["message","\\ud800"]', '42["message",{"a":1,"a":2}]',
    '42["message","\\u0000"]', '42["message",]', '42["message"', '421234567890123456["message"]', '42-1["message"]', '42/other,["message"]',
    '43["x"]', '4312', '4312{}', '44{}', '40', '46["x"]', '461["x"]', '45["x"]', '451["x"]', '459-["x"]', '4512-["x"]', '45a-["x"]', '45-1["x"]',
    '451-["x",{"_placeholder":true,"num":1}]', '451-["x",{"_placeholder":true,"num":-1}]', '451-["x",{"_placeholder":true,"num":"splice"}]',
    '451-["x",{"_placeholder":true,"num":0.5}]', '451-["x",{"_placeholder":true}]', '451-{"_placeholder":true,"num":0}', '450-["x",{"_placeholder":true,"num":0}]',
    '451-["disconnect",{"_placeholder":true,"num":0}]', `42["${'e'.repeat(129)}"]`, '47', '4',
  ]) {
    it(`closes on ${JSON.stringify(wrong).slice(0, 60)}`, async () => {
      const before = (await echo.counters()).protocol_errors;
      const link = await echo.connected();
      link.send(wrong);
      await closesSoon(link.closed);
      const now = await echo.counters();
      assert.deepEqual([now.protocol_errors, now.last_reason], [before + 1, 'parse error']);
    });
  }
  it('closes on text where an attachment belongs', async () => {
    const link = await echo.connected();
    link.send('451-["message",{"_placeholder":true,"num":0}]');
    link.send('42["message"]');
    await closesSoon(link.closed);
  });
  it('closes on attachments that are too large together', async () => {
    const link = await echo.connected();
    link.send('452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]');
    link.send(Buffer.alloc(600000));
    link.send(Buffer.alloc(600000));
    await closesSoon(link.closed, 2000);
  });
  it('a server without binary events gives the event no arguments, and the socket lives on', async () => {
    const link = await text.connected();
    const { binary_refused: before } = await text.counters();
    link.send('451-7["message-with-ack",{"_placeholder":true,"num":0}]');
    link.send(Buffer.from([1, 2, 3]));
    assert.equal(await link.nextData(), '437[]');
    link.send('450-8["message-with-ack",1]');
    assert.equal(await link.nextData(), '438[]');
    link.send('461-1[{"_placeholder":true,"num":0}]');
    link.send(Buffer.from([1]));
    link.send('429["message-with-ack",1]');
    assert.equal(await link.nextData(), '439[1]');
    assert.equal((await text.counters()).binary_refused, before + 2);
    link.send('451-["message",{"_placeholder":true,"num":1}]'); // a placeholder without attachment
    await closesSoon(link.closed);
  });
});
