// The demo page: what it says, where things are, where the focus is, and how it comes back.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Client } from '../lib/client.mjs';
import { Ringcast, slower, sleep, until } from '../lib/ringcast.mjs';
import { openBrowser, Person } from './person.mjs';

const graceMs = Math.min(8000 * slower, 20000);
const phone = { width: 390, height: 844 }, desktop = { width: 1280, height: 800 };

let ringcast, ada, grace, code;
const browsers = [], clients = [];

// Without sound from the fake microphone nobody is marked as speaking; the pictures stay comparable.
async function person(name, options) {
  browsers.push(await openBrowser());
  return Person.open(browsers.at(-1), ringcast, name, options);
}

async function client(name) {
  clients.push(await Client.open(ringcast, name));
  return clients.at(-1);
}

before(async () => {
  ringcast = await Ringcast.start({ RECONNECT_GRACE: String(graceMs / 1000), RATE_LIMIT_EVENTS: '1000' });
  ada = await person('Ada');
});

after(async () => {
  for (const one of clients) one.close();
  await Promise.all(browsers.map((browser) => browser.close()));
  await ringcast?.stop();
});

const text = (who, id) => who.page.textContent(`#${id}`);
const shows = (who, view) => who.page.waitForSelector(`#${view}:not([hidden])`);
const box = (who, selector) => who.page.evaluate((wanted) => {
  const { left, top, right, bottom, width, height } = document.querySelector(wanted).getBoundingClientRect();
  return { left, top, right, bottom, width, height };
}, selector);
const focused = (who) => who.page.evaluate(() => ({ id: document.activeElement.id, tag: document.activeElement.tagName,
  view: document.activeElement.closest('main')?.id, panel: document.activeElement.closest('aside')?.id }));

// What does not fit: content wider than the window, and buttons or titles with text in two lines or cut off.
const faults = (who) => who.page.evaluate(() => {
  const found = [];
  if (document.documentElement.scrollWidth > window.innerWidth) found.push(`the page is ${document.documentElement.scrollWidth} px wide`);
  for (const element of document.querySelectorAll('button, h1, h2, #call-count, #lobby-user, aside .name')) {
    if (!element.checkVisibility() || !element.textContent.trim()) continue;
    const name = `${element.id || element.tagName} "${element.textContent.trim()}"`;
    const range = document.createRange();
    range.selectNodeContents(element.querySelector('span') ?? element); // the text beside an icon
    const lines = [...range.getClientRects()].filter((rect) => rect.width > 2);
    const outer = element.getBoundingClientRect();
    if (lines.length && Math.max(...lines.map((l) => l.bottom)) - Math.min(...lines.map((l) => l.top)) > 1.8 * lines[0].height)
      found.push(`${name} breaks into lines`);
    if (element.tagName === 'H1' && outer.height > 1.8 * lines[0].height) found.push(`${name} breaks into lines`);
    if (element.tagName === 'BUTTON' && element.scrollWidth > element.clientWidth + 1) found.push(`${name} is cut off`);
    if (outer.right > window.innerWidth + 1 || outer.left < -1) found.push(`${name} lies outside the window`);
  }
  return found;
});

// Decodes the camera of one other person; who is muted sends no sound.
const seesOne = (who) => until(async () => (await who.media()).some((m) => m.kind === 'video' && m.framesDecoded > 5), 15000,
  `${who.name} sees somebody`).catch(async (error) => {
  const state = await who.page.evaluate(() => ({ toasts: document.getElementById('toasts').textContent, wanted: window.ringcast.participants,
    states: [window.ringcast.sendTransport, window.ringcast.recvTransport].map((t) => [t.id, t.connectionState, t.closed]) }));
  throw new Error(`${error.message}\n${JSON.stringify([await who.media(), state])}\n${who.problems.join('\n')}`);
});

async function fits(who, what) {
  for (const [name, size] of Object.entries({ desktop, phone, small: { width: 320, height: 568 }, flat: { width: 844, height: 390 } })) {
    await who.page.setViewportSize(size);
    await sleep(100);
    assert.deepEqual(await faults(who), [], `${what}, ${name}`);
    await who.screenshot(`${what}-${name}`);
  }
  await who.page.setViewportSize(desktop);
}

