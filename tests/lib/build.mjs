// Which build is tested (RINGCAST_BUILD, from the root of the tree), and what a sanitizer in it means
// for a test. Bounds on time are those of a plain build: they are multiplied by `slower`, by until()
// and within() themselves. Bounds on memory say nothing then: a sanitizer keeps what was freed.

import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const build = process.env.RINGCAST_BUILD ?? 'build/release';
export const binaries = resolve(root, build);
export const sanitizer = build.match(/\b(asan|tsan)\b/)?.[1];
export const slower = { asan: 3, tsan: 10 }[sanitizer] ?? 1;
export const measuresMemory = !sanitizer;

// For the environment of what is started: ASAN_OPTIONS and its like, if tests/under-sanitizer set them.
export const sanitizerOptions = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => name.endsWith('SAN_OPTIONS')));
