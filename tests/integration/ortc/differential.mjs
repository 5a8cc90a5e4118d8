// Compares negotiation with mediasoup: ortc_tool (ours) and mediasoup/ortc get the same inputs, and their
// answers must be equal, except random SSRCs and CNAMEs. The inputs are captures of a real browser, and
// random changes of these; the seed makes them repeatable.
//   node differential.mjs path/to/ortc_tool [cases] [seed]
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import * as oracle from 'mediasoup/ortc';

const [tool, cases = '1500', seed = '20261123'] = process.argv.slice(2);
const data = new URL('../../data/ortc/', import.meta.url);
const load = (name) => JSON.parse(readFileSync(new URL(`${name}.json`, data)));
const LIST = 'opus,VP8,VP9,VP9:2,H264:4d0032,H264:42e01f,AV1';
const clone = structuredClone;

// ---- random numbers that depend only on the seed (mulberry32) ----
let state = Number(seed) >>> 0;
function random() {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}
const below = (n) => Math.floor(random() * n);
const pick = (list) => list[below(list.length)];

// ---- what mediasoup does in Router and Transport, with its ortc functions ----
const FEEDS = { opus: ['audio/opus', 48000, 2], VP8: ['video/VP8'], VP9: ['video/VP9'],
    H264: ['video/H264'], AV1: ['video/AV1'], PCMU: ['audio/PCMU', 8000, 1],
    PCMA: ['audio/PCMA', 8000, 1], G722: ['audio/G722', 8000, 1] };

function oracleRouter(list) {
    return ourExtensions(oracle.generateRouterRtpCapabilities(list.split(',').map((word) => {
        const [name, detail] = word.split(':');
        const [mimeType, clockRate = 90000, channels] = FEEDS[name];
        const parameters = {};
        if (name === 'VP9') parameters['profile-id'] = Number(detail ?? 0);
        if (name === 'H264') Object.assign(parameters, { 'packetization-mode': 1,
            'profile-level-id': detail ?? '42e01f', 'level-asymmetry-allowed': 1 });
        const kind = mimeType.split('/')[0];
        if (kind === 'video') parameters['x-google-start-bitrate'] = 1000;
        return { kind, mimeType, clockRate, channels, parameters };
    })));
}

// mediasoup gives the dependency descriptor to no client. Ours give that of AV1 to those that take it, because
// Chromium shows no spatial layers of AV1 without it.
const DESCRIPTOR = 'https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension';
const withDescriptor = (capabilities) => ({ ...capabilities, headerExtensions: capabilities.headerExtensions.map(
    (one) => one.uri === DESCRIPTOR ? { ...one, direction: 'sendrecv' } : one) });
function restrictDescriptor(consumable, sent) {
    if (sent.codecs.some((codec) => /^video\/av1$/i.test(codec.mimeType)) && sent.headerExtensions.some((one) => one.uri === DESCRIPTOR)) return;
    consumable.headerExtensions = consumable.headerExtensions.filter((one) => one.uri !== DESCRIPTOR);
}

// Ours have no header extensions for audio that change with each send: capabilities.c says why.
function withoutChanging(router) {
    return { ...router, headerExtensions: router.headerExtensions.filter((e) =>
        e.kind !== 'audio' || !/abs-send-time|transport-wide-cc/.test(e.uri)) };
}
const ourExtensions = (router) => withDescriptor(withoutChanging(router));

// mediasoup takes NACK from consumers without RTX, which are those of audio. Ours keep it, because lost
// audio is sent again as it was. `complete` has the NACK, but also RTX.
function restoreNack(parameters, complete) {
    for (const codec of parameters.codecs) {
        const same = complete.codecs.find((c) => c.payloadType === codec.payloadType && c.mimeType === codec.mimeType);
        const other = clone(same.rtcpFeedback).filter((f) => f.type !== 'nack' || f.parameter);
        if (!isDeepStrictEqual(plain(codec.rtcpFeedback), plain(other)))
            throw new Error('mediasoup removes more than NACK');
        codec.rtcpFeedback = same.rtcpFeedback;
    }
}
const hasNack = (codec) => Number(codec.rtcpFeedback.some((f) => f.type === 'nack' && !f.parameter));

