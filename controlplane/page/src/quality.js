// What the figures of a stream mean, in words. Figures in, a sentence out: a test asks it directly.
//
// A state is { level, text }; level: 'good', 'weak' (it works, but suffers), 'bad' (nothing to see or hear)
// or 'off' (somebody wants it so).

const weakScore = 5; // of 10; the server counts lost packets that were not repaired
const weakLossPercent = 3, badLossPercent = 15;
const steadyMs = { worse: 2000, better: 5000 }; // a state must hold for so long before it is shown

const starting = { level: 'good', text: 'Starting…' };

const ranks = ['off', 'good', 'weak', 'bad'];

// The server's scores: { own, sender }, each 0 to 10, or undefined if it has not said it. The sender's is that of
// the layer that is forwarded, or of the best layer if none is.
export function scoresOf(told) {
  const best = (value) => (Array.isArray(value) ? (value.length ? Math.max(...value.map(best)) : undefined)
    : typeof value === 'number' ? value : typeof value?.score === 'number' ? value.score : undefined);
  return { own: best(told), sender: best(told?.producerScore) || best(told?.producerScores) };
}

const interrupted = { level: 'bad', text: 'Your connection for sound and pictures is interrupted.' };

// Of a picture that we receive. stream: { name, isScreen, isPaused (by its sender), isOutOfSight, isConnected,
// layers (what the server sends, null: nothing), score (what the server says), figures (see Statistics) }.
export function pictureState({ name, isScreen, isPaused, isOutOfSight, isConnected, layers, score, figures }) {
  if (isPaused) return { level: 'off', text: isScreen ? 'The screen is paused.' : 'The camera is off.' };
  if (isOutOfSight) return { level: 'off', text: 'Not in sight, so the server does not send it.' };
  if (!isConnected) return interrupted;
  const { own, sender } = scoresOf(score);
  if (!figures || figures.packetsNow === 0) {
    if (sender === 0) return { level: 'bad', text: `The server gets no picture from ${name}: their camera or network has stopped.` };
    if (layers === null) return { level: 'bad', text: 'The server sends no picture at the moment.' };
    if (isScreen && figures?.framesDecoded > 0) return { level: 'good', text: 'The screen does not change.' };
    return { level: 'bad', text: 'No picture arrives here. Your network or that of the sender has stopped.' };
  }
  if (figures.framesPerSecond === 0 && !(isScreen && figures.framesDecoded > 0))
    return { level: 'bad', text: 'Data arrives, but no complete picture yet.' };
  if (figures.isFrozenNow) return { level: 'weak', text: 'The picture froze just now.' };
  if (sender !== undefined && sender <= weakScore) return { level: 'weak', text: `The network of ${name} is weak.` };
  const unrepaired = figures.lost > 0 && figures.repaired !== null
    ? figures.lossPercent * Math.max(0, 1 - figures.repaired / figures.lost) : 0;
  return networkState(unrepaired, own, figures) ?? { level: 'good', text: 'The picture is good.' };
}

// Of a sound that we receive.
export function soundState({ name, isPaused, isConnected, score, figures }) {
  if (isPaused) return { level: 'off', text: 'Muted.' };
  if (!isConnected) return interrupted;
  if (!figures || figures.packetsNow === 0) return { level: 'bad', text: 'No sound arrives here.' }; // silence has packets too
  const { own, sender } = scoresOf(score);
  if (sender !== undefined && sender <= weakScore) return { level: 'weak', text: `The network of ${name} is weak.` };
  return networkState(figures.concealedPercent, own, figures) ?? { level: 'good', text: 'The sound is good.' };
}

// What is lost between the server and us. Null: nothing worth a word.
function networkState(missingPercent, score, { lossPercent, repaired }) {
  if (missingPercent >= badLossPercent) return { level: 'weak', text: 'Your network is very weak: much gets lost.' };
  if (missingPercent >= weakLossPercent || (score !== undefined && score <= weakScore))
    return { level: 'weak', text: 'Your network is weak: some data gets lost.' };
  if (lossPercent >= weakLossPercent && repaired > 0)
    return { level: 'good', text: 'Your network loses some data, and it is repaired.' };
  return null;
}

// Of what we send. layers: see Statistics; score: what the server says.
export function sendingState({ source, isPaused, layers, score }) {
  const what = source === 'microphone' ? 'sound' : source === 'screen' ? 'screen' : 'picture';
  if (isPaused) return { level: 'off', text: source === 'microphone' ? 'You are muted.' : 'Your camera is off.' };
  const sent = layers.filter(({ isSent }) => isSent);
  if (sent.length === 0 && source !== 'microphone') // a silent microphone sends little
    return { level: 'bad', text: `Your ${what} is not sent at the moment.` };
  const { own } = scoresOf(score);
  if (own === 0 && source !== 'microphone')
    return { level: 'bad', text: `The server gets no ${what} from you.` };
  const limits = layers.map(({ limitedBy }) => limitedBy);
  if (limits.includes('bandwidth')) return { level: 'weak', text: `Your network is slow, so your ${what} is sent smaller.` };
  if (limits.includes('cpu')) return { level: 'weak', text: `Your computer is busy, so your ${what} is sent smaller.` };
  if ((own > 0 && own <= weakScore) || sent.some(({ lossPercent }) => lossPercent >= badLossPercent))
    return { level: 'weak', text: `Your network is weak: the server gets only a part of your ${what}.` };
  return { level: 'good', text: `Your ${what} is sent well.` };
}

// The worst of several states.
export function worst(states) {
  return states.reduce((a, b) => (ranks.indexOf(b.level) > ranks.indexOf(a.level) ? b : a));
}

// Keeps what is shown from flickering: a state appears only after it held for a while.
export class Steady {
  #shown = new Map(); // key → { state, next, sinceMs }

  show(key, state, nowMs = performance.now()) {
    const one = this.#shown.get(key);
    if (!one || (one.state.level === 'off' && state.level !== 'off')) { // it takes a moment until media flows
      this.#shown.set(key, { state: state.level === 'bad' ? starting : state, next: state, sinceMs: nowMs });
      return this.#shown.get(key).state;
    }
    if (state.text !== one.next.text) Object.assign(one, { next: state, sinceMs: nowMs });
    const isWorse = ranks.indexOf(state.level) > ranks.indexOf(one.state.level);
    const needed = isWorse ? steadyMs.worse : one.state === starting ? 0 : steadyMs.better;
    if (state.level === 'off' || nowMs - one.sinceMs >= needed) one.state = state;
    return one.state;
  }

  // Forgets all others.
  keep(keys) {
    for (const key of [...this.#shown.keys()]) if (!keys.has(key)) this.#shown.delete(key);
  }
}
