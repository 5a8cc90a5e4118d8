// The view of a meeting: tiles, controls, panels. call.js holds the call itself.

import { lastCall, meeting, session } from './api.js';
import { Call } from './call.js';
import * as devices from './devices.js';
import { local, stopLocal } from './devices.js';
import { Grid } from './grid.js';
import { icon } from './icons.js';
import { fittingLayers, shownSize } from './layers.js';
import { openLocal } from './lobby.js';
import { watch } from './panel.js';
import { drawPeople, listenToPeople, nameOf } from './people.js';
import { askForRenewal, listenToRenewal } from './renewal.js';
import { $, banner, clearBanner, show, toast } from './view.js';

const awayMs = 10000; // a page that is hidden for so long needs no pictures

export const grid = new Grid($('grid'), () => banner('sound', 'The browser plays no sound yet. Click or press any key to hear the others.'),
  () => wantAll());
let call = null;
let stopWatching = () => {};
let isAway = false, awayTimer = null;
let onLeave;

const callBanners = {
  connected: null,
  lost: 'Connection lost. We come back by ourselves.',
  restarting: 'The server restarts. We come back by ourselves.',
  waiting: 'The server is busy. We try again by ourselves.',
};

export const current = () => call;

// find(call) resolves to { roomId }. wants: which devices are on, and { title, code } if they are known.
export async function enterCall(find, wants = {}) {
  const attempt = new Call(session.token, { videoCodec: videoCodec() });
  try {
    call = attempt;
    listen(attempt);
    await attempt.connect();
    const { roomId } = await find(attempt);
    openCallView(wants);
    const joined = await attempt.join(roomId);
    $('call-code').textContent = joined.roomCode;
    showAddress(joined.roomCode);
    remember();
    meeting(joined.roomId).then((row) => { $('call-title').textContent = row.title; remember(); }, () => {});
  } catch (error) {
    if (attempt.ended) return; // leaveView() has shown why
    attempt.close();
    closeCallView();
    if (!$('call').hidden) show('lobby');
    throw error;
  }
  await sendLocal(attempt);
}

function openCallView({ microphoneOn = true, cameraOn = true, title = 'Meeting', code = '' }) {
  local.microphoneOn = microphoneOn && Boolean(local.audio);
  local.cameraOn = cameraOn && Boolean(local.video);
  $('call-title').textContent = title;
  $('call-code').textContent = code;
  grid.clear();
  const tile = grid.ensure(session.user.id, `${session.user.displayName} (you)`, { isSelf: true });
  grid.setVideo(tile, local.video);
  drawControls();
  show('call');
  stopWatching();
  stopWatching = watch(call, grid, session.user.id);
}

// Somebody whose camera or microphone is refused stays, and may watch and listen.
async function sendLocal(attempt) {
  if (local.video?.readyState === 'ended' || local.audio?.readyState === 'ended') await openLocal();
  for (const [source, kind, flag] of [['microphone', 'audio', 'microphoneOn'], ['camera', 'video', 'cameraOn']]) {
    if (!local[kind] || attempt.ended) continue;
    try {
      await attempt.produce(source, local[kind], !local[flag]);
    } catch (error) {
      if (attempt.ended) return;
      local[flag] = false;
      toast(error.message);
    }
  }
  drawControls();
}

// ?video=vp9 chooses the codec of the camera (encodings.js). It stays in the address, and is not part of an
// invitation.
const videoCodec = () => new URLSearchParams(location.search).get('video')?.toLowerCase() ?? 'vp8';

function showAddress(room) {
  const words = new URLSearchParams({ ...(room ? { room } : {}), ...(videoCodec() === 'vp8' ? {} : { video: videoCodec() }) });
  history.replaceState(null, '', String(words) ? `?${words}` : location.pathname);
}

// For a reload. Whoever was muted stays muted.
function remember() {
  if (!call || call.ended) return;
  lastCall.set({ code: $('call-code').textContent, title: $('call-title').textContent,
    microphoneOn: local.microphoneOn, cameraOn: local.cameraOn });
}