function oracleConsume(consumable, kind, remote) {
    let can = false;
    try {
        const caps = clone(remote);
        oracle.validateAndNormalizeRtpCapabilities(caps);
        can = oracle.canConsume(consumable, caps);
        const rtpParameters = oracle.getConsumerRtpParameters({ consumableRtpParameters: consumable,
            remoteRtpCapabilities: caps, pipe: false, enableRtx: kind === 'video' });
        rtpParameters.mid = '0';
        if (kind === 'audio') restoreNack(rtpParameters, oracle.getConsumerRtpParameters({
            consumableRtpParameters: consumable, remoteRtpCapabilities: caps, pipe: false, enableRtx: true }));
        return { ok: true, can, rtpParameters };
    } catch (error) { return { ok: false, can, why: error.message }; }
}

function oracleProduce({ kind, rtpParameters, list, cname, remote }) {
    try {
        const router = oracleRouter(list), sent = clone(rtpParameters);
        if (kind !== 'audio' && kind !== 'video') throw new TypeError('kind');
        oracle.validateAndNormalizeRtpParameters(sent);
        if (!sent.encodings.length) sent.encodings = [{}];
        sent.rtcp.cname = cname || sent.rtcp.cname || 'RANDOM';
        const mapping = oracle.getProducerRtpParametersMapping(sent, router);
        const consumable = oracle.getConsumableRtpParameters(kind, sent, router, mapping);
        restrictDescriptor(consumable, sent);
        return { ok: true, rtpParameters: sent, consumable,
            consume: remote.map((caps) => oracleConsume(consumable, kind, caps)) };
    } catch (error) { return { ok: false, why: error.message }; }
}

// ---- comparing ----
// A random CNAME becomes a fixed text; members that are null are left out.
let level1b = false; // the current input contains level 1b
function plain(value, cname) {
    if (Array.isArray(value)) return value.map((v) => plain(v, cname));
    if (value === null || typeof value !== 'object') return value;
    const out = {};
    for (const [key, v] of Object.entries(value)) {
        if (v === null || v === undefined) continue;
        out[key] = key === 'cname' && v === cname ? 'CNAME' : plain(v, cname);
        // mediasoup sorts level 1b above all other levels; ITU-T H.264, table A-1, and our code sort it
        // between 1 and 1.1. With level 1b only the profile is compared; h264_test.c checks the order.
        if (key === 'profile-level-id' && level1b) out[key] = String(v).slice(0, 2);
    }
    return out;
}
function withoutSsrc(parameters) {
    const out = clone(parameters), first = out.encodings[0]?.ssrc;
    const own = first >= 100000000 && first < 1000000000;
    out.encodings.forEach((e) => {
        if (e.rtx) e.rtx.ssrc -= first;
        e.ssrc -= first;
    });
    return { own, ...out };
}

// Refusals that mediasoup would not make, because of our own limits, contain these words.
const stricter = (why) => /this server/.test(why);

let differences = 0, stricterCount = 0, acceptedCount = 0, refusedCount = 0, consumeCount = 0;
function differ(what, input, ours, theirs) {
    if (++differences > 5) return;
    console.error(`DIFFERENT ${what}\n in     ${JSON.stringify(input).slice(0, 6000)}\n` +
        ` ours   ${JSON.stringify(ours).slice(0, 3000)}\n theirs ${JSON.stringify(theirs).slice(0, 3000)}`);
}

