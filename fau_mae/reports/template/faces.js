"use strict";
// The sections about action units and probabilities: heat maps, calibration, example faces.

function heatCell(v, scale, difference) {
  if (!known(v)) return { text: "–", value: null, class: "heat" };
  const share = difference ? Math.min(Math.abs(v) / scale.high, 1) : (v - scale.low) / (scale.high - scale.low || 1);
  const ink = difference ? (v < 0 ? "var(--less)" : "var(--more)") : "var(--heat-high)";
  const style = `--cell: color-mix(in oklab, ${ink} ${Math.round(share * 100)}%, var(--heat-low))`;
  return { text: number(v, 2), value: v, class: "heat", style };
}

function heatLegend(scale, difference) {
  const ends = difference ? [-scale.high, 0, scale.high] : [scale.low, scale.high];
  const colours = difference ? "var(--less), var(--heat-low), var(--more)" : "var(--heat-low), var(--heat-high)";
  return el("div", { class: "ramp" }, ...ends.slice(0, 1).map((v) => number(v, 2)), el("span", { style: `background: linear-gradient(to right in oklab, ${colours})` }), number(ends[ends.length - 1], 2));
}

function heatMap() {
  const h = state.heat, s = bySeries(h.series), minus = bySeries(h.minus);
  const columns = [[KINDS[0], 0, true], ...kindsAndMean().flatMap((kind) => above(kind).map((v, i) => [kind, v, i === 0]))];
  const read = (au, [kind, severity]) => {
    const own = value(s, kind, severity, state.metric, au), other = minus ? value(minus, kind, severity, state.metric, au) : 0;
    return known(own) && known(other) ? own - other : null;
  };
  const aus = AU_NAMES.filter((au) => `${au} ${DATA.aus[au] ?? ""}`.toLowerCase().includes(h.text.toLowerCase()));
  const all = AU_NAMES.flatMap((au) => columns.map((column) => read(au, column))).filter(known);
  const scale = minus ? { high: Math.max(0.05, ...all.map(Math.abs)) } : { low: Math.min(...all), high: Math.max(...all) };
  const head = [
    { text: "action unit" }, { text: "rate", title: "share of faces where it is present" },
    ...columns.map(([kind, v, start]) => ({ text: percent(v), group: v ? kindName(kind) : "clean", start })),
  ];
  const rows = aus.map((au) => {
    const rate = s.scores.values().next().value.rate[s.experiment.aus.indexOf(au)] ?? null;  // the same in every cell
    return [{ text: `${au} ${DATA.aus[au] ?? ""}`, class: "name" }, { text: number(rate, 2), value: rate }, ...columns.map((column) => heatCell(read(au, column), scale, Boolean(minus)))];
  });
  const pick = (name) => (v) => { h[name] = v; draw("aus"); };
  return [
    note(`${METRIC[state.metric].name} of each action unit by the share of the face hidden; mean over folds and seeds. Rate: how often it is present.`),
    controls(choice("Heat map of", seriesOptions(), h.series, pick("series")), choice("minus", [["", "nothing"], ...seriesOptions()], h.minus, pick("minus")), searchBox("Filter action units", h.text, pick("text")), all.length ? heatLegend(scale, Boolean(minus)) : null),
    rows.length ? sortableTable({ caption: "Action units", head, rows, sort: sortOf("heat") }) : note("No action unit matches."),
  ];
}

function calibration() {
  const found = on().filter((s) => s.reliability.size);
  const errors = kinds().map((kind) => ({
    title: `${kind}: calibration error`, x: hiddenAxis(kind), y: { label: "expected calibration error", low: 0 },
    series: on().map((s) => ({ ...s, points: LADDER.get(kind).map((v) => [v, value(s, kind, v, "ece")]) })),
  }));
  if (!kinds().includes(state.reliability)) state.reliability = kinds()[0];
  const diagrams = panels().filter(({ kind }) => kind === state.reliability).flatMap(({ kind, series, title }) => LADDER.get(kind).map((v) => lineChart({
    title: `${title}, ${percent(v)} hidden`, diagonal: true, marks: false,
    x: { label: "probability", low: 0, high: 1 }, y: { label: "share present", low: 0, high: 1 },
    series: series.map((s) => ({ ...s, points: s.reliability.get(`${v ? kind : "none"}/${v}`) ?? [] })),
  })));
  return [
    note(el("b", {}, "Calibration error"), ": mean distance between the probability said and how often the action unit was present, in bins of probability, mean over action units; lower is better, and it needs no threshold."),
    legend(on()), commonScale(errors),
    found.length ? el("h3", {}, "Reliability") : null,
    found.length ? note("How often an action unit was present among faces given about that probability, all action units, folds and seeds together. On the dotted diagonal probabilities mean what they say; below it they are too high, above it too low.") : null,
    found.length ? controls(choice("Hidden by", kinds().map((k) => [k, k]), state.reliability, (v) => { state.reliability = v; draw("calibration"); })) : null,
    found.length ? legend(found) : null,
    found.length ? el("div", { class: "charts small" }, ...diagrams) : null,
  ];
}

