// A session of two people that uses every part of the control plane: REST, the page, both transports of
// Engine.IO, rooms, media, metrics. It goes on as far as it can when the server cannot answer. Each step ends as
// 'ok', with a refusal that says "unavailable", or with a closed connection; everything else is a fault.

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { root } from '../../lib/build.mjs';

// Without an answer for this long the server hangs. Steps take milliseconds.
const HANG_MS = Number(process.env.RINGCAST_HANG_MS ?? 30000);

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`hangs: ${what}`)), HANG_MS); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const GONE = {}; // instead of an acknowledgement: the connection is closed
const WebSocket = createRequire(join(root, 'tests/integration/socketio/'))('ws');
const recorded = (name) => JSON.parse(readFileSync(join(root, `tests/data/ortc/${name}.json`)));
const audio = recorded('produce-av-audio'), video = recorded('produce-av-video');

// Does the answer have everything that the expected one has? Values may differ. `exactly`: arrays have as many
// items; otherwise each item is like one of the expected ones.
function isComplete(answer, expected, exactly) {
  if (Array.isArray(expected)) {
    return Array.isArray(answer) && (!exactly || answer.length === expected.length) &&
      answer.every((item, i) => (exactly ? isComplete(item, expected[i], true) : expected.length === 0 || expected.some((other) => isComplete(item, other, false))));
  }
  if (expected === null || typeof expected !== 'object') return typeof answer === typeof expected && (answer === null) === (expected === null);
  return answer !== null && typeof answer === 'object' &&
    JSON.stringify(Object.keys(answer).sort()) === JSON.stringify(Object.keys(expected).sort()) &&
    Object.keys(expected).every((key) => isComplete(answer[key], expected[key], exactly));
}

// { status, body, headers }, or { closed: true }.
export function http(port, method, path, { body, token, headers = {}, type = 'application/json' } = {}) {
  const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
  return within(new Promise((resolve) => {
    const request = httpRequest({ port, host: '127.0.0.1', method, path, agent: false, headers: {
      ...(text === undefined ? {} : { 'content-type': type, 'content-length': Buffer.byteLength(text) }),
      ...(token ? { authorization: `Bearer ${token}` } : {}), ...headers } }, (response) => {
      let answer = '';
      response.on('data', (data) => { answer += data; });
      response.on('error', () => resolve({ closed: true }));
      response.on('aborted', () => resolve({ closed: true }));
      response.on('end', () => {
        let json = answer;
        if (/json/.test(response.headers['content-type'] ?? '')) try { json = JSON.parse(answer); } catch { json = { torn: answer }; }
        resolve({ status: response.statusCode, body: json, headers: response.headers });
      });
    });
    request.on('error', () => resolve({ closed: true }));
    request.end(text);
  }), `an answer to ${method} ${path}`);
}

// A Socket.IO client over a WebSocket.
export class Peer {
  // Resolves to a peer whose `closed` is set when the server did not take it.
  static async open(port, token, sid) {
    const self = new Peer();
    Object.assign(self, { heard: [], acks: new Map(), next: 0, closed: null, wakers: [], probed: false, refusal: null });
    self.socket = new WebSocket(`ws://127.0.0.1:${port}/socket.io/?EIO=4&transport=websocket${sid ? `&sid=${sid}` : ''}`);
    self.socket.on('message', (data) => self.#take(String(data)));
    self.socket.on('error', (error) => { self.why = error.message; });
    self.socket.on('unexpected-response', (request, response) => { self.why = response.statusCode; request.destroy(); self.#end('refused'); });
    self.socket.on('close', () => self.#end('close'));
    self.socket.on('open', () => self.send(sid ? '2probe' : `40${JSON.stringify({ token })}`));
    if (sid) {
      await self.until(() => self.probed, 'the probe is answered');
      if (!self.closed) self.send('5');
    } else {
      await self.until(() => self.heard.some(([name]) => name === 'authenticated') || self.refusal, 'the socket is authenticated');
    }
    return self;
  }

  send(text) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(text);
  }

  #take(packet) {
    if (packet === '2') this.send('3');
    else if (packet === '3probe') this.probed = true;
    else if (packet.startsWith('44')) this.refusal = JSON.parse(packet.slice(2)).message;
    else if (packet.startsWith('42')) this.heard.push(JSON.parse(packet.slice(2)));
    else if (packet.startsWith('43')) {
      const [, id, json] = packet.match(/^43(\d+)(.*)$/s);
      this.acks.set(Number(id), JSON.parse(json)[0]);
    }
    this.#wake();
  }

  #end(why) {
    this.closed ??= why;
    this.#wake();
  }

  #wake() {
    for (const waker of this.wakers.splice(0)) waker();
  }