test('the sign-in says what is wrong in plain words, at the field, and the tabs work with the keyboard', async () => {
  await shows(ada, 'sign-in');
  assert.deepEqual((await ada.page.evaluate(() => document.activeElement.name)), 'displayName');
  await ada.page.fill('input[name=displayName]', 'Ada');
  await ada.page.fill('input[name=email]', 'ada@example');
  await ada.page.fill('input[name=password]', 'correct horse');
  const refusal = async (pattern, field) => {
    await ada.page.keyboard.press('Enter');
    await until(async () => pattern.test(await text(ada, 'sign-in-error')), `the page says ${pattern}`);
    assert.equal(await ada.page.evaluate(() => document.activeElement.name), field);
    assert.equal(await ada.page.getAttribute(`input[name=${field}]`, 'aria-invalid'), 'true');
  };
  await refusal(/^This is not a complete email address/, 'email');
  await ada.page.fill('input[name=email]', 'ada@example.org');
  await ada.page.fill('input[name=password]', 'short');
  await refusal(/^Choose a password with 8 to 128 characters/, 'password');
  await ada.page.fill('input[name=password]', 'correct horse');
  await ada.page.fill('input[name=displayName]', '  ');
  await refusal(/^Type your name/, 'displayName');
  await fits(ada, 'sign-in');
  await ada.page.focus('#tab-register');
  await ada.page.keyboard.press('ArrowRight');
  assert.equal((await focused(ada)).id, 'tab-login');
  assert.equal(await ada.page.getAttribute('#tab-login', 'aria-selected'), 'true');
  await ada.page.focus('input[name=password]');
  await ada.page.keyboard.press('Enter');
  await until(async () => /email address or the password is wrong/.test(await text(ada, 'sign-in-error')), 'no such account');
  await ada.page.click('#tab-register');
  await ada.signUp();
  assert.equal((await focused(ada)).view, 'lobby');
});

test('an invited guest sees Join first, and every message lies in the window', async () => {
  await fits(ada, 'lobby');
  code = await ada.create('A weekly design review with a long title');
  assert.deepEqual(await focused(ada), { id: 'call-title', tag: 'H1', view: 'call', panel: undefined });
  grace = await person('Grace with a name that is long', { viewport: phone });
  await grace.page.goto(`${ringcast.url}/?room=AAAA-BBBB-CCCC`);
  await grace.signUp();
  const join = await box(grace, '#join-form button'), start = await box(grace, '#create-form button');
  assert.ok(join.bottom < start.top, 'Join lies above Start');
  assert.ok(join.bottom <= phone.height, `Join lies in the window: ${join.bottom}`);
  assert.equal(await grace.page.getAttribute('#join-form button', 'class'), 'primary');
  await grace.page.click('#join-form button');
  await until(async () => /no meeting with this code/.test(await text(grace, 'lobby-error')), 'the page says why');
  const message = await box(grace, '#lobby-error');
  assert.ok(message.top >= 0 && message.bottom <= phone.height && message.height > 10, JSON.stringify(message));
  assert.deepEqual((await focused(grace)).tag, 'BUTTON');
  await fits(grace, 'lobby-invited');
  await grace.page.setViewportSize(phone);
  await grace.screenshot('lobby-error-phone');
  assert.deepEqual(await grace.page.evaluate(() => [...document.querySelectorAll('#lobby option')].map((o) => o.label)
    .filter((label) => /^Device/.test(label))), []);
  await grace.join(code);
  assert.equal((await focused(grace)).view, 'call');
});

