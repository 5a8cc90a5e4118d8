// The cases of the two public test suites (Engine.IO, Socket.IO), and the test here that covers each. Fails
// when such a test has been lost.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

const ENGINE_IO = [
  // group, case of the suite, our file, the text of our test in that file
  ['handshake, polling', 'opens a session', 'engine', "it('opens a session'"],
  ['handshake, polling', 'invalid EIO', 'engine', "it('refuses a missing or wrong EIO'"],
  ['handshake, polling', 'invalid transport', 'engine', "it('refuses a missing or wrong transport'"],
  ['handshake, polling', 'invalid method', 'engine', "it('refuses another method'"],
  ['handshake, WebSocket', 'opens a session', 'engine', "describe('handshake over WebSocket', () => {\n  it('opens a session'"],
  ['handshake, WebSocket', 'invalid EIO', 'engine', "['a wrong EIO'"],
  ['handshake, WebSocket', 'invalid transport', 'engine', "['a wrong transport'"],
  ['message, polling', 'one text packet', 'raw', "it('one text packet over polling'"],
  ['message, polling', 'several text packets', 'raw', "it('several text packets over polling'"],
  ['message, polling', 'text and binary packets', 'raw', "it('text and binary packets over polling'"],
  ['message, polling', 'invalid packet closes', 'engine', "for (const body of ['abc'"],
  ['message, polling', 'duplicate poll closes', 'engine', "it('closes on a duplicate poll'"],
  ['message, polling', 'cancelled poll closes', 'engine', "it('closes on a cancelled poll'"],
  ['message, WebSocket', 'text packet', 'raw', "it('a text packet over WebSocket'"],
  ['message, WebSocket', 'binary packet', 'raw', "it('a binary packet over WebSocket'"],
  ['message, WebSocket', 'invalid packet closes', 'engine', "for (const text of ['abc'"],
  ['heartbeat, polling', 'ping and pong', 'engine', "it('pings a polling client'"],
  ['heartbeat, polling', 'time-out closes', 'engine', "it('closes a polling session that does not answer'"],
  ['heartbeat, WebSocket', 'ping and pong', 'engine', "it('pings a WebSocket client'"],
  ['heartbeat, WebSocket', 'time-out closes', 'engine', "it('closes a WebSocket session that does not answer'"],
  ['close', 'polling', 'engine', "it('by a polling client'"],
  ['close', 'WebSocket', 'engine', "it('by a WebSocket client'"],
  ['upgrade', 'from polling to WebSocket', 'engine', "it('from polling to WebSocket'"],
  ['upgrade', 'HTTP with the same sid afterwards', 'engine', "it('ends HTTP for the session'"],
  ['upgrade', 'WebSocket with the same sid afterwards', 'engine', "it('closes a second WebSocket with the same session'"],
];

// The first sixteen are those of Engine.IO again: both protocols have the same path here.
const SOCKET_IO = [
  ...ENGINE_IO.filter(([group]) => !group.startsWith('message')),
  ['connect', 'main namespace', 'socket', "it('to the main namespace'"],
  ['connect', 'main namespace, payload', 'socket', "it('to the main namespace with a payload'"],
  ['connect', 'custom namespace', 'socket', "it('to a custom namespace'"],
  ['connect', 'custom namespace, payload', 'socket', "it('to a custom namespace with a payload'"],
  ['connect', 'unknown namespace', 'socket', "it('not to an unknown namespace'"],
  ['connect', 'invalid handshake', 'socket', 'instead of a handshake`'],
  ['connect', 'no handshake', 'socket', "it('closes a client that never connects'"],
  ['disconnect', 'main namespace', 'socket', "it('from the main namespace; the connection stays for another CONNECT'"],
  ['disconnect', 'custom namespace', 'socket', "it('from a custom namespace'"],
  ['message', 'text', 'socket', "it('plain text'"],
  ['message', 'binary attachments', 'socket', "it('with binary attachments'"],
  ['message', 'text, ack', 'socket', "it('plain text with an ack'"],
  ['message', 'binary attachments, ack', 'socket', "it('with binary attachments and an ack'"],
  ['message', 'unknown packet type', 'socket', "'4abc', '42{}'"],
  ['message', 'invalid payload', 'socket', "'42{}'"],
  ['message', 'invalid ack id', 'socket', "'42abc["],
];

for (const [suite, cases, count] of [['Engine.IO', ENGINE_IO, 25], ['Socket.IO', SOCKET_IO, 32]]) {
  test(`${suite}: ${count} cases`, () => {
    assert.equal(cases.length, count);
    for (const [group, what, file, ours] of cases)
      assert.ok(readFileSync(new URL(`${file}.test.mjs`, import.meta.url), 'utf8').includes(ours), `${group}: ${what}: ${file}.test.mjs has no such test`);
  });
}
