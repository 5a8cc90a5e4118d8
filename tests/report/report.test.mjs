// perf/report with the stored results in results/: reading, comparing with targets, plots, the page.

import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { escape, bars, lines, number } from '../../perf/reporting/plot.mjs';
import { median, read } from '../../perf/reporting/read.mjs';
import { report } from '../../perf/reporting/report.mjs';
import { judge, mark, name, readTargets } from '../../perf/reporting/targets.mjs';
import { machine } from '../../perf/machine.mjs';

const here = dirname(fileURLToPath(import.meta.url)), perf = join(here, '../../perf');
const results = (file = '') => join(here, 'results', file);
const run = (program, ...words) => spawnSync(join(perf, program), words, { encoding: 'utf8' });
let directory;
before(async () => { directory = await mkdtemp(join(tmpdir(), 'ringcast-report-')); });
after(() => rm(directory, { recursive: true, force: true }));

// ---- reading ----

test('reads every kind of result, and names files that are no result', async () => {
  const data = await read([results()]);
  assert.equal(data.sources.length, 6);
  assert.deepEqual(data.problems.map((p) => p.file).sort(), [results('foreign.json'), results('interrupted.json')]);
  assert.match(data.problems.find((p) => p.file.includes('interrupted')).why, /interrupted/);
  assert.ok(data.micro.some((f) => f.name === 'room-over-workers' && f.workers === 2 && f.scaling > 1));
  assert.ok(data.io.some((r) => r.what === 'send' && r.segments === 9 && r.ns.sendto > r.ns.io_uring));
  assert.deepEqual(data.runs.map((r) => `${r.who} ${r.scenario} ${r.n} ${r.kind} ${r.valid}`), [
    'Ringcast rooms-10x10 10 load false', 'Ringcast video-1-to-N 100 compare true',
    'Ringcast video-1-to-N 100 load true', 'Janus video-1-to-N 100 compare true']);
  assert.deepEqual(data.searches.map((s) => [s.who, s.scenario, s.n, s.or_more]), [['Ringcast', 'video-1-to-N', 3825, false]]);
});

test('the first round of a comparison does not count; medians use only valid rounds', async () => {
  const file = JSON.parse(await readFile(results('compare.json'), 'utf8'));
  const [ours] = (await read([results('compare.json')])).runs;
  const counted = file.rounds.ringcast.filter((r) => r.round > 1).map((r) => r.result.server.cpu_ns_per_packet);
  assert.equal(ours.cpu_ns, median(counted));
  assert.equal(ours.rounds, file.rounds.ringcast.length - 1);
  file.rounds.ringcast[1].result.valid = false;
  await writeFile(join(directory, 'one-spoiled.json'), JSON.stringify(file));
  const [spoiled] = (await read([join(directory, 'one-spoiled.json')])).runs;
  assert.equal(spoiled.cpu_ns, counted[1]);
  assert.ok(spoiled.valid && spoiled.valid_rounds === 1);
});

test('names a missing path, and reads results without command and machine', async () => {
  const nowhere = await read([join(directory, 'nowhere')]);
  assert.match(nowhere.problems[0].why, /does not exist/);
  const { result } = JSON.parse(await readFile(results('micro.json'), 'utf8'));
  await writeFile(join(directory, 'bare.json'), JSON.stringify(result));
  const bare = await read([join(directory, 'bare.json')]);
  assert.equal(bare.micro.length, result.length);
  assert.equal(bare.sources[0].machine, null);
});

test('a result of a program that failed is not valid', async () => {
  const file = JSON.parse(await readFile(results('micro.json'), 'utf8'));
  await writeFile(join(directory, 'ended-badly.json'), JSON.stringify({ ...file, status: 1 }));
  const { micro } = await read([join(directory, 'ended-badly.json')]);
  assert.ok(micro.every((f) => !f.valid && /status 1/.test(f.why)));
});

test('a search that ended because of the generator says "or more"', async () => {
  const file = JSON.parse(await readFile(results('fan-out.json'), 'utf8'));
  for (const r of file.runs.filter((r) => r.n > 3825)) r.answer = 'unknown';
  await writeFile(join(directory, 'search.json'), JSON.stringify(file));
  const { searches: [search] } = await read([join(directory, 'search.json')]);
  assert.deepEqual([search.n, search.or_more], [3825, true]);
});

