// Describes the machine of a measurement, for all JSON files that scripts write and for the report.

import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { arch, cpus, loadavg, release, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const packages = ['libipsec-mb1', 'libssl3', 'liburing2', 'gcc', 'nodejs'];

const output = (program, ...words) => promisify(execFile)(program, words, { timeout: 5000 })
  .then(({ stdout }) => stdout.trim(), () => null);
const file = (path) => readFile(path, 'utf8').then((text) => text.trim(), () => null);
const git = (...words) => output('git', '-c', 'safe.directory=*', '-C', root, ...words);

// "always [madvise] never" → "madvise"
const chosen = (text) => text?.match(/\[(\w+)\]/)?.[1] ?? null;

async function commit() {
  const hash = await git('rev-parse', '--short=12', 'HEAD');
  if (!hash) return { commit: await file(join(root, 'packaging/VERSION')), modified: null };
  return { commit: hash, modified: (await git('status', '--porcelain', '--untracked-files=no')) !== '' };
}

async function versions() {
  const lines = await output('dpkg-query', '-W', '-f', '${Package} ${Version}\\n', ...packages)
    ?? (await Promise.all(packages.map((name) => output('dpkg-query', '-W', '-f', '${Package} ${Version}', name)))).join('\n');
  return Object.fromEntries(lines.split('\n').filter(Boolean).map((line) => line.split(' ')));
}

// Values that cannot be read are null. It never throws.
export async function machine() {
  const system = '/sys/devices/system/cpu/cpu0', memory = '/sys/kernel/mm';
  const [of, cpuinfo, siblings, governor, transparent, reserved, os, packagesFound] = await Promise.all([
    commit(), file('/proc/cpuinfo'), file(`${system}/topology/thread_siblings_list`),
    file(`${system}/cpufreq/scaling_governor`), file(`${memory}/transparent_hugepage/enabled`),
    file('/proc/sys/vm/nr_hugepages'), file('/etc/os-release'), versions(),
  ]);
  const flags = cpuinfo?.match(/^flags\s*:(.*)$/m)?.[1].split(' ') ?? [];
  return {
    cpu: cpus()[0]?.model ?? null, processors: cpus().length, siblings, architecture: arch(),
    features: ['aes', 'vaes', 'avx2', 'avx512f', 'sha_ni'].filter((name) => flags.includes(name)),
    virtual: flags.includes('hypervisor'), governor, memory_mib: Math.round(totalmem() / 2 ** 20),
    hugepages: { transparent: chosen(transparent), reserved: reserved === null ? null : Number(reserved) },
    kernel: release(), system: os?.match(/^PRETTY_NAME="(.*)"$/m)?.[1] ?? null,
    load: loadavg(), versions: packagesFound, ...of,
  };
}
