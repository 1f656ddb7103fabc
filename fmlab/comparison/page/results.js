// The table: a row a group, which opens to its runs; a body a measurement, for what is measured differently is not ranked.

const ROWS = 100;

const COSTS = [
  ["images_per_second", "images/s"],
  ["milliseconds_per_step", "ms/step"],
  ["memory_gib", "memory GiB"],
  ["gpu_memory_gib", "GPU memory GiB"],
  ["flops", "training FLOPs"],
  ["seconds", "training s"],
  ["images", "images seen"],
  ["parameters", "parameters"],
];

function columns() {
  const other = 1 - state.which;
  const short = data.metrics[state.metric][0];
  const list = [
    { key: "label", title: "group", value: (g) => data.groups[g].label },
    { key: "seeds", title: "seeds", number: true, value: (g) => stats(g)[2], cell: seedsCell },
    { key: "value", title: short, number: true, value: (g) => stats(g)[0], cell: (g) => scoreCell(g, state.which) },
    { key: "difference", title: "difference to the best [95 %]", number: true, value: differenceOf, cell: differenceCell },
    { key: "other", title: ["final", "best"][other], number: true, value: (g) => (data.groups[g].stats[state.metric] || [])[other]?.[0] ?? null, cell: (g) => scoreCell(g, other) },
  ];
  data.keys.forEach((key, place) =>
    list.push({ key, title: key.replace(/^(model|trainer)\./, ""), value: (g) => data.groups[g].flags[place] }));
  for (const [name, title] of COSTS) {
    if (data.groups.some((group) => group.runs.some((run) => run.costs[name] !== undefined))) {
      list.push({ key: name, title, number: true, value: (g) => costOf(g, name), cell: (g) => costCell(g, name) });
    }
  }
  return list;
}

function against(g) {
  const one = standings().find((standing) => standing.groups.includes(g));
  return one && one.against.length ? one.against[one.groups.indexOf(g)] : null;
}

const differenceOf = (g) => (against(g) ? against(g)[2] : null);

function spreadText([mean, deviation]) {
  return mean === null ? "–" : digits(mean) + (deviation === null ? "" : ` ± ${digits(deviation, 2)}`);
}

function scoreCell(g, which) {
  const group = data.groups[g];
  const cell = make("td", { class: "number" }, spreadText((group.stats[state.metric] || [[null, null], [null, null]])[which]));
  return tip(cell, () => {
    const runs = counted(g).filter((run) => run.scores[state.metric]);
    if (!runs.length) return [];
    const each = runs.map((run) => `${run.seed}: ${digits(run.scores[state.metric][which])}`).join("   ");
    const places = new Set(runs.map((run) => run.scores[state.metric][3]));
    const how = places.size === 1 ? measured([...places][0]) : [["measurement", "differs within the group"]];
    return [["by seed", each], ["spread", "standard deviation over seeds"], ...how];
  });
}

function seedsCell(g) {
  const runs = data.groups[g].runs;
  const cell = make("td", { class: "number" }, String(stats(g)[2]));
  const others = runs.filter((run) => !run.counts);
  if (others.length) cell.append(make("span", { class: "state" }, ` +${others.length}`));
  return tip(cell, () => others.map((run) => [run.id, run.state === "done" ? "a later run has the same seed" : `${run.state}${run.error ? `: ${run.error}` : ""}`]));
}

function differenceCell(g) {
  const cell = make("td", { class: "number" });
  const one = against(g);
  if (!one) return cell;
  const [verdict, pairs, mean, low, high, p] = one;
  if (verdict === "best") cell.append("best");
  else if (p === null) cell.append(verdict === "too few pairs" ? `too few pairs (${pairs})` : verdict);
  else {
    cell.append(`${mean > 0 ? "+" : ""}${digits(mean, 3)} [${digits(low, 3)}, ${digits(high, 3)}]`);
    cell.append(make("span", { class: `verdict ${verdict === "worse" ? "worse" : ""}` }, verdict));
  }
  const family = standings().find((standing) => standing.groups.includes(g)).family;
  return tip(cell, () => (p === null ? [["pairs", pairs], ["test", "none: it needs 5 pairs, and differences that vary with the seed"]] : [
    ["pairs", plural(pairs, "seed")], ["p (Holm)", digits(p, 3)], ["family", plural(family, "pair") + " of groups"],
    ["interval", "holds together with all others of this metric, with 95 %"]]));
}

function costCell(g, name) {
  const cell = make("td", { class: "number" }, digits(costOf(g, name), 3));
  return tip(cell, () => [["by seed", counted(g).map((run) => `${run.seed}: ${digits(run.costs[name], 4)}`).join("   ")],
    ["host", hosts(g)]].filter(([, text]) => text));
}

const hosts = (g) => (data.recorded.find(([word]) => word === "host") || [null, []])[1][g] || "";