// ---- marking ----

test('one word for each pair of target and value', () => {
  const most = { at_most: 2, aim: 1 }, least = { at_least: 10, aim: 20 };
  const valid = (value, more) => ({ value, valid: true, ...more });
  for (const [target, figure, word] of [
    [most, null, 'not measured'], [most, { value: 1, valid: false }, 'invalid'], [most, valid(NaN), 'invalid'],
    [most, valid(0.9), 'aim reached'], [most, valid(1), 'aim reached'], [most, valid(1.5), 'reached'], [most, valid(2), 'reached'],
    [most, valid(2.01), 'missed'], [most, valid(2.01, { others: 0.7 }), 'disturbed'], [most, valid(1.5, { others: 0.7 }), 'reached'], [{ at_most: 2 }, valid(0), 'reached'],
    [least, valid(9.9), 'missed'], [least, valid(10), 'reached'], [least, valid(20), 'aim reached'],
    [least, valid(9, { or_more: true }), 'open'], [least, valid(11, { or_more: true }), 'reached'],
  ]) assert.equal(mark(target, figure), word, JSON.stringify([target, figure]));
});

test('the latest valid value counts; a run with other settings has another name', () => {
  const run = (value, valid, began, settings = '') => ({ who: 'Ringcast', kind: 'load', scenario: 'video-1-to-N', n: 100, profile: 'gcm128',
    sendto: value, latency: {}, valid, settings, source: { began } });
  const of = (...runs) => name({ micro: [], searches: [], runs });
  const key = 'load.video-1-to-N.100.gcm128.sendto';
  assert.equal(of(run(1, true, '2026-01-01'), run(2, true, '2026-01-02'), run(3, false, '2026-01-03'))[key].value, 2);
  assert.equal(of(run(2, true, '2026-01-02'), run(1, true, '2026-01-01'))[key].value, 2);
  assert.equal(of(run(5, true, '', 'RINGCAST_BATCH_FILL=0'))[key], undefined);
  assert.equal(of(run(5, true, '', 'RINGCAST_BATCH_FILL=0'))[`${key}+RINGCAST_BATCH_FILL=0`].value, 5);
});

test('if other processes used the core of the server, its latency is undecided but its CPU cost is not', () => {
  const run = (others_share) => name({ micro: [], searches: [], runs: [{ who: 'Ringcast', kind: 'load', scenario: 'rooms-10x10', n: 10,
    profile: 'gcm128', sendto: 1, latency: { p99: 9 }, others_share, valid: true, source: {} }] });
  const figures = run(0.5);
  assert.equal(figures['load.rooms-10x10.10.gcm128.p99_ms'].others, 0.5);
  assert.equal(figures['load.rooms-10x10.10.gcm128.sendto'].others, undefined);
  assert.equal(run(0.1)['load.rooms-10x10.10.gcm128.p99_ms'].others, undefined);
});

test('the targets, compared with the stored results', async () => {
  const table = await readTargets(join(perf, 'targets.json'));
  assert.equal(new Set(table.targets.map((t) => t.id)).size, table.targets.length);
  for (const t of table.targets) assert.ok(t.command && t.values.length, t.id);
  const words = Object.fromEntries(judge(table, name(await read([results()]))).map((t) => [t.id, t.word]));
  assert.deepEqual([words['cpu-video'], words['cpu-video-peer'], words['fan-out-video'], words['latency-rooms-p99'], words['path-cm'],
    words['two-cores']], ['missed', 'not measured', 'reached', 'invalid', 'aim reached', 'missed']);
  await writeFile(join(directory, 'targets.json'), JSON.stringify({ targets: [{ id: 'x', name: 'x', unit: 'ms', values: [] }] }));
  await assert.rejects(readTargets(join(directory, 'targets.json')), /one of at_most, at_least/);
});

// ---- plots ----

