// The HTML page around plots and tables: one file that loads nothing else. It works on phone and desktop, in
// light and dark mode, with keyboard and screen reader.

import { escape } from './plot.mjs';

const style = `
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#59626d;--paper:#fff;--panel:#f5f6f8;--edge:#d4d9df;--focus:#0b57d0;
--good:#0f6b3a;--bad:#a32014;--c0:#1f5fbf;--c1:#b3470a;--c2:#187545;--c3:#8a3ea8;--c4:#7a6400;--c5:#5a646e}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ed;--soft:#a3adb8;--paper:#14171b;--panel:#1d2127;--edge:#39414a;
--focus:#8ab4ff;--good:#6fd39b;--bad:#ff9b8f;--c0:#7fb0ff;--c1:#ffab73;--c2:#74d6a2;--c3:#d79bf0;--c4:#dcc65b;--c5:#b0bac4}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
header,main,footer{max-width:76rem;margin:0 auto;padding:0 1rem}
h1{font-size:1.6rem;line-height:1.2;margin:1.2rem 0 .4rem}h2{font-size:1.25rem;margin:2.2rem 0 .4rem}
h3{font-size:1rem;line-height:1.3;margin:0 0 .4rem}p{margin:.4rem 0;max-width:46rem;overflow-wrap:anywhere}
a{color:var(--focus)}:focus-visible{outline:3px solid var(--focus);outline-offset:2px}
.skip{position:absolute;left:-99rem}.skip:focus{position:static}
nav ul{display:flex;flex-wrap:wrap;gap:.2rem 1rem;list-style:none;padding:0;margin:.6rem 0}nav a{display:inline-block;padding:.3rem 0}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,21rem),1fr));gap:1rem;margin:.8rem 0}
figure{margin:0;padding:.8rem;background:var(--panel);border:1px solid var(--edge);border-radius:.5rem}
figure>svg{width:100%;height:auto;display:block}
svg text{fill:var(--ink);font:12px system-ui,sans-serif}svg .tick,svg .label{fill:var(--soft);font-size:11px}
svg .grid{stroke:var(--edge);stroke-width:.7}svg .axis{stroke:var(--soft);stroke-width:1}
svg .line{fill:none;stroke:var(--c);stroke-width:2}svg .dot{fill:var(--c)}svg .bar{fill:var(--c)}
svg .hollow{fill:none;stroke:var(--c);stroke-width:1.5;stroke-dasharray:4 3}
svg path.invalid{fill:none;stroke:var(--bad);stroke-width:2}svg text.invalid{fill:var(--bad);font-size:11px}
svg path.limit{fill:none;stroke:var(--ink);stroke-width:2;stroke-dasharray:5 3}svg text.limit{font-size:11px}
svg path.bound{stroke:var(--soft);stroke-width:3}
${[0, 1, 2, 3, 4, 5].map((i) => `.c${i}{--c:var(--c${i})}`).join('')}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.1rem 1rem;padding:0;margin:.5rem 0 0;font-size:.85rem}
.legend li{display:flex;align-items:center;gap:.35rem}.legend svg{flex:none}
.scroll{overflow-x:auto;border:1px solid var(--edge);border-radius:.5rem;margin:.8rem 0}
table{border-collapse:collapse;width:100%;font-size:.9rem}caption{text-align:left;padding:.5rem .6rem;color:var(--soft)}
th,td{padding:.35rem .6rem;text-align:left;vertical-align:top;border-top:1px solid var(--edge)}
thead th{background:var(--panel);white-space:nowrap}.n{text-align:right}td.n{white-space:nowrap;font-variant-numeric:tabular-nums}
tbody th{font-weight:500;min-width:11rem}
code{font:.85em ui-monospace,monospace;overflow-wrap:anywhere}code span{display:inline-block}td code{display:inline-block;min-width:14rem}
.good{color:var(--good);font-weight:600}.bad{color:var(--bad);font-weight:600}.soft{color:var(--soft)}
.notice{border-left:4px solid var(--bad);padding:.3rem .8rem;background:var(--panel)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;margin:.6rem 0}dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
@media (max-width:34rem){dl{grid-template-columns:1fr}dd{margin-bottom:.4rem}
table,caption,tbody,tr,tbody th,td{display:block}thead{display:none}
tr{border-top:1px solid var(--edge);padding:.4rem .6rem}tbody th,td{border:0;padding:.1rem 0}
td,td.n{display:grid;grid-template-columns:7rem 1fr;gap:.6rem;text-align:left;white-space:normal}
td::before{content:attr(data-name);color:var(--soft)}td code{min-width:0}}
@media print{.scroll{overflow:visible}nav,.skip{display:none}}
`;

