// TLS of the server itself: who may talk, certificates that change, what is refused, the redirect.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import tls from 'node:tls';
import { io } from 'socket.io-client';
import WebSocket from 'ws';
import { Echo, Link, measuresMemory, slower, sleep, within } from './server.mjs';

const directory = mkdtempSync(join(tmpdir(), 'ringcast-tls-'));
const file = (name) => join(directory, name);
const LONG = { RINGCAST_PING_INTERVAL: '20000', RINGCAST_PING_TIMEOUT: '20000' };

// NAME.pem (own certificate, then the issuer's) and NAME.key.
function issue(name) {
  const openssl = (...words) => execFileSync('openssl', words, { stdio: 'pipe' });
  openssl('req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', file(`${name}.key`),
    '-out', file(`${name}.csr`), '-subj', `/CN=${name}`, '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1');
  openssl('x509', '-req', '-in', file(`${name}.csr`), '-CA', file('issuer.pem'), '-CAkey', file('issuer.key'), '-CAcreateserial',
    '-days', '30', '-copy_extensions', 'copy', '-out', file(`${name}.own`));
  writeFileSync(file(`${name}.pem`), readFileSync(file(`${name}.own`), 'utf8') + readFileSync(file('issuer.pem'), 'utf8'));
}

// As a renewal does it: both names are links, and each is replaced at once.
function use(certificate, key = certificate) {
  for (const [name, target] of [['live.pem', `${certificate}.pem`], ['live.key', `${key}.key`]]) {
    symlinkSync(target, file('next'));
    renameSync(file('next'), file(name));
  }
}

let ca, echo;
const live = { RINGCAST_TLS_CERTIFICATE: file('live.pem'), RINGCAST_TLS_KEY: file('live.key') };

before(async () => {
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30',
    '-keyout', file('issuer.key'), '-out', file('issuer.pem'), '-subj', '/CN=issuer'], { stdio: 'pipe' });
  ca = readFileSync(file('issuer.pem'));
  issue('first');
  issue('second');
  use('first');
  echo = await Echo.start({ ...LONG, ...live });
});
after(async () => {
  await echo.stop();
  rmSync(directory, { recursive: true, force: true });
});

function get(path, options = {}) {
  return new Promise((resolve, reject) => {
    https.get({ host: '127.0.0.1', port: echo.port, path, ca, agent: false, ...options }, (response) => {
      let text = '';
      response.on('data', (data) => { text += data; });
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, text }));
    }).on('error', reject);
  });
}
const metric = async (name) => Number((await get('/metrics')).text.match(new RegExp(`^ringcast_${name} (\\S+)$`, 'm'))?.[1]);
function shake(options = {}) {
  return within(new Promise((resolve, reject) => {
    const socket = tls.connect({ host: '127.0.0.1', port: echo.port, ca, ...options }, () => resolve(socket));
    socket.on('error', reject);
    socket.ticket = new Promise((got) => socket.on('session', got));
  }), 3000, 'handshake');
}
const nameOf = async () => {
  const socket = await shake();
  const name = socket.getPeerCertificate().subject.CN;
  socket.destroy();
  return name;
};

