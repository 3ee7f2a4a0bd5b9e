"use strict";
// The sections about methods against severity: each returns its nodes for what the reader chose (state, in
// page.js), or null when it has no data.

// What a method is told decides whom it may be compared with.
const CAMPS = [
  { name: "given pixels alone", masks: ["none", "blind"] },
  { name: "told the true mask", masks: ["oracle"] },
];
const camps = () => CAMPS.map((camp) => ({ ...camp, series: on().filter((s) => camp.masks.includes(s.mask)) })).filter((camp) => camp.series.length);
const small = (text) => el("small", {}, text);
const range = (low, high) => (known(low) && known(high) ? `${number(low)} to ${number(high)}` : "");
const signed = (v) => (v > 0 ? "+" : "") + number(v);
const excludesZero = (g) => g && (g[1] > 0 || g[2] < 0);

// The best of some series at a severity (null: mean), the next one, and those that cannot be told from the best.
function leaderOf(series, metric, kind, severity) {
  const at = (s) => (severity === null ? overall(s, kind, metric) : value(s, kind, severity, metric));
  const ranked = series.map((s) => ({ s, v: at(s) })).filter((r) => known(r.v)).sort((a, b) => b.v - a.v);
  if (!ranked.length) return null;
  const [best, ...rest] = ranked;
  const rivals = rest.map((r) => ({ ...r, gap: gap(best.s, r.s, metric, kind, severity) }));
  return { ...best, next: rivals[0], tied: rivals.filter((r) => !(r.gap?.[1] > 0)) };
}

function verdictCell(found) {
  if (!found) return { text: "–", value: null, class: "verdict" };
  const { s, v, next, tied } = found;
  const name = (one) => `${one.method}${one.mask === "blind" ? " (blind)" : ""}`;
  const rival = (one) => `${name(one)}${one.e === s.e ? "" : ` · ${one.experiment.name}`}`;
  const outcome = !next ? "no rival" : !tied.length ? `✓ ${signed(next.gap[0])}` : `≈ ${tied.length === 1 ? rival(tied[0].s) : `${tied.length} others`}`;
  const title = !next ? undefined : tied.length ? `not told apart from ${tied.map((r) => r.s.label).join(", ")}` : `ahead of ${next.s.label} by ${number(next.gap[0])}, 95 % interval ${range(next.gap[1], next.gap[2])}`;
  return {
    nodes: [swatch(s.style), ` ${name(s)}`, many ? small(s.experiment.name) : "", el("div", {}, el("b", {}, number(v)), " ", el("span", { class: "outcome" }, outcome))],
    value: v, title, class: `verdict ${next && !tied.length ? "real" : ""}`,
  };
}

function verdictSentence(camp, metric, kind) {
  const found = leaderOf(camp.series, metric, kind, null);
  if (!found) return null;
  const { s, v, next, tied } = found, where = kind === ALL ? "over all occlusions" : `over ${kind}`;
  const start = [`Methods ${camp.name}: `, el("b", {}, s.label), ` holds up best, ${metricName(metric)} ${number(v)} on average ${where}`];
  if (!next) return el("li", {}, ...start, ". It has no rival here.");
  const { gap: g } = next;
  if (!g) return el("li", {}, ...start, `, ${number(v - next.v)} ahead of ${next.s.label}; they were not measured on the same faces and masks, or their predictions are gone, so there is no interval.`);
  const part = sharedFolds(s, next.s);
  const lead = part ? `, ${number(v - next.v)} ahead of ${next.s.label}; in ${part}, which both saw, by ${signed(g[0])} [${range(g[1], g[2])}]` : `, ${number(g[0])} [${range(g[1], g[2])}] ahead of ${next.s.label}`;
  if (!tied.length) return el("li", {}, ...start, lead, ": ", el("b", { class: "better" }, "a real difference"), ".");
  return el("li", {}, ...start, lead, ": ", el("b", { class: "unsure" }, "may be chance"), `. Not told apart from it: ${tied.map((r) => r.s.label).join(", ")}.`);
}

function knowingTheMask(metric, kind) {
  const [pixels, told] = CAMPS.map((camp) => leaderOf(on().filter((s) => camp.masks.includes(s.mask)), metric, kind, null));
  const g = pixels && told && gap(told.s, pixels.s, metric, kind, null);
  if (!g) return null;
  return el("li", {}, `Being told the mask: ${told.s.label} minus ${pixels.s.label} is ${signed(g[0])} [${range(g[1], g[2])}], ${excludesZero(g) ? "a real difference" : "which may be chance"}.`);
}

