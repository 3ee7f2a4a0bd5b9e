"use strict";
// The page: reads the data, keeps what the reader chose, draws every section again when that changes.

const DATA = JSON.parse(document.getElementById("data").textContent);
const LOOKS = DATA.looks;  // names, order, colours and markers are those of figures and tables
const METRIC = LOOKS.metrics;
const MARKERS = LOOKS.markers.map((letter) => SHAPES[letter]);
LOOKS.colours.forEach(([light, dark], i) => document.documentElement.style.setProperty(`--c${i}`, `light-dark(${light}, ${dark})`));
const WITH_INTERVALS = ["auroc", "f1"];
const ALL = "all";  // the mean over the kinds of occlusion
const many = DATA.experiments.length > 1;
const percent = (share) => `${Math.round(share * 100)} %`;
const unique = (values) => [...new Set(values)];

const METHODS = unique([...LOOKS.methods, ...DATA.experiments.flatMap((e) => e.methods.map((m) => m.method))]);
const MASKS = Object.keys(LOOKS.masks).filter((mask) => DATA.experiments.some((e) => e.methods.some((m) => m.mask === mask)));
const KINDS = unique(DATA.experiments.flatMap((e) => e.kinds));
const LADDER = new Map(KINDS.map((kind) => {
  const above = DATA.experiments.flatMap((e) => e.scores.filter((r) => r.k === kind && r.s > 0).map((r) => r.s));
  return [kind, [0, ...unique(above).sort((a, b) => a - b)]];
}));
if (KINDS.length > 1) LADDER.set(ALL, LADDER.get(KINDS[0]).filter((s) => KINDS.every((kind) => LADDER.get(kind).includes(s))));
const AU_NAMES = unique(DATA.experiments.flatMap((e) => e.aus)).sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
const GAPS = new Map(DATA.differences.map((d) => [`${d.a}|${d.b}`, d.gaps]));
const FOLDS = new Map(DATA.differences.filter((d) => d.folds).map((d) => [`${d.a}|${d.b}`, d.folds]));

// A series is a method of an experiment, told the mask or not. Colour: the method; marker: the experiment; dashes: blind.
const SERIES = DATA.experiments.flatMap((experiment, e) => experiment.methods.map((m) => {
  const place = METHODS.indexOf(m.method);
  const style = { color: `var(--c${place % LOOKS.colours.length})`, marker: many ? e : place, hollow: many && e % 2 === 1, dash: LOOKS.masks[m.mask] ? "5 4" : undefined };
  const label = [m.method, m.mask === "none" ? "" : `(${m.mask})`, many ? `· ${experiment.name}` : ""].filter(Boolean).join(" ");
  const index = (name, key, value) => new Map((experiment[name] ?? []).filter((r) => r.m === m.id).map((r) => [key(r), value(r)]));
  return {
    ...m, experiment, e, style, label, key: `${e}/${m.id}`,
    scores: index("scores", (r) => `${r.k}/${r.s}`, (r) => r),
    estimates: index("estimates", (r) => `${r.k}/${r.s}/${r.metric}`, (r) => r.v),
    regions: index("regions", (r) => `${r.k}/${r.s}`, (r) => r),
    reliability: index("reliability", (r) => `${r.k}/${r.s}`, (r) => r.bins),
  };
}));
const student = SERIES.find((s) => s.method === "student") ?? SERIES[SERIES.length - 1];

const state = {
  metric: "auroc", off: { run: new Set(), method: new Set(DATA.experiments.flatMap((e) => e.ablations)), mask: new Set(), kind: new Set() },
  panels: many ? "run" : "kind", base: student.key, heat: { series: student.key, minus: "", text: "" },
  example: { e: "0", id: "", kind: KINDS[0], series: "" }, runs: "mean", training: "", reliability: KINDS[0],
  settings: { stage: "", text: "", differ: many },
};
const sorts = {};
const sortOf = (name) => (sorts[name] ??= { column: null, down: false });

