// Sends malformed HTTP, Engine.IO, Socket.IO and WebSocket messages to a whole Ringcast. They are made from a
// seed. A message is either certainly wrong (`bad`: it must be refused), or mutated and perhaps still right.

import { connect } from 'node:net';
import { HANG_MS } from '../lib/waiting.mjs';

const IDLE_MS = 300; // without an answer we then end our side: no more bytes will come
const PARALLEL = 24;

// ---- a small seeded generator (mulberry32) ----
function generator(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  };
  const below = (n) => next() % n;
  return { next, below, pick: (list) => list[below(list.length)], bytes: (n) => Buffer.from(Array.from({ length: n }, () => below(256))) };
}

const ODD = ['', '\0', '\r', '\n', '\r\n', '\r\n\r\n', ' ', '\t', ':', '/', '?', '#', '%', '%00', '%zz', '..', '{', '}', '[', ']', '"', '\\',
  '\\u0000', '\\ud800', '-1', '0', '1e999', '99999999999999999999', 'null', 'true', '\x80', '\xff\xfe', '\u2028', '<script>', "' OR 1=1 --"];

function mutate(r, data) {
  let out = Buffer.from(data);
  for (let n = 1 + r.below(4); n > 0; n--) {
    const at = r.below(out.length + 1);
    switch (r.below(7)) {
      case 0: if (at < out.length) out[at] ^= 1 << r.below(8); break;
      case 1: if (at < out.length) out[at] = r.below(256); break;
      case 2: out = Buffer.concat([out.subarray(0, at), Buffer.from(r.pick(ODD), 'latin1'), out.subarray(at)]); break;
      case 3: out = Buffer.concat([out.subarray(0, at), out.subarray(Math.min(out.length, at + 1 + r.below(16)))]); break;
      case 4: out = out.subarray(0, at); break;
      case 5: out = Buffer.concat([out.subarray(0, at), out.subarray(Math.max(0, at - r.below(64)))]); break;
      default: out = Buffer.concat([out.subarray(0, at), r.bytes(1 + r.below(8)), out.subarray(at)]);
    }
  }
  return out;
}

// ---- HTTP ----

const http = (line, headers = [], body = '') => Buffer.concat([
  Buffer.from([line, 'Host: localhost', ...headers, '', ''].join('\r\n'), 'latin1'), Buffer.from(body)]);
const json = (line, body, headers = []) => http(line, ['Content-Type: application/json', `Content-Length: ${Buffer.byteLength(body)}`, ...headers], body);
const person = '{"email":"a@example.org","password":"correct horse","displayName":"A"}';
const UPGRADE = ['Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='];

const validRequests = (token) => [
  http('GET /health HTTP/1.1'),
  http('GET / HTTP/1.1', ['Accept: text/html', 'User-Agent: Mozilla/5.0']),
  json('POST /auth/login HTTP/1.1', person),
  json('POST /rooms HTTP/1.1', '{"title":"x","maxParticipants":5}', [`Authorization: Bearer ${token}`]),
  http('GET /auth/me HTTP/1.1', [`Authorization: Bearer ${token}`]),
  http('OPTIONS /rooms HTTP/1.1', ['Origin: http://x', 'Access-Control-Request-Method: POST']),
  http('GET /socket.io/?EIO=4&transport=polling HTTP/1.1', ['Accept: */*']),
  http('GET /socket.io/?EIO=4&transport=websocket HTTP/1.1', UPGRADE),
  http('POST /rooms HTTP/1.1', ['Content-Type: application/json', 'Transfer-Encoding: chunked', `Authorization: Bearer ${token}`],
    'b\r\n{"title":"x\r\n2\r\n"}\r\n0\r\n\r\n'),
];