function drawTable() {
  const list = columns();
  const head = make("tr", {}, ...list.map((column) => {
    const button = make("button", { type: "button" }, column.title + (state.sort === column.key ? (state.falling ? " ▾" : " ▴") : ""));
    button.addEventListener("click", () => sortBy(column.key));
    const sorted = state.sort === column.key ? (state.falling ? "descending" : "ascending") : "none";
    return make("th", { scope: "col", "aria-sort": sorted, class: column.number ? "number" : null }, button);
  }));
  const bodies = [];
  let left = state.all ? Infinity : ROWS;
  const parts = ordered();
  for (const part of parts) {
    const rows = part.groups.slice(0, Math.max(left, 0)).flatMap((g) => groupRows(g, list, part.one));
    left -= part.groups.length;
    if (rows.length) bodies.push(make("tbody", {}, ...apart(part, list.length), ...rows));
  }
  const table = document.getElementById("table");
  table.replaceChildren(make("thead", {}, head), ...bodies);
  const first = table.querySelector("tbody th button");
  if (first) first.tabIndex = 0;
  const total = parts.reduce((sum, part) => sum + part.groups.length, 0);
  document.getElementById("found").value = `${total} of ${plural(data.groups.length, "group")}`;
  const more = document.getElementById("all");
  more.hidden = state.all || total <= ROWS;
  more.textContent = `Show all ${total} groups`;
}

function apart(part, width) {
  const text = part.one === null ? "without a value of this metric" : part.place > 0 ? part.one.apart : "";
  return text ? [make("tr", { class: "apart" }, make("td", { colspan: width }, text))] : [];
}

function groupRows(g, list, standing) {
  const group = data.groups[g];
  const open = state.open.has(g);
  const toggle = make("button", { type: "button", tabindex: -1, "aria-expanded": String(open), title: group.label },
    make("span", { class: "swatch", style: `background:${colour(g)}`, "aria-hidden": "true" }), group.label);
  toggle.addEventListener("click", () => {
    if (!state.open.delete(g)) state.open.add(g);
    drawTable();
    document.querySelector(`tr[data-group="${g}"] button`)?.focus();
  });
  const best = standing !== null && standing.best === g && standing.groups.length > 1;
  const row = make("tr", { "data-group": g, class: best ? "best" : null }, make("th", { scope: "row" }, toggle));
  for (const column of list.slice(1)) {
    const cell = column.cell ? column.cell(g) : make("td", {}, column.value(g) ?? "–");
    cell.tabIndex = -1;
    row.append(cell);
  }
  return [row, ...(open ? group.runs.map((run) => runRow(run, list)) : [])];
}

function runRow(run, list) {
  const cells = list.slice(1).map((column) => {
    const which = column.key === "value" ? state.which : 1 - state.which;
    const score = run.scores[state.metric];
    if (column.key === "value" || column.key === "other") {
      const cell = make("td", { class: "number", tabindex: -1 }, score ? digits(score[which], 5) : "–");
      const at = score && which === 1 && score[2] !== null ? [["at step", score[2] + 1]] : [];
      return tip(cell, () => (score ? [...at, ...measured(score[3])] : []));
    }
    if (column.key === "seeds") return make("td", { class: "number", tabindex: -1 }, `seed ${run.seed}`);
    if (column.key === "difference") return make("td", { tabindex: -1, class: run.state === "done" ? null : "state" }, run.state);
    const cost = run.costs[column.key];
    return make("td", { class: column.number ? "number" : null, tabindex: -1 }, column.number ? digits(cost, 4) : "");
  });
  return make("tr", { class: "run" }, make("th", { scope: "row", tabindex: -1, title: run.folder }, run.id), ...cells);
}

function sortBy(key) {
  state.falling = state.sort === key ? !state.falling : key === "value" && better() === "more";
  state.sort = key;
  drawTable();
  drawCharts();
  document.querySelector("#table [aria-sort=ascending] button, #table [aria-sort=descending] button")?.focus();
}

// Arrow keys move between cells; the table itself is one stop of the Tab key.
function moveInTable(event) {
  const cell = event.target.closest("tbody th, tbody td");
  const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0], Home: [0, -999], End: [0, 999] }[event.key];
  if (!cell || !step) return;
  event.preventDefault();
  const rows = [...document.querySelectorAll("#table tbody tr:not(.apart)")];
  const row = rows[Math.max(0, Math.min(rows.length - 1, rows.indexOf(cell.parentElement) + step[0]))];
  const column = Math.max(0, Math.min(row.cells.length - 1, cell.cellIndex + step[1]));
  const target = row.cells[column].querySelector("button") || row.cells[column];
  document.querySelectorAll("#table tbody [tabindex='0']").forEach((one) => (one.tabIndex = -1));
  target.tabIndex = 0;
  target.focus();
  target.scrollIntoView({ block: "nearest", inline: "nearest", behavior: "instant" });
}
