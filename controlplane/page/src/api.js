// Requests to the server over HTTP: accounts, tokens, meetings.

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function request(method, path, { body, token } = {}) {
  let response;
  try {
    response = await fetch(path, {
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
    const message = Array.isArray(answer.message) ? answer.message.join('. ') : answer.message;
    throw new ApiError(response.status, message || `The server answered ${response.status}.`);
  }
  return answer;
}

const storageKey = 'ringcast-session';

// The account of this browser tab: two tabs may be two people.
export const session = {
  token: null,
  user: null,

  restore() {
    try {
      Object.assign(this, JSON.parse(sessionStorage.getItem(storageKey)) ?? {});
    } catch {
      sessionStorage.removeItem(storageKey);
    }
  },

  // action: 'register' or 'login'.
  async enter(action, fields) {
    const answer = await request('POST', `/auth/${action}`, { body: fields });
    this.token = answer.accessToken;
    this.user = answer.user;
    sessionStorage.setItem(storageKey, JSON.stringify({ token: this.token, user: this.user }));
  },

  // Throws ApiError with status 401 if the token is no longer valid.
  check() {
    return request('GET', '/auth/me', { token: this.token });
  },

  leave() {
    this.token = null;
    this.user = null;
    sessionStorage.removeItem(storageKey);
  },
};

export function meeting(codeOrId) {
  return request('GET', `/rooms/${encodeURIComponent(codeOrId)}`, { token: session.token });
}
