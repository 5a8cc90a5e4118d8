// TURN: coturn with our configuration, the credentials that Ringcast makes, and browsers that may
// use only the relay.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import tls from 'node:tls';
import { freePort, Ringcast, sleep, until } from '../lib/ringcast.mjs';
import { Coturn, credentials, TurnClient } from '../lib/turn.mjs';
import { openBrowser, Person } from './person.mjs';

const TURN = '10.99.0.1', SFU = '10.99.0.2', SECRET = 'planted-turn-secret-4711';
const nowS = () => Math.floor(Date.now() / 1000);
let coturn, ringcast, tlsPort;
const browsers = [];

before(async () => {
  for (const ip of [TURN, SFU]) execFileSync('ip', ['address', 'replace', `${ip}/32`, 'dev', 'lo']); // in our own network namespace
  const port = await freePort();
  tlsPort = await freePort();
  coturn = await Coturn.start({ ip: TURN, port, tlsPort, secret: SECRET, peer: SFU });
  ringcast = await Ringcast.start({
    MEDIASOUP_ANNOUNCED_IP: SFU, TURN_SECRET: SECRET, TURN_TTL: '600', RINGCAST_LOG_LEVEL: 'debug',
    TURN_URLS: `turn:${TURN}:${port}?transport=udp,turn:${TURN}:${port}?transport=tcp`,
  });
});

after(async () => {
  await Promise.all(browsers.map((browser) => browser.close()));
  await ringcast?.stop();
  await coturn?.stop();
});

async function withClient(given, look) {
  const client = new TurnClient(coturn, given);
  try {
    await look(await client.allocate(), client);
  } finally {
    client.close();
  }
}

test('coturn accepts our credentials until they expire, and no others', async () => {
  for (const [what, given, error] of [
    ['valid for a minute', credentials(SECRET, nowS() + 60, 'someone'), 0],
    ['expired a second ago', credentials(SECRET, nowS() - 1, 'someone'), 401],
    ['another secret', credentials('another', nowS() + 60, 'someone'), 401],
    ['expired, with a later time written in', { ...credentials(SECRET, nowS() - 1, 'someone'), username: `${nowS() + 60}:someone` }, 401],
  ])
    await withClient(given, (answer) => assert.equal(answer.error, error, what));
  const soon = credentials(SECRET, nowS() + 4, 'someone'); // they expire in 4 s
  await withClient(soon, (answer) => assert.equal(answer.error, 0));
  await sleep(5100);
  await withClient(soon, (answer) => assert.equal(answer.error, 401, 'the same credentials after they have expired'));
});

test('the relay leads to Ringcast and nowhere else', async () => {
  await withClient(credentials(SECRET, nowS() + 60, 'someone'), async (answer, client) => {
    assert.equal(answer.error, 0);
    assert.equal((await client.permit(SFU)).error, 0);
    for (const ip of ['127.0.0.1', TURN, '10.0.0.1', '172.16.0.1', '192.168.1.1', '169.254.169.254', '100.64.0.1',
      '0.0.0.0', '198.51.100.1', '8.8.8.8', '224.0.0.1', '255.255.255.255'])
      assert.equal((await client.permit(ip)).error, 403, ip);
  });
});

test('turns: accepts TLS 1.2, the newest that coturn 4.6 knows, and nothing older', async () => {
  const handshake = (version) => new Promise((resolve) => {
    const socket = tls.connect({ host: TURN, port: tlsPort, rejectUnauthorized: false, minVersion: version,
      maxVersion: version, ...(version < 'TLSv1.2' ? { ciphers: 'DEFAULT@SECLEVEL=0' } : {}) });
    socket.on('secureConnect', () => { resolve(socket.getProtocol()); socket.destroy(); });
    socket.on('error', () => resolve(null));
    socket.setTimeout(5000, () => { resolve(null); socket.destroy(); }); // coturn does not answer some versions
  });
  assert.equal(await handshake('TLSv1.2'), 'TLSv1.2');
  assert.equal(await handshake('TLSv1.1'), null);
  assert.equal(await handshake('TLSv1'), null);
});

// Runs in the page: the browser offers and uses only relayed candidates.
function relayOnly() {
  const Real = window.RTCPeerConnection;
  window.connections = [];
  window.RTCPeerConnection = class extends Real {
    constructor(configuration) {
      super({ ...configuration, iceTransportPolicy: 'relay' });
      window.connections.push(this);
    }
  };
}

async function selectedPairs(person) {
  return person.page.evaluate(async () => {
    const pairs = [];
    for (const connection of window.connections) {
      const stats = await connection.getStats();
      const transport = [...stats.values()].find((row) => row.type === 'transport');
      const pair = stats.get(transport?.selectedCandidatePairId);
      if (!pair) continue;
      const { candidateType, relayProtocol } = stats.get(pair.localCandidateId);
      pairs.push({ candidateType, relayProtocol, remote: stats.get(pair.remoteCandidateId).address });
    }
    return pairs;
  });
}

test('two browsers that may use only the relay see and hear each other', async () => {
  const people = [];
  for (const name of ['Ada', 'Grace']) {
    browsers.push(await openBrowser());
    const person = await Person.open(browsers.at(-1), ringcast, name, { prepare: relayOnly });
    await person.signUp();
    people.push(person);
  }
  const code = await people[0].create('Relayed');
  await people[1].join(code);
  for (const person of people) {
    await person.sees(1);
    await until(async () => {
      const [video] = (await person.media()).filter((m) => m.kind === 'video');
      return video.framesDecoded > 30;
    }, 15000, `${person.name} decodes more frames`);
    const pairs = await selectedPairs(person);
    assert.equal(pairs.length, 2);
    for (const pair of pairs) {
      assert.equal(pair.candidateType, 'relay');
      assert.equal(pair.remote, SFU);
    }
    assert.deepEqual(person.problems, []);
  }
  // Two transports for each browser.
  const tuples = (await ringcast.rows('transport_state')).map((row) => JSON.stringify(row));
  assert.equal(tuples.length, 4);
});

test('neither credentials nor the secret are in the log', () => {
  assert.match(coturn.log, /user <\d+:[0-9a-f-]{36}>/); // coturn has used them
  assert.ok(!ringcast.log.includes(SECRET));
  const used = new Set(coturn.log.match(/\d{10}:[0-9a-f-]{36}/g));
  for (const username of used) {
    assert.ok(!ringcast.log.includes(username), username);
    const { password } = credentials(SECRET, username.split(':')[0], username.split(':')[1]);
    assert.ok(!ringcast.log.includes(password));
  }
});