test('tiles show nearly whole cameras, rows are centred, a shared screen is large', async () => {
  for (const who of [ada, grace]) await who.sees(1);
  for (const name of ['Edsger', 'Barbara', 'Margaret']) await (await client(name)).call('room:join', { roomId: code });
  const tiles = (who) => who.page.evaluate(() => [...document.querySelectorAll('.tile')].map((tile) => {
    const { left, right, top, width, height } = tile.getBoundingClientRect(), video = tile.querySelector('video');
    return { left, right, top, width, height, screen: tile.classList.contains('screen'), whole: tile.classList.contains('whole'),
      ratio: video.videoWidth / video.videoHeight };
  }));
  const look = async (what) => {
    for (const [name, size] of Object.entries({ desktop, phone, flat: { width: 844, height: 390 } })) {
      await ada.page.setViewportSize(size);
      await until(async () => (await tiles(ada)).length >= 5, 'five tiles');
      await sleep(200);
      const all = await tiles(ada), stage = await box(ada, '#grid');
      for (const tile of all.filter(({ ratio, whole, screen }) => ratio && !whole && !screen)) {
        const shape = tile.width / tile.height;
        assert.ok(Math.min(shape / tile.ratio, tile.ratio / shape) > 0.7, `${what}, ${name}: ${JSON.stringify(tile)}`);
      }
      const screen = all.find((tile) => tile.screen);
      if (screen) assert.ok(screen.width >= 0.7 * stage.width || screen.height >= 0.9 * stage.height, `${what}, ${name}: ${JSON.stringify(screen)} in ${JSON.stringify(stage)}`);
      else {
        const last = all.filter(({ top }) => top === all.at(-1).top);
        const middle = (last[0].left + last.at(-1).right) / 2;
        assert.ok(Math.abs(middle - (stage.left + stage.right) / 2) <= 2, `${what}, ${name}: the last row has its middle at ${middle}`);
      }
      assert.deepEqual(await faults(ada), [], `${what}, ${name}`);
      await ada.screenshot(`call-${what}-${name}`);
    }
    await ada.page.setViewportSize(desktop);
  };
  await look('five');
  await grace.page.evaluate(() => { // a screen of 1600 × 900
    const canvas = Object.assign(document.createElement('canvas'), { width: 1600, height: 900 });
    const context = canvas.getContext('2d');
    let x = 0;
    setInterval(() => { context.fillStyle = `hsl(${x += 5} 60% 50%)`; context.fillRect(0, 0, 1600, 900); }, 200);
    navigator.mediaDevices.getDisplayMedia = async () => canvas.captureStream(5);
  });
  await grace.page.click('#toggle-screen');
  await until(async () => (await tiles(ada)).some((tile) => tile.screen && tile.ratio), 10000, 'the screen appears');
  await look('screen');
  await grace.page.click('#toggle-screen');
  await until(async () => !(await tiles(ada)).some((tile) => tile.screen), 'the screen is gone');
});

test('panels take the focus, Escape closes them, and questions are asked in the page', async () => {
  ada.page.on('dialog', () => assert.fail('the page uses window.confirm'));
  await ada.page.keyboard.press('p');
  assert.equal((await focused(ada)).panel, 'people');
  assert.equal(await ada.page.getAttribute('#toggle-people', 'aria-expanded'), 'true');
  await fits(ada, 'people');
  await ada.page.keyboard.press('Escape');
  assert.equal(await ada.page.isVisible('#people'), false);
  assert.equal((await focused(ada)).id, 'toggle-people');
  await ada.page.click('#toggle-stats');
  assert.equal((await focused(ada)).panel, 'stats');
  await fits(ada, 'connection');
  await ada.page.keyboard.press('Escape');
  assert.equal((await focused(ada)).id, 'toggle-stats');

  await ada.page.click('#toggle-people');
  const action = (userId, event) => `[data-action="${event} ${userId}"]`;
  const [edsger, barbara] = clients.slice(-3);
  await ada.page.focus(action(edsger.userId, 'room:changeRole'));
  await ada.page.keyboard.press('Enter');
  await until(async () => /Make participant/.test(await ada.page.textContent(action(edsger.userId, 'room:changeRole'))), 'a co-host');
  assert.equal(await ada.page.evaluate(() => document.activeElement.textContent), 'Make participant', 'the focus stays on the button');

  await ada.page.click(action(barbara.userId, 'room:kick'));
  await ada.page.waitForSelector('#ask[open]');
  assert.match(await text(ada, 'ask-question'), /Remove Barbara from the meeting\?/);
  await ada.screenshot('question-desktop');
  const micOff = () => ada.page.evaluate(() => document.querySelector('#toggle-microphone').classList.contains('off'));
  await ada.page.keyboard.press('m');
  assert.equal(await micOff(), false, 'shortcuts rest while a question is open');
  await ada.page.keyboard.press('Escape');
  assert.equal(await ada.page.evaluate(() => document.activeElement.dataset.action), `room:kick ${barbara.userId}`);
  assert.equal(barbara.heard.some(([event]) => event === 'room:userKicked'), false);
  await ada.page.keyboard.press('Enter');
  await ada.page.click('#ask-yes');
  await until(() => barbara.heard.some(([event]) => event === 'room:userKicked'), 'Barbara is removed');
  await until(async () => (await focused(ada)).panel === 'people', 'the focus stays in the panel');
  await ada.page.click('#mute-all');
  await until(async () => /people are muted now/.test(await ada.page.textContent('#toasts')), 'how many are muted');
  assert.equal(await grace.page.evaluate(() => document.querySelector('#toggle-microphone').textContent), 'Unmute');
  await ada.page.keyboard.press('Escape');
});

