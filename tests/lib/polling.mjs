// A Socket.IO client over long polling. It keeps all received events, the acknowledgements, and why it ended.

import { HANG_MS } from './waiting.mjs';

export class Polling {
  // `headers` are sent with each request. Throws the reason of the server when it refuses the token.
  static async open(url, token, headers = {}) {
    const self = new Polling();
    Object.assign(self, { headers, heard: [], acks: new Map(), next: 0, closed: null, wakers: [] });
    self.url = `${url}/socket.io/?EIO=4&transport=polling`;
    const open = await self.#get();
    if (open[0] !== '0') throw new Error(`no handshake: ${open}`);
    self.url += `&sid=${JSON.parse(open.slice(1)).sid}`;
    await self.#post(`40${JSON.stringify({ token })}`);
    for (const packet of (await self.#get()).split('\x1e')) self.#take(packet);
    self.ended = self.#poll();
    await self.until(() => self.id || self.refusal || self.closed, 5000, 'connected');
    if (!self.id) throw new Error(self.refusal ?? self.closed);
    return self;
  }

  async #get() {
    const reply = await fetch(this.url, { headers: this.headers });
    const text = await reply.text();
    if (reply.status !== 200) throw Object.assign(new Error(`${reply.status} ${text}`), { status: reply.status });
    return text;
  }

  async #post(body) {
    const reply = await fetch(this.url, { method: 'POST', headers: { ...this.headers, 'content-type': 'text/plain' }, body });
    await reply.text();
    if (reply.status !== 200) throw new Error(`post: ${reply.status}`);
  }

  async #poll() {
    try {
      while (!this.closed) for (const packet of (await this.#get()).split('\x1e')) this.#take(packet);
    } catch (error) {
      this.closed ??= error.message;
    }
    this.#wake();
  }

  #take(packet) {
    if (packet === '2') this.#post('3').catch(() => {});
    else if (packet === '1' || packet === '41') this.closed = 'by the server';
    else if (packet.startsWith('40')) this.id = JSON.parse(packet.slice(2)).sid;
    else if (packet.startsWith('44')) this.refusal = JSON.parse(packet.slice(2)).message;
    else if (packet.startsWith('42')) {
      const [name, value] = JSON.parse(packet.slice(2));
      this.heard.push({ name, value, at: performance.now() });
    } else if (packet.startsWith('43')) {
      const [, id, json] = packet.match(/^43(\d+)(.*)$/s);
      this.acks.get(Number(id))?.(JSON.parse(json)[0]);
      this.acks.delete(Number(id));
    }
    this.#wake();
  }

  #wake() {
    for (const waker of this.wakers.splice(0)) waker();
    if (this.closed) for (const answer of this.acks.values()) answer({ status: 'error', code: 'closed' });
  }

  // Waits until `probe` is true. It is called after each packet. The limit only ends a test that would hang.
  async until(probe, ms, what) {
    const limit = Math.max(ms, HANG_MS), deadline = performance.now() + limit;
    for (;;) {
      const value = probe();
      if (value) return value;
      const left = deadline - performance.now();
      if (left <= 0) throw new Error(`${what}: not within ${limit} ms (${this.closed ?? 'open'})`);
      await new Promise((resolve) => { const timer = setTimeout(resolve, left); this.wakers.push(() => { clearTimeout(timer); resolve(); }); });
    }
  }

  // Sends an event and returns its acknowledgement. A refusal has status "error".
  call(event, payload) {
    const id = this.next++;
    return new Promise((resolve) => {
      this.acks.set(id, resolve);
      this.#post(`42${id}${JSON.stringify([event, payload])}`).catch((error) => resolve({ status: 'error', code: 'closed', message: error.message }));
    });
  }

  // The same, but an error is thrown.
  async must(event, payload) {
    const ack = await this.call(event, payload);
    if (ack?.status === 'error') throw new Error(`${event}: ${ack.code} ${ack.message}`);
    return ack;
  }

  async close() {
    if (!this.closed) await this.#post('1').catch(() => {});
    this.closed ??= 'by us';
    await this.ended;
  }
}
