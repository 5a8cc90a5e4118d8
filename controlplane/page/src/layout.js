// Where the tiles go: sizes in, rectangles out. Without DOM, so that a test can ask it directly.

export const gap = 8;
const wide = 16 / 9, narrow = 4 / 3; // a camera of 16:9 loses a quarter of its width in a tile of 4:3
const leastWidth = 140; // with smaller tiles the grid scrolls instead

// `count` tiles in rows, each row centred: { rects, height }. height is more than area.height if they
// do not all fit.
function inRows(count, { left, top, width, height }, least = 0, tallest = wide) {
  if (count === 0) return { rects: [], height: 0 };
  let best = { width: 0, height: 0 };
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const cellWidth = (width - (columns - 1) * gap) / columns;
    const cellHeight = (height - (rows - 1) * gap) / rows;
    if (cellWidth <= 0 || cellHeight <= 0) continue;
    const ratio = Math.min(wide, Math.max(tallest, cellWidth / cellHeight));
    const tileWidth = Math.min(cellWidth, cellHeight * ratio);
    if (tileWidth * (tileWidth / ratio) > best.width * best.height)
      best = { columns, rows, width: tileWidth, height: tileWidth / ratio };
  }
  if (best.width === 0 || best.width < Math.min(least, width)) {
    const columns = Math.max(1, Math.floor((width + gap) / (Math.max(least, 1) + gap)));
    const tileWidth = Math.max(1, (width - (columns - 1) * gap) / columns);
    best = { columns, rows: Math.ceil(count / columns), width: tileWidth, height: tileWidth / wide };
  }
  const used = best.rows * (best.height + gap) - gap;
  const y = top + Math.max(0, (height - used) / 2);
  const rects = Array.from({ length: count }, (_, i) => {
    const row = Math.floor(i / best.columns);
    const inRow = Math.min(best.columns, count - row * best.columns);
    const x = left + (width - inRow * (best.width + gap) + gap) / 2;
    return { left: x + (i - row * best.columns) * (best.width + gap), top: y + row * (best.height + gap),
      width: best.width, height: best.height };
  });
  return { rects, height: used };
}

// screens: for each tile whether it shows a shared screen. Screens get most of the area; the other
// tiles lie beside them, or below them in an upright area.
export function arrange(screens, width, height) {
  const whole = { left: 0, top: 0, width, height };
  const screenCount = screens.filter(Boolean).length;
  const cameraCount = screens.length - screenCount;
  const tallest = width < height ? narrow : wide; // only upright areas get tiles that cut cameras
  if (screenCount === 0 || cameraCount === 0) return inRows(screens.length, whole, leastWidth, tallest);

  let forScreens, forCameras;
  if (width < height) {
    const used = Math.min(height * 0.6, (width / wide) * screenCount);
    forScreens = { ...whole, height: used };
    forCameras = { ...whole, top: used + gap, height: height - used - gap };
  } else {
    const strip = Math.min(320, Math.max(Math.min(140, width / 4), width * 0.22));
    forScreens = { ...whole, width: width - strip - gap };
    forCameras = { ...whole, left: width - strip, width: strip };
  }
  const shown = inRows(screenCount, forScreens).rects;
  const cameras = inRows(cameraCount, forCameras).rects;
  return { rects: screens.map((isScreen) => (isScreen ? shown : cameras).shift()), height };
}

// The share of a picture that a tile shows when the picture fills it.
export function visibleShare(tileRatio, pictureRatio) {
  return Math.min(tileRatio / pictureRatio, pictureRatio / tileRatio);
}
