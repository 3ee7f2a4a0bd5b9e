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
const colourKeys = [...new Set(SERIES.map((s) => `${s.e}/${s.method}`))];
for (const s of SERIES) {
  const place = colourKeys.indexOf(`${s.e}/${s.method}`);
  s.style = { color: `var(--c${place % 8})`, marker: place % MARKERS.length, dash: s.mask === "blind" ? "5 4" : undefined };
  s.label = [s.method, s.mask === "none" ? "" : `(${s.mask} mask)`, many ? `· ${s.experiment.name}` : ""].filter(Boolean).join(" ");
  s.table = new Map(s.experiment.scores.filter((r) => r.m === s.id).map((r) => [`${r.k}/${r.s}/${r.au}`, r]));
}
const KINDS = [...new Set(DATA.experiments.flatMap((e) => e.kinds))];
const AU_NAMES = [...new Set(DATA.experiments.flatMap((e) => e.aus))].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
const severitiesOf = (kind) => [...new Set(DATA.experiments.flatMap((e) => e.scores.filter((r) => r.k === kind).map((r) => r.s)))].sort((a, b) => a - b);
const LADDER = new Map(KINDS.map((kind) => [kind, [0, ...severitiesOf(kind).filter((s) => s > 0)]]));

const state = {
  metric: "f1", off: new Set(), kindsOff: new Set(),
  heat: { series: (SERIES.find((s) => s.method === "student") ?? SERIES[SERIES.length - 1]).key, minus: "" },
  example: { e: "0", id: "", kind: KINDS[0], series: "" },
  training: "", settings: { stage: "", text: "", differ: many },
};
const sorts = {};
const sortOf = (name) => (sorts[name] ??= { column: null, down: false });
const on = () => SERIES.filter((s) => !state.off.has(s.key));
const kinds = () => KINDS.filter((k) => !state.kindsOff.has(k));
const record = (s, kind, severity, au = "macro") => s.table.get(`${severity === 0 ? "none" : kind}/${severity}/${au}`);
const value = (s, kind, severity, au, metric = state.metric) => record(s, kind, severity, au)?.[metric] ?? null;
const mean = (values) => { const known = values.filter((v) => v !== null && v !== undefined); return known.length ? known.reduce((a, b) => a + b, 0) / known.length : null; };
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

function headline() {
  const head = [{ text: "method" }, { text: "0 %", group: "clean", start: true, title: "nothing hidden" }];
  const columns = [(s) => record(s, "none", 0)];
  for (const kind of kinds()) {
    LADDER.get(kind).filter((s) => s > 0).forEach((severity, i) => {
      head.push({ text: percent(severity), group: kind, start: i === 0 });
      columns.push((s) => record(s, kind, severity));
    });
    head.push({ text: "mean", group: kind, title: `mean over the severities of ${kind} above 0` });
    columns.push((s) => { const steps = LADDER.get(kind).filter((v) => v > 0).map((v) => record(s, kind, v)); return { [state.metric]: mean(steps.map((r) => r?.[state.metric])), floor_f1: mean(steps.map((r) => r?.floor_f1)) }; });
  }
  const lower = METRIC[state.metric].lower;
  const best = columns.map((read) => { const all = on().map((s) => read(s)?.[state.metric]).filter((v) => v !== null && v !== undefined); return lower ? Math.min(...all) : Math.max(...all); });
  const rows = on().map((s) => [{ nodes: [swatch(s.style), ` ${s.label}`], value: s.label }, ...columns.map((read, i) => {
    const r = read(s), v = r?.[state.metric] ?? null, interval = r?.ci?.[state.metric];
    const below = state.metric === "f1" && v !== null && v < r.floor_f1;
    return { nodes: [number(v), ...(interval ? [" ", el("small", {}, `±${number((interval[1] - interval[0]) / 2)}`)] : [])], value: v ?? -1, class: [v === best[i] && "best", below && "below"].filter(Boolean).join(" ") || undefined, title: interval ? `95 % interval ${number(interval[0])} to ${number(interval[1])}` : undefined };
  })]);
  const floor = [{ text: "always positive" }, ...columns.map((read) => ({ text: number(mean(on().map((s) => read(s)?.floor_f1))) }))];
  return [
    el("p", { class: "note" }, `Macro-${METRIC[state.metric].name}: mean over action units, then over folds and seeds. Bold: best of the column. ▽: below answering “present” for every face. Click a heading to sort.`),
    sortableTable({ caption: "Headline", head, rows, foot: state.metric === "f1" ? [floor] : [], sort: sortOf("headline") }),
  ];
}

