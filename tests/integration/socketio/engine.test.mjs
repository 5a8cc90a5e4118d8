// Engine.IO 4: the cases of its public test suite, and more.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { closesSoon, Echo, PING_INTERVAL, PING_TIMEOUT, slower, until, within } from './server.mjs';

let echo;
before(async () => { echo = await Echo.start(); });
after(() => echo.stop());

const query = (text) => echo.get(`/socket.io/?${text}`);
async function refusal(response, code, message) {
  assert.equal(response.status, 400);
  assert.deepEqual(await response.json(), { code, message });
}
async function wsRefusal(link) {
  assert.equal(await closesSoon(link.closed, 3000), 1006);
}

describe('handshake over polling', () => {
  it('opens a session', async () => {
    const response = await query('EIO=4&transport=polling');
    assert.equal(response.status, 200);
    assert.match(response.headers.get('content-type'), /^text\/plain/i);
    const text = await response.text();
    assert.equal(text[0], '0');
    const { sid, ...rest } = JSON.parse(text.slice(1));
    assert.match(sid, /^[A-Za-z0-9_-]{20}$/);
    assert.deepEqual(rest, {
      upgrades: ['websocket'], pingInterval: PING_INTERVAL, pingTimeout: PING_TIMEOUT, maxPayload: 1000000,
    });
  });
  it('refuses a missing or wrong EIO', async () => {
    for (const eio of ['', 'EIO=abc&', 'EIO=3&', 'EIO=44&', 'EIO=&'])
      await refusal(await query(`${eio}transport=polling`), 5, 'Unsupported protocol version');
  });
  it('refuses a missing or wrong transport', async () => {
    for (const transport of ['', '&transport=abc', '&transport=', '&transport=polling2', '&transport=__proto__'])
      await refusal(await query(`EIO=4${transport}`), 0, 'Transport unknown');
  });
  it('refuses another method', async () => {
    for (const method of ['POST', 'PUT', 'DELETE'])
      await refusal(await echo.get('/socket.io/?EIO=4&transport=polling', { method, body: '40' }), 2, 'Bad handshake method');
  });
  it('refuses transport=websocket without an upgrade', async () => {
    await refusal(await query('EIO=4&transport=websocket'), 3, 'Bad request');
  });
  it('refuses an unknown session', async () => {
    await refusal(await query('EIO=4&transport=polling&sid=abc'), 1, 'Session ID unknown');
    await refusal(await query('EIO=4&transport=polling&sid='), 1, 'Session ID unknown');
  });
});

describe('handshake over WebSocket', () => {
  it('opens a session', async () => {
    const link = echo.websocket();
    const text = await link.next();
    assert.equal(text[0], '0');
    const { sid, ...rest } = JSON.parse(text.slice(1));
    assert.match(sid, /^[A-Za-z0-9_-]{20}$/);
    assert.deepEqual(rest, { upgrades: [], pingInterval: PING_INTERVAL, pingTimeout: PING_TIMEOUT, maxPayload: 1000000 });
    link.socket.close();
    await link.closed;
  });
  for (const [what, text] of [
    ['a missing EIO', 'transport=websocket'], ['a wrong EIO', 'EIO=abc&transport=websocket'],
    ['a missing transport', 'EIO=4'], ['a wrong transport', 'EIO=4&transport=abc'],
    ['an unknown session', 'EIO=4&transport=websocket&sid=nobody'],
    ['the polling transport', 'EIO=4&transport=polling'],
  ]) {
    it(`refuses ${what}`, async () => {
      const { Link } = await import('./server.mjs');
      const { default: WebSocket } = await import('ws');
      await wsRefusal(new Link(new WebSocket(`ws://127.0.0.1:${echo.port}/socket.io/?${text}`)));
    });
  }
});

