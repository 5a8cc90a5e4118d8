// HTTP/1.1: which requests are answered and how, and which are refused.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Echo, measuresMemory, sleep, slower, until } from './server.mjs';

let echo;
let strict; // production with one allowed origin, trusted proxies and a page
let pages;
before(async () => {
  pages = mkdtempSync(join(tmpdir(), 'page-'));
  writeFileSync(join(pages, 'index.html'), '<!doctype html><title>t</title>');
  writeFileSync(join(pages, '.hidden'), 'secret');
  mkdirSync(join(pages, 'assets'));
  writeFileSync(join(pages, 'assets', 'app.js'), 'export {};\n');
  writeFileSync(join(pages, 'big.bin'), Buffer.alloc(3_000_000, 7));
  symlinkSync('/etc/passwd', join(pages, 'passwd.txt'));
  echo = await Echo.start();
  strict = await Echo.start({
    NODE_ENV: 'production',
    CORS_ORIGINS: 'https://app.example.org',
    TRUSTED_PROXIES: '127.0.0.0/8, 10.0.0.1',
    RINGCAST_PAGE: pages,
  });
});
after(async () => {
  await echo.stop();
  await strict.stop();
  rmSync(pages, { recursive: true });
});

const json = { 'content-type': 'application/json' };
const head = (line, ...fields) => `${[line, 'Host: x', ...fields].join('\r\n')}\r\n\r\n`;
const get = (...fields) => head('GET /things/1 HTTP/1.1', 'Connection: close', ...fields);
const post = (body, ...fields) => head('POST /echo HTTP/1.1', 'Content-Type: application/json', ...fields) + body;

async function refused(bytes, status, message) {
  const answer = await echo.raw(bytes);
  assert.equal(answer.status, status, `${JSON.stringify(String(bytes).slice(0, 120))} → ${answer.text.slice(0, 80)}`);
  assert.ok(answer.closed, 'the connection is closed');
  assert.match(answer.text, /\r\nConnection: close\r\n/);
  assert.equal(answer.text.match(/HTTP\/1\.1 /g).length, 1, 'one answer');
  const body = JSON.parse(answer.text.slice(answer.text.indexOf('\r\n\r\n') + 4));
  assert.equal(body.statusCode, status);
  if (message) assert.match(body.message, message);
}

