// A user on the public Socket.IO client, for tests of all signaling.

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './build.mjs';
import { HANG_MS } from './waiting.mjs';

const { io } = createRequire(join(root, 'tests/integration/socketio/'))('socket.io-client');
const parameters = Object.fromEntries(['audio', 'video'].map((kind) => [kind,
  JSON.parse(readFileSync(join(root, `tests/data/ortc/produce-av-${kind}.json`))).produceRtpParameters]));

export class Client {
  // Opens a new account (or uses `account`) and connects it.
  static async open(ringcast, name = 'someone', account) {
    const self = new Client();
    self.account = account ?? await ringcast.person(name);
    self.userId = self.account.user.id;
    self.heard = [];
    self.slowestMs = 0;
    self.socket = io(ringcast.url, {
      auth: { token: self.account.token }, transports: ['websocket'], reconnection: false, forceNew: true,
    });
    self.socket.onAny((event, value) => self.heard.push([event, value]));
    await new Promise((resolve, reject) => {
      self.socket.on('authenticated', resolve);
      self.socket.on('connect_error', reject);
    });
    return self;
  }

  // Sends an event and returns its acknowledgement, which may be an error.
  async ask(event, payload = {}) {
    const began = performance.now();
    const answer = await this.socket.timeout(HANG_MS).emitWithAck(event, payload);
    this.slowestMs = Math.max(this.slowestMs, performance.now() - began);
    return answer;
  }

  // The same, but an error is thrown.
  async call(event, payload) {
    const answer = await this.ask(event, payload);
    if (answer?.status === 'error') throw new Error(`${event}: ${answer.code}: ${answer.message}`);
    return answer;
  }

  async produce(roomId, kind) {
    this.transport ??= await this.call('media:createTransport', { roomId, direction: 'send' });
    return this.call('media:produce', { roomId, transportId: this.transport.id, kind,
      rtpParameters: parameters[kind] });
  }

  close() {
    this.socket.disconnect();
  }
}
