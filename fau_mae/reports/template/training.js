"use strict";
// The sections about runs: folds and seeds, training curves, cost, settings; and what the words mean.

// Mean, each fold (over its seeds), each seed (over its folds), each run; over severities or at one.
function foldsAndSeeds() {
  const several = DATA.experiments.filter((e) => e.runs.length > 1 && on().some((s) => s.experiment === e));
  if (!several.length) return null;
  const severities = unique(kinds().flatMap(above)).sort((a, b) => a - b);
  if (!["mean", "0", ...severities.map(String)].includes(state.runs)) state.runs = "mean";
  const at = state.runs === "mean" ? null : Number(state.runs);
  const blocks = several.flatMap((e) => runTable(e, at));
  const options = [["mean", "mean over severities above 0"], ["0", "nothing hidden"], ...severities.map((v) => [String(v), `${percent(v)} hidden`])];
  return [
    note(`${METRIC[state.metric].name}, mean over action units and over the occlusions shown. A fold’s figure is the mean of its seeds, a seed’s the mean over folds. sd: standard deviation over seeds of the mean over folds; differences smaller than that say little, whatever their interval over subjects.`),
    controls(choice("At", options, state.runs, (v) => { state.runs = v; draw("runs"); })), ...blocks,
  ];
}

// Nothing for a method that was not measured wherever another one of its experiment was: its mean would be of other cells.
function runValues(s, at) {
  const rungs = kinds().flatMap((kind) => LADDER.get(kind).filter((v) => (at === null ? v > 0 : v === at)).map((v) => [kind, v]));
  const cells = rungs.filter(([kind, v]) => SERIES.some((r) => r.e === s.e && record(r, kind, v))).map(([kind, v]) => record(s, kind, v)?.runs[state.metric]);
  return s.experiment.runs.map((_, i) => (cells.every(Boolean) ? mean(cells.map((cell) => cell[i])) : null));
}

function deviation(values) {
  const there = values.filter(known), centre = mean(there);
  return there.length > 1 ? Math.sqrt(there.reduce((a, v) => a + (v - centre) ** 2, 0) / (there.length - 1)) : null;
}

function runTable(e, at) {
  const folds = unique(e.runs.map((r) => r.fold)), seeds = unique(e.runs.map((r) => r.seed));
  const grid = folds.length > 1 && seeds.length > 1;
  const head = [
    { text: "method" }, MASK_HEAD, { text: "mean", start: true }, { text: "sd", title: "standard deviation over seeds" },
    ...folds.map((fold, i) => ({ text: String(fold), group: "fold", start: i === 0 })), ...seeds.map((seed, i) => ({ text: String(seed), group: "seed", start: i === 0 })),
    ...(grid ? e.runs.map((r, i) => ({ text: `${r.fold}·${r.seed}`, group: "fold · seed", start: i === 0 })) : []),
  ];
  const series = on().filter((s) => s.experiment === e), read = new Map(series.map((s) => [s, runValues(s, at)]));
  const rows = series.map((s) => {
    const runs = read.get(s), over = (name, key) => mean(runs.filter((_, i) => e.runs[i][name] === key));
    const perFold = folds.map((fold) => over("fold", fold)), perSeed = seeds.map((seed) => over("seed", seed));
    const cells = [mean(perFold), deviation(perSeed), ...perFold, ...perSeed, ...(grid ? runs : [])];
    return [nameCell(s), maskCell(s), ...cells.map((v) => ({ text: number(v), value: v }))];
  });
  return [
    many ? el("h3", {}, e.name) : null,
    sortableTable({ caption: `Folds and seeds of ${e.name}`, head, rows, sort: sortOf(`runs ${e.name}`) }),
    el("div", { class: "charts wide" }, dotChart({ title: "A dot per run (fold and seed), a bar at their mean", label: metricName(state.metric), rows: series.map((s) => ({ label: s.label, style: s.style, values: read.get(s) })) })),
  ].filter(Boolean);
}

