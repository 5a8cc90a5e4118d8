// Redis servers and Sentinels for one test, with free ports and temporary directories. The package redis-tools
// has the server as redis-check-rdb; argv[0] decides what the program is.

import { execFile, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort, until } from './ringcast.mjs';

const run = promisify(execFile);
const program = '/usr/bin/redis-check-rdb';

export class RedisServer {
  // options: password, tls (true), config (more lines), port, sentinel: { name, host, port, quorum }.
  static async start(options = {}) {
    const self = new RedisServer();
    self.options = options;
    self.port = options.port ?? await freePort();
    self.directory = await mkdtemp(join(tmpdir(), 'ringcast-redis-'));
    if (options.tls) await self.#makeCertificates();
    await self.launch();
    return self;
  }

  async #makeCertificates() {
    const file = (name) => join(this.directory, name);
    const openssl = (...words) => run('openssl', words, { cwd: this.directory });
    await openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
      '-subj', '/CN=Test authority', '-keyout', 'ca.key', '-out', 'ca.pem');
    for (const [name, names] of [['server', 'IP:127.0.0.1,DNS:localhost'], ['client', 'DNS:client']]) {
      await openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', `/CN=${name}`,
        '-keyout', `${name}.key`, '-out', `${name}.csr`);
      await writeFile(file(`${name}.ext`), `subjectAltName=${names}\n`);
      await openssl('x509', '-req', '-in', `${name}.csr`, '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial',
        '-days', '2', '-extfile', `${name}.ext`, '-out', `${name}.pem`);
    }
    this.certificates = { ca: file('ca.pem'), certificate: file('client.pem'), key: file('client.key') };
  }

  #configuration() {
    const { password, tls, config = [], sentinel } = this.options;
    const lines = ['bind 127.0.0.1 127.0.0.2', `dir ${this.directory}`, 'daemonize no', 'loglevel notice'];
    if (tls)
      lines.push('port 0', `tls-port ${this.port}`, 'tls-auth-clients yes', `tls-ca-cert-file ${this.directory}/ca.pem`,
        `tls-cert-file ${this.directory}/server.pem`, `tls-key-file ${this.directory}/server.key`);
    else lines.push(`port ${this.port}`);
    if (sentinel) {
      const { name, port, quorum = 2 } = sentinel;
      lines.push(`sentinel monitor ${name} 127.0.0.1 ${port} ${quorum}`, `sentinel down-after-milliseconds ${name} 1000`,
        `sentinel failover-timeout ${name} 5000`, `sentinel parallel-syncs ${name} 1`);
      if (sentinel.password) lines.push(`sentinel auth-pass ${name} ${sentinel.password}`);
    } else {
      lines.push('save ""', 'appendonly no', 'repl-diskless-sync-delay 0');
    }
    if (password) lines.push(`requirepass ${password}`);
    return [...lines, ...config].join('\n') + '\n';
  }

  async launch() {
    const file = join(this.directory, 'server.conf');
    await writeFile(file, this.#configuration());
    const name = this.options.sentinel ? 'redis-sentinel' : 'redis-server';
    this.log = '';
    // The server ends when this process ends.
    this.process = spawn('setpriv', ['--pdeathsig', 'KILL', 'bash', '-c', `exec -a ${name} ${program} "$0"`, file],
      { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.process.stdout, this.process.stderr])
      stream.on('data', (data) => { this.log += data; });
    this.exited = new Promise((resolve) => { this.process.on('exit', resolve); });
    await until(async () => (await this.cli('PING')).trim() === 'PONG', 5000, `${name} answers`)
      .catch((error) => { throw new Error(`${error.message}\n${this.log}`); });
  }

  get environment() {
    const { password, tls } = this.options;
    return {
      RINGCAST_STATE: 'redis', REDIS_HOST: '127.0.0.1', REDIS_PORT: String(this.port),
      ...(password ? { REDIS_PASSWORD: password } : {}),
      ...(tls ? { REDIS_TLS: 'on', REDIS_TLS_CA: this.certificates.ca, REDIS_TLS_CERT: this.certificates.certificate,
        REDIS_TLS_KEY: this.certificates.key } : {}),
    };
  }

  // The output of redis-cli for one command.
  async cli(...words) {
    const { password, tls } = this.options;
    const { stdout } = await run('redis-cli', ['-h', '127.0.0.1', '-p', String(this.port),
      ...(password ? ['-a', password, '--no-auth-warning'] : []),
      ...(tls ? ['--tls', '--cacert', this.certificates.ca, '--cert', this.certificates.certificate,
        '--key', this.certificates.key] : []), ...words], { timeout: 5000 });
    return stdout;
  }

  // The same as JSON.
  async ask(...words) {
    return JSON.parse(await this.cli('--json', ...words));
  }

  // All keys: { key: { type, ttl, value } }, with the members of sets in order.
  async everything() {
    const all = {};
    for (const key of (await this.ask('KEYS', '*')).sort()) {
      const type = await this.ask('TYPE', key);
      const value = type === 'hash' ? await this.ask('HGETALL', key)
        : type === 'set' ? (await this.ask('SMEMBERS', key)).sort() : await this.ask('GET', key);
      all[key] = { type, ttl: await this.ask('TTL', key), value };
    }
    return all;
  }

  signal(name) {
    process.kill(this.process.pid, name);
  }

  // Kills the process. Its data is lost.
  async halt(signal = 'SIGKILL') {
    this.process.kill(signal);
    await this.exited;
  }

  async stop() {
    this.process.kill('SIGCONT');
    await this.halt();
    await rm(this.directory, { recursive: true, force: true });
  }
}

// One Redis for a whole suite: { environment, stop, cli }.
export async function startRedis(options) {
  return RedisServer.start(options);
}
