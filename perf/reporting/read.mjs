// Reads result files of every kind into one structure. A file that cannot be read becomes a problem. A result
// that is not valid stays in, with the reason.
//
//   read(files) → { sources, micro, io, runs, searches, problems }
//     source    a file: program, command, began, machine, backend, status
//     micro     a value of ringcast-bench
//     io        a row of ringcast-bench-io
//     run       one server under one load: the medians of its valid rounds (ringcast-load, perf/load/run,
//               perf/compare)
//     search    the largest fan-out and the steps to it (perf/load/run fan-out, perf/compare --fan-out)

import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';

const percentiles = ['p50', 'p90', 'p99', 'p999', 'p9999', 'max'];
const defaultN = { 'video-1-to-N': 100, 'audio-20-to-50': 50, 'rooms-10x10': 10, 'idle-30000': 30000 };

// NaN if there is no value.
export function median(values) {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b), middle = sorted.length >> 1;
  if (!sorted.length) return NaN;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

const share = (sums) => (sums?.expected ? sums.lost / sums.expected : 0);
const wordAfter = (words, name) => (words.includes(name) ? words[words.indexOf(name) + 1] : undefined);

// ---- one result of ringcast-load ----

function loadValues(result) {
  if (!result?.measured)
    return { valid: false, why: result?.failure || 'nothing was measured' };
  const latency = result.latency_ms?.count ? result.latency_ms
    : result.video?.receivers ? result.video_latency_ms : result.audio_latency_ms;
  const { server = {}, generator = {} } = result;
  // Without --server-pid the generator writes 0.
  const known = (value) => (value > 0 ? value : NaN);
  return {
    valid: result.valid === true, why: (result.invalid_because ?? []).join('; '),
    cpu_ns: known(server.cpu_ns_per_packet), sendto: known(server.sendto_per_packet),
    times_bare: known(server.cpu_ns_per_packet / result.bare?.ns), // the bare forwarder, which perf/load/run measures after the run
    memory_mib: known(server.memory_mib_per_endpoint), server_share: server.cpu_share,
    // The share of the server's core that other processes used. It is high on a busy machine.
    others_share: Math.max(0, server.core_busy_share - server.cpu_share),
    loss: Math.max(share(result.video), share(result.audio)),
    packets_per_second: result.packets_per_second, generator_share: generator.cpu_share,
    latency: Object.fromEntries(percentiles.map((p) => [p, latency?.[p]])),
    endpoints: result.endpoints, streams: result.streams,
  };
}

// The medians of all rounds, and the worst loss. A run is valid if one of its rounds is.
function combineRounds(rounds) {
  const valid = rounds.filter((r) => r.valid);
  const counted = valid.length ? valid : rounds.filter((r) => r.latency);
  if (!counted.length) return { rounds: rounds.length, valid_rounds: 0, valid: false, why: rounds[0]?.why ?? 'no round' };
  const of = (field) => median(counted.map((r) => r[field]));
  return {
    rounds: rounds.length, valid_rounds: valid.length, valid: valid.length > 0,
    why: valid.length ? '' : counted.map((r) => r.why).find(Boolean) ?? 'no valid round',
    cpu_ns: of('cpu_ns'), sendto: of('sendto'), times_bare: of('times_bare'), memory_mib: of('memory_mib'), server_share: of('server_share'),
    others_share: of('others_share'), generator_share: of('generator_share'), packets_per_second: of('packets_per_second'),
    loss: Math.max(...counted.map((r) => r.loss)),
    latency: Object.fromEntries(percentiles.map((p) => [p, median(counted.map((r) => r.latency?.[p]))])),
    endpoints: counted[0].endpoints, streams: counted[0].streams,
  };
}

// ---- files by kind ----

function readMicro(source, list, into) {
  source.backend = 'replay';
  for (const f of list) {
    const rooms = ['path', 'room-over-workers'].includes(f.name), ciphers = ['protect', 'unprotect'].includes(f.name);
    const words = [f.name, ...(rooms ? ['--fanout', f.fanout] : []),
      ...(rooms || ciphers ? ['--profile', f.profile, '--bytes', f.bytes] : []), ...(ciphers ? ['--burst', f.burst] : []),
      ...(f.name === 'path' ? [f.cold ? '--cold' : '--warm', ...(f.uneven ? ['--uneven'] : []),
        ...(f.together > 1 ? ['--together', f.together] : [])] : []),
      ...(f.name === 'room-over-workers' && f.workers > 1 ? ['--workers', f.workers] : [])];
    into.micro.push({ ...f, source, command: `build/release/ringcast-bench ${words.join(' ')}`, valid: true });
  }
}

function readIo(source, { device, bound, rows }, into) {
  source.backend = 'each in turn';
  for (const { what, bytes, segments, ...methods } of rows) {
    const ns = Object.fromEntries(Object.entries(methods).map(([name, m]) => [name, m.ns]));
    const words = [...(device === 'loopback' ? [] : ['--device', device]), ...(bound ? ['--bound'] : []),
      ...(what === 'send' ? ['--only', 'send', '--bytes', bytes, '--segments', segments] : ['--only', 'receive'])];
    into.io.push({ what, bytes, segments, device, bound, ns, source, valid: true,
      command: `build/release/ringcast-bench-io ${words.join(' ')}` });
  }
}

