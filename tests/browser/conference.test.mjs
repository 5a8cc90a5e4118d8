// A conference of real browsers, through all processes.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Ringcast, sleep, slower, until } from '../lib/ringcast.mjs';
import { openBrowser, Person } from './person.mjs';

// Longer than a browser on a busy machine needs to connect again.
const graceMs = Math.min(5000 * slower, 15000);
// The longest time until somebody who joins sees the first frame. The aim is 2 s; a busy machine needs
// longer.
const firstFrameMs = 6000 * slower;

let ringcast;
const browsers = []; // one for each person: pages of one browser would share one fake camera and block each other
const people = [];
let code;

before(async () => {
  ringcast = await Ringcast.start({ RECONNECT_GRACE: String(graceMs / 1000) });
});

after(async () => {
  await Promise.all(browsers.map((browser) => browser.close()));
  await ringcast?.stop();
});

async function signedUp(name, options) {
  const browser = await openBrowser();
  browsers.push(browser);
  const person = await Person.open(browser, ringcast, name, options);
  await person.signUp();
  return person;
}

test('three participants see and hear each other', async () => {
  for (const name of ['Ada', 'Grace', 'Edsger']) people.push(await signedUp(name));
  code = await people[0].create('Design review');
  assert.match(code, /^[A-Z2-9]{4}-[A-Z2-9]{4}-[A-Z2-9]{4}$/);
  await people[1].join(code);
  await people[2].join(code);
  for (const person of people) await person.sees(2);
});

test('all streams continue without loss, and first frames appeared soon', async () => {
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
    if (m.kind === 'video') assert.ok(m.firstFrameMs < firstFrameMs, `first frame after ${m.firstFrameMs} ms`);
  }));
});

test('somebody who joins later soon sees everybody', async () => {
  const late = await signedUp('Barbara', { viewport: { width: 390, height: 844 } });
  people.push(late);
  await late.join(code);
  await late.sees(3);
  for (const m of (await late.media()).filter((x) => x.kind === 'video'))
    assert.ok(m.firstFrameMs < firstFrameMs, `first frame after ${m.firstFrameMs} ms`);
  await people[0].sees(3);
  await people[0].page.click('#toggle-stats');
  await until(async () => {
    const summary = await people[0].page.textContent('#stats-summary');
    return /Sending[1-9]\d* kbit/.test(summary) && /Round trip\d+ ms/.test(summary);
  }, 10000, 'the page shows what it sends, and the round trip');
  await people[0].screenshot('call-desktop');
  await late.screenshot('call-phone');
});

test('a person mutes with the keyboard, the host mutes everybody, and the page marks them', async () => {
  const [host, guest] = people;
  const guestId = await guest.page.evaluate(() => JSON.parse(sessionStorage['ringcast-session']).user.id);
  const muted = () => host.page.evaluate((id) => document.querySelector(`[data-key="${id}"]`).classList.contains('muted'), guestId);
  assert.equal(await muted(), false);
  await guest.page.keyboard.press('m');
  await until(muted, 3000, 'the mark has appeared');
  await guest.page.keyboard.press('m');
  await until(async () => !(await muted()), 3000, 'the mark has gone');
  await host.page.click('#toggle-people');
  await host.page.click('#mute-all');
  await until(muted, 3000, 'the host has muted the guest');
  await until(async () => (await ringcast.rows('producer')).filter((row) => row.kind === 'audio' && row.paused === 1).length === 3,
    3000, 'the data plane has paused the audio of three people');
  await host.screenshot('people-desktop');
});

test('all pages mark the same person as the one who speaks', async () => {
  const speakers = () => Promise.all(people.map((p) => p.page.evaluate(() => [...document.querySelectorAll('.tile.speaking')]
    .map((tile) => `${tile.dataset.key}${tile.classList.contains('muted') ? ' muted' : ''}`).join())));
  await people[1].page.keyboard.press('m'); // now two fake microphones beep: this one and that of the host
  await until(async () => {
    const [first, ...others] = await speakers();
    return first && !first.includes(',') && !first.includes('muted') && others.every((other) => other === first);
  }, 15000, 'one speaker').catch(async (error) => { throw new Error(`${error.message}: ${await speakers()}`); });
});

test('media continues when the signaling connection is lost and comes back within the grace time', async () => {
  const [, guest] = people;
  const before = (await ringcast.rows('transport')).length;
  await guest.page.evaluate(() => window.ringcast.socket.io.engine.close());
  await guest.page.waitForFunction(() => window.ringcast.socket.connected);
  await sleep(graceMs + 500);
  assert.equal((await ringcast.rows('transport')).length, before);
  await guest.sees(3);
});

test('no rows stay behind when people leave, are removed or close their tab', async () => {
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
  await until(async () => (await ringcast.rows('transport')).length === 2, 10000 + graceMs, 'only the host is left');
  await host.page.click('#leave');
  await until(() => ringcast.isEmpty(), 10000 + graceMs, 'no rows are left');
});

test('no rows stay behind when a browser is killed', async () => {
  const other = await openBrowser();
  browsers.push(other);
  const victim = await Person.open(other, ringcast, 'Victim');
  await victim.signUp();
  await victim.create('Short');
  await until(async () => (await ringcast.rows('producer')).length === 2, 5000, 'two producers');
  const pid = Number((await (await other.newBrowserCDPSession()).send('SystemInfo.getProcessInfo'))
    .processInfo.find((p) => p.type === 'browser').id);
  process.kill(pid, 'SIGKILL');
  await until(() => ringcast.isEmpty(), 15000 + graceMs, 'no rows are left');
});

test('the host ends the meeting for everybody', async () => {
  const host = await signedUp('Host');
  const guest = await signedUp('Guest');
  const room = await host.create('Ends');
  await guest.join(room);
  await guest.sees(1);
  await host.page.click('#toggle-people');
  await host.page.click('#close-room');
  await host.page.click('#ask-yes');
  await guest.page.waitForSelector('#lobby:not([hidden])');
  assert.match(await guest.page.textContent('#lobby-error'), /ended the meeting/);
  await until(() => ringcast.isEmpty(), 10000 + graceMs, 'no rows are left');
});

test('the page says why somebody cannot join', async () => {
  const person = await signedUp('Lost');
  await person.page.fill('#join-form input[name=code]', 'AAAA-BBBB-CCCC');
  await person.page.click('#join-form button');
  await person.page.waitForFunction(() => document.getElementById('lobby-error').textContent);
  assert.match(await person.page.textContent('#lobby-error'), /room|meeting/i);
  await person.screenshot('lobby-desktop');
  await person.page.setViewportSize({ width: 390, height: 844 });
  await person.screenshot('lobby-phone');
  assert.deepEqual(people.flatMap((p) => p.problems), [], 'no browser has written an error to its console');
});
