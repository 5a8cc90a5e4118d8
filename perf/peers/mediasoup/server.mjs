// mediasoup with the part of Ringcast's signaling that ringcast-load needs. Accounts are in memory, rooms are
// routers of one worker. Only for comparisons: it checks no password. Prints one line: {"port":…,"version":…}.

import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as mediasoup from 'mediasoup';
import { Server } from 'socket.io';

const here = dirname(fileURLToPath(import.meta.url));
const mediaCodecs = JSON.parse(await readFile(join(here, '../../../tests/data/ortc/router-mediaCodecs-input.json'), 'utf8'));
const listenInfos = [{ protocol: 'udp', ip: '127.0.0.1' }];

const worker = await mediasoup.createWorker({ logLevel: 'error' });
worker.on('died', () => process.exit(1));

const rooms = new Map(); // id → { router, producers: Map }
const users = new Map(); // email → user; token → user

// ---- HTTP: register and login ----

async function bodyOf(request) {
  let text = '';
  for await (const part of request) text += part;
  return JSON.parse(text || '{}');
}

function account({ email, displayName }) {
  const user = users.get(email) ?? { id: randomUUID(), email, displayName };
  const accessToken = randomUUID();
  users.set(email, user);
  users.set(accessToken, user);
  return { accessToken, expiresIn: 3600, user };
}

const requests = { '/auth/register': [201, account], '/auth/login': [200, account] };

const http = createServer(async (request, response) => {
  const answer = (status, value) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(value));
  };
  try {
    if (request.url === '/health') return answer(200, { status: 'ok' });
    const [status, handle] = requests[request.url] ?? [];
    if (!handle || request.method !== 'POST') return answer(404, { statusCode: 404, message: 'Not Found' });
    answer(status, handle(await bodyOf(request)));
  } catch (error) {
    answer(400, { statusCode: 400, message: error.message });
  }
});

// ---- Socket.IO ----

const io = new Server(http, { serveClient: false, maxHttpBufferSize: 1e6 });

io.use((socket, next) => {
  socket.data.user = users.get(socket.handshake.auth?.token);
  next(socket.data.user ? undefined : new Error('Authentication failed'));
});

const known = (map, id, what) => map.get(id) ?? (() => { throw new Error(`no such ${what}: ${id}`); })();

const events = {
  async 'room:create'() {
    const id = randomUUID();
    rooms.set(id, { router: await worker.createRouter({ mediaCodecs }), producers: new Map() });
    return { roomId: id, roomCode: id };
  },

  async 'room:join'(socket, { roomId }) {
    const { router, producers } = known(rooms, roomId, 'room');
    return { roomId, roomCode: roomId, role: 'participant', participants: [], iceServers: [],
      rtpCapabilities: router.rtpCapabilities,
      existingProducers: [...producers.values()].map(({ id, kind }) => ({ producerId: id, kind })) };
  },

  async 'room:leave'(socket) {
    for (const transport of socket.data.transports.values()) transport.close();
    socket.data.transports.clear();
    return { success: true };
  },

  async 'media:createTransport'(socket, { roomId }) {
    const { router } = known(rooms, roomId, 'room');
    const transport = await router.createWebRtcTransport({ listenInfos, enableUdp: true, enableTcp: false });
    socket.data.transports.set(transport.id, transport);
    const { id, iceParameters, iceCandidates, dtlsParameters } = transport;
    return { id, iceParameters, iceCandidates, dtlsParameters, iceServers: [] };
  },

  async 'media:connectTransport'(socket, { transportId, dtlsParameters }) {
    await known(socket.data.transports, transportId, 'transport').connect({ dtlsParameters });
    return { connected: true };
  },

  async 'media:produce'(socket, { roomId, transportId, kind, rtpParameters }) {
    const { producers } = known(rooms, roomId, 'room');
    const producer = await known(socket.data.transports, transportId, 'transport').produce({ kind, rtpParameters });
    producers.set(producer.id, producer);
    producer.observer.on('close', () => producers.delete(producer.id));
    return { producerId: producer.id, id: producer.id };
  },

  async 'media:consume'(socket, { transportId, producerId, rtpCapabilities }) {
    const transport = known(socket.data.transports, transportId, 'transport');
    const consumer = await transport.consume({ producerId, rtpCapabilities, paused: true });
    socket.data.consumers.set(consumer.id, consumer);
    consumer.observer.on('close', () => socket.data.consumers.delete(consumer.id));
    const { id, kind, type, rtpParameters, producerPaused } = consumer;
    return { consumerId: id, id, producerId, kind, type, rtpParameters, producerPaused };
  },

  async 'media:resumeConsumer'(socket, { consumerId }) {
    await known(socket.data.consumers, consumerId, 'consumer').resume();
    return { resumed: true };
  },

  async 'media:closeTransport'(socket, { transportId }) {
    known(socket.data.transports, transportId, 'transport').close();
    socket.data.transports.delete(transportId);
    return { closed: true };
  },
};

io.on('connection', (socket) => {
  Object.assign(socket.data, { transports: new Map(), consumers: new Map() });
  for (const [name, handle] of Object.entries(events))
    socket.on(name, async (payload, ack) => {
      try {
        ack?.(await handle(socket, payload));
      } catch (error) {
        ack?.({ status: 'error', code: 'unavailable', message: error.message });
      }
    });
  socket.on('disconnect', () => {
    for (const transport of socket.data.transports.values()) transport.close();
  });
});

http.listen(0, '127.0.0.1', () =>
  console.log(JSON.stringify({ port: http.address().port, version: mediasoup.version })));
process.on('SIGTERM', () => {
  worker.close();
  process.exit(0);
});
