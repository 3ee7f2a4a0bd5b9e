"use strict";
// Elements and SVG charts; knows nothing of the report's data.

const SVG = "http://www.w3.org/2000/svg";

function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function svg(tag, props = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(props)) if (value !== undefined && value !== null) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

const known = (value) => value !== null && value !== undefined;
const number = (value, digits = 3) =>
  known(value) ? value.toFixed(digits).replace(/^-(0\.?0*)$/, "$1").replace(/^(-?)0\./, "$1.").replace("-", "−") : "–";
const tickText = (value) => String(+value.toFixed(3)).replace(/^(-?)0\./, "$1.").replace("-", "−");

// By matplotlib's letters, as names.py has them.
const SHAPES = {
  o: "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0",
  s: "M-3.2 -3.2h6.4v6.4h-6.4z",
  "^": "M0 -4.2L4 3H-4z",
  D: "M0 -4.5L4.5 0L0 4.5L-4.5 0z",
  v: "M0 4.2L4 -3H-4z",
  "<": "M-4.2 0L3 4V-4z",
  ">": "M4.2 0L-3 4V-4z",
  P: "M-4 -1.4h2.6v-2.6h2.8v2.6h2.6v2.8h-2.6v2.6h-2.8v-2.6h-2.6z",
};

// style: {color, marker, hollow?, dash?}
function marker(style, x, y) {
  const fill = style.hollow ? "var(--surface)" : style.color;
  const place = { transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` };
  return svg("path", { d: MARKERS[style.marker % MARKERS.length], fill, stroke: style.color, "stroke-width": style.hollow ? 1.6 : 0, ...place });
}

function swatch(style) {
  const line = svg("line", { x1: 0, x2: 26, y1: 7, y2: 7, stroke: style.color, "stroke-width": 2.2, "stroke-dasharray": style.dash });
  const root = svg("svg", { class: "swatch", width: 26, height: 14, "aria-hidden": "true" }, line);
  if (known(style.marker)) root.append(marker(style, 13, 7));
  return root;
}

// series: [{label, style}]
function legend(series) {
  return el("div", { class: "legend" }, ...series.map((s) => el("span", {}, swatch(s.style), ` ${s.label}`)));
}

// Round values that enclose [low, high].
function niceTicks(low, high, count = 7) {
  const raw = (high - low || 1) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].find((m) => m * power >= raw) * power;
  const ticks = [];
  for (let v = Math.floor(low / step + 1e-9) * step; v < high + step * (1 - 1e-6); v += step) ticks.push(+v.toFixed(10));
  return ticks;
}

// Where the data lie and how they map to pixels. series: [{points: [[x, y, low?, high?], ...]}]
function chartFrame(series, floor, x, y) {
  const [W, H, L, R, T, B] = [460, 304, 48, 18, 8, 42];
  const xs = [...new Set(series.flatMap((s) => s.points.map((p) => p[0])))].sort((a, b) => a - b);
  const values = [...series.flatMap((s) => s.points.flatMap((p) => p.slice(1))), ...floor.map((p) => p[1])].filter(known);
  const x0 = x.low ?? xs[0] ?? 0, x1 = x.high ?? xs[xs.length - 1] ?? 1;
  const ticks = niceTicks(y.low ?? Math.min(...values, Infinity), y.high ?? Math.max(...values, -Infinity));
  const y0 = ticks[0], y1 = ticks[ticks.length - 1];
  const px = (v) => L + ((v - x0) / (x1 - x0 || 1)) * (W - L - R);
  const py = (v) => H - B - ((v - y0) / (y1 - y0 || 1)) * (H - T - B);
  const path = (points) => points.map((p, i) => `${i ? "L" : "M"}${px(p[0]).toFixed(1)} ${py(p[1]).toFixed(1)}`).join("");
  const xTicks = x.ticks ?? niceTicks(x0, x1, 6).filter((v) => v >= x0 && v <= x1);
  return { W, H, L, R, T, B, xs, x0, x1, y0, y1, px, py, path, xTicks, yTicks: ticks };
}

// series: [{label, style, points: [[x, y, low?, high?], ...]}]; floor: [[x, y], ...]; y: {low?, high?, label};
// x: {label, ticks?, text?, low?, high?}; diagonal: draw y = x.
function lineChart({ title, series, floor = [], diagonal = false, x, y, marks = true }) {
  const shown = series.map((s) => ({ ...s, points: s.points.filter((p) => known(p[1])) })).filter((s) => s.points.length);
  if (!shown.length) return el("figure", {}, el("figcaption", {}, title), note("Nothing to show here."));
  const f = chartFrame(shown, floor, x, y);
  const label = `${title}: ${y.label} against ${x.label}, ${shown.map((s) => s.label).join(", ")}`;
  const root = svg("svg", { class: "chart", viewBox: `0 0 ${f.W} ${f.H}`, role: "img", "aria-label": label });
  drawAxes(root, f, x);
  if (floor.length) {
    root.append(svg("path", { class: "floor", d: f.path(floor) }));
    root.append(svg("text", { x: f.L + 4, y: f.py(floor[0][1]) - 5 }, "always positive"));
  }
  if (diagonal) root.append(svg("path", { class: "floor", d: f.path([[f.x0, f.x0], [f.x1, f.x1]]) }));
  for (const s of shown) {
    const band = s.points.filter((p) => known(p[2]));
    if (!band.length) continue;
    const up = f.path(band.map((p) => [p[0], p[3]])), down = f.path(band.slice().reverse().map((p) => [p[0], p[2]]));
    root.append(svg("path", { d: `${up}${down.replace("M", "L")}Z`, fill: s.style.color, opacity: 0.12 }));
  }
  for (const s of shown) {
    const stroke = { stroke: s.style.color, "stroke-width": marks ? 2 : 1.5, "stroke-dasharray": s.style.dash, "stroke-linejoin": "round" };
    root.append(svg("path", { d: f.path(s.points), fill: "none", ...stroke }));
    if (marks || s.points.length === 1) for (const p of s.points) root.append(marker(s.style, f.px(p[0]), f.py(p[1])));
  }
  addCursor(root, shown, f, x);
  return el("figure", {}, el("figcaption", {}, title), root);
}

function drawAxes(root, f, x) {
  for (const t of f.yTicks) {
    root.append(svg("line", { class: "grid", x1: f.L, x2: f.W - f.R, y1: f.py(t), y2: f.py(t) }));
    root.append(svg("text", { x: f.L - 5, y: f.py(t) + 4, "text-anchor": "end" }, tickText(t)));
  }
  let free = -Infinity;  // a tick whose text would run into the one before goes without
  for (const t of f.xTicks) {
    const text = (x.text ?? tickText)(t), half = text.length * 4.2;
    if (f.px(t) - half < free) continue;
    free = f.px(t) + half;
    root.append(svg("text", { x: f.px(t), y: f.H - f.B + 19, "text-anchor": "middle" }, text));
  }
  root.append(svg("text", { x: (f.L + f.W - f.R) / 2, y: f.H - 5, "text-anchor": "middle" }, x.label));
}

// The values under the pointer, or the finger, best first.
function addCursor(root, shown, f, x) {
  const line = svg("line", { class: "cursor", y1: f.T, y2: f.H - f.B, visibility: "hidden" });
  root.append(line);
  const tip = document.getElementById("tip");
  const hide = () => { tip.hidden = true; line.setAttribute("visibility", "hidden"); };
  const show = (event) => {
    const box = root.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * f.W;
    const near = f.xs.reduce((a, b) => (Math.abs(f.px(b) - at) < Math.abs(f.px(a) - at) ? b : a));
    line.setAttribute("x1", f.px(near)); line.setAttribute("x2", f.px(near)); line.setAttribute("visibility", "visible");
    const rows = shown.map((s) => [s, s.points.find((p) => p[0] === near)]).filter(([, p]) => p).sort((a, b) => b[1][1] - a[1][1]);
    tip.replaceChildren(el("strong", {}, `${x.label}: ${(x.text ?? tickText)(near)}`), ...rows.map(([s, p]) =>
      el("div", {}, swatch(s.style), ` ${number(p[1])}${known(p[2]) ? ` [${number(p[2])}, ${number(p[3])}]` : ""} ${s.label}`)));
    tip.hidden = false;
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8))}px`;
  };
  root.addEventListener("pointermove", show);
  root.addEventListener("pointerdown", show);
  root.addEventListener("pointerleave", hide);
  root.addEventListener("pointercancel", hide);
}