const good = ['reached', 'aim reached'], bad = ['missed', 'invalid'];

// A word of judgement. Colour only supports it.
const kind = (text) => (good.includes(text) ? 'good' : bad.includes(text) ? 'bad' : 'soft');
export const word = (text) => `<span class="${kind(text)}">${escape(text)}</span>`;
// Lines break between words only.
export const code = (text) => (text ? `<code>${text.split(' ').map((w) => `<span>${escape(w)}</span>`).join(' ')}</code>`
  : '<span class="soft">unknown</span>');
export const raw = (html) => ({ html });

// On a phone each row is a card that repeats the column names. The roles keep it a table for screen readers.
// columns: names; a # in front marks a column of numbers. rows: arrays of text or raw(); the first cell is the
// header of its row.
export function table({ caption, columns, rows }) {
  if (!rows.length) return '';
  const name = (i) => escape(columns[i].replace(/^#/, '')), side = (i) => (columns[i][0] === '#' ? ' class="n"' : '');
  const cell = (value) => (value !== null && typeof value === 'object' ? value.html : escape(value));
  const head = columns.map((_, i) => `<th role="columnheader" scope="col"${side(i)}>${name(i)}</th>`).join('');
  const cells = (row) => row.map((value, i) => (i === 0 ? `<th role="rowheader" scope="row">${cell(value)}</th>`
    : `<td role="cell" data-name="${name(i)}"${side(i)}><div>${cell(value)}</div></td>`)).join('');
  const body = rows.map((row) => `<tr role="row">${cells(row)}</tr>`).join('\n');
  return `<div class="scroll" role="region" tabindex="0" aria-label="${escape(caption)}">` +
    `<table role="table"><caption>${escape(caption)}</caption>` +
    `<thead role="rowgroup"><tr role="row">${head}</tr></thead><tbody role="rowgroup">${body}</tbody></table></div>`;
}

export const facts = (pairs) => `<dl>${pairs.filter(([, value]) => value).map(([name, value]) =>
  `<dt>${escape(name)}</dt><dd>${escape(value)}</dd>`).join('')}</dl>`;
export const notice = (text) => `<p class="notice">${escape(text)}</p>`;

const section = ({ id, title, html }) =>
  `<section id="${id}" aria-labelledby="${id}-h"><h2 id="${id}-h">${escape(title)}</h2>\n${html}\n</section>`;

// sections: [{ id, title, html }]
export function page({ title, lead, sections }) {
  const shown = sections.filter((s) => s.html);
  const links = shown.map((s) => `<li><a href="#${s.id}">${escape(s.title)}</a></li>`).join('');
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>${escape(title)}</title><style>${style}</style></head><body>
<a class="skip" href="#main">Skip to the values</a>
<header><h1>${escape(title)}</h1>${lead}
<nav aria-label="Sections"><ul>${links}</ul></nav></header>
<main id="main">
${shown.map(section).join('\n')}
</main>
<footer><p class="soft">Made by perf/report. Compare only ratios within one run. Absolute values of
different runs or machines cannot be compared.</p></footer>
</body></html>
`;
}
