// Which build is tested (RINGCAST_BUILD, relative to the root of the tree), and what a sanitizer in
// it means for a test: everything takes `slower` times as long, and limits on memory do not hold,
// because a sanitizer does not reuse memory at once. A limit that only ends a hung test is
// multiplied by `patience`, so that it holds on a busy machine too: until() and within() do that
// themselves.

import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const build = process.env.RINGCAST_BUILD ?? 'build/release';
export const binaries = resolve(root, build);
export const sanitizer = build.match(/\b(asan|tsan)\b/)?.[1];
export const slower = { asan: 3, tsan: 10 }[sanitizer] ?? 1;
export const patience = 4 * slower;
export const measuresMemory = !sanitizer;

// For the environment of started programs: ASAN_OPTIONS and the like, if tests/under-sanitizer has
// set them.
export const sanitizerOptions = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => name.endsWith('SAN_OPTIONS')));
