// Gives each measured value a name, and compares the values with the targets of targets.json. The names:
//
//   path.PROFILE.FANOUT.BYTES.warm|cold.ratio         room-over-workers.PROFILE.FANOUT.WORKERS.scaling
//   load|compare.SCENARIO.N.PROFILE.FIELD             compare.SCENARIO.N.PROFILE.PEER.cpu
//   fan-out.SCENARIO.PROFILE[.p99-MS]
// If several values have the same name, the latest valid one counts. If a run changed settings of the server,
// they are part of the name, so that no target uses the value by mistake.

import { readFile } from 'node:fs/promises';

const MANY_SUBSCRIBERS = 200; // from here on a run also counts as "many"
// If other processes used a larger share of the server's core, they may have caused latency and loss.
const OTHERS_MAX = 0.2;

function microValues(f) {
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

function runValues(r) {
  const settings = r.settings ? `+${r.settings}` : '';
  const fields = { cpu_ns: r.cpu_ns, sendto: r.sendto, memory_mib: r.memory_mib, loss: r.loss,
    p50_ms: r.latency?.p50, p99_ms: r.latency?.p99, p999_ms: r.latency?.p999 };
  const values = {};
  const put = (name) => {
    for (const [field, value] of Object.entries(fields)) values[`${name}.${field}${settings}`] = value;
  };
  if (r.who !== 'Ringcast' || !r.scenario) return values;
  put(`${r.kind}.${r.scenario}.${r.n}.${r.profile}`);
  if (r.n >= MANY_SUBSCRIBERS) put(`${r.kind}.${r.scenario}.many.${r.profile}`);
  for (const [peer, ratio] of Object.entries(r.ratios ?? {}))
    values[`compare.${r.scenario}.${r.n}.${r.profile}.${peer}.cpu${settings}`] = ratio.cpu;
  return values;
}

function searchValues(s) {
  if (s.who !== 'Ringcast') return {};
  const settings = s.settings ? `+${s.settings}` : '';
  return { [`fan-out.${s.scenario}.${s.profile}${s.p99 ? `.p99-${s.p99}` : ''}${settings}`]: s.n };
}

const isTimed = (key) => key.startsWith('fan-out.') || /\.p\d+_ms/.test(key);
const isBetter = (a, b) => (!b || (a.valid && !b.valid) || (a.valid === b.valid && (a.began ?? '') >= (b.began ?? '')));

// Returns name → { value, valid, why, command, or_more, others, began }. others: the share of OTHERS_MAX, if it
// was exceeded and matters.
export function name({ micro, runs, searches }) {
  const named = {};
  for (const [list, valuesOf] of [[micro, microValues], [runs, runValues], [searches, searchValues]])
    for (const item of list)
      for (const [key, value] of Object.entries(valuesOf(item))) {
        if (!Number.isFinite(value) && item.valid) continue; // unknown
        const measured = { value, valid: item.valid, why: item.why, command: item.command, or_more: item.or_more,
          others: isTimed(key) && item.others_share > OTHERS_MAX ? item.others_share : undefined, began: item.source.began };
        if (isBetter(measured, named[key])) named[key] = measured;
      }
  return named;
}

// One word about a value, so that colour alone never carries the meaning.
export function mark(target, measured) {
  if (!measured) return 'not measured';
  if (!measured.valid || !Number.isFinite(measured.value)) return 'invalid';
  const within = (limit) => ('at_most' in target ? measured.value <= limit : measured.value >= limit);
  if (target.aim !== undefined && within(target.aim)) return 'aim reached';
  if (within(target.at_most ?? target.at_least)) return 'reached';
  return measured.or_more ? 'open' : measured.others ? 'disturbed' : 'missed';
}

// Adds to each target the first of its values that is valid, or else the first that exists.
export function judge({ targets, source }, named) {
  return targets.map((target) => {
    const there = target.values.map((key) => named[key]).filter(Boolean);
    const measured = there.find((m) => m.valid) ?? there[0] ?? null;
    const bound = named[target.bound];
    return { ...target, source: target.source ?? source, measured, word: mark(target, measured),
      bound: bound?.valid ? bound.value : null };
  });
}

export async function readTargets(file) {
  const table = JSON.parse(await readFile(file, 'utf8'));
  for (const t of table.targets)
    if (!t.name || !t.unit || !Array.isArray(t.values) || ('at_most' in t) === ('at_least' in t))
      throw new Error(`${file}: target ${t.id ?? t.name}: must have name, unit, values and one of at_most, at_least`);
  return table;
}