test('a reload returns to the call: no second tile, muted people stay muted', async () => {
  const userId = await grace.page.evaluate(() => JSON.parse(sessionStorage['ringcast-session']).user.id);
  const [edsger] = clients.slice(-3);
  edsger.heard.length = 0;
  const beganMs = performance.now();
  await grace.page.reload();
  await shows(grace, 'call');
  await grace.page.waitForFunction(() => window.ringcast?.producers.size === 2);
  console.log(`# back in the call ${Math.round(performance.now() - beganMs)} ms after the reload began`);
  assert.equal(await text(grace, 'call-code'), code);
  assert.match(await text(grace, 'call-title'), /long title/);
  assert.equal((await focused(grace)).view, 'call');
  assert.equal(await text(grace, 'toggle-microphone'), 'Unmute');
  const tile = await ada.page.$$(`[data-key="${userId}"]`);
  assert.equal(tile.length, 1);
  await seesOne(ada);
  assert.equal(await ada.page.evaluate((id) => document.querySelector(`[data-key="${id}"]`).classList.contains('muted'), userId), true);
  assert.deepEqual(edsger.heard.filter(([event]) => /^room:user/.test(event)), [], 'others notice no leaving and no joining');
  await grace.page.keyboard.press('m');
  await until(async () => !await ada.page.evaluate((id) => document.querySelector(`[data-key="${id}"]`).classList.contains('muted'), userId), 'unmuted');
});

test('a lost connection hides nothing, and what was muted meanwhile is told afterwards', async () => {
  await grace.page.setViewportSize(phone);
  await grace.page.evaluate(() => { window.ringcast.socket.io.reconnection(false); window.ringcast.socket.io.engine.close(); });
  await until(async () => /Connection lost/.test(await text(grace, 'banner')), 'the banner');
  const banner = await box(grace, '#banner'), title = await box(grace, '#call-title'), shownCode = await box(grace, '#call-code');
  assert.ok(banner.height > 0 && title.top >= banner.bottom && shownCode.top >= banner.bottom, JSON.stringify({ banner, title, shownCode }));
  assert.deepEqual(await faults(grace), []);
  await grace.screenshot('reconnecting-phone');
  await grace.page.keyboard.press('m');
  assert.equal(await text(grace, 'toggle-microphone'), 'Unmute');
  await grace.page.evaluate(() => { window.ringcast.socket.io.reconnection(true); window.ringcast.socket.connect(); });
  await until(async () => await text(grace, 'banner') === '', 'the banner is gone');
  await until(async () => (await ringcast.rows('producer')).some((row) => row.kind === 'audio' && row.paused === 1), 'the server has paused her microphone');
  await grace.page.setViewportSize(desktop);
});

