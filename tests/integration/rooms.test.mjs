// Rooms through all processes, with stock socket.io-client: many join at once, sockets are lost and come
// back, and a host stops the packets of others.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, test } from 'node:test';
import { Ringcast, sleep, slower, until } from '../lib/ringcast.mjs';

const require = createRequire(new URL('./socketio/package.json', import.meta.url));
const { io } = require('socket.io-client');
const WebSocket = require('ws');
const monotonicMs = () => Number(process.hrtime.bigint()) / 1e6;
const PATIENCE_MS = 60000; // for events whose time is not measured: the machine may be busy
const sockets = new Set();
let running;

async function start(environment) {
  for (const socket of sockets) socket.disconnect();
  sockets.clear();
  await running?.stop();
  running = await Ringcast.start(environment);
  return running;
}

after(async () => {
  for (const socket of sockets) socket.disconnect();
  await running?.stop();
});

// A connected socket. ask(event, payload) returns the acknowledgement; received holds the events that came
// from the server, in order; names() returns their names and empties it.
async function connect(ringcast, token, transports = ['websocket']) {
  const socket = io(ringcast.url, { auth: { token }, transports, reconnection: false, forceNew: true });
  sockets.add(socket);
  socket.received = [];
  socket.onAny((name, value) => socket.received.push({ name, value }));
  socket.ask = (event, payload) => socket.timeout(PATIENCE_MS).emitWithAck(event, payload);
  socket.names = () => socket.received.splice(0).map(({ name }) => name);
  await new Promise((resolve, reject) => {
    socket.once('authenticated', resolve);
    socket.once('connect_error', reject);
  });
  return socket;
}

async function inParallel(count, width, work) {
  const results = [];
  let next = 0;
  await Promise.all(Array.from({ length: width }, async () => {
    while (next < count) {
      const i = next++;
      results[i] = await work(i);
    }
  }));
  return results;
}

// How many audit rows of each action there are.
async function actions(ringcast) {
  const rows = await ringcast.sql('SELECT action, count(*) FROM audit_logs GROUP BY action');
  return Object.fromEntries(rows.map(([action, count]) => [action, Number(count)]));
}

test('200 users join a room for 100 at once: exactly 100 get in (threat C18)', async () => {
  const ringcast = await start();
  const users = await inParallel(201, 4, (i) => ringcast.person(`u${i}`));
  const host = await connect(ringcast, users[200].token);
  const { roomId } = await host.ask('room:create', { title: 'Crowd', maxParticipants: 100 });
  const guests = await inParallel(200, 16, (i) => connect(ringcast, users[i].token));
  const answers = await Promise.all(guests.map((guest) => guest.ask('room:join', { roomId })));
  const inside = answers.filter((answer) => answer.role === 'participant');
  const outcomes = {};
  for (const { role, code } of answers) outcomes[role ?? code] = (outcomes[role ?? code] ?? 0) + 1;
  assert.deepEqual(outcomes, { participant: 100, room_full: 100 });
  assert.deepEqual(inside.map((answer) => answer.participants.length).sort((a, b) => a - b),
    Array.from({ length: 100 }, (_, i) => i + 1), 'each sees one participant more than the one before');
  const { body } = await ringcast.request('GET', `/rooms/${roomId}`, undefined, users[0].token);
  assert.equal(body.participantCount, 100);
  guests.find((_, i) => answers[i].role).disconnect(); // after the grace time one place is free
  const late = guests.filter((_, i) => answers[i].code);
  await until(async () => (await late[0].ask('room:join', { roomId })).role, PATIENCE_MS, 'a place becomes free');
  assert.equal((await late[1].ask('room:join', { roomId })).code, 'room_full');
});