const hiddenAxis = (kind) => ({ label: "share of the face hidden", low: 0, ticks: LADDER.get(kind), text: percent });

function curves() {
  const m = METRIC[state.metric];
  return [el("p", { class: "note" }, "Dashed: the mask is estimated (blind). Dotted: always positive. Bands: 95 % intervals over subjects."), el("div", { class: "charts" }, ...kinds().map((kind) => lineChart({
    title: `${kind}: macro-${m.name}`, x: hiddenAxis(kind), y: { label: m.name },
    series: on().map((s) => ({ label: s.label, style: s.style, points: LADDER.get(kind).map((v) => { const r = record(s, kind, v); return [v, r?.[state.metric] ?? null, ...(r?.ci?.[state.metric] ?? [])]; }) })),
    floor: state.metric === "f1" ? LADDER.get(kind).map((v) => [v, floorAt(kind, v)]).filter((p) => p[1] !== null) : [],
  })))];
}

function heatCell(v, m, difference) {
  if (v === null) return { text: "–", value: -9, class: "heat" };
  const share = difference ? Math.min(Math.abs(v) / 0.3, 1) : Math.min(Math.max((v - m.low) / (m.high - m.low), 0), 1);
  const ink = difference ? (v < 0 ? "var(--less)" : "var(--more)") : "var(--heat-high)";
  const style = `background: color-mix(in oklab, ${ink} ${Math.round(share * 100)}%, var(--heat-low))`;
  return { text: number(v, 2), value: v, class: share > 0.55 ? "heat hot" : "heat", style };
}

function heatMap() {
  const m = METRIC[state.metric], s = bySeries(state.heat.series), minus = bySeries(state.heat.minus);
  const head = [{ text: "action unit", class: "text" }, { text: "rate", title: "share of faces where it is present" }];
  const read = [];
  for (const kind of kinds()) LADDER.get(kind).forEach((severity, i) => { head.push({ text: percent(severity), group: kind, start: i === 0 }); read.push((au) => [value(s, kind, severity, au), minus ? value(minus, kind, severity, au) : 0]); });
  const rows = AU_NAMES.map((au) => {
    const rate = record(s, "none", 0, au)?.rate ?? null;
    return [{ text: `${au} ${DATA.aus[au] ?? ""}`, class: "text" }, { text: number(rate, 2), value: rate ?? -1 }, ...read.map((f) => { const [a, b] = f(au); return heatCell(a === null || b === null ? null : a - b, m, Boolean(minus)); })];
  });
  return [
    el("div", { class: "controls" },
      choice("Method", seriesOptions(), state.heat.series, (v) => { state.heat.series = v; draw(); }),
      choice("minus", [["", "nothing"], ...seriesOptions()], state.heat.minus, (v) => { state.heat.minus = v; draw(); })),
    sortableTable({ caption: "Action units", head, rows, sort: sortOf("heat") }),
  ];
}

