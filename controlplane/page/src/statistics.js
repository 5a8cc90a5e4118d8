// Numbers of a running call from the browser's statistics: bit rates, loss, round-trip time.

export class Statistics {
  #before = new Map();

  // { sendKbps, receiveKbps, roundTripMs, lossPercent, streams: [{ label, kbps, lossPercent }] }
  async read(call, nameOf) {
    const streams = [];
    const now = performance.now();
    let roundTripMs = null;

    for (const [source, producer] of call.producers) {
      streams.push(await this.#stream(`you · ${source}`, producer, now, 'outbound-rtp', 'bytesSent'));
    }
    for (const { consumer, userId, source } of call.consumers.values()) {
      streams.push(await this.#stream(`${nameOf(userId)} · ${source}`, consumer, now, 'inbound-rtp',
        'bytesReceived'));
    }
    for (const transport of [call.sendTransport, call.recvTransport]) {
      if (!transport || transport.closed) continue;
      for (const row of (await transport.getStats()).values()) {
        if (row.type === 'candidate-pair' && row.nominated && row.currentRoundTripTime !== undefined)
          roundTripMs = Math.max(roundTripMs ?? 0, row.currentRoundTripTime * 1000);
      }
    }
    const sum = (direction) => streams.filter((s) => s.direction === direction)
      .reduce((total, s) => total + s.kbps, 0);
    const received = streams.filter((s) => s.direction === 'inbound-rtp');
    const packets = received.reduce((total, s) => total + s.packets + s.lost, 0);
    const lost = received.reduce((total, s) => total + s.lost, 0);
    return {
      streams,
      roundTripMs,
      sendKbps: sum('outbound-rtp'),
      receiveKbps: sum('inbound-rtp'),
      lossPercent: packets > 0 ? (100 * lost) / packets : 0,
    };
  }

  async #stream(label, source, now, type, field) {
    const stream = { label, direction: type, kbps: 0, lossPercent: null, packets: 0, lost: 0 };
    let bytes = 0;
    let packets = 0;
    let lost = 0;
    for (const row of (await source.getStats()).values()) {
      if (row.type === type) {
        bytes += row[field] ?? 0;
        packets += row.packetsReceived ?? 0;
        lost += Math.max(0, row.packetsLost ?? 0);
      }
      if (row.type === 'remote-inbound-rtp') stream.lossPercent = 100 * (row.fractionLost ?? 0);
    }
    const before = this.#before.get(source.id);
    if (before && now > before.now) {
      stream.kbps = Math.max(0, ((bytes - before.bytes) * 8) / (now - before.now));
      stream.packets = packets - before.packets;
      stream.lost = Math.max(0, lost - before.lost);
      const all = stream.packets + stream.lost;
      if (type === 'inbound-rtp') stream.lossPercent = all > 0 ? (100 * stream.lost) / all : 0;
    }
    this.#before.set(source.id, { now, bytes, packets, lost });
    return stream;
  }
}
