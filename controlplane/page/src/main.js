// What the page shows: sign-in, lobby, meeting. call.js holds the call itself.

import { meeting, session } from './api.js';
import { Call } from './call.js';
import * as devices from './devices.js';
import { Grid } from './grid.js';
import { icon } from './icons.js';
import { Statistics } from './statistics.js';

const $ = (id) => document.getElementById(id);
const local = { video: null, audio: null, screen: null, microphoneOn: true, cameraOn: true };
const grid = new Grid($('grid'));
let call = null;
let statisticsTimer = null;
let registering = true;

/* ---- views, messages, forms ---- */

function show(view) {
  for (const id of ['sign-in', 'lobby', 'call']) $(id).hidden = id !== view;
  document.body.dataset.view = view;
}

function banner(text) {
  $('banner').textContent = text ?? '';
  $('banner').hidden = !text;
}

function toast(text) {
  const line = document.createElement('p');
  line.textContent = text;
  $('toasts').append(line);
  setTimeout(() => line.remove(), 6000);
}

function busy(form, on) {
  for (const control of form.elements) control.disabled = on;
}

async function submitting(form, errorId, work) {
  $(errorId).textContent = '';
  busy(form, true);
  try {
    await work();
  } catch (error) {
    $(errorId).textContent = error.message;
    if (error.status === 401 && session.token) signOut();
  } finally {
    busy(form, false);
  }
}

/* ---- sign-in ---- */

function chooseTab(register) {
  registering = register;
  $('tab-register').setAttribute('aria-selected', String(register));
  $('tab-login').setAttribute('aria-selected', String(!register));
  $('name-field').hidden = !register;
  const form = $('sign-in-form').elements;
  form.displayName.required = register;
  form.password.autocomplete = register ? 'new-password' : 'current-password';
  $('sign-in-form').querySelector('.primary').textContent = register ? 'Create account' : 'Sign in';
  $('sign-in-error').textContent = '';
}

$('tab-register').addEventListener('click', () => chooseTab(true));
$('tab-login').addEventListener('click', () => chooseTab(false));
$('sign-in-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const fields = Object.fromEntries(new FormData(event.target));
  submitting(event.target, 'sign-in-error', async () => {
    if (registering) await session.enter('register', fields);
    else await session.enter('login', { email: fields.email, password: fields.password });
    await openLobby();
  });
});

function signOut() {
  session.leave();
  stopLocal();
  show('sign-in');
}

$('sign-out').addEventListener('click', signOut);

/* ---- lobby ---- */

function stopLocal() {
  for (const kind of ['video', 'audio', 'screen']) {
    local[kind]?.stop();
    local[kind] = null;
  }
}

async function openLocal() {
  local.video?.stop();
  local.audio?.stop();
  const opened = await devices.open({
    cameraId: $('camera-choice').value || undefined,
    microphoneId: $('microphone-choice').value || undefined,
  });
  local.video = opened.video;
  local.audio = opened.audio;
  $('preview').srcObject = opened.video ? new MediaStream([opened.video]) : null;
  const without = opened.video || opened.audio ? '' : ' You can still join to watch and listen.';
  $('preview-note').textContent = opened.problem ? opened.problem + without : '';
}

async function listDevices() {
  const { cameras, microphones } = await devices.list();
  for (const [id, found, none, current] of [
    ['camera-choice', cameras, 'No camera', local.video],
    ['microphone-choice', microphones, 'No microphone', local.audio],
  ]) {
    const chosen = current?.getSettings().deviceId;
    $(id).replaceChildren(...(found.length ? found : [{ deviceId: '', label: none }]).map((device, i) => {
      const option = new Option(device.label || `Device ${i + 1}`, device.deviceId);
      option.selected = device.deviceId === chosen;
      return option;
    }));
    $(id).disabled = found.length === 0;
  }
}

async function openLobby() {
  show('lobby');
  $('lobby-user').textContent = session.user.displayName;
  const invited = new URLSearchParams(location.search).get('room');
  if (invited) $('join-form').elements.code.value = invited;
  await openLocal();
  await listDevices();
}