function listen(attempt) {
  attempt.addEventListener('consumer', ({ detail }) => want(attempt, detail.id));
  attempt.addEventListener('participants', () => drawPeople(attempt, grid));
  attempt.addEventListener('roleChanged', ({ detail }) => {
    if (detail.userId !== session.user.id) return;
    attempt.role = detail.newRole;
    toast(detail.newRole === 'co_host' ? 'You are a co-host now.' : 'You are no longer a co-host.');
    drawPeople(attempt, grid);
  });
  attempt.addEventListener('track', ({ detail }) => showTrack(detail));
  attempt.addEventListener('problem', ({ detail }) => toast(detail.message));
  attempt.addEventListener('speaker', ({ detail }) => grid.setSpeaker(detail.userId));
  attempt.addEventListener('mutedByHost', () => {
    local.microphoneOn = false;
    drawControls();
    remember();
    toast('A host muted you.');
  });
  attempt.addEventListener('state', ({ detail }) => banner('call', callBanners[detail]));
  attempt.addEventListener('transport', ({ detail }) => {
    if (detail.state === 'failed')
      banner('media', 'Audio and video do not get through. A firewall may block UDP to the server.');
    else if (detail.state === 'connected') banner('media', null);
  });
  attempt.addEventListener('expiring', ({ detail }) => askForRenewal(attempt, detail.expiresAt));
  attempt.addEventListener('ended', ({ detail }) => leaveView(detail));
}

function showTrack({ userId, source, track, paused }) {
  if (source === 'screen') {
    if (!track) {
      grid.remove(userId, true);
      return;
    }
    const tile = grid.ensure(userId, `${nameOf(call, userId)} · screen`, { screen: true });
    grid.setVideo(tile, paused ? null : track);
    return;
  }
  if (!track && !grid.tiles.has(userId)) return;
  const tile = grid.ensure(userId, nameOf(call, userId));
  if (source === 'microphone') {
    grid.setAudio(tile, track);
    grid.setMuted(tile, !track || Boolean(paused));
  } else {
    grid.setVideo(tile, paused ? null : track);
  }
}

/* ---- what we want to see ---- */

// Says which layers of a picture its tile needs. A tile that does not exist yet gets all of them.
function want(attempt, id) {
  const { consumer, userId, source, sizes, temporalLayers } = attempt.consumers.get(id);
  const view = consumer.kind === 'video' ? grid.view(Grid.key(userId, source === 'screen')) : null;
  if (!view) return;
  const size = shownSize({ ...view, pixelRatio: devicePixelRatio }, view.ratio);
  attempt.viewing.want(id, { ...fittingLayers({ sizes, temporalLayers }, size, attempt.viewing.spatialLayer(id)),
    isPaused: isAway || !view.isInSight });
}

function wantAll() {
  if (call && !call.ended) for (const id of call.consumers.keys()) want(call, id);
}

function visibilityChanged() {
  clearTimeout(awayTimer);
  const setAway = (value) => {
    isAway = value;
    wantAll();
  };
  if (document.hidden) awayTimer = setTimeout(setAway, awayMs, true);
  else setAway(false);
}

/* ---- controls ---- */

function setControl(id, text, shape, isOff) {
  const label = document.createElement('span');
  label.textContent = text;
  $(id).replaceChildren(icon(shape), label);
  $(id).title = text;
  $(id).classList.toggle('off', Boolean(isOff));
}