// Certainly wrong: each must be answered with 4xx or 5xx, or the connection closed.
const badRequests = (r, token) => {
  const auth = `Authorization: Bearer ${token}`;
  const chunked = (body) => http('POST /rooms HTTP/1.1', ['Content-Type: application/json', 'Transfer-Encoding: chunked', auth], body);
  const body = (text) => json('POST /rooms HTTP/1.1', text, [auth]);
  const random = r.bytes(1 + r.below(200));
  random[0] |= 0x80; // not the beginning of a method
  return [
    random,
    Buffer.from('GET /health\r\n\r\n'),
    Buffer.from('GET /health HTTP/1.1\r\n\r\n'),
    http('GET /health HTTP/9.9'), http('GET /health http/1.1'), http('GET  /health HTTP/1.1'), http('G\0T /health HTTP/1.1'),
    http('GET health HTTP/1.1'), http('BREW /health HTTP/1.1'), http('GET /he\x01lth HTTP/1.1'),
    http(`GET /${'a'.repeat(70000)} HTTP/1.1`),
    http('GET /../../../etc/passwd HTTP/1.1'), http('GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1'), http('GET /rooms/%00 HTTP/1.1', [auth]),
    http('GET /health HTTP/1.1', ['Host: other']), http('GET /health HTTP/1.1', ['Bad Name: x']), http('GET /health HTTP/1.1', ['Name : x']),
    http('GET /health HTTP/1.1', [': x']), http('GET /health HTTP/1.1', ['A: b\0c']), http('GET /health HTTP/1.1', ['NoColon']),
    http('GET /health HTTP/1.1', ['A: b\r\n folded']), http('GET /health HTTP/1.1', [`A: ${'b'.repeat(200000)}`]),
    http('GET /health HTTP/1.1', Array.from({ length: 3000 }, (_, i) => `H${i}: x`)),
    json('POST /rooms HTTP/1.1', '{"title":"x"}', ['Content-Length: 5', auth]),
    http('POST /rooms HTTP/1.1', ['Content-Type: application/json', 'Content-Length: 13', 'Transfer-Encoding: chunked', auth], '{"title":"x"}'),
    ...['-1', '+5', '5 5', '0x5', '99999999999999999999', '1,2', 'x'].map((n) =>
      http('POST /rooms HTTP/1.1', ['Content-Type: application/json', `Content-Length: ${n}`, auth], '{"title":"x"}')),
    http('POST /rooms HTTP/1.1', ['Content-Type: application/json', 'Transfer-Encoding: gzip', auth], 'x'),
    chunked('zz\r\n'), chunked('ffffffffffffffffff\r\nx'), chunked('-1\r\nx'), chunked('5\r\nabcdeXX\r\n0\r\n\r\n'), chunked('1\nx\n0\n\n'),
    http('POST /rooms HTTP/1.1', ['Content-Type: application/json', 'Content-Length: 3000000', auth], 'x'.repeat(100)),
    http('POST /rooms HTTP/1.1', ['Content-Type: text/plain', 'Content-Length: 2', auth], '{}'),
    ...['', '{', '[]', 'null', '"x"', '{"title":}', '{"title":"x"', '{"title":"x"}}', '{"title":1}', '{"title":""}', '{"title":["x"]}',
      '{"title":"x","maxParticipants":1}', '{"title":"x","maxParticipants":1e999}', '{"title":"x","maxParticipants":"5"}',
      `{"title":"${'x'.repeat(256)}"}`, '['.repeat(2000), '{"a":'.repeat(2000), '\ufeff{"title":"x"}',
      `{${Array.from({ length: 600 }, (_, i) => `"k${i}":1`).join()}}`].map(body),
    body(Buffer.from([0x7b, 0x22, 0x74, 0x69, 0x74, 0x6c, 0x65, 0x22, 0x3a, 0x22, 0xff, 0xfe, 0x22, 0x7d])),
    http('GET /auth/me HTTP/1.1', ['Authorization: Bearer']), http('GET /auth/me HTTP/1.1', [`Authorization: Bearer ${token}x`]),
    http('GET /auth/me HTTP/1.1', [`Authorization: Bearer ${token.split('.').slice(0, 2).join('.')}.`]),
    http('GET /auth/me HTTP/1.1', [`Authorization: Basic ${'QTpC'.repeat(1000)}`]),
    ...['EIO=3&transport=polling', 'EIO=4', 'EIO=4&transport=smoke', 'EIO=4&transport=polling&sid=none', 'EIO=4&transport=websocket', '']
      .map((q) => http(`GET /socket.io/?${q} HTTP/1.1`)),
    http('PUT /socket.io/?EIO=4&transport=polling HTTP/1.1', ['Content-Length: 0']),
    http('POST /socket.io/?EIO=4&transport=polling HTTP/1.1', ['Content-Length: 2'], '40'),
    http('GET /socket.io/?EIO=4&transport=websocket HTTP/1.1', UPGRADE.slice(0, 3)),
    http('GET /socket.io/?EIO=4&transport=websocket HTTP/1.1', [...UPGRADE.slice(0, 2), 'Sec-WebSocket-Version: 8', UPGRADE[3]]),
    http('GET /socket.io/?EIO=4&transport=websocket HTTP/1.1', [...UPGRADE.slice(0, 3), 'Sec-WebSocket-Key: short']),
  ];
};