describe('routes', () => {
  it('answers with JSON, also errors', async () => {
    const ok = await echo.get('/echo', { method: 'POST', headers: json, body: '{"a":[1,"ü"]}' });
    assert.deepEqual([ok.status, await ok.json()], [201, { a: [1, 'ü'] }]);
    for (const [path, options, status, error] of [
      ['/nothing', {}, 404, 'Not Found'],
      ['/nothing', { method: 'POST', headers: json, body: '{}' }, 404, 'Not Found'],
      ['/things/1/2', {}, 404, 'Not Found'],
      ['/things/', {}, 404, 'Not Found'],
      ['/echo', {}, 405, 'Method Not Allowed'],
      ['/things/1', { method: 'DELETE' }, 405, 'Method Not Allowed'],
      ['/echo', { method: 'POST', headers: { 'content-type': 'text/plain' }, body: '{}' }, 415, 'Unsupported Media Type'],
      ['/echo', { method: 'POST', headers: { 'content-type': 'application/jsonx' }, body: '{}' }, 415, 'Unsupported Media Type'],
      ['/echo', { method: 'POST', headers: json, body: '{' }, 400, 'Bad Request'],
      ['/echo', { method: 'POST', headers: json, body: '[]' }, 400, 'Bad Request'],
      ['/echo', { method: 'POST', headers: json, body: '"x"' }, 400, 'Bad Request'],
      ['/echo', { method: 'POST', headers: json, body: '' }, 400, 'Bad Request'],
      ['/things/%zz', {}, 400, 'Bad Request'],
      ['/things/%00', {}, 400, 'Bad Request'],
      ['/things/%ff', {}, 400, 'Bad Request'],
    ]) {
      const response = await echo.get(path, options);
      const body = await response.json();
      assert.deepEqual([response.status, body.statusCode, body.error], [status, status, error], path);
      assert.equal(typeof body.message, 'string');
      if (status === 405) assert.match(response.headers.get('allow'), /POST|GET, HEAD/);
    }
  });
  it('gives the handler the decoded parameter and the bearer token', async () => {
    const response = await echo.get('/things/%C3%BC%2Fx', { headers: { authorization: 'bearer a.b.c' } });
    assert.deepEqual(await response.json(), { parameter: 'ü/x', ip: '127.0.0.1', bearer: 'a.b.c' });
  });
  it('answers HEAD without a body', async () => {
    const { text } = await echo.raw(head('HEAD /things/1 HTTP/1.1', 'Connection: close'));
    assert.match(text, /^HTTP\/1\.1 200 /);
    assert.match(text, /Content-Length: 34\r\n/);
    assert.ok(text.endsWith('\r\n\r\n'));
  });
  it('keeps the connection, and answers pipelined requests in order', async () => {
    const { text, closed } = await echo.raw(
      head('GET /things/1 HTTP/1.1') + head('POST /echo HTTP/1.1', 'Content-Type: application/json', 'Content-Length: 7') + '{"b":2}'
      + head('GET /things/3 HTTP/1.1', 'Connection: close'),
    );
    assert.ok(closed);
    const order = [text.indexOf('"parameter":"1"'), text.indexOf('{"b":2}'), text.indexOf('"parameter":"3"')];
    assert.ok(order[0] > 0 && order[1] > order[0] && order[2] > order[1]);
  });
  it('accepts heads and bodies in pieces of any size', async () => {
    const bytes = post('{"pieces":true}', 'Content-Length: 15', 'Connection: close');
    const socket = connect(echo.port, '127.0.0.1');
    const closed = new Promise((resolve) => socket.on('close', resolve));
    socket.setNoDelay(true);
    let text = '';
    socket.on('data', (data) => { text += data; });
    for (const byte of bytes) {
      socket.write(byte);
      if (Math.random() < 0.2) await sleep(1);
    }
    await closed;
    assert.match(text, /^HTTP\/1\.1 201 [^]*\{"pieces":true\}$/);
  });
  it('accepts chunked bodies, also with extensions and trailers', async () => {
    const { text } = await echo.raw(post('3;a=b\r\n{"c\r\n4\r\n":1}\r\n0\r\nX: y\r\n\r\n', 'Transfer-Encoding: chunked', 'Connection: close'));
    assert.match(text, /^HTTP\/1\.1 201 [^]*\{"c":1\}$/);
  });
  it('answers 100 to Expect: 100-continue', async () => {
    const { text } = await echo.raw(post('{"e":1}', 'Content-Length: 7', 'Expect: 100-continue', 'Connection: close'));
    assert.match(text, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 201 /);
  });
  it('refuses a POST without a length', async () => {
    assert.equal((await echo.raw(post('', 'Connection: close'))).status, 411);
  });
  it('refuses a POST without a content type', async () => {
    const bytes = 'POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}';
    assert.equal((await echo.raw(bytes)).status, 415);
  });
  it('answers HTTP/1.0 and closes', async () => {
    const { text, closed } = await echo.raw('GET /things/1 HTTP/1.0\r\n\r\n');
    assert.ok(closed);
    assert.match(text, /^HTTP\/1\.1 200 /);
  });
  it('accepts the absolute form, and a client that ends its side', async () => {
    const { text } = await echo.raw(head('GET http://x/things/abs HTTP/1.1', 'Connection: close'), { end: true });
    assert.match(text, /"parameter":"abs"/);
  });
  it('survives clients that leave while a handler works', async () => {
    const held = async () => (await echo.counters()).held_requests;
    const before = await held();
    for (let i = 0; i < 20; i++) {
      const socket = connect(echo.port, '127.0.0.1');
      socket.on('error', () => {});
      socket.write(head('GET /hold HTTP/1.1'));
      await until(async () => await held() === before + i + 1, 'the handler has the request');
      socket.resetAndDestroy();
    }
  });
});

