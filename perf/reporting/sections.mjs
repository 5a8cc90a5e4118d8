// The sections of the report: which results become which plots and tables.

import { bars, escape, lines, number } from './plot.mjs';
import { code, facts, notice, raw, table, word } from './page.mjs';

const colors = { Ringcast: 0, mediasoup: 1, Janus: 2 };
const profiles = { gcm128: 'AES-GCM-128', gcm256: 'AES-GCM-256', cm: 'AES-CM-SHA1-80' };
const profileOf = (name) => profiles[name] ?? name;
const percent = (value, digits = 3) => (Number.isFinite(value) ? `${number(100 * value, digits)} %` : '–');
const plots = (list) => (list.some(Boolean) ? `<div class="plots">${list.filter(Boolean).join('\n')}</div>` : '');
const validity = (item) => raw(item.valid ? 'valid' : `${word('invalid')}: ${escapeWhy(item.why)}`);
const escapeWhy = (why) => escape(why || 'no reason given');
const lastColumns = ['Validity', 'Command'];
const lastCells = (item) => [validity(item), raw(code(item.command))];
const date = (began) => (began ? began.replace('T', ' ').slice(0, 16) : 'unknown date');
const commitOf = (machine) => (machine?.commit ? `${machine.commit}${machine.modified ? ', modified' : ''}` : null);

export function loadName(run) {
  const settings = run.settings ? ` (${run.settings})` : '';
  if (run.scenario === 'video-1-to-N') return `video 1 → ${run.n}${settings}`;
  if (run.scenario === 'audio-20-to-50') return `audio 20 → ${run.n}${settings}`;
  if (run.scenario === 'rooms-10x10') return `10 rooms of 10${settings}`;
  if (run.scenario?.startsWith('idle')) return `${run.n} idle, video 1 → 10${settings}`;
  return `${run.endpoints ?? '?'} clients, ${run.streams ?? '?'} streams${settings}`;
}
const runName = (run) => `${run.who}: ${loadName(run)}, ${profileOf(run.profile)}${run.kind === 'compare' ? ', compared' : ''}`;
const cell = (value, digits) => number(value, digits);

// ---- targets ----

export function targetsSection(judged) {
  const rows = judged.map((t) => {
    const limit = `${'at_most' in t ? '≤' : '≥'} ${number(t.at_most ?? t.at_least)} ${t.unit}`;
    const aim = t.aim === undefined ? '' : `, aim ${number(t.aim)}`;
    const measured = t.measured ? `${number(t.measured.value)} ${t.unit}${t.measured.or_more ? ' or more' : ''}` : '–';
    const why = { invalid: `: ${escapeWhy(t.measured?.why)}`, open: ': with a larger number the generator was the bottleneck',
      disturbed: `: other processes used ${percent(t.measured?.others, 2)} of the server’s core` }[t.word] ?? '';
    const bound = t.bound ? `; upper bound in the same run: ${number(t.bound)} ${t.unit}` : '';
    return [t.name, limit + aim, measured, raw(`${word(t.word)}${why}${bound}`),
      raw(code(t.measured ? t.measured.command : t.command))];
  });
  const count = (...words) => judged.filter((t) => words.includes(t.word)).length;
  const summary = `${count('reached', 'aim reached')} reached, ${count('missed')} missed, ` +
    `${count('invalid', 'open', 'disturbed')} undecided, ` +
    `${count('not measured')} not measured.`;
  return `<p>${summary}</p>${table({ caption: `Targets. Source: ${judged[0]?.source ?? '–'}`, rows,
    columns: ['Value', 'Target', '#Measured', 'Verdict', 'Command'] })}`;
}

// ---- throughput ----

function pathPlot(paths, bytes) {
  const series = Object.keys(profiles).flatMap((profile, color) => {
    const of = paths.filter((f) => f.profile === profile && f.bytes === bytes && !f.cold && !f.uneven && !(f.together > 1))
      .sort((a, b) => a.fanout - b.fanout);
    if (!of.length) return [];
    const points = (ns) => of.map((f) => ({ x: f.fanout, y: 1000 / f[ns], invalid: !f.valid }));
    return [{ name: profileOf(profile), color, points: points('median_ns') },
      { name: `${profileOf(profile)}, encryption alone`, color, dashed: true, points: points('bound_median_ns') }];
  });
  return lines({ id: `path-${bytes}`, title: `Worker in memory, one core, ${bytes} B, one room`,
    x: { label: 'subscribers per publisher', log: true, ticks: [1, 10, 50, 100, 500, 1000] },
    y: { label: 'million packets sent per second' }, series });
}