// Returns { status (null: closed without an answer), ms }. Throws when there is neither an answer nor a close.
export function exchange(port, bytes) {
  return new Promise((resolve, reject) => {
    const began = performance.now();
    const socket = connect(port, '127.0.0.1');
    let text = '', status = null;
    const done = () => {
      clearTimeout(idle);
      clearTimeout(deadline);
      socket.destroy();
      resolve({ status, ms: performance.now() - began });
    };
    const idle = setTimeout(() => socket.end(), IDLE_MS);
    const deadline = setTimeout(() => {
      socket.destroy();
      if (status !== null) done();
      else reject(new Error(`neither answer nor close within ${HANG_MS} ms: ${JSON.stringify(bytes.toString('latin1').slice(0, 200))}`));
    }, HANG_MS);
    socket.on('error', () => {}); // a reset counts as a close
    socket.on('close', done);
    socket.on('data', (data) => {
      text += data.toString('latin1');
      status ??= Number(text.match(/^HTTP\/1\.1 (\d{3}) /)?.[1] ?? NaN) || null;
      const end = text.indexOf('\r\n\r\n');
      if (status && end > 0 && (status === 101 || text.length >= end + 4 + Number(text.match(/content-length: *(\d+)/i)?.[1] ?? Infinity))) done();
    });
    socket.write(bytes);
  });
}

// ---- WebSocket ----

export function frame(payload, { opcode = 1, fin = true, rsv = 0, masked = true, length } = {}) {
  const data = Buffer.from(payload);
  const size = length ?? (data.length < 126 ? data.length : data.length < 65536 ? 126 : 127);
  const head = [(fin ? 0x80 : 0) | rsv << 4 | opcode, (masked ? 0x80 : 0) | size];
  const extended = Buffer.alloc(size === 126 ? 2 : size === 127 ? 8 : 0);
  if (size === 126) extended.writeUInt16BE(data.length);
  if (size === 127) extended.writeBigUInt64BE(BigInt(data.length));
  const mask = Buffer.from(masked ? [0x37, 0xfa, 0x21, 0x3d] : []);
  return Buffer.concat([Buffer.from(head), extended, mask, masked ? data.map((b, i) => b ^ mask[i & 3]) : data]);
}