test('one id, many spellings: ids in upper case, codes without hyphens, spaces around', async () => {
  const ringcast = await start();
  const [a, b] = [await ringcast.person('a'), await ringcast.person('b')];
  const [host, guest] = [await connect(ringcast, a.token), await connect(ringcast, b.token)];
  const { roomId, roomCode } = await host.ask('room:create', { title: 'Spelling' });
  const plain = roomCode.replaceAll('-', '').toLowerCase();
  await host.ask('room:join', { roomId });
  for (const name of [roomId.toUpperCase(), ` ${roomId} `, roomCode.toLowerCase(), plain, ` ${plain.match(/..../g).join(' ')} `]) {
    const { status, body } = await ringcast.request('GET', `/rooms/${encodeURIComponent(name)}`, undefined, b.token);
    assert.deepEqual([status, body.id, body.participantCount], [200, roomId, 1], `GET ${name}`);
    const joined = await guest.ask('room:join', { roomId: name });
    assert.deepEqual([joined.roomId, joined.participants?.length], [roomId, 2], `room:join ${name}`);
    assert.ok((await host.ask('media:getRouterCapabilities', { roomId })).rtpCapabilities, 'the host is still in the room');
    assert.equal((await guest.ask('room:leave', { roomId: name })).success, true);
  }
  assert.equal((await ringcast.request('GET', `/rooms/${roomId.replaceAll('-', '')}`, undefined, b.token)).status, 404);
  const rows = await ringcast.sql(`SELECT status, "endedAt" IS NULL FROM meetings`);
  console.log(`# 5 spellings of an id and a code: ${rows.length} meeting, ${rows[0][0]}`);
  assert.equal(rows.length, 1);
  assert.equal(rows[0][0], 'active');
});

for (const short of ['on', 'off'])
  test(`short event names ${short}`, async () => {
    const ringcast = await start({ SIGNALING_SHORT_EVENTS: short });
    const [a, b] = [await ringcast.person('a'), await ringcast.person('b')];
    const [host, guest] = [await connect(ringcast, a.token), await connect(ringcast, b.token)];
    const { roomId } = await host.ask('room:create', { title: 'Names' });
    const both = (...names) => names.flatMap((name) => (short === 'on' ? [name, name.split(':')[1]] : [name]));
    await host.ask('room:join', { roomId });
    await guest.ask('room:join', { roomId });
    host.names();
    guest.names();
    await host.ask('room:changeRole', { roomId, targetUserId: b.user.id, newRole: 'co_host' });
    await host.ask('room:muteAll', { roomId });
    await host.ask('room:kick', { roomId, targetUserId: b.user.id });
    await guest.ask('room:join', { roomId });
    await guest.ask('room:leave', { roomId });
    await host.ask('room:leave', { roomId }); // everything before its acknowledgement was received
    assert.deepEqual(guest.names(), both('room:roleChanged', 'room:allMuted', 'room:userKicked'));
    assert.deepEqual(host.names(), both('room:roleChanged', 'room:userLeft', 'room:userJoined', 'room:userLeft'));
  });

