// The grammar of WebSocket (RFC 6455): each violation gets the right close code.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { closesSoon, Echo, frame, measuresMemory, sleep, until } from './server.mjs';

let echo;
before(async () => { echo = await Echo.start(); });
after(() => echo.stop());

const TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10;
const closing = (code, reason = '') => Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]);

// All frames that the server has sent. Checks that they are unmasked and have minimal lengths.
function frames(bytes) {
  const list = [];
  for (let at = 0; at + 2 <= bytes.length;) {
    let length = bytes[at + 1] & 127;
    let start = at + 2;
    assert.equal(bytes[at + 1] & 128, 0, 'a server does not mask');
    if (length === 126) { length = bytes.readUInt16BE(start); start += 2; assert.ok(length > 125); }
    else if (length === 127) { length = Number(bytes.readBigUInt64BE(start)); start += 8; assert.ok(length > 65535); }
    if (start + length > bytes.length) break; // the rest has not arrived yet
    list.push({ first: bytes[at], opcode: bytes[at] & 15, payload: bytes.subarray(start, start + length) });
    at = start + length;
  }
  return list;
}

async function closeCode(...sent) {
  const peer = await echo.rawWebsocket();
  assert.match(peer.head, /^HTTP\/1\.1 101 /);
  for (const bytes of sent) peer.socket.write(bytes);
  peer.socket.end();
  await closesSoon(peer.ended, 3000);
  const last = frames(peer.bytes).at(-1);
  assert.equal(last?.opcode, CLOSE);
  return last.payload.length === 0 ? 1005 : last.payload.readUInt16BE(0);
}

describe('handshake', () => {
  it('accepts the key of RFC 6455 1.3 and offers no extension', async () => {
    const peer = await echo.rawWebsocket();
    assert.match(peer.head, /\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\n/);
    assert.doesNotMatch(peer.head, /extensions/i);
    peer.socket.destroy();
    const link = echo.websocket('', { perMessageDeflate: true });
    await link.next();
    assert.equal(link.socket.extensions, '');
    link.socket.terminate();
  });
  const ask = (...fields) => `${['GET /socket.io/?EIO=4&transport=websocket HTTP/1.1', 'Host: x', ...fields].join('\r\n')}\r\n\r\n`;
  const whole = ['Upgrade: websocket', 'Connection: keep-alive, Upgrade', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='];
  for (const [what, bytes, status] of [
    ['another version', ask(...whole.with(2, 'Sec-WebSocket-Version: 8')), 426],
    ['no version', ask(...whole.toSpliced(2, 1)), 426],
    ['no key', ask(...whole.slice(0, 3)), 400],
    ['a short key', ask(...whole.with(3, 'Sec-WebSocket-Key: dGhlIHNhbXBsZQ==')), 400],
    ['a key that is not base64', ask(...whole.with(3, 'Sec-WebSocket-Key: !GhlIHNhbXBsZSBub25jZQ==')), 400],
    ['two keys', ask(...whole, whole[3]), 400],
    ['no Upgrade', ask(...whole.slice(1)), 400],
    ['no Connection: Upgrade', ask(...whole.with(1, 'Connection: keep-alive')), 400],
    ['HTTP/1.0', ask(...whole).replace('1.1\r\n', '1.0\r\n'), 400],
    ['POST', ask(...whole, 'Content-Length: 2').replace('GET', 'POST') + '{}', 400],
    ['a body', ask(...whole, 'Content-Length: 2') + '{}', 400],
    ['another path', ask(...whole).replace('/socket.io/', '/nothing'), 404],
  ]) it(`refuses ${what}`, async () => {
    const answer = await echo.raw(bytes, { headOnly: true });
    assert.equal(answer.status, status);
    assert.doesNotMatch(answer.text, / 101 /);
  });
});

describe('violations', () => {
  for (const [what, code, ...sent] of [
    ['an unmasked frame', 1002, frame(TEXT, '3', { masked: false })],
    ['an unmasked close', 1002, frame(CLOSE, closing(1000), { masked: false })],
    ['RSV1', 1002, frame(TEXT, '3', { rsv: 4 })],
    ['RSV2', 1002, frame(TEXT, '3', { rsv: 2 })],
    ['RSV3', 1002, frame(TEXT, '3', { rsv: 1 })],
    ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode) => [`opcode ${opcode}`, 1002, frame(opcode, '')]),
    ['a fragmented ping', 1002, frame(PING, '', { fin: false })],
    ['a ping of 126 bytes', 1002, frame(PING, Buffer.alloc(126))],
    ['a close of 126 bytes', 1002, frame(CLOSE, closing(1000, 'x'.repeat(124)))],
    ['a continuation without a message', 1002, frame(0, 'x')],
    ['a message inside a message', 1002, frame(TEXT, '4', { fin: false }), frame(TEXT, '0')],
    ['a length that is not minimal (16 bit)', 1002, Buffer.from([0x81, 0xfe, 0, 5, 1, 2, 3, 4, 0, 0, 0, 0, 0])],
    ['a length that is not minimal (64 bit)', 1002, Buffer.from([0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 5, 1, 2, 3, 4])],
    ['a length with its highest bit set', 1002, Buffer.from([0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 5, 1, 2, 3, 4])],
    ['a close of one byte', 1002, frame(CLOSE, 'x')],
    ...[0, 999, 1004, 1005, 1006, 1012, 1015, 1016, 1100, 2000, 2999, 5000, 65535].map((c) => [`close code ${c}`, 1002, frame(CLOSE, closing(c))]),
    ['a close reason that is not UTF-8', 1007, frame(CLOSE, Buffer.from([3, 232, 0xff]))],
    ['text that is not UTF-8', 1007, frame(TEXT, Buffer.from([0x34, 0xc0, 0x80]))],
    ['a surrogate in UTF-8', 1007, frame(TEXT, Buffer.from([0x34, 0xed, 0xa0, 0x80]))],
    ['text that ends inside a character', 1007, frame(TEXT, Buffer.from([0x34, 0xe2, 0x82]))],
    ['the same in fragments', 1007, frame(TEXT, Buffer.from([0x34, 0xe2]), { fin: false }), frame(0, Buffer.from([0x82]))],
    ['a message over the limit', 1009, frame(TEXT, 'x', { length: 1000001 })],
    ['a huge message', 1009, frame(TEXT, 'x', { length: 2 ** 40 })],
    ['fragments over the limit', 1009, frame(BINARY, Buffer.alloc(600000), { fin: false }), frame(0, Buffer.alloc(600000))],
  ]) it(`${what}: ${code}`, async () => assert.equal(await closeCode(...sent), code));
});

