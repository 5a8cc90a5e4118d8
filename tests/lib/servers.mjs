// Where the Ringcast of an integration test keeps its data: RINGCAST_TEST_STORES=embedded (default)
// or servers, which starts real ones, once for each test process.

import { rmSync } from 'node:fs';
import { Postgres } from './postgres.mjs';

export const onServers = process.env.RINGCAST_TEST_STORES === 'servers';

// Servers of its own for one test: { environment: for a control plane, stop, postgres, redis }.
export async function startServers() {
  const { RedisServer } = await import('./redis.mjs');
  const [postgres, redis] = await Promise.all([Postgres.start(), RedisServer.start()]);
  return {
    environment: { ...(await postgres.environment()), ...redis.environment },
    postgres,
    redis,
    stop: () => Promise.all([postgres.stop(), redis.stop()]),
  };
}

let shared; // end with this process
const environments = new Map();

async function startShared() {
  const servers = await startServers();
  const { process: redis, directory } = servers.redis;
  for (const part of [redis, redis.stdout, redis.stderr]) part.unref();
  process.on('exit', () => {
    redis.kill('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  });
  return servers;
}

async function environmentMake(number) {
  const { postgres, redis } = await shared;
  return { ...(await postgres.environment()), ...redis.environment, REDIS_DB: String(number % 16) };
}

// The environment of the control plane whose data directory is `key`: the same for the same directory.
// {} when everything is embedded.
export async function storesOf(key) {
  if (!onServers) return {};
  shared ??= startShared();
  if (!environments.has(key)) environments.set(key, environmentMake(environments.size));
  return environments.get(key);
}

export async function sharedPostgres() {
  return (await shared)?.postgres;
}