function verdict() {
  const metric = intervalMetric(), shown = kindsAndMean(), main = shown[0];
  const severities = unique(shown.flatMap((kind) => LADDER.get(kind))).sort((a, b) => a - b);
  const head = [{ text: "occlusion" }, { text: "mean", class: "verdict", start: true, title: "over the severities above 0" }, ...severities.map((v) => ({ text: percent(v), class: "verdict" }))];
  const rows = camps().flatMap((camp) => shown.map((kind) => [
    { nodes: [kindName(kind), small(camp.name)], value: `${kindName(kind)} ${camp.name}`, class: "name" },
    verdictCell(leaderOf(camp.series, metric, kind, null)),
    ...severities.map((v) => verdictCell(LADDER.get(kind).includes(v) ? leaderOf(camp.series, metric, kind, v) : null)),
  ]));
  const few = DATA.experiments.filter((e, i) => !state.off.run.has(i) && unique(e.runs.map((r) => r.seed)).length < 3);
  const warning = few.length ? note(el("b", {}, `Fewer than 3 seeds${many ? ` in ${few.map((e) => e.name).join(" and ")}` : ""}: `), "the intervals say what other people might have shown, not what training again might have learnt. Take at least 3 seeds for a claim.") : null;
  const other = metric === state.metric ? null : note(`${METRIC[state.metric].name} has no intervals; this section shows ${METRIC[metric].name}.`);
  return [
    other, el("ul", { class: "sentences" }, ...[...camps().map((camp) => verdictSentence(camp, metric, main)), knowingTheMask(metric, main)].filter(Boolean)), warning,
    note(`The best method and its ${metricName(metric)} by the share of the face hidden. ✓: the lead over the next one is real (95 % interval of the paired difference excludes 0). ≈: not told apart from the method named, or from that many. Methods that are told the true mask and those that are not are ranked apart.`),
    sortableTable({ caption: "Best method by severity", head, rows, sort: sortOf("verdict") }),
  ];
}

function headline() {
  const metric = state.metric, lower = METRIC[metric].lower;
  const head = [{ text: "method" }, MASK_HEAD, { text: "0 %", group: "clean", start: true, title: "nothing hidden" }];
  const columns = [[KINDS[0], 0]];
  for (const kind of kindsAndMean()) {
    for (const [i, severity] of [...above(kind), null].entries()) {
      head.push({ text: severity === null ? "mean" : percent(severity), group: kindName(kind), start: i === 0, title: severity === null ? "mean over the severities above 0" : undefined });
      columns.push([kind, severity]);
    }
  }
  const read = (s, [kind, severity], what = metric) => (severity === null ? overall(s, kind, what) : value(s, kind, severity, what));
  const bestOf = (camp, column) => { const all = camp.series.map((s) => read(s, column)).filter(known); return lower ? Math.min(...all) : Math.max(...all); };
  const rows = camps().flatMap((camp) => {
    const best = columns.map((column) => bestOf(camp, column));
    return camp.series.map((s) => [nameCell(s), maskCell(s), ...columns.map((column, i) => {
      const v = read(s, column), [low, high] = bounds(s, ...column);
      const below = metric === "f1" && known(v) && v < read(s, column, "floor_f1");
      return { nodes: [number(v), known(v) && known(low) ? small(`${number(low)}–${number(high)}`) : ""], value: v, class: [v === best[i] && "best", below && "below"].filter(Boolean).join(" ") };
    })]);
  });
  const floor = [{ text: "always positive", class: "name" }, { text: "–", class: "text" }, ...columns.map((column) => ({ text: number(mean(on().map((s) => read(s, column, "floor_f1")))) }))];
  const intervals = WITH_INTERVALS.includes(metric) ? "Under each figure: 95 % interval. " : "";
  return [
    note(`${METRIC[metric].name}, mean over action units, folds and seeds. ${intervals}Bold: best of the column among methods told the same. ${metric === "f1" ? "▽: below answering “present” for every face. " : ""}Click a heading to sort.`),
    sortableTable({ caption: "All figures", head, rows, foot: metric === "f1" ? [floor] : [], sort: sortOf("headline") }),
  ];
}

const hiddenAxis = (kind) => ({ label: "share of the face hidden", low: 0, high: Math.max(...LADDER.get(kind)), ticks: LADDER.get(kind), text: percent });

// A chart per occlusion, and where several runs are compared per run or per method too.
function panels() {
  const split = { kind: () => "", run: (s) => s.experiment.name, method: (s) => s.method }[many ? state.panels : "kind"];
  return unique(on().map(split)).flatMap((part) => kinds().map((kind) => ({
    kind, series: on().filter((s) => split(s) === part), title: [part, kind].filter(Boolean).join(" · "),
  })));
}

