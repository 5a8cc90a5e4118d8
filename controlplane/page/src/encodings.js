// What this page sends of a camera or a screen: encodings, codec, and how large each layer is.
//
// Sizes are the shorter side of a picture in pixels, lowest layer first: it stays the same when a phone is
// turned. They travel in the producer's appData, so that others know which layer fits their tile.

const sizeUnknown = 720; // of a camera that does not say it
const screenBitrate = 2500000, screenFrameRate = 15;

// Enough for talking people in a picture of this size, in bit/s.
const bitrates = [[180, 150000], [270, 300000], [360, 500000], [540, 900000], [720, 1500000], [1080, 3000000]];
const bitrateOf = (size) => (bitrates.find(([most]) => size <= most) ?? bitrates.at(-1))[1];

// Small cameras have fewer layers: nobody needs a picture of 60 lines, and each layer costs the encoder.
const layerCount = (size) => (size >= 540 ? 3 : size >= 270 ? 2 : 1);

// Each layer has half the width and height of the next one.
function sizesOf(size) {
  const count = layerCount(size);
  return Array.from({ length: count }, (_, i) => Math.round(size / 2 ** (count - 1 - i)));
}

const shorterSide = ({ width, height }) => (width && height ? Math.min(width, height) : sizeUnknown);

// One stream for each layer. writesTemporalLayers: whether the browser does what scalabilityMode says.
export function simulcast(settings, writesTemporalLayers) {
  const sizes = sizesOf(shorterSide(settings)), mode = writesTemporalLayers ? { scalabilityMode: 'L1T3' } : {};
  return {
    sizes,
    encodings: sizes.map((size, i) => ({
      ...mode, maxBitrate: bitrateOf(size), scaleResolutionDownBy: 2 ** (sizes.length - 1 - i),
    })),
  };
}

// One stream with all layers in it. Only a key frame of the lowest layer lets others begin to watch.
export function svc(settings) {
  const sizes = sizesOf(shorterSide(settings));
  const scalabilityMode = sizes.length > 1 ? `L${sizes.length}T3_KEY` : 'L1T3';
  return { sizes, encodings: [{ scalabilityMode, maxBitrate: sizes.reduce((sum, size) => sum + bitrateOf(size), 0) }] };
}

// A screen is text: one stream of full size. Two temporal layers let the server halve its rate.
export function screen(settings, writesTemporalLayers) {
  return {
    sizes: [shorterSide(settings)],
    encodings: [{ ...(writesTemporalLayers ? { scalabilityMode: 'L1T2' } : {}), maxBitrate: screenBitrate, maxFramerate: screenFrameRate }],
  };
}

const codecNames = { vp8: 'VP8', h264: 'H264', vp9: 'VP9', av1: 'AV1' };
const sendsAllLayersInOne = new Set(['vp9', 'av1']);

async function encodes(contentType, { encodings: [{ scalabilityMode, maxBitrate }] }, { width = 1280, height = 720, frameRate = 30 }) {
  try {
    const { supported } = await navigator.mediaCapabilities.encodingInfo({ type: 'webrtc',
      video: { contentType, width, height, framerate: frameRate, bitrate: maxBitrate, scalabilityMode } });
    return supported;
  } catch {
    return false;
  }
}

// Options of produce() for a video track: { codec?, encodings, sizes }. wanted: 'vp8', 'h264', 'vp9' or
// 'av1'. The browser sends VP8 when it cannot send what is wanted.
export async function videoOptions(device, track, { isScreen, wanted }) {
  const settings = track.getSettings();
  const isFirefox = device.handlerName.startsWith('Firefox'); // it ignores scalabilityMode
  if (isScreen) return screen(settings, !isFirefox);
  const type = `video/${codecNames[wanted]}`;
  const codec = device.sendRtpCapabilities.codecs.find(({ mimeType, parameters }) =>
    mimeType.toLowerCase() === type.toLowerCase() && Number(parameters['profile-id'] ?? 0) === 0);
  if (codec && sendsAllLayersInOne.has(wanted) && !isFirefox) {
    const options = svc(settings);
    if (await encodes(type, options, settings)) return { codec, ...options };
  }
  return { ...(codec && wanted === 'h264' ? { codec } : {}), ...simulcast(settings, !isFirefox) };
}
