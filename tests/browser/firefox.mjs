// Firefox for the tests. Playwright cannot drive the Firefox of a distribution, so this speaks WebDriver BiDi
// (https://www.w3.org/TR/webdriver-bidi/) and offers what person.mjs uses of Playwright's browser and page.

import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HANG_MS, sleep, until, within } from '../lib/waiting.mjs';

const WebSocket = createRequire(new URL('../integration/socketio/package.json', import.meta.url))('ws');

const preferences = {
  'media.navigator.streams.fake': true, // a fake camera and microphone
  'media.navigator.permission.disabled': true,
  'media.autoplay.default': 0,
  'media.peerconnection.ice.obfuscate_host_addresses': false,
  'network.manage-offline-status': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'app.update.enabled': false,
  'browser.shell.checkDefaultBrowser': false,
  'browser.startup.page': 0,
  'remote.active-protocols': 1,
  'security.sandbox.warn_unprivileged_namespaces': false,
};

// The connection: commands with answers, and events.
class Bidi {
  #next = 1;
  #pending = new Map(); // id → { resolve, reject }

  static async connect(url) {
    const self = new Bidi();
    self.listeners = new Map(); // event → function
    self.socket = new WebSocket(url);
    self.socket.on('message', (data) => self.#received(JSON.parse(data)));
    self.socket.on('close', () => {
      for (const { reject } of self.#pending.values()) reject(new Error('Firefox has closed the connection'));
    });
    await within(new Promise((resolve, reject) => {
      self.socket.once('open', resolve);
      self.socket.once('error', reject);
    }), 'Firefox accepts the connection');
    return self;
  }

  #received({ id, type, method, params, result, error, message }) {
    if (type === 'event') {
      this.listeners.get(method)?.(params);
      return;
    }
    const waiting = this.#pending.get(id);
    this.#pending.delete(id);
    if (type === 'success') waiting?.resolve(result);
    else waiting?.reject(new Error(`${error}: ${message}`));
  }

  send(method, params = {}) {
    const id = this.#next++;
    const answer = new Promise((resolve, reject) => this.#pending.set(id, { resolve, reject }));
    this.socket.send(JSON.stringify({ id, method, params }));
    return within(answer, 4 * HANG_MS, `Firefox answers ${method}`);
  }
}

export class Firefox {
  static async launch() {
    const self = new Firefox();
    self.directory = await mkdtemp(join(tmpdir(), 'ringcast-firefox-'));
    await writeFile(join(self.directory, 'user.js'), Object.entries(preferences)
      .map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`).join(''));
    self.log = '';
    self.process = spawn('setpriv', ['--pdeathsig', 'KILL', 'firefox-esr', '--headless', '--no-remote',
      '--profile', self.directory, '--remote-debugging-port', '0'],
    { env: { PATH: process.env.PATH, HOME: self.directory, MOZ_DISABLE_CONTENT_SANDBOX: '1' }, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [self.process.stdout, self.process.stderr]) stream.on('data', (data) => { self.log += data; });
    self.exited = new Promise((resolve) => { self.process.on('exit', resolve); });
    try {
      const url = await until(() => self.log.match(/WebDriver BiDi listening on (ws:\S+)/)?.[1], 60000, 'Firefox listens');
      self.bidi = await Bidi.connect(`${url}/session`);
      ({ capabilities: self.capabilities } = await self.bidi.send('session.new', { capabilities: {} }));
    } catch (error) {
      await self.close();
      throw new Error(`${error.message}\n${self.log}`);
    }
    return self;
  }

  // Like Playwright's. One browser has one person, so the context is the browser.
  async newContext({ viewport }) {
    return { newPage: () => FirefoxPage.open(this.bidi, viewport) };
  }

  async close() {
    this.process.kill('SIGTERM');
    const timer = setTimeout(() => this.process.kill('SIGKILL'), HANG_MS);
    await this.exited;
    clearTimeout(timer);
    await rm(this.directory, { recursive: true, force: true, maxRetries: 10 });
  }
}

const asFunction = (script) => (typeof script === 'function' ? String(script) : `() => (${script})`);

class FirefoxPage {
  #listeners = {};

  static async open(bidi, { width, height }) {
    const self = new FirefoxPage();
    self.bidi = bidi;
    self.timeout = HANG_MS;
    ({ context: self.context } = await bidi.send('browsingContext.create', { type: 'tab' }));
    await bidi.send('browsingContext.setViewport', { context: self.context, viewport: { width, height } });
    bidi.listeners.set('log.entryAdded', ({ type, level, text }) => {
      if (type === 'javascript' && level === 'error') self.#listeners.pageerror?.(new Error(text));
      else self.#listeners.console?.({ type: () => level, text: () => text });
    });
    await bidi.send('session.subscribe', { events: ['log.entryAdded'] });
    return self;
  }

  setDefaultTimeout(ms) {
    this.timeout = ms;
  }

  on(event, listener) {
    this.#listeners[event] = listener;
  }

  addInitScript(script, argument) {
    const text = `() => (${asFunction(script)})(${JSON.stringify(argument)})`;
    return this.bidi.send('script.addPreloadScript', { functionDeclaration: text, contexts: [this.context] });
  }

  goto(url) {
    return this.bidi.send('browsingContext.navigate', { context: this.context, url, wait: 'complete' });
  }

  async evaluate(script, argument = null) {
    const { type, result, exceptionDetails } = await this.bidi.send('script.callFunction', {
      functionDeclaration: `async (text) => JSON.stringify((await (${asFunction(script)})(JSON.parse(text))) ?? null)`,
      arguments: [{ type: 'string', value: JSON.stringify(argument) }],
      target: { context: this.context },
      awaitPromise: true,
      userActivation: true,
    });
    if (type === 'exception') throw new Error(exceptionDetails.text);
    return JSON.parse(result.value);
  }

  // Until the script's result is true.
  waitForFunction(script, argument) {
    const asBoolean = `async (argument) => Boolean(await (${asFunction(script)})(argument))`;
    return this.#poll(() => this.evaluate(`(${asBoolean})(${JSON.stringify(argument ?? null)})`), String(script));
  }

  waitForSelector(selector) {
    return this.#poll(() => this.#has(selector), selector);
  }

  #has(selector) {
    return this.evaluate((wanted) => document.querySelector(wanted) !== null, selector);
  }

  async #poll(probe, what) {
    const deadline = performance.now() + this.timeout;
    while (!await probe()) {
      if (performance.now() > deadline) throw new Error(`Firefox: ${what}: not within ${this.timeout} ms`);
      await sleep(50);
    }
  }

  async fill(selector, text) {
    await this.waitForSelector(selector);
    await this.evaluate(([wanted, value]) => {
      const field = document.querySelector(wanted);
      field.value = value;
      field.dispatchEvent(new Event('input', { bubbles: true }));
    }, [selector, text]);
  }

  async click(selector) {
    await this.waitForSelector(selector);
    await this.evaluate((wanted) => document.querySelector(wanted).click(), selector);
  }

  textContent(selector) {
    return this.evaluate((wanted) => document.querySelector(wanted).textContent, selector);
  }

  get keyboard() {
    return {
      press: (key) => this.bidi.send('input.performActions', { context: this.context, actions: [
        { type: 'key', id: 'keyboard', actions: [{ type: 'keyDown', value: key }, { type: 'keyUp', value: key }] }] }),
    };
  }

  async screenshot({ path }) {
    const { data } = await this.bidi.send('browsingContext.captureScreenshot', { context: this.context });
    await writeFile(path, Buffer.from(data, 'base64'));
  }
}
