// The page below a path: a reverse proxy serves Ringcast under /meet/ and knows nothing else.

import assert from 'node:assert/strict';
import { createServer, request } from 'node:http';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { Ringcast, until } from '../lib/ringcast.mjs';
import { openBrowser, Person } from './person.mjs';

const prefix = '/meet';
let ringcast, proxy, url;
const browsers = [], strays = []; // strays: requests outside the prefix

// Passes requests and WebSockets below the prefix on, without the prefix.
function startProxy(port) {
  const inside = (path) => (path.startsWith(`${prefix}/`) ? path.slice(prefix.length) : null);
  const server = createServer((incoming, answer) => {
    const path = inside(incoming.url);
    if (!path) {
      strays.push(incoming.url);
      answer.writeHead(404).end();
      return;
    }
    const onward = request({ host: '127.0.0.1', port, path, method: incoming.method, headers: incoming.headers }, (theirs) => {
      answer.writeHead(theirs.statusCode, theirs.headers);
      theirs.pipe(answer);
    });
    onward.on('error', () => answer.destroy());
    answer.on('close', () => onward.destroy());
    incoming.pipe(onward);
  });
  server.on('upgrade', (incoming, socket) => {
    const path = inside(incoming.url);
    if (!path) {
      strays.push(incoming.url);
      socket.destroy();
      return;
    }
    const onward = connect(port, '127.0.0.1', () => {
      const headers = incoming.rawHeaders.reduce((text, word, i) => text + word + (i % 2 ? '\r\n' : ': '), '');
      onward.write(`${incoming.method} ${path} HTTP/1.1\r\n${headers}\r\n`);
      socket.pipe(onward).pipe(socket);
    });
    for (const [one, other] of [[socket, onward], [onward, socket]]) {
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
    }
  });
  return new Promise((resolve) => { server.listen(0, '127.0.0.1', () => resolve(server)); });
}

before(async () => {
  ringcast = await Ringcast.start();
  proxy = await startProxy(ringcast.port);
  url = `http://localhost:${proxy.address().port}`;
});

after(async () => {
  await Promise.all(browsers.map((browser) => browser.close()));
  proxy?.closeAllConnections();
  proxy?.close();
  await ringcast?.stop();
});

test('people meet through a proxy that serves the page below a path', async () => {
  const people = [];
  for (const name of ['Ada', 'Grace']) {
    browsers.push(await openBrowser());
    people.push(await Person.open(browsers.at(-1), { url }, name, { path: `${prefix}/` }));
    await people.at(-1).signUp();
  }
  const [ada, grace] = people;
  const code = await ada.create('Below a path');
  assert.equal(new URL(ada.page.url()).pathname, `${prefix}/`);
  await grace.page.goto(`${url}${prefix}/?room=${code}`); // an invitation
  await grace.page.waitForSelector('#lobby:not([hidden])');
  await grace.join(code);
  for (const person of people) await person.sees(1);
  for (const person of people)
    await until(() => person.page.evaluate(() => window.ringcast.socket.io.engine.transport.name === 'websocket'), 10000, 'the WebSocket passes too');
  const shown = await ada.page.evaluate(async () => { // the invitation that is copied
    let copied = null;
    Object.defineProperty(navigator, 'clipboard', { configurable: true, value: { writeText: async (text) => { copied = text; } } });
    document.getElementById('copy-link').click();
    await new Promise((resolve) => setTimeout(resolve, 100));
    return copied;
  });
  assert.equal(shown, `${url}${prefix}/?room=${code}`);
  await grace.page.reload();
  await grace.page.waitForFunction(() => window.ringcast?.producers.size === 2);
  await grace.sees(1);
  await ada.page.click('#toggle-people');
  await ada.page.click('#close-room');
  await ada.page.click('#ask-yes');
  for (const person of people) {
    await person.page.waitForSelector('#lobby:not([hidden])');
    assert.equal(new URL(person.page.url()).pathname, `${prefix}/`);
    assert.deepEqual(person.problems, []);
  }
  assert.deepEqual(strays, [], 'the page asks for nothing outside its path');
});