  // Waits for `probe`, or until the connection is closed. Rejects when neither happens.
  async until(probe, what) {
    await within((async () => {
      while (!probe() && !this.closed) await new Promise((resolve) => this.wakers.push(resolve));
    })(), what);
    return probe();
  }

  // The acknowledgement, or GONE.
  async ask(event, payload) {
    const id = this.next++;
    this.send(`42${id}${JSON.stringify([event, payload])}`);
    return (await this.until(() => this.acks.has(id), `an acknowledgement of ${event}`)) ? this.acks.get(id) : GONE;
  }

  async end() {
    if (!this.closed) this.send('41');
    if (!this.closed) this.socket.close();
    await this.until(() => false, 'the connection is closed');
  }
}

const UNAVAILABLE = 'unavailable';

// One run of the session. steps: name → { result, answer }. faults: sentences. isWhole: until now every step has
// succeeded.
export class Session {
  constructor(port, account, guest, reference) {
    Object.assign(this, { port, account, guest, reference, steps: {}, faults: [], isWhole: true });
  }

  fault(text) {
    this.faults.push(text);
  }

  note(name, result, answer) {
    this.steps[name] = { result, answer };
    this.isWhole &&= result === 'ok';
    if (result !== 'ok' || !this.reference) return;
    const expected = this.reference.steps[name]?.answer;
    if (!isComplete(answer, expected, this.isWhole))
      this.fault(`${name}: the answer is not complete\n  ${JSON.stringify(answer)}\n  instead of ${JSON.stringify(expected)}`);
  }

  // Returns the body when the request succeeded.
  async rest(name, method, path, options, status = 200) {
    const answer = await http(this.port, method, path, options);
    if (answer.closed) this.note(name, 'closed');
    else if (answer.status === status) this.note(name, 'ok', answer.body);
    else {
      this.note(name, UNAVAILABLE);
      if (name === 'health' && answer.body.status === 'degraded') return null;
      if (answer.status !== 503) this.fault(`${name}: status ${answer.status} ${JSON.stringify(answer.body)}`);
      else if (answer.body.statusCode !== 503) this.fault(`${name}: 503 without its body: ${JSON.stringify(answer.body)}`);
    }
    return answer.status === status ? answer.body : null;
  }

  async connect(name, who) {
    const peer = await Peer.open(this.port, who.token);
    if (peer.refusal && !/unavailable/i.test(peer.refusal)) this.fault(`${name}: refused: ${peer.refusal}`);
    if (peer.refusal) await peer.end();
    this.note(name, peer.refusal ? UNAVAILABLE : peer.closed ? 'closed' : 'ok', {});
    return peer;
  }

  // Returns the acknowledgement when the event succeeded. `code`: it is refused with this one.
  async event(name, peer, event, payload, code) {
    this.isWhole &&= Boolean(peer) && !peer.closed;
    if (!peer || peer.closed) return null;
    const answer = await peer.ask(event, payload);
    const refused = answer?.status === 'error';
    if (answer === GONE) this.note(name, 'closed');
    else if (refused ? answer.code === code : !code) this.note(name, 'ok', answer);
    else {
      this.note(name, UNAVAILABLE);
      if (!refused || answer.code !== UNAVAILABLE) this.fault(`${name}: ${JSON.stringify(answer)}`);
      if (refused && !answer.message) this.fault(`${name}: a refusal without its message`);
    }
    return answer === GONE || refused ? null : answer;
  }

