// Ten thousand mutated messages of HTTP, Engine.IO, WebSocket and Socket.IO, made from a seed, while one other
// client sends and receives. The server must not crash or grow, and the other client must notice nothing.

import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { it } from 'node:test';
import { io } from 'socket.io-client';
import { Echo, frame, HANG_MS, measuresMemory, sleep, slower, until } from './server.mjs';

const MESSAGES = 10000;
const AT_ONCE = 16;

// xorshift32: the same seed gives the same run.
let state = Number(process.env.MUTATION_SEED ?? 20261124) | 1;
function random(below) {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % below;
}
const pick = (list) => list[random(list.length)];

const requests = [
  'GET /things/1 HTTP/1.1\r\nHost: x\r\n\r\n',
  'POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"a":[1,"b"]}',
  'POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{"a":1}\r\n0\r\n\r\n',
  'GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nOrigin: http://a.b\r\n\r\n',
  'POST /socket.io/?EIO=4&transport=polling&sid=SID HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 22\r\n\r\n40{}\x1e42["message","x"]\x1e3',
  'OPTIONS /echo HTTP/1.1\r\nHost: x\r\nOrigin: http://a.b\r\nAccess-Control-Request-Method: POST\r\n\r\n',
  'GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
];
const packets = [
  '40', '40{"token":"x"}', '40/custom,', '41', '42["message",1,{"a":[true,null]}]', '421["message-with-ack","ü"]', '4312[]',
  '451-["message",{"_placeholder":true,"num":0}]', '462-7[{"_placeholder":true,"num":1}]', '2probe', '3', '5', '6', '1', '44{"message":"x"}',
];

function mutate(bytes) {
  let out = Buffer.from(bytes);
  for (let times = 1 + random(4); times > 0; times--) {
    const at = random(out.length + 1);
    switch (random(6)) {
      case 0: if (at < out.length) out[at] ^= 1 << random(8); break;
      case 1: if (at < out.length) out[at] = random(256); break;
      case 2: out = Buffer.concat([out.subarray(0, at), out.subarray(at + random(8))]); break;
      case 3: out = Buffer.concat([out.subarray(0, at), Buffer.from([random(256), random(256)]), out.subarray(at)]); break;
      case 4: out = Buffer.concat([out.subarray(0, at), out.subarray(0, random(out.length + 1)), out.subarray(at)]); break;
      default: out = out.subarray(0, at); break;
    }
    if (out.length === 0) out = Buffer.from('\n');
  }
  return out;
}

// Sends one message on one connection. Ends when the server answers or closes, or after a few milliseconds.
function send(port, bytes, waitMs) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const done = () => { clearTimeout(timer); socket.destroy(); resolve(); };
    const timer = setTimeout(done, waitMs);
    socket.on('error', done);
    socket.on('close', done);
    socket.on('data', done);
    socket.write(bytes);
  });
}

async function sendFrames(echo, sid) {
  const peer = await echo.rawWebsocket(sid);
  const count = 1 + random(4);
  for (let i = 0; i < count; i++) {
    const text = random(2) ? mutate(pick(packets)) : Buffer.from(pick(packets));
    const opcode = random(8) === 0 ? random(16) : 1 + (random(6) === 0);
    const whole = frame(opcode, text, { fin: random(10) !== 0, masked: random(20) !== 0, rsv: random(30) === 0 ? random(8) : 0 });
    peer.socket.write(random(4) === 0 ? mutate(whole) : whole);
  }
  await Promise.race([peer.ended, sleep(4)]);
  peer.socket.destroy();
  return count;
}

it(`${MESSAGES} mutated messages change nothing`, { timeout: 200000 * slower }, async (test) => {
  const echo = await Echo.start({ RINGCAST_PING_INTERVAL: '1000', RINGCAST_PING_TIMEOUT: '2000', RINGCAST_CONNECT_TIMEOUT: '500', RINGCAST_SOCKETS_PER_ADDRESS: '100000' });
  test.after(() => echo.process.kill('SIGKILL'));
  const witness = io(echo.url, { forceNew: true, reconnection: false });
  let lost;
  witness.on('disconnect', (reason) => { lost = reason; });
  await new Promise((resolve) => witness.once('connect', resolve));
  let slowest = 0;
  let acks = 0;
  let over = false;
  const talking = (async () => {
    while (!over) {
      const start = performance.now();
      assert.equal(await witness.timeout(HANG_MS).emitWithAck('message-with-ack', acks), acks);
      slowest = Math.max(slowest, performance.now() - start);
      acks++;
      await sleep(20);
    }
  })();

  let sent = 0;
  let goal = 0;
  const sendUntilGoal = async () => {
    while (sent < goal) {
      if (random(3) === 0) {
        sent += await sendFrames(echo, random(4) === 0 ? await echo.open() : '');
        continue;
      }
      let text = pick(requests);
      if (text.includes('SID')) text = text.replace('SID', await echo.open());
      sent++;
      await send(echo.port, mutate(Buffer.from(text)), 4);
    }
  };
  const round = async (messages) => {
    goal += messages;
    await Promise.all(Array.from({ length: AT_ONCE }, sendUntilGoal));
    // Sessions that nobody polls time out after 3 seconds.
    await until(async () => (await echo.counters()).sessions_open === 1, 'only the other client has a session');
    return (await echo.counters()).rss_bytes;
  };
  await round(MESSAGES / 5); // the allocator keeps some memory
  const before = await round(MESSAGES / 5);
  const now = await round(MESSAGES * 3 / 5);
  over = true;
  await talking;
  const { protocol_errors: errors, sockets_open: open } = await echo.counters();
  console.log(`# ${acks} acks, slowest ${slowest.toFixed(0)} ms; ${errors} protocol errors; resident ${(now / 1024).toFixed(0)} KiB (${((now - before) / 1024).toFixed(0)} more)`);
  assert.equal(lost, undefined);
  assert.ok(witness.connected && acks > 10);
  assert.equal(open, 1);
  assert.ok(errors > 100);
  assert.ok(sent >= MESSAGES);
  if (measuresMemory) assert.ok(now - before < 1024 * 1024, 'resident memory grows');
  witness.disconnect();
  await echo.stop();
});
