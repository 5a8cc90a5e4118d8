// What the page says when the server refuses something. The server's own words are for developers.

const byCode = {
  rate_limited: 'That was a lot at once. Wait a moment and try again.',
  unavailable: 'The server cannot do this at the moment. Try again in a moment.',
  invalid_payload: 'The server does not understand this. Check what you typed and try again.',
  room_not_found: 'There is no meeting with this code. Check the code and try again.',
  room_closed: 'This meeting has ended.',
  room_full: 'This meeting is full.',
  not_in_room: 'You are not in this meeting.',
  not_host: 'Only the host may do this.',
  cannot_kick_host: 'The host cannot be removed.',
  cannot_change_host: 'The host stays the host.',
  user_not_found: 'This person has left the meeting.',
  cannot_produce: 'The server does not accept what this browser sends.',
  cannot_consume: 'This browser cannot show one of the streams.',
};

const byField = {
  displayName: 'Type your name, with at most 100 characters.',
  email: 'This is not a complete email address. It looks like name@example.org.',
  password: 'Choose a password with 8 to 128 characters.',
  title: 'Give the meeting a title, with at most 255 characters.',
};

// A refused event: `code` and `message` of its acknowledgement.
export function refusedEvent(code, message) {
  return byCode[code] ?? message ?? 'The server refused this.';
}

// A refused HTTP request: { message, field }. The answer's `message` is an array when a field of the
// body is not valid; each entry begins with the name of its field.
export function refusedRequest(status, answer, retryAfterS) {
  const field = Array.isArray(answer.message)
    ? Object.keys(byField).find((name) => answer.message.some((text) => text.startsWith(`${name} `)))
    : undefined;
  if (field) return { field, message: byField[field] };
  const wait = retryAfterS > 1 ? `in ${retryAfterS} seconds` : 'in a moment';
  const messages = {
    401: 'Your sign-in is no longer valid. Please sign in again.',
    409: 'There is an account with this email address already. Sign in instead.',
    429: `Too many attempts. Try again ${wait}.`,
    503: `The server is busy. Try again ${wait}.`,
  };
  return { message: messages[status] ?? `The server answered with an error (${status}). Try again in a moment.` };
}