describe('HTTPS and WSS', () => {
  it('answers requests, with its chain, HTTP/1.1 by ALPN, TLS 1.3', async () => {
    const { status, text, headers } = await get('/things/a', { ALPNProtocols: ['h2', 'http/1.1'] });
    assert.equal(status, 200);
    assert.equal(JSON.parse(text).parameter, 'a');
    assert.equal(headers['strict-transport-security'], undefined, 'not for a try-out');
    const socket = await shake({ ALPNProtocols: ['h2', 'http/1.1'] });
    assert.equal(socket.alpnProtocol, 'http/1.1');
    assert.equal(socket.getProtocol(), 'TLSv1.3');
    assert.equal(socket.getPeerCertificate(true).issuerCertificate.subject.CN, 'issuer');
    socket.destroy();
  });
  for (const transports of [['polling'], ['websocket'], ['polling', 'websocket']]) {
    it(`stock client over ${transports.join(', then ')}`, async () => {
      const client = io(`https://127.0.0.1:${echo.port}`, { transports, ca, forceNew: true, auth: { token: 'x' } });
      await within(new Promise((resolve, reject) => { client.on('connect', resolve); client.on('connect_error', reject); }), 3000, 'connect');
      const big = 'y'.repeat(700_000);
      assert.deepEqual(await within(client.emitWithAck('message-with-ack', big, 2), 3000, 'ack'), big);
      if (transports.length === 2) {
        for (let i = 0; i < 50 && client.io.engine.transport.name !== 'websocket'; i++) await sleep(50);
        assert.equal(client.io.engine.transport.name, 'websocket');
        assert.equal(await client.emitWithAck('message-with-ack', 1), 1);
      }
      client.disconnect();
    });
  }
  it('bytes one by one, and many requests at once', async () => {
    const socket = await shake();
    let text = '';
    socket.on('data', (data) => { text += data; });
    const request = 'GET /things/x HTTP/1.1\r\nHost: a\r\n\r\n';
    for (const byte of request) socket.write(byte);
    socket.write(request.repeat(200));
    for (let i = 0; i < 60 && text.split('HTTP/1.1 200').length !== 202; i++) await sleep(50);
    assert.equal(text.split('HTTP/1.1 200').length, 202);
    socket.destroy();
  });
  it('who closes its side is still answered', async () => {
    const socket = await shake({ allowHalfOpen: true });
    let text = '';
    socket.on('data', (data) => { text += data; });
    socket.end('GET /things/x HTTP/1.1\r\nHost: a\r\n\r\n');
    await within(new Promise((resolve) => socket.on('close', resolve)), 5000, 'close');
    assert.match(text, /^HTTP\/1\.1 200 /);
  });
  it('a session is resumed with its ticket', async () => {
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3']) {
      const first = await shake({ maxVersion });
      first.write('GET /things/x HTTP/1.1\r\nHost: a\r\n\r\n');
      first.resume();
      const ticket = await within(first.ticket, 3000, 'ticket');
      first.destroy();
      const again = await shake({ maxVersion, session: ticket });
      assert.equal(again.isSessionReused(), true, maxVersion);
      again.write('GET /things/x HTTP/1.1\r\nHost: a\r\n\r\n');
      await within(new Promise((resolve) => again.on('data', resolve)), 3000, 'an answer');
      again.destroy();
    }
    assert.ok(await metric('http_tls_resumed_total') >= 2);
  });
  it('an idle socket costs at most 40 KiB', async () => {
    const heap = async () => JSON.parse((await get('/counters')).text).heap_bytes;
    const before = await heap();
    const links = [];
    for (let i = 0; i < 200; i++) {
      const link = new Link(new WebSocket(`wss://127.0.0.1:${echo.port}/socket.io/?EIO=4&transport=websocket`, { ca }));
      await link.next();
      link.send('40');
      await link.next();
      links.push(link);
    }
    const each = (await heap() - before) / links.length;
    console.log(`# per idle socket over TLS: ${each.toFixed(0)} bytes of heap`);
    if (measuresMemory) assert.ok(each < 40 * 1024, `${each} bytes`);
    links.forEach((link) => link.socket.terminate());
    await Promise.all(links.map((link) => within(link.closed, 3000, 'close')));
  });
  it('who stops reading is closed at 1 MiB', async () => {
    const before = await metric('socketio_slow_readers_total');
    const link = new Link(new WebSocket(`wss://127.0.0.1:${echo.port}/socket.io/?EIO=4&transport=websocket`, { ca }));
    await link.next();
    link.send('40');
    await link.next();
    link.socket._socket.pause();
    link.send('42["flood-me",5000,10000]');
    for (let i = 0; i < 60 && await metric('socketio_slow_readers_total') === before; i++) await sleep(50);
    assert.equal(await metric('socketio_slow_readers_total'), before + 1);
    link.socket.terminate();
  });
});

