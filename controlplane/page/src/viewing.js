// Tells the server what this page wants to see: which layers of a consumer, or that it is out of sight and
// may pause. Wishes change often (a window is resized), requests are few: only the last wish of a moment
// is sent, and never more than the rate limit of the server allows beside everything else.

const timing = {
  settleMs: 250, // a wish must hold for so long
  pauseAfterMs: 2000, // somebody who scrolls past a tile does not pause it
  windowMs: 60000,
  retryFirstMs: 2000,
  retryLastMs: 60000,
};
const requestsLeast = 30, requestsPerConsumer = 2; // in one window

const neverAgain = new Set(['unknown_event', 'unsupported']); // codes: this server has no layers
const gone = new Set(['consumer_not_found', 'ended']);

const sameLayers = (a, b) => a.spatialLayer === b.spatialLayer && a.temporalLayer === b.temporalLayer;

export class Viewing {
  #consumers = new Map(); // id → { wanted, asked, sinceMs, isBusy, isChosen }
  #sentMs = []; // when the requests of this window were sent
  #timer = null;
  #dueMs = Infinity;
  #retryMs;
  #notBeforeMs = 0;
  #hasLayers = true;

  // ask(event, payload) resolves when the server has done it; it throws an error with a code.
  constructor(ask, times = {}) {
    this.ask = ask;
    this.times = { ...timing, ...times };
    this.#retryMs = this.times.retryFirstMs;
  }

  // A consumer as the server creates it: paused, with all layers. The caller resumes it.
  add(id, spatialLayers, temporalLayers) {
    const all = { spatialLayer: spatialLayers - 1, temporalLayer: temporalLayers - 1 };
    this.#consumers.set(id, { wanted: { ...all, isPaused: false }, asked: { ...all, isPaused: false },
      sinceMs: 0, isBusy: false, isChosen: false });
  }

  drop(id) {
    this.#consumers.delete(id);
  }

  wantsPaused(id) {
    return this.#consumers.get(id)?.wanted.isPaused ?? false;
  }

  // The spatial layer that was wanted last, if any was.
  spatialLayer(id) {
    const one = this.#consumers.get(id);
    return one?.isChosen ? one.wanted.spatialLayer : undefined;
  }

  // What a new consumer shall begin with. Resolves to false if it shall stay paused.
  begin(id) {
    const one = this.#consumers.get(id);
    if (!one) return true;
    one.asked.isPaused = one.wanted.isPaused;
    if (!one.asked.isPaused && this.#needsLayers(one)) this.#send(id, one); // goes out before the caller's request
    return !one.asked.isPaused;
  }

  // wanted: { spatialLayer, temporalLayer, isPaused }.
  want(id, wanted) {
    const one = this.#consumers.get(id);
    if (!one) return;
    if (wanted.isPaused && !one.wanted.isPaused) one.sinceMs = performance.now();
    const isSeenAgain = one.wanted.isPaused && !wanted.isPaused;
    Object.assign(one, { wanted, isChosen: true });
    if (this.#next(one)) this.#wake(isSeenAgain ? 0 : this.times.settleMs);
  }

  // The connection is back: what could not be sent is sent now.
  connected() {
    this.#notBeforeMs = 0;
    this.#retryMs = this.times.retryFirstMs;
    this.#wake(0);
  }

  close() {
    clearTimeout(this.#timer);
    this.#consumers.clear();
  }

  #needsLayers({ wanted, asked }) {
    return this.#hasLayers && !sameLayers(wanted, asked);
  }

  // The next request of a consumer: its event, or null.
  #next(one) {
    if (one.wanted.isPaused) return one.asked.isPaused ? null : 'media:pauseConsumer';
    if (this.#needsLayers(one)) return 'media:setPreferredLayers';
    return one.asked.isPaused ? 'media:resumeConsumer' : null;
  }

  #wake(ms) {
    const dueMs = performance.now() + ms;
    if (dueMs >= this.#dueMs) return;
    clearTimeout(this.#timer);
    this.#dueMs = dueMs;
    this.#timer = setTimeout(() => {
      this.#dueMs = Infinity;
      this.#flush();
    }, ms);
  }

  // How long until another request may be sent; 0: now.
  #waitMs(now) {
    const { windowMs } = this.times;
    const most = requestsLeast + requestsPerConsumer * this.#consumers.size;
    while (this.#sentMs.length && now - this.#sentMs[0] >= windowMs) this.#sentMs.shift();
    const forLimit = this.#sentMs.length < most ? 0 : this.#sentMs[0] + windowMs - now;
    return Math.max(0, forLimit, this.#notBeforeMs - now);
  }

  #flush() {
    const now = performance.now();
    // Those that come into sight are the most urgent.
    const due = [...this.#consumers].filter(([, one]) => !one.isBusy && this.#next(one))
      .sort(([, a], [, b]) => Number(b.asked.isPaused) - Number(a.asked.isPaused));
    for (const [id, one] of due) {
      const pausesInMs = one.wanted.isPaused ? one.sinceMs + this.times.pauseAfterMs - now : 0;
      const waitMs = Math.max(pausesInMs, this.#waitMs(now));
      if (waitMs > 0) this.#wake(waitMs);
      else this.#send(id, one);
    }
  }

  async #send(id, one) {
    const event = this.#next(one), { spatialLayer, temporalLayer } = one.wanted;
    one.isBusy = true;
    this.#sentMs.push(performance.now());
    try {
      if (event === 'media:setPreferredLayers') {
        await this.ask(event, { consumerId: id, spatialLayer, temporalLayer });
        Object.assign(one.asked, { spatialLayer, temporalLayer });
      } else {
        await this.ask(event, { consumerId: id });
        one.asked.isPaused = event === 'media:pauseConsumer';
      }
      this.#retryMs = this.times.retryFirstMs;
    } catch ({ code }) {
      this.#refused(id, event, code);
    }
    one.isBusy = false;
    if (this.#consumers.get(id) === one && this.#next(one)) this.#wake(0);
  }

  // The call goes on without: all layers come, or what came before.
  #refused(id, event, code) {
    if (gone.has(code)) this.drop(id);
    else if (neverAgain.has(code) && event === 'media:setPreferredLayers') this.#hasLayers = false;
    else {
      this.#notBeforeMs = performance.now() + this.#retryMs;
      this.#retryMs = Math.min(2 * this.#retryMs, this.times.retryLastMs);
    }
  }
}
