// A conference in real browsers through all processes.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Ringcast, sleep, slower, until } from '../lib/ringcast.mjs';
import { openBrowser, Person } from './person.mjs';

let ringcast;
const browsers = []; // one each: pages of one browser would share, and stall, one fake camera
const people = [];
let code;

before(async () => {
  ringcast = await Ringcast.start();
});

after(async () => {
  await Promise.all(browsers.map((browser) => browser.close()));
  await ringcast?.stop();
});

async function newcomer(name, options) {
  const browser = await openBrowser();
  browsers.push(browser);
  const person = await Person.open(browser, ringcast, name, options);
  await person.signUp();
  return person;
}

test('three participants see and hear each other', async () => {
  for (const name of ['Ada', 'Grace', 'Edsger']) people.push(await newcomer(name));
  code = await people[0].create('Design review');
  assert.match(code, /^[A-Z2-9]{4}-[A-Z2-9]{4}-[A-Z2-9]{4}$/);
  await people[1].join(code);
  await people[2].join(code);
  for (const person of people) await person.sees(2);
});

test('for 10 s every stream goes on, nothing is lost, first frames came within 2 s', async () => {
  const before = await Promise.all(people.map((p) => p.media()));
  await sleep(10000);
  const later = await Promise.all(people.map((p) => p.media()));
  console.log('# first frames (ms):', later.flat().filter((m) => m.kind === 'video')
    .map((m) => Math.round(m.firstFrameMs)).join(' '));
  assert.equal(later.flat().filter((m) => m.kind === 'video').length, 6);
  assert.equal(later.flat().filter((m) => m.kind === 'audio').length, 6);
  later.forEach((media, i) => media.forEach((m, k) => {
    const field = m.kind === 'video' ? 'framesDecoded' : 'totalSamplesReceived';
    const least = m.kind === 'video' ? 50 : 9 * 48000;
    assert.ok(m[field] - before[i][k][field] > least,
      `${people[i].name}: ${m.kind} ${field} ${before[i][k][field]} → ${m[field]}`);
    assert.equal(m.packetsLost, 0, `${people[i].name}: ${m.kind} lost ${m.packetsLost}`);
    if (m.kind === 'video') assert.ok(m.firstFrameMs < 2000 * slower, `first frame after ${m.firstFrameMs} ms`);
  }));
});

test('someone who joins later sees everybody within 2 s', async () => {
  const late = await newcomer('Barbara', { viewport: { width: 390, height: 844 } });
  people.push(late);
  await late.join(code);
  await late.sees(3);
  for (const m of (await late.media()).filter((x) => x.kind === 'video'))
    assert.ok(m.firstFrameMs < 2000 * slower, `first frame after ${m.firstFrameMs} ms`);
  await people[0].sees(3);
  await people[0].page.click('#toggle-stats');
  await sleep(2500);
  const summary = await people[0].page.textContent('#stats-summary');
  assert.match(summary, /Sending[1-9]\d* kbit/);
  assert.match(summary, /Round trip\d+ ms/);
  await people[0].screenshot('call-desktop');
  await late.screenshot('call-phone');
});

test('mute marks, muting everybody, keyboard', async () => {
  const [host, guest] = people;
  const guestId = await guest.page.evaluate(() => JSON.parse(sessionStorage['ringcast-session']).user.id);
  const muted = () => host.page.evaluate((id) => document.querySelector(`[data-key="${id}"]`).classList.contains('muted'), guestId);
  assert.equal(await muted(), false);
  await guest.page.keyboard.press('m');
  await until(muted, 3000, 'the mark appears');
  await guest.page.keyboard.press('m');
  await until(async () => !(await muted()), 3000, 'the mark goes');
  await host.page.click('#toggle-people');
  await host.page.click('#mute-all');
  await until(muted, 3000, 'muted by the host');
  const paused = (await ringcast.rows('producer')).filter((row) => row.kind === 'audio' && row.paused === 1);
  assert.equal(paused.length, 3, 'paused in the data plane, not only flagged');
  await host.screenshot('people-desktop');
});