function serverPlot(runs, searches, scenario, title) {
  const series = {};
  const add = (who, profile, point) => {
    const name = `${who}, ${profileOf(profile)}`;
    series[name] ??= { name, color: (colors[who] ?? 3) + (profile === 'cm' ? 3 : 0), points: [] };
    series[name].points.push(point);
  };
  for (const run of runs.filter((r) => r.scenario === scenario && !r.settings))
    add(run.who, run.profile, { x: run.n, y: run.packets_per_second / 1000, invalid: !run.valid });
  for (const search of searches.filter((s) => s.scenario === scenario && !s.settings))
    for (const step of search.steps.filter((s) => s.answer === 'yes' || (s.latency && !s.valid)))
      add(search.who, search.profile, { x: step.n, y: step.packets_per_second / 1000, invalid: !step.valid });
  for (const s of Object.values(series)) s.points.sort((a, b) => a.x - b.x);
  return lines({ id: `server-${scenario}`, title, x: { label: 'subscribers', log: true },
    y: { label: 'thousand packets delivered per second', log: true }, series: Object.values(series) });
}

function searchName(s) {
  return `${s.who}: ${s.scenario === 'video-1-to-N' ? 'video 1 → N' : 'audio 20 → N'}, ${profileOf(s.profile)}` +
    `${s.p99 ? `, p99 ≤ ${s.p99} ms` : ''}${s.settings ? ` (${s.settings})` : ''}`;
}

export function throughputSection({ micro, runs, searches }) {
  const paths = micro.filter((f) => f.name === 'path');
  const rows = paths.map((f) => [f.what, cell(1000 / f.median_ns), cell(f.median_ns), cell(f.bound_median_ns),
    percent(f.ratio), ...lastCells(f)]);
  return plots([
    pathPlot(paths, 1200),
    pathPlot(paths, 160),
    serverPlot(runs, searches, 'video-1-to-N', 'Whole server, video of one publisher (loss ≤ 0.1 %)'),
    serverPlot(runs, searches, 'audio-20-to-50', 'Whole server, audio of 20 publishers (loss ≤ 0.1 %)'),
    bars({ id: 'largest', title: 'Largest fan-out with loss ≤ 0.1 %', unit: 'subscribers',
      rows: searches.map((s) => ({ label: searchName(s), value: s.n, color: colors[s.who] ?? 3,
        note: s.or_more ? 'or more' : '', invalid: !s.valid })) }),
  ]) + table({ caption: 'A worker in memory, on the replay backend. Ratio: time of encryption alone divided by time of the whole path; at most 100 %',
    columns: ['Case', '#M packets/s', '#ns per packet', '#encryption ns',
      '#ratio', ...lastColumns], rows }) +
    table({ caption: 'Largest fan-out', columns: ['Who', '#Subscribers', '#Runs',
      ...lastColumns],
    rows: searches.map((s) => [searchName(s), `${number(s.n, 4)}${s.or_more ? ' or more' : ''}`, s.steps.length, ...lastCells(s)]) }) +
    table({ caption: 'Steps of these searches: did the server carry this number of subscribers?', columns: ['Who',
      '#Subscribers', 'Carried', '#loss', '#p50 ms',
      '#p99 ms', '#packets/s', '#sendto', 'Validity'],
    rows: searches.flatMap((s) => [...s.steps].sort((a, b) => a.n - b.n).map((step) => [searchName(s), number(step.n, 5),
      step.answer, percent(step.loss), cell(step.latency?.p50), cell(step.latency?.p99), cell(step.packets_per_second, 4),
      cell(step.sendto), validity(step)])) });
}

// ---- CPU ----

function sendtoBars(runs, judged) {
  const limits = { 'video-1-to-N': 'cpu-video', 'audio-20-to-50': 'cpu-audio' };
  const limitOf = (r) => {
    const t = r.profile === 'gcm128' && r.n === (r.scenario === 'video-1-to-N' ? 100 : 50) && !r.settings
      && judged.find((j) => j.id === limits[r.scenario]);
    return t ? { value: t.at_most, label: 'target: at most' } : undefined;
  };
  return bars({ id: 'sendto', title: 'CPU time per forwarded packet, in sendto calls', unit: 'sendto',
    rows: runs.map((r) => ({ label: runName(r), value: r.sendto, color: colors[r.who] ?? 3, invalid: !r.valid,
      limit: r.who === 'Ringcast' ? limitOf(r) : undefined })) });
}

const microUnits = (micro) => micro.filter((f) => f.name !== 'path' && f.name !== 'room-over-workers');