function panelChoice() {
  if (!many) return null;
  const options = [["run", "one per run and occlusion"], ["method", "one per method and occlusion"], ["kind", "one per occlusion"]];
  return controls(choice("Charts", options, state.panels, (v) => { state.panels = v; draw(); }));
}

// One scale for all charts of a section, so that they can be compared by eye.
function commonScale(charts) {
  const values = charts.flatMap((chart) => [...chart.series.flatMap((s) => s.points.flatMap((p) => p.slice(1))), ...(chart.floor ?? []).map((p) => p[1])]).filter(known);
  const span = values.length ? { low: Math.min(...values), high: Math.max(...values) } : {};
  return el("div", { class: "charts" }, ...charts.map((chart) => lineChart({ ...chart, y: { ...span, ...chart.y } })));
}

function curves() {
  const metric = state.metric;
  const charts = panels().map(({ kind, series, title }) => ({
    title, x: hiddenAxis(kind), y: { label: metricName(metric) },
    series: series.map((s) => ({ ...s, points: LADDER.get(kind).map((v) => [v, value(s, kind, v), ...bounds(s, kind, v)]) })),
    floor: metric === "f1" ? LADDER.get(kind).map((v) => [v, floorAt(kind, v)]).filter((p) => known(p[1])) : [],
  }));
  const words = [METRIC[metric].name + " against the share of the face that is hidden.", SERIES.some((s) => s.mask === "blind") && "Dashed: the mask is estimated (blind).", metric === "f1" && "Dotted: always positive.", WITH_INTERVALS.includes(metric) && "Bands: 95 % intervals over subjects.", "Point at a chart for its figures."];
  return [note(words.filter(Boolean).join(" ")), panelChoice(), legend(on()), commonScale(charts)];
}

const interval = (v) => (v ? { nodes: [number(v[0]), known(v[1]) ? small(`${number(v[1])}–${number(v[2])}`) : ""], value: v[0] } : { text: "–", value: null });

function robustness() {
  const found = on().filter((s) => s.estimates.size);
  if (!found.length) return null;
  const columns = [
    ["robust_f1", "robust F1", "area under F1 from nothing hidden to the last severity, over that width"],
    ["relative_drop", "drop vs clean", "sum of 1 − F1 over severities, over that of the method clean; below 1 is better"],
    ["mean_f1", "mean F1", "mean over the severities above 0"], ["mean_auroc", "mean AUROC", "mean over the severities above 0"],
  ];
  const shown = kindsAndMean();
  const head = [{ text: "method" }, MASK_HEAD, ...shown.flatMap((kind) => columns.map(([, text, title], i) => ({ text, title, group: kindName(kind), start: i === 0 })))];
  const rows = found.map((s) => [nameCell(s), maskCell(s), ...shown.flatMap((kind) => columns.map(([metric]) => interval(estimate(s, kind, null, metric))))]);
  const charts = panels().map(({ kind, series, title }) => ({
    title: `${title}: retention`, x: hiddenAxis(kind), y: { label: "F1 over the method’s own clean F1" },
    series: series.filter((s) => above(kind).some((v) => estimate(s, kind, v, "retention"))).map((s) => ({ ...s, points: [[0, 1], ...above(kind).map((v) => [v, ...(estimate(s, kind, v, "retention") ?? [null])])] })),
  }));
  return [
    note(el("b", {}, "Robust F1"), ": area under F1 from nothing hidden to the last severity, 0 to 1. ", el("b", {}, "Drop vs clean"), ": what is lost to perfect F1, over what the method clean of the same run loses; below 1 is better. ", el("b", {}, "Retention"), ": F1 under occlusion over the same method’s F1 on whole faces; a method that is weak on whole faces can still retain much. Small: 95 % intervals over subjects."),
    sortableTable({ caption: "Robustness", head, rows, sort: sortOf("robustness") }),
    panelChoice(), legend(found), commonScale(charts),
  ];
}

function gapTable(caption, head, lines, sort) {
  const metric = intervalMetric();
  const columns = [[KINDS[0], 0, true], ...kindsAndMean().flatMap((kind) => [null, ...above(kind)].map((v, i) => [kind, v, i === 0]))];
  const rows = lines.map(([cells, s, rival]) => [...cells, ...columns.map(([kind, severity]) => {
    const g = gap(s, rival, metric, kind, severity);
    if (!g) return { text: "–", value: null };
    return { nodes: [signed(g[0]), small(range(g[1], g[2]))], value: g[0], class: excludesZero(g) ? (g[0] > 0 ? "better" : "worse") : "unsure" };
  })]);
  const heads = [...head, ...columns.map(([kind, v, start]) => ({ text: v === null ? "mean" : percent(v), group: v === 0 ? "clean" : kindName(kind), start }))];
  return [
    note(`${METRIC[metric].name}, paired on the same faces and masks; small: 95 % interval over subjects. Bold and coloured: it excludes 0. Grey: it does not, the difference may be chance. –: not measured on the same faces and masks.`),
    sortableTable({ caption, head: heads, rows, sort: sortOf(sort) }),
  ];
}