  // Whoever is connected hears the event: no fault may hide one.
  async hears(name, peer, event) {
    this.isWhole &&= Boolean(peer) && !peer.closed;
    if (!peer || peer.closed) return;
    const begun = peer.heardUntil ?? 0;
    const find = () => peer.heard.findIndex(([heard], i) => i >= begun && heard === event);
    await peer.until(() => find() >= 0, `${name} hears ${event}`);
    this.isWhole &&= find() >= 0;
    if (find() < 0) return;
    peer.heardUntil = find() + 1;
    this.note(`${name} hears ${event}`, 'ok', peer.heard[peer.heardUntil - 1][1]);
  }

  async strangers() {
    const email = `new-${Math.random().toString(36).slice(2)}@example.org`;
    await this.rest('register', 'POST', '/auth/register', { body: { email, password: 'correct horse', displayName: 'New' } }, 201);
    await this.rest('login', 'POST', '/auth/login', { body: { email: this.account.email, password: 'correct horse' } });
    await this.rest('me', 'GET', '/auth/me', { token: this.account.token });
    await this.rest('page', 'GET', '/', {});
    await this.rest('preflight', 'OPTIONS', '/auth/login', { headers: { origin: 'https://example.org', 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' } }, 204);
    const room = await this.rest('rest room', 'POST', '/rooms', { token: this.account.token, body: { title: 'rest' } }, 201);
    if (room) await this.rest('find room', 'GET', `/rooms/${room.roomId}`, { token: this.account.token, headers: { origin: 'https://example.org' } });
    const metrics = await http(this.port, 'GET', '/metrics');
    this.note('metrics', metrics.closed ? 'closed' : metrics.status === 200 ? 'ok' : UNAVAILABLE, {});
    if (metrics.status === 200 && !/socketio_sockets_open \d+\n/.test(metrics.body)) this.fault('metrics: the text is torn');
    if (![200, 503, undefined].includes(metrics.status)) this.fault(`metrics: status ${metrics.status}`);
    await this.rest('health', 'GET', '/health', {});
  }

  // A session that begins with polling and changes to a WebSocket.
  async upgrade() {
    const path = '/socket.io/?EIO=4&transport=polling';
    const open = await http(this.port, 'GET', path);
    if (open.status !== 200) return this.note('open polling', open.closed ? 'closed' : UNAVAILABLE);
    if (open.body[0] !== '0') return this.note('open polling', 'closed');
    this.note('open polling', 'ok', {});
    const { sid } = JSON.parse(open.body.slice(1));
    this.leave = () => http(this.port, 'POST', `${path}&sid=${sid}`, { body: '1', type: 'text/plain' });
    const post = { body: `40${JSON.stringify({ token: this.guest.token })}`, type: 'text/plain' };
    const posted = await http(this.port, 'POST', `${path}&sid=${sid}`, post);
    const polled = posted.status === 200 && await http(this.port, 'GET', `${path}&sid=${sid}`);
    this.note('connect over polling', polled?.status === 200 ? 'ok' : 'closed', {});
    if (polled?.status !== 200) return undefined;
    const peer = await Peer.open(this.port, '', sid);
    this.note('upgrade', peer.closed ? 'closed' : 'ok', {});
    await this.event('event after the upgrade', peer, 'room:leave', { roomId: 'none' }, 'room_not_found');
    return peer.end();
  }

  async media(roomId, host, guest) {
    const send = await this.event('send transport', host, 'media:createTransport', { roomId, direction: 'send' });
    const receive = await this.event('receive transport', guest, 'media:createTransport', { roomId, direction: 'recv' });
    const fingerprints = [{ algorithm: 'sha-256', value: Array(32).fill('AB').join(':') }];
    const dtls = { role: 'client', fingerprints };
    if (send) await this.event('connect send', host, 'media:connectTransport', { transportId: send.id, dtlsParameters: dtls });
    if (receive) await this.event('connect receive', guest, 'media:connectTransport', { transportId: receive.id, dtlsParameters: dtls });
    if (send) await this.event('restart ICE', host, 'media:restartIce', { transportId: send.id });
    for (const [kind, { produceRtpParameters }] of Object.entries({ audio, video })) {
      const producer = send && await this.event(`produce ${kind}`, host, 'media:produce',
        { roomId, transportId: send.id, kind, rtpParameters: produceRtpParameters, appData: { kind, list: [1, 2] } });
      if (!producer) continue;
      await this.hears(`guest of ${kind}`, guest, 'media:newProducer');
      const consumer = receive && await this.event(`consume ${kind}`, guest, 'media:consume', { roomId, transportId: receive.id,
        producerId: producer.producerId, rtpCapabilities: this.capabilities });
      if (consumer) {
        await this.event(`resume consumer ${kind}`, guest, 'media:resumeConsumer', { consumerId: consumer.id });
        await this.event(`layers ${kind}`, guest, 'media:setPreferredLayers', { consumerId: consumer.id, spatialLayer: 0 });
        await this.event(`priority ${kind}`, guest, 'media:setPriority', { consumerId: consumer.id, priority: 2 });
        await this.event(`statistics ${kind}`, guest, 'media:getStats', { consumerId: consumer.id });
      }
      await this.event(`pause ${kind}`, host, 'media:pauseProducer', { producerId: producer.producerId }) &&
        await this.hears(`guest of paused ${kind}`, guest, 'media:producerPaused');
      await this.event(`statistics of producer ${kind}`, host, 'media:getStats', { producerId: producer.producerId });
      if (kind === 'video') await this.event('close producer', host, 'media:closeProducer', { producerId: producer.producerId }) &&
        await this.hears('guest of closed producer', guest, 'media:producerClosed');
    }
    if (receive) await this.event('statistics of transport', guest, 'media:getStats', { transportId: receive.id });
  }

  async room() {
    let host = await this.connect('host', this.account), guest = await this.connect('guest', this.guest);
    const room = await this.event('create', host, 'room:create', { title: 'session' });
    if (!room) return Promise.all([host.end(), guest.end()]);
    const { roomId } = room;
    const joined = await this.event('host joins', host, 'room:join', { roomId });
    if (joined) this.capabilities ??= joined.rtpCapabilities;
    if (joined && await this.event('guest joins', guest, 'room:join', { roomId: room.roomCode, audioLevels: true })) {
      await this.hears('host of guest', host, 'room:userJoined');
      await this.event('capabilities', guest, 'media:getRouterCapabilities', { roomId });
      await this.media(roomId, host, guest);
      await this.event('role', host, 'room:changeRole', { roomId, targetUserId: this.guest.id, newRole: 'co_host' }) &&
        await this.hears('guest of role', guest, 'room:roleChanged');
      await this.event('mute all', host, 'room:muteAll', { roomId });
      const again = await this.connect('guest again', this.guest);
      if (await this.event('guest resumes', again, 'room:join', { roomId, resume: true })) {
        await guest.end();
        guest = again;
      } else await again.end();
      await this.event('kick', host, 'room:kick', { roomId, targetUserId: this.guest.id }) &&
        await this.hears('host of kicked guest', host, 'room:userLeft');
    }
    await this.event('unknown event', host, 'no:such', {}, 'unknown_event');
    if (joined) await this.event('close room', host, 'room:close', { roomId });
    return Promise.all([host.end(), guest.end()]);
  }

  // Ends the polling session if it did not get so far as to end itself.
  async leave() {}

  async run() {
    for (const part of ['strangers', 'upgrade', 'room'])
      try {
        await this[part]();
      } catch (error) {
        this.fault(`${part}: ${error.message}`);
      }
    return this;
  }
}