function training() {
  const stages = unique(DATA.experiments.flatMap((e) => e.stages.filter((s) => Object.keys(s.curves).length).map((s) => s.stage)));
  if (!stages.length) return null;
  if (!stages.includes(state.training)) state.training = stages[0];
  const found = DATA.experiments.flatMap((e, i) => (state.off.run.has(i) ? [] : e.stages.filter((s) => s.stage === state.training).map((s) => ({ ...s, label: many ? `${e.name} ${s.run}` : s.run }))));
  const lines = found.map((s, i) => ({ ...s, style: { color: `var(--c${(LOOKS.methods.indexOf("student") + i) % LOOKS.colours.length})`, dash: ["", "5 3", "2 3"][Math.floor(i / 10) % 3] } }));
  const metrics = unique(lines.flatMap((s) => Object.keys(s.curves))).sort();
  return [
    note("What each stage logged while it trained; a line per run (fold and seed)."),
    controls(choice("Stage", stages.map((s) => [s, s]), state.training, (v) => { state.training = v; draw("training"); })),
    legend(lines),
    el("div", { class: "charts" }, ...metrics.map((metric) => lineChart({
      title: metric, marks: false, x: { label: "step" }, y: { label: metric },
      series: lines.filter((s) => s.curves[metric]).map((s) => ({ ...s, points: s.curves[metric] })),
    }))),
  ];
}