for (const id of ['camera-choice', 'microphone-choice'])
  $(id).addEventListener('change', openLocal);
navigator.mediaDevices?.addEventListener('devicechange', listDevices);

$('create-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const title = event.target.elements.title.value.trim();
  submitting(event.target, 'lobby-error', () => enterCall((c) => c.create(title)));
});

$('join-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const code = event.target.elements.code.value.trim().toUpperCase();
  submitting(event.target, 'lobby-error', () => enterCall(() => ({ roomId: code })));
});

/* ---- meeting ---- */

const nameOf = (userId) =>
  call?.participants.find((p) => p.userId === userId)?.displayName ?? 'Somebody';

async function enterCall(findRoom) {
  const attempt = new Call(session.token);
  try {
    call = attempt;
    listen(attempt);
    await attempt.connect();
    const { roomId } = await findRoom(attempt);
    grid.clear();
    const tile = grid.ensure(session.user.id, `${session.user.displayName} (you)`, { isSelf: true });
    show('call');
    const joined = await attempt.join(roomId);
    $('call-code').textContent = joined.roomCode;
    history.replaceState(null, '', `?room=${joined.roomCode}`);
    meeting(joined.roomId).then((row) => { $('call-title').textContent = row.title; }, () => {});
    if (local.video?.readyState === 'ended' || local.audio?.readyState === 'ended') await openLocal();
    if (local.audio) await attempt.produce('microphone', local.audio);
    if (local.video) await attempt.produce('camera', local.video);
    local.microphoneOn = Boolean(local.audio);
    local.cameraOn = Boolean(local.video);
    grid.setVideo(tile, local.video);
    drawControls();
    startStatistics();
  } catch (error) {
    attempt.ended = true;
    attempt.socket?.close();
    call = null;
    show('lobby');
    throw error;
  }
}

function listen(current) {
  current.addEventListener('participants', drawPeople);
  current.addEventListener('roleChanged', ({ detail }) => {
    if (detail.userId !== session.user.id) return;
    current.role = detail.newRole;
    toast(detail.newRole === 'co_host' ? 'You are a co-host now.' : 'You are a participant now.');
    drawPeople();
  });
  current.addEventListener('track', ({ detail }) => showTrack(detail));
  current.addEventListener('problem', ({ detail }) => toast(detail.message));
  current.addEventListener('speaker', ({ detail }) => grid.setSpeaker(detail.userId));
  current.addEventListener('draining', () => banner('The server is restarting. The meeting will continue in a moment.'));
  current.addEventListener('mutedByHost', () => {
    local.microphoneOn = false;
    drawControls();
    toast('The host muted you.');
  });
  current.addEventListener('state', ({ detail }) => {
    banner(detail === 'reconnecting' ? 'Connection lost. Reconnecting…' : null);
  });
  current.addEventListener('transport', ({ detail }) => {
    if (detail.state === 'failed')
      banner('Audio and video do not get through. A firewall may block UDP to the server.');
    else if (detail.state === 'connected') banner(null);
  });
  current.addEventListener('ended', ({ detail }) => leaveView(detail));
}

function showTrack({ userId, source, track, paused }) {
  if (source === 'screen') {
    if (!track) {
      grid.remove(userId, true);
      return;
    }
    const tile = grid.ensure(userId, `${nameOf(userId)} · screen`, { screen: true });
    grid.setVideo(tile, paused ? null : track);
    return;
  }
  if (!track && !grid.tiles.has(userId)) return;
  const tile = grid.ensure(userId, nameOf(userId));
  if (source === 'microphone') {
    grid.setAudio(tile, track);
    grid.setMuted(tile, !track || Boolean(paused));
  } else {
    grid.setVideo(tile, paused ? null : track);
  }
}

const roleNames = { host: 'Host', co_host: 'Co-host', participant: '' };

