// The logic of a call, without user interface: events through socket.io-client, media through mediasoup-client.
//
// Emits (CustomEvent with detail): participants, track {userId, source, track|null, paused},
// state 'connecting'|'connected'|'reconnecting', ended {reason}, mutedByHost, roleChanged,
// speaker {userId}, draining, transport {direction, state}, problem {message}.

import { Device } from 'mediasoup-client';
import { io } from 'socket.io-client';

const ackTimeoutMs = 10000;
const iceRestartDelayMs = 3000; // ICE restarts after the connection was lost for this long

const endings = {
  kicked: 'The host removed you from the meeting.',
  replaced: 'You joined this meeting from another window.',
  closed: 'The host ended the meeting.',
};

export class CallError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

export class Call extends EventTarget {
  constructor(token) {
    super();
    this.token = token;
    this.participants = [];
    this.consumers = new Map(); // consumer id → { consumer, userId, source }
    this.producers = new Map(); // source → producer
    this.ended = false;
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  // Resolves when the server has accepted the token.
  connect() {
    this.socket = io({ auth: { token: this.token }, transports: ['polling', 'websocket'] });
    this.#listen();
    return new Promise((resolve, reject) => {
      this.socket.once('authenticated', resolve);
      this.socket.once('connect_error', (error) => {
        this.socket.close();
        reject(new CallError('connect', error.message === 'Authentication failed'
          ? 'Your sign-in is no longer valid. Please sign in again.'
          : 'The server cannot be reached. Check your network and try again.'));
      });
    });
  }

  async request(event, payload) {
    let answer;
    try {
      answer = await this.socket.timeout(ackTimeoutMs).emitWithAck(event, payload);
    } catch {
      throw new CallError('timeout', 'The server did not answer in time.');
    }
    if (answer?.status === 'error') throw new CallError(answer.code, answer.message);
    return answer;
  }

  create(title) {
    return this.request('room:create', { title });
  }

  // Joins, creates the transports, and consumes the producers of the others.
  async join(roomId) {
    const answer = await this.request('room:join', { roomId });
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
    this.sendTransport = await this.#createTransport('send', answer.iceServers);
    this.recvTransport = await this.#createTransport('recv', answer.iceServers);
    this.#emit('state', 'connected');
    await Promise.allSettled(answer.existingProducers.map((producer) => this.#consume(producer)));
  }

  async #createTransport(direction, iceServers) {
    const options = await this.request('media:createTransport', { roomId: this.roomId, direction });
    const transport = direction === 'send'
      ? this.device.createSendTransport({ ...options, iceServers: options.iceServers ?? iceServers })
      : this.device.createRecvTransport({ ...options, iceServers: options.iceServers ?? iceServers });

    transport.on('connect', ({ dtlsParameters }, done, failed) => {
      this.request('media:connectTransport', { transportId: transport.id, dtlsParameters })
        .then(done, failed);
    });
    transport.on('produce', ({ kind, rtpParameters, appData }, done, failed) => {
      this.request('media:produce', {
        roomId: this.roomId, transportId: transport.id, kind, rtpParameters, appData,
      }).then(({ id }) => done({ id }), failed);
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
      if (!this.ended && !transport.closed) this.#emit('problem', error);
    }
  }

  // source: 'microphone', 'camera' or 'screen'.
  async produce(source, track) {
    const producer = await this.sendTransport.produce({
      track,
      stopTracks: false,
      disableTrackOnPause: true,
      zeroRtpOnPause: true,
      appData: { source },
      codecOptions: source === 'microphone' ? { opusDtx: true } : { videoGoogleStartBitrate: 1000 },
    });
    this.producers.set(source, producer);
    return producer;
  }

  async stopProducing(source) {
    const producer = this.producers.get(source);
    if (!producer) return;
    this.producers.delete(source);
    producer.close();
    await this.request('media:closeProducer', { roomId: this.roomId, producerId: producer.id });
  }

  async setPaused(source, paused) {
    const producer = this.producers.get(source);
    if (!producer) return;
    if (paused) producer.pause();
    else producer.resume();
    await this.request(paused ? 'media:pauseProducer' : 'media:resumeProducer',
      { producerId: producer.id });
  }

  async #consume({ producerId, userId, appData, paused }) {
    const options = await this.request('media:consume', {
      roomId: this.roomId,
      transportId: this.recvTransport.id,
      producerId,
      rtpCapabilities: this.device.recvRtpCapabilities ?? this.device.rtpCapabilities,
    });
    const consumer = await this.recvTransport.consume({
      id: options.consumerId,
      producerId,
      kind: options.kind,
      rtpParameters: options.rtpParameters,
      streamId: userId,
    });
    const source = appData?.source ?? (options.kind === 'audio' ? 'microphone' : 'camera');
    this.consumers.set(consumer.id, { consumer, userId, source });
    await this.request('media:resumeConsumer', { consumerId: consumer.id });
    this.#emit('track', {
      userId, source, track: consumer.track, paused: paused ?? options.producerPaused,
    });
  }

