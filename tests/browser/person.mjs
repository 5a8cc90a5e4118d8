// A person with a browser: opens the page, signs up, joins a call, and reads the statistics of the
// browser.

import { mkdir, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { patience, root, until } from '../lib/ringcast.mjs';

// How long a page may take for one step before the test counts it as hung.
export const timeout = 15000 * patience;

const flags = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync',
  '--disable-background-networking', '--disable-component-update',
  '--use-fake-device-for-media-stream=fps=15', '--use-fake-ui-for-media-stream',
  '--auto-select-desktop-capture-source=Entire screen',
  '--allow-loopback-in-peer-connection', '--autoplay-policy=no-user-gesture-required',
];

export async function openBrowser() {
  return chromium.launch({
    executablePath: '/usr/bin/chromium',
    headless: true,
    args: [...flags, `--disk-cache-dir=${await mkdtemp(join(tmpdir(), 'ringcast-cache-'))}`],
  });
}

// Runs in the page. It makes the pictures small (unless `camera` says how large), because the encoders of
// several browsers share a few cores. For every consumer it notes when the consumer appeared and when its
// first frame was decoded.
function prepare(camera) {
  const { width, height } = camera ?? { width: 320, height: 180 };
  const real = navigator.mediaDevices?.getUserMedia?.bind(navigator.mediaDevices);
  if (real) {
    navigator.mediaDevices.getUserMedia = (constraints) => real({
      ...constraints,
      ...(constraints.video
        ? { video: { ...constraints.video, width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: 15 } } }
        : {}),
    });
  }
  window.watched = new Map();
  setInterval(async () => {
    for (const [id, { consumer, userId, source }] of window.ringcast?.consumers ?? []) {
      if (!window.watched.has(id))
        window.watched.set(id, { kind: consumer.kind, userId, source, appeared: performance.now(), first: null });
      const seen = window.watched.get(id);
      if (seen.kind !== 'video' || seen.first || consumer.closed) continue;
      for (const row of (await consumer.getStats()).values())
        if (row.type === 'inbound-rtp' && row.framesDecoded > 0) seen.first ??= performance.now();
    }
  }, 50);
}

export class Person {
  // camera: { width, height } of its pictures. path: where the page is opened.
  static async open(browser, ringcast, name, { viewport = { width: 1280, height: 800 }, camera, path = '/', prepare: more, argument } = {}) {
    const self = new Person();
    self.name = name;
    self.ringcast = ringcast;
    self.context = await browser.newContext({ viewport, permissions: ['camera', 'microphone'] });
    self.page = await self.context.newPage();
    self.page.setDefaultTimeout(timeout);
    self.problems = [];
    self.page.on('pageerror', (error) => self.problems.push(String(error)));
    self.page.on('console', (line) => {
      if (line.type() === 'error') self.problems.push(line.text());
    });
    await self.page.addInitScript(prepare, camera);
    if (more) await self.page.addInitScript(more, argument);
    await self.page.goto(`${ringcast.url}${path}`);
    return self;
  }

  async signUp() {
    await this.page.fill('input[name=displayName]', this.name);
    await this.page.fill('input[name=email]', `${this.name.replaceAll(' ', '.')}-${Date.now()}-${Math.random()}@example.org`);
    await this.page.fill('input[name=password]', 'correct horse');
    await this.page.click('#sign-in-form .primary');
    await this.page.waitForSelector('#lobby:not([hidden])');
    await this.page.waitForFunction(() => document.getElementById('preview').srcObject);
  }

  async create(title = 'Test') {
    await this.page.fill('#create-form input[name=title]', title);
    await this.page.click('#create-form button');
    return this.#inCall();
  }

  async join(code) {
    await this.page.fill('#join-form input[name=code]', code);
    await this.page.click('#join-form button');
    return this.#inCall();
  }

  async #inCall() {
    await this.page.waitForSelector('#call:not([hidden])').catch(async (error) => {
      throw new Error(`${this.name}: ${await this.page.textContent('#lobby-error')} (${error.message})`);
    });
    await this.page.waitForFunction(() => document.getElementById('call-code').textContent);
    await this.page.waitForFunction(() => window.ringcast?.producers.size === 2);
    return this.page.textContent('#call-code');
  }

  // For each consumer: kind, userId, statistics of the browser, and after how many ms its first
  // frame appeared.
  media() {
    return this.page.evaluate(async () => {
      const all = [];
      for (const [id, { consumer, userId }] of window.ringcast.consumers) {
        const seen = window.watched.get(id);
        const entry = { kind: consumer.kind, userId, firstFrameMs: seen?.first ? seen.first - seen.appeared : null };
        for (const row of (await consumer.getStats()).values())
          if (row.type === 'inbound-rtp')
            Object.assign(entry, {
              packetsLost: row.packetsLost, packetsReceived: row.packetsReceived,
              framesDecoded: row.framesDecoded, totalSamplesReceived: row.totalSamplesReceived,
              totalAudioEnergy: row.totalAudioEnergy,
            });
        all.push(entry);
      }
      return all;
    });
  }

  // Waits until this person sees and hears `others` other people.
  async sees(others) {
    await until(async () => {
      const media = await this.media();
      return media.filter((m) => m.kind === 'video' && m.framesDecoded > 0 && m.firstFrameMs !== null).length === others
        && media.filter((m) => m.kind === 'audio' && m.packetsReceived > 0).length === others;
    }, 15000, `${this.name} sees and hears ${others}`).catch(async (error) => {
      throw new Error(`${error.message}\n${JSON.stringify(await this.media(), null, 1)}\n${this.problems.join('\n')}`);
    });
  }

  async screenshot(name) {
    const directory = join(root, 'build/screens');
    await mkdir(directory, { recursive: true });
    await this.page.screenshot({ path: join(directory, `${name}.png`) });
  }
}