function drawPeople() {
  if (!call) return;
  const { participants } = call;
  const me = participants.find((p) => p.userId === session.user.id);
  const role = me?.role ?? call.role;
  const leads = role === 'host' || role === 'co_host';

  grid.keep(participants.map((p) => p.userId));
  for (const p of participants) {
    if (p.userId === session.user.id) continue;
    const tile = grid.ensure(p.userId, p.displayName);
    if (!tile.querySelector('audio')?.srcObject) grid.setMuted(tile, true);
  }
  $('call-count').textContent = participants.length === 1 ? 'Only you' : `${participants.length} people`;
  $('people-list').replaceChildren(...participants.map((p) => {
    const line = document.createElement('li');
    const name = document.createElement('span');
    name.textContent = p.displayName + (p.userId === session.user.id ? ' (you)' : '');
    const badge = document.createElement('small');
    badge.textContent = roleNames[p.role] ?? '';
    line.append(name, badge);
    if (leads && p.userId !== session.user.id && p.role !== 'host') {
      if (role === 'host') line.append(action(p.role === 'co_host' ? 'Make participant' : 'Make co-host',
        'room:changeRole', { targetUserId: p.userId, newRole: p.role === 'co_host' ? 'participant' : 'co_host' }));
      line.append(action('Remove', 'room:kick', { targetUserId: p.userId }, `Remove ${p.displayName}?`));
    }
    return line;
  }));
  $('host-actions').hidden = !leads;
  $('close-room').hidden = role !== 'host';
}

function action(text, event, fields, question) {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'plain';
  button.textContent = text;
  button.addEventListener('click', () => hostAction(event, fields, question));
  return button;
}

async function hostAction(event, fields = {}, question = null) {
  if (question && !window.confirm(question)) return;
  try {
    const answer = await call.request(event, { roomId: call.roomId, ...fields });
    if (event === 'room:muteAll') toast(`${answer.mutedCount} ${answer.mutedCount === 1 ? 'person' : 'people'} muted.`);
  } catch (error) {
    toast(error.message);
  }
}

$('mute-all').addEventListener('click', () => hostAction('room:muteAll'));
$('close-room').addEventListener('click',
  () => hostAction('room:close', {}, 'End the meeting for everybody?'));

function setControl(id, text, shape, pressed) {
  const button = $(id);
  const label = document.createElement('span');
  label.textContent = text;
  button.replaceChildren(icon(shape), label);
  if (pressed !== undefined) button.setAttribute('aria-pressed', String(pressed));
}

function drawControls() {
  setControl('toggle-microphone', local.microphoneOn ? 'Mute' : 'Unmute',
    local.microphoneOn ? 'microphone' : 'microphoneOff', !local.microphoneOn);
  setControl('toggle-camera', local.cameraOn ? 'Stop video' : 'Start video',
    local.cameraOn ? 'camera' : 'cameraOff', !local.cameraOn);
  setControl('toggle-screen', local.screen ? 'Stop sharing' : 'Share screen', 'screen', Boolean(local.screen));
  setControl('toggle-people', 'People', 'people', !$('people').hidden);
  setControl('toggle-stats', 'Connection', 'stats', !$('stats').hidden);
  setControl('leave', 'Leave', 'leave');
  const tile = grid.tiles.get(session.user?.id);
  if (tile) {
    grid.setMuted(tile, !local.microphoneOn);
    tile.classList.toggle('has-video', local.cameraOn && Boolean(local.video));
  }
}

async function guarded(work) {
  try {
    await work();
  } catch (error) {
    toast(error.message);
  }
  drawControls();
}

// Turns the microphone or camera on or off. Opens the device first if that did not work at the start.
async function toggle(source, kind, flag) {
  const on = !local[flag];
  if (on && !local[kind]) {
    const opened = await devices.open({ wantVideo: kind === 'video', wantAudio: kind === 'audio' });
    if (!opened[kind]) throw new Error(opened.problem);
    local[kind] = opened[kind];
    if (kind === 'video') grid.setVideo(grid.tiles.get(session.user.id), local.video);
  }
  local[flag] = on; // before the server answers: a second press must mean the opposite
  try {
    if (on && !call.producers.has(source)) await call.produce(source, local[kind]);
    else await call.setPaused(source, !on);
  } catch (error) {
    local[flag] = !on;
    throw error;
  }
}