function compareConsume(input, ours, theirs) {
    consumeCount++;
    if (!ours.ok && stricter(ours.why)) return;
    if (ours.ok !== theirs.ok || ours.can !== theirs.can) return differ('consume', input, ours, theirs);
    if (!ours.ok) return;
    const a = withoutSsrc(ours.rtpParameters), b = withoutSsrc(theirs.rtpParameters);
    a.rtcp.cname = b.rtcp.cname;
    if (!isDeepStrictEqual(plain(a), plain(b))) return differ('consumer parameters', input, a, b);
    const mask = b.headerExtensions.reduce((m, e) => m | (1 << e.id), 0);
    const pt = b.codecs[0].payloadType;
    const rtx = b.codecs.find((c) => /\/rtx$/i.test(c.mimeType) && c.parameters.apt === pt)?.payloadType ?? 0;
    const nack = input.kind === 'audio' ? hasNack(b.codecs[0]) : 0;
    if (ours.payloadType !== pt || ours.rtxPayloadType !== rtx || ours.extensionMask !== mask || ours.audioNack !== nack)
        differ('consumer row', input, ours, { pt, rtx, mask, nack });
}

function compare(input, ours, theirs) {
    level1b = /4(2f0|210|d10)0b/i.test(JSON.stringify(input));
    if (!ours.ok && stricter(ours.why)) { stricterCount++; return; }
    if (ours.ok !== theirs.ok) return differ('verdict', input, ours, theirs);
    if (!ours.ok) { refusedCount++; return; }
    acceptedCount++;
    const ourName = ours.rtpParameters.rtcp.cname, theirName = theirs.rtpParameters.rtcp.cname;
    if (theirName === 'RANDOM' ? !/^[a-z0-9]{8}$/.test(ourName) : ourName !== theirName)
        differ('cname', input, ourName, theirName);
    if (!isDeepStrictEqual(plain(ours.rtpParameters, ourName), plain(theirs.rtpParameters, theirName)))
        differ('producer parameters', input, ours.rtpParameters, theirs.rtpParameters);
    const media = theirs.rtpParameters.codecs.find((c) => !/\/rtx$/i.test(c.mimeType));
    if (ours.audioNack !== (input.kind === 'audio' ? hasNack(media) : 0))
        differ('producer row', input, ours.audioNack, media);
    const a = plain(withoutSsrc(ours.consumable), ourName);
    const b = plain(withoutSsrc(theirs.consumable), theirName);
    if (!isDeepStrictEqual(a, b)) differ('consumable', input, a, b);
    theirs.consume.forEach((t, i) => compareConsume({ ...input, remote: input.remote[i] },
        ours.consume[i], t));
}

// ---- the inputs ----
const device = load('device-chromium');
const TAGS = ['av-audio', 'av-video', 'h264-video', 'vp8-simulcast-video', 'vp9-svc-video'];
const captured = TAGS.map((tag) => ({ op: 'produce', list: LIST, cname: '', ...(({ kind,
    produceRtpParameters }) => ({ kind, rtpParameters: produceRtpParameters }))(load(`produce-${tag}`)),
    remote: [device.recvRtpCapabilities] }));

const VALUES = [null, '', 'x', '0', '1', 0, 1, 2, 96, 97, 99, 101, 127, true, false, {}, [], [1], -1, 48000,
    90000, 'video/VP8', 'video/H264', 'VIDEO/vp9', 'audio/opus', 'video/rtx', 'audio/PCMU', '42e01f', '4d0032',
    '42f00b', '640c1f', '640034', '58a01e', 'f4001f', '42e00b', '42E034', 'L3T3', 'L1T3', 'S2T1', 'L3T3_KEY',
    'L0T1', 'L10T2', 'sendonly', 'recvonly'];
const KEYS = ['mimeType', 'payloadType', 'clockRate', 'channels', 'parameters', 'rtcpFeedback', 'profile-id',
    'profile-level-id', 'packetization-mode', 'level-asymmetry-allowed', 'apt', 'ssrc', 'rid', 'rtx',
    'scalabilityMode', 'dtx', 'uri', 'id', 'encrypt', 'mid', 'msid', 'rtcp', 'cname', 'reducedSize', 'codecs',
    'headerExtensions', 'encodings', 'preferredId', 'preferredPayloadType', 'preferredEncrypt', 'direction',
    'kind', 'type', 'parameter'];

