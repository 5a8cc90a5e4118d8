// The tiles: one for each participant, and one more for a shared screen.

import { icon } from './icons.js';

export class Grid {
  constructor(element) {
    this.element = element;
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
    tile.tabIndex = 0;
    const video = document.createElement('video');
    video.autoplay = true;
    video.playsInline = true;
    video.muted = true; // sound comes from the audio element of the tile
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
    tile.setAttribute('aria-label', name);
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
    if (track) audio.play().catch(() => {});
  }

  setMuted(tile, muted) {
    tile.classList.toggle('muted', muted);
    tile.setAttribute('aria-label',
      `${tile.querySelector('.name').textContent}${muted ? ', muted' : ''}`);
  }

  // Marks the tile of the dominant speaker, and no other.
  setSpeaker(userId) {
    for (const [key, tile] of this.tiles) tile.classList.toggle('speaking', key === userId);
  }

  // Chooses the number of columns that makes 16:9 tiles largest.
  #layout() {
    const count = this.tiles.size;
    const { clientWidth: width, clientHeight: height } = this.element;
    if (count === 0 || width === 0 || height === 0) return;
    let best = { columns: 1, tileWidth: 0 };
    for (let columns = 1; columns <= count; columns++) {
      const rows = Math.ceil(count / columns);
      const tileWidth = Math.min((width - (columns - 1) * 8) / columns,
        ((height - (rows - 1) * 8) / rows) * (16 / 9));
      if (tileWidth > best.tileWidth) best = { columns, tileWidth };
    }
    // On a narrow page two columns show more people than one.
    if (width < 520 && count > 2) best = { columns: 2, tileWidth: (width - 8) / 2 };
    this.element.style.setProperty('--columns', best.columns);
    this.element.style.setProperty('--tile-width', `${Math.floor(best.tileWidth)}px`);
  }
}
