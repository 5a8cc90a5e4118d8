// Where the page puts its tiles (controlplane/page/src/layout.js), for many sizes, without a browser.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { arrange, visibleShare } from '../../controlplane/page/src/layout.js';

const areas = [[1248, 640], [1920, 900], [374, 700], [304, 400], [828, 250], [700, 700], [200, 150]];
const camera = 16 / 9;

function eachArea(look) {
  for (const [width, height] of areas)
    for (const count of [1, 2, 3, 4, 5, 6, 7, 9, 10, 16, 25, 50, 100])
      for (const screens of [0, 1, 2])
        look({ width, height, count, screens,
          tiles: arrange([...Array(count).fill(false), ...Array(screens).fill(true)], width, height),
          what: `${count} cameras, ${screens} screens in ${width} × ${height}` });
}

test('tiles never overlap and never leave the area sideways', () => {
  eachArea(({ width, height, tiles: { rects, height: used }, what }) => {
    const bottom = Math.max(height, used) + 0.01;
    rects.forEach((a, i) => {
      assert.ok(a.width > 0 && a.height > 0, what);
      assert.ok(a.left >= -0.01 && a.left + a.width <= width + 0.01 && a.top >= -0.01, `${what}: ${JSON.stringify(a)}`);
      assert.ok(a.top + a.height <= bottom, `${what}: ${JSON.stringify(a)}`);
      for (const b of rects.slice(i + 1))
        assert.ok(a.left + a.width <= b.left + 0.01 || b.left + b.width <= a.left + 0.01
          || a.top + a.height <= b.top + 0.01 || b.top + b.height <= a.top + 0.01, `${what}: two tiles overlap`);
    });
  });
});

test('each row is centred, also the last', () => {
  eachArea(({ width, screens, tiles: { rects }, what }) => {
    if (screens) return;
    const rows = new Map();
    for (const rect of rects) rows.set(rect.top, [...(rows.get(rect.top) ?? []), rect]);
    for (const row of rows.values()) {
      const left = Math.min(...row.map((r) => r.left)), right = Math.max(...row.map((r) => r.left + r.width));
      assert.ok(Math.abs((left + right) / 2 - width / 2) < 0.01, `${what}: a row from ${left} to ${right}`);
    }
  });
});

test('a tile shows three quarters of a camera or more', () => {
  eachArea(({ width, screens, tiles: { rects }, what }) => {
    if (width < 100) return;
    for (const rect of screens ? [] : rects)
      assert.ok(visibleShare(rect.width / rect.height, camera) >= 0.74, `${what}: ${rect.width} × ${rect.height}`);
  });
});

test('a shared screen gets most of the area', () => {
  for (const [width, height] of areas.filter(([w]) => w > 100))
    for (const count of [1, 3, 20]) {
      const { rects } = arrange([...Array(count).fill(false), true], width, height);
      const screen = rects.at(-1);
      const largest = Math.min(width, height * camera) * Math.min(height, width / camera); // a screen of 16:9, alone
      const shown = Math.min(screen.width, screen.height * camera) * Math.min(screen.height, screen.width / camera);
      assert.ok(shown >= 0.45 * largest, `${count} cameras in ${width} × ${height}: ${Math.round(100 * shown / largest)} %`);
      assert.ok(rects.slice(0, -1).every((r) => r.width * r.height <= screen.width * screen.height));
    }
});