describe('close', () => {
  for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
    it(`${code} is answered with the same code`, async () => assert.equal(await closeCode(frame(CLOSE, closing(code, 'bye'))), code));
  it('without a code is answered without one', async () => assert.equal(await closeCode(frame(CLOSE)), 1005));
});

describe('what is allowed', () => {
  it('pings are answered with their payload, between fragments too', async () => {
    const peer = await echo.rawWebsocket();
    peer.socket.write(Buffer.concat([
      frame(PING, 'one'), frame(TEXT, '4', { fin: false }), frame(PING, Buffer.alloc(125, 65)), frame(0, '', { fin: false }),
      frame(PONG, 'unasked'), frame(0, '0'),
    ]));
    await until(() => frames(peer.bytes).some(({ payload }) => /^40\{/.test(payload)), 'the answer to 40');
    const [first, second] = frames(peer.bytes).filter(({ opcode }) => opcode === PONG);
    const [open, connect] = frames(peer.bytes).filter(({ opcode }) => opcode === TEXT);
    assert.equal(open.payload[0], 0x30);
    assert.deepEqual([first.first, first.payload.toString()], [0x8a, 'one']);
    assert.equal(second.payload.length, 125);
    assert.match(connect.payload.toString(), /^40\{/);
    peer.socket.destroy();
  });
  it('a character that fragments cut in two', async () => {
    const peer = await echo.rawWebsocket();
    const text = Buffer.from('42["message","ü€𝄞"]');
    peer.socket.write(frame(TEXT, '40'));
    for (let i = 0; i < text.length; i++)
      peer.socket.write(frame(i === 0 ? TEXT : 0, text.subarray(i, i + 1), { fin: i === text.length - 1 }));
    await peer.receives('message-back');
    assert.equal(frames(peer.bytes).at(-1).payload.toString(), '42["message-back","ü€𝄞"]');
    peer.socket.destroy();
  });
  it('frames in pieces, and frames of all lengths', async () => {
    for (const bytes of [100, 125, 126, 127, 65535, 65536, 65537, 999990]) {
      const link = await echo.connected();
      const text = `42["message","${'y'.repeat(bytes - 14)}"]`;
      link.send(text);
      assert.equal(await link.nextData(), text.replace('message', 'message-back'));
      link.socket.terminate();
    }
    const peer = await echo.rawWebsocket();
    for (const byte of Buffer.concat([frame(TEXT, '40'), frame(TEXT, '42["message",1]')])) {
      peer.socket.write(Buffer.from([byte]));
      if (Math.random() < 0.3) await sleep(1);
    }
    await peer.receives('42["message-back",1]');
    assert.equal(frames(peer.bytes).at(-1).payload.toString(), '42["message-back",1]');
    peer.socket.destroy();
  });
  it('a message in a million fragments needs only memory for its bytes', async () => {
    const before = (await echo.counters()).rss_bytes;
    const peer = await echo.rawWebsocket();
    const one = frame(0, 'z', { fin: false });
    peer.socket.write(frame(TEXT, '40'));
    await peer.receives('42["auth"');
    peer.socket.write(frame(BINARY, 'z', { fin: false }));
    for (let i = 0; i < 10; i++) {
      await new Promise((resolve) => peer.socket.write(Buffer.concat(Array(99000).fill(one)), resolve));
    }
    // The server has read all of it when it answers a ping.
    peer.socket.write(frame(PING, 'end'));
    await peer.receives('end');
    const { rss_bytes: now } = await echo.counters();
    assert.ok(!measuresMemory || now < before + 4 * 1024 * 1024, `${(now - before) >> 20} MiB`);
    assert.equal(peer.closed, false);
    peer.socket.destroy();
  });
});