function ioPlot(io, bytes) {
  const rows = io.filter((r) => r.what === 'send' && r.bytes === bytes).sort((a, b) => a.segments - b.segments);
  const names = [...new Set(rows.flatMap((r) => Object.keys(r.ns)))];
  return lines({ id: `io-${bytes}`, title: `Cost of sending a datagram of ${bytes} B (${rows[0]?.device ?? ''})`,
    x: { label: 'datagrams in a row to one destination', log: true, ticks: [1, 2, 4, 9, 16, 32] },
    y: { label: 'ns of CPU time per datagram', log: true },
    series: names.map((name, color) => ({ name, color,
      points: rows.map((r) => ({ x: r.segments, y: r.ns[name], invalid: !r.valid })) })) });
}

function ioTable(rows, caption, nameOf) {
  const names = [...new Set(rows.flatMap((r) => Object.keys(r.ns)))];
  return table({ caption, columns: ['What', ...names.map((name) => `#${name}`), ...lastColumns],
    rows: rows.map((r) => [nameOf(r), ...names.map((name) => cell(r.ns[name])), ...lastCells(r)]) });
}

export function cpuSection({ micro, io, runs }, judged) {
  const measured = runs.filter((r) => Number.isFinite(r.sendto));
  const ratios = runs.filter((r) => r.ratios).flatMap((r) => Object.entries(r.ratios).map(([peer, ratio]) => [
    `${loadName(r)}, ${profileOf(r.profile)}`, peer, `${number(ratio.cpu)} ×`, r.valid_rounds, ...lastCells(r)]));
  return plots([
    sendtoBars(measured, judged),
    bars({ id: 'cpu-ns', title: 'CPU time per forwarded packet, in nanoseconds', unit: 'ns', rows: measured.map((r) => ({ label: runName(r),
      value: r.cpu_ns, color: colors[r.who] ?? 3, invalid: !r.valid })) }),
    ioPlot(io, 1200), ioPlot(io, 160),
  ]) + table({ caption: 'Whole servers on one core. CPU time of all processes per packet that arrived; the worst loss of all ' +
      'rounds. "Compared": measured by perf/compare, in turn with the others. "× bare forwarder": compared with a ' +
      'program that only forwards the same packets with plain system calls, without encryption',
    columns: ['Load', '#sendto', '#ns', '#× bare forwarder', '#packets/s',
      '#loss', '#core used', '#core used by others', '#MiB per client', '#rounds',
      'Backend', ...lastColumns],
    rows: runs.map((r) => [runName(r), cell(r.sendto), cell(r.cpu_ns), cell(r.times_bare), cell(r.packets_per_second, 4),
      percent(r.loss), percent(r.server_share), percent(r.others_share), cell(r.memory_mib, 2), `${r.valid_rounds} of ${r.rounds}`,
      r.backend ?? '–', ...lastCells(r)]) }) +
    table({ caption: 'CPU time per packet of Ringcast divided by that of another server in the same run',
      columns: ['Load', 'Other server', '#Ringcast / other', '#rounds',
        ...lastColumns], rows: ratios }) +
    ioTable(io.filter((r) => r.what === 'send'), 'Sending one datagram through each backend and through plain system calls, ns of CPU time',
      (r) => `${r.bytes} B, ${r.segments} in a row, ${r.device}${r.bound ? ', bound' : ''}`) +
    ioTable(io.filter((r) => r.what !== 'send'), 'Receiving one datagram, ns of CPU time',
      (r) => (r.what === 'nothing' ? 'a receive call without a datagram' : `${r.bytes} B ${r.what} senders, ${r.segments} each`)) +
    table({ caption: 'Other work of a worker, per unit',
      columns: ['Case', 'Details', '#ns best', '#ns median', 'Unit', 'Validity',
        'Command'],
      rows: microUnits(micro).map((f) => [f.name, f.what, cell(f.best_ns), cell(f.median_ns), f.unit, ...lastCells(f)]) });
}

// ---- latency ----

// On this axis each step adds one nine.
const nines = { p50: 0.3, p90: 1, p99: 2, p999: 3, p9999: 4, max: 4.8 };
const nineNames = { p50: '50 %', p90: '90 %', p99: '99 %', p999: '99.9', p9999: '99.99', max: 'max' };

export function latencySection({ runs }) {
  const measured = runs.filter((r) => Number.isFinite(r.latency?.p50));
  const plotOf = (scenario, title) => lines({ id: `latency-${scenario}`, title,
    x: { label: 'share of packets that arrived sooner, %', ticks: Object.values(nines),
      format: (t) => nineNames[Object.keys(nines).find((p) => nines[p] === t)] },
    y: { label: 'ms, one way through the server', log: true },
    series: measured.filter((r) => r.scenario === scenario).map((r) => ({ name: runName(r), points: Object.entries(nines)
      .map(([p, x]) => ({ x, y: r.latency[p], label: nineNames[p], invalid: !r.valid })) })) });
  return plots([plotOf('video-1-to-N', 'Latency, video of one publisher'),
    plotOf('audio-20-to-50', 'Latency, audio of 20 publishers'),
    plotOf('rooms-10x10', 'Latency, ten rooms of ten'), plotOf('idle-30000', 'Latency with idle transports')]) +
    table({ caption: 'Time from building a frame to its arrival in the kernel of the receiver, ms',
      columns: ['Load', ...Object.values(nineNames).map((name) => `#${name}`), ...lastColumns],
      rows: measured.map((r) => [runName(r), ...Object.keys(nines).map((p) => cell(r.latency[p])), ...lastCells(r)]) });
}