test('the tile of who speaks is marked, the same one everywhere', async () => {
  const speakers = () => Promise.all(people.map((p) => p.page.evaluate(() => [...document.querySelectorAll('.tile.speaking')]
    .map((tile) => `${tile.dataset.key}${tile.classList.contains('muted') ? ' muted' : ''}`).join())));
  await people[1].page.keyboard.press('m'); // two false microphones beep now, the host's and this one
  await until(async () => {
    const [first, ...others] = await speakers();
    return first && !first.includes(',') && !first.includes('muted') && others.every((other) => other === first);
  }, 15000 * slower, 'one speaker').catch(async (error) => { throw new Error(`${error.message}: ${await speakers()}`); });
});

test('a call survives the loss of the signaling connection within the grace time', async () => {
  const [, guest] = people;
  const before = (await ringcast.rows('transport')).length;
  await guest.page.evaluate(() => window.ringcast.socket.io.engine.close());
  await guest.page.waitForFunction(() => window.ringcast.socket.connected, null, { timeout: 5000 });
  await sleep(2500);
  assert.equal((await ringcast.rows('transport')).length, before);
  await guest.sees(3);
});

test('leaving, kicking, closing the tab: no rows are left behind', async () => {
  const [host, leaver, kicked, closer] = people;
  await leaver.page.click('#leave');
  await leaver.page.waitForSelector('#lobby:not([hidden])');
  await host.sees(2);
  const kickedId = await kicked.page.evaluate(() => JSON.parse(sessionStorage['ringcast-session']).user.id);
  await host.page.evaluate((id) => window.ringcast.request('room:kick', { roomId: window.ringcast.roomId, targetUserId: id }), kickedId);
  await kicked.page.waitForSelector('#lobby:not([hidden])');
  assert.match(await kicked.page.textContent('#lobby-error'), /removed you/);
  await host.sees(1);
  await closer.page.close();
  await until(async () => (await ringcast.rows('transport')).length === 2, 10000, 'only the host is left');
  await host.page.click('#leave');
  await until(() => ringcast.isEmpty(), 10000, 'no rows are left');
});

test('a killed browser leaves no rows behind', async () => {
  const other = await openBrowser();
  browsers.push(other);
  const victim = await Person.open(other, ringcast, 'Victim');
  await victim.signUp();
  await victim.create('Short');
  await until(async () => (await ringcast.rows('producer')).length === 2, 5000, 'two producers');
  const pid = Number((await (await other.newBrowserCDPSession()).send('SystemInfo.getProcessInfo'))
    .processInfo.find((p) => p.type === 'browser').id);
  process.kill(pid, 'SIGKILL');
  await until(() => ringcast.isEmpty(), 15000, 'no rows are left');
});

test('the host ends the meeting for everybody', async () => {
  const host = await newcomer('Host');
  const guest = await newcomer('Guest');
  const room = await host.create('Ends');
  await guest.join(room);
  await guest.sees(1);
  host.page.on('dialog', (dialog) => dialog.accept());
  await host.page.click('#toggle-people');
  await host.page.click('#close-room');
  await guest.page.waitForSelector('#lobby:not([hidden])');
  assert.match(await guest.page.textContent('#lobby-error'), /ended the meeting/);
  await until(() => ringcast.isEmpty(), 10000, 'no rows are left');
});

test('the page says clearly what is wrong', async () => {
  const person = await newcomer('Lost');
  await person.page.fill('#join-form input[name=code]', 'AAAA-BBBB-CCCC');
  await person.page.click('#join-form button');
  await person.page.waitForFunction(() => document.getElementById('lobby-error').textContent);
  assert.match(await person.page.textContent('#lobby-error'), /room|meeting/i);
  await person.screenshot('lobby-desktop');
  await person.page.setViewportSize({ width: 390, height: 844 });
  await person.screenshot('lobby-phone');
  assert.deepEqual(people.flatMap((p) => p.problems), [], 'no errors in any console');
});
