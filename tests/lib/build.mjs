// Which build is tested (RINGCAST_BUILD, a path from the root of the tree), and how patient tests must be
// with it. Memory is not measured under a sanitizer: it keeps memory that was freed.

import { availableParallelism, loadavg } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const build = process.env.RINGCAST_BUILD ?? 'build/release';
export const binaries = resolve(root, build);
export const sanitizer = build.match(/\b(asan|tsan)\b/)?.[1];
export const measuresMemory = !sanitizer;

// Time limits are those of a release build on a quiet machine. Where time is what a test is about they are
// multiplied by `slower`: more under a sanitizer, and up to 4 times more when other programs use the processor.
// A limit that only ends a test that hangs is multiplied by `patience`; until() and within() do that.
const load = Math.min(4, Math.max(1, Math.ceil(loadavg()[0] / availableParallelism())));
export const slower = ({ asan: 3, tsan: 10 }[sanitizer] ?? 1) * load;
export const patience = 4 * slower;

// For the environment of started programs: ASAN_OPTIONS and the like, when tests/under-sanitizer set them.
export const sanitizerOptions = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => name.endsWith('SAN_OPTIONS')));