describe('messages over polling', () => {
  // The Socket.IO layer of the echo server answers 40 with 40{sid} and an event.
  it('one packet', async () => {
    const sid = await echo.open();
    assert.deepEqual(await echo.post(sid, '40'), { status: 200, text: 'ok' });
    const { status, text } = await echo.poll(sid);
    assert.equal(status, 200);
    assert.match(text, /^40\{"sid":"[\w-]{20}"\}\x1e42\["auth",\{\}\]$/);
  });
  it('several packets', async () => {
    const sid = await echo.open();
    await echo.post(sid, '40\x1e42["message","test1"]\x1e42["message","test2"]\x1e42["message","test3"]');
    const { text } = await echo.poll(sid);
    assert.deepEqual(text.split('\x1e').slice(2), [1, 2, 3].map((n) => `42["message-back","test${n}"]`));
  });
  it('text and binary packets', async () => {
    const sid = await echo.open();
    await echo.post(sid, '40\x1e451-["message",{"_placeholder":true,"num":0}]\x1ebAQIDBA==');
    const { text } = await echo.poll(sid);
    assert.deepEqual(text.split('\x1e').slice(2), ['451-["message-back",{"_placeholder":true,"num":0}]', 'bAQIDBA==']);
  });
  for (const body of ['abc', '', '4', '\x1e', '40\x1e', 'b', 'bAQ', 'b====', '9', '\x1e\x1e40', 'bAQIDBA==', '4\x00', '0', '2', '5', '2probe']) {
    it(`closes on ${JSON.stringify(body)}`, async () => {
      const sid = await echo.open();
      assert.equal((await echo.post(sid, body)).status, 400);
      assert.equal((await echo.poll(sid)).status, 400);
    });
  }
  it('closes on invalid UTF-8', async () => {
    const sid = await echo.open();
    assert.equal((await echo.post(sid, Buffer.from([0x34, 0x32, 0xff]))).status, 400);
    assert.equal((await echo.poll(sid)).status, 400);
  });
  it('ignores a noop', async () => {
    const sid = await echo.open();
    assert.equal((await echo.post(sid, '6')).status, 200);
    assert.equal((await echo.post(sid, '40')).status, 200);
  });
  it('closes on a binary body', async () => {
    const sid = await echo.open();
    const response = await echo.get(echo.engine(sid), { method: 'post', body: '40', headers: { 'content-type': 'application/octet-stream' } });
    assert.equal(response.status, 400);
    assert.equal((await echo.poll(sid)).status, 400);
  });
  it('accepts a body of maxPayload bytes and refuses a longer one', async () => {
    const sid = await echo.open();
    await echo.post(sid, '40');
    await echo.poll(sid);
    const wrap = (bytes) => `42["nothing","${'x'.repeat(bytes - 16)}"]`;
    assert.equal(wrap(1000).length, 1000);
    assert.equal((await echo.post(sid, wrap(1000000))).status, 200);
    assert.equal((await echo.post(sid, wrap(1000001))).status, 413);
  });
  it('closes on a duplicate poll', async () => {
    const sid = await echo.open();
    const [first] = await echo.begin(() => echo.poll(sid));
    const second = await echo.poll(sid);
    assert.deepEqual(await first, { status: 200, text: '1' });
    assert.equal(second.status, 400);
    assert.equal((await echo.poll(sid)).status, 400);
  });
  it('closes on a cancelled poll', async () => {
    const sessions = await echo.metric('socketio_sessions_open');
    const sid = await echo.open();
    const controller = new AbortController();
    const [poll] = await echo.begin(() =>
      echo.get(echo.engine(sid), { signal: controller.signal }).catch(() => 'cancelled'));
    controller.abort();
    assert.equal(await poll, 'cancelled');
    await until(async () => await echo.metric('socketio_sessions_open') === sessions, 'the session ends');
    assert.equal((await echo.poll(sid)).status, 400);
  });
  it('refuses other methods; the session stays open', async () => {
    const sid = await echo.open();
    await refusal(await echo.get(echo.engine(sid), { method: 'PUT', body: '40' }), 3, 'Bad request');
    assert.equal((await echo.post(sid, '40')).status, 200);
  });
});

describe('messages over WebSocket', () => {
  it('text', async () => {
    const link = await echo.connected();
    link.send('42["message","hello"]');
    assert.equal(await link.nextData(), '42["message-back","hello"]');
    link.socket.close();
  });
  it('binary', async () => {
    const link = await echo.connected();
    link.send('451-["message",{"_placeholder":true,"num":0}]');
    link.send(Buffer.from([1, 2, 3, 4]));
    await link.nextData();
    assert.deepEqual(await link.nextData(), Buffer.from([1, 2, 3, 4]));
    link.socket.close();
  });
  for (const text of ['abc', '', '9', '0', '2', '2probe', '5', '4', '4abc']) {
    it(`closes on ${JSON.stringify(text)}`, async () => {
      const link = echo.websocket();
      await link.next();
      link.send(text);
      await closesSoon(link.closed);
    });
  }
  it('closes on a binary message without an announcement', async () => {
    const link = await echo.connected();
    link.send(Buffer.from([1]));
    await closesSoon(link.closed);
  });
});

