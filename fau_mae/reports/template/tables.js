"use strict";
// Sortable tables and form controls; knows nothing of the report's data.

// head: [{text, group?, title?, class?, start?}]; rows: [[{text | nodes, value?, class?, style?, title?}]]; foot rows stay last.
// sort: {column, down}, kept by the caller so that a redrawn table stays sorted.
function sortableTable({ caption, head, rows, foot = [], sort }) {
  const classes = (cell, i) => [cell.class, head[i]?.start && "start"].filter(Boolean).join(" ") || null;
  const row = (cells, kind) => el("tr", { class: kind }, ...cells.map((cell, i) =>
    el("td", { class: classes(cell, i), style: cell.style, title: cell.title }, ...(cell.nodes ?? [cell.text]))));
  const body = el("tbody");
  const fill = () => {
    body.replaceChildren(...sorted(rows, sort).map((cells) => row(cells)), ...foot.map((cells) => row(cells, "floor")));
    heads.forEach((th, i) => th.setAttribute("aria-sort", sort.column === i ? (sort.down ? "descending" : "ascending") : "none"));
  };
  const heads = head.map((cell, i) => {
    const onclick = () => {
      sort.down = sort.column === i ? !sort.down : typeof rows[0]?.[i]?.value === "number";
      sort.column = i;
      fill();
    };
    return el("th", { scope: "col", title: cell.title, class: classes(cell, i) }, el("button", { type: "button", onclick }, cell.text));
  });
  fill();
  const table = el("table", {}, el("thead", {}, groupRow(head), el("tr", {}, ...heads)), body);
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, table);
}

// What is undefined (null, or no value) goes last, whichever way the rest is sorted.
function sorted(rows, { column, down }) {
  if (column === null) return rows;
  const key = (row) => (row[column] && "value" in row[column] ? row[column].value : row[column]?.text ?? null);
  return rows.slice().sort((a, b) => {
    const [p, q] = [key(a), key(b)];
    if (p === null || q === null) return (p === null) - (q === null);
    const numbers = typeof p === "number" && typeof q === "number";
    const order = numbers ? p - q : String(p).localeCompare(String(q), "en", { numeric: true });
    return down ? -order : order;
  });
}

function groupRow(head) {
  const groups = [];
  for (const cell of head) {
    const last = groups[groups.length - 1];
    if (last && last.text === (cell.group ?? "")) last.span += 1;
    else groups.push({ text: cell.group ?? "", span: 1 });
  }
  if (!groups.some((group) => group.text)) return null;
  return el("tr", {}, ...groups.map((group) =>
    el("th", { colspan: group.span, class: group.text ? "group" : null }, el("span", {}, group.text))));
}

// A drop-down list; options: [[key, text], ...].
function choice(label, options, value, onchange) {
  const select = el("select", { "data-key": `choice ${label}`, onchange: (event) => onchange(event.target.value) });
  for (const [key, text] of options) select.append(el("option", { value: key, selected: key === value }, text));
  return el("label", {}, label, select);
}

function searchBox(label, value, oninput) {
  return el("input", {
    type: "search", placeholder: label, "aria-label": label, "data-key": `search ${label}`, value,
    oninput: (event) => oninput(event.target.value),
  });
}

const controls = (...items) => el("div", { class: "controls" }, ...items);
const note = (...parts) => el("p", { class: "note" }, ...parts);
