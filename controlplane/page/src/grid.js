// The tiles: one for each participant, and one more for a shared screen.

import { icon } from './icons.js';
import { arrange, visibleShare } from './layout.js';

const leastShare = 0.7; // a picture that would lose more than this is shown whole, between bars

export class Grid {
  // soundBlocked(): the browser plays no sound before somebody presses a key or clicks.
  constructor(element, soundBlocked) {
    this.element = element;
    this.soundBlocked = soundBlocked;
    this.tiles = new Map(); // key → tile
    this.observer = new ResizeObserver(() => this.#layout());
    this.observer.observe(element);
  }

  static key(userId, screen) {
    return screen ? `${userId} screen` : userId;
  }

  #make(key, name, { isSelf, screen }) {
    const tile = document.createElement('figure');
    tile.className = `tile${isSelf && !screen ? ' self' : ''}${screen ? ' screen' : ''}`;
    tile.dataset.key = key;
    const video = document.createElement('video');
    video.autoplay = true;
    video.playsInline = true;
    video.muted = true; // sound comes from the audio element of the tile
    video.addEventListener('resize', () => this.#fit(tile));
    const avatar = document.createElement('span');
    avatar.className = 'avatar';
    avatar.setAttribute('aria-hidden', 'true');
    const caption = document.createElement('figcaption');
    const label = document.createElement('span');
    label.className = 'name';
    const mute = document.createElement('span');
    mute.className = 'mute';
    mute.append(icon('microphoneOff'));
    caption.append(mute, label);
    tile.append(video, avatar, caption);
    if (!isSelf && !screen) {
      const audio = document.createElement('audio');
      audio.autoplay = true;
      tile.append(audio);
    }
    this.tiles.set(key, tile);
    this.element.append(tile);
    this.rename(key, name);
    this.#layout();
    return tile;
  }

  rename(key, name) {
    const tile = this.tiles.get(key);
    tile.querySelector('.name').textContent = name;
    tile.querySelector('.avatar').textContent =
      name.split(/\s+/).map((word) => word[0] ?? '').slice(0, 2).join('').toUpperCase();
    this.#label(tile);
  }

  ensure(userId, name, options = {}) {
    const key = Grid.key(userId, options.screen);
    return this.tiles.get(key) ?? this.#make(key, name, options);
  }

  remove(userId, screen = false) {
    const key = Grid.key(userId, screen);
    this.tiles.get(key)?.remove();
    this.tiles.delete(key);
    this.#layout();
  }

  clear() {
    for (const tile of this.tiles.values()) tile.remove();
    this.tiles.clear();
  }

  // Removes the tiles of everybody else.
  keep(userIds) {
    const wanted = new Set(userIds);
    for (const key of [...this.tiles.keys()]) {
      const [userId] = key.split(' ');
      if (!wanted.has(userId)) this.remove(userId, key.endsWith(' screen'));
    }
  }

  setVideo(tile, track) {
    const video = tile.querySelector('video');
    video.srcObject = track ? new MediaStream([track]) : null;
    tile.classList.toggle('has-video', Boolean(track));
    if (track) video.play().catch(() => {});
  }

  setAudio(tile, track) {
    const audio = tile.querySelector('audio');
    if (!audio) return;
    audio.srcObject = track ? new MediaStream([track]) : null;
    if (track) audio.play().catch((error) => error.name === 'NotAllowedError' && this.soundBlocked());
  }

  // After a key press or a click.
  playSound() {
    for (const audio of this.element.querySelectorAll('audio')) if (audio.srcObject) audio.play().catch(() => {});
  }

  setMuted(tile, muted) {
    tile.classList.toggle('muted', muted);
    this.#label(tile);
  }

  #label(tile) {
    tile.setAttribute('aria-label',
      `${tile.querySelector('.name').textContent}${tile.classList.contains('muted') ? ', muted' : ''}`);
  }

  // Marks the tile of the dominant speaker, and no other.
  setSpeaker(userId) {
    for (const [key, tile] of this.tiles) tile.classList.toggle('speaking', key === userId);
  }

  #layout() {
    const { clientWidth: width, clientHeight: height } = this.element;
    const tiles = [...this.tiles.values()];
    if (width === 0 || height === 0) return;
    const { rects } = arrange(tiles.map((tile) => tile.classList.contains('screen')), width, height);
    tiles.forEach((tile, i) => {
      for (const side of ['left', 'top', 'width', 'height']) tile.style[side] = `${Math.floor(rects[i][side])}px`;
      this.#fit(tile);
    });
  }

  // Cameras fill their tile. One whose shape differs much, such as that of a phone held upright, is
  // shown whole.
  #fit(tile) {
    const { videoWidth, videoHeight } = tile.querySelector('video');
    if (!videoWidth || !tile.clientHeight) return;
    const share = visibleShare(tile.clientWidth / tile.clientHeight, videoWidth / videoHeight);
    tile.classList.toggle('whole', share < leastShare);
  }
}
