// A PostgreSQL server for one test process (tests/lib/postgres): starts, stops or hangs it, reads its rows.

import { execFile, execFileSync, spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const program = join(dirname(fileURLToPath(import.meta.url)), 'postgres');

export class Postgres {
  // It runs until stop() or until this process ends.
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

  // word: 'stop' or 'crash', then 'start'; or 'hang', then 'go on'. Resolves when it is done.
  async tell(word) {
    const alive = setInterval(() => {}, 1000); // keeps node alive, which the pipes do not
    this.process.stdin.write(`${word}\n`);
    const { value, done } = await this.lines.next();
    clearInterval(alive);
    if (done) throw new Error(`the server is gone after ${word}`);
    return value;
  }

  // The environment that makes a control plane use a new, empty database.
  async environment() {
    const database = `ringcast_${++this.databases}`;
    await this.sql(`CREATE DATABASE ${database} OWNER videoconf`, 'postgres');
    return {
      RINGCAST_PERSISTENCE: 'postgres', POSTGRES_HOST: '127.0.0.1', POSTGRES_PORT: this.port,
      POSTGRES_USER: 'videoconf', POSTGRES_PASSWORD: 'videoconf password', POSTGRES_DB: database,
    };
  }

  // The words of psql before the SQL text. It prints rows as psql -At does.
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