  #dropConsumer(consumerId) {
    const entry = this.consumers.get(consumerId);
    if (!entry) return;
    this.consumers.delete(consumerId);
    entry.consumer.close();
    this.#emit('track', { userId: entry.userId, source: entry.source, track: null });
  }

  #setParticipants(participants) {
    this.participants = participants;
    this.#emit('participants', participants);
  }

  #producerPaused(producerId, paused) {
    for (const { consumer, userId, source } of this.consumers.values()) {
      if (consumer.producerId === producerId)
        this.#emit('track', { userId, source, track: consumer.track, paused });
    }
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
    socket.on('room:userKicked', ({ reason }) => {
      this.#end(endings[reason] ?? endings.kicked);
    });
    socket.on('room:closed', () => this.#end(endings.closed));
    socket.on('media:newProducer', (producer) => {
      this.#consume(producer).catch((error) => this.#emit('problem', error));
    });
    socket.on('media:producerClosed', ({ producerId }) => {
      for (const [id, { consumer }] of this.consumers)
        if (consumer.producerId === producerId) this.#dropConsumer(id);
    });
    socket.on('media:consumerClosed', ({ consumerId }) => this.#dropConsumer(consumerId));
    socket.on('media:producerPaused', ({ producerId }) => this.#producerPaused(producerId, true));
    socket.on('media:producerResumed', ({ producerId }) => this.#producerPaused(producerId, false));
    socket.on('media:activeSpeaker', ({ userId }) => this.#emit('speaker', { userId }));
    socket.on('server:draining', () => this.#emit('draining'));
    socket.on('disconnect', () => {
      if (!this.ended) this.#emit('state', 'reconnecting');
    });
    socket.on('authenticated', () => {
      if (this.roomId && !this.ended) this.#rejoin().catch((error) => this.#end(error.message));
    });
  }

  // The socket was lost and is back. For some seconds the server keeps everything, and media continues.
  async #rejoin() {
    const answer = await this.request('room:join', { roomId: this.roomId, resume: true });
    if (answer.resumed) {
      this.#setParticipants(answer.participants);
      const held = new Set([...this.consumers.values()].map(({ consumer }) => consumer.producerId));
      const present = new Set(answer.existingProducers.map(({ producerId }) => producerId));
      for (const [id, { consumer }] of this.consumers)
        if (!present.has(consumer.producerId)) this.#dropConsumer(id);
      this.#emit('state', 'connected');
      await Promise.allSettled(answer.existingProducers
        .filter(({ producerId }) => !held.has(producerId))
        .map((producer) => this.#consume(producer)));
      return;
    }
    // It was too late: create transports and producers again, with the tracks that are still open.
    const tracks = [...this.producers].map(([source, p]) => ({ source, track: p.track, paused: p.paused }));
    for (const id of [...this.consumers.keys()]) this.#dropConsumer(id);
    this.producers.clear();
    this.sendTransport?.close();
    this.recvTransport?.close();
    await this.#enter(answer);
    for (const { source, track, paused } of tracks) {
      await this.produce(source, track);
      if (paused) await this.setPaused(source, true);
    }
  }

  async leave() {
    const left = this.request('room:leave', { roomId: this.roomId }).catch(() => {});
    this.ended = true;
    await Promise.race([left, new Promise((resolve) => setTimeout(resolve, 1000))]);
    this.#close();
  }

  #end(reason) {
    if (this.ended) return;
    this.ended = true;
    this.#close();
    this.#emit('ended', reason);
  }

  #close() {
    this.sendTransport?.close();
    this.recvTransport?.close();
    this.socket?.close();
  }
}