function examples() {
  const withFaces = DATA.experiments.map((e, i) => [String(i), e.name]).filter(([i]) => DATA.experiments[i].examples.length);
  if (!withFaces.length) return null;
  const x = state.example;
  if (!withFaces.some(([i]) => i === x.e)) x.e = withFaces[0][0];
  const e = DATA.experiments[x.e], ids = [...new Set(e.examples.map((f) => f.id))], offered = e.kinds.filter((k) => e.examples.some((f) => f.k === k));
  if (!ids.includes(x.id)) x.id = ids[0];
  if (!offered.includes(x.kind)) x.kind = offered[0];
  const series = SERIES.filter((s) => s.experiment === e);
  if (!series.some((s) => s.key === x.series)) x.series = (series.find((s) => s.method === "student") ?? series[0]).key;
  const s = bySeries(x.series);
  const faces = e.examples.filter((f) => f.id === x.id && (f.k === x.kind || f.s === 0)).sort((a, b) => a.s - b.s);
  const pick = (name) => (v) => { x[name] = v; draw(); };
  return [
    el("p", { class: "note" }, "Under each face: ", el("span", { class: "hit" }, "✓ found"), ", ", el("span", { class: "miss" }, "✗ missed"), ", ", el("span", { class: "false" }, "+ wrongly reported"), ", with the probability; action units that are absent and not reported are left out."),
    el("div", { class: "controls" }, many ? choice("Experiment", withFaces, x.e, pick("e")) : null, choice("Face", ids.map((id, i) => [id, `${i + 1}`]), x.id, pick("id")), choice("Occlusion", offered.map((k) => [k, k]), x.kind, pick("kind")), choice("Method", series.map((v) => [v.key, v.label]), x.series, pick("series"))),
    el("div", { class: "faces" }, ...faces.map((face) => exampleFace(face, s))),
  ];
}

function exampleFace(face, s) {
  const said = face.p[s.id] ?? face.p[s.method] ?? {};
  const items = Object.entries(said).map(([au, p]) => {
    const present = face.y[au], reported = p >= (record(s, face.k, face.s, au)?.t ?? 0.5);
    if (present === undefined || present < 0 || (!present && !reported)) return null;
    const [kind, sign] = present && reported ? ["hit", "✓"] : present ? ["miss", "✗"] : ["false", "+"];
    return el("li", { class: kind, title: DATA.aus[au] }, `${sign} ${au} ${number(p, 2)}`);
  });
  const caption = face.s === 0 ? "nothing hidden" : `${percent(face.s)} hidden`;
  return el("figure", {}, el("img", { src: `data:image/jpeg;base64,${face.jpeg}`, alt: `Face ${face.id}, ${caption}`, loading: "lazy" }), el("figcaption", {}, caption), el("ul", {}, ...items));
}

function foldsAndSeeds() {
  if (DATA.experiments.every((e) => e.runs.length < 2)) return null;
  const blocks = DATA.experiments.filter((e) => e.runs.length > 1).map((e) => {
    const head = [{ text: many ? e.name : "method" }, ...e.runs.map((r) => ({ text: `fold ${r.fold} · seed ${r.seed}` })), { text: "mean", start: true }, { text: "sd over runs" }];
    const rows = on().filter((s) => s.experiment === e).map((s) => {
      const cells = kinds().flatMap((k) => LADDER.get(k).filter((v) => v > 0).map((v) => record(s, k, v)?.runs?.[state.metric]));
      const runs = e.runs.map((_, i) => mean(cells.map((c) => c?.[i])));
      const known = runs.filter((v) => v !== null), centre = mean(known);
      const sd = known.length > 1 ? Math.sqrt(known.reduce((a, v) => a + (v - centre) ** 2, 0) / (known.length - 1)) : null;
      return [{ nodes: [swatch(s.style), ` ${s.label}`], value: s.label }, ...[...runs, centre, sd].map((v) => ({ text: number(v), value: v ?? -1 }))];
    });
    return sortableTable({ caption: `Folds and seeds of ${e.name}`, head, rows, sort: sortOf(`runs${e.name}`) });
  });
  return [el("p", { class: "note" }, `Macro-${METRIC[state.metric].name}, mean over the severities above 0 of the occlusions shown.`), ...blocks];
}

