"use strict";
// The page: reads the data, keeps what the reader chose, draws every section again when that changes.

const DATA = JSON.parse(document.getElementById("data").textContent);
const METRIC = {
  f1: { name: "F1", low: 0, high: 1 },
  auroc: { name: "AUROC", low: 0.5, high: 1 },
  average_precision: { name: "Average precision", low: 0, high: 1 },
  ece: { name: "Calibration error", low: 0, high: 0.5, lower: true },
};
const many = DATA.experiments.length > 1;
const percent = (share) => `${Math.round(share * 100)} %`;

const SERIES = DATA.experiments.flatMap((experiment, e) =>
  experiment.methods.map((m) => ({ ...m, experiment, e, key: `${e}/${m.id}` })));
// One experiment: the same colour for a method on every page. Several: a colour for each method of each.
const KNOWN = ["clean", "reconstruct", "augmented", "dropped", "student", "specialist"];
const colourKeys = [...new Set([...(many ? [] : KNOWN.map((method) => `0/${method}`)), ...SERIES.map((s) => `${s.e}/${s.method}`)])];
for (const s of SERIES) {
  const place = colourKeys.indexOf(`${s.e}/${s.method}`);
  s.style = { color: `var(--c${place % 8})`, marker: place % MARKERS.length, dash: s.mask === "blind" ? "5 4" : undefined };
  s.label = [s.method, s.mask === "none" ? "" : `(${s.mask} mask)`, many ? `· ${s.experiment.name}` : ""].filter(Boolean).join(" ");
  const own = (name, key, value) => new Map((s.experiment[name] ?? []).filter((r) => r.m === s.id).map((r) => [key(r), value(r)]));
  s.table = own("scores", (r) => `${r.k}/${r.s}/${r.au}`, (r) => r);
  s.estimates = own("estimates", (r) => `${r.k}/${r.s}/${r.metric}`, (r) => r.v);
  s.gaps = own("differences", (r) => `${r.rival}/${r.k}/${r.s}/${r.metric}`, (r) => r.v);
  s.regions = own("regions", (r) => `${r.k}/${r.s}`, (r) => r);
  s.reliability = own("reliability", (r) => `${r.k}/${r.s}`, (r) => r.bins);
}
const KINDS = [...new Set(DATA.experiments.flatMap((e) => e.kinds))];
const AU_NAMES = [...new Set(DATA.experiments.flatMap((e) => e.aus))].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
const severitiesOf = (kind) => [...new Set(DATA.experiments.flatMap((e) => e.scores.filter((r) => r.k === kind).map((r) => r.s)))].sort((a, b) => a - b);
const LADDER = new Map(KINDS.map((kind) => [kind, [0, ...severitiesOf(kind).filter((s) => s > 0)]]));

const state = {
  metric: "f1", off: new Set(), kindsOff: new Set(),
  heat: { series: (SERIES.find((s) => s.method === "student") ?? SERIES[SERIES.length - 1]).key, minus: "" },
  example: { e: "0", id: "", kind: KINDS[0], series: "" },
  base: "", region: "hidden", training: "", settings: { stage: "", text: "", differ: many },
};
const sorts = {};
const sortOf = (name) => (sorts[name] ??= { column: null, down: false });
const on = () => SERIES.filter((s) => !state.off.has(s.key));
const kinds = () => KINDS.filter((k) => !state.kindsOff.has(k));
const record = (s, kind, severity, au = "macro") => s.table.get(`${severity === 0 ? "none" : kind}/${severity}/${au}`);
const value = (s, kind, severity, au, metric = state.metric) => record(s, kind, severity, au)?.[metric] ?? null;
const mean = (values) => { const known = values.filter((v) => v !== null && v !== undefined); return known.length ? known.reduce((a, b) => a + b, 0) / known.length : null; };
// [low, high] of the 95 % interval, where there is one.
const bounds = (s, kind, severity) => s.estimates.get(`${severity === 0 ? "none" : kind}/${severity}/${state.metric}`)?.slice(1);
const floorAt = (kind, severity) => mean(on().map((s) => record(s, kind, severity)?.floor_f1 ?? null));
const seriesOptions = () => SERIES.map((s) => [s.key, s.label]);
const bySeries = (key) => SERIES.find((s) => s.key === key);

function toolbar() {
  const press = (pressed, onclick, ...content) => el("button", { type: "button", "aria-pressed": String(pressed), onclick, class: "chip" }, ...content);
  const toggle = (set, key) => () => { if (!set.delete(key)) set.add(key); draw(); };
  const metrics = Object.entries(METRIC).map(([key, m]) => el("button", { type: "button", "data-metric": key, "aria-pressed": String(state.metric === key), onclick: () => { state.metric = key; draw(); } }, m.name));
  const methods = SERIES.map((s) => press(!state.off.has(s.key), toggle(state.off, s.key), swatch(s.style), s.label));
  const kindChips = KINDS.map((k) => press(!state.kindsOff.has(k), toggle(state.kindsOff, k), k));
  const row = (label, ...items) => el("div", { class: "row" }, el("span", { class: "label" }, label), ...items);
  return [row("Metric", ...metrics), row("Methods", ...methods), row("Occlusion", ...kindChips)];
}

const SECTIONS = [
  ["headline", "Headline", headline], ["curves", "Against severity", curves], ["robustness", "Robustness", robustness],
  ["differences", "Differences", differences], ["blind", "Oracle against blind", blindMasks], ["aus", "Per action unit", heatMap],
  ["regions", "Hidden and visible action units", hiddenRegions], ["calibration", "Calibration", calibration],
  ["faces", "Example faces", examples], ["runs", "Folds and seeds", foldsAndSeeds], ["training", "Training", training],
  ["cost", "Time and memory", cost], ["settings", "Settings", settings],
];

function draw(only) {
  if (!only) document.getElementById("toolbar").replaceChildren(...toolbar());
  for (const [id, title, content] of SECTIONS) {
    if (only && only !== id) continue;
    const nodes = content(), section = document.getElementById(id);
    section.hidden = !nodes;
    if (nodes) section.replaceChildren(el("h2", {}, title), ...nodes);
  }
}

document.querySelector("main").append(...SECTIONS.map(([id]) => el("section", { id })));
draw();
document.querySelector("nav").append(...SECTIONS.filter(([id]) => !document.getElementById(id).hidden).map(([id, title]) => el("a", { href: `#${id}` }, title)));
document.getElementById("summary").textContent = DATA.experiments.map((e) => `${e.name}: ${e.datasets.join(", ")}, ${e.aus.length} action units, ${e.runs.length} run${e.runs.length > 1 ? "s" : ""} (folds × seeds), occlusion protocol ${e.protocol.join(", ")}`).join(" · ");
document.getElementById("footer").textContent = `fau-mae ${DATA.version}. Metrics are computed from stored predictions; thresholds are chosen on validation subjects.`;
document.title = `${DATA.experiments.map((e) => e.name).join(" and ")} · AU recognition under occlusion`;