const FILLED = "Filled in by the autoencoder";

function examples() {
  const withFaces = DATA.experiments.map((e, i) => [String(i), e.name]).filter(([i]) => DATA.experiments[i].examples.length);
  if (!withFaces.length) return null;
  const x = state.example;
  if (!withFaces.some(([i]) => i === x.e)) x.e = withFaces[0][0];
  const e = DATA.experiments[x.e], ids = unique(e.examples.map((f) => f.id)), offered = e.kinds.filter((k) => e.examples.some((f) => f.k === k));
  if (!ids.includes(x.id)) x.id = ids[0];
  if (!offered.includes(x.kind)) x.kind = offered[0];
  const series = SERIES.filter((s) => s.experiment === e && saidBy(s, e.examples[0]));
  if (!series.length) return null;
  if (!series.some((s) => s.key === x.series)) x.series = (series.find((s) => s.method === "student") ?? series[0]).key;
  const faces = e.examples.filter((f) => f.id === x.id && (f.k === x.kind || f.s === 0)).sort((a, b) => a.s - b.s);
  const filled = faces.some((f) => f.filled);
  const pick = (name) => (v) => { x[name] = v; draw("faces"); };
  return [
    note("Under each face: ", el("span", { class: "hit" }, "✓ found"), ", ", el("span", { class: "miss" }, "✗ missed"), ", ", el("span", { class: "false" }, "+ wrongly reported"), ", with the probability; action units that are absent and not reported are left out."),
    filled ? note(el("b", {}, FILLED), ": the same face with its hidden patches painted in by the masked autoencoder, which is told the true mask. Only the method reconstruct reads this picture; all others read the occluded one.") : null,
    controls(many ? choice("Run", withFaces, x.e, pick("e")) : null, choice("Face", ids.map((id, i) => [id, `${i + 1}`]), x.id, pick("id")), choice("Hidden by", offered.map((k) => [k, k]), x.kind, pick("kind")), choice("Read by", series.map((v) => [v.key, v.label]), x.series, pick("series"))),
    el("div", { class: filled ? "faces filled" : "faces" }, ...faces.map((face) => exampleFace(face, bySeries(x.series)))),
  ];
}

// What a method said of a face. Sweeps name what was told the mask, or needs none, by the method alone.
const saidBy = (s, face) => face.p[s.id] ?? (s.mask === "blind" ? undefined : face.p[s.method]);

function exampleFace(face, s) {
  const said = saidBy(s, face) ?? {}, thresholds = record(s, face.k, face.s)?.t;
  const items = Object.entries(said).map(([au, p]) => {
    const present = face.y[au], reported = p >= (thresholds?.[s.experiment.aus.indexOf(au)] ?? 0.5);
    if (present === undefined || present < 0 || (!present && !reported)) return null;
    const [kind, sign] = present && reported ? ["hit", "✓"] : present ? ["miss", "✗"] : ["false", "+"];
    return el("li", { class: kind, title: DATA.aus[au] }, `${sign} ${au} ${number(p, 2)}`);
  });
  const caption = face.s === 0 ? "nothing hidden" : `${percent(face.s)} hidden`;
  const picture = (jpeg, text, alt) => el("figure", {}, el("img", { src: `data:image/jpeg;base64,${jpeg}`, alt: `Face ${face.id}, ${alt}` }), el("figcaption", {}, text));
  return el("div", { class: "face" },
    picture(face.jpeg, caption, caption),
    face.filled ? picture(face.filled, FILLED.toLowerCase(), `${caption}, ${FILLED.toLowerCase()}`) : null,
    el("ul", {}, ...items.filter(Boolean)));
}