test('when the sign-in ends during a meeting, the page asks for the password, and the meeting goes on', async () => {
  const token = await grace.page.evaluate(() => window.ringcast.token);
  await grace.page.evaluate(() => window.ringcast.socket.listeners('auth:expiring').forEach((hear) => hear({ expiresAt: Date.now() + 60000 })));
  await grace.page.waitForSelector('#renew[open]');
  assert.match(await text(grace, 'renew-title'), /Your sign-in ends at \d\d:\d\d/);
  await grace.screenshot('renew-desktop');
  await grace.page.fill('#renew-form input', 'wrong horse');
  await grace.page.keyboard.press('Enter');
  await until(async () => /password is wrong/.test(await text(grace, 'renew-error')), 'a wrong password is refused');
  await sleep(1100); // tokens have whole seconds: the new one differs
  await grace.page.fill('#renew-form input', 'correct horse');
  await grace.page.keyboard.press('Enter');
  await grace.page.waitForSelector('#renew:not([open])', { state: 'attached' });
  assert.notEqual(await grace.page.evaluate(() => window.ringcast.token), token);
  assert.equal((await focused(grace)).view, 'call');
  await seesOne(grace);
});

test('the server restarts or crashes: the page says so and comes back by itself', async () => {
  for (const [signal, words] of [['SIGTERM', 'The server restarts. We come back by ourselves.'], ['SIGKILL', 'Connection lost. We come back by ourselves.']]) {
    for (const who of [ada, grace]) await who.page.evaluate(() => {
      window.ringcast.socket.io.reconnectionDelay(20); // some attempts fail, because the server is not there yet
      window.failedAttempts = 0;
      window.ringcast.socket.io.on('reconnect_error', () => window.failedAttempts++);
    });
    process.kill((await ringcast.pids()).controlplane, signal);
    assert.equal(await until(() => text(ada, 'banner'), 'the page notices'), words);
    assert.equal(await text(ada, 'call-code'), code);
    for (const who of [ada, grace]) {
      await until(async () => await text(who, 'banner') === '' && await who.page.isVisible('#call'), 30000, `${who.name} is back`);
      await who.page.waitForFunction(() => window.ringcast?.producers.size === 2);
    }
    for (const who of [ada, grace]) await seesOne(who);
    console.log(`# ${signal}: back after ${await ada.page.evaluate(() => window.failedAttempts)} failed attempts`);
  }
});

test('whoever is removed or leaves keeps the code; the end of a meeting is told as it was', async () => {
  const lobbySays = async (who, pattern) => {
    await shows(who, 'lobby');
    assert.match(await text(who, 'lobby-error'), pattern);
    assert.equal((await focused(who)).view, 'lobby');
  };
  const field = (who) => who.page.inputValue('#join-form input[name=code]');
  await grace.page.click('#leave');
  await shows(grace, 'lobby');
  assert.equal(await text(grace, 'lobby-error'), '');
  assert.equal(await field(grace), code);
  await grace.join(code);
  const roomId = await ada.page.evaluate(() => window.ringcast.roomId);
  const graceId = await grace.page.evaluate(() => JSON.parse(sessionStorage['ringcast-session']).user.id);
  await ada.page.evaluate(([room, user]) => window.ringcast.request('room:kick', { roomId: room, targetUserId: user }), [roomId, graceId]);
  await lobbySays(grace, /removed you/);
  assert.equal(await field(grace), code);
  await grace.join(code);
  await ada.page.click('#toggle-people');
  await ada.page.click('#close-room');
  await ada.page.click('#ask-yes');
  await lobbySays(ada, /^You ended the meeting/);
  await lobbySays(grace, /^The host ended the meeting/);
  assert.equal(new URL(grace.page.url()).search, '');
  const unexpected = [...ada.problems, ...grace.problems].filter((line) => !/ERR_CONNECTION|WebSocket|Failed to load resource/.test(line));
  assert.deepEqual(unexpected, [], 'no browser has written an error to its console');
});
