// A crowd of users who join and leave rooms at a fixed rate. It keeps its own list of what happened in each
// room, to compare with the audit log.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { HANG_MS, sleep } from './waiting.mjs';

const { io } = createRequire(new URL('../integration/socketio/package.json', import.meta.url))('socket.io-client');

// Connects a user. Rejects with the reason of the server.
export function connect(ringcast, token) {
  return new Promise((resolve, reject) => {
    const socket = io(ringcast.url, { transports: ['websocket'], auth: { token }, forceNew: true, reconnection: false });
    socket.once('authenticated', () => resolve(socket));
    socket.once('connect_error', (error) => { socket.close(); reject(error); });
  });
}

// The acknowledgement of an event. Fails at once when the socket is disconnected before it comes.
export function ask(socket, event, payload) {
  return new Promise((resolve, reject) => {
    let timer;
    const failed = (why) => { clearTimeout(timer); reject(new Error(`${event}: ${why}`)); };
    const disconnected = () => failed('disconnected');
    if (!socket.connected) {
      disconnected();
      return;
    }
    timer = setTimeout(failed, HANG_MS, 'no acknowledgement');
    socket.once('disconnect', disconnected);
    socket.emitWithAck(event, payload).then((ack) => {
      clearTimeout(timer);
      socket.off('disconnect', disconnected);
      resolve(ack);
    }, (error) => failed(error.message));
  });
}

async function mustSucceed(socket, event, payload) {
  const ack = await ask(socket, event, payload);
  if (ack.status === 'error') throw new Error(`${event}: ${ack.code}`);
  return ack;
}

export class Crowd {
  // Each room gets a host, who stays in it, and `members`, who come and go.
  static async gather(ringcast, rooms, members) {
    const self = new Crowd();
    self.ringcast = ringcast;
    self.rooms = [];
    self.latenciesMs = [];
    for (let i = 0; i < rooms; i++) {
      const room = { log: [], pending: null, members: [] };
      room.host = await self.person(`host${i}`);
      room.id = (await mustSucceed(room.host.socket, 'room:create', { title: `room ${i}` })).roomId;
      room.log.push(`room_created ${room.host.id}`);
      await self.act(room, room.host, 'room:join', {}, 'user_joined');
      for (let j = 0; j < members; j++) room.members.push(await self.person(`member${i}-${j}`));
      self.rooms.push(room);
    }
    return self;
  }

  async person(name) {
    const { token, user } = await this.ringcast.person(name);
    return { token, id: user.id, socket: await connect(this.ringcast, token) };
  }

  // Sends one event and waits for its acknowledgement. A room has one event at a time, so its list is in
  // the right order.
  async act(room, person, event, payload, action, about = person) {
    const began = performance.now();
    room.pending = `${action} ${about.id}`;
    await mustSucceed(person.socket, event, { roomId: room.id, ...payload });
    room.log.push(room.pending);
    room.pending = null;
    this.latenciesMs.push(performance.now() - began);
  }

  // Begins `rate` joins and leaves in a second, over all rooms. stop() ends it, and so does the end of the
  // server.
  start(rate) {
    this.stopping = false;
    this.running = this.rooms.map((room, i) => this.pump(room, (1000 * this.rooms.length) / rate, i).catch((error) => {
      room.broken = error;
    }));
  }

  async pump(room, everyMs, phase) {
    let due = performance.now() + (everyMs * phase) / this.rooms.length;
    const pace = async () => {
      due = Math.max(due + everyMs, performance.now() - 5 * everyMs); // catches up when it is late, but at most 5 events
      if (due > performance.now()) await sleep(due - performance.now());
    };
    for (let n = 0; !this.stopping; n++) {
      const member = room.members[n % room.members.length];
      await this.act(room, member, 'room:join', {}, 'user_joined');
      await pace();
      if (n % 7 === 0)
        await this.act(room, room.host, 'room:changeRole', { targetUserId: member.id, newRole: 'co_host' }, 'role_changed', member);
      await this.act(room, member, 'room:leave', {}, 'user_left');
      await pace();
    }
  }

  async stop() {
    this.stopping = true;
    await Promise.all(this.running);
  }

  close() {
    for (const room of this.rooms) for (const person of [room.host, ...room.members]) person.socket.close();
  }

  get count() {
    return this.rooms.reduce((sum, room) => sum + room.log.length, 0);
  }

  // The rows hold every acknowledged event once, in order. With mayHaveMore, a room may have one row more:
  // the event that was pending when the server died.
  assertRecorded(rows, mayHaveMore = false) {
    for (const room of this.rooms) {
      const recorded = rows.filter((row) => row.roomId === room.id).map((row) => `${row.action} ${row.userId}`);
      if (mayHaveMore && recorded.length === room.log.length + 1) assert.equal(recorded.pop(), room.pending);
      assert.deepEqual(recorded, room.log);
    }
  }
}
