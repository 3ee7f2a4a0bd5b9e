"use strict";
// Elements, SVG charts and sortable tables; knows nothing of the report's data.

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
  for (const [key, value] of Object.entries(props)) if (value !== undefined) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

const number = (value, digits = 3) =>
  value === null || value === undefined ? "–" : value.toFixed(digits).replace(/^-(0\.?0*)$/, "$1").replace(/^(-?)0\./, "$1.");

const tickText = (value) => String(+value.toFixed(3)).replace(/^(-?)0\./, "$1.");

const MARKERS = [
  "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0",
  "M-3.2 -3.2h6.4v6.4h-6.4z",
  "M0 -4.2L4 3H-4z",
  "M0 -4.5L4.5 0L0 4.5L-4.5 0z",
  "M0 4.2L4 -3H-4z",
  "M-4 -1.4h2.6v-2.6h2.8v2.6h2.6v2.8h-2.6v2.6h-2.8v-2.6h-2.6z",
];

function swatch(style) {
  const line = svg("line", { x1: 0, x2: 26, y1: 7, y2: 7, stroke: style.color, "stroke-width": 2.2, "stroke-dasharray": style.dash });
  const mark = svg("path", { d: MARKERS[style.marker], transform: "translate(13 7)", fill: style.color });
  return svg("svg", { width: 26, height: 14, "aria-hidden": "true" }, line, mark);
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

// series: [{label, style, points: [[x, y, low?, high?], ...]}]; floor: [[x, y], ...]; y: {low, high, label}; x: {label, ticks, text}
function lineChart({ title, series, floor = [], diagonal = false, x, y, marks = true }) {
  const W = 460, H = 300, L = 42, R = 18, T = 8, B = 38;
  const shown = series.map((s) => ({ ...s, points: s.points.filter((p) => p[1] !== null) })).filter((s) => s.points.length);
  const xs = [...new Set(shown.flatMap((s) => s.points.map((p) => p[0])))].sort((a, b) => a - b);
  const values = shown.flatMap((s) => s.points.flatMap((p) => p.slice(1).filter((v) => v !== null && v !== undefined)));
  values.push(...floor.map((p) => p[1]).filter((v) => v !== null));
  const x0 = x.low ?? xs[0] ?? 0, x1 = x.high ?? xs[xs.length - 1] ?? 1;
  const yTicks = niceTicks(y.low ?? Math.min(...values), y.high ?? Math.max(...values));
  const y0 = Math.min(y.low ?? Infinity, ...values, yTicks[0]), y1 = Math.max(y.high ?? -Infinity, ...values, yTicks[yTicks.length - 1]);
  const px = (v) => L + ((v - x0) / (x1 - x0 || 1)) * (W - L - R);
  const py = (v) => H - B - ((v - y0) / (y1 - y0 || 1)) * (H - T - B);
  const path = (points) => points.map((p, i) => `${i ? "L" : "M"}${px(p[0]).toFixed(1)} ${py(p[1]).toFixed(1)}`).join("");

  const root = svg("svg", { class: "chart", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${title}: ${y.label} against ${x.label}, ${shown.map((s) => s.label).join(", ")}` });
  for (const t of yTicks) {
    root.append(svg("line", { class: "grid", x1: L, x2: W - R, y1: py(t), y2: py(t) }));
    root.append(svg("text", { x: L - 5, y: py(t) + 4, "text-anchor": "end" }, tickText(t)));
  }
  for (const t of x.ticks ?? niceTicks(x0, x1).filter((v) => v >= x0 && v <= x1)) root.append(svg("text", { x: px(t), y: H - B + 15, "text-anchor": "middle" }, (x.text ?? tickText)(t)));
  root.append(svg("text", { x: (L + W - R) / 2, y: H - 5, "text-anchor": "middle" }, x.label));
  if (floor.length) {
    root.append(svg("path", { class: "floor", d: path(floor) }));
    root.append(svg("text", { x: L + 4, y: py(floor[0][1]) - 5 }, "always positive"));
  }
  if (diagonal) root.append(svg("path", { class: "floor", d: path([[x0, x0], [x1, x1]]) }));
  for (const s of shown) {
    const band = s.points.filter((p) => p[2] !== undefined && p[2] !== null);
    if (band.length) {
      const up = path(band.map((p) => [p[0], p[3]])), down = path(band.slice().reverse().map((p) => [p[0], p[2]]));
      root.append(svg("path", { d: `${up}${down.replace("M", "L")}Z`, fill: s.style.color, opacity: 0.13 }));
    }
  }
  for (const s of shown) {
    root.append(svg("path", { d: path(s.points), fill: "none", stroke: s.style.color, "stroke-width": marks ? 2 : 1.5, "stroke-dasharray": s.style.dash, "stroke-linejoin": "round" }));
    if (marks) for (const p of s.points) root.append(svg("path", { d: MARKERS[s.style.marker], transform: `translate(${px(p[0]).toFixed(1)} ${py(p[1]).toFixed(1)})`, fill: s.style.color }));
  }
  if (xs.length) addCursor(root, shown, xs, px, { x, T, bottom: H - B, W });
  return el("figure", {}, el("figcaption", {}, title), root);
}

function addCursor(root, shown, xs, px, frame) {
  const line = svg("line", { class: "cursor", y1: frame.T, y2: frame.bottom, visibility: "hidden" });
  root.append(line);
  const tip = document.getElementById("tip");
  const hide = () => { tip.hidden = true; line.setAttribute("visibility", "hidden"); };
  root.addEventListener("pointerleave", hide);
  root.addEventListener("pointermove", (event) => {
    const box = root.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * frame.W;
    const near = xs.reduce((a, b) => (Math.abs(px(b) - at) < Math.abs(px(a) - at) ? b : a));
    line.setAttribute("x1", px(near)); line.setAttribute("x2", px(near)); line.setAttribute("visibility", "visible");
    const rows = shown.map((s) => [s, s.points.find((p) => p[0] === near)]).filter(([, p]) => p).sort((a, b) => b[1][1] - a[1][1]);
    tip.replaceChildren(el("strong", {}, `${frame.x.label}: ${(frame.x.text ?? String)(near)}`), ...rows.map(([s, p]) => {
      const interval = p[2] === undefined || p[2] === null ? "" : ` [${number(p[2])}, ${number(p[3])}]`;
      return el("div", {}, swatch(s.style), ` ${number(p[1])}${interval} ${s.label}`);
    }));
    tip.hidden = false;
    tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8)}px`;
  });
}

// head: [{text, group?, title?, class?}]; rows: [[{text, value?, class?, style?, title?, node?}]]; foot rows stay last.
function sortableTable({ caption, head, rows, foot = [], sort }) {
  const body = el("tbody");
  const draw = () => {
    const sorted = rows.slice();
    if (sort.column !== null) {
      const key = (row) => row[sort.column]?.value ?? row[sort.column]?.text ?? "";
      sorted.sort((a, b) => {
        const [p, q] = [key(a), key(b)];
        const order = typeof p === "number" && typeof q === "number" ? p - q : String(p).localeCompare(String(q), "en", { numeric: true });
        return sort.down ? -order : order;
      });
    }
    body.replaceChildren(...[...sorted, ...foot].map((row) => {
      const cells = row.map((cell, i) => el("td", { class: [cell.class, head[i]?.start && "start"].filter(Boolean).join(" ") || null, style: cell.style, title: cell.title }, ...(cell.nodes ?? [cell.text])));
      return el("tr", { class: foot.includes(row) ? "floor" : null }, ...cells);
    }));
    heads.forEach((th, i) => th.setAttribute("aria-sort", sort.column === i ? (sort.down ? "descending" : "ascending") : "none"));
  };
  const heads = head.map((cell, i) => {
    const click = () => { sort.down = sort.column === i ? !sort.down : i > 0; sort.column = i; draw(); };
    return el("th", { scope: "col", title: cell.title, class: [cell.class, cell.start && "start"].filter(Boolean).join(" ") || null }, el("button", { type: "button", onclick: click }, cell.text));
  });
  const groups = [];
  for (const cell of head) {
    const last = groups[groups.length - 1];
    if (last && last.text === (cell.group ?? "")) last.span += 1;
    else groups.push({ text: cell.group ?? "", span: 1 });
  }
  const grouped = groups.some((g) => g.text);
  const top = grouped ? [el("tr", {}, ...groups.map((g) => el("th", { colspan: g.span, class: g.text ? "group" : null }, g.text)))] : [];
  draw();
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, el("table", {}, el("thead", {}, ...top, el("tr", {}, ...heads)), body));
}

function choice(label, options, value, onchange) {
  const select = el("select", { onchange: (event) => onchange(event.target.value) });
  for (const [key, text] of options) select.append(el("option", { value: key, selected: key === value }, text));
  return el("label", {}, label, select);
}