// A line of dots per row and a tick at their mean. rows: [{label, style, values}]
function dotChart({ title, label, rows }) {
  const [W, L, R, step] = [460, 24, 24, 30];
  const H = rows.length * step + 34, values = rows.flatMap((row) => row.values).filter(known);
  const ticks = niceTicks(Math.min(...values), Math.max(...values), 6);
  const px = (v) => L + ((v - ticks[0]) / (ticks[ticks.length - 1] - ticks[0])) * (W - L - R);
  const root = svg("svg", { class: "chart", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${title}: ${label}` });
  for (const t of ticks) {
    root.append(svg("line", { class: "grid", x1: px(t), x2: px(t), y1: 0, y2: H - 30 }));
    root.append(svg("text", { x: px(t), y: H - 17, "text-anchor": "middle" }, tickText(t)));
  }
  rows.forEach((row, i) => {
    const y = i * step + 22, dots = row.values.filter(known);
    if (!dots.length) return;
    const mean = px(dots.reduce((a, b) => a + b, 0) / dots.length);
    root.append(svg("text", { x: L, y: y - 9 }, row.label));
    root.append(svg("line", { x1: px(Math.min(...dots)), x2: px(Math.max(...dots)), y1: y, y2: y, stroke: row.style.color, "stroke-width": 1.5, opacity: 0.5 }));
    for (const v of dots) root.append(svg("circle", { cx: px(v), cy: y, r: 3.2, fill: row.style.color, opacity: 0.75 }));
    root.append(svg("line", { x1: mean, x2: mean, y1: y - 7, y2: y + 7, stroke: row.style.color, "stroke-width": 2.5 }));
  });
  root.append(svg("text", { x: W / 2, y: H - 2, "text-anchor": "middle" }, label));
  return el("figure", {}, el("figcaption", {}, title), root);
}
