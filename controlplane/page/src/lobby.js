// The views before a meeting: sign-in, and the lobby with the camera preview.

import { session } from './api.js';
import * as devices from './devices.js';
import { local, stopLocal } from './devices.js';
import { $, show, showError, submitting } from './view.js';

let registering = true;

/* ---- sign-in ---- */

export function chooseTab(register) {
  registering = register;
  for (const [id, chosen] of [['tab-register', register], ['tab-login', !register]]) {
    $(id).setAttribute('aria-selected', String(chosen));
    $(id).tabIndex = chosen ? 0 : -1;
  }
  $('sign-in-panel').setAttribute('aria-labelledby', register ? 'tab-register' : 'tab-login');
  $('name-field').hidden = !register;
  $('password-hint').hidden = !register;
  $('sign-in-form').elements.password.autocomplete = register ? 'new-password' : 'current-password';
  $('sign-in-form').querySelector('.primary').textContent = register ? 'Create account' : 'Sign in';
  $('sign-in-error').textContent = '';
}

export function openSignIn(reason = '') {
  const { displayName, email } = $('sign-in-form').elements;
  show('sign-in', registering ? displayName : email);
  showError('sign-in-error', reason);
}

// reason: why the account is left, when it was not the user who asked for it.
export function signOut(reason = '') {
  session.leave();
  stopLocal('video', 'audio', 'screen');
  $('preview').srcObject = null;
  $('sign-in-form').elements.password.value = '';
  if (reason) chooseTab(false);
  openSignIn(reason);
}

/* ---- lobby ---- */

export async function openLocal() {
  stopLocal('video', 'audio');
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
  for (const [id, name, found, current] of [
    ['camera-choice', 'Camera', cameras, local.video],
    ['microphone-choice', 'Microphone', microphones, local.audio],
  ]) {
    const chosen = current?.getSettings().deviceId;
    const none = { deviceId: '', label: `No ${name.toLowerCase()}` };
    $(id).replaceChildren(...(found.length ? found : [none]).map((device, i) => {
      const unnamed = found.length === 1 ? name : `${name} ${i + 1}`;
      const option = new Option(device.label || unnamed, device.deviceId);
      option.selected = device.deviceId === chosen;
      return option;
    }));
    $(id).disabled = found.length === 0;
  }
}

// Somebody with an invitation wants to join; others want to start.
function orderForms(invited) {
  const [first, second] = invited ? ['join-form', 'create-form'] : ['create-form', 'join-form'];
  $('lobby-forms').prepend($(first), $(second));
  $(first).querySelector('[type=submit]').className = 'primary';
  $(second).querySelector('[type=submit]').className = '';
}

// message: why the user is here again.
export async function openLobby(message = '') {
  const code = new URLSearchParams(location.search).get('room') ?? '';
  $('lobby-user').textContent = session.user.displayName;
  $('lobby-user').title = session.user.displayName;
  $('join-form').elements.code.value = code;
  orderForms(code !== '');
  show('lobby');
  showError('lobby-error', message);
  await openLocal();
  await listDevices();
}

// enter(find): find(call) resolves to { roomId } of the meeting to join.
export function listen(enter) {
  $('tab-register').addEventListener('click', () => chooseTab(true));
  $('tab-login').addEventListener('click', () => chooseTab(false));
  for (const [id, other] of [['tab-register', 'tab-login'], ['tab-login', 'tab-register']])
    $(id).addEventListener('keydown', (event) => {
      if (!/^Arrow(Left|Right)$/.test(event.key)) return;
      chooseTab(other === 'tab-register');
      $(other).focus();
    });

  $('sign-in-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const { displayName, email, password } = Object.fromEntries(new FormData(event.target));
    submitting(event.target, 'sign-in-error', async () => {
      if (registering) await session.enter('register', { displayName, email, password });
      else await session.enter('login', { email, password });
      openLobby();
    });
  });
  $('sign-out').addEventListener('click', () => signOut());

  for (const id of ['camera-choice', 'microphone-choice']) $(id).addEventListener('change', openLocal);
  navigator.mediaDevices?.addEventListener('devicechange', listDevices);

  const leftAccount = (error) => {
    if (error.code === 'signed_out') signOut(error.message);
    return error.code === 'signed_out';
  };
  $('create-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const title = event.target.elements.title.value.trim() || 'Meeting';
    submitting(event.target, 'lobby-error', () => enter((call) => call.create(title)), leftAccount);
  });
  $('join-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const code = event.target.elements.code.value.trim().toUpperCase();
    submitting(event.target, 'lobby-error', () => enter(() => ({ roomId: code })), leftAccount);
  });
}