function readSearch(source, about, steps, into) {
  const tried = steps.map((s) => ({ n: s.n, answer: s.answer, ...loadValues(s.result === undefined ? s : s.result) }));
  const carried = tried.filter((s) => s.answer === 'yes').map((s) => s.n);
  const best = Math.max(0, ...carried);
  // The smallest larger number. If the generator was the bottleneck there, the result is "or more".
  const above = tried.filter((s) => s.n > best).sort((a, b) => a.n - b.n)[0];
  into.searches.push({ ...about, source, command: source.command, steps: tried, n: best,
    or_more: !above || above.answer === 'unknown', others_share: above?.others_share, valid: best > 0,
    why: best > 0 ? '' : tried.map((s) => s.why).find(Boolean) ?? 'the server carried no number' });
}

function readLoadRun(source, file, into) {
  const about = { who: 'Ringcast', version: source.machine?.commit, scenario: file.scenario, profile: file.profile ?? 'gcm128',
    settings: Object.entries(file.environment ?? {}).map(([name, value]) => `${name}=${value}`).join(' ') };
  source.backend = [...new Set(file.runs.map((r) => r?.backend).filter(Boolean))].join(', ') || null;
  if (file.scenario?.endsWith('fan-out')) {
    readSearch(source, { ...about, scenario: file.scenario === 'fan-out' ? 'video-1-to-N' : 'audio-20-to-50',
      p99: file.p99 || 0 }, file.runs, into);
    return;
  }
  into.runs.push({ ...about, n: file.n ?? defaultN[file.scenario], kind: 'load', source, command: source.command,
    backend: source.backend, ...combineRounds(file.runs.map(loadValues)) });
}

function readCompare(source, file, into) {
  const words = (file.load_words ?? []).map(String);
  const n = file.n ?? Number(wordAfter(words, '--subscribers') ?? wordAfter(words, '--participants')
    ?? defaultN[file.scenario]);
  const named = { ringcast: 'Ringcast', janus: 'Janus', mediasoup: 'mediasoup' };
  const all = file.rounds ?? file.steps;
  for (const [name, list] of Object.entries(all)) {
    const about = { who: named[name] ?? name, version: list.at(-1)?.version, scenario: file.scenario,
      profile: file.profile, settings: '' };
    const backend = [...new Set(list.map((r) => r.backend).filter(Boolean))].join(', ') || null;
    source.backend ??= name === 'ringcast' ? backend : null;
    if (file.kind === 'fan-out') {
      readSearch(source, { ...about, p99: 0 }, list, into);
      continue;
    }
    // The first round does not count, as in perf/compare.
    const counted = list.filter((r) => r.round > 1);
    into.runs.push({ ...about, n, kind: 'compare', source, command: source.command, backend,
      ...combineRounds(counted.map((r) => loadValues(r.result))), ratios: name === 'ringcast' ? file.ratios : undefined });
  }
}

function readAny(source, data, into) {
  const result = data.result ?? data;
  // Options that do not change the result.
  const command = data.command?.replace(/ --(json|lock) (?!FILE\b)\S+/g, '') ?? null;
  Object.assign(source, { program: data.program ?? null, command, began: data.began ?? null,
    machine: data.machine ?? null, status: data.status ?? 0 });
  if (Array.isArray(result) && result.length && result.every((f) => typeof f.median_ns === 'number')) {
    readMicro(source, result, into);
  } else if (Array.isArray(result.rows) && 'device' in result) {
    readIo(source, result, into);
  } else if (result.kind === 'equal-load' || result.kind === 'fan-out') {
    source.program ??= 'perf/compare';
    readCompare(source, result, into);
  } else if (Array.isArray(result.runs)) {
    readLoadRun(source, result, into);
  } else if (Array.isArray(result) && result.length && result.every((r) => r === null || 'measured' in r)) {
    readLoadRun(source, { runs: result, scenario: null }, into);
  } else if ('measured' in result) {
    source.program ??= 'ringcast-load';
    readLoadRun(source, { runs: [result], scenario: null }, into);
  } else {
    throw new Error('it is no result of ringcast-bench, -bench-io, -load, perf/load/run or perf/compare');
  }
}

// ---- all of them ----

async function filesOf(path) {
  if (!(await stat(path)).isDirectory()) return [path];
  return (await readdir(path)).filter((name) => name.endsWith('.json')).sort().map((name) => join(path, name));
}

export async function read(paths) {
  const all = { sources: [], micro: [], io: [], runs: [], searches: [], problems: [] };
  for (const path of paths) {
    let files = [];
    try {
      files = await filesOf(path);
    } catch (error) {
      all.problems.push({ file: path, why: error.code === 'ENOENT' ? 'does not exist' : error.message });
    }
    for (const file of files) {
      const source = { file, name: basename(file) };
      const into = { micro: [], io: [], runs: [], searches: [] };
      try {
        readAny(source, JSON.parse(await readFile(file, 'utf8')), into);
        all.sources.push(source);
        for (const [list, found] of Object.entries(into)) all[list].push(...found);
      } catch (error) {
        const why = error instanceof SyntaxError ? 'it is no JSON; was the run interrupted that wrote it?' : error.message;
        all.problems.push({ file, why });
      }
    }
  }
  const order = (r) => [r.scenario ?? '~', String(r.n).padStart(7), r.profile, r.who === 'Ringcast' ? '' : r.who,
    r.kind ?? ''].join(' ');
  for (const list of [all.runs, all.searches]) list.sort((a, b) => (order(a) < order(b) ? -1 : 1));
  // A result is not valid if its program failed. (ringcast-load with status 3 says so itself.)
  for (const list of [all.micro, all.io])
    for (const f of list)
      if (f.source.status) Object.assign(f, { valid: false, why: `the program ended with status ${f.source.status}` });
  return all;
}
