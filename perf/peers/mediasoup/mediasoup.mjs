// Starts and stops server.mjs. The npm package of mediasoup downloads its worker program from another place,
// which does not work on every machine.

import { spawn } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { prefix } from '../../load/run.mjs';
import { until } from '../../../tests/lib/ringcast.mjs';

const here = dirname(fileURLToPath(import.meta.url));

// Null if mediasoup is installed, else a sentence.
export async function missing() {
  let mediasoup;
  try {
    mediasoup = await import('mediasoup');
    await import('socket.io');
  } catch {
    return `mediasoup is not on this machine (npm ci in ${here}): its side is left out`;
  }
  try {
    await access(mediasoup.workerBin, constants.X_OK);
    return null;
  } catch {
    return `mediasoup's worker is not on this machine (${mediasoup.workerBin}): its side is left out`;
  }
}

export class Mediasoup {
  // options: serverCore, nice
  static async start(options) {
    const self = new Mediasoup();
    self.log = '';
    const command = [...prefix(options), 'taskset', '-c', String(options.serverCore), process.execPath, join(here, 'server.mjs')];
    self.process = spawn(command[0], command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    self.process.stdout.on('data', (data) => { output += data; });
    self.process.stderr.on('data', (data) => { self.log = (self.log + data).slice(-20000); });
    self.exited = new Promise((resolve) => { self.process.on('exit', (code, signal) => resolve({ code, signal })); });
    try {
      await until(() => output.includes('\n'), 15000, 'mediasoup answers after its start');
    } catch (error) {
      await self.stop();
      throw new Error(`${error.message}\n${self.log}`);
    }
    const { port, version } = JSON.parse(output);
    return Object.assign(self, { port, version: `mediasoup ${version}` });
  }

  async stop() {
    this.process.kill('SIGTERM');
    const kill = setTimeout(() => this.process.kill('SIGKILL'), 10000);
    await this.exited;
    clearTimeout(kill);
  }
}