test('numbers have three significant digits', () => {
  for (const [value, text] of [[NaN, '–'], [null, '–'], [0, '0'], [0.0817, '0.0817'], [1.5, '1.5'], [0.756, '0.756'], [12.34, '12.3'],
    [152.4, '152'], [3825, '3\u202f825'], [1036989, '1\u202f036\u202f989'], [100, '100']]) assert.equal(number(value), text);
});

test('lines stay within the plot, and larger x values are further right', () => {
  for (const log of [false, true]) {
    const svg = lines({ id: 'p', title: 't', x: { label: 'x', log }, y: { label: 'y', log },
      series: [{ name: 'a', points: [{ x: 1, y: 5 }, { x: 10, y: 500 }, { x: 1000, y: 90 }] }] });
    const path = svg.match(/class="line" d="(M[^"]*)" stroke-dasharray=""\/><g class="dot"><g>/)[1];
    const at = path.slice(1).split('L').map((p) => p.split(' ').map(Number));
    assert.equal(at.length, 3);
    for (const [x, y] of at) assert.ok(x >= 0 && x <= 360 && y >= 0 && y <= 240, `${x} ${y}`);
    assert.ok(at[0][0] < at[1][0] && at[1][0] < at[2][0] && at[1][1] < at[2][1] && at[2][1] < at[0][1]);
  }
});

test('a value that is not valid is marked "invalid", and no line passes through it', () => {
  const svg = lines({ id: 'p', title: 't', x: { label: 'x' }, y: { label: 'y' },
    series: [{ name: 'a', points: [{ x: 1, y: 1 }, { x: 2, y: 9, invalid: true }, { x: 3, y: 2 }] }] });
  assert.match(svg, /class="invalid"[^>]*>invalid</);
  assert.equal(svg.match(/class="line" d="(M[^"]*)" stroke-dasharray=""\/><g class="dot"><g>/)[1].split('L').length, 2);
  const bar = bars({ id: 'b', title: 't', unit: 'ns', rows: [{ label: 'x', value: 5, invalid: true }] });
  assert.match(bar, /hollow/);
  assert.match(bar, /5 ns – invalid/);
});

test('without values there is no plot', () => {
  assert.equal(lines({ id: 'p', title: 't', x: { label: '' }, y: { label: '' }, series: [] }), null);
  assert.equal(lines({ id: 'p', title: 't', x: { label: '' }, y: { label: '' }, series: [{ name: 'a', points: [{ x: 1, y: NaN }] }] }), null);
  assert.equal(bars({ id: 'b', title: 't', rows: [{ label: 'x', value: undefined }] }), null);
  assert.equal(escape('<a href="x">&\'</a>'), '&lt;a href=&quot;x&quot;&gt;&amp;&#39;&lt;/a&gt;');
});

// ---- the page ----