test('a lost socket: media stays for the grace time, a new socket resumes it, later it is removed', async () => {
  const graceS = 4 * slower;
  const ringcast = await start({ RECONNECT_GRACE: String(graceS) });
  const [a, b] = [await ringcast.person('a'), await ringcast.person('b')];
  const [host, guest] = [await connect(ringcast, a.token), await connect(ringcast, b.token)];
  const { roomId } = await host.ask('room:create', { title: 'Grace' });
  await host.ask('room:join', { roomId });
  await guest.ask('room:join', { roomId });
  const send = await guest.ask('media:createTransport', { roomId, direction: 'send' });
  const recv = await guest.ask('media:createTransport', { roomId, direction: 'recv' });
  const producer = await guest.ask('media:produce', { roomId, transportId: send.id, kind: 'audio', paused: true,
    rtpParameters: { mid: '0', codecs: [{ mimeType: 'audio/opus', payloadType: 111, clockRate: 48000, channels: 2 }],
      encodings: [{ ssrc: 4711 }], rtcp: { cname: 'x' } } });
  await host.ask('media:getRouterCapabilities', { roomId });
  host.names();

  guest.io.engine.close(); // as if the network failed
  await sleep(1000);
  assert.deepEqual(host.names(), [], 'nobody is told');
  assert.equal((await ringcast.rows('transport')).length, 2, 'media continues');
  const again = await connect(ringcast, b.token);
  const resumed = await again.ask('room:join', { roomId, resume: true });
  assert.equal(resumed.resumed, true);
  assert.deepEqual(resumed.transports, [{ id: send.id, direction: 'send' }, { id: recv.id, direction: 'recv' }]);
  assert.deepEqual(resumed.producers, [{ id: producer.id, kind: 'audio', paused: true }]);
  assert.deepEqual(resumed.consumers, []);
  assert.deepEqual(await again.ask('media:resumeProducer', { producerId: producer.id }), { resumed: true });
  await sleep(graceS * 1000 + 500); // the grace time of the lost socket is over
  assert.equal((await ringcast.rows('transport')).length, 2);

  // The old socket is still open: the new one gets everything, the old one is told and closed.
  again.names();
  host.names();
  const closed = new Promise((resolve) => { again.once('disconnect', resolve); });
  const third = await connect(ringcast, b.token, ['polling', 'websocket']);
  assert.equal((await third.ask('room:join', { roomId, resume: true })).resumed, true);
  assert.equal(await closed, 'io server disconnect');
  assert.deepEqual(again.received.filter(({ name }) => name === 'room:userKicked').map(({ value }) => value),
    [{ roomId, reason: 'replaced' }]);
  assert.deepEqual(host.names(), []);

  // Without resume the new socket starts without media.
  const fourth = await connect(ringcast, b.token);
  const joined = await fourth.ask('room:join', { roomId });
  assert.equal(joined.resumed, undefined);
  await host.ask('media:getRouterCapabilities', { roomId });
  assert.deepEqual(third.received.filter(({ name }) => name === 'room:userKicked').map(({ value }) => value.reason), ['replaced']);
  assert.equal((await third.ask('media:getStats', { transportId: send.id })).code, 'transport_not_found');
  assert.deepEqual(host.names().filter((name) => name.includes(':')), ['media:producerClosed']);
  await until(() => ringcast.isEmpty(), PATIENCE_MS, 'its media is removed');

  // After the grace time the participant is removed. Resuming later is a plain join.
  await fourth.ask('media:createTransport', { roomId, direction: 'send' });
  fourth.disconnect();
  await until(() => host.received.some(({ name }) => name === 'room:userLeft'), PATIENCE_MS, 'userLeft after the grace time');
  await until(() => ringcast.isEmpty(), PATIENCE_MS, 'no rows are left');
  const fifth = await connect(ringcast, b.token);
  assert.equal((await fifth.ask('room:join', { roomId, resume: true })).resumed, false);
});