function places(node, found = []) {
    if (node !== null && typeof node === 'object')
        for (const key of Object.keys(node)) { found.push([node, key]); places(node[key], found); }
    return found;
}
function mutate(root) {
    const all = places(root);
    if (!all.length) return;
    const [node, key] = pick(all);
    switch (below(6)) {
    case 0: Array.isArray(node) ? node.splice(Number(key), 1) : delete node[key]; break;
    case 1: node[key] = clone(pick(VALUES)); break;
    case 2: if (Array.isArray(node)) node.push(clone(pick(node))); else node[pick(KEYS)] = clone(pick(VALUES)); break;
    case 3: if (Array.isArray(node)) node.sort(() => random() - 0.5); else node[key] = clone(pick(VALUES)); break;
    case 4: { // members that clients really differ in
        const targets = all.filter(([, k]) => KEYS.includes(k));
        const [n, k] = targets.length ? pick(targets) : [node, key];
        n[k] = clone(pick(VALUES));
        break;
    }
    case 5: { // H.264 and VP9 parameters
        const targets = all.filter(([, k]) => k === 'parameters' || k === 'profile-level-id');
        if (!targets.length) break;
        const [n, k] = pick(targets);
        if (k === 'parameters' && n[k] && typeof n[k] === 'object')
            n[k][pick(['profile-level-id', 'level-asymmetry-allowed', 'profile-id'])] = clone(pick(VALUES));
        else n[k] = pick(['42e01f', '4d0032', '42f00b', '4d100b', '42e00a', '42e034', '42101f', '64001f']);
        break;
    }
    }
}

// Producers with layers. Their type comes from mediasoup's worker, which does not run here, so it is written
// down; null: refused.
const layered = (tag, count, mode, type, change = () => {}) => {
    const input = clone(captured[TAGS.indexOf(tag)]), { encodings } = input.rtpParameters;
    input.rtpParameters.encodings = Array.from({ length: count }, (_, i) => ({ ...encodings[Math.min(i, encodings.length - 1)],
        ...(count > 1 ? { ssrc: undefined, rtx: undefined, rid: `r${i}` } : {}), scalabilityMode: mode, maxBitrate: 100000 << i }));
    change(input.rtpParameters);
    return { input: clone(input), type };
};
const asAv1 = ({ codecs }) => { codecs[0].mimeType = 'video/AV1'; codecs[0].parameters = { profile: 0, 'level-idx': 5, tier: 0 }; };
const LAYERED = [
    ...[2, 3, 4].flatMap((n) => [layered('vp8-simulcast-video', n, 'L1T3', 'simulcast'), layered('h264-video', n, 'L1T3', 'simulcast'),
        layered('h264-video', n, undefined, 'simulcast')]),
    ...['L1T2', 'L1T3', 'L2T1', 'L3T3', 'L3T3_KEY', 'L2T2h', 'S3T3', 'S2T1h'].flatMap((mode) => [
        layered('vp9-svc-video', 1, mode, 'svc'), layered('vp9-svc-video', 1, mode, 'svc', asAv1)]),
    layered('vp9-svc-video', 1, 'L1T1', 'simple'), layered('vp9-svc-video', 1, undefined, 'simple', asAv1),
    layered('h264-video', 1, 'L1T1', 'simple'), layered('h264-video', 1, 'L1T3', 'svc'),
    layered('vp9-svc-video', 3, 'L1T3', null), layered('vp9-svc-video', 2, 'L1T1', null, asAv1),
    layered('vp8-simulcast-video', 5, 'L1T3', null),
];

const LISTS = [LIST, 'opus,VP8', 'H264:42e01f,opus', 'AV1,VP9:2,opus', 'VP8,H264:640032,H264:4d0032,opus',
    'opus,PCMU,PCMA,G722,VP8', 'H264:42f00b,VP9', 'opus'];
