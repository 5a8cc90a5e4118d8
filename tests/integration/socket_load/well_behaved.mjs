// One client that does nothing wrong. It is a process of its own, so that its times contain no other work. It
// sends a request every 20 ms until stdin ends, then prints {asked, answered, p50_ms, p99_ms, max_ms}.
//   node well_behaved.mjs URL TOKEN ROOM
import { createRequire } from 'node:module';

const require = createRequire(new URL('../socketio/', import.meta.url));
const { io } = require('socket.io-client');
const [url, token, roomId] = process.argv.slice(2);
const socket = io(url, { transports: ['websocket'], auth: { token } });
const times = [];
let asked = 0, timer;

socket.on('connect_error', (error) => { console.error(error.message); process.exit(1); });
socket.on('disconnect', (reason) => { console.error(`disconnected: ${reason}`); process.exit(1); });
socket.on('authenticated', async () => {
  const joined = await socket.emitWithAck('room:join', { roomId });
  if (!joined.roomId) throw new Error(JSON.stringify(joined));
  console.log('ready');
  timer = setInterval(async () => {
    const start = performance.now();
    asked++;
    await socket.emitWithAck('media:getRouterCapabilities', { roomId });
    times.push(performance.now() - start);
  }, 20);
});
process.stdin.on('end', () => {
  clearInterval(timer);
  setTimeout(() => {
    times.sort((a, b) => a - b);
    const at = (share) => Number((times[Math.min(times.length - 1, Math.floor(share * times.length))] ?? 0).toFixed(2));
    console.log(JSON.stringify({ asked, answered: times.length, p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1) }));
    process.exit(0);
  }, 1000);
}).resume();
