// What losses cost the server: CPU time per forwarded packet of one publisher and N subscribers that answer losses
// like browsers, at 0, 1 and 5 % loss, as a ratio to subscribers that answer nothing. See --help.

import { writeFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { machine } from '../machine.mjs';
import { load, lock, serve } from './run.mjs';

const usage = `perf/load/loss-cost [options]
One publisher of video, N subscribers, one server on core 0, the generator on core 1. Rounds of four runs: without
answers, and with --nack --transport-cc at 0, 1 and 5 % loss. Each run of a round is divided by its first one; the
result is the median of all rounds. The generator itself drops the packets, so no relay disturbs the measurement.
  --n N          subscribers (default 400)
  --rounds N     at most (default 5); no round begins that would not end within the limit
  --seconds N    length of each measurement (default 4)
  --limit S      of the whole measurement, in seconds (default 150)
  --bound R      the largest ratio that is allowed (default 1.15)
  --nice N       priority of both, such as -15 on a machine that others use (default 0)
  --lock FILE    hold this lock (flock) during the measurement
  --json FILE    write all runs, with date and machine
Exit status: 0 all ratios are within the bound; 1 one is not; 2 wrong options; 3 a variant has no valid round.`;

const answers = ['--nack', '--transport-cc'];
export const variants = [
  { name: 'no answers', words: [] },
  { name: 'answers, 0 %', words: answers },
  { name: 'answers, 1 %', words: [...answers, '--receive-loss', 1] },
  { name: 'answers, 5 %', words: [...answers, '--receive-loss', 5] },
];

export const median = (list) => {
  const sorted = [...list].sort((a, b) => a - b), half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
};

// rounds: one list of costs for each round, in the order of `variants`; null: not valid. Returns for each variant
// the ratios to the first one, of all rounds in which both are valid.
export const ratios = (rounds) => variants.map((_, v) => rounds.filter((r) => r[0] && r[v]).map((r) => r[v] / r[0]));

// True: one more round of the same length ends within the limit.
export const fits = (elapsed, roundsDone, limit) => roundsDone === 0 || elapsed * (roundsDone + 1) / roundsDone <= limit;

// Why a run says nothing about the server's cost: the generator was the bottleneck, or so much was lost for ever that
// the server did not get the processor. Null: it does.
export function objection(result) {
  if (!result.valid) return result.invalid_because.join('; ');
  const { lost, expected } = result.video;
  return lost > 0.005 * expected ? `${(100 * lost / expected).toFixed(1)} % of all packets never came: the machine was too busy` : null;
}

// The variants take turns in being the first of a round, so that a machine that slows down favours none.
async function measureRound(server, round, options, all) {
  const costs = variants.map(() => null);
  for (let i = 0; i < variants.length; i++) {
    const v = (round + i) % variants.length, { name, words } = variants[v];
    const run = await load(server, ['--publishers', 1, '--subscribers', options.n, '--seconds', options.seconds, ...words],
      { serverCore: 0, loadCore: 1, nice: options.nice });
    const { result } = run;
    all.push({ round, variant: name, ...result, command: run.command.join(' ') });
    if (!result?.measured) throw new Error(`${name}: ${result?.failure ?? run.text}`);
    const why = objection(result);
    if (!why) costs[v] = result.server.cpu_ns_per_packet;
    const repaired = result.repair.lost ? `, ${(100 * (result.repair.repaired + result.repair.late) / result.repair.lost).toFixed(1)} % of ` +
      `${result.repair.lost} lost packets came again` : '';
    console.log(`round ${round + 1}  ${name.padEnd(13)} ${Math.round(result.server.cpu_ns_per_packet)} ns per forwarded packet${repaired}` +
      (why ? `  NOT VALID: ${why}` : ''));
  }
  return costs;
}

export async function lossCost(options) {
  const rounds = [], all = [], began = Date.now();
  const unlock = await lock(options.lock);
  let server;
  try {
    server = await serve({ serverCore: 0, nice: options.nice });
    for (let r = 0; r < options.rounds && fits((Date.now() - began) / 1000, r, options.limit); r++)
      rounds.push(await measureRound(server, r, options, all));
  } finally {
    await server?.stop();
    unlock();
  }
  return { ratios: ratios(rounds), all };
}

const numbers = { n: 400, rounds: 5, seconds: 4, limit: 150, bound: 1.15, nice: 0 };

function readOptions(argv) {
  const text = { type: 'string' };
  const { values } = parseArgs({ args: argv, options: { help: { type: 'boolean' }, json: text, lock: text,
    ...Object.fromEntries(Object.keys(numbers).map((name) => [name, text])) } });
  const options = { ...values };
  for (const [name, standard] of Object.entries(numbers)) {
    options[name] = values[name] === undefined ? standard : Number(values[name]);
    if (Number.isNaN(options[name]) || (name !== 'nice' && options[name] <= 0)) throw new Error(`--${name} ${values[name]}: must be a number above 0`);
  }
  return options;
}

async function main() {
  let options;
  try {
    options = readOptions(process.argv.slice(2));
  } catch (error) {
    console.error(`loss-cost: ${error.message}\n${usage}`);
    return 2;
  }
  if (options.help) {
    console.log(usage);
    return 0;
  }
  const found = await lossCost(options);
  if (options.json)
    await writeFile(options.json, JSON.stringify({ program: 'perf/load/loss-cost', began: new Date().toISOString(), machine: await machine(),
      ...options, ...found }, null, 1));
  if (!found.ratios[0].length) {
    console.log('no round was valid: the generator was the bottleneck');
    return 3;
  }
  let status = 0;
  found.ratios.slice(1).forEach((list, i) => {
    const { name } = variants[i + 1];
    if (!list.length) {
      console.log(`${name}: no valid round`);
      status ||= 3;
      return;
    }
    const ok = median(list) <= options.bound;
    console.log(`${name}: ${median(list).toFixed(3)} times the cost without answers (${list.length} rounds: ` +
      `${Math.min(...list).toFixed(3)} to ${Math.max(...list).toFixed(3)})${ok ? '' : `, more than ${options.bound}`}`);
    if (!ok) status = 1;
  });
  return status;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  process.exitCode = await main().catch((error) => {
    console.error(`loss-cost: ${error.message}`);
    return 1;
  });
}
