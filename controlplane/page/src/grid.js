// The tiles: one for each participant, and one more for a shared screen.

import { icon } from './icons.js';
import { arrange, visibleShare } from './layout.js';

const leastShare = 0.7; // a picture that would lose more than this is shown whole, between bars

export class Grid {
  // soundBlocked(): the browser plays no sound before somebody presses a key or clicks.
  // viewChanged(): view() has other answers now.
  constructor(element, soundBlocked, viewChanged) {
    this.element = element;
    this.soundBlocked = soundBlocked;
    this.viewChanged = viewChanged;
    this.tiles = new Map(); // key → tile
    this.outOfSight = new WeakSet(); // tiles that are scrolled away
    this.observer = new ResizeObserver(() => this.#layout());
    this.observer.observe(element);
    this.sight = new IntersectionObserver((changes) => {
      for (const { target, isIntersecting } of changes) this.outOfSight[isIntersecting ? 'delete' : 'add'](target);
      this.viewChanged();
    }, { root: element, rootMargin: '25%' }); // a picture is there when its tile comes into sight
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
    video.addEventListener('resize', () => {
      this.#fit(tile);
      this.viewChanged();
    });
    const avatar = document.createElement('span');
    avatar.className = 'avatar';
    avatar.setAttribute('aria-hidden', 'true');
    const caption = document.createElement('figcaption');
    const label = document.createElement('span');
    label.className = 'name';
    const mute = document.createElement('span');
    mute.className = 'mute';
    mute.append(icon('microphoneOff'));
    const network = document.createElement('span');
    network.className = 'network';
    network.append(icon('weak'));
    caption.append(mute, label, network);
    tile.append(video, avatar, caption);
    if (!isSelf && !screen) {
      const audio = document.createElement('audio');
      audio.autoplay = true;
      tile.append(audio);
    }
    this.tiles.set(key, tile);
    this.element.append(tile);
    this.sight.observe(tile);
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
    const tile = this.tiles.get(key);
    if (!tile) return;
    this.sight.unobserve(tile);
    tile.remove();
    this.tiles.delete(key);
    this.#layout();
  }

  clear() {
    this.sight.disconnect();
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

  // trouble: a sentence about the network of this person, or '' when all is well.
  setNetwork(tile, trouble) {
    const sign = tile.querySelector('.network');
    if (sign.title === trouble) return;
    sign.title = trouble;
    tile.classList.toggle('weak', trouble !== '');
    this.#label(tile);
  }

  #label(tile) {
    const parts = [tile.querySelector('.name').textContent, tile.classList.contains('muted') ? 'muted' : '',
      tile.querySelector('.network').title];
    tile.setAttribute('aria-label', parts.filter(Boolean).join(', '));
  }

  // What the tile of this key shows: { width, height } in CSS pixels, ratio of its picture, whether the
  // picture is whole or fills the tile, whether the tile is in sight. Null if there is no such tile.
  view(key) {
    const tile = this.tiles.get(key), video = tile?.querySelector('video');
    if (!tile?.clientHeight) return null;
    return {
      width: tile.clientWidth,
      height: tile.clientHeight,
      ratio: video.videoHeight ? video.videoWidth / video.videoHeight : 16 / 9,
      isWhole: tile.classList.contains('whole') || tile.classList.contains('screen'),
      isInSight: !this.outOfSight.has(tile),
    };
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
    this.viewChanged();
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