// ---- scaling ----

export function scalingSection({ micro }, judged) {
  const of = micro.filter((f) => f.name === 'room-over-workers');
  const many = of.filter((f) => f.scaling);
  const target = judged.find((t) => t.id === 'two-cores');
  const room = (f) => `${f.fanout} subscribers, ${profileOf(f.profile)}`;
  return plots([
    bars({ id: 'scaling', title: 'Throughput of one room on several workers, compared with one worker', unit: '×',
      rows: many.map((f) => ({ label: `${room(f)}, ${f.workers} workers`, value: f.scaling, invalid: !f.valid,
        bound: { value: f.bound_scaling, label: 'upper bound in the same run: encryption alone on as many processors' },
        limit: f.workers === 2 && target ? { value: target.at_least, label: 'target on two cores: at least' }
          : undefined })) }),
    bars({ id: 'scaling-rate', title: 'One room: million packets sent per second', unit: '',
      rows: of.map((f) => ({ label: `${room(f)}, ${f.workers} worker${f.workers > 1 ? 's' : ''}`, value: 1000 / f.median_ns,
        color: f.workers > 1 ? 1 : 0, invalid: !f.valid })) }),
  ]) + table({ caption: 'By wall time. One process measures the room on one worker and on several, in turn',
    columns: ['Room', '#Workers', '#M packets/s', '#encryption M/s',
      '#× one worker', '#encryption × one', ...lastColumns],
    rows: of.map((f) => [room(f), f.workers, cell(1000 / f.median_ns), cell(1000 / f.bound_median_ns),
      cell(f.scaling ?? 1), cell(f.bound_scaling ?? 1), ...lastCells(f)]) });
}

// ---- sources ----

function machineFacts(m) {
  const pages = (what) => `${what}: ${m.hugepages[what] ?? 'not readable'}`;
  const processors = m.processors ?? m.cores;
  return facts([
    ['CPU', m.cpu && `${m.cpu}, ${processors} processor${processors === 1 ? '' : 's'}${m.virtual ? ', virtual machine' : ''}`],
    ['CPU features', m.features?.join(' ')], ['governor', m.governor ?? 'not readable'],
    ['memory', m.memory_mib && `${number(m.memory_mib / 1024)} GiB`],
    ['large pages', m.hugepages && `${pages('transparent')}, ${pages('reserved')}`],
    ['kernel', m.kernel], ['system', m.system], ['commit', commitOf(m)],
    ['versions', m.versions && Object.entries(m.versions).map(([name, version]) => `${name} ${version}`).join(', ')],
  ]);
}

const identity = (m) => (m ? [m.cpu, m.kernel, m.processors ?? m.cores].join(' / ') : null);

export function leadOf({ sources, problems }) {
  const withMachine = sources.filter((s) => s.machine);
  const newest = [...withMachine].sort((a, b) => (a.began < b.began ? 1 : -1))[0];
  const notices = problems.map((p) => notice(`Left out: ${p.file}: ${p.why}`));
  if (new Set(withMachine.map((s) => identity(s.machine))).size > 1)
    notices.push(notice('These values come from more than one machine or kernel: see Sources. ' +
      'Compare only values of one run.'));
  if (new Set(withMachine.map((s) => commitOf(s.machine)).filter(Boolean)).size > 1)
    notices.push(notice('These values come from more than one commit: see Sources.'));
  if (!sources.length) notices.push(notice('There are no results. Make some with: make bench'));
  return (newest ? `<p>Measured ${date(newest.began)} UTC.</p>${machineFacts(newest.machine)}` : '') + notices.join('');
}

export function sourcesSection({ sources }) {
  return table({ caption: 'The files of this report, and the machine of each',
    columns: ['File', 'Measured (UTC)', 'Commit', 'CPU', 'Kernel', 'Backend',
      '#Load average before', 'Command'],
    rows: sources.map((s) => [s.name, date(s.began), commitOf(s.machine) ?? '–', s.machine?.cpu ?? '–',
      s.machine?.kernel ?? '–',
      s.backend ?? '–', Array.isArray(s.machine?.load) ? number(s.machine.load[0]) : '–', raw(code(s.command))]) });
}