const inputs = [...captured, ...LAYERED.map(({ input }) => input)];
for (const list of LISTS) for (const base of captured) inputs.push({ ...clone(base), list });
while (inputs.length < Number(cases)) {
    const input = clone(pick(captured));
    input.list = below(3) ? LIST : pick(LISTS);
    input.cname = below(4) ? '' : 'given';
    input.remote = [clone(device.recvRtpCapabilities), clone(pick([device.recvRtpCapabilities,
        device.native?.recv ?? device.sendRtpCapabilities, device.sendRtpCapabilities]))];
    for (let n = below(4); n > 0; n--) mutate(input.rtpParameters);
    for (let n = below(5); n > 0; n--) mutate(input.remote[1]);
    inputs.push(input);
}

const lines = [...LISTS.map((list) => ({ op: 'router', list })), ...inputs];
const run = spawnSync(tool, { input: lines.map((l) => JSON.stringify(l)).join('\n') + '\n',
    maxBuffer: 1 << 30, encoding: 'utf8' });
if (run.status !== 0) {
    console.error(`${tool} ended with ${run.status ?? run.signal}: ${run.stderr}`);
    process.exit(1);
}
const answers = run.stdout.trim().split('\n').map((l) => JSON.parse(l));
if (answers.length !== lines.length) {
    console.error(`${lines.length} inputs, ${answers.length} answers`);
    process.exit(1);
}
LISTS.forEach((list, i) => {
    const theirs = oracleRouter(list);
    // the order of feedback has no meaning
    const order = (caps) => plain({ ...caps, codecs: caps.codecs.map((c) => ({ ...c,
        rtcpFeedback: [...c.rtcpFeedback].map((f) => `${f.type} ${f.parameter ?? ''}`).sort() })) });
    if (!isDeepStrictEqual(order(answers[i].capabilities), order(theirs)))
        differ('router capabilities', list, answers[i], theirs);
});
const capturedRouter = ourExtensions(load('router-rtpCapabilities'));
if (!isDeepStrictEqual(plain(answers[0].capabilities), plain(capturedRouter)))
    differ('captured router', LIST, answers[0].capabilities, capturedRouter);
LAYERED.forEach(({ input, type }, i) => {
    const ours = answers[LISTS.length + captured.length + i];
    if ((ours.ok ? ours.type : null) !== type) differ('type', input, ours, type);
});
inputs.forEach((input, i) => compare(input, answers[LISTS.length + i], oracleProduce(input)));
TAGS.forEach((tag, i) => {
    const ours = answers[LISTS.length + i], consume = load(`consume-${tag}`), produce = load(`produce-${tag}`);
    const a = withoutSsrc(ours.consume[0].rtpParameters), b = withoutSsrc(consume.rtpParameters);
    a.rtcp.cname = b.rtcp.cname;
    if (ours.type !== produce.producer.type) differ('captured type', tag, ours.type, produce.producer.type);
    a.mid = b.mid; // the capture has the number of the consumer on its transport
    if (tag === 'av-audio') { // see restoreNack and withoutChanging
        b.codecs[0].rtcpFeedback = [{ type: 'nack', parameter: '' }, ...b.codecs[0].rtcpFeedback];
        b.headerExtensions = b.headerExtensions.filter((e) => !/abs-send-time|transport-wide-cc/.test(e.uri));
    }
    if (!isDeepStrictEqual(plain(a), plain(b))) differ('captured consumer', tag, a, b);
});
console.log(`ortc differential: ${inputs.length} produce inputs (${acceptedCount} accepted alike, ` +
    `${refusedCount} refused alike, ${stricterCount} refused because of our own limits), ${consumeCount} consumes, ` +
    `${differences} differences`);
if (acceptedCount < 300 || refusedCount < 100) {
    console.error('too few inputs were accepted or refused: the random changes are not good enough');
    process.exit(1);
}
process.exit(differences ? 1 : 0);
