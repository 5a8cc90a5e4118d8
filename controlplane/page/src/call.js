// The logic of a call, without user interface: events through socket.io-client, media through mediasoup-client.
//
// Emits (CustomEvent with detail): participants, track {userId, source, track|null, paused},
// state 'connected'|'lost'|'restarting'|'waiting', ended {message, isOver, signedOut}, mutedByHost,
// roleChanged, speaker {userId}, transport {direction, state}, expiring {expiresAt}, problem {message},
// consumer {id} (a new one: now is the time to say what shall be seen of it, with `viewing`).

import { Device, parseScalabilityMode } from 'mediasoup-client';
import { io } from 'socket.io-client';
import { videoOptions } from './encodings.js';
import { sizesOf } from './layers.js';
import { refusedEvent } from './texts.js';
import { Viewing } from './viewing.js';

const ackTimeoutMs = 10000;
const iceRestartDelayMs = 3000; // ICE restarts after the connection was lost for this long
const reconnectDelayMs = 1000; // when the server closed only this socket
const retryFirstMs = 1000, retryLastMs = 8000; // pauses between two tries of a request
const consumersAtOnce = 8;

const signedOut = 'Your sign-in is no longer valid. Please sign in again.';
const unreachable = 'The server cannot be reached. Check your network and try again.';

const mayPass = new Set(['timeout', 'disconnected', 'unavailable']); // codes

// What others call it, if they call it anything.
const sourceOf = (kind, appData) => appData?.source ?? (kind === 'audio' ? 'microphone' : 'camera');

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class CallError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

export class Call extends EventTarget {
  #seated = false; // joined, and the transports exist
  #waits = 0; // requests that wait because the server refused them for now
  #refused = 0; // those among them that others let go first
  #rejoins = 0; // the number of the newest attempt; older ones stop
  #unsent = new Map(); // source → { track, paused }: what must be sent again after a new join
  #wanted = new Map(); // producer id → producer that waits to be consumed
  #consuming = new Map(); // producer id → producer
  #refusedProducers = new Map(); // producer id → { producer, message }: why it cannot be consumed
  #paused = new Map(); // producer id → whether it is paused
  #closed = new Set(); // ids of producers that have closed
  #startsPaused = new Set(); // sources

  // videoCodec: what cameras are sent with if the browser can: 'vp8' (the default), 'h264', 'vp9' or 'av1'.
  constructor(token, { videoCodec } = {}) {
    super();
    this.token = token;
    this.videoCodec = videoCodec;
    this.participants = [];
    // consumer id → { consumer, userId, source, sizes, temporalLayers, layers }; layers: what the server sends:
    // { spatialLayer, temporalLayer }, null for nothing, undefined if it has not said it
    this.consumers = new Map();
    this.producers = new Map(); // source → producer
    this.scores = new Map(); // id of a producer or consumer → what the server says about its network
    this.viewing = new Viewing((event, payload) => this.request(event, payload));
    this.ended = false;
    this.draining = false;
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #emitState() {
    if (this.draining) this.#emit('state', 'restarting');
    else if (this.socket.connected && this.#waits > 0) this.#emit('state', 'waiting');
    else this.#emit('state', this.socket.connected && this.#seated ? 'connected' : 'lost');
  }

  // The server refused a request for now. The banner says so meanwhile.
  async #wait(ms) {
    this.#waits++;
    this.#emitState();
    await sleep(ms);
    this.#waits--;
    if (!this.ended) this.#emitState();
  }

  // Resolves when the server has accepted the token.
  connect() {
    const path = new URL('socket.io/', document.baseURI).pathname; // the page may lie below a path
    this.socket = io({ path, auth: (done) => done({ token: this.token }), transports: ['polling', 'websocket'] });
    this.#listen();
    return new Promise((resolve, reject) => {
      const failed = (error) => {
        this.socket.close();
        reject(error.message === 'Authentication failed'
          ? new CallError('signed_out', signedOut) : new CallError('connect', unreachable));
      };
      this.socket.once('connect_error', failed);
      this.socket.once('authenticated', () => {
        this.socket.off('connect_error', failed);
        resolve();
      });
    });
  }

  async request(event, payload) {
    let answer;
    if (this.ended) throw new CallError('ended', 'The call has ended.');
    // Without this check socket.io-client would keep the event and send it before the call is joined again.
    if (!this.socket.connected) throw new CallError('disconnected', 'The connection to the server is lost. Try again when it is back.');
    try {
      answer = await this.socket.timeout(ackTimeoutMs).emitWithAck(event, payload);
    } catch {
      throw new CallError('timeout', 'The server did not answer in time. Try again.');
    }
    if (answer?.status === 'error') throw new CallError(answer.code, refusedEvent(answer.code, answer.message));
    return answer;
  }

