// Which layer of a picture fits a tile. Numbers in, numbers out: a test asks it directly.

const mostEnlarged = 1.25; // a picture that is enlarged more than this looks blurred
const comfortable = 1.1; // a lower layer must fit this well: tiles near a border do not change to and fro
const mostPixelRatio = 2; // finer screens show no more, but would ask for four times the data
const thumbnail = 100; // a tile that shows fewer lines gets half of the frames
const sizeUnknown = 720; // of the highest layer, when the publisher does not say it

// The sizes of `count` layers (see encodings.js). told: what the publisher says, from outside.
export function sizesOf(told, count) {
  const isUsable = Array.isArray(told) && told.length === count && told.every((size) => Number.isFinite(size) && size > 0);
  return isUsable ? told : Array.from({ length: count }, (_, i) => sizeUnknown / 2 ** (count - 1 - i));
}

// How many pixels of the picture's shorter side the tile shows. ratio: width / height of the picture.
export function shownSize({ width, height, isWhole, pixelRatio }, ratio) {
  const fits = isWhole ? Math.min : Math.max;
  const lines = fits(height, width / ratio);
  return Math.min(lines, lines * ratio) * Math.min(pixelRatio, mostPixelRatio);
}

// { spatialLayer, temporalLayer } for a tile that shows `size` pixels. before: the spatial layer that was
// chosen last, if any.
export function fittingLayers({ sizes, temporalLayers }, size, before) {
  const enough = (enlarged) => {
    const found = sizes.findIndex((lines) => lines * enlarged >= size);
    return found < 0 ? sizes.length - 1 : found;
  };
  const spatialLayer = Math.max(enough(mostEnlarged), Math.min(before ?? 0, enough(comfortable)));
  const temporalLayer = size < thumbnail ? Math.max(0, temporalLayers - 2) : temporalLayers - 1;
  return { spatialLayer, temporalLayer };
}