describe('malformed requests are refused and the connection closed', () => {
  for (const [what, bytes, status] of [
    ['a line that is no request', 'hello\r\n\r\n', 400],
    ['two words', head('GET /'), 400],
    ['four words', head('GET / x HTTP/1.1'), 400],
    ['two spaces', head('GET  / HTTP/1.1'), 400],
    ['a tab', head('GET\t/ HTTP/1.1'), 400],
    ['a bad method', head('G@T / HTTP/1.1'), 400],
    ['HTTP/2 in cleartext', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505],
    ['a later version', head('GET / HTTP/1.9'), 505],
    ['no version', head('GET / HTTQ/1.1'), 400],
    ['a TLS hello', Buffer.from('160301020001000001fc0303\r\n\r\n', 'latin1'), 400],
    ['a relative target', head('GET things HTTP/1.1'), 400],
    ['a control character in the target', head('GET /\x01 HTTP/1.1'), 400],
    ['UTF-8 in the target', head('GET /ü HTTP/1.1'), 400],
    ['bare LF', 'GET /things/1 HTTP/1.1\nHost: x\n\n', 400],
    ['bare CR', 'GET /things/1 HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n', 400],
    ['a folded line', get('A: b', ' c'), 400],
    ['a folded line with a tab', get('A: b', '\tc: d'), 400],
    ['a space before the colon', get('Content-Length : 0'), 400],
    ['a line without a colon', get('abc'), 400],
    ['an empty name', get(': x'), 400],
    ['a NUL', get('A: b\0c'), 400],
    ['no Host', 'GET / HTTP/1.1\r\n\r\n', 400],
    ['two Hosts', get('Host: y'), 400],
    ['two Content-Lengths', post('{}', 'Content-Length: 2', 'Content-Length: 2'), 400],
    ['two different Content-Lengths', post('{}', 'Content-Length: 2', 'content-length: 3'), 400],
    ['a list of lengths', post('{}', 'Content-Length: 2, 2'), 400],
    ['a signed length', post('{}', 'Content-Length: +2'), 400],
    ['a negative length', post('{}', 'Content-Length: -2'), 400],
    ['a hexadecimal length', post('{}', 'Content-Length: 0x2'), 400],
    ['an empty length', post('{}', 'Content-Length:'), 400],
    ['a huge length', post('{}', 'Content-Length: 99999999999999999999'), 400],
    ['length and coding', post('0\r\n\r\n', 'Content-Length: 5', 'Transfer-Encoding: chunked'), 400],
    ['coding and length', post('0\r\n\r\n', 'Transfer-Encoding: chunked', 'Content-Length: 5'), 400],
    ['two codings', post('0\r\n\r\n', 'Transfer-Encoding: chunked', 'Transfer-Encoding: identity'), 400],
    ['an unknown coding', post('x', 'Transfer-Encoding: gzip, chunked'), 501],
    ['chunked not last', post('x', 'Transfer-Encoding: chunked, identity'), 501],
    ['a coding that contains chunked', post('0\r\n\r\n', 'Transfer-Encoding: xchunked'), 501],
    ['coding in HTTP/1.0', 'POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400],
    ['a bad chunk size', post('g\r\n', 'Transfer-Encoding: chunked'), 400],
    ['an empty chunk size', post('\r\n', 'Transfer-Encoding: chunked'), 400],
    ['a signed chunk size', post('+2\r\n{}\r\n0\r\n\r\n', 'Transfer-Encoding: chunked'), 400],
    ['a chunk that is longer', post('2\r\n{}x\r\n0\r\n\r\n', 'Transfer-Encoding: chunked'), 400],
    ['bare LF after a chunk size', post('2\n{}\r\n0\r\n\r\n', 'Transfer-Encoding: chunked'), 400],
    ['a huge chunk size', post('fffffffff\r\n', 'Transfer-Encoding: chunked'), 413],
    ['endless chunk extensions', post(`2;${'x'.repeat(2000)}`, 'Transfer-Encoding: chunked'), 431],
    ['another expectation', post('{}', 'Content-Length: 2', 'Expect: tea'), 417],
    ['a long target', head(`GET /${'a'.repeat(5000)} HTTP/1.1`), 414],
    ['an endless target', `GET /${'a'.repeat(20000)}`, 414],
    ['a large header', get(`A: ${'b'.repeat(17000)}`), 431],
    ['many headers', get(...Array(120).fill('A: b')), 431],
  ]) it(what, () => refused(bytes, status));
});

describe('sizes', () => {
  const body = (bytes) => `{"a":"${'x'.repeat(bytes - 8)}"}`;
  it('a body of limit - 1 and limit is accepted, limit + 1 is not', async () => {
    for (const [bytes, status] of [[65535, 201], [65536, 201], [65537, 413]]) {
      const response = await echo.get('/echo', { method: 'POST', headers: json, body: body(bytes) });
      assert.equal(response.status, status, String(bytes));
      await response.arrayBuffer();
    }
  });
  it('the same with chunked bodies', async () => {
    for (const [bytes, status] of [[65535, 201], [65536, 201], [65537, 413]]) {
      const { status: got } = await echo.raw(
        post(`${bytes.toString(16)}\r\n${body(bytes)}\r\n0\r\n\r\n`, 'Transfer-Encoding: chunked', 'Connection: close'),
      );
      assert.equal(got, status, String(bytes));
    }
  });
  it('endless chunks are refused at the limit and need no more memory', async () => {
    const before = (await echo.counters()).rss_bytes;
    await Promise.all(Array.from({ length: 20 }, () => refused(
      Buffer.concat([Buffer.from(post('', 'Transfer-Encoding: chunked')), ...Array(100).fill(Buffer.from(`1000\r\n${'x'.repeat(4096)}\r\n`))]), 413)));
    if (measuresMemory) assert.ok((await echo.counters()).rss_bytes < before + 8 * 1024 * 1024);
  });
  it('deep, wide and long JSON is refused quickly', async () => {
    const wide = (n) => `{${Array.from({ length: n }, (_, i) => `"${i}":1`).join(',')}}`;
    for (const [text, status] of [
      [`${'{"a":'.repeat(15)}[]${'}'.repeat(15)}`, 201], [`${'{"a":'.repeat(16)}[]${'}'.repeat(16)}`, 400],
      [wide(256), 201], [wide(257), 400], [`{"a":[${'1,'.repeat(16380)}1]}`, 201], [`{"a":[${'1,'.repeat(16400)}1]}`, 400],
      ['['.repeat(60000), 400], [`{"a":"${'\\u0061'.repeat(8000)}"}`, 201],
    ]) {
      const start = performance.now();
      const response = await echo.get('/echo', { method: 'POST', headers: json, body: text });
      await response.arrayBuffer();
      assert.equal(response.status, status, text.slice(0, 40));
      assert.ok(performance.now() - start < 100 * slower);
    }
  });
});

describe('origins', () => {
  const foreign = { origin: 'https://evil.example' };
  it('all are allowed outside production', async () => {
    const response = await echo.get('/things/1', { headers: foreign });
    assert.equal(response.headers.get('access-control-allow-origin'), '*');
    const preflight = await echo.get('/echo', {
      method: 'OPTIONS',
      headers: { ...foreign, 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type,authorization,x-y' },
    });
    assert.equal(preflight.status, 204);
    assert.equal(preflight.headers.get('access-control-allow-origin'), '*');
    assert.match(preflight.headers.get('access-control-allow-methods'), /POST/);
    assert.equal(preflight.headers.get('access-control-allow-headers'), 'content-type,authorization,x-y');
    assert.equal(preflight.headers.get('access-control-allow-credentials'), null);
  });
  it('a preflight request may ask for 4 KiB of headers', async () => {
    const ask = (bytes) => echo.get('/echo', {
      method: 'OPTIONS',
      headers: { origin: 'https://elsewhere.example', 'access-control-request-method': 'POST', 'access-control-request-headers': 'x-'.padEnd(bytes, 'a') },
    });
    assert.equal((await ask(4096)).headers.get('access-control-allow-headers')?.length, 4096);
    assert.equal((await ask(4097)).headers.get('access-control-allow-headers'), null);
  });
  it('the list is allowed in production, for HTTP, polling and upgrades', async () => {
    const allowed = { origin: 'https://app.example.org' };
    const own = { origin: strict.url };
    assert.equal((await strict.get('/things/1', { headers: allowed })).headers.get('access-control-allow-origin'), allowed.origin);
    assert.equal((await strict.get('/things/1', { headers: allowed })).headers.get('vary'), 'Origin');
    for (const path of ['/things/1', strict.engine()])
      assert.equal((await strict.get(path, { headers: allowed })).headers.get('access-control-allow-credentials'), 'true');
    for (const headers of [allowed, own, {}]) {
      assert.equal((await strict.get('/things/1', { headers })).status, 200);
      assert.equal((await strict.get('/socket.io/?EIO=4&transport=polling', { headers })).status, 200);
      const link = strict.websocket('', { headers });
      assert.match(await link.next(), /^0/);
      link.socket.close();
    }
    for (const origin of [foreign.origin, 'null', 'https://app.example.org.evil.example', 'http://app.example.org', 'https://app.example.org:444', '']) {
      const headers = { origin };
      assert.equal((await strict.get('/things/1', { headers })).status, 403, origin);
      assert.equal((await strict.get('/socket.io/?EIO=4&transport=polling', { headers })).status, 403);
      assert.equal((await strict.get('/echo', { method: 'OPTIONS', headers: { ...headers, 'access-control-request-method': 'POST' } })).status, 403);
      assert.equal(await strict.websocket('', { headers }).closed, 1006);
    }
  });
});

describe('paths and proxies', () => {
  it('one slash more at the end of a path changes nothing', async () => {
    assert.deepEqual(await (await echo.get('/things/1/')).json(), await (await echo.get('/things/1')).json());
    assert.equal((await echo.get('/things/1//')).status, 404);
    assert.equal((await echo.get('/echo/')).status, 405);
  });
  it('metrics are for this machine, not for whom a proxy on it forwards', async () => {
    const ask = async (host, field = '') => (await echo.raw(`GET /metrics HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${field}\r\n`)).status;
    for (const host of ['127.0.0.1', '127.0.0.1:9', 'localhost', '[::1]:80']) assert.equal(await ask(host), 200, host);
    for (const host of ['meet.example.org', '127.0.0.1.example.org', '192.0.2.1', '[::2]']) assert.equal(await ask(host), 403, host);
    for (const field of ['X-Forwarded-For: 203.0.113.1', 'X-Real-IP: 203.0.113.1', 'Forwarded: for=203.0.113.1', 'Via: 1.1 proxy'])
      assert.equal(await ask('localhost', `${field}\r\n`), 403, field);
  });
  it('an idle connection is closed after the time of RINGCAST_KEEP_ALIVE', async () => {
    const short = await Echo.start({ RINGCAST_KEEP_ALIVE: '1' });
    const start = performance.now();
    assert.ok((await short.raw('GET /things/1 HTTP/1.1\r\nHost: x\r\n\r\n')).closed);
    assert.ok(performance.now() - start > 900);
    await short.stop();
  });
});

describe('a reload', () => {
  it('applies a new list of origins; a malformed list is refused and the old one stays', async () => {
    for (const [list, status] of [['https://new.example', 201], ['not an origin', 403]]) {
      const server = await Echo.start({ NODE_ENV: 'production', CORS_ORIGINS: 'https://old.example', ECHO_RELOAD_ORIGINS: list });
      const ask = async (origin) => (await server.get('/echo', { method: 'POST', body: '{}', headers: { origin, 'content-type': 'application/json' } })).status;
      assert.deepEqual([await ask('https://old.example'), await ask('https://new.example')], [201, 403]);
      server.process.kill('SIGHUP');
      await until(async () => await ask('https://new.example') === status, 'the reload');
      assert.equal(await ask('https://old.example'), status === 201 ? 403 : 201);
      if (status === 403) await until(() => server.errors, 'an error line');
      assert.match(server.errors, status === 403 ? /CORS_ORIGINS: 'not an origin' is not an origin/ : /^$/);
      await server.stop();
    }
  });
});

describe('the client\'s address', () => {
  const ip = async (server, forwarded) =>
    (await (await server.get('/things/1', { headers: forwarded ? { 'x-forwarded-for': forwarded } : {} })).json()).ip;
  it('is the right-most address that is not a trusted proxy', async () => {
    assert.equal(await ip(strict), '127.0.0.1');
    assert.equal(await ip(strict, '203.0.113.7'), '203.0.113.7');
    assert.equal(await ip(strict, '6.6.6.6, 203.0.113.7'), '203.0.113.7');
    assert.equal(await ip(strict, '6.6.6.6, 203.0.113.7, 10.0.0.1'), '203.0.113.7');
    assert.equal(await ip(strict, '6.6.6.6,203.0.113.7:4711 , 127.0.0.5'), '203.0.113.7');
    assert.equal(await ip(strict, '[2001:db8::1]:443'), '2001:db8::1');
    assert.equal(await ip(strict, '2001:db8::2'), '2001:db8::2');
    assert.equal(await ip(strict, '6.6.6.6, nonsense'), '127.0.0.1');
    assert.equal(await ip(strict, ','), '127.0.0.1');
  });
  it('is the peer\'s address when no proxy is trusted', async () => {
    assert.equal(await ip(echo, '203.0.113.7'), '127.0.0.1');
  });
});

describe('the page', () => {
  it('is served with types, tags and security headers', async () => {
    const response = await strict.get('/');
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('content-type'), 'text/html; charset=utf-8');
    assert.equal(response.headers.get('x-content-type-options'), 'nosniff');
    assert.equal(response.headers.get('x-frame-options'), 'DENY');
    assert.match(response.headers.get('content-security-policy'), /script-src 'self';.*frame-ancestors 'none'/);
    assert.match(await response.text(), /<title>t/);
    const script = await strict.get('/assets/app.js');
    assert.equal(script.headers.get('content-type'), 'text/javascript; charset=utf-8');
    const again = await strict.get('/assets/app.js', { headers: { 'if-none-match': `"x", W/${script.headers.get('etag')}` } });
    assert.equal(again.status, 304);
  });
  it('large files arrive completely', async () => {
    const bytes = Buffer.from(await (await strict.get('/big.bin')).arrayBuffer());
    assert.ok(bytes.length === 3_000_000 && bytes.every((byte) => byte === 7));
  });
  it('no other file is served', async () => {
    for (const path of ['/.hidden', '/passwd.txt', '/assets', '/assets/', '/../../etc/passwd', '/%2e%2e/%2e%2e/etc/passwd', '/..%2f..%2fetc/passwd',
      '//etc/passwd', '/assets/../index.html', '/index.html/', '/INDEX.HTML', '/index.html%00']) {
      const { text } = await strict.raw(head(`GET ${path} HTTP/1.1`, 'Connection: close'));
      assert.match(text, /^HTTP\/1\.1 404 /, path);
    }
    assert.equal((await strict.get('/', { method: 'POST', body: '{}', headers: json })).status, 405);
  });
  it('without a page, a text says so', async () => {
    assert.match(await (await echo.get('/')).text(), /RINGCAST_PAGE/);
  });
});
