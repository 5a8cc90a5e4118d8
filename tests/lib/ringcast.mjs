// Starts and stops a whole Ringcast for a test. It has its own data directory and free ports, and uses the
// embedded stores or real servers (servers.mjs).

import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { binaries, root, sanitizerOptions } from './build.mjs';
import { sharedPostgres, storesOf } from './servers.mjs';
import { HANG_MS, until } from './waiting.mjs';

export * from './build.mjs';
export * from './waiting.mjs';
const run = promisify(execFile);

export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

export class Ringcast {
  // prefix: a command that runs it, such as ['taskset', '-c', '0']. words: options of ringcast-run.
  static async start(environment = {}, prefix = [], words = []) {
    const self = new Ringcast();
    self.port = await freePort();
    self.directory = await mkdtemp(join(tmpdir(), 'ringcast-test-'));
    await chmod(self.directory, 0o755); // when root starts it, the control plane becomes the user of run_as
    self.url = `http://localhost:${self.port}`;
    self.log = '';
    const page = join(root, 'build/page');
    const mediaPort = 40000 + (process.pid % 900) * 10;
    self.mediaPort = mediaPort;
    const stores = await storesOf(self.directory);
    self.database = stores.POSTGRES_DB;
    const command = [...prefix, join(binaries, 'ringcast-run'), ...words];
    self.process = spawn(command[0], command.slice(1), {
      env: {
        PATH: process.env.PATH,
        PORT: String(self.port),
        RINGCAST_DATA: join(self.directory, 'data'),
        RINGCAST_PAGE: existsSync(page) ? page : '',
        MEDIASOUP_MIN_PORT: String(mediaPort),
        MEDIASOUP_MAX_PORT: String(mediaPort + 9),
        MEDIASOUP_LOG_LEVEL: 'debug',
        MEDIASOUP_ANNOUNCED_IP: '127.0.0.1',
        RECONNECT_GRACE: '2',
        RINGCAST_LOGIN_ATTEMPTS: '1000',
        ...sanitizerOptions,
        ...stores,
        ...environment,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [self.process.stdout, self.process.stderr])
      stream.on('data', (data) => { self.log += data; });
    self.exited = new Promise((resolve) => { self.process.on('exit', (code, signal) => resolve({ code, signal })); });
    try {
      await until(async () => (await self.health()).status === 'ok', 15000, 'healthy after start');
    } catch (error) {
      await self.stop();
      throw new Error(`${error.message}\n${self.log}`);
    }
    return self;
  }

  async health() {
    return (await fetch(`${this.url}/health`)).json();
  }

  async request(method, path, body, token) {
    const response = await fetch(this.url + path, {
      method,
      headers: { 'content-type': 'application/json', ...(token ? { authorization: `Bearer ${token}` } : {}) },
      body: body ? JSON.stringify(body) : undefined,
    });
    return { status: response.status, body: await response.json() };
  }

  // Registers a user: { token, user }.
  async person(name) {
    const { status, body } = await this.request('POST', '/auth/register', {
      email: `${name}-${Math.random().toString(36).slice(2)}@example.org`, password: 'correct horse', displayName: name,
    });
    if (status !== 201) throw new Error(`register: ${status} ${JSON.stringify(body)}`);
    return { token: body.accessToken, user: body.user };
  }

  // Rows from its database. Each row is an array of texts; NULL is ''.
  async sql(text) {
    const output = this.database ? await (await sharedPostgres()).sql(text, this.database)
      : (await run('sqlite3', ['-cmd', '.timeout 2000', join(this.directory, 'data', 'ringcast.sqlite3'), text])).stdout;
    return output.trim().split('\n').filter(Boolean).map((line) => line.split('|'));
  }

  async ctl(...words) {
    const { stdout } = await run(join(binaries, 'ringcastctl'),
      [...words, '--data-directory', join(this.directory, 'data')]);
    return stdout;
  }

  // The used rows of a table in shared memory.
  async rows(table) {
    const text = await this.ctl('dump', table, '--json');
    return text.split('\n').filter(Boolean).map((line) => JSON.parse(line));
  }

  // The counters of all workers, added up: { verdicts: {…}, counters: {…} }.
  async counters() {
    const sum = { verdicts: {}, counters: {} };
    for (const row of await this.rows('worker_counters'))
      for (const group of ['verdicts', 'counters'])
        for (const [name, value] of Object.entries(row[group])) sum[group][name] = (sum[group][name] ?? 0) + value;
    return sum;
  }

  // Starts a call with ringcast-probe. Resolves to { status, report, errors } at its end; end() ends it early.
  probe(...words) {
    const child = spawn(join(binaries, 'ringcast-probe'), [this.url, '--json', ...words],
      { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '', errors = '';
    child.stdout.on('data', (data) => { output += data; });
    child.stderr.on('data', (data) => { errors += data; });
    const ended = new Promise((resolve) => child.on('close', (status, signal) => {
      let report = null;
      try { report = JSON.parse(output); } catch { /* `errors` has the output */ }
      resolve({ status, signal, report, errors: errors + (report ? '' : output) });
    }));
    ended.end = () => { child.kill('SIGINT'); return ended; };
    return ended;
  }

  // True when neither the desired nor the actual tables have a transport, producer or consumer.
  async isEmpty() {
    for (const table of ['transport', 'producer', 'consumer', 'transport_state', 'producer_state', 'consumer_state']) {
      const rows = await this.rows(table);
      if (rows.length) return false;
    }
    return true;
  }

  // The I/O backend of the workers.
  async backend() {
    return [...new Set((await this.rows('worker_state')).map((row) => row.backend))].join(', ');
  }

  // The process ids of this Ringcast, by role.
  async pids() {
    const all = {};
    for (const line of (await run('ps', ['-eo', 'pid,ppid,args'])).stdout.split('\n')) {
      const [, pid, , args] = line.match(/^\s*(\d+)\s+(\d+)\s+(.*)$/) ?? [];
      if (!args?.includes('ringcast-') || Number(pid) === process.pid) continue;
      const environ = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
      if (!environ.includes(`PORT=${this.port}\0`)) continue;
      const role = args.match(/--role=(\w+)/)?.[1]
        ?? (args.includes('ringcast-controlplane') ? 'controlplane'
          : args.includes('ringcast-dataplane') ? 'supervisor' : 'run');
      all[role] = Number(pid);
    }
    return all;
  }

  async stop() {
    this.process.kill('SIGTERM');
    let timer;
    const late = new Promise((resolve) => { timer = setTimeout(resolve, HANG_MS, null); });
    const result = await Promise.race([this.exited, late]);
    clearTimeout(timer); // a running timer keeps node alive
    if (!result) this.process.kill('SIGKILL');
    await rm(this.directory, { recursive: true, force: true });
    return result;
  }
}