function training() {
  const stages = [...new Set(DATA.experiments.flatMap((e) => e.stages.filter((s) => Object.keys(s.curves).length).map((s) => s.stage)))];
  if (!stages.length) return null;
  if (!stages.includes(state.training)) state.training = stages[0];
  const lines = DATA.experiments.flatMap((e, i) => e.stages.filter((s) => s.stage === state.training).map((s) => ({ ...s, label: many ? `${e.name} ${s.run}` : s.run, color: i })));
  const metrics = [...new Set(lines.flatMap((s) => Object.keys(s.curves)))].sort();
  return [
    el("div", { class: "controls" }, choice("Stage", stages.map((s) => [s, s]), state.training, (v) => { state.training = v; draw(); })),
    el("div", { class: "charts" }, ...metrics.map((metric) => lineChart({
      title: metric, marks: false, x: { label: "step" }, y: { label: metric },
      series: lines.filter((s) => s.curves[metric]).map((s, i) => ({ label: s.label, points: s.curves[metric], style: { color: `var(--c${(4 + (many ? s.color : i)) % 8})`, marker: 0 } })),
    }))),
  ];
}

function cost() {
  const rows = DATA.experiments.flatMap((e) => e.stages.filter((s) => Object.keys(s.cost).length).map((s) => [e, s]));
  if (!rows.length) return null;
  const names = [...new Set(rows.flatMap(([, s]) => Object.keys(s.cost)))];
  const show = (name, v) => (name === "seconds" && typeof v === "number" ? `${v.toFixed(0)} s` : typeof v === "number" ? v.toLocaleString("en") : v === null || v === undefined ? "–" : String(v));
  const head = [{ text: "stage" }, { text: "run", class: "text" }, ...names.map((n) => ({ text: n.replace(/_/g, " ") }))];
  return [sortableTable({ caption: "Time and memory", head, sort: sortOf("cost"), rows: rows.map(([e, s]) => [{ text: s.stage }, { text: many ? `${e.name} ${s.run}` : s.run, class: "text" }, ...names.map((n) => ({ text: show(n, s.cost[n]), value: s.cost[n] }))]) })];
}

function settings() {
  const columns = DATA.experiments.flatMap((e) => e.stages.filter((s) => s.settings).map((s) => ({ ...s, name: e.name })));
  if (!columns.length) return null;
  const stages = [...new Set(columns.map((c) => c.stage))], x = state.settings;
  if (many && !x.stage) x.stage = stages[0];
  const shown = columns.filter((c) => x.stage === "" || c.stage === x.stage);
  const rows = [...new Set(shown.flatMap((c) => Object.keys(c.settings)))].sort().map((key) => [key, shown.map((c) => c.settings[key] ?? "–")])
    .filter(([key, values]) => (!x.differ || new Set(values).size > 1) && `${key} ${values.join(" ")}`.toLowerCase().includes(x.text.toLowerCase()))
    .map(([key, values]) => [{ text: key }, ...values.map((v) => ({ text: v, class: "text wrap" }))]);
  const search = el("input", { type: "search", placeholder: "filter", "aria-label": "Filter settings", value: x.text, oninput: (event) => { x.text = event.target.value; draw("settings"); document.querySelector("#settings input[type=search]").focus(); } });
  search.addEventListener("focus", () => search.setSelectionRange(search.value.length, search.value.length));
  return [
    el("div", { class: "controls" }, choice("Stage", [["", "all"], ...stages.map((s) => [s, s])], x.stage, (v) => { x.stage = v; draw("settings"); }), el("label", {}, el("input", { type: "checkbox", checked: x.differ, onchange: (event) => { x.differ = event.target.checked; draw("settings"); } }), "only what differs"), search),
    rows.length ? sortableTable({ caption: "Settings", head: [{ text: "setting" }, ...shown.map((c) => ({ text: many ? `${c.name} · ${c.stage}` : c.stage, class: "text" }))], rows, sort: sortOf("settings") }) : el("p", { class: "note" }, "No setting matches."),
  ];
}

const SECTIONS = [
  ["headline", "Headline", headline], ["curves", "Against severity", curves], ["aus", "Per action unit", heatMap],
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
