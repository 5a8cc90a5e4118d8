// The control plane as a service: SIGTERM drains it, and /metrics is for those who may read it.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { freePort, patience, Ringcast, slower, until, within } from '../lib/ringcast.mjs';

const require = createRequire(new URL('./socketio/', import.meta.url));
const { io } = require('socket.io-client');

async function joined(running, name, roomId, transports = ['websocket']) {
  const person = await running.person(name);
  const socket = io(running.url, { transports, auth: { token: person.token }, forceNew: true, reconnection: false });
  await within(new Promise((resolve, reject) => { socket.on('authenticated', resolve); socket.on('connect_error', reject); }), 'authenticated');
  roomId ??= (await socket.emitWithAck('room:create', { title: 'x' })).roomId;
  assert.ok((await socket.emitWithAck('room:join', { roomId })).role);
  socket.drained = new Promise((resolve) => socket.on('server:draining', resolve));
  socket.gone = new Promise((resolve) => socket.on('disconnect', resolve));
  return { socket, person, roomId };
}

// Fails when more than `ms` have passed since `began`.
function soon(began, ms, what) {
  const elapsed = Date.now() - began;
  assert.ok(elapsed < ms * slower, `${what} after ${elapsed} ms`);
}

async function drained(running, ...sockets) {
  const asked = Date.now();
  running.process.kill('SIGTERM');
  const notices = await within(Promise.all(sockets.map((s) => s.drained)), 'server:draining');
  soon(asked, 2000, 'server:draining');
  for (const { deadline } of notices)
    assert.ok(Math.abs(deadline - asked - Number(running.drain) * 1000) < 1000 * slower, `the deadline is ${deadline - asked} ms away`);
}
async function start(drain, environment = {}) {
  const running = await Ringcast.start({ RINGCAST_DRAIN: String(drain), ...environment });
  running.drain = drain;
  return running;
}

test('SIGTERM: clients are told, calls continue, nothing new begins, the process ends with the last client', { timeout: 60000 * patience }, async () => {
  const running = await start(300);
  try {
    const a = await joined(running, 'a'), b = await joined(running, 'b', a.roomId, ['polling']);
    const waiting = (await running.request('POST', '/rooms', { title: 'later' }, a.person.token)).body.roomId;
    await drained(running, a.socket, b.socket);
    assert.ok((await a.socket.emitWithAck('media:getRouterCapabilities', { roomId: a.roomId })).rtpCapabilities);
    assert.ok((await b.socket.emitWithAck('media:createTransport', { roomId: a.roomId, direction: 'recv' })).id);
    for (const [event, payload] of [['room:create', { title: 'x' }], ['room:join', { roomId: waiting }]])
      assert.equal((await a.socket.emitWithAck(event, payload)).code, 'unavailable', event);
    const session = await fetch(`${running.url}/socket.io/?EIO=4&transport=polling`);
    assert.equal(session.status, 503);
    assert.ok(session.headers.get('retry-after'));
    assert.equal((await running.request('POST', '/rooms', { title: 'x' }, a.person.token)).status, 503);
    const health = await fetch(`${running.url}/health`);
    assert.deepEqual({ status: health.status, draining: (await health.json()).draining }, { status: 503, draining: true });
    const left = Date.now();
    a.socket.disconnect();
    b.socket.disconnect();
    assert.deepEqual(await within(running.exited, 'the end'), { code: 0, signal: null });
    soon(left, 6000, 'the end');
  } finally {
    await running.stop();
  }
});

test('SIGTERM: clients that stay are closed at the deadline', { timeout: 60000 * patience }, async () => {
  const running = await start(2);
  try {
    const { socket } = await joined(running, 'a');
    const asked = Date.now();
    await drained(running, socket);
    await within(socket.gone, 'disconnect');
    assert.ok(Date.now() - asked > 1800, 'not before the deadline');
    soon(asked, 5000, 'disconnect');
    assert.deepEqual(await within(running.exited, 'the end'), { code: 0, signal: null });
    soon(asked, 13000, 'the end');
  } finally {
    await running.stop();
  }
});

test('a second SIGTERM ends the drain; also without a drain clients get server:draining', { timeout: 60000 * patience }, async () => {
  for (const drain of [300, 0]) {
    const running = await start(drain);
    try {
      const { socket } = await joined(running, 'a', undefined, drain ? ['websocket'] : ['polling']);
      await drained(running, socket);
      const asked = Date.now();
      if (drain) running.process.kill('SIGTERM');
      await within(socket.gone, 'disconnect');
      soon(asked, 3000, 'disconnect');
      assert.deepEqual(await within(running.exited, 'the end'), { code: 0, signal: null });
      soon(asked, 11000, 'the end');
    } finally {
      await running.stop();
    }
  }
});

