// A PostgreSQL server of one's own (tests/lib/postgres): start, stop, hang, and a look into it.

import { execFile, execFileSync, spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const program = join(dirname(fileURLToPath(import.meta.url)), 'postgres');

export class Postgres {
  // Lives until stop(), or until this process ends.
  static async start(...settings) {
    const self = new Postgres();
    self.process = spawn(program, settings, { stdio: ['pipe', 'pipe', 'inherit'] });
    self.lines = createInterface({ input: self.process.stdout })[Symbol.asyncIterator]();
    const { value } = await self.lines.next();
    const [, port, directory] = value?.match(/^ready (\d+) (\S+)$/) ?? [];
    if (!port) throw new Error(`tests/lib/postgres did not start a server: ${value}`);
    Object.assign(self, { port, directory, databases: 0, ended: new Promise((r) => self.process.on('exit', r)) });
    for (const part of [self.process, self.process.stdin, self.process.stdout]) part.unref();
    return self;
  }

  // 'stop', 'crash' and 'start', or 'hang' and 'go on': resolves when it is so.
  async tell(word) {
    const alive = setInterval(() => {}, 1000); // the pipes do not keep node waiting
    this.process.stdin.write(`${word}\n`);
    const { value, done } = await this.lines.next();
    clearInterval(alive);
    if (done) throw new Error(`the server is gone after ${word}`);
    return value;
  }

  // What leads a control plane to a database of its own, empty at first.
  async environment() {
    const database = `ringcast_${++this.databases}`;
    await this.sql(`CREATE DATABASE ${database} OWNER videoconf`, 'postgres');
    return {
      RINGCAST_PERSISTENCE: 'postgres', POSTGRES_HOST: '127.0.0.1', POSTGRES_PORT: this.port,
      POSTGRES_USER: 'videoconf', POSTGRES_PASSWORD: 'videoconf password', POSTGRES_DB: database,
    };
  }

  // Rows as psql -At prints them.
  arguments(database) {
    return ['-X', '-q', '-At', '-v', 'ON_ERROR_STOP=1', '-h', this.directory, '-p', this.port, '-U', 'postgres', database];
  }

  async sql(text, database) {
    const { stdout } = await promisify(execFile)('psql', [...this.arguments(database), '-c', text],
      { maxBuffer: 1 << 28 });
    return stdout.trim();
  }

  sqlSync(text, database) {
    return execFileSync('psql', [...this.arguments(database), '-c', text], { encoding: 'utf8' }).trim();
  }

  async stop() {
    this.process.ref();
    this.process.stdin.end();
    await this.ended;
  }
}
