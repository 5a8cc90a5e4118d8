// The stores of integration tests: RINGCAST_TEST_STORES is `embedded` (default), or `servers`: then PostgreSQL
// and Redis are started once for each test process.

import { rmSync } from 'node:fs';
import { Postgres } from './postgres.mjs';

export const onServers = process.env.RINGCAST_TEST_STORES === 'servers';

// Servers for one test: { environment (for a control plane), stop, postgres, redis }.
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

let shared; // servers that end with this process
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

// The environment for the control plane with the data directory `key`: always the same for one directory. {}
// with embedded stores.
export async function storesOf(key) {
  if (!onServers) return {};
  shared ??= startShared();
  if (!environments.has(key)) environments.set(key, environmentMake(environments.size));
  return environments.get(key);
}

export async function sharedPostgres() {
  return (await shared)?.postgres;
}
