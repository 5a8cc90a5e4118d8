// TLS of the server: accepted and refused clients, new certificates, the redirect port.

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
import { closesSoon, Echo, Link, measuresMemory, slower, until, within } from './server.mjs';

const directory = mkdtempSync(join(tmpdir(), 'ringcast-tls-'));
const file = (name) => join(directory, name);

// Writes NAME.pem (its certificate, then the issuer's) and NAME.key.
function issue(name) {
  const openssl = (...words) => execFileSync('openssl', words, { stdio: 'pipe' });
  openssl('req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', file(`${name}.key`),
    '-out', file(`${name}.csr`), '-subj', `/CN=${name}`, '-addext', 'subjectAltName=DNS:localhost,DNS:meet.example.org,IP:127.0.0.1,IP:::1');
  openssl('x509', '-req', '-in', file(`${name}.csr`), '-CA', file('issuer.pem'), '-CAkey', file('issuer.key'), '-CAcreateserial',
    '-days', '30', '-copy_extensions', 'copy', '-out', file(`${name}.own`));
  writeFileSync(file(`${name}.pem`), readFileSync(file(`${name}.own`), 'utf8') + readFileSync(file('issuer.pem'), 'utf8'));
}

// Both names are symbolic links. Each is replaced in one step, as tools for renewal do it.
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
  echo = await Echo.start({ ...live });
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
function handshake(options = {}) {
  return within(new Promise((resolve, reject) => {
    const socket = tls.connect({ host: '127.0.0.1', port: echo.port, ca, ...options }, () => resolve(socket));
    socket.on('error', reject);
    socket.ticket = new Promise((got) => socket.on('session', got));
  }), 'handshake');
}
const nameOf = async () => {
  const socket = await handshake();
  const name = socket.getPeerCertificate().subject.CN;
  socket.destroy();
  return name;
};

describe('HTTPS and WSS', () => {
  it('answers requests, with its chain, HTTP/1.1 by ALPN, TLS 1.3', async () => {
    const { status, text, headers } = await get('/things/a', { ALPNProtocols: ['h2', 'http/1.1'] });
    assert.equal(status, 200);
    assert.equal(JSON.parse(text).parameter, 'a');
    assert.equal(headers['strict-transport-security'], undefined, 'only in production');
    const socket = await handshake({ ALPNProtocols: ['h2', 'http/1.1'] });
    assert.equal(socket.alpnProtocol, 'http/1.1');
    assert.equal(socket.getProtocol(), 'TLSv1.3');
    assert.equal(socket.getPeerCertificate(true).issuerCertificate.subject.CN, 'issuer');
    socket.destroy();
  });
  for (const transports of [['polling'], ['websocket'], ['polling', 'websocket']]) {
    it(`public client over ${transports.join(', then ')}`, async () => {
      const client = io(`https://127.0.0.1:${echo.port}`, { transports, ca, forceNew: true, auth: { token: 'x' } });
      await within(new Promise((resolve, reject) => { client.on('connect', resolve); client.on('connect_error', reject); }), 'connect');
      const big = 'y'.repeat(700_000);
      assert.deepEqual(await within(client.emitWithAck('message-with-ack', big, 2), 'ack'), big);
      if (transports.length === 2) {
        await until(() => client.io.engine.transport.name === 'websocket', 'the upgrade');
        assert.equal(await client.emitWithAck('message-with-ack', 1), 1);
      }
      client.disconnect();
    });
  }
  it('bytes one by one, and many requests at once', async () => {
    const socket = await handshake();
    let text = '';
    socket.on('data', (data) => { text += data; });
    const request = 'GET /things/x HTTP/1.1\r\nHost: a\r\n\r\n';
    for (const byte of request) socket.write(byte);
    socket.write(request.repeat(200));
    await until(() => text.split('HTTP/1.1 200').length === 202, '201 answers');
    socket.destroy();
  });
  it('a client that ends its side still gets its answer', async () => {
    const socket = await handshake({ allowHalfOpen: true });
    let text = '';
    socket.on('data', (data) => { text += data; });
    socket.end('GET /things/x HTTP/1.1\r\nHost: a\r\n\r\n');
    await within(new Promise((resolve) => socket.on('close', resolve)), 'close');
    assert.match(text, /^HTTP\/1\.1 200 /);
  });
  it('a session is resumed with its ticket', async () => {
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3']) {
      const first = await handshake({ maxVersion });
      first.write('GET /things/x HTTP/1.1\r\nHost: a\r\n\r\n');
      first.resume();
      const ticket = await within(first.ticket, 'ticket');
      first.destroy();
      const again = await handshake({ maxVersion, session: ticket });
      assert.equal(again.isSessionReused(), true, maxVersion);
      again.write('GET /things/x HTTP/1.1\r\nHost: a\r\n\r\n');
      await within(new Promise((resolve) => again.on('data', resolve)), 'an answer');
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
    await Promise.all(links.map((link) => closesSoon(link.closed, 3000)));
  });
  it('a client that stops reading is closed at 1 MiB', async () => {
    const before = await metric('socketio_slow_readers_total');
    const link = new Link(new WebSocket(`wss://127.0.0.1:${echo.port}/socket.io/?EIO=4&transport=websocket`, { ca }));
    await link.next();
    link.send('40');
    await link.next();
    link.socket._socket.pause();
    link.send('42["flood-me",5000,10000]');
    await until(async () => await metric('socketio_slow_readers_total') === before + 1, 'the slow reader is closed');
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
      await assert.rejects(handshake(options));
      assert.equal(await metric('http_tls_failed_total'), before + 1);
    });
  }
  it('plain HTTP, with a message', async () => {
    const before = await metric('http_tls_plain_total');
    const { text } = await echo.raw('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    assert.match(text, /^HTTP\/1\.1 400 [^]*"This port speaks HTTPS only: use https:\/\/"/);
    assert.equal(await metric('http_tls_plain_total'), before + 1);
  });
  it('random bytes after a record header', async () => {
    const { closed } = await echo.raw(Buffer.concat([Buffer.from([22, 3, 1, 2, 0]), Buffer.alloc(600, 7)]));
    assert.ok(closed);
    assert.equal((await get('/things/x')).status, 200);
  });
  it('handshakes that take 10 s; others are served meanwhile', async () => {
    const before = await metric('http_tls_slow_total');
    const started = performance.now();
    const slow = Array.from({ length: 40 }, (_, i) => new Promise((resolve) => {
      const socket = connect(echo.port, '127.0.0.1', () => i % 2 && socket.write(Buffer.from([22, 3, 1, 2, 0, 1])));
      socket.on('error', () => {}).on('close', () => resolve(performance.now() - started));
    }));
    for (let i = 0; i < 20; i++) {
      const start = performance.now();
      assert.equal((await get('/things/x')).status, 200);
      assert.ok(performance.now() - start < 300 * slower);
    }
    for (const ms of await Promise.all(slow)) assert.ok(ms > 9000 && ms < 10000 + 4000 * slower, `${ms}`);
    assert.equal(await metric('http_tls_slow_total'), before + 40);
  });
});

