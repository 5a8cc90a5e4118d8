// Runs a program that writes JSON, and stores the JSON together with command line, date, machine and exit
// status.

import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { machine } from '../machine.mjs';

const usage = `perf/record FILE.json COMMAND… | perf/record FILE.json COMMAND… {} …
Runs COMMAND and writes its JSON to FILE.json, together with command line, date and machine.
With {}, COMMAND writes its JSON to the file whose name replaces {}; without {}, to standard output.
  perf/record io.json build/release/ringcast-bench-io --json
  perf/record micro.json build/release/ringcast-bench --json {} short
Exit status: that of COMMAND; 1 if it wrote no JSON; 2 wrong options.`;

function run(command, collectOutput) {
  return new Promise((resolve, reject) => {
    const child = spawn(command[0], command.slice(1), { stdio: ['ignore', collectOutput ? 'pipe' : 'inherit', 'inherit'] });
    let text = '';
    child.stdout?.on('data', (data) => { text += data; });
    child.on('error', reject);
    child.on('close', (status, signal) => resolve({ status: status ?? 1, signal, text }));
  });
}

async function main([file, ...words]) {
  if (!file || file.startsWith('-') || !words.length) {
    console.error(usage);
    return file === '--help' ? 0 : 2;
  }
  const directory = await mkdtemp(join(tmpdir(), 'ringcast-record-'));
  try {
    const jsonFile = words.includes('{}') ? join(directory, 'result.json') : null;
    const measuredOn = await machine(), began = new Date();
    const { status, signal, text } = await run(words.map((word) => (word === '{}' ? jsonFile : word)), !jsonFile);
    const seconds = (Date.now() - began) / 1000;
    let result;
    try {
      result = JSON.parse(jsonFile ? await readFile(jsonFile, 'utf8') : text);
    } catch {
      console.error(`record: ${words[0]} ended with ${signal ?? `status ${status}`} and wrote no JSON`);
      return status || 1;
    }
    const command = words.map((word) => (word === '{}' ? 'FILE' : word)).join(' ');
    await writeFile(file, JSON.stringify({ program: basename(words[0]), command, began: began.toISOString(), seconds,
      status, machine: measuredOn, result }, null, 1));
    return status;
  } catch (error) {
    console.error(`record: ${error.message}`);
    return 1;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

process.exitCode = await main(process.argv.slice(2));
