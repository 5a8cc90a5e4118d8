// Starts the echo server for a test file. Sends HTTP and Engine.IO to it without a client library.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import WebSocket from 'ws';
import { binaries, sanitizerOptions, slower } from '../../lib/build.mjs';
import { HANG_MS, until, within } from '../../lib/waiting.mjs';

export { measuresMemory, slower } from '../../lib/build.mjs';
export { HANG_MS, sleep, until, within } from '../../lib/waiting.mjs';
const program = join(binaries, 'tests/integration/socketio/echo_server');

// So long that no test meets a ping, unless it wants to. Tests of pings set their own times.
export const PING_INTERVAL = 60000;
export const PING_TIMEOUT = 60000;

// Waits for the promise that a connection is closed, and fails when that takes longer than `ms`: then the server
// has not closed it at once, but at a time-out.
export async function closesSoon(closed, ms = 1000) {
  const began = performance.now(), code = await within(closed, 'close');
  const elapsed = performance.now() - began;
  assert.ok(elapsed < ms * slower, `closed after ${elapsed} ms`);
  return code;
}

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.on('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

export class Echo {
  static async start(environment = {}) {
    const self = new Echo();
    self.port = await freePort();
    self.url = `http://127.0.0.1:${self.port}`;
    self.errors = '';
    self.process = spawn(program, [], {
      env: {
        PORT: String(self.port),
        RINGCAST_PING_INTERVAL: String(PING_INTERVAL),
        RINGCAST_PING_TIMEOUT: String(PING_TIMEOUT),
        ...sanitizerOptions,
        ...environment,
      },
    });
    process.on('exit', () => self.process.kill('SIGKILL')); // when a test has failed, too
    self.process.stderr.on('data', (text) => { self.errors += text; });
    self.exited = new Promise((resolve) => self.process.on('exit', (code, signal) => resolve(signal ?? code)));
    await within(new Promise((resolve, reject) => {
      self.process.stdout.on('data', (text) => String(text).includes('listening') && resolve());
      self.exited.then((code) => reject(new Error(`echo server ended (${code}): ${self.errors}`)));
    }), 'start of the echo server');
    return self;
  }

  // Ends it as a service manager does. A leak or a report of a sanitizer makes it fail.
  async stop() {
    this.process.kill('SIGTERM');
    const code = await within(this.exited, 'end of the echo server');
    if (code !== 0) throw new Error(`echo server ended with ${code}: ${this.errors}`);
  }

  get(path, options = {}) {
    return fetch(this.url + path, options);
  }

  async counters() {
    return (await this.get('/counters')).json();
  }

  // A metric of the HTTP server.
  async metric(name) {
    const text = await (await this.get('/metrics')).text();
    return Number(text.match(new RegExp(`^ringcast_${name} (\\S+)$`, 'm'))?.[1]);
  }

  // Starts a request and waits until the server has it. Each look at /metrics is a request, too. Returns an
  // array, so that `await` does not wait for the reply.
  async begin(start) {
    const before = await this.metric('http_requests_total');
    const reply = start();
    for (let own = 1; await this.metric('http_requests_total') <= before + own; own++);
    return [reply];
  }

  // Sends bytes on a new connection and collects the answer until the server closes the connection.
  // headOnly: until the head of the answer is complete.
  raw(bytes, { end = false, headOnly = false } = {}) {
    return new Promise((resolve) => {
      const socket = connect(this.port, '127.0.0.1');
      let text = '';
      const done = (closed) => {
        clearTimeout(timer);
        socket.destroy();
        resolve({ text, closed, status: Number(text.slice(9, 12)) || 0 });
      };
      const timer = setTimeout(() => done(false), HANG_MS);
      socket.on('data', (data) => {
        text += data.toString('latin1');
        if (headOnly && text.includes('\r\n\r\n')) done(false);
      });
      socket.on('error', () => {});
      socket.on('close', () => done(true));
      socket.write(bytes);
      if (end) socket.end();
    });
  }

  engine(sid, extra = '') {
    return `/socket.io/?EIO=4&transport=polling${sid ? `&sid=${sid}` : ''}${extra}`;
  }

  async open() {
    const text = await (await this.get(this.engine())).text();
    return JSON.parse(text.slice(1)).sid;
  }

  async poll(sid) {
    const response = await this.get(this.engine(sid));
    return { status: response.status, text: await response.text() };
  }

  async post(sid, body) {
    const response = await this.get(this.engine(sid), { method: 'post', body, headers: { 'content-type': 'text/plain' } });
    return { status: response.status, text: await response.text() };
  }

  websocket(sid = '', options = {}) {
    const socket = new WebSocket(
      `ws://127.0.0.1:${this.port}/socket.io/?EIO=4&transport=websocket${sid ? `&sid=${sid}` : ''}`,
      options,
    );
    return new Link(socket);
  }

  // A WebSocket session that is connected to a namespace.
  async connected(name = '') {
    const link = this.websocket();
    await link.next();
    link.send(`40${name}`);
    await link.next();
    await link.next();
    return link;
  }

  // A WebSocket without a library: the test writes the frames.
  async rawWebsocket(sid = '') {
    const socket = connect(this.port, '127.0.0.1');
    const query = `EIO=4&transport=websocket${sid ? `&sid=${sid}` : ''}`;
    socket.write(
      `GET /socket.io/?${query} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n`
      + 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    );
    const state = { socket, bytes: Buffer.alloc(0), closed: false };
    state.ended = new Promise((resolve) => socket.on('close', () => { state.closed = true; resolve(); }));
    socket.on('error', () => {});
    await new Promise((resolve) => {
      socket.on('data', (data) => {
        state.bytes = Buffer.concat([state.bytes, data]);
        if (state.bytes.includes('\r\n\r\n')) resolve();
      });
      state.ended.then(resolve);
    });
    // Waits until the server has sent this text.
    state.receives = (text) => until(() => state.bytes.includes(text), `the server sends ${text}`);
    state.head = state.bytes.subarray(0, state.bytes.indexOf('\r\n\r\n') + 4).toString();
    state.bytes = state.bytes.subarray(state.head.length);
    return state;
  }
}

// A WebSocket that gives its messages one by one. answersPings: pings are answered and not given.
export class Link {
  constructor(socket) {
    this.socket = socket;
    this.messages = [];
    this.waiting = [];
    this.answersPings = false;
    socket.binaryType = 'nodebuffer';
    socket.on('message', (data, isBinary) => {
      const message = isBinary ? data : data.toString();
      if (this.answersPings && message === '2') {
        socket.send('3');
        return;
      }
      if (this.waiting.length > 0) this.waiting.shift()(message);
      else this.messages.push(message);
    });
    socket.on('error', () => {});
    this.opened = new Promise((resolve) => socket.on('open', resolve));
    this.closed = new Promise((resolve) => socket.on('close', (code) => resolve(code)));
  }

  next() {
    if (this.messages.length > 0) return Promise.resolve(this.messages.shift());
    return within(new Promise((resolve) => this.waiting.push(resolve)), 'a message');
  }

  // The next message that is not a ping.
  async nextData() {
    for (;;) {
      const message = await this.next();
      if (message !== '2') return message;
    }
  }

  send(data) {
    this.socket.send(data);
  }
}

// The bytes of a client's frame.
export function frame(opcode, payload = '', { fin = true, masked = true, rsv = 0, length } = {}) {
  const body = Buffer.from(payload);
  const announced = length ?? body.length;
  const head = [(fin ? 0x80 : 0) | (rsv << 4) | opcode];
  if (announced < 126) head.push((masked ? 0x80 : 0) | announced);
  else if (announced < 65536) head.push((masked ? 0x80 : 0) | 126, announced >> 8, announced & 255);
  else {
    head.push((masked ? 0x80 : 0) | 127);
    for (let shift = 56n; shift >= 0n; shift -= 8n) head.push(Number((BigInt(announced) >> shift) & 255n));
  }
  const mask = [1, 2, 3, 4];
  if (masked) head.push(...mask);
  return Buffer.concat([Buffer.from(head), masked ? body.map((byte, i) => byte ^ mask[i % 4]) : body]);
}
