// Starts and stops Debian's Janus for a measurement, on one core, with VideoRoom and HTTP only. It must run in
// the network that perf/peers/in-network makes, because Janus does not use a loopback interface for ICE.

import { spawn } from 'node:child_process';
import { access, constants, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { networkInterfaces, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { prefix } from '../../load/run.mjs';
import { freePort, until } from '../../../tests/lib/ringcast.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const modules = '/usr/lib/x86_64-linux-gnu/janus';
const interfaceName = 'peers';

// Null if Janus is installed, else a sentence.
export async function missing() {
  try {
    await readdir(modules);
    await access('/usr/bin/janus', constants.X_OK);
    return null;
  } catch {
    return 'Janus is not on this machine (apt-get install janus): its side is left out';
  }
}

export class Janus {
  static loadWords = ['--target', 'janus'];

  // options: serverCore, nice, eventLoops (0: a thread for each handle)
  static async start(options) {
    const self = new Janus();
    const address = networkInterfaces()[interfaceName]?.[0]?.address;
    if (!address) throw new Error(`no interface "${interfaceName}": run inside perf/peers/in-network, as perf/compare does`);
    self.port = await freePort();
    self.log = '';
    self.directory = await mkdtemp(join(tmpdir(), 'ringcast-janus-'));
    await self.configure({
      PLUGINS: await self.modules('plugins', 'libjanus_videoroom.so'),
      TRANSPORTS: await self.modules('transports', 'libjanus_http.so'),
      LOGGERS: await self.modules('loggers'),
      ADDRESS: address,
      PORT: String(self.port),
      EVENT_LOOPS: options.eventLoops ? `event_loops = ${options.eventLoops}` : '',
    });
    const command = [...prefix(options), 'taskset', '-c', String(options.serverCore), 'janus', '-F', self.directory];
    self.process = spawn(command[0], command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [self.process.stdout, self.process.stderr])
      stream.on('data', (data) => { self.log = (self.log + data).slice(-20000); });
    self.exited = new Promise((resolve) => { self.process.on('exit', (code, signal) => resolve({ code, signal })); });
    try {
      await until(() => self.answers(), 15000, 'Janus answers after its start');
    } catch (error) {
      await self.stop();
      throw new Error(`${error.message}\n${self.log}`);
    }
    return self;
  }

  // A folder with only these modules, because Janus loads everything that it finds.
  async modules(kind, ...names) {
    const folder = join(this.directory, kind);
    await mkdir(folder);
    for (const name of names) await symlink(join(modules, kind, name), join(folder, name));
    return folder;
  }

  async configure(values) {
    for (const name of (await readdir(here)).filter((file) => file.endsWith('.jcfg'))) {
      const text = await readFile(join(here, name), 'utf8');
      await writeFile(join(this.directory, name), text.replace(/@([A-Z_]+)@/g, (_, key) => values[key]));
    }
  }

  async answers() {
    const { janus, version_string: version } = await (await fetch(`http://127.0.0.1:${this.port}/janus/info`)).json();
    this.version = `Janus ${version}`;
    return janus === 'server_info';
  }

  async stop() {
    this.process.kill('SIGTERM');
    const kill = setTimeout(() => this.process.kill('SIGKILL'), 10000);
    await this.exited;
    clearTimeout(kill);
    await rm(this.directory, { recursive: true, force: true });
  }
}