const on = () => SERIES.filter((s) => !state.off.run.has(s.e) && !state.off.method.has(s.method) && !state.off.mask.has(s.mask));
const kinds = () => KINDS.filter((kind) => !state.off.kind.has(kind));
// The mean over kinds first, as long as no kind is filtered out.
const kindsAndMean = () => (LADDER.has(ALL) && !state.off.kind.size ? [ALL, ...KINDS] : kinds());
const kindName = (kind) => (kind === ALL ? "mean of kinds" : kind);
const above = (kind) => LADDER.get(kind).filter((s) => s > 0);
const mean = (values) => { const there = values.filter(known); return there.length ? there.reduce((a, b) => a + b, 0) / there.length : null; };
const record = (s, kind, severity) => s.scores.get(`${severity === 0 ? "none" : kind}/${severity}`);
function value(s, kind, severity, metric = state.metric, au = null) {
  if (kind === ALL && severity > 0) {
    const each = KINDS.map((k) => value(s, k, severity, metric, au));
    return each.every(known) ? mean(each) : null;
  }
  const values = record(s, kind, severity)?.[metric];
  return values?.[au === null ? s.experiment.aus.length : s.experiment.aus.indexOf(au)] ?? null;
}
// [value, low, high] with the 95 % interval, where there is one; severity null: the mean over severities above 0.
const estimate = (s, kind, severity, metric) => s.estimates.get(`${severity === 0 ? "none" : kind}/${severity}/${metric}`);
const bounds = (s, kind, severity) =>
  estimate(s, kind, severity, severity === null ? `mean_${state.metric}` : state.metric)?.slice(1) ?? [];
const overall = (s, kind, metric = state.metric) => {
  const each = above(kind).map((severity) => value(s, kind, severity, metric));
  return each.every(known) ? mean(each) : null;
};
// [a − b, low, high], paired; null where they did not see the same faces and masks.
function gap(a, b, metric, kind, severity) {
  const forward = GAPS.get(`${a.key}|${b.key}`), found = forward ?? GAPS.get(`${b.key}|${a.key}`);
  const at = found?.[metric]?.[severity === 0 ? "none" : kind]?.find((row) => row[0] === severity);
  if (!at || !known(at[2])) return null;
  return forward ? at.slice(1) : [-at[1], -at[3], -at[2]];
}
// "fold 1" where only part of the folds of two series could be compared, else "".
function sharedFolds(a, b) {
  const folds = FOLDS.get(`${a.key}|${b.key}`) ?? FOLDS.get(`${b.key}|${a.key}`);
  return folds ? `fold${folds.length > 1 ? "s" : ""} ${folds.join(", ")}` : "";
}
const floorAt = (kind, severity) => mean(on().map((s) => value(s, kind, severity, "floor_f1")));
const intervalMetric = () => (WITH_INTERVALS.includes(state.metric) ? state.metric : "auroc");
const metricName = (metric) => `macro-${METRIC[metric].name}`;
const seriesOptions = () => SERIES.map((s) => [s.key, s.label]);
const bySeries = (key) => SERIES.find((s) => s.key === key);
const nameCell = (s) => ({ nodes: [swatch(s.style), ` ${s.method}`, many ? el("small", {}, s.experiment.name) : null].filter(Boolean), value: s.label, class: "name method" });
const maskCell = (s) => ({ text: s.mask === "none" ? "–" : s.mask, value: s.mask, class: "text" });
const MASK_HEAD = { text: "mask", class: "text", title: "oracle: told the true mask; blind: estimates it from the picture; –: uses none" };

function toolbar() {
  const metrics = Object.entries(METRIC).map(([key, m]) => el("button", {
    type: "button", "data-key": `metric ${key}`, "data-metric": key, "aria-pressed": String(state.metric === key),
    onclick: () => { state.metric = key; draw(); },
  }, m.name));
  const chips = (name, items) => items.map(([key, ...content]) => el("button", {
    type: "button", class: "chip", "data-key": `${name} ${key}`, "aria-pressed": String(!state.off[name].has(key)),
    onclick: () => { if (!state.off[name].delete(key)) state.off[name].add(key); draw(); },
  }, ...content));
  const row = (label, items) => (items.length ? el("div", { class: "row", role: "group", "aria-label": label }, el("span", { class: "label" }, label), ...items) : null);
  const methods = METHODS.filter((method) => SERIES.some((s) => s.method === method));
  const look = (method) => ({ ...SERIES.find((s) => s.method === method).style, dash: undefined, hollow: false, marker: many ? null : METHODS.indexOf(method) });
  return [
    row("Metric", metrics),
    row("Runs", many ? chips("run", DATA.experiments.map((e, i) => [i, swatch({ ...SERIES.find((s) => s.e === i).style, color: "var(--muted)", dash: undefined }), e.name])) : []),
    row("Methods", chips("method", methods.map((method) => [method, swatch(look(method)), method]))),
    row("Masks", MASKS.length > 1 ? chips("mask", MASKS.map((mask) => [mask, mask])) : []),
    row("Occlusion", KINDS.length > 1 ? chips("kind", KINDS.map((kind) => [kind, kind])) : []),
  ].filter(Boolean);
}