function differences() {
  const able = SERIES.filter((s) => s.estimates.size);
  if (able.length < 2) return null;
  if (!able.some((s) => s.key === state.base)) state.base = able[able.length - 1].key;
  const s = bySeries(state.base);
  const rivals = on().filter((r) => r !== s && r.estimates.size);
  return [
    controls(choice("Method", able.map((v) => [v.key, v.label]), state.base, (v) => { state.base = v; draw("differences"); }), "minus each rival"),
    ...gapTable("Differences", [{ text: "rival" }, MASK_HEAD], rivals.map((r) => [[nameCell(r), maskCell(r)], s, r]), "differences"),
  ];
}

function blindMasks() {
  if (!MASKS.includes("oracle")) return null;
  const pairs = on().filter((s) => s.mask === "blind").map((s) => [s, SERIES.find((o) => o.e === s.e && o.method === s.method && o.mask === "oracle")]).filter(([, o]) => o);
  if (!pairs.length) return [note("Rows marked oracle are told the true mask, which nobody has outside a test: an upper bound. No method shown was also measured blind, estimating the mask from the picture.")];
  const charts = kinds().map((kind) => ({
    title: kind, x: hiddenAxis(kind), y: { label: metricName(state.metric) },
    series: pairs.flat().map((s) => ({ ...s, points: LADDER.get(kind).map((v) => [v, value(s, kind, v), ...bounds(s, kind, v)]) })),
  }));
  const lines = pairs.filter(([s]) => s.estimates.size).map(([s, o]) => [[nameCell(s)], s, o]);
  return [
    note("Oracle: the method is told the true mask. Blind: it estimates the mask from the picture, as it must outside a test. The gap is what better mask detection could still win."),
    legend(pairs.flat()), commonScale(charts), el("h3", {}, "Blind minus oracle"),
    ...(lines.length ? gapTable("Blind minus oracle", [{ text: "method" }], lines, "blind") : []), ...maskQuality(),
  ];
}

function maskQuality() {
  const found = DATA.experiments.filter((e, i) => e.mask_quality.length && !state.off.run.has(i));
  if (!found.length) return [];
  const shown = kinds().filter((kind) => found.some((e) => e.mask_quality.some((r) => r.k === kind)));
  const cells = shown.flatMap((kind) => above(kind).map((v, i) => [kind, v, i === 0]));
  const rows = found.flatMap((e) => [["patch AUROC", "auroc"], ["IoU", "iou"]].map(([name, what]) => [
    { nodes: [name, many ? small(e.name) : ""], value: name, class: "name" },
    ...cells.map(([kind, v]) => { const r = e.mask_quality.find((q) => q.k === kind && q.s === v)?.[what] ?? null; return { text: number(r), value: r }; }),
  ]));
  const head = [{ text: "estimated mask" }, ...cells.map(([kind, v, start]) => ({ text: percent(v), group: kind, start }))];
  return [
    el("h3", {}, "How good the estimated mask is"),
    note("Test faces under textures and shapes that no training has seen. Patch AUROC: hidden patches score above visible ones (1 perfect, .5 chance). IoU: hidden patches found, over those hidden or called so."),
    sortableTable({ caption: "Estimated masks", head, rows, sort: sortOf("masks") }),
  ];
}

function hiddenRegions() {
  const found = on().filter((s) => s.regions.size);
  if (!found.length) return null;
  const at = (s, kind, v, side) => s.regions.get(`${v ? kind : "none"}/${v}`)?.[side] ?? null;
  const charts = panels().flatMap(({ kind, series, title }) => ["visible", "hidden"].map((side) => ({
    title: `${title}: regions ${side}`, x: hiddenAxis(kind), y: { label: "macro-F1" },
    series: series.filter((s) => s.regions.size).map((s) => ({ ...s, points: LADDER.get(kind).map((v) => [v, at(s, kind, v, side)]) })),
  })));
  return [
    note("F1 of the action units whose region of the face is at least half covered (hidden), and of the others (visible). What is recognised of hidden ones comes from the rest of the face and from how action units go together. Points are missing where too few faces are left."),
    panelChoice(), legend(found), commonScale(charts),
  ];
}
