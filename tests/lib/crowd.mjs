// People who join and leave rooms at a rate, and keep their own list of what happened, room by room.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { sleep, slower } from './ringcast.mjs';

const { io } = createRequire(new URL('../integration/socketio/package.json', import.meta.url))('socket.io-client');

// A socket of somebody; rejects with what the server says.
export function connect(ringcast, token) {
  return new Promise((resolve, reject) => {
    const socket = io(ringcast.url, { transports: ['websocket'], auth: { token }, forceNew: true, reconnection: false });
    socket.once('authenticated', () => resolve(socket));
    socket.once('connect_error', (error) => { socket.close(); reject(error); });
  });
}

export const call = (socket, event, payload) => socket.timeout(5000 * slower).emitWithAck(event, payload);

async function done(socket, event, payload) {
  const ack = await call(socket, event, payload);
  if (ack.status === 'error') throw new Error(`${event}: ${ack.code}`);
  return ack;
}

export class Crowd {
  // The host of each room stays in it; `members` come and go.
  static async gather(ringcast, rooms, members) {
    const self = new Crowd();
    self.ringcast = ringcast;
    self.rooms = [];
    self.latenciesMs = [];
    for (let i = 0; i < rooms; i++) {
      const room = { log: [], under: null, members: [] };
      room.host = await self.person(`host${i}`);
      room.id = (await done(room.host.socket, 'room:create', { title: `room ${i}` })).roomId;
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

  // One event of a room at a time: the order of its list is the order in which things happened.
  async act(room, person, event, payload, action, about = person) {
    const began = performance.now();
    room.under = `${action} ${about.id}`;
    await done(person.socket, event, { roomId: room.id, ...payload });
    room.log.push(room.under);
    room.under = null;
    this.latenciesMs.push(performance.now() - began);
  }

  // From now on, until stop() or until the server is gone: joins and leaves per second, over all rooms.
  start(rate) {
    this.stopping = false;
    this.running = this.rooms.map((room, i) => this.pump(room, (1000 * this.rooms.length) / rate, i).catch((error) => {
      room.broken = error;
    }));
  }

  async pump(room, everyMs, phase) {
    let due = performance.now() + (everyMs * phase) / this.rooms.length;
    const pace = async () => {
      due = Math.max(due + everyMs, performance.now() - 5 * everyMs); // behind: catch up, but not for ever
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

  // The table has all that was acknowledged, once, in order; what was under way when the server died may
  // be there or not.
  assertRecorded(rows, mayHaveMore = false) {
    for (const room of this.rooms) {
      const recorded = rows.filter((row) => row.roomId === room.id).map((row) => `${row.action} ${row.userId}`);
      if (mayHaveMore && recorded.length === room.log.length + 1) assert.equal(recorded.pop(), room.under);
      assert.deepEqual(recorded, room.log);
    }
  }
}