describe('heartbeat', () => {
  const INTERVAL_MS = 300, TIMEOUT_MS = 200;
  let patient, strict; // patient: waits long for the pong
  before(async () => {
    patient = await Echo.start({ RINGCAST_PING_INTERVAL: String(INTERVAL_MS) });
    strict = await Echo.start({ RINGCAST_PING_INTERVAL: String(INTERVAL_MS), RINGCAST_PING_TIMEOUT: String(TIMEOUT_MS) });
  });
  after(async () => {
    await patient.stop();
    await strict.stop();
  });
  it('pings a polling client', async () => {
    const sid = await patient.open();
    for (let i = 0; i < 3; i++) {
      const before = performance.now();
      assert.deepEqual(await patient.poll(sid), { status: 200, text: '2' });
      if (i > 0) assert.ok(performance.now() - before > INTERVAL_MS - 100);
      assert.deepEqual(await patient.post(sid, '3'), { status: 200, text: 'ok' });
    }
  });
  it('closes a polling session that does not answer', async () => {
    const sid = await strict.open();
    const start = performance.now();
    while ((await strict.poll(sid)).status === 200); // a ping and perhaps a close
    assert.ok(performance.now() - start < INTERVAL_MS + TIMEOUT_MS + 300 * slower);
    assert.equal((await strict.poll(sid)).status, 400);
  });
  it('pings a WebSocket client', async () => {
    const link = patient.websocket();
    await link.next();
    for (let i = 0; i < 3; i++) {
      assert.equal(await link.next(), '2');
      link.send('3');
    }
    link.socket.close();
  });
  it('closes a WebSocket session that does not answer', async () => {
    const link = strict.websocket();
    const start = performance.now();
    await within(link.closed, 'close');
    assert.ok(performance.now() - start < INTERVAL_MS + TIMEOUT_MS + 300 * slower);
  });
});

describe('close', () => {
  it('by a polling client', async () => {
    const sid = await echo.open();
    const [poll] = await echo.begin(() => echo.poll(sid));
    assert.deepEqual(await echo.post(sid, '1'), { status: 200, text: 'ok' });
    assert.deepEqual(await poll, { status: 200, text: '6' });
    assert.equal((await echo.poll(sid)).status, 400);
  });
  it('by a WebSocket client', async () => {
    const link = echo.websocket();
    await link.next();
    link.send('1');
    await closesSoon(link.closed);
  });
});

describe('upgrade', () => {
  async function probed() {
    const sid = await echo.open();
    const link = echo.websocket(sid);
    await link.opened;
    link.send('2probe');
    assert.equal(await link.next(), '3probe');
    return { sid, link };
  }
  it('from polling to WebSocket', async () => {
    const { sid, link } = await probed();
    assert.deepEqual(await echo.poll(sid), { status: 200, text: '6' });
    link.send('5');
    link.send('40');
    assert.match(await link.next(), /^40\{"sid":"[\w-]{20}"\}$/);
    link.socket.close();
  });
  it('answers a waiting poll', async () => {
    const sid = await echo.open();
    const [poll] = await echo.begin(() => echo.poll(sid));
    const link = echo.websocket(sid);
    await link.opened;
    link.send('2probe');
    assert.equal(await link.next(), '3probe');
    assert.deepEqual(await poll, { status: 200, text: '6' });
    link.socket.close();
  });
  it('sends the queued packets', async () => {
    const sid = await echo.open();
    const link = echo.websocket(sid);
    await link.opened;
    link.send('2probe');
    assert.equal(await link.next(), '3probe');
    await echo.post(sid, '40');
    link.send('5');
    assert.match(await link.next(), /^40\{/);
    assert.equal(await link.next(), '42["auth",{}]');
    link.socket.close();
  });
  it('ends HTTP for the session', async () => {
    const { sid, link } = await probed();
    link.send('5');
    link.send('40');
    await link.next();
    assert.equal((await echo.poll(sid)).status, 400);
    assert.equal((await echo.post(sid, '40')).status, 400);
    link.send('42["message","hello"]');
    await link.next();
    assert.equal(await link.nextData(), '42["message-back","hello"]');
    link.socket.close();
  });
  it('closes a second WebSocket with the same session', async () => {
    const { sid, link } = await probed();
    link.send('5');
    const second = echo.websocket(sid);
    await closesSoon(second.closed);
    link.send('40');
    assert.match(await link.nextData(), /^40\{/);
    link.socket.close();
  });
  it('closes a second probe while the first is open', async () => {
    const { sid, link } = await probed();
    const second = echo.websocket(sid);
    await closesSoon(second.closed);
    link.send('5');
    link.send('40');
    assert.match(await link.nextData(), /^40\{/);
    link.socket.close();
  });
  for (const wrong of ['2', '2prob', '5', '4hello', '']) {
    it(`closes a probe that sends ${JSON.stringify(wrong)}; the session stays open`, async () => {
      const sid = await echo.open();
      const link = echo.websocket(sid);
      await link.opened;
      link.send(wrong);
      await closesSoon(link.closed);
      assert.equal((await echo.post(sid, '40')).status, 200);
      const again = echo.websocket(sid);
      await again.opened;
      again.send('2probe');
      assert.equal(await again.next(), '3probe');
      again.socket.close();
    });
  }
  it('refuses a second WebSocket for a WebSocket session', async () => {
    const link = echo.websocket();
    const { sid } = JSON.parse((await link.next()).slice(1));
    const second = echo.websocket(sid);
    await closesSoon(second.closed);
    link.send('40');
    assert.match(await link.nextData(), /^40\{/);
    assert.equal((await echo.poll(sid)).status, 400);
    link.socket.close();
  });
});
