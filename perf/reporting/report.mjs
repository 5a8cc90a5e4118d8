// Makes one HTML file of all measured values: plots, tables, and how each value compares with its target.
// Started by perf/report. Also a library: see tests/report.

import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { page } from './page.mjs';
import { read } from './read.mjs';
import { cpuSection, latencySection, leadOf, scalingSection, sourcesSection, targetsSection, throughputSection } from './sections.mjs';
import { judge, name, readTargets } from './targets.mjs';

const usage = `perf/report [--out FILE.html] [--targets FILE.json] RESULT.json|FOLDER…
Makes one HTML file (default report.html) of the results of ringcast-bench, ringcast-bench-io, ringcast-load,
perf/load/run --json and perf/compare --json. Run the first two through perf/record, which adds command, date
and machine. A file that cannot be read is named in the report and left out. The values are compared with the
targets of --targets (default perf/targets.json).
Exit status: 0; 1 no result could be read; 2 wrong options.`;

const defaultTargets = join(dirname(fileURLToPath(import.meta.url)), '..', 'targets.json');

// { html, judged, data }
export async function report(paths, targetsFile = defaultTargets) {
  const data = await read(paths);
  const judged = judge(await readTargets(targetsFile), name(data));
  const html = page({ title: 'Ringcast: measured values', lead: leadOf(data), sections: [
    { id: 'targets', title: 'Comparison with the targets', html: data.sources.length ? targetsSection(judged) : '' },
    { id: 'throughput', title: 'Throughput against fan-out', html: throughputSection(data) },
    { id: 'cpu', title: 'CPU per packet', html: cpuSection(data, judged) },
    { id: 'latency', title: 'Latency', html: latencySection(data) },
    { id: 'scaling', title: 'Scaling over cores', html: scalingSection(data, judged) },
    { id: 'sources', title: 'Sources', html: sourcesSection(data) },
  ] });
  return { html, judged, data };
}

function readWords(argv) {
  const options = { out: 'report.html', targets: defaultTargets, paths: [] };
  for (let i = 0; i < argv.length; i++) {
    if (argv[i] === '--out' || argv[i] === '--targets') {
      options[argv[i].slice(2)] = argv[i + 1];
      if (argv[++i] === undefined) throw new Error(`${argv[i - 1]}: its value is missing`);
    } else if (argv[i].startsWith('-')) {
      throw new Error(`${argv[i]}: unknown option`);
    } else options.paths.push(argv[i]);
  }
  if (!options.paths.length) throw new Error('name at least one result file, or a folder of them');
  return options;
}

async function main(argv) {
  let options;
  if (argv.includes('--help')) {
    console.log(usage);
    return 0;
  }
  try {
    options = readWords(argv);
  } catch (error) {
    console.error(`report: ${error.message}\n${usage}`);
    return 2;
  }
  try {
    const { html, judged, data } = await report(options.paths, options.targets);
    await writeFile(options.out, html);
    for (const p of data.problems) console.log(`left out  ${p.file}: ${p.why}`);
    for (const t of judged.filter((j) => j.measured))
      console.log(`${t.word.padEnd(12)} ${t.name}: ${Number(t.measured.value).toPrecision(3)} ${t.unit}`);
    console.log(`report    ${options.out}`);
    return data.sources.length ? 0 : 1;
  } catch (error) {
    console.error(`report: ${error.message}`);
    return 1;
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) process.exitCode = await main(process.argv.slice(2));