describe('a new certificate', () => {
  // Waits until new connections get this certificate.
  const becomes = (name) => until(async () => await nameOf() === name, `the certificate of ${name}`);
  it('is loaded when the files change; open connections stay open', async () => {
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
  it('that is broken is refused with a reason; the old one stays in use', async () => {
    const before = await metric('tls_certificate_refusals_total');
    const refusals = (count) => until(async () => await metric('tls_certificate_refusals_total') >= before + count, 'a refusal');
    use('first', 'second'); // the key of another certificate
    await refusals(1);
    writeFileSync(file('half.pem'), readFileSync(file('first.pem')).subarray(0, 300));
    use('half', 'first');
    await refusals(2);
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
    ['a file that does not exist', { ...live, RINGCAST_TLS_CERTIFICATE: file('none') }, /none: No such file/],
    ['a file without a certificate', { ...live, RINGCAST_TLS_CERTIFICATE: file('live.key') }, /PEM/],
    ['the key of another certificate', { ...live, RINGCAST_TLS_KEY: file('issuer.key') }, /does not belong to the certificate/],
  ]) {
    it(`is refused with ${what}`, async () => {
      await assert.rejects(Echo.start(environment), sentence);
    });
  }
});

describe('the redirect port', () => {
  it('redirects requests for hosts of the certificate to https, in production with HSTS', async () => {
    const redirect = await freePort();
    const other = await Echo.start({ ...live, RINGCAST_REDIRECT_PORT: String(redirect), NODE_ENV: 'production' });
    for (const [host, path, where] of [
      ['meet.example.org', '/a/b?c=d', `https://meet.example.org:${other.port}/a/b?c=d`],
      [`meet.example.org:${redirect}`, '/', `https://meet.example.org:${other.port}/`],
      ['[::1]:80', '/x', `https://[::1]:${other.port}/x`],
    ]) {
      const response = await within(new Promise((resolve, reject) => {
        http.get({ host: '127.0.0.1', port: redirect, path, headers: { host }, agent: false }, resolve).on('error', reject);
      }), 'redirect');
      response.resume();
      assert.equal(response.statusCode, 308);
      assert.equal(response.headers.location, where);
    }
    const refused = await within(new Promise((resolve, reject) => {
      http.get({ host: '127.0.0.1', port: redirect, path: '/', headers: { host: 'evil.example' }, agent: false }, resolve).on('error', reject);
    }), 'refusal');
    refused.resume();
    assert.equal(refused.statusCode, 421);
    assert.equal(refused.headers.location, undefined);
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
