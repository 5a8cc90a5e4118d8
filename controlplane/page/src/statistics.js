// Figures of a running call, from the browser's statistics: bit rates, loss, repair, pictures, freezes.
//
// Rates are those of the last seconds: long enough to be read, short enough to be true.

const rateMs = 3000; // bit rates and frame rates
const lossMs = 10000; // loss and repair

const num = (value) => value ?? 0;

export class Statistics {
  #seen = new Map(); // name of a stream → [{ atMs, …counters }], oldest first

  // { sendKbps, receiveKbps, roundTripMs, lossPercent, sent: source → [layer], received: consumer id → figures }
  async read(call) {
    const names = new Set();
    const sent = new Map(), received = new Map();
    for (const [source, producer] of call.producers) sent.set(source, await this.#sent(producer, names));
    const rows = await rowsOf(call.recvTransport);
    for (const row of rows.filter(({ type }) => type === 'inbound-rtp')) {
      const id = [...call.consumers].find(([, { consumer }]) => consumer.rtpParameters.encodings[0].ssrc === row.ssrc)?.[0];
      if (id) received.set(id, this.#received(id, row, names));
    }
    for (const name of this.#seen.keys()) if (!names.has(name)) this.#seen.delete(name);

    const sum = (all, field) => all.reduce((total, one) => total + one[field], 0);
    const incoming = [...received.values()];
    const lost = sum(incoming, 'lost'), arrived = sum(incoming, 'arrived');
    return {
      sent, received,
      sendKbps: sum([...sent.values()].flat(), 'kbps'),
      receiveKbps: sum(incoming, 'kbps'),
      lossPercent: lost > 0 ? (100 * lost) / (arrived + lost) : 0,
      roundTripMs: roundTrip([...rows, ...await rowsOf(call.sendTransport)]),
    };
  }

  // One entry for each layer that the browser knows, the largest last.
  async #sent(producer, names) {
    const rows = [...(await producer.getStats()).values()];
    return rows.filter(({ type }) => type === 'outbound-rtp').map((row) => {
      const name = `${producer.id} ${row.rid ?? ''}`;
      names.add(name);
      const grown = this.#grown(name, { bytes: row.bytesSent, packets: num(row.packetsSent), frames: num(row.framesSent ?? row.framesEncoded) });
      const report = rows.find(({ type, ssrc }) => type === 'remote-inbound-rtp' && ssrc === row.ssrc);
      return {
        rid: row.rid ?? '',
        kbps: grown('bytes', rateMs, 8),
        framesPerSecond: grown('frames', rateMs, 1000),
        width: num(row.frameWidth), height: num(row.frameHeight),
        isSent: grown('packets', rateMs) > 0,
        limitedBy: row.qualityLimitationReason ?? 'none',
        lossPercent: 100 * num(report?.fractionLost),
      };
    }).sort((a, b) => a.rid.localeCompare(b.rid));
  }

  #received(id, row, names) {
    names.add(id);
    const grown = this.#grown(id, {
      bytes: row.bytesReceived, packets: row.packetsReceived, lost: Math.max(0, num(row.packetsLost)),
      repaired: num(row.retransmittedPacketsReceived), samples: num(row.totalSamplesReceived),
      concealed: num(row.concealedSamples) - num(row.silentConcealedSamples), frames: num(row.framesDecoded), freezes: num(row.freezeCount),
    });
    const arrived = grown('packets', lossMs), lost = grown('lost', lossMs);
    return {
      kbps: grown('bytes', rateMs, 8),
      arrived, lost,
      lossPercent: lost > 0 ? (100 * lost) / (arrived + lost) : 0,
      repaired: row.retransmittedPacketsReceived === undefined ? null : grown('repaired', lossMs), // Firefox does not tell
      concealedPercent: (100 * grown('concealed', lossMs)) / Math.max(1, grown('samples', lossMs)),
      asked: num(row.nackCount),
      packetsNow: grown('packets', rateMs),
      framesPerSecond: grown('frames', rateMs, 1000),
      framesDecoded: num(row.framesDecoded),
      width: num(row.frameWidth), height: num(row.frameHeight),
      freezes: num(row.freezeCount), frozenS: num(row.totalFreezesDuration),
      isFrozenNow: grown('freezes', rateMs) > 0,
    };
  }

  // Notes the counters. Returns grown(field, ms, factor): by how much a field has grown in the last ms
  // milliseconds; with a factor, growth × factor per millisecond.
  #grown(name, counters) {
    const atMs = performance.now(), last = { atMs, ...counters };
    const all = [...(this.#seen.get(name) ?? []), last].filter((one) => atMs - one.atMs <= 1.5 * lossMs);
    this.#seen.set(name, all);
    return (field, ms, factor) => {
      const first = all.findLast((one) => atMs - one.atMs >= ms) ?? all[0];
      const grownBy = Math.max(0, last[field] - first[field]);
      if (!factor) return grownBy;
      return atMs > first.atMs ? (grownBy * factor) / (atMs - first.atMs) : 0;
    };
  }
}

const rowsOf = async (transport) => (transport && !transport.closed ? [...(await transport.getStats()).values()] : []);

function roundTrip(rows) {
  const times = rows.filter(({ type, nominated, currentRoundTripTime }) =>
    type === 'candidate-pair' && nominated && currentRoundTripTime !== undefined).map((row) => row.currentRoundTripTime * 1000);
  return times.length ? Math.max(...times) : null;
}
