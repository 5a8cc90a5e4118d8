// Draws line plots and bar charts as SVG text. A plot is as wide as a phone, so that its text stays readable
// there; wider screens show several side by side. Each series has its own colour, dash and marker. A point that
// is not valid is a cross with the word "invalid". Each plot has a title and a description for screen readers;
// the table below it has the numbers.

const WIDTH = 360, LEFT = 46, RIGHT = 14, TOP = 24, PLOT_HEIGHT = 180, BOTTOM = 36;

export const escape = (text) => String(text ?? '').replace(/[&<>"']/g,
  (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' })[c]);

// Three significant digits, with a space between thousands.
export function number(value, digits = 3) {
  if (!Number.isFinite(value)) return '–';
  if (value === 0) return '0';
  const size = Math.floor(Math.log10(Math.abs(value)));
  if (size >= digits - 1) return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, '\u202f');
  return value.toFixed(Math.min(6, digits - 1 - size)).replace(/(\.\d*?)0+$/, '$1').replace(/\.$/, '');
}

const round = (v) => Math.round(v * 10) / 10;

// ---- scales ----

function niceStep(span, count) {
  const rough = span / count, power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((m) => m * power).find((step) => step >= rough);
}

function linearTicks(max) {
  const step = niceStep(max, 5), ticks = [];
  for (let i = 0; i * step <= max * 1.0001; i++) ticks.push(i * step);
  return ticks;
}

function logTicks(min, max) {
  const ticks = [];
  for (let power = Math.floor(Math.log10(min)); power <= Math.ceil(Math.log10(max)); power++)
    for (const m of max / min > 100 ? [1] : max / min > 12 ? [1, 3] : [1, 2, 5]) ticks.push(m * 10 ** power);
  return ticks.filter((t) => t >= min * 0.999 && t <= max * 1.001);
}

// values → { place: 0..1, ticks }
function scale(values, { log, ticks, from0 = true }) {
  let min = Math.min(...values), max = Math.max(...values);
  if (log) {
    min /= 1.15;
    max *= 1.15;
    if (max / min < 4) [min, max] = [min / 2, max * 2];
    const span = Math.log(max / min);
    return { place: (v) => Math.log(v / min) / span,
      ticks: (ticks ?? logTicks(min, max)).filter((t) => t >= min && t <= max) };
  }
  if (from0) min = Math.min(0, min);
  max = max > min ? max + (max - min) * 0.06 : min + 1;
  return { place: (v) => (v - min) / (max - min), ticks: ticks ?? linearTicks(max) };
}

// ---- marks ----

const dashes = ['', '6 3', '2 3', '8 3 2 3', '1 2'];
const shapes = [
  (x, y) => `<circle cx="${x}" cy="${y}" r="3.5"/>`,
  (x, y) => `<rect x="${round(x - 3.2)}" y="${round(y - 3.2)}" width="6.4" height="6.4"/>`,
  (x, y) => `<path d="M${x} ${round(y - 4.2)}l4 7h-8z"/>`,
  (x, y) => `<path d="M${x} ${round(y - 4.6)}l4.6 4.6-4.6 4.6-4.6-4.6z"/>`,
  (x, y) => `<path d="M${x} ${round(y + 4.2)}l4-7h-8z"/>`,
];
const cross = (x, y) => `<path class="invalid" d="M${round(x - 4)} ${round(y - 4)}l8 8m0-8l-8 8"/>` +
  `<text class="invalid" x="${Math.min(x, WIDTH - RIGHT - 20)}" y="${round(y - 8)}" text-anchor="middle">invalid</text>`;

function styleOf(series, i) {
  const color = series.color ?? i;
  return { color, dash: series.dashed ? '4 3' : dashes[color % dashes.length], shape: shapes[color % shapes.length] };
}

function legend(series) {
  const items = series.map((s, i) => {
    const { color, dash, shape } = styleOf(s, i);
    return `<li><svg viewBox="0 0 30 12" width="30" height="12" aria-hidden="true" class="c${color % 6}">` +
      `<path class="line" d="M1 6h28" stroke-dasharray="${dash}"/><g class="dot">${s.dashed ? '' : shape(15, 6)}</g>` +
      `</svg> ${escape(s.name)}</li>`;
  });
  return `<ul class="legend">${items.join('')}</ul>`;
}

function svgFigure({ id, title, description, body, height, below = '' }) {
  const own = `plot-${escape(id)}`;
  return `<figure id="${own}"><h3>${escape(title)}</h3>` +
    `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-labelledby="${own}-title ${own}-desc">` +
    `<title id="${own}-title">${escape(title)}</title><desc id="${own}-desc">${escape(description)}</desc>${body}</svg>` +
    `${below}</figure>`;
}

// The description: the points of each series in words.
const pointText = (p) => `${number(p.y)} at ${p.label ?? number(p.x)}${p.invalid ? ' (invalid)' : ''}`;
const pointName = (s, p) => `${s.name}: ${pointText(p)}`;
const describe = (series, x, y) => series.map((s) => `${s.name}: ${s.points.map(pointText).join(', ')}`).join('. ') +
  `. Horizontal axis: ${x.label}; vertical axis: ${y.label}.`;

// ---- lines ----

const tickText = (axis, tick) => escape(axis.format ? axis.format(tick) : number(tick));

// series: [{ name, points: [{ x, y, label, invalid }], dashed, color }]; limits: [{ y, label }].
// x, y: { label, log, ticks, format }. Null if the points have fewer than two different x.
export function lines({ id, title, x, y, series, limits = [] }) {
  const there = series.map((s) => ({ ...s, points: s.points.filter((p) => Number.isFinite(p.x) && Number.isFinite(p.y) &&
    !(x.log && p.x <= 0) && !(y.log && p.y <= 0)) })).filter((s) => s.points.length);
  const points = there.flatMap((s) => s.points);
  if (new Set(points.map((p) => p.x)).size < 2) return null;
  const across = scale(points.map((p) => p.x), { from0: false, ...x });
  const up = scale([...points.map((p) => p.y), ...limits.map((l) => l.y)], y);
  const at = (v) => round(LEFT + across.place(v) * (WIDTH - LEFT - RIGHT));
  const over = (v) => round(TOP + (1 - up.place(v)) * PLOT_HEIGHT);
  const floor = TOP + PLOT_HEIGHT, body = [];
  for (const tick of up.ticks)
    body.push(`<path class="grid" d="M${LEFT} ${over(tick)}H${WIDTH - RIGHT}"/>` +
      `<text class="tick" x="${LEFT - 5}" y="${over(tick) + 4}" text-anchor="end">${tickText(y, tick)}</text>`);
  for (const tick of across.ticks)
    body.push(`<path class="axis" d="M${at(tick)} ${floor}v4"/>` +
      `<text class="tick" x="${at(tick)}" y="${floor + 16}" text-anchor="middle">${tickText(x, tick)}</text>`);
  body.push(`<path class="axis" d="M${LEFT} ${floor}H${WIDTH - RIGHT}"/>`,
    `<text class="label" x="${LEFT}" y="13">${escape(y.label)}</text>`,
    `<text class="label" x="${WIDTH - RIGHT}" y="${floor + 32}" text-anchor="end">${escape(x.label)}</text>`);
  for (const limit of limits)
    body.push(`<path class="limit" d="M${LEFT} ${over(limit.y)}H${WIDTH - RIGHT}"/>` +
      `<text class="limit" x="${WIDTH - RIGHT}" y="${over(limit.y) - 4}" text-anchor="end">${escape(limit.label)}</text>`);
  there.forEach((s, i) => {
    const { color, dash, shape } = styleOf(s, i);
    const valid = s.points.filter((p) => !p.invalid);
    const path = valid.map((p, k) => `${k ? 'L' : 'M'}${at(p.x)} ${over(p.y)}`).join('');
    const dots = s.points.map((p) => `<g><title>${escape(pointName(s, p))}</title>` +
      (p.invalid ? cross(at(p.x), over(p.y)) : s.dashed ? '' : shape(at(p.x), over(p.y))) + '</g>').join('');
    body.push(`<g class="c${color % 6}">${path ? `<path class="line" d="${path}" stroke-dasharray="${dash}"/>` : ''}` +
      `<g class="dot">${dots}</g></g>`);
  });
  return svgFigure({ id, title, description: describe(there, x, y), body: body.join(''), height: floor + BOTTOM,
    below: legend(there) });
}

// ---- bars ----

const BAR = 15, ROW = 40;
const markText = (mark) => escape(`${mark.label}: ${number(mark.value)}`);

// rows: [{ label, value, note, invalid, color, limit, bound }]. limit, bound: lines across the bar, with a label.
// unit: written after each value. Null if there is no row.
export function bars({ id, title, unit, rows }) {
  const there = rows.filter((r) => Number.isFinite(r.value));
  if (!there.length) return null;
  const max = Math.max(...there.flatMap((r) => [r.value, r.limit?.value, r.bound?.value].filter(Number.isFinite)));
  const valueOf = (r) => [number(r.value), unit, r.note, r.invalid ? '– invalid' : ''].filter(Boolean).join(' ');
  const room = WIDTH - 14 - 6.6 * Math.max(...there.map((r) => valueOf(r).length));
  const length = (v) => round((v / max) * room), body = [];
  there.forEach((r, i) => {
    const y = 6 + i * ROW, color = (r.color ?? 0) % 6, value = valueOf(r);
    body.push(`<g class="c${color}"><text class="name" x="2" y="${y + 10}">${escape(r.label)}</text>` +
      `<rect class="bar${r.invalid ? ' hollow' : ''}" x="2" y="${y + 15}" width="${Math.max(1, length(r.value))}" ` +
      `height="${BAR}"/>`);
    let end = length(r.value);
    for (const [kind, mark] of [['limit', r.limit], ['bound', r.bound]]) {
      if (!Number.isFinite(mark?.value)) continue;
      const x = 2 + length(mark.value);
      end = Math.max(end, length(mark.value));
      body.push(`<path class="${kind}" d="M${x} ${y + 12}v${BAR + 6}"><title>${markText(mark)}</title></path>`);
    }
    body.push(`<text class="value" x="${end + 8}" y="${y + 27}">${escape(value)}</text></g>`);
  });
  const description = there.map((r) => [`${r.label}: ${valueOf(r)}`,
    ...[r.limit, r.bound].filter(Boolean).map((m) => `${m.label}: ${number(m.value)}`)].join(', ')).join('. ');
  const marks = ['limit', 'bound'].flatMap((kind) => {
    const mark = there.find((r) => r[kind])?.[kind];
    return mark ? `<li><svg viewBox="0 0 30 12" width="30" height="12" aria-hidden="true">` +
      `<path class="${kind}" d="M15 0v12"/></svg> ${escape(mark.label)}</li>` : [];
  });
  return svgFigure({ id, title, description, body: body.join(''), height: 10 + there.length * ROW,
    below: marks.length ? `<ul class="legend">${marks.join('')}</ul>` : '' });
}
