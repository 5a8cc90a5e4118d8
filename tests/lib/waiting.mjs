// Waits for events: until(probe, what), within(promise, what). The limit only ends a test that hangs, so it is
// at least HANG_MS; until(probe, ms, what) makes it ms * patience. A test that is about time measures the time
// and compares it with a limit multiplied by `slower`.

import { patience } from './build.mjs';

export const HANG_MS = 5000 * patience;

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// [ms,] what → { what, limit }
function parse(words) {
  const what = words.pop(), [ms = 0] = words;
  return { what, limit: Math.max(ms * patience, HANG_MS) };
}

// Calls `probe` until it returns something true, and returns that. `what` names the event.
export async function until(probe, ...words) {
  const { what, limit } = parse(words), deadline = performance.now() + limit;
  let last;
  for (;;) {
    try {
      last = await probe();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline)
      throw new Error(`${what}: not within ${limit} ms (the last result: ${last?.stack ?? last})`);
    await sleep(50);
  }
}

// The promise, or an error when it takes too long. `what` names the event.
export function within(promise, ...words) {
  const { what, limit } = parse(words);
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${limit} ms`)), limit);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
