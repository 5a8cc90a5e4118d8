// Asks for the password when the sign-in ends during a meeting, so that the meeting goes on.

import { session } from './api.js';
import { $, submitting } from './view.js';

let call = null;

export function askForRenewal(asking, expiresAt) {
  call = asking;
  const time = new Date(expiresAt).toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' });
  $('renew-title').textContent = `Your sign-in ends at ${time}. Type your password to stay in the meeting.`;
  $('renew-error').textContent = '';
  if (!$('renew').open) $('renew').showModal();
}

export function listenToRenewal() {
  $('renew-later').addEventListener('click', () => $('renew').close());
  $('renew').addEventListener('close', () => $('renew-form').reset());
  $('renew-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const { password } = Object.fromEntries(new FormData(event.target));
    submitting(event.target, 'renew-error', async () => {
      await session.enter('login', { email: session.user.email, password });
      await call.refresh(session.token);
      $('renew').close();
    });
  });
}
