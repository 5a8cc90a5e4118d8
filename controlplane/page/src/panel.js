// The panel "Connection": how well this page sends and receives, person by person, in words and figures.
// Each second only the texts that have changed are written, so nothing flickers and a selection stays.

import { Grid } from './grid.js';
import { nameOf } from './people.js';
import { pictureState, sendingState, soundState, Steady, worst } from './quality.js';
import { Statistics } from './statistics.js';
import { $ } from './view.js';

const openMs = 1000, closedMs = 3000; // how often the figures are read; closed, for the signs on the tiles

const ownKey = 'you'; // among the ids of the others

const sourceNames = { camera: 'Camera', screen: 'Screen', microphone: 'Sound' };
const order = Object.keys(sourceNames);
const sorted = (streams) => streams.sort((a, b) => order.indexOf(a.key) - order.indexOf(b.key));

const percent = (value) => `${value.toFixed(1)} %`;
const kbps = (value) => `${value.toFixed(0)} kbit/s`;

// Puts one line for each entry into `list`: { key, … }. make() creates a line, fill(line, entry) its texts.
function draw(list, entries, make, fill) {
  const lines = new Map([...list.children].map((line) => [line.dataset.of, line]));
  let before = null;
  for (const entry of entries) {
    const line = lines.get(entry.key) ?? make(entry);
    lines.delete(entry.key);
    line.dataset.of = entry.key;
    fill(line, entry);
    const next = before ? before.nextSibling : list.firstChild;
    if (next !== line) list.insertBefore(line, next);
    before = line;
  }
  for (const line of lines.values()) line.remove();
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function element(name, className, ...children) {
  const made = document.createElement(name);
  made.className = className;
  made.append(...children);
  return made;
}

function makeRow() {
  const heading = element('th', '');
  heading.scope = 'row';
  return element('tr', '', heading, element('td', ''));
}

function fillRow(line, { key, value }) {
  write(line.firstChild, key);
  write(line.lastChild, value);
}

// A stream: what it is, how it is, and its figures.
function makeStream() {
  return element('div', 'stream', element('h4', ''), element('p', 'state'),
    element('table', '', document.createElement('tbody')));
}

function fillStream(line, { title, state, rows }) {
  const [heading, sentence, table] = line.children;
  write(heading, title);
  write(sentence, state.text);
  if (sentence.dataset.level !== state.level) sentence.dataset.level = state.level;
  draw(table.firstChild, rows.map(([key, value]) => ({ key, value })), makeRow, fillRow);
}

const makePerson = () => element('li', 'person', element('h3', 'name'), element('div', ''));

function fillPerson(line, { name, streams }) {
  write(line.firstChild, name);
  draw(line.lastChild, streams, makeStream, fillStream);
}

/* ---- what we send ---- */

const shape = ({ width, height }) => `${width}×${height}`;
const moving = (figures) => `${figures.framesPerSecond.toFixed(0)} frames/s`;

function sendingRows(source, layers) {
  if (source === 'microphone') return layers.map((layer) => ['Data', kbps(layer.kbps)]);
  return layers.map((layer, i) => [layers.length > 1 ? `Layer ${i + 1}` : 'Picture',
    layer.isSent && layer.height ? `${shape(layer)}, ${moving(layer)}, ${kbps(layer.kbps)}` : 'not sent']);
}

function sending(call, figures, steady) {
  const streams = [...call.producers].map(([source, producer]) => {
    const layers = figures.sent.get(source) ?? [];
    const state = sendingState({ source, isPaused: producer.paused, layers, score: call.scores.get(producer.id) });
    return { key: source, title: sourceNames[source], state: steady(producer.id, state),
      rows: producer.paused ? [] : sendingRows(source, layers) };
  });
  return { key: ownKey, name: 'You send', streams: sorted(streams) };
}

/* ---- what we receive ---- */

// The spatial layer that arrives: what the server says, else what the size of the picture tells.
function layerOf({ layers, sizes }, { width, height }) {
  if (layers) return layers.spatialLayer;
  const size = Math.min(width, height);
  return sizes.reduce((best, one, i) => (Math.abs(one - size) < Math.abs(sizes[best] - size) ? i : best), 0);
}

function pictureRows(entry, figures) {
  const rows = [];
  if (figures.height) {
    const layer = entry.sizes.length > 1 ? `, layer ${layerOf(entry, figures) + 1} of ${entry.sizes.length}` : '';
    rows.push(['Picture', `${shape(figures)}${layer}`]);
  }
  rows.push(['Moves', moving(figures)], ['Data', kbps(figures.kbps)], ['Lost', percent(figures.lossPercent)]);
  if (figures.repaired !== null) rows.push(['Repaired', `${figures.repaired} of ${figures.lost} packets`]);
  rows.push(['Frozen', figures.freezes ? `${figures.freezes} ×, ${figures.frozenS.toFixed(1)} s` : 'never']);
  return rows;
}

const soundRows = (figures) => [['Data', kbps(figures.kbps)], ['Lost', percent(figures.lossPercent)],
  ['Filled in', percent(figures.concealedPercent)]]; // what the browser had to invent

function receivedStream(call, [id, entry], figures, steady) {
  const { consumer, userId, source } = entry;
  const isSound = source === 'microphone', isOutOfSight = !isSound && call.viewing.wantsPaused(id);
  const facts = { name: nameOf(call, userId), isScreen: source === 'screen', isPaused: call.isPaused(consumer),
    isOutOfSight, isConnected: call.recvTransport.connectionState === 'connected', layers: entry.layers, score: call.scores.get(id), figures };
  const state = steady(id, (isSound ? soundState : pictureState)(facts));
  const rows = !figures || state.level === 'off' ? [] : isSound ? soundRows(figures) : pictureRows(entry, figures);
  return { key: source, title: sourceNames[source], state, rows };
}


function receiving(call, figures, steady) {
  const people = new Map(); // user id → streams
  const add = (userId, stream) => people.set(userId, [...(people.get(userId) ?? []), stream]);
  for (const one of call.consumers) add(one[1].userId, receivedStream(call, one, figures.received.get(one[0]), steady));
  for (const { userId, source, problem } of call.awaited)
    add(userId, { key: source, title: sourceNames[source], rows: [], state: problem
      ? { level: 'bad', text: problem } : { level: 'weak', text: 'We wait until the server sends it.' } });
  return [...people].map(([userId, streams]) => ({ key: userId, name: nameOf(call, userId),
    streams: sorted(streams) }));
}

/* ---- the panel and the signs on the tiles ---- */

function drawPanel(figures, people) {
  draw($('stats-summary'), [
    { key: 'Sending', value: kbps(figures.sendKbps) },
    { key: 'Receiving', value: kbps(figures.receiveKbps) },
    { key: 'Loss', value: percent(figures.lossPercent) },
    { key: 'Round trip', value: figures.roundTripMs === null ? '–' : `${figures.roundTripMs.toFixed(0)} ms` },
  ], makeRow, fillRow);
  draw($('stats-people'), people, makePerson, fillPerson);
}

// A tile has a sign when its picture or the sound of its person suffers.
function drawSigns(grid, selfId, people) {
  for (const { key, streams } of people) {
    const userId = key === ownKey ? selfId : key;
    for (const isScreen of [false, true]) {
      const tile = grid.tiles.get(Grid.key(userId, isScreen));
      const shown = streams.filter(({ key }) => (key === 'screen') === isScreen);
      if (!tile || shown.length === 0) continue;
      const { level, text } = worst(shown.map(({ state }) => state));
      grid.setNetwork(tile, level === 'weak' || level === 'bad' ? text : '');
    }
  }
}

// Watches a call until the returned function is called.
export function watch(call, grid, selfId) {
  const statistics = new Statistics(), states = new Steady();
  let timer, isOver = false;
  const turn = async () => {
    const figures = await statistics.read(call).catch(() => null); // a transport may close meanwhile
    if (isOver) return;
    if (figures) {
      const keys = new Set();
      const steady = (key, state) => {
        keys.add(key);
        return states.show(key, state);
      };
      const people = [sending(call, figures, steady), ...receiving(call, figures, steady)];
      states.keep(keys);
      if (!$('stats').hidden) drawPanel(figures, people);
      drawSigns(grid, selfId, people);
    }
    schedule();
  };
  const schedule = () => {
    clearTimeout(timer);
    timer = setTimeout(turn, $('stats').hidden ? closedMs : openMs);
  };
  const opened = () => { // at once when the panel opens
    if ($('stats').hidden) return;
    clearTimeout(timer);
    timer = setTimeout(turn, 0);
  };
  const observer = new MutationObserver(opened);
  observer.observe($('stats'), { attributes: true, attributeFilter: ['hidden'] });
  schedule();
  return () => {
    isOver = true;
    observer.disconnect();
    clearTimeout(timer);
    for (const list of ['stats-summary', 'stats-people']) $(list).replaceChildren();
  };
}