// A Socket.IO session over WebSocket.
export class Session {
  static async open(port, token) {
    const self = new Session();
    self.socket = connect(port, '127.0.0.1');
    self.buffer = Buffer.alloc(0);
    self.queue = [];
    self.socket.on('error', () => {});
    self.socket.on('close', () => self.#push({ closed: true }));
    self.socket.on('data', (data) => { self.buffer = Buffer.concat([self.buffer, data]); self.#parse(); });
    self.socket.write(http('GET /socket.io/?EIO=4&transport=websocket HTTP/1.1', UPGRADE));
    await self.next((m) => m.upgraded);
    self.send(`40${JSON.stringify({ token })}`);
    await self.next((m) => m.text?.startsWith('40'));
    return self;
  }

  #push(message) {
    this.queue.push(message);
    this.wake?.();
  }

  #parse() {
    if (!this.upgraded) {
      const end = this.buffer.indexOf('\r\n\r\n');
      if (end < 0) return;
      this.upgraded = this.buffer.subarray(0, 12).toString() === 'HTTP/1.1 101';
      this.#push(this.upgraded ? { upgraded: true } : { closed: true });
      this.buffer = this.buffer.subarray(end + 4);
    }
    for (;;) {
      const b = this.buffer;
      if (b.length < 2) return;
      const size = b[1] & 127, head = size === 126 ? 4 : size === 127 ? 10 : 2;
      if (b.length < head) return;
      const length = size === 126 ? b.readUInt16BE(2) : size === 127 ? Number(b.readBigUInt64BE(2)) : size;
      if (b.length < head + length) return;
      const payload = b.subarray(head, head + length);
      this.buffer = b.subarray(head + length);
      const opcode = b[0] & 15;
      if (opcode === 8) this.#push({ closed: true, code: length >= 2 ? payload.readUInt16BE(0) : 1005 });
      else if (opcode === 1 && payload.toString() === '2') { this.send('3'); this.#push({ alive: true }); }
      else if (opcode === 1) this.#push({ text: payload.toString() });
    }
  }

  // The next message for which `wanted` is true, or the close. Null when there is none in time.
  async next(wanted, ms = HANG_MS) {
    const deadline = performance.now() + ms;
    for (;;) {
      while (this.queue.length) {
        const message = this.queue.shift();
        if (message.closed) this.closed = true;
        if (message.closed || wanted(message)) return message;
      }
      const left = deadline - performance.now();
      if (left <= 0) return null;
      await new Promise((resolve) => { const timer = setTimeout(resolve, left); this.wake = () => { clearTimeout(timer); resolve(); }; });
    }
  }

  send(text) { if (!this.socket.destroyed) this.socket.write(frame(text)); }

  async call(event, payload, id) {
    this.send(`42${id}${JSON.stringify([event, payload])}`);
    const message = await this.next((m) => m.text?.startsWith(`43${id}[`));
    return message?.text ? JSON.parse(message.text.slice(`43${id}`.length))[0] : message;
  }

  end() { this.socket.destroy(); }
}

// Frames, Engine.IO packets and Socket.IO packets that end a session.
const badFrames = (r) => [
  frame('42["x"]', { rsv: 1 + r.below(7) }), frame('42["x"]', { masked: false }), frame('x', { opcode: 3 + r.below(5) }),
  frame('', { opcode: 11 + r.below(5) }), frame('x', { opcode: 9, fin: false }), frame(Buffer.alloc(126), { opcode: 9 }),
  frame('x', { opcode: 0 }), Buffer.concat([frame('4', { fin: false }), frame('42["x"]')]),
  frame(Buffer.from([0x34, 0x32, 0x5b, 0xff, 0xfe, 0x5d])), frame(Buffer.from([0xc0, 0x80])), frame(Buffer.from([3]), { opcode: 8 }),
  frame(Buffer.from([0x03, 0xe7]), { opcode: 8 }), frame(Buffer.from([0x03, 0xed]), { opcode: 8 }),
  Buffer.concat([Buffer.from([0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), r.bytes(8)]),
  Buffer.concat([Buffer.from([0x81, 0xff, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]), r.bytes(8)]),
  frame(r.bytes(20), { opcode: 2 }),
  ...['9', 'x', '0{}', '47', '4', '42', '42[', '42[]', '42{}', '42["x"', '42[1]', '42["connect"]', '42["disconnect"]', '42["x"]]',
    '4299999999999999999999["x"]', '451-', '45-1["x"]', '4599999999999-["x"]', '451-["x",{"_placeholder":true,"num":5}]', '46["x"]',
    `42${'['.repeat(500)}`, `42["room:join",${'{"a":'.repeat(100)}1${'}'.repeat(100)}]`, '41x', '44{"message":"x"}', '42/admin,["x"]',
  ].map((text) => frame(text)),
];

// Events that are well-formed and that no handler may accept: [event, payload].
const badEvents = (r) => {
  const odd = r.pick([null, [], 'x', 5, true, {}, { roomId: 5 }, { roomId: '' }, { roomId: 'x'.repeat(5000) }, { roomId: null },
    { roomId: { $ne: 1 } }, { transportId: [] }, { producerId: 'none' }, { consumerId: "' OR 1=1 --" }, { roomId: '../../x' },
    { roomId: 'AAAA-BBBB-CCCC', direction: 'sideways' }, { title: 5 }, { title: '' }, { title: 'x'.repeat(256) }, { title: 'x', maxParticipants: -1 },
    { transportId: 'x', dtlsParameters: { role: 'x', fingerprints: 'x' } }, { roomId: 'x', transportId: 'x', kind: 'smell', rtpParameters: {} },
    { __proto__: { x: 1 } }, { constructor: 1 }]);
  return [r.pick(['room:create', 'room:join', 'room:leave', 'room:close', 'room:kick', 'room:muteAll', 'room:changeRole',
    'media:getRouterCapabilities', 'media:createTransport', 'media:connectTransport', 'media:restartIce', 'media:produce', 'media:consume',
    'media:resumeConsumer', 'media:closeProducer', 'media:setPreferredLayers', 'media:setPriority', 'media:getStats', 'media:closeTransport',
    'nothing:suchEvent', '', 'toString', '__proto__']), odd];
};

// ---- the attack ----

// Sends `count` messages. Returns { kinds, statuses, refused, closed, answered, ignored }. Throws at the first
// bad message that was neither refused nor closed.
export async function attack({ port, token, count, seed, progress }) {
  const valid = validRequests(token);
  const sum = { sent: 0, kinds: {}, statuses: {}, refused: 0, closed: 0, answered: 0, ignored: 0 };
  let left = count;
  const take = (kind) => {
    left--;
    sum.sent++;
    sum.kinds[kind] = (sum.kinds[kind] ?? 0) + 1;
    if (sum.sent % 1000 === 0) progress?.(sum);
  };

  async function request(bytes, bad) {
    take(bad ? 'bad request' : 'mutated request');
    const { status } = await exchange(port, bytes);
    sum.statuses[status] = (sum.statuses[status] ?? 0) + 1;
    if (status === null) sum.closed++;
    else if (status >= 400) sum.refused++;
    else sum.answered++;
    const shown = JSON.stringify(bytes.toString('latin1').slice(0, 300));
    if (bad && status !== null && status < 400) throw new Error(`answered with ${status}: ${shown}`);
    if (status === 500) throw new Error(`500: ${shown}`);
  }

  // Up to 20 messages on one session, until one closes it.
  async function session(r) {
    const s = await Session.open(port, token);
    if (s.closed) throw new Error('a valid session was refused');
    for (let i = 0; i < 20 && !s.closed && left > 0; i++) {
      const which = r.below(4);
      let message, id = 1000 + i;
      if (which === 0) {
        const bytes = r.pick(badFrames(r));
        take('bad frame or packet');
        s.socket.write(bytes);
        message = await s.next((m) => m.text && /^42\["error"|^44/.test(m.text));
        if (!message) throw new Error(`neither error nor close after ${JSON.stringify(bytes.toString('latin1').slice(0, 100))}`);
      } else if (which === 1) {
        const [event, payload] = badEvents(r);
        take('bad event');
        message = { text: JSON.stringify(await s.call(event, payload, id)) };
        if (!/"status":"error"/.test(message.text) && !s.closed) throw new Error(`${event} ${JSON.stringify(payload)} → ${message.text}`);
        if (!s.closed) sum.refused++;
        else sum.closed++;
        continue;
      } else if (which === 2) {
        const text = mutate(r, `42${id}${JSON.stringify(r.pick([['room:create', { title: 'x' }], ['room:join', { roomId: 'AAAA-BBBB-CCCC' }],
          ['media:getStats', { transportId: 'x' }], ['media:produce', { roomId: 'x', transportId: 'y', kind: 'audio', rtpParameters: { codecs: [] } }]]))}`);
        take('mutated packet');
        s.socket.write(frame(text));
        message = await s.next((m) => m.text, 1500);
      } else {
        take('mutated frame');
        s.socket.write(mutate(r, frame('421["media:getStats",{"transportId":"x"}]')));
        message = await s.next((m) => m.text, 1500);
        s.closed ||= !message; // the server may wait for the rest of a frame: no more on this session
      }
      if (message?.closed) sum.closed++;
      else if (message && /error/.test(message.text)) sum.refused++;
      else if (message) sum.answered++;
      else sum.ignored++;
    }
    s.end();
  }

  // The same packets over polling.
  async function polling(r) {
    const url = `http://127.0.0.1:${port}/socket.io/?EIO=4&transport=polling`;
    const { sid } = JSON.parse((await (await fetch(url)).text()).slice(1));
    await fetch(`${url}&sid=${sid}`, { method: 'POST', body: `40${JSON.stringify({ token })}` });
    for (let i = 0; i < 4 && left > 0; i++) {
      const body = r.below(2) ? mutate(r, `42${i}["room:join",{"roomId":"x"}]\x1e42["x"]`) : Buffer.from(r.pick(['', '\x1e', '9', '4\x1e', 'bAAA', 'b!!!', '42["x"]\x1e'.repeat(200), 'x'.repeat(5000), '5', '6', '3probe']));
      take('polling payload');
      const response = await fetch(`${url}&sid=${sid}`, { method: 'POST', body });
      sum.statuses[response.status] = (sum.statuses[response.status] ?? 0) + 1;
      if (response.status === 500) throw new Error(`500: ${body}`);
      await response.text();
      if (response.status !== 200) { sum.refused++; return; }
      sum.answered++;
    }
  }

  const workers = Array.from({ length: PARALLEL }, async (_, i) => {
    const r = generator(seed + i);
    while (left > 0) {
      const which = r.below(10);
      if (which < 3) await request(mutate(r, r.pick(valid)), false);
      else if (which < 6) await request(r.pick(badRequests(r, token)), true);
      else if (which < 9) await session(r);
      else await polling(r);
    }
  });
  await Promise.all(workers);
  return sum;
}