const SECTIONS = [
  ["verdict", "Which holds up best", verdict], ["headline", "All figures", headline], ["curves", "Against severity", curves],
  ["robustness", "Robustness", robustness], ["differences", "Differences", differences], ["blind", "Oracle against blind", blindMasks],
  ["aus", "Per action unit", heatMap], ["regions", "Hidden and visible action units", hiddenRegions],
  ["calibration", "Calibration", calibration], ["faces", "Example faces", examples], ["runs", "Folds and seeds", foldsAndSeeds],
  ["training", "Training", training], ["cost", "Time and memory", cost], ["settings", "Settings", settings], ["terms", "Terms", terms],
];
const NOTHING = "Nothing is left to show: switch a run, a method, a mask or an occlusion on again.";

// Draws everything, or one section; keeps the keyboard where it was.
function draw(only) {
  const active = document.activeElement, key = active?.dataset?.key;
  const caret = active?.type === "search" ? active.selectionStart : null;
  if (!only) document.getElementById("toolbar").replaceChildren(...toolbar());
  const empty = !on().length || !kinds().length;
  for (const [id, title, content] of SECTIONS) {
    if (only && only !== id) continue;
    const nodes = empty && !["training", "cost", "settings", "terms"].includes(id) ? [note(NOTHING)] : content();
    const section = document.getElementById(id);
    section.hidden = !nodes;
    if (nodes) section.replaceChildren(el("h2", {}, title), ...nodes.filter(Boolean));
  }
  const again = key && [...document.querySelectorAll("[data-key]")].find((node) => node.dataset.key === key);
  if (again && again !== active) {
    again.focus({ preventScroll: true });
    if (caret !== null) again.setSelectionRange(caret, caret);
  }
}

// Auto follows the system. A page opened from disk may have no storage: then the choice lasts until it is closed.
function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try { localStorage.setItem("fau-mae-theme", theme); } catch { /* not kept */ }
  document.getElementById("theme").replaceChildren(...["auto", "light", "dark"].map((name) =>
    el("button", { type: "button", "data-theme-choice": name, "aria-pressed": String(name === theme), onclick: () => setTheme(name) }, name)));
}

function summaryOf(e) {
  const folds = unique(e.runs.map((r) => r.fold)).length, seeds = unique(e.runs.map((r) => r.seed)).length;
  const count = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
  const rules = e.thresholds.length ? `, thresholds ${e.thresholds.join(" and ").replace(/_/g, " ")}` : "";
  return el("li", {}, el("strong", {}, e.name), `: ${e.datasets.join(", ")}, ${count(e.aus.length, "action unit")}, ${count(folds, "fold")} × ${count(seeds, "seed")}, occlusion protocol ${e.protocol.join(", ")}${rules}`);
}

let theme = "auto";
try { theme = localStorage.getItem("fau-mae-theme") ?? "auto"; } catch { /* none kept */ }
setTheme(theme);
document.querySelector("main").append(...SECTIONS.map(([id]) => el("section", { id })));
draw();
document.querySelector("nav").append(...SECTIONS.filter(([id]) => !document.getElementById(id).hidden).map(([id, title]) => el("a", { href: `#${id}` }, title)));
document.getElementById("summary").append(...DATA.experiments.map(summaryOf));
document.getElementById("footer").textContent = `fau-mae ${DATA.version}. Every figure is computed from stored predictions; thresholds are chosen on validation subjects.`;
document.title = `${DATA.experiments.map((e) => e.name).join(" and ")} · AU recognition under occlusion`;
