// A NAT between clients and the media ports of a Ringcast on 127.0.0.1. Clients send to another loopback address
// (MEDIASOUP_ANNOUNCED_IP), and every flow gets a port of its own towards the server. rebind() gives each flow a
// new port, as a NAT does that has lost its table.

import { createSocket } from 'node:dgram';
import { once } from 'node:events';

const SERVER = '127.0.0.1';
const isCheck = (data) => data[0] === 0 && data[1] === 1; // STUN binding request
export const isCheckAnswer = (data) => data[0] === 1 && data[1] === 1;
export const isRtp = (data) => data[0] >= 128 && data[0] <= 191 && !(data[1] >= 192 && data[1] <= 223);

async function bound(address, port) {
  const socket = createSocket('udp4');
  socket.bind(port, address);
  await once(socket, 'listening');
  socket.setRecvBufferSize(4 << 20);
  return socket;
}

// One client port and one server port.
class Flow {
  constructor(nat, client, inside, serverPort) {
    Object.assign(this, { nat, client, inside, serverPort, rtpOut: 0, lastCheck: null, waiting: [] });
  }

  // Opens a new port to the server. What still comes to the old one is lost. hears(data): does the client get what
  // comes to the new one?
  async open(hears = () => true) {
    const old = this.outside;
    this.outside = null;
    const socket = await bound(SERVER, 0);
    this.since = { at: performance.now(), check: null, media: null, bytes: 0, rtp: 0, sent: 0 };
    const { since } = this;
    socket.on('message', (data) => {
      since.bytes += data.length;
      if (isRtp(data)) {
        since.rtp++;
        since.media ??= performance.now();
      }
      if (hears(data)) this.inside.send(data, this.client.port, this.client.address);
    });
    if (this.nat.isClosed) {
      socket.close();
      return;
    }
    this.outside = socket;
    old?.close();
    for (const data of this.waiting.splice(0)) this.fromClient(data);
  }

  fromClient(data) {
    if (!this.outside) {
      this.waiting.push(data);
      return;
    }
    if (isCheck(data)) {
      this.lastCheck = data;
      this.since.check ??= performance.now();
    }
    if (isRtp(data)) this.rtpOut++;
    this.since.sent += data.length;
    this.outside.send(data, this.serverPort, SERVER);
  }
}

export class Nat {
  // For the clients of a server whose workers have these UDP ports. address: where the clients send to.
  static async open(address, ports) {
    const self = new Nat();
    self.flows = new Map();
    self.inside = await Promise.all(ports.map(async (port) => {
      const socket = await bound(address, port);
      socket.on('message', (data, { address: from, port: fromPort }) => {
        const key = `${from}:${fromPort}-${port}`;
        let flow = self.flows.get(key);
        if (!flow) {
          flow = new Flow(self, { address: from, port: fromPort }, socket, port);
          self.flows.set(key, flow);
          flow.open();
        }
        flow.fromClient(Buffer.from(data));
      });
      return socket;
    }));
    return self;
  }

  // Flows through which the server has sent media, and those of publishers.
  get receivers() { return [...this.flows.values()].filter((flow) => flow.since?.rtp > 0 && flow.rtpOut === 0); }
  get senders() { return [...this.flows.values()].filter((flow) => flow.rtpOut > 0); }

  rebind(flows = this.flows.values(), hears = undefined) {
    return Promise.all([...flows].map((flow) => flow.open(hears)));
  }

  close() {
    this.isClosed = true;
    for (const socket of this.inside) socket.close();
    for (const flow of this.flows.values()) {
      flow.outside?.close();
      flow.outside = null;
    }
  }
}
