// A call with a sanitizer in every process: it works, all processes stop cleanly, no sanitizer
// reports anything.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { binaries, Ringcast, root, until } from '../lib/ringcast.mjs';

test('a call works and no sanitizer reports a problem', async () => {
  const ringcast = await Ringcast.start();
  let exit;
  try {
    // The probe is built without a sanitizer, so that it leaves more CPU time to the servers.
    const { stdout } = await promisify(execFile)(join(root, 'build/release/ringcast-probe'),
      [ringcast.url, '--json', '--seconds', '5', '--max-loss', '0']);
    assert.equal(JSON.parse(stdout).works, true);
    await until(() => ringcast.isEmpty(), 10000, 'no rows are left');
    for (const words of [['top', '--once'], ['dump', 'node'], ['check']]) await ringcast.ctl(...words);
  } finally {
    exit = await ringcast.stop();
  }
  assert.deepEqual(exit, { code: 0, signal: null });
  const complaints = ringcast.log.split('\n')
    .filter((line) => /Sanitizer|runtime error|WARNING: Thread/.test(line) && !/sandbox/.test(line));
  assert.deepEqual(complaints, [], `${binaries}:\n${ringcast.log}`);
});
