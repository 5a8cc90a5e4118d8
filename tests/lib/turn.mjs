// coturn with the configuration that we ship, and a small TURN client to test what coturn refuses (RFC 8656:
// Allocate and CreatePermission; long-term credentials of RFC 8489 with MD5 and SHA-1).

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { root, until } from './ringcast.mjs';

const run = promisify(execFile);

export const credentials = (secret, expiryS, who) => {
  const username = `${expiryS}:${who}`;
  return { username, password: createHmac('sha1', secret).update(username).digest('base64') };
};

export class Coturn {
  // Changes only addresses, ports, the secret, the certificate and the log of configs/coturn.conf. peer: the
  // address that clients may reach.
  static async start({ ip, port, tlsPort, secret, peer }) {
    const self = new Coturn();
    Object.assign(self, { ip, port, secret });
    self.directory = await mkdtemp(join(tmpdir(), 'ringcast-coturn-'));
    const file = (name) => join(self.directory, name);
    await run('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
      '-subj', '/CN=turn', '-keyout', file('key.pem'), '-out', file('cert.pem')]);
    const changed = { 'static-auth-secret': secret, 'allowed-peer-ip': peer, 'listening-port': port,
      'tls-listening-port': tlsPort, cert: file('cert.pem'), pkey: file('key.pem') };
    const lines = (await readFile(join(root, 'configs/coturn.conf'), 'utf8')).split('\n').map((line) => {
      const key = line.match(/^([a-z-]+)/)?.[1];
      if (key === 'syslog') return 'log-file=stdout';
      if (!(key in changed)) return line;
      const value = changed[key];
      delete changed[key];
      return `${key}=${value}`;
    });
    assert.deepEqual(Object.keys(changed), [], 'configs/coturn.conf has all of these settings');
    await writeFile(file('turnserver.conf'), `${lines.join('\n')}\nlistening-ip=${ip}\nrelay-ip=${ip}\nverbose\n`
      + `pidfile=${file('pid')}\nuserdb=${file('turndb')}\n`);
    self.log = '';
    self.process = spawn('setpriv', ['--pdeathsig', 'KILL', 'turnserver', '-c', file('turnserver.conf')], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [self.process.stdout, self.process.stderr])
      stream.on('data', (data) => { self.log += data; });
    self.exited = new Promise((resolve) => { self.process.on('exit', resolve); });
    await until(async () => {
      const client = new TurnClient(self, credentials(secret, 1, 'x'));
      assert.equal((await client.allocate()).error, 401);
      client.close();
      return true;
    }, 5000, 'coturn answers').catch(async (error) => {
      await self.stop();
      throw new Error(`${error.message}\n${self.log}`);
    });
    return self;
  }

  async stop() {
    this.process.kill('SIGTERM');
    const timer = setTimeout(() => this.process.kill('SIGKILL'), 3000);
    await this.exited;
    clearTimeout(timer);
    await rm(this.directory, { recursive: true, force: true });
  }
}

const USERNAME = 6, MESSAGE_INTEGRITY = 8, ERROR_CODE = 9, PEER_ADDRESS = 0x12, REALM = 0x14, NONCE = 0x15,
  TRANSPORT = 0x19;

function attribute(type, value) {
  const padded = Buffer.alloc(4 + Math.ceil(value.length / 4) * 4);
  padded.writeUInt16BE(type, 0);
  padded.writeUInt16BE(value.length, 2);
  value.copy(padded, 4);
  return padded;
}

const peerAddress = (ip, port) => Buffer.from([0, 1, (port >> 8) ^ 0x21, (port & 255) ^ 0x12,
  ...ip.split('.').map((byte, i) => Number(byte) ^ [0x21, 0x12, 0xa4, 0x42][i])]);

export class TurnClient {
  constructor({ ip, port }, { username, password }) {
    Object.assign(this, { ip, port, username, password });
  }

  // Returns { error: 0 or the code }. A first request, without credentials, gets realm and nonce.
  async allocate() {
    const wanted = [attribute(TRANSPORT, Buffer.from([17, 0, 0, 0]))];
    this.socket = createSocket('udp4');
    try {
      const { error, attributes } = await this.#request(3, wanted);
      assert.equal(error, 401);
      Object.assign(this, { realm: attributes[REALM], nonce: attributes[NONCE] });
      return await this.#request(3, wanted);
    } catch (error) {
      this.close(); // an open socket keeps node alive
      throw error;
    }
  }

  permit(ip) {
    return this.#request(8, [attribute(PEER_ADDRESS, peerAddress(ip, 9))]);
  }

  close() {
    this.socket?.close();
    this.socket = null;
  }

  #message(method, attributes) {
    const head = Buffer.from([0, method, 0, 0, 0x21, 0x12, 0xa4, 0x42, ...randomBytes(12)]);
    if (this.nonce) {
      attributes = [...attributes, attribute(USERNAME, Buffer.from(this.username)), attribute(REALM, this.realm),
        attribute(NONCE, this.nonce)];
      const body = Buffer.concat(attributes);
      head.writeUInt16BE(body.length + 24, 2);
      const key = createHash('md5').update(`${this.username}:${this.realm}:${this.password}`).digest();
      const mac = createHmac('sha1', key).update(head).update(body).digest();
      attributes.push(attribute(MESSAGE_INTEGRITY, mac));
    }
    const body = Buffer.concat(attributes);
    head.writeUInt16BE(body.length, 2);
    return Buffer.concat([head, body]);
  }

  async #request(method, attributes) {
    const message = this.#message(method, attributes);
    return new Promise((resolve, reject) => {
      let timer;
      const heard = (data) => {
        if (!data.subarray(8, 20).equals(message.subarray(8, 20))) return;
        clearTimeout(timer);
        this.socket.off('message', heard);
        const found = {};
        for (let at = 20; at + 4 <= data.length; at += 4 + Math.ceil(data.readUInt16BE(at + 2) / 4) * 4)
          found[data.readUInt16BE(at)] = data.subarray(at + 4, at + 4 + data.readUInt16BE(at + 2));
        const code = found[ERROR_CODE];
        resolve({ error: code ? code[2] * 100 + code[3] : 0, attributes: found });
      };
      this.socket.on('message', heard);
      timer = setTimeout(() => { this.socket?.off('message', heard); reject(new Error('no answer')); }, 1000);
      this.socket.send(message, this.port, this.ip);
    });
  }
}
