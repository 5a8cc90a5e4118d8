// A bad network between some clients and the media ports of a Ringcast (ringcast-relay).

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { binaries } from './build.mjs';

export class Relay {
  // up, down: the links, as in `ringcast-relay --help`.
  static async start(ringcast, { listen = '127.0.0.2', up = '', down = '', seed = 1, seconds = 300 } = {}) {
    const self = new Relay();
    self.listen = listen;
    self.process = spawn(join(binaries, 'ringcast-relay'), [
      '--listen', listen, '--server', '127.0.0.1', '--ports', `${ringcast.mediaPort}-${ringcast.mediaPort + 9}`,
      '--up', up, '--down', down, '--seed', String(seed), '--seconds', String(seconds),
    ], { stdio: ['ignore', 'pipe', 'inherit'] });
    self.output = '';
    self.exited = new Promise((resolve) => { self.process.on('exit', resolve); });
    await new Promise((resolve, reject) => {
      self.process.stdout.on('data', (data) => {
        self.output += data;
        if (self.output.startsWith('ready')) resolve();
      });
      self.process.on('exit', (code) => reject(new Error(`ringcast-relay ended (${code})`)));
    });
    return self;
  }

  // Ends it; returns what its links did.
  async stop() {
    this.process.kill('SIGTERM');
    await this.exited;
    return JSON.parse(this.output.split('\n')[1]);
  }
}

// Runs in a page, before everything else: the page's connections go to the relay instead of the server.
export function useRelay(listen) {
  const real = RTCPeerConnection.prototype.setRemoteDescription;
  RTCPeerConnection.prototype.setRemoteDescription = function (description) {
    const sdp = description.sdp.replace(/^(a=candidate:.*) 127\.0\.0\.1 /gm, `$1 ${listen} `);
    return real.call(this, { type: description.type, sdp });
  };
}
