// Where the Ringcast of an integration test keeps its data: RINGCAST_TEST_STORES=embedded (default)
// or servers, which starts real ones, once for each test process.

import { Postgres } from './postgres.mjs';

export const onServers = process.env.RINGCAST_TEST_STORES === 'servers';

// Servers of its own for one test: { environment: for a control plane, stop, postgres }.
export async function startServers() {
  const postgres = await Postgres.start();
  return { environment: await postgres.environment(), postgres, stop: () => postgres.stop() };
}

let shared; // end with this process
const environments = new Map();

// The environment of the control plane whose data directory is `key`: the same for the same directory.
// {} when everything is embedded.
export async function storesOf(key) {
  if (!onServers) return {};
  shared ??= Postgres.start();
  if (!environments.has(key)) environments.set(key, (await shared).environment());
  return environments.get(key);
}

export async function sharedPostgres() {
  return shared;
}
