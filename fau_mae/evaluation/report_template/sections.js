"use strict";
// The sections: each returns its nodes for what the reader chose (state, in page.js), or null when it has no data.

function headline() {
  const head = [{ text: "method" }, { text: "0 %", group: "clean", start: true, title: "nothing hidden" }];
  const cell = (s, kind, severity) => ({ ...record(s, kind, severity), bounds: bounds(s, kind, severity) });
  const columns = [(s) => cell(s, "none", 0)];
  for (const kind of kinds()) {
    LADDER.get(kind).filter((s) => s > 0).forEach((severity, i) => {
      head.push({ text: percent(severity), group: kind, start: i === 0 });
      columns.push((s) => cell(s, kind, severity));
    });
    head.push({ text: "mean", group: kind, title: `mean over the severities of ${kind} above 0` });
    columns.push((s) => { const steps = LADDER.get(kind).filter((v) => v > 0).map((v) => record(s, kind, v)); return { [state.metric]: mean(steps.map((r) => r?.[state.metric])), floor_f1: mean(steps.map((r) => r?.floor_f1)) }; });
  }
  const lower = METRIC[state.metric].lower;
  const best = columns.map((read) => { const all = on().map((s) => read(s)?.[state.metric]).filter((v) => v !== null && v !== undefined); return lower ? Math.min(...all) : Math.max(...all); });
  const rows = on().map((s) => [{ nodes: [swatch(s.style), ` ${s.label}`], value: s.label }, ...columns.map((read, i) => {
    const r = read(s), v = r?.[state.metric] ?? null, interval = r?.bounds;
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
  const all = kinds().flatMap((kind) => LADDER.get(kind).flatMap((v) => [...on().flatMap((s) => [value(s, kind, v), ...(bounds(s, kind, v) ?? [])]), state.metric === "f1" ? floorAt(kind, v) : null])).filter((v) => v !== null);
  const span = { low: Math.min(...all), high: Math.max(...all) };  // one scale for all kinds
  return [el("p", { class: "note" }, "Dashed: the mask is estimated (blind). Dotted: always positive. Bands: 95 % intervals over subjects."), el("div", { class: "charts" }, ...kinds().map((kind) => lineChart({
    title: `${kind}: macro-${m.name}`, x: hiddenAxis(kind), y: { label: m.name, ...span },
    series: on().map((s) => ({ label: s.label, style: s.style, points: LADDER.get(kind).map((v) => { const r = record(s, kind, v); return [v, r?.[state.metric] ?? null, ...(bounds(s, kind, v) ?? [])]; }) })),
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

const plusMinus = (v) => (v && v[1] !== null ? [number(v[0]), " ", el("small", {}, `[${number(v[1])}, ${number(v[2])}]`)] : [number(v?.[0] ?? null)]);

function robustness() {
  const found = on().filter((s) => s.estimates.size);
  if (!found.length) return null;
  const columns = [["robust_f1", "robust F1", "area under F1 from nothing hidden to the last severity"], ["mean_f1", "mean F1", "mean over the severities above 0"], ["mean_auroc", "mean AUROC", "mean over the severities above 0"], ["relative_drop", "drop vs clean", "sum of 1 − F1 over that of the clean method; below 1 is better"]];
  const head = [{ text: "method" }, ...kinds().flatMap((kind) => columns.map(([, text, title], i) => ({ text, title, group: kind, start: i === 0 })))];
  const rows = found.map((s) => [{ nodes: [swatch(s.style), ` ${s.label}`], value: s.label }, ...kinds().flatMap((kind) => columns.map(([metric]) => {
    const v = s.estimates.get(`${kind}/null/${metric}`);
    return { nodes: plusMinus(v), value: v?.[0] ?? -1 };
  }))]);
  const charts = kinds().map((kind) => lineChart({
    title: `${kind}: retention`, x: hiddenAxis(kind), y: { label: "share of its own clean F1" },
    series: found.map((s) => ({ label: s.label, style: s.style, points: [[0, 1, null, null], ...LADDER.get(kind).filter((v) => v > 0).map((v) => [v, ...(s.estimates.get(`${kind}/${v}/retention`) ?? [null, null, null])])] })),
  }));
  return [
    el("p", { class: "note" }, "Brackets: 95 % intervals from a bootstrap over subjects."),
    sortableTable({ caption: "Robustness", head, rows, sort: sortOf("robustness") }),
    el("div", { class: "charts" }, ...charts),
  ];
}

function gapTable(caption, head, lines, sort) {
  const metric = state.metric === "auroc" ? "auroc" : "f1";
  const columns = kinds().flatMap((kind) => [...LADDER.get(kind).filter((v) => v > 0), null].map((v, i) => [kind, v, i === 0]));
  const rows = lines.map(([name, s, rival]) => [name, ...columns.map(([kind, severity]) => {
    const v = s.gaps.get(`${rival.id}/${kind}/${severity}/${metric}`);
    if (!v) return { text: "–", value: -9 };
    const counts = v[1] > 0 || v[2] < 0;
    return { text: (v[0] > 0 ? "+" : "") + number(v[0]).replace("-", "−"), value: v[0], title: `95 % interval ${number(v[1])} to ${number(v[2])}`, class: counts ? (v[0] > 0 ? "better" : "worse") : "unsure" };
  })]);
  const heads = [{ text: head }, ...columns.map(([kind, v, start]) => ({ text: v === null ? "mean" : percent(v), group: kind, start }))];
  return [el("p", { class: "note" }, `Macro-${METRIC[metric].name}, paired on the same faces and masks. Bold: the 95 % interval over subjects excludes 0; grey: it does not. The interval is in each cell's tooltip.`), sortableTable({ caption, head: heads, rows, sort: sortOf(sort) })];
}

function differences() {
  const able = SERIES.filter((s) => s.gaps.size);
  if (!able.length) return null;
  if (!able.some((s) => s.key === state.base)) state.base = (able.find((s) => s.method === "student") ?? able[able.length - 1]).key;
  const s = bySeries(state.base);
  const rivals = on().filter((r) => r.e === s.e && r !== s);
  return [
    el("div", { class: "controls" }, choice("Method", able.map((v) => [v.key, v.label]), state.base, (v) => { state.base = v; draw("differences"); }), "minus each rival"),
    ...gapTable("Differences", "rival", rivals.map((r) => [{ nodes: [swatch(r.style), ` ${r.label}`], value: r.label }, s, r]), "differences"),
  ];
}

function blindMasks() {
  const lines = SERIES.filter((s) => s.mask === "blind" && s.gaps.size).map((s) => [s, SERIES.find((o) => o.e === s.e && o.method === s.method && o.mask === "oracle")]).filter(([, o]) => o);
  if (!lines.length) return null;
  const named = lines.map(([s, o]) => [{ text: many ? `${s.method} · ${s.experiment.name}` : s.method }, s, o]);
  return [el("p", { class: "note" }, "Blind (the mask is estimated from the picture) minus oracle (the true mask is given)."), ...gapTable("Blind minus oracle", "method", named, "blind")];
}

function hiddenRegions() {
  const found = on().filter((s) => s.regions.size);
  if (!found.length) return null;
  const side = state.region;
  const charts = kinds().map((kind) => lineChart({
    title: `${kind}: F1 of AUs whose region is ${side}`, x: hiddenAxis(kind), y: { label: "macro-F1" },
    series: found.map((s) => ({ label: s.label, style: s.style, points: LADDER.get(kind).map((v) => [v, s.regions.get(`${v ? kind : "none"}/${v}`)?.[side] ?? null]) })),
  }));
  return [
    el("p", { class: "note" }, "Hidden: at least half of the part of the face that shows the action unit is covered. What is recognised there comes from the rest of the face."),
    el("div", { class: "controls" }, choice("Regions", [["hidden", "hidden"], ["visible", "visible"]], side, (v) => { state.region = v; draw("regions"); })),
    el("div", { class: "charts" }, ...charts),
  ];
}

function calibration() {
  const found = on().filter((s) => s.reliability.size);
  if (!found.length) return null;
  const charts = ["none", ...kinds()].flatMap((kind) => (kind === "none" ? [0] : LADDER.get(kind).filter((v) => [0.25, 0.5, 0.75].includes(v))).map((v) => [kind, v])).map(([kind, v]) => lineChart({
    title: v ? `${kind}, ${percent(v)} hidden` : "nothing hidden", diagonal: true, marks: false,
    x: { label: "probability", low: 0, high: 1 }, y: { label: "share present", low: 0, high: 1 },
    series: found.filter((s) => s.reliability.has(`${kind}/${v}`)).map((s) => ({ label: s.label, style: s.style, points: s.reliability.get(`${kind}/${v}`) })),
  }));
  return [el("p", { class: "note" }, "How often an action unit was present among faces given about that probability, all action units together; the diagonal is perfect. The calibration error per severity is a metric of the bar on top."), el("div", { class: "charts small" }, ...charts)];
}