// ---- /metrics ----

// Checks the format: each line is HELP, TYPE or a sample, each sample follows its TYPE and occurs once.
function parse(text) {
  const types = {}, samples = {};
  for (const line of text.trimEnd().split('\n')) {
    const [, kind, name, rest] = line.match(/^# (HELP|TYPE) ([a-z_][a-z0-9_]*) (.+)$/) ?? [];
    if (kind === 'TYPE') {
      assert.ok(['counter', 'gauge'].includes(rest) && !(name in types), line);
      types[name] = rest;
    } else if (!kind) {
      const [, sample, label, value] = line.match(/^([a-z_][a-z0-9_]*)(\{[a-z_]+="[^"\\]*"\})? (-?[0-9.e+-]+)$/) ?? assert.fail(line);
      assert.ok(sample in types, `${sample} has no TYPE`);
      assert.ok(types[sample] !== 'counter' || sample.endsWith('_total'), `${sample} is a counter`);
      assert.ok(!(sample + (label ?? '') in samples), `twice: ${line}`);
      samples[sample + (label ?? '')] = Number(value);
    }
  }
  return samples;
}

test('/metrics: its format and its values', { timeout: 60000 * patience }, async () => {
  const running = await start(0);
  try {
    const read = async () => {
      const response = await fetch(`${running.url}/metrics`);
      assert.match(response.headers.get('content-type'), /^text\/plain; version=0\.0\.4/);
      return parse(await response.text());
    };
    const { socket, roomId } = await joined(running, 'a');
    await socket.emitWithAck('room:kick', { roomId, targetUserId: 'nobody' });
    await fetch(`${running.url}/none`);
    await until(async () => (await read()).ringcast_dataplane_up === 1, 'the data plane is up');
    const now = await read();
    assert.equal(now.ringcast_rooms_open, 1);
    assert.equal(now.ringcast_participants, 1);
    assert.equal(now.ringcast_socketio_sockets_open, 1);
    assert.equal(now['ringcast_call_errors_total{code="user_not_found"}'], 1);
    assert.equal(now['ringcast_http_replies_total{status="404"}'], 1);
    assert.ok(now.ringcast_dataplane_workers >= 1);
    assert.ok('ringcast_dataplane_packets_total{verdict="drop_stun_stranger"}' in now);
    assert.ok(now.ringcast_controlplane_resident_bytes > 1e6);
    socket.disconnect();
    await until(async () => (await read()).ringcast_socketio_sockets_open === 0, 'the socket is closed');
  } finally {
    await running.stop();
  }
});

test('/metrics: who may read it', { timeout: 60000 * patience }, async () => {
  const port = await freePort();
  const own = await start(0, { RINGCAST_METRICS_PORT: String(port), TRUSTED_PROXIES: '127.0.0.1,::1' });
  try {
    assert.equal((await fetch(`http://127.0.0.1:${port}/metrics`)).status, 200);
    assert.equal((await fetch(`http://127.0.0.1:${port}/health`)).status, 200);
    for (const path of ['/', '/auth/me', '/socket.io/?EIO=4&transport=polling']) assert.equal((await fetch(`http://127.0.0.1:${port}${path}`)).status, 404, path);
    assert.equal((await fetch(`${own.url}/metrics`)).status, 404);
  } finally {
    await own.stop();
  }
  const token = await start(0, { RINGCAST_METRICS_TOKEN: 'planted-secret-of-the-scraper' });
  try {
    const status = async (authorization) => (await fetch(`${token.url}/metrics`, { headers: authorization ? { authorization } : {} })).status;
    assert.equal(await status(), 401);
    assert.equal(await status('Bearer planted-secret-of-the-scrapeR'), 401);
    assert.equal(await status('Bearer planted-secret-of-the-scraper'), 200);
    assert.doesNotMatch(token.log, /planted-secret/);
  } finally {
    await token.stop();
  }
  // A client of another machine, through a proxy.
  const proxied = await start(0, { TRUSTED_PROXIES: '127.0.0.1,::1' });
  try {
    assert.equal((await fetch(`${proxied.url}/metrics`, { headers: { 'x-forwarded-for': '203.0.113.9' } })).status, 403);
    assert.equal((await fetch(`${proxied.url}/metrics`)).status, 200);
  } finally {
    await proxied.stop();
  }
});
