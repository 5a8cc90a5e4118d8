// The demo page: sign-in, lobby, meeting. This file starts it and connects the views.

import { lastCall, session } from './api.js';
import { chooseTab, listen, openLobby, openLocal, openSignIn, signOut } from './lobby.js';
import { current, enterCall, listenToControls } from './meeting.js';

Object.defineProperty(window, 'ringcast', { get: current }); // for the browser's console

// After a reload: back to the meeting, with the devices that were on.
async function returnTo(call) {
  try {
    await openLocal();
    await enterCall(() => ({ roomId: call.code }), call);
  } catch (error) {
    if (error.code === 'signed_out') signOut(error.message);
    else await openLobby(error.message);
  }
}

async function start() {
  chooseTab(true);
  listen(enterCall);
  listenToControls((message, signedOut) => (signedOut ? signOut(message) : openLobby(message)));
  session.restore();
  if (!session.token) {
    openSignIn();
    return;
  }
  const call = lastCall.get();
  lastCall.forget();
  try {
    await session.check();
  } catch (error) {
    if (error.status === 401) signOut(error.message);
    else openSignIn(error.message);
    return;
  }
  if (call?.code) await returnTo(call);
  else await openLobby();
}

start();