describe('refused', () => {
  for (const [what, options] of [
    ['TLS 1.1', { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' }],
    ['cipher block chaining', { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA' }],
    ['no forward secrecy', { maxVersion: 'TLSv1.2', ciphers: 'AES128-GCM-SHA256' }],
    ['HTTP/2 alone', { ALPNProtocols: ['h2'] }],
  ]) {
    it(what, async () => {
      const before = await metric('http_tls_failed_total');
      await assert.rejects(shake(options));
      assert.equal(await metric('http_tls_failed_total'), before + 1);
    });
  }
  it('plain HTTP is told so', async () => {
    const before = await metric('http_tls_plain_total');
    const { text } = await echo.raw('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    assert.match(text, /^HTTP\/1\.1 400 [^]*"This port speaks HTTPS only: use https:\/\/"/);
    assert.equal(await metric('http_tls_plain_total'), before + 1);
  });
  it('noise after a record header', async () => {
    const { closed } = await echo.raw(Buffer.concat([Buffer.from([22, 3, 1, 2, 0]), Buffer.alloc(600, 7)]));
    assert.ok(closed);
    assert.equal((await get('/things/x')).status, 200);
  });
  it('handshakes not done in 10 s, others are served meanwhile', { timeout: 60000 }, async () => {
    const before = await metric('http_tls_slow_total');
    const started = Date.now();
    const slow = Array.from({ length: 40 }, (_, i) => new Promise((resolve) => {
      const socket = connect(echo.port, '127.0.0.1', () => i % 2 && socket.write(Buffer.from([22, 3, 1, 2, 0, 1])));
      socket.on('error', () => {}).on('close', () => resolve(Date.now() - started));
    }));
    for (let i = 0; i < 20; i++) {
      const start = performance.now();
      assert.equal((await get('/things/x')).status, 200);
      assert.ok(performance.now() - start < 300 * slower);
    }
    for (const ms of await Promise.all(slow)) assert.ok(ms > 9000 && ms < 14000 * slower, `${ms}`);
    assert.equal(await metric('http_tls_slow_total'), before + 40);
  });
});

describe('a new certificate', () => {
  // Until new connections get that one; those that are open stay.
  async function becomes(name) {
    for (let i = 0; i < 100; i++) {
      if (await nameOf() === name) return;
      await sleep(50);
    }
    assert.equal(await nameOf(), name);
  }
  it('is taken when the files change; open connections stay', async () => {
    const link = new Link(new WebSocket(`wss://127.0.0.1:${echo.port}/socket.io/?EIO=4&transport=websocket`, { ca }));
    await link.next();
    link.send('40');
    await link.next();
    await link.next();
    assert.equal(await nameOf(), 'first');
    use('second');
    await becomes('second');
    link.send('421["ack-one"]');
    assert.equal(await link.next(), '431[true]');
    link.socket.terminate();
    assert.ok(await metric('http_tls_handshakes_total') > 0);
    assert.ok(Math.abs(await metric('tls_certificate_not_after_seconds') - Date.now() / 1000 - 30 * 86400) < 3600);
  });
  it('that is broken is refused with its reason, the old one serves on', async () => {
    const before = await metric('tls_certificate_refusals_total');
    use('first', 'second'); // somebody else's key
    for (let i = 0; i < 100 && await metric('tls_certificate_refusals_total') === before; i++) await sleep(50);
    writeFileSync(file('half.pem'), readFileSync(file('first.pem')).subarray(0, 300));
    use('half', 'first');
    await sleep(2500);
    assert.ok(await metric('tls_certificate_refusals_total') >= before + 2);
    assert.equal(await nameOf(), 'second');
    assert.match(echo.errors, /does not belong to the certificate/);
    assert.match(echo.errors, /RINGCAST_TLS_CERTIFICATE: [^\n]*live\.pem/);
    use('first');
    await becomes('first');
  });
});

describe('the start', () => {
  for (const [what, environment, sentence] of [
    ['a certificate without a key', { RINGCAST_TLS_CERTIFICATE: file('live.pem') }, /RINGCAST_TLS_KEY/],
    ['a key without a certificate', { RINGCAST_TLS_KEY: file('live.key') }, /RINGCAST_TLS_CERTIFICATE/],
    ['a redirect without TLS', { RINGCAST_REDIRECT_PORT: '8080' }, /TLS needs both/],
    ['a file that is not there', { ...live, RINGCAST_TLS_CERTIFICATE: file('none') }, /none: No such file/],
    ['a file that is no certificate', { ...live, RINGCAST_TLS_CERTIFICATE: file('live.key') }, /PEM/],
    ['the key of another', { ...live, RINGCAST_TLS_KEY: file('issuer.key') }, /does not belong to the certificate/],
  ]) {
    it(`is refused with ${what}`, async () => {
      await assert.rejects(Echo.start(environment), sentence);
    });
  }
});

describe('the redirect port', () => {
  it('sends everything to https, in production with HSTS', async () => {
    const redirect = await freePort();
    const other = await Echo.start({ ...LONG, ...live, RINGCAST_REDIRECT_PORT: String(redirect), NODE_ENV: 'production' });
    for (const [host, path, where] of [
      ['meet.example.org', '/a/b?c=d', `https://meet.example.org:${other.port}/a/b?c=d`],
      [`meet.example.org:${redirect}`, '/', `https://meet.example.org:${other.port}/`],
      ['[::1]:80', '/x', `https://[::1]:${other.port}/x`],
    ]) {
      const response = await within(new Promise((resolve, reject) => {
        http.get({ host: '127.0.0.1', port: redirect, path, headers: { host }, agent: false }, resolve).on('error', reject);
      }), 3000, 'redirect');
      response.resume();
      assert.equal(response.statusCode, 308);
      assert.equal(response.headers.location, where);
    }
    const secure = await get('/things/x', { port: other.port });
    assert.match(secure.headers['strict-transport-security'], /max-age=/);
    await other.stop();
  });
});

function freePort() {
  return new Promise((resolve) => {
    const server = http.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
