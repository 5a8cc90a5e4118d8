// Named figures, and what becomes of them beside the figures to reach.
//
//   path.PROFILE.FANOUT.BYTES.warm|cold.ratio         room-over-workers.PROFILE.FANOUT.WORKERS.scaling
//   load|compare.SCENARIO.N.PROFILE.FIELD             compare.SCENARIO.N.PROFILE.PEER.cpu
//   fan-out.SCENARIO.PROFILE[.p99-MS]
// Of several measurements of one name the latest valid one counts. Runs with settings of their own carry
// them in their name, so that no target takes them by mistake.

import { readFile } from 'node:fs/promises';

const MANY_SUBSCRIBERS = 200; // where "under load" begins
const OTHERS_MAX = 0.2;       // of the server's core: beyond, what came late or not at all may be their doing

function microFigures(f) {
  if (f.name === 'path' && !f.uneven && !(f.together > 1)) {
    const name = `path.${f.profile}.${f.fanout}.${f.bytes}.${f.cold ? 'cold' : 'warm'}`;
    return { [`${name}.ratio`]: f.ratio, [`${name}.ns`]: f.median_ns };
  }
  if (f.name === 'room-over-workers' && f.scaling) {
    const name = `room-over-workers.${f.profile}.${f.fanout}.${f.workers}`;
    return { [`${name}.scaling`]: f.scaling, [`${name}.bound_scaling`]: f.bound_scaling };
  }
  return {};
}

function runFigures(r) {
  const settings = r.settings ? `+${r.settings}` : '';
  const fields = { cpu_ns: r.cpu_ns, sendto: r.sendto, memory_mib: r.memory_mib, loss: r.loss,
    p50_ms: r.latency?.p50, p99_ms: r.latency?.p99, p999_ms: r.latency?.p999 };
  const figures = {};
  const put = (name) => {
    for (const [field, value] of Object.entries(fields)) figures[`${name}.${field}${settings}`] = value;
  };
  if (r.who !== 'Ringcast' || !r.scenario) return figures;
  put(`${r.kind}.${r.scenario}.${r.n}.${r.profile}`);
  if (r.n >= MANY_SUBSCRIBERS) put(`${r.kind}.${r.scenario}.many.${r.profile}`);
  for (const [peer, ratio] of Object.entries(r.ratios ?? {}))
    figures[`compare.${r.scenario}.${r.n}.${r.profile}.${peer}.cpu${settings}`] = ratio.cpu;
  return figures;
}

function searchFigures(s) {
  if (s.who !== 'Ringcast') return {};
  const settings = s.settings ? `+${s.settings}` : '';
  return { [`fan-out.${s.scenario}.${s.profile}${s.p99 ? `.p99-${s.p99}` : ''}${settings}`]: s.n };
}

const isTimed = (key) => key.startsWith('fan-out.') || /\.p\d+_ms/.test(key);
const isBetter = (a, b) => (!b || (a.valid && !b.valid) || (a.valid === b.valid && (a.began ?? '') >= (b.began ?? '')));

// name → { value, valid, why, command, or_more, others, began }; others: see OTHERS_MAX, else undefined
export function name({ micro, runs, searches }) {
  const named = {};
  for (const [list, figuresOf] of [[micro, microFigures], [runs, runFigures], [searches, searchFigures]])
    for (const item of list)
      for (const [key, value] of Object.entries(figuresOf(item))) {
        if (!Number.isFinite(value) && item.valid) continue; // not known
        const figure = { value, valid: item.valid, why: item.why, command: item.command, or_more: item.or_more,
          others: isTimed(key) && item.others_share > OTHERS_MAX ? item.others_share : undefined, began: item.source.began };
        if (isBetter(figure, named[key])) named[key] = figure;
      }
  return named;
}

// One word, so that no figure is told by colour alone.
export function mark(target, figure) {
  if (!figure) return 'not measured';
  if (!figure.valid || !Number.isFinite(figure.value)) return 'invalid';
  const within = (limit) => ('at_most' in target ? figure.value <= limit : figure.value >= limit);
  if (target.aim !== undefined && within(target.aim)) return 'aim reached';
  if (within(target.at_most ?? target.at_least)) return 'reached';
  return figure.or_more ? 'open' : figure.others ? 'disturbed' : 'missed';
}

// Every target with what was measured of it: the first of its figures that is valid, else that is there.
export function judge({ targets, source }, named) {
  return targets.map((target) => {
    const there = target.figures.map((key) => named[key]).filter(Boolean);
    const figure = there.find((f) => f.valid) ?? there[0] ?? null;
    const bound = named[target.bound];
    return { ...target, source: target.source ?? source, figure, word: mark(target, figure),
      bound: bound?.valid ? bound.value : null };
  });
}

export async function readTargets(file) {
  const table = JSON.parse(await readFile(file, 'utf8'));
  for (const t of table.targets)
    if (!t.name || !t.unit || !Array.isArray(t.figures) || ('at_most' in t) === ('at_least' in t))
      throw new Error(`${file}: target ${t.id ?? t.name}: name, unit, figures and one of at_most, at_least are wanted`);
  return table;
}