// DISCONNECT and CONNECT on one connection, one more connection, REST: all count in one budget.
test('limits cannot be shed: rooms and transports of one user', async () => {
  const ringcast = await start();
  const [a, b] = [await ringcast.person('a'), await ringcast.person('b')];
  const other = await connect(ringcast, b.token);
  const outcomes = {};
  const note = ({ roomId, code }) => { outcomes[roomId ? 'made' : code] = (outcomes[roomId ? 'made' : code] ?? 0) + 1; };
  const raw = new WebSocket(`${ringcast.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`);
  const began = performance.now();
  const heard = [];
  let waker = () => {};
  raw.on('message', (data) => { heard.push(String(data)); waker(); });
  const next = async (start) => { // the next packet that begins so
    for (;;) {
      while (heard.length) { const packet = heard.shift(); if (packet.startsWith(start)) return packet; }
      await new Promise((resolve) => { waker = resolve; });
    }
  };
  await next('0');
  for (let i = 0; i < 280; i++) { // CONNECT, one event, DISCONNECT
    raw.send(`40${JSON.stringify({ token: a.token })}`);
    await next('40');
    raw.send('421["room:create",{"title":"flood"}]');
    note(JSON.parse((await next('431')).slice(3))[0]);
    raw.send('41');
  }
  raw.close();
  for (let i = 0; i < 10; i++) {
    const more = await connect(ringcast, a.token);
    note(await more.ask('room:create', { title: 'flood' }));
    more.disconnect();
  }
  const tookS = (performance.now() - began) / 1000;
  for (let i = 0; i < 10; i++) {
    const { status, body } = await ringcast.request('POST', '/rooms', { title: 'flood' }, a.token);
    note({ roomId: body.roomId, code: status });
  }
  console.log(`# 300 rooms asked for in ${tookS.toFixed(1)} s: ${JSON.stringify(outcomes)}`);
  if (tookS < 50) assert.deepEqual(outcomes, { made: 60, rate_limited: 230, 429: 10 });
  const { roomId } = await other.ask('room:create', { title: 'mine' });
  assert.ok((await other.ask('room:join', { roomId })).roomId, 'another user of the same address notices nothing');
});

test('quotas: 288 transports of one user, and a heavy but honest user', async () => {
  const ringcast = await start({ RATE_LIMIT_EVENTS: '100000' });
  const [a, b] = [await ringcast.person('a'), await ringcast.person('b')];
  const rooms = [], attackers = [];
  for (let i = 0; i < 4; i++) {
    attackers.push(await connect(ringcast, a.token));
    rooms.push((await attackers[i].ask('room:create', { title: 'x' })).roomId);
    await attackers[i].ask('room:join', { roomId: rooms[i] });
  }
  const answers = await Promise.all(Array.from({ length: 288 }, (_, i) =>
    attackers[i % 4].ask('media:createTransport', { roomId: rooms[i % 4], direction: 'recv' })));
  const made = answers.filter((answer) => answer.id).length, refused = answers.filter(({ code }) => code);
  console.log(`# 288 transports asked for at once: ${made} made; "${refused[0].message}"`);
  assert.equal(made, 200);
  assert.ok(refused.every(({ code, message }) => code === 'limit_reached' && /200 transports for one user/.test(message)));
  const honest = await connect(ringcast, b.token); // an app with a transport for each peer of a full room
  await honest.ask('room:join', { roomId: rooms[0] });
  for (let i = 0; i < 100; i++)
    assert.ok((await honest.ask('media:createTransport', { roomId: rooms[0], direction: 'recv' })).id);
  assert.equal((await ringcast.rows('transport')).length, 300);
  for (const socket of attackers) socket.disconnect();
  const again = await connect(ringcast, a.token);
  const taken = async () => (await ringcast.rows('transport')).length;
  await until(async () => await taken() === 100, PATIENCE_MS, 'the transports are removed after the grace time');
  const { roomId } = await again.ask('room:create', { title: 'y' });
  await again.ask('room:join', { roomId });
  assert.ok((await again.ask('media:createTransport', { roomId, direction: 'send' })).id, 'and the user may have some again');
});

