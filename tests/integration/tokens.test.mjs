// The end of a token, with stock socket.io-client: it is announced, a fresh token on the same socket prevents
// it, and otherwise only the socket goes: the participant stays for the grace time (threat C7).

import assert from 'node:assert/strict';
import { createHmac, randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { Client } from '../lib/client.mjs';
import { Ringcast, slower, until } from '../lib/ringcast.mjs';

const { io } = createRequire(new URL('./socketio/package.json', import.meta.url))('socket.io-client');
const SECRET = randomBytes(32).toString('hex');
const LIFE_S = Math.ceil(8 * Math.min(slower, 2));
let ringcast;

before(async () => { ringcast = await Ringcast.start({ JWT_SECRET: SECRET, RECONNECT_GRACE: '60' }); });
after(() => ringcast?.stop());

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

function token(user, seconds) {
  const now = Date.now() / 1000;
  const text = `${part({ alg: 'HS256', kid: 'another issuer' })}.${part({ sub: user.id, iat: now, exp: now + seconds })}`;
  return `${text}.${createHmac('sha256', SECRET).update(text).digest('base64url')}`;
}

// A client as an app has it: it connects again by itself, and `auth` is a function. heard: [event, value, ms].
async function app(user, seconds) {
  const self = { user, token: token(user, seconds), heard: [], connections: 0, since: performance.now() };
  const ms = () => Math.round(performance.now() - self.since);
  self.socket = io(ringcast.url, { auth: (give) => give({ token: self.token }), transports: ['websocket'], forceNew: true, reconnectionDelay: 100 });
  self.socket.onAny((name, value) => self.heard.push([name, value, ms()]));
  self.socket.on('disconnect', (reason) => self.heard.push(['disconnect', reason, ms()]));
  self.socket.on('authenticated', () => { self.connections++; });
  self.socket.on('connect_error', (error) => self.heard.push(['connect_error', error.message, ms()]));
  self.find = (name) => self.heard.find(([event]) => event === name);
  self.ask = (event, payload) => self.socket.timeout(60000).emitWithAck(event, payload);
  await until(() => self.connections === 1, 'connected');
  return self;
}

test('a token ends: the socket goes, the participant stays and resumes with a fresh token; nobody sees it leave', async () => {
  const host = await Client.open(ringcast, 'ada');
  const { roomId } = await host.call('room:create', { title: 'x' });
  await host.call('room:join', { roomId });
  const { user } = await ringcast.person('bob');
  const bob = await app(user, LIFE_S);
  await bob.ask('room:join', { roomId });
  const send = await bob.ask('media:createTransport', { roomId, direction: 'send' });
  assert.ok(send.id);
  await until(() => host.heard.some(([event]) => event === 'userJoined'), 'the host sees bob'); // the last of the two names
  const seen = host.heard.length;

  await until(() => bob.find('auth:expiring'), 'auth:expiring');
  const [, { expiresAt }, announcedMs] = bob.find('auth:expiring');
  bob.token = token(user, 3600);         // the app has a fresh one, but does not refresh the socket
  await until(() => bob.connections === 2, 'connected again by itself');
  const [, reason, closedMs] = bob.find('disconnect');
  console.log(`# a token of ${LIFE_S} s: announced after ${announcedMs} ms, closed after ${closedMs} ms (${reason})`);
  assert.equal(reason, 'transport close');
  assert.equal(bob.find('connect_error'), undefined);
  assert.ok(announcedMs > LIFE_S * 500 - 1500 && announcedMs < closedMs);
  assert.ok(closedMs > LIFE_S * 1000 - 1500 && closedMs < LIFE_S * 1000 + 5000 * slower, `${closedMs} ms`);
  assert.ok(Math.abs(expiresAt - (Date.now() - (performance.now() - bob.since) + LIFE_S * 1000)) < 2500 * slower);

  const again = await bob.ask('room:join', { roomId, resume: true });
  assert.equal(again.resumed, true, JSON.stringify(again));
  assert.deepEqual(again.transports.map(({ id }) => id), [send.id]);
  assert.deepEqual(host.heard.slice(seen), [], 'the host saw something');
  bob.socket.disconnect();
  host.close();
});

test('the last one in a room: its token ends, the meeting does not', async () => {
  const { user } = await ringcast.person('ada');
  const ada = await app(user, LIFE_S);
  const { roomId } = await ada.ask('room:create', { title: 'x' });
  await ada.ask('room:join', { roomId });
  ada.token = token(user, 3600);
  await until(() => ada.connections === 2, 'connected again');
  const again = await ada.ask('room:join', { roomId, resume: true });
  console.log(`# alone in the room, with a fresh token: ${JSON.stringify(again.status ?? { resumed: again.resumed })}`);
  assert.equal(again.resumed, true, JSON.stringify(again));
  ada.socket.disconnect();
});

test('auth:refresh with a fresh token keeps the socket; the token of another user, or a bad one, does not', async () => {
  const { user } = await ringcast.person('ada'), { user: other } = await ringcast.person('eve');
  const [kept, lost] = [await app(user, LIFE_S), await app(other, LIFE_S)];
  await until(() => kept.find('auth:expiring') && lost.find('auth:expiring'), 'auth:expiring');
  lost.token = 'none';
  for (const wrong of [token(user, 3600), token(other, -1), 'x', ''])
    assert.equal((await lost.ask('auth:refresh', { token: wrong })).code, 'invalid_token');
  const fresh = token(user, 3600);
  const { expiresAt } = await kept.ask('auth:refresh', { token: fresh });
  assert.ok(Math.abs(expiresAt - Date.now() - 3600000) < 60000);
  await until(() => lost.find('disconnect'), 'closed');
  await until(() => lost.find('connect_error'), 'refused');
  assert.equal(lost.find('connect_error')[1], 'Authentication failed');
  assert.equal(kept.find('disconnect'), undefined);
  assert.equal(kept.connections, 1);
  assert.ok((await kept.ask('room:create', { title: 'still here' })).roomId);
  console.log(`# ${Math.round(performance.now() - kept.since)} ms after a token of ${LIFE_S} s was presented, the refreshed socket is open`);
  kept.socket.disconnect();
  lost.socket.disconnect();
});

test('a deactivated user has no grace time', async () => {
  const host = await Client.open(ringcast, 'ada'), guest = await Client.open(ringcast, 'bob');
  const { roomId } = await host.call('room:create', { title: 'x' });
  await host.call('room:join', { roomId });
  await guest.call('room:join', { roomId });
  const began = performance.now();
  await ringcast.sql(`UPDATE users SET "isActive"=${ringcast.database ? 'false' : '0'} WHERE id='${guest.userId}'`);
  await until(() => host.heard.some(([event, value]) => event === 'room:userLeft' && value.userId === guest.userId), 'left');
  const tookMs = Math.round(performance.now() - began);
  console.log(`# left after ${tookMs} ms`);
  assert.ok(tookMs < 5000 * slower);
  host.close();
});
