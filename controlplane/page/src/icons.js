// Icons of this page: lines in the colour of the text, 24 × 24.

const shapes = {
  microphone: '<rect x="9" y="3" width="6" height="11" rx="3"/><path d="M5 11a7 7 0 0 0 14 0M12 18v3"/>',
  microphoneOff: '<path d="M9 9v2a3 3 0 0 0 4.6 2.5M15 10V6a3 3 0 0 0-5.7-1.3M5 11a7 7 0 0 0 10.6 6M19 11a7 7 0 0 1-.6 2.9M12 18v3M3 3l18 18"/>',
  camera: '<rect x="3" y="6" width="12" height="12" rx="2"/><path d="m15 11 6-4v10l-6-4"/>',
  cameraOff: '<path d="M9 6h4a2 2 0 0 1 2 2v4m0 4a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2V8a2 2 0 0 1 2-2M15 11l6-4v10M3 3l18 18"/>',
  screen: '<rect x="3" y="4" width="18" height="12" rx="2"/><path d="M8 20h8M12 16v4M12 13V7m0 0-3 3m3-3 3 3"/>',
  people: '<circle cx="9" cy="8" r="3.5"/><path d="M2.5 20a6.5 6.5 0 0 1 13 0M16 4.7a3.5 3.5 0 0 1 0 6.6M18 14.2a6.5 6.5 0 0 1 3.5 5.8"/>',
  stats: '<path d="M4 20V10M10 20V4M16 20v-7M22 20H2"/>',
  weak: '<path d="M5 20v-4M12 20v-9"/><path d="M19 20V5" opacity=".4"/>',
  leave: '<path d="M3 15c5-5 13-5 18 0l-3 3-3.5-2v-3a10 10 0 0 0-5 0v3L6 18z"/>',
};

export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  svg.innerHTML = shapes[name];
  return svg;
}
