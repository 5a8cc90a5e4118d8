// Requests to the server over HTTP: accounts, tokens, meetings. And what this tab remembers.

import { refusedRequest } from './texts.js';

export class ApiError extends Error {
  constructor(status, message, field) {
    super(message);
    this.status = status;
    this.field = field; // the field of the form that is wrong
  }
}

async function request(method, path, { body, token } = {}) {
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), { // the page may lie below a path
      method,
      headers: {
        ...(body ? { 'content-type': 'application/json' } : {}),
        ...(token ? { authorization: `Bearer ${token}` } : {}),
      },
      body: body ? JSON.stringify(body) : undefined,
    });
  } catch {
    throw new ApiError(0, 'The server cannot be reached. Check your network and try again.');
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    const { message, field } = refusedRequest(response.status, answer, Number(response.headers.get('retry-after')));
    throw new ApiError(response.status, message, field);
  }
  return answer;
}

// sessionStorage belongs to a tab and survives a reload. Two tabs may be two people.
function remembered(key) {
  try {
    return JSON.parse(sessionStorage.getItem(key));
  } catch {
    sessionStorage.removeItem(key);
    return null;
  }
}

const sessionKey = 'ringcast-session', callKey = 'ringcast-call';

// The account of this tab.
export const session = {
  token: null,
  user: null,

  restore() {
    Object.assign(this, remembered(sessionKey) ?? {});
  },

  // action: 'register' or 'login'.
  async enter(action, fields) {
    const answer = await request('POST', `auth/${action}`, { body: fields }).catch((error) => {
      if (error.status === 401) error.message = 'The email address or the password is wrong.';
      throw error;
    });
    this.token = answer.accessToken;
    this.user = answer.user;
    sessionStorage.setItem(sessionKey, JSON.stringify({ token: this.token, user: this.user }));
  },

  // Throws ApiError with status 401 if the token is no longer valid.
  check() {
    return request('GET', 'auth/me', { token: this.token });
  },

  leave() {
    this.token = null;
    this.user = null;
    sessionStorage.removeItem(sessionKey);
    lastCall.forget();
  },
};

// The call of this tab: { code, title, microphoneOn, cameraOn }. After a reload the page returns to it.
export const lastCall = {
  set: (call) => sessionStorage.setItem(callKey, JSON.stringify(call)),
  forget: () => sessionStorage.removeItem(callKey),

  // Only after a reload: a duplicated tab has the memory of its original, and must not take its seat.
  get() {
    const [{ type } = {}] = performance.getEntriesByType('navigation');
    return type === 'reload' || type === 'back_forward' ? remembered(callKey) : null;
  },
};

export function meeting(codeOrId) {
  return request('GET', `rooms/${encodeURIComponent(codeOrId)}`, { token: session.token });
}
