// A room with many publishers, and a server that refuses for now: the page waits, and stays in the call.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Client } from '../lib/client.mjs';
import { Ringcast, until } from '../lib/ringcast.mjs';
import { openBrowser, Person } from './person.mjs';

const publishers = 20;
let ringcast, browser;
const clients = [];

before(async () => {
  ringcast = await Ringcast.start({ RATE_LIMIT_EVENTS: '10', RATE_LIMIT_WINDOW: '4' });
  browser = await openBrowser();
});

after(async () => {
  for (const one of clients) one.close();
  await browser?.close();
  await ringcast?.stop();
});

test('a page that is refused as rate_limited waits and gets everything', async () => {
  let roomId, roomCode;
  for (let i = 0; i < publishers; i++) {
    const one = await Client.open(ringcast, `publisher${i + 1}`);
    clients.push(one);
    if (i === 0) ({ roomId, roomCode } = await one.call('room:create', { title: 'Many' }));
    await one.call('room:join', { roomId });
    for (const kind of ['audio', 'video']) await one.produce(roomId, kind);
  }
  const ada = await Person.open(browser, ringcast, 'Ada');
  await ada.signUp();
  await ada.page.evaluate(() => { // notes each text of the banner
    window.said = new Set();
    new MutationObserver(() => window.said.add(document.getElementById('banner').textContent))
      .observe(document.getElementById('banner'), { childList: true, characterData: true, subtree: true });
  });
  const beganMs = performance.now();
  await ada.join(roomCode);
  await until(() => ada.page.evaluate((count) => window.ringcast?.consumers.size === count, 2 * publishers), 60000,
    'the page consumes all');
  console.log(`# ${2 * publishers} consumers after ${Math.round(performance.now() - beganMs)} ms`);
  const isMuted = async () => (await ringcast.rows('producer')).filter((row) => row.kind === 'audio' && row.paused === 1).length === 1;
  const isTold = async () => (await ada.page.evaluate(() => [...window.said])).some((line) => /The server is busy. We try again/.test(line));
  for (let i = 0; i < 100 && !await isTold(); i++) await ada.page.keyboard.press('m');
  assert.ok(await isTold(), 'the page says that the server refuses for now');
  if (await ada.page.textContent('#toggle-microphone') === 'Mute') await ada.page.keyboard.press('m');
  await until(isMuted, 20000, 'the server learns the last of many changes');
  assert.equal(await ada.page.textContent('#toggle-microphone'), 'Unmute');
  await until(async () => await ada.page.textContent('#banner') === '', 20000, 'the banner is gone');
  assert.equal(await ada.page.isVisible('#call'), true);
  assert.equal(await ada.page.textContent('#toasts'), '', 'nobody has to read about it');
  await ada.screenshot('many-desktop');
  await ada.page.setViewportSize({ width: 390, height: 844 });
  await ada.screenshot('many-phone');
  assert.deepEqual(ada.problems, [], 'the browser has written no error to its console');
});