test('the page is valid HTML, loads nothing, shows the command of each value and marks invalid ones', async () => {
  const { html } = await report([results()]);
  assert.doesNotMatch(html, /https?:|src=|url\(|@import|<script|<link/);
  assert.doesNotMatch(html.replace(/<code>.*?<\/code>/g, ''), /NaN|undefined|\[object|Infinity|>null</);
  const ids = [...html.matchAll(/ id="([^"]+)"/g)].map((m) => m[1]);
  assert.equal(new Set(ids).size, ids.length);
  for (const [, target] of html.matchAll(/(?:href="#|labelledby=")([^" ]+)/g)) assert.ok(ids.includes(target), target);
  for (const tag of ['figure', 'section', 'table', 'tr', 'td', 'th', 'svg', 'g', 'text', 'ul', 'li', 'code', 'span', 'div'])
    assert.equal(html.match(new RegExp(`<${tag}[ >]`, 'g')).length, html.match(new RegExp(`</${tag}>`, 'g')).length, tag);
  for (const text of ['Test Processor 3000', '6.1.0-test', '0123456789ab', 'perf/load/run video-1-to-N 100', 'io_uring', 'replay',
    'interrupted.json', 'the generator&#39;s thread used more than 90 %', '>missed<', '>aim reached<', '>not measured<', '>invalid<'])
    assert.ok(html.includes(text) || html.replace(/<\/?span>/g, '').includes(text) || html.includes(text.replace('&#39;', "'")), text);
  for (const id of ['path-1200', 'server-video-1-to-N', 'largest', 'sendto', 'cpu-ns', 'io-1200', 'latency-video-1-to-N', 'scaling'])
    assert.ok(ids.includes(`plot-${id}`), id);
});

test('the page says if results come from several machines or commits, or if there are none', async () => {
  const file = JSON.parse(await readFile(results('micro.json'), 'utf8'));
  file.machine = { ...file.machine, cpu: 'Another <Processor>', commit: 'fedcba' };
  await writeFile(join(directory, 'other.json'), JSON.stringify(file));
  const { html } = await report([results('micro.json'), join(directory, 'other.json')]);
  assert.match(html, /more than one machine/);
  assert.match(html, /more than one commit/);
  assert.match(html, /Another &lt;Processor&gt;/);
  assert.match((await report([join(directory, 'nowhere')])).html, /no results/);
});

test('on a phone nothing is wider than the screen', async (t) => {
  await writeFile(join(directory, 'report.html'), (await report([results()])).html);
  await writeFile(join(directory, 'phone.html'), `<body><iframe src="report.html" style="width:390px;height:800px;border:0" onload="
    const d = this.contentDocument; document.body.dataset.seen = d.documentElement.scrollWidth + ' ' +
    [...d.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > 391).length + ' ' + d.querySelectorAll('svg').length"></iframe>`);
  const words = ['--headless', '--no-sandbox', '--disable-gpu', '--allow-file-access-from-files', `--user-data-dir=${join(directory, 'chromium')}`,
    '--virtual-time-budget=3000', '--dump-dom', `file://${join(directory, 'phone.html')}`];
  const { stdout } = await promisify(execFile)('chromium', words, { timeout: 120000 }).catch((error) => {
    if (error.code === 'ENOENT' && !process.env.CI) return t.skip('no chromium') ?? { stdout: '' };
    throw error;
  });
  if (!stdout) return;
  const [, width, beyond, plots] = stdout.match(/data-seen="(\d+) (\d+) (\d+)"/);
  assert.ok(Number(width) <= 390 && Number(beyond) === 0 && Number(plots) > 8, `${width} px, ${beyond} elements beyond, ${plots} plots`);
});

// ---- programs ----

test('perf/report prints what it did, and explains wrong options', () => {
  const out = join(directory, 'out.html');
  const good = run('report', '--out', out, results());
  assert.equal(good.status, 0, good.stderr);
  assert.match(good.stdout, /left out .*interrupted\.json/);
  assert.match(good.stdout, /missed .*sendto calls/);
  assert.match(good.stdout.trimEnd().split('\n').at(-1), /report +.*out\.html/);
  assert.match(run('report').stderr, /name at least one result/);
  assert.equal(run('report', '--colour', 'red').status, 2);
  assert.equal(run('report', '--out', out, join(directory, 'nowhere')).status, 1);
});

test('perf/record keeps command, machine and exit status', async () => {
  const file = join(directory, 'recorded.json');
  const good = run('record', file, 'sh', '-c', 'echo "[1]" > "$0"', '{}');
  assert.equal(good.status, 0, good.stderr);
  const kept = JSON.parse(await readFile(file, 'utf8'));
  assert.deepEqual([kept.result, kept.status, kept.program], [[1], 0, 'sh']);
  assert.match(kept.command, /FILE$/);
  assert.ok(kept.machine.kernel && kept.began);
  assert.equal(run('record', file, 'sh', '-c', 'echo "{}"; exit 3').status, 3);
  assert.equal(JSON.parse(await readFile(file, 'utf8')).status, 3);
  const bad = run('record', join(directory, 'none.json'), 'sh', '-c', 'echo nonsense');
  assert.equal(bad.status, 1);
  assert.match(bad.stderr, /wrote no JSON/);
});

test('values of the machine that cannot be read are null', async () => {
  const facts = await machine();
  for (const name of ['cpu', 'processors', 'kernel', 'commit', 'load', 'versions', 'governor', 'hugepages'])
    assert.ok(facts[name] !== undefined, name);
  assert.ok(facts.processors > 0 && Array.isArray(facts.load));
});