// React's StrictMode mounts a component twice: the first socket may go before or after the second one joins.
for (const order of ['closes the first socket, then joins', 'joins, then closes the first socket', 'reloads, then joins'])
  test(`replaced is not left: a client that ${order}`, async () => {
    const ringcast = await start();
    const [a, b] = [await ringcast.person('a'), await ringcast.person('b')];
    const host = await connect(ringcast, a.token);
    const { roomId } = await host.ask('room:create', { title: 'Strict' });
    await host.ask('room:join', { roomId });
    const first = await connect(ringcast, b.token);
    const { joinedAt } = (await first.ask('room:join', { roomId })).participants[1];
    await host.ask('media:getRouterCapabilities', { roomId });
    assert.deepEqual(host.names().slice(-2), ['room:userJoined', 'userJoined']);
    if (order.startsWith('closes')) first.disconnect();
    if (order.startsWith('reloads')) first.io.engine.close();
    const second = await connect(ringcast, b.token);
    const { participants } = await second.ask('room:join', { roomId });
    if (order.startsWith('joins')) first.disconnect();
    assert.equal(participants.length, 2);
    assert.deepEqual([participants[1].socketId, participants[1].joinedAt], [second.id, joinedAt]);
    await sleep(2500); // longer than the grace time of the first socket
    await host.ask('media:getRouterCapabilities', { roomId });
    const heard = host.names();
    console.log(`# ${order}: the others hear ${heard.length} events`);
    assert.deepEqual(heard, []);
    assert.ok((await second.ask('media:createTransport', { roomId, direction: 'send' })).id, 'the second socket is in the room');
    second.disconnect();
    await until(() => host.received.some(({ name }) => name === 'room:userLeft'), PATIENCE_MS, 'who really goes is announced');
  });

// Stock clients connect again by themselves, and join again whenever they are connected, as apps do.
async function staying(ringcast, token, roomId, transports) {
  const socket = io(ringcast.url, { auth: { token }, transports, forceNew: true });
  sockets.add(socket);
  Object.assign(socket, { heard: [], disconnects: [], answers: [] });
  socket.onAny((name) => socket.heard.push(name));
  socket.on('disconnect', (reason) => socket.disconnects.push(reason));
  socket.on('authenticated', async () => {
    const answer = await socket.timeout(PATIENCE_MS).emitWithAck('room:join', { roomId, resume: true }).catch(() => null);
    if (answer) socket.answers.push(answer);
  });
  await until(() => socket.answers.length, PATIENCE_MS, 'joined');
  return socket;
}

for (const [how, signal] of [['a clean stop', 'SIGTERM'], ['kill -9', 'SIGKILL']])
  test(`restart, ${how}: stock clients come back to their meeting`, async () => {
    const graceS = 10 * Math.min(2, slower);
    const ringcast = await start({ RECONNECT_GRACE: String(graceS) });
    const people = await inParallel(3, 3, (i) => ringcast.person(`p${i}`));
    const maker = await connect(ringcast, people[0].token);
    const { roomId } = await maker.ask('room:create', { title: 'Restart' });
    const lost = (await maker.ask('room:create', { title: 'Nobody comes back' })).roomId;
    await maker.ask('room:join', { roomId: lost });
    const waiting = (await maker.ask('room:create', { title: 'Later' })).roomId;
    const clients = [];
    for (let i = 0; i < 3; i++)
      clients.push(await staying(ringcast, people[i].token, roomId, i === 1 ? ['polling'] : ['websocket']));
    for (const client of clients) client.heard = [];
    const status = async (id) => (await ringcast.sql(`SELECT status FROM meetings WHERE id = '${id}'`))[0][0];

    const killed = (await ringcast.pids()).controlplane, began = performance.now();
    process.kill(killed, signal);
    await until(() => clients.every((client) => client.answers.length === 2), PATIENCE_MS, 'everybody is back');
    const tookMs = performance.now() - began;
    for (const [i, client] of clients.entries()) {
      const [before, after] = client.answers;
      assert.deepEqual([after.roomId, after.role, after.code], [roomId, before.role, undefined]);
      assert.equal(after.role, i === 0 ? 'host' : 'participant');
      assert.notEqual(client.disconnects[0], 'io server disconnect');
      assert.ok(!client.heard.includes('room:closed') && !client.heard.includes('roomClosed'), `${client.heard}`);
    }
    assert.notEqual((await ringcast.pids()).controlplane, killed);
    console.log(`# ${how}: 3 clients of 3 are back after ${Math.round(tookMs)} ms (${clients.map((c) => c.disconnects)})`);
    assert.equal((await ringcast.request('GET', `/rooms/${roomId}`, undefined, people[1].token)).body.participantCount, 3);
    assert.equal(await status(waiting), 'waiting');
    // The other meeting is closed after the grace time; this one goes on.
    await until(async () => await status(lost) === 'closed', graceS * 1000 + PATIENCE_MS, 'a meeting without people is closed');
    assert.equal(await status(roomId), 'active');
    assert.ok((await clients[1].timeout(PATIENCE_MS).emitWithAck('media:createTransport', { roomId, direction: 'recv' })).id);
    for (const client of clients) client.disconnect();
    await until(async () => await status(roomId) === 'closed', graceS * 1000 + PATIENCE_MS, 'the meeting ends with its last participant');
  });