// The text of a control says what it will do.
function drawControls() {
  setControl('toggle-microphone', local.microphoneOn ? 'Mute' : 'Unmute',
    local.microphoneOn ? 'microphone' : 'microphoneOff', !local.microphoneOn);
  setControl('toggle-camera', local.cameraOn ? 'Stop video' : 'Start video',
    local.cameraOn ? 'camera' : 'cameraOff', !local.cameraOn);
  setControl('toggle-screen', local.screen ? 'Stop sharing' : 'Share screen', 'screen');
  setControl('toggle-people', 'People', 'people');
  setControl('toggle-stats', 'Connection', 'stats');
  setControl('leave', 'Leave', 'leave');
  $('toggle-screen').classList.toggle('on', Boolean(local.screen));
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
    if (call) toast(error.message);
  }
  if (!call) return;
  drawControls();
  remember();
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
  drawControls();
  try {
    if (on && !call.producers.has(source)) await call.produce(source, local[kind]);
    else await call.setPaused(source, !on);
  } catch (error) {
    const producer = call?.producers.get(source);
    local[flag] = Boolean(producer && !producer.paused);
    throw error;
  }
}

async function toggleScreen() {
  if (local.screen) {
    stopLocal('screen');
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
  try {
    await call.produce('screen', local.screen);
  } catch (error) {
    stopLocal('screen');
    throw error;
  }
  grid.setVideo(grid.ensure(session.user.id, 'Your screen', { isSelf: true, screen: true }), local.screen);
}

const panels = { people: 'toggle-people', stats: 'toggle-stats' };
const openPanel = () => Object.keys(panels).find((id) => !$(id).hidden);

// The focus goes into the panel, and back to its button when it closes.
function showPanel(id, wanted) {
  for (const [panel, button] of Object.entries(panels)) {
    $(panel).hidden = panel !== id || !wanted;
    $(button).setAttribute('aria-expanded', String(!$(panel).hidden));
  }
  if (wanted) $(id).querySelector('h2').focus();
  else $(panels[id]).focus();
}

const togglePanel = (id) => showPanel(id, $(id).hidden);

const controls = {
  'toggle-microphone': () => guarded(() => toggle('microphone', 'audio', 'microphoneOn')),
  'toggle-camera': () => guarded(() => toggle('camera', 'video', 'cameraOn')),
  'toggle-screen': () => guarded(toggleScreen),
  'toggle-people': () => togglePanel('people'),
  'toggle-stats': () => togglePanel('stats'),
  leave: async () => {
    const left = call;
    await left?.leave();
    if (left && left === call) leaveView({ message: '' });
  },
};

const keys = { m: 'toggle-microphone', v: 'toggle-camera', s: 'toggle-screen', p: 'toggle-people', i: 'toggle-stats' };

function pressed(event) {
  if ($('call').hidden || document.querySelector('dialog[open]') || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  if (event.key === 'Escape' && openPanel()) showPanel(openPanel(), false);
  controls[keys[event.key.toLowerCase()]]?.();
}

async function copyLink() {
  const link = new URL(`?room=${$('call-code').textContent}`, location.href).href;
  try {
    await navigator.clipboard.writeText(link);
    toast('Invitation link copied.');
  } catch {
    toast(link);
  }
}

/* ---- the end ---- */

function closeCallView() {
  stopWatching();
  call = null;
  stopLocal('screen');
  grid.clear();
  clearBanner();
  lastCall.forget();
  for (const [panel, button] of Object.entries(panels)) {
    $(panel).hidden = true;
    $(button).setAttribute('aria-expanded', 'false');
  }
}

// The code stays in the address and in the lobby, unless nobody can join this meeting again.
function leaveView({ message, isOver, signedOut }) {
  closeCallView();
  if (isOver) showAddress();
  onLeave(message, signedOut);
}

// leave(message, signedOut): what follows after a meeting.
export function listenToControls(leave) {
  onLeave = leave;
  for (const [id, act] of Object.entries(controls)) $(id).addEventListener('click', act);
  for (const button of document.querySelectorAll('[data-close]'))
    button.addEventListener('click', () => showPanel(button.dataset.close, false));
  document.addEventListener('keydown', pressed);
  for (const gesture of ['keydown', 'pointerup'])
    document.addEventListener(gesture, () => {
      banner('sound', null);
      grid.playSound();
    });
  $('copy-link').addEventListener('click', copyLink);
  document.addEventListener('visibilitychange', visibilityChanged);
  listenToPeople(current);
  listenToRenewal();
  drawControls();
}