  // Asks again while the server's answer is that this was too much at once. The limit ends by itself.
  // What we receive (isLater) lets everything else go first, so that others soon hear and see us.
  async #insist(ask, isLater = false) {
    let isRefused = false;
    try {
      for (let waitMs = retryFirstMs; ; waitMs = Math.min(2 * waitMs, retryLastMs)) {
        while (isLater && this.#refused > 0 && !this.ended) await this.#wait(retryFirstMs);
        try {
          return await ask();
        } catch (error) {
          if (this.ended || error.code !== 'rate_limited') throw error;
        }
        if (!isRefused && !isLater) this.#refused++;
        isRefused = true;
        await this.#wait(waitMs);
      }
    } finally {
      if (isRefused && !isLater) this.#refused--;
    }
  }

  // A fresh token of the same account, before the old one ends.
  async refresh(token) {
    this.token = token;
    await this.request('auth:refresh', { token });
  }

  create(title) {
    return this.request('room:create', { title });
  }

  // Joins, creates the transports, and begins to consume the producers of the others.
  async join(roomId) {
    const answer = await this.#insist(() => this.request('room:join', { roomId }));
    this.roomId = answer.roomId;
    this.roomCode = answer.roomCode;
    await this.#enter(answer);
    return answer;
  }

  async #enter(answer) {
    this.role = answer.role;
    this.#setParticipants(answer.participants);
    this.device = await Device.factory();
    await this.device.load({ routerRtpCapabilities: answer.rtpCapabilities });
    this.sendTransport = await this.#createTransport(answer, 'send');
    this.recvTransport = await this.#createTransport(answer, 'recv');
    this.#takenSeat(answer.existingProducers);
  }

  #takenSeat(existingProducers) {
    this.#seated = true;
    this.#emitState();
    this.viewing.connected();
    for (const producer of existingProducers) this.#consume(producer);
    this.#consumeMore(); // those that came before the transports
  }

  async #createTransport({ roomId, iceServers }, direction) {
    const options = await this.#insist(() => this.request('media:createTransport', { roomId, direction }));
    const transport = direction === 'send'
      ? this.device.createSendTransport({ ...options, iceServers: options.iceServers ?? iceServers })
      : this.device.createRecvTransport({ ...options, iceServers: options.iceServers ?? iceServers });

    transport.on('connect', ({ dtlsParameters }, done, failed) => {
      this.#insist(() => this.request('media:connectTransport', { transportId: transport.id, dtlsParameters }))
        .then(done, failed);
    });
    transport.on('produce', ({ kind, rtpParameters, appData }, done, failed) => {
      const paused = this.#startsPaused.delete(appData.source);
      this.#insist(() => this.request('media:produce', {
        roomId, transportId: transport.id, kind, rtpParameters, appData, paused,
      })).then(({ id }) => done({ id }), failed);
    });
    transport.on('connectionstatechange', (state) => {
      this.#emit('transport', { direction, state });
      if (state === 'failed') this.#restartIce(transport);
      else if (state === 'disconnected')
        setTimeout(() => {
          if (transport.connectionState === 'disconnected') this.#restartIce(transport);
        }, iceRestartDelayMs);
    });
    return transport;
  }

  // The network changed: the transport stays, and finds a new path.
  async #restartIce(transport) {
    try {
      const { iceParameters } = await this.request('media:restartIce', { transportId: transport.id });
      await transport.restartIce({ iceParameters });
    } catch (error) {
      if (!transport.closed) this.#report(error);
    }
  }

  // While the connection is lost, there is nothing to report: #rejoin() puts everything right.
  #report(error) {
    if (!this.ended && this.socket.connected) this.#emit('problem', error);
  }

  /* ---- what we send ---- */

  // source: 'microphone', 'camera' or 'screen'.
  async produce(source, track, paused = false) {
    const { sizes, ...options } = track.kind === 'audio' ? { codecOptions: { opusDtx: true, opusNack: true } }
      : { codecOptions: { videoGoogleStartBitrate: 1000 },
        ...await videoOptions(this.device, track, { isScreen: source === 'screen', wanted: this.videoCodec }) };
    track.enabled = !paused; // mediasoup-client creates a paused producer for a track that is off
    if (paused) this.#startsPaused.add(source);
    const producer = await this.sendTransport.produce({
      ...options,
      track,
      stopTracks: false,
      disableTrackOnPause: true,
      zeroRtpOnPause: true,
      appData: { source, sizes },
    });
    if (paused) producer.pause(); // sends nothing at all
    this.producers.set(source, producer);
    return producer;
  }

  async stopProducing(source) {
    const producer = this.producers.get(source);
    this.#unsent.delete(source);
    if (!producer) return;
    this.producers.delete(source);
    producer.close();
    if (!this.socket.connected) return; // #resumed() tells it
    await this.#insist(() => this.request('media:closeProducer', { roomId: this.roomId, producerId: producer.id }));
  }

  // Takes effect here at once. The server learns it as soon as it can.
  async setPaused(source, paused) {
    const producer = this.producers.get(source);
    if (this.#unsent.has(source)) this.#unsent.get(source).paused = paused;
    if (!producer) return;
    if (paused) producer.pause();
    else producer.resume();
    await this.#tellPaused(producer);
  }

  async #tellPaused(producer) {
    try {
      await this.#insist(() => this.request( // a later change may have come while we waited
        producer.paused ? 'media:pauseProducer' : 'media:resumeProducer', { producerId: producer.id }));
    } catch (error) {
      if (!this.socket.connected || producer.closed) return; // #resumed() tells it
      producer.pause(); // others do not hear it, so it must not look as if they did
      throw error;
    }
  }

  /* ---- what we receive ---- */

  // Producers wait in a queue, also until the transport exists. Those with sound come first.
  #consume(producer) {
    const { producerId } = producer;
    const held = [...this.consumers.values()].some(({ consumer }) => consumer.producerId === producerId);
    if (!held && !this.#consuming.has(producerId) && !this.#closed.has(producerId)) this.#wanted.set(producerId, producer);
    this.#consumeMore();
  }

  #consumeMore() {
    while (this.#seated && this.#consuming.size < consumersAtOnce && this.#wanted.size > 0) this.#consumeWanted();
  }

  async #consumeWanted() {
    const all = [...this.#wanted.values()];
    const next = all.find(({ kind }) => kind === 'audio') ?? all[0];
    this.#wanted.delete(next.producerId);
    this.#consuming.set(next.producerId, next);
    this.#refusedProducers.delete(next.producerId);
    const transport = this.recvTransport;
    let error = null;
    await this.#consumeNow(next, transport).catch((thrown) => { error = thrown; });
    this.#consuming.delete(next.producerId);
    if (error && transport !== this.recvTransport) this.#consume(next); // the call was joined anew meanwhile
    else if (error && error.code !== 'producer_not_found') {
      this.#refusedProducers.set(next.producerId, { producer: next, message: error.message });
      this.#report(error);
    }
    if (this.#seated && !this.ended && this.#wanted.size > 0) this.#consumeWanted();
  }

  async #consumeNow({ producerId, userId, appData }, transport) {
    const options = await this.#insist(() => this.request('media:consume', {
      roomId: this.roomId,
      transportId: transport.id,
      producerId,
      rtpCapabilities: this.device.recvRtpCapabilities ?? this.device.rtpCapabilities,
    }), true);
    this.#paused.set(producerId, options.producerPaused);
    const consumer = await transport.consume({
      id: options.consumerId,
      producerId,
      kind: options.kind,
      rtpParameters: options.rtpParameters,
      streamId: userId,
    });
    const source = sourceOf(options.kind, appData);
    const { spatialLayers, temporalLayers } = parseScalabilityMode(consumer.rtpParameters.encodings[0].scalabilityMode);
    this.consumers.set(consumer.id, { consumer, userId, source, temporalLayers, sizes: sizesOf(appData?.sizes, spatialLayers) });
    if (options.score) this.scores.set(consumer.id, options.score);
    if (options.kind === 'video') this.viewing.add(consumer.id, spatialLayers, temporalLayers);
    this.#emit('consumer', { id: consumer.id });
    if (this.#closed.has(producerId)) this.#dropConsumer(consumer.id);
    else await this.#startConsumer(consumer.id);
  }

  async #startConsumer(consumerId) {
    if (this.viewing.begin(consumerId)) await this.#resumeConsumer(consumerId);
    const { consumer, userId, source } = this.consumers.get(consumerId) ?? {}; // it may have closed meanwhile
    if (consumer) this.#emit('track', { userId, source, track: consumer.track, paused: this.isPaused(consumer) });
  }

  #resumeConsumer(consumerId) {
    return this.#insist(() => this.request('media:resumeConsumer', { consumerId }), true);
  }

  // What others send and we do not receive yet: [{ userId, source, problem }]; problem: why we never will.
  get awaited() {
    const waiting = [...this.#wanted.values(), ...this.#consuming.values()].map((producer) => ({ producer }));
    return [...waiting, ...this.#refusedProducers.values()].map(({ producer: { userId, kind, appData }, message }) =>
      ({ userId, source: sourceOf(kind, appData), problem: message }));
  }

  // Whether its sender has paused it.
  isPaused({ producerId }) {
    return Boolean(this.#paused.get(producerId));
  }

  #dropConsumer(consumerId) {
    const entry = this.consumers.get(consumerId);
    if (!entry) return;
    this.consumers.delete(consumerId);
    this.scores.delete(consumerId);
    this.viewing.drop(consumerId);
    entry.consumer.close();
    this.#emit('track', { userId: entry.userId, source: entry.source, track: null });
  }

  #producerClosed(producerId) {
    this.#closed.add(producerId);
    this.#wanted.delete(producerId);
    this.#refusedProducers.delete(producerId);
    for (const [id, { consumer }] of this.consumers)
      if (consumer.producerId === producerId) this.#dropConsumer(id);
  }

  #producerPaused(producerId, paused) {
    this.#paused.set(producerId, paused);
    for (const { consumer, userId, source } of this.consumers.values()) {
      if (consumer.producerId === producerId)
        this.#emit('track', { userId, source, track: consumer.track, paused });
    }
  }

  /* ---- what the server says ---- */

  #setParticipants(participants) {
    this.participants = participants;
    this.#emit('participants', participants);
  }

  #listen() {
    const { socket } = this;
    const refresh = ({ participants }) => participants && this.#setParticipants(participants);

    socket.on('room:userJoined', refresh);
    socket.on('room:userLeft', refresh);
    socket.on('room:roleChanged', ({ userId, newRole }) => {
      this.#setParticipants(this.participants.map(
        (p) => (p.userId === userId ? { ...p, role: newRole } : p)));
      this.#emit('roleChanged', { userId, newRole });
    });
    socket.on('room:allMuted', () => {
      this.producers.get('microphone')?.pause();
      this.#emit('mutedByHost');
    });
    socket.on('room:userKicked', ({ reason }) => this.#end(reason === 'replaced'
      ? 'You joined this meeting from another window.' : 'A host removed you from the meeting.'));
    socket.on('room:closed', () => {
      const host = this.role === 'host' ? 'You' : 'The host';
      this.#end(this.draining ? 'The server was stopped, and the meeting ended.' : `${host} ended the meeting.`,
        { isOver: true });
    });
    socket.on('media:newProducer', (producer) => this.#consume(producer));
    socket.on('media:producerClosed', ({ producerId }) => this.#producerClosed(producerId));
    socket.on('media:consumerClosed', ({ consumerId }) => this.#dropConsumer(consumerId));
    socket.on('media:producerPaused', ({ producerId }) => this.#producerPaused(producerId, true));
    socket.on('media:producerResumed', ({ producerId }) => this.#producerPaused(producerId, false));
    socket.on('media:layersChanged', ({ consumerId, layers }) => {
      const entry = this.consumers.get(consumerId);
      if (entry) entry.layers = layers;
    });
    socket.on('media:score', ({ producerId, consumerId, score }) => this.scores.set(consumerId ?? producerId, score));
    socket.on('media:activeSpeaker', ({ userId }) => this.#emit('speaker', { userId }));
    socket.on('server:draining', () => {
      this.draining = true;
      this.#emitState();
    });
    socket.on('auth:expiring', ({ expiresAt }) => this.#emit('expiring', { expiresAt }));
    this.#listenToConnection(socket);
  }

  #listenToConnection(socket) {
    socket.on('disconnect', (why) => {
      if (this.ended) return;
      this.#rejoins++;
      this.#seated = false;
      this.#wanted.clear();
      this.#emitState();
      // The server closed only this socket. socket.io-client does not come back by itself then.
      if (why === 'io server disconnect') setTimeout(() => this.ended || socket.connect(), reconnectDelayMs);
    });
    socket.on('connect_error', () => {
      // Not active: the server refused the token, and socket.io-client stops trying.
      if (!socket.active && this.roomId) this.#end(signedOut, { signedOut: true });
    });
    socket.on('authenticated', () => {
      if (this.roomId && !this.ended) this.#rejoin();
    });
  }

  /* ---- the socket was lost and is back ---- */

  // Tries again until it is in the call again, the meeting is over, or the socket is lost once more.
  async #rejoin() {
    const attempt = ++this.#rejoins;
    for (let waitMs = retryFirstMs; ; waitMs = Math.min(2 * waitMs, retryLastMs)) {
      try {
        await this.#takeSeat();
        this.draining = false;
        return this.#emitState();
      } catch (error) {
        if (this.ended || attempt !== this.#rejoins) return;
        if (error.code === 'room_closed' || error.code === 'room_not_found')
          return this.#end('The meeting ended while you were not connected.', { isOver: true });
        if (error.code === 'room_full') return this.#end('The meeting is full: somebody has taken your place.');
      }
      await this.#wait(waitMs);
      if (this.ended || attempt !== this.#rejoins) return;
    }
  }

  async #takeSeat() {
    const answer = await this.request('room:join', { roomId: this.roomId, resume: true });
    if (answer.resumed) return this.#resumed(answer);
    return this.#joinedAnew(answer);
  }

  // The server has kept everything, and media continued.
  async #resumed(answer) {
    this.role = answer.role;
    this.#setParticipants(answer.participants);
    const held = new Set([...this.consumers.values()].map(({ consumer }) => consumer.producerId));
    const present = new Map(answer.existingProducers.map(({ producerId, paused }) => [producerId, paused]));
    for (const id of held) {
      if (!present.has(id)) this.#producerClosed(id);
      else this.#producerPaused(id, Boolean(present.get(id)));
    }
    for (const entry of this.consumers.values()) entry.layers = undefined; // it may have changed meanwhile
    this.#takenSeat(answer.existingProducers);
    this.#tellChanges(answer).catch((error) => this.#report(error));
    for (const transport of [this.sendTransport, this.recvTransport])
      if (['failed', 'disconnected'].includes(transport.connectionState)) this.#restartIce(transport);
  }

  // What was muted, stopped or not finished when the connection was lost.
  async #tellChanges({ producers, consumers }) {
    const mine = new Map([...this.producers.values()].map((producer) => [producer.id, producer]));
    for (const { id, paused } of producers) {
      const producer = mine.get(id);
      if (!producer) await this.#insist(() => this.request('media:closeProducer', { roomId: this.roomId, producerId: id }));
      else if (producer.paused !== Boolean(paused)) await this.#tellPaused(producer);
    }
    for (const { id, paused } of consumers)
      if (paused && this.consumers.has(id) && !this.viewing.wantsPaused(id)) await this.#startConsumer(id);
  }

  // The server did not resume this participant. So this creates transports and producers again,
  // with the tracks that are still open.
  async #joinedAnew(answer) {
    for (const [source, { track, paused }] of this.producers) this.#unsent.set(source, { track, paused });
    for (const id of [...this.consumers.keys()]) this.#dropConsumer(id);
    this.producers.clear();
    for (const transport of [this.sendTransport, this.recvTransport]) {
      if (!transport || transport.closed) continue;
      transport.close();
      // The server still has it when this is the second try on the same socket.
      if (answer.resumed === undefined)
        await this.request('media:closeTransport', { transportId: transport.id }).catch(() => {});
    }
    await this.#enter(answer);
    for (const [source, { track, paused }] of [...this.#unsent]) {
      try {
        if (track.readyState === 'live') await this.produce(source, track, paused);
      } catch (error) {
        if (mayPass.has(error.code)) throw error; // #rejoin() tries everything once more
        this.#report(error);
      }
      this.#unsent.delete(source);
    }
  }

  async leave() {
    const left = this.socket?.connected ? this.request('room:leave', { roomId: this.roomId }).catch(() => {}) : null;
    this.ended = true;
    await Promise.race([left, sleep(1000)]);
    this.close();
  }

  // isOver: nobody can join this meeting again. signedOut: the token is no longer valid.
  #end(message, { isOver = false, signedOut: isSignedOut = false } = {}) {
    if (this.ended) return;
    this.close();
    this.#emit('ended', { message, isOver, signedOut: isSignedOut });
  }

  close() {
    this.ended = true;
    this.viewing.close();
    this.sendTransport?.close();
    this.recvTransport?.close();
    this.socket?.close();
  }
}