// muteAll and kick stop packets and do not only set flags: ringcast-probe reports when the last one arrived.
for (const workers of [1, 2])
  test(`muteAll and kick stop packets within 200 ms: ${workers} worker${workers > 1 ? 's' : ''}`, async () => {
    const ringcast = await start({ MEDIASOUP_NUM_WORKERS: String(workers), RINGCAST_ROOM_TOGETHER: '0' });
    const host = await ringcast.person('host');
    const socket = await connect(ringcast, host.token);
    const { roomId, roomCode } = await socket.ask('room:create', { title: 'Quiet please' });
    await socket.ask('room:join', { roomId });
    const first = ringcast.probe('--room', roomCode, '--seconds', '7');
    await until(async () => (await ringcast.rows('producer')).length === 2, PATIENCE_MS, 'the first one publishes');
    const second = ringcast.probe('--room', roomCode, '--seconds', '6');
    await until(async () => (await ringcast.rows('consumer')).length === 4, PATIENCE_MS, 'they receive each other');
    await sleep(1500);

    const mutedAt = monotonicMs();
    assert.equal((await socket.ask('room:muteAll', { roomId })).mutedCount, 2);
    const mutedBy = monotonicMs();
    await sleep(1500);
    // the one who joined last is kicked; the first one stays
    const { participants } = socket.received.filter(({ name }) => name === 'room:userJoined').at(-1).value;
    const kickedAt = monotonicMs();
    assert.equal((await socket.ask('room:kick', { roomId, targetUserId: participants.at(-1).userId })).success, true);
    const kickedBy = monotonicMs();
    await sleep(100);
    assert.equal((await ringcast.rows('transport')).length, 2, 'the transports of the kicked one are removed at once');
    const reports = [(await first).report, (await second).report];
    const late = (stream, since) => stream.lastPacketAtMs - since;
    const bound = 200 * slower;
    for (const report of reports) {
      const { received } = report.participants[0];
      assert.equal(received.length, 2);
      for (const stream of received) {
        const [from, by] = stream.kind === 'audio' ? [mutedAt, mutedBy] : [kickedAt, kickedBy];
        console.log(`# ${stream.kind}: last packet ${late(stream, from).toFixed(1)} ms after the request, ` +
          `acknowledged after ${(by - from).toFixed(1)} ms`);
        assert.ok(stream.packets > 50);
        assert.ok(late(stream, from) < bound, `${stream.kind} continued for ${late(stream, from)} ms`);
        assert.ok(late(stream, from) > -1000, `${stream.kind} had already stopped`);
      }
    }
    socket.disconnect();
    await until(async () => (await actions(ringcast)).room_closed, PATIENCE_MS, 'the room closes');
    const audit = await actions(ringcast);
    assert.equal(audit.all_muted, 1);
    assert.equal(audit.user_muted, 2);
    assert.equal(audit.user_kicked, 1);
    assert.equal(audit.transport_connected, 4);
    assert.equal(audit.transport_failed, undefined);
    await until(() => ringcast.isEmpty(), PATIENCE_MS, 'no rows are left');
  });