function duration(seconds) {
  const [h, m] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  return h ? `${h} h ${m} min` : m ? `${m} min ${Math.round(seconds % 60)} s` : `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
}

// A row per stage of each run: means over folds and seeds, the highest memory, and what all of them took together.
function cost() {
  const rows = [], totals = [];
  DATA.experiments.forEach((e, i) => {
    const costs = (stage) => e.stages.filter((s) => s.stage === stage && Object.keys(s.cost).length).map((s) => s.cost);
    const stages = unique(e.stages.map((s) => s.stage)).filter((stage) => costs(stage).length && !state.off.run.has(i));
    for (const stage of stages) rows.push(costRow(stage, e, costs(stage)));
    const all = stages.flatMap(costs).reduce((sum, c) => sum + (c.seconds ?? 0), 0);
    if (stages.length) totals.push([{ text: "all stages", class: "name" }, ...(many ? [{ text: e.name, class: "text" }] : []), ...Array(3).fill({ text: "" }), { text: duration(all) }, { text: "" }, { text: "" }]);
  });
  if (!rows.length) return null;
  const head = [{ text: "stage" }, ...(many ? [{ text: "run", class: "text" }] : []), { text: "parameters" }, { text: "times trained", title: "folds × seeds" }, { text: "time each" }, { text: "time in all" }, { text: "peak memory" }, { text: "device", class: "text" }];
  return [
    note("Training of each stage: wall-clock time, mean over folds and seeds, and the most memory its process, or its GPU, ever held. A stage that was interrupted counts from its last start."),
    sortableTable({ caption: "Time and memory", head, rows, foot: totals, sort: sortOf("cost") }),
  ];
}

function costRow(stage, e, costs) {
  const read = (name) => costs.map((c) => c[name]).filter((v) => typeof v === "number");
  const cell = (v, show) => (known(v) && isFinite(v) ? { text: show(v), value: v } : { text: "–", value: null });
  const devices = unique(costs.map((c) => [(c.processes ?? 1) > 1 ? `${c.processes} ×` : "", c.device ?? "–"].filter(Boolean).join(" ")));
  return [
    { text: stage, class: "name" }, ...(many ? [{ text: e.name, class: "text" }] : []),
    cell(mean(read("parameters")), (v) => (v < 1e6 ? `${(v / 1e3).toFixed(0)} k` : `${(v / 1e6).toFixed(1)} M`)),
    { text: String(costs.length), value: costs.length }, cell(mean(read("seconds")), duration),
    cell(read("seconds").reduce((a, b) => a + b, 0), duration),
    cell(Math.max(...read("peak_memory_mb")), (v) => (v < 1024 ? `${v.toFixed(0)} MB` : `${(v / 1024).toFixed(1)} GB`)),
    { text: devices.join(", "), class: "text" },
  ];
}

function settings() {
  const columns = DATA.experiments.flatMap((e, i) => (state.off.run.has(i) ? [] : e.stages.filter((s) => s.settings).map((s) => ({ ...s, name: e.name }))));
  if (!columns.length) return null;
  const stages = unique(columns.map((c) => c.stage)), x = state.settings;
  if (many && !x.stage) x.stage = stages.includes("student") ? "student" : stages[0];
  const shown = columns.filter((c) => x.stage === "" || c.stage === x.stage);
  const rows = unique(shown.flatMap((c) => Object.keys(c.settings))).sort().map((key) => [key, shown.map((c) => c.settings[key] ?? "–")])
    .filter(([key, values]) => (!x.differ || new Set(values).size > 1) && `${key} ${values.join(" ")}`.toLowerCase().includes(x.text.toLowerCase()))
    .map(([key, values]) => [{ text: key, class: "name" }, ...values.map((v) => ({ text: v, class: "text wrap" }))]);
  const pick = (name) => (v) => { x[name] = v; draw("settings"); };
  const differ = el("label", {}, el("input", { type: "checkbox", "data-key": "differ", checked: x.differ, onchange: (event) => pick("differ")(event.target.checked) }), "only what differs");
  const head = [{ text: "setting" }, ...shown.map((c) => ({ text: many ? `${c.name} · ${c.stage}` : c.stage, class: "text" }))];
  return [
    note(many ? "What was set differently between the runs, stage by stage; the first fold and seed of each." : "What each stage was trained with; the first fold and seed."),
    controls(choice("Settings of", [["", "all stages"], ...stages.map((s) => [s, s])], x.stage, pick("stage")), differ, searchBox("Filter settings", x.text, pick("text"))),
    rows.length ? sortableTable({ caption: "Settings", head, rows, sort: sortOf("settings") }) : note(x.differ && !x.text && shown.length > 1 ? "Set alike everywhere." : "No setting matches."),
  ];
}

const TERMS = [
  ["clean, augmented, dropped, student, reconstruct", "clean: trained on whole faces, reads occluded pixels as they are. augmented: trained on occluded pixels. dropped: reads visible patches only. student: as dropped, and has learnt nodes, edges and logits from clean on whole faces. reconstruct: an autoencoder fills the hidden part in, then clean reads the picture."],
  ["mask: oracle, blind, –", "oracle: told which patches are hidden. blind: estimates that from the picture. –: takes no mask. Figures of one are never averaged or ranked with those of another that is told more."],
  ["severity, share hidden", "hidden area over the area of the face crop. Masks are nested: what is hidden at 25 % is hidden at 50 %."],
  ["AUROC", "probability that a face with the action unit scores above one without: 1 perfect, .5 chance. Needs no threshold."],
  ["average precision", "area under the precision-recall curve; chance is the rate of the action unit."],
  ["F1, precision, recall, accuracy", "of the answer “present”, at a threshold per action unit. F1 of answering “present” always is the floor marked “always positive”."],
  ["thresholds", "by visibility: chosen on validation faces under the same kind and severity of occlusion. clean: chosen on whole validation faces. fixed: .5."],
  ["macro", "mean over action units where the metric is defined; then mean over folds and seeds."],
  ["95 % interval, real difference", "subjects (not frames) are drawn again 1000 times, the same draw for all methods, on the same faces and masks. A difference is called real when its interval excludes 0. There is no correction for looking at many differences: of 20 that are nothing, one will look real."],
  ["retention, robust F1, drop vs clean", "retention: F1 at a severity over the same method’s F1 on whole faces. Robust F1: area under F1 over severities. Drop vs clean: sum over severities of 1 − F1, over the same sum of the method clean (as mCE is computed). Mean of kinds: over all kinds of occlusion, on severities they share."],
  ["calibration error", "expected calibration error: mean distance between probability and rate of positives over 15 equal bins."],
  ["region hidden", "at least half of the part of the face that shows the action unit is covered."],
];

function terms() {
  return [el("dl", {}, ...TERMS.flatMap(([term, meaning]) => [el("dt", {}, term), el("dd", {}, meaning)]))];
}