async function toggleScreen() {
  if (local.screen) {
    local.screen.stop();
    local.screen = null;
    grid.remove(session.user.id, true);
    await call.stopProducing('screen');
    return;
  }
  try {
    local.screen = await devices.screen();
  } catch (error) {
    if (error.name === 'NotAllowedError') return; // the user cancelled
    throw error;
  }
  local.screen.addEventListener('ended', () => local.screen && guarded(toggleScreen));
  await call.produce('screen', local.screen);
  grid.setVideo(grid.ensure(session.user.id, 'Your screen', { isSelf: true, screen: true }), local.screen);
}

function togglePanel(id) {
  const other = id === 'people' ? 'stats' : 'people';
  $(id).hidden = !$(id).hidden;
  $(other).hidden = true;
  drawControls();
}

const controls = {
  'toggle-microphone': () => guarded(() => toggle('microphone', 'audio', 'microphoneOn')),
  'toggle-camera': () => guarded(() => toggle('camera', 'video', 'cameraOn')),
  'toggle-screen': () => guarded(toggleScreen),
  'toggle-people': () => togglePanel('people'),
  'toggle-stats': () => togglePanel('stats'),
  leave: async () => {
    await call.leave();
    leaveView(null);
  },
};
for (const [id, act] of Object.entries(controls)) $(id).addEventListener('click', act);
for (const button of document.querySelectorAll('[data-close]'))
  button.addEventListener('click', () => togglePanel(button.dataset.close));

const keys = { m: 'toggle-microphone', v: 'toggle-camera', s: 'toggle-screen', p: 'toggle-people', i: 'toggle-stats' };
document.addEventListener('keydown', (event) => {
  if ($('call').hidden || event.ctrlKey || event.metaKey || event.altKey) return;
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const id = keys[event.key.toLowerCase()];
  if (id) controls[id]();
});

$('copy-link').addEventListener('click', async () => {
  try {
    await navigator.clipboard.writeText(location.href);
    toast('Invitation link copied.');
  } catch {
    toast(location.href);
  }
});

function leaveView(reason) {
  clearInterval(statisticsTimer);
  call = null;
  local.screen?.stop();
  local.screen = null;
  grid.clear();
  banner(null);
  history.replaceState(null, '', location.pathname);
  $('lobby-error').textContent = reason ?? '';
  openLobby();
}

/* ---- connection panel ---- */

function row(...cells) {
  const line = document.createElement('tr');
  for (const text of cells) line.insertCell().textContent = text;
  return line;
}

function startStatistics() {
  const statistics = new Statistics();
  clearInterval(statisticsTimer);
  statisticsTimer = setInterval(async () => {
    if (!call || $('stats').hidden) return;
    const figures = await statistics.read(call, nameOf).catch(() => null);
    if (!figures) return;
    $('stats-summary').replaceChildren(
      row('Sending', `${figures.sendKbps.toFixed(0)} kbit/s`),
      row('Receiving', `${figures.receiveKbps.toFixed(0)} kbit/s`),
      row('Loss', `${figures.lossPercent.toFixed(1)} %`),
      row('Round trip', figures.roundTripMs === null ? '–' : `${figures.roundTripMs.toFixed(0)} ms`));
    $('stats-streams').replaceChildren(...figures.streams.map((s) => row(s.label, s.kbps.toFixed(0),
      s.lossPercent === null ? '–' : `${s.lossPercent.toFixed(1)} %`)));
  }, 1000);
}

/* ---- start ---- */

Object.defineProperty(window, 'ringcast', { get: () => call }); // for the browser's console

async function start() {
  chooseTab(true);
  drawControls();
  session.restore();
  if (!session.token) {
    show('sign-in');
    return;
  }
  try {
    await session.check();
    await openLobby();
  } catch (error) {
    if (error.status === 401) session.leave();
    else $('sign-in-error').textContent = error.message;
    show('sign-in');
  }
}

start();
