// Charts of the groups that pass the filter, in the table's order; drawn by Plotly.

const SHOWN = 24;
const LIGHT = ["#0072b2", "#d55e00", "#009e73", "#b0478a", "#8a6d00", "#4f81c7", "#7a3e00", "#555f6b"];
const DARK = ["#56b4e9", "#ff9a4d", "#3ddba8", "#e58ac4", "#f0d04c", "#9db8ff", "#d39b6a", "#b6c0cb"];
const DASHES = ["solid", "dash", "dot", "dashdot"];
const SYMBOLS = ["circle", "square", "triangle-up", "cross", "diamond"];
const dark = matchMedia("(prefers-color-scheme: dark)");
const panels = {};

// Looks follow the order in which the page opens, so that the first eight groups have a colour each, and keep it.
const looks = new Map();
const look = (g) => looks.get(g) ?? g;
const colour = (g) => (dark.matches ? DARK : LIGHT)[look(g) % LIGHT.length];
const dash = (g) => DASHES[Math.floor(look(g) / LIGHT.length) % DASHES.length];
const symbol = (g) => SYMBOLS[Math.floor(look(g) / LIGHT.length) % SYMBOLS.length];
const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const cut = (text, most = 44) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
// Plotly reads a few tags in its texts; a name is none.
const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const named = (g) => plain(cut(data.groups[g].label));

// The groups that charts show: of one measurement, those that come first.
function drawn() {
  const parts = ordered().filter((part) => part.one !== null);
  const groups = parts.length ? parts[0].groups : [];
  const notes = [];
  if (groups.length > SHOWN) notes.push(`The first ${SHOWN} of ${groups.length} groups in the table's order; sort or filter to see others.`);
  const others = parts.slice(1).reduce((sum, part) => sum + part.groups.length, 0);
  if (others) notes.push(`${plural(others, "group")} measured differently: not in this chart. A filter brings them in.`);
  return { groups: groups.slice(0, SHOWN), note: notes.join(" ") };
}

function axis(title, more = {}) {
  return { title: { text: plain(title), standoff: 8 }, gridcolor: variable("--grid"), zerolinecolor: variable("--grid"), linecolor: variable("--line"), automargin: true, exponentformat: "power", ...more };
}

function layout(x, y, more = {}) {
  const narrow = innerWidth < 640;
  return {
    xaxis: x, yaxis: y, autosize: true, height: narrow ? 380 : 430, margin: { l: 56, r: 12, t: 12, b: more.showlegend === false ? 48 : 100 },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest",
    font: { color: variable("--ink"), size: narrow ? 11 : 12.5, family: "system-ui, sans-serif" },
    hoverlabel: { align: "left", bgcolor: variable("--panel"), font: { color: variable("--ink") }, namelength: -1 },
    legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", font: { size: narrow ? 10 : 12 } }, ...more,
  };
}

// A chart: its choices, buttons for those without a mouse, the figure, and a note.
function panel(id, about, choices, draw) {
  const note = make("p", { class: "note" });
  const plot = make("div", { tabindex: 0, role: "group", "aria-roledescription": "chart", "aria-label": about });
  const zoom = make("span", { class: "zoom", role: "group", "aria-label": `Zoom: ${about}` });
  for (const [text, name, action] of [["+", "Zoom in", () => scaleAxes(plot, 0.7)], ["−", "Zoom out", () => scaleAxes(plot, 1 / 0.7)], ["Reset", "Whole chart", () => resetAxes(plot)], ["PNG", "Save as a picture", () => Plotly.downloadImage(plot, { format: "png", filename: id, scale: 2 })]]) {
    const button = make("button", { type: "button", "aria-label": name }, text);
    button.addEventListener("click", action);
    zoom.append(button);
  }
  const controls = make("div", { class: "controls" }, ...choices, zoom);
  document.getElementById(id).append(controls, make("figure", {}, plot), note);
  plot.addEventListener("keydown", (event) => steer(event, plot));
  const own = { plot, redraw: () => redraw(own, draw, note) };
  choices.forEach((choice) => choice.addEventListener("change", own.redraw));
  panels[id] = own;
}

function redraw(own, draw, note) {
  const { traces, frame, text } = draw();
  note.textContent = text;
  own.plot.parentElement.hidden = !traces.length;
  if (traces.length) Plotly.react(own.plot, traces, frame, { responsive: true, displayModeBar: false });
}

const drawCharts = () => Object.values(panels).forEach((one) => one.redraw());

function changeAxes(plot, change) {
  const update = {};
  for (const name of ["xaxis", "yaxis"]) {
    const [from, to] = plot._fullLayout[name].range.map(Number);
    const [start, end] = change(name, from, to);
    Object.assign(update, { [`${name}.range[0]`]: start, [`${name}.range[1]`]: end });
  }
  Plotly.relayout(plot, update);
}

const scaleAxes = (plot, factor) => changeAxes(plot, (_, a, b) => [(a + b) / 2 - ((b - a) / 2) * factor, (a + b) / 2 + ((b - a) / 2) * factor]);
const resetAxes = (plot) => Plotly.relayout(plot, { "xaxis.autorange": true, "yaxis.autorange": plot._fullLayout.yaxis.type === "category" ? "reversed" : true });

function steer(event, plot) {
  if (event.target !== plot || !plot._fullLayout) return;
  const by = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
  if (by) changeAxes(plot, (name, a, b) => [a, b].map((end) => end + (b - a) * by[name === "xaxis" ? 0 : 1]));
  else if (event.key === "+" || event.key === "=") scaleAxes(plot, 0.7);
  else if (event.key === "-") scaleAxes(plot, 1 / 0.7);
  else if (event.key === "0") resetAxes(plot);
  else return;
  event.preventDefault();
}

function choose(text, options, value) {
  const select = make("select", {}, ...options.map(([key, title]) => make("option", { value: key }, title)));
  if (value !== undefined) select.value = value;
  const label = make("label", {}, text, select);
  label.read = () => select.value;
  return label;
}

function check(text, on = false) {
  const box = make("input", { type: "checkbox" });
  box.checked = on;
  const label = make("label", {}, box, text);
  label.read = () => box.checked;
  return label;
}

const kind = (box) => (box.read() ? "log" : "linear");

function hover(run, lines) {
  const how = run.scores[state.metric] ? measured(run.scores[state.metric][3]).filter(([word]) => /^(samples|reference\.data|features\.name|setting)/.test(word)) : [];
  return [...lines, ...how.map(([word, value]) => `${word} ${value}`)].map((line) => plain(cut(line, 90))).join("<br>");
}

function seedsPanel() {
  const log = check("logarithmic");
  panel("seeds", "Every seed of every group, with mean and standard deviation", [log], () => {
    const { groups, note } = drawn();
    const name = data.metrics[state.metric][0];
    // Two long labels may be cut to the same text, and one text is one place on the axis.
    const place = (g) => `${named(g)}${"\u200b".repeat(groups.indexOf(g))}`;
    const points = groups.flatMap((g) => counted(g).map((run) => [g, run]));
    const traces = groups.length ? [
      { type: "scatter", mode: "markers", name: "seeds", x: points.map(([, run]) => scoreOf(run)), y: points.map(([g]) => place(g)), text: points.map(([, run]) => hover(run, [`seed ${run.seed}: ${digits(scoreOf(run), 5)}`])), hovertemplate: "%{text}<extra></extra>", marker: { size: 8, opacity: 0.55, color: points.map(([g]) => colour(g)) } },
      { type: "scatter", mode: "markers", name: "mean ± standard deviation", x: groups.map((g) => stats(g)[0]), y: groups.map(place), error_x: { array: groups.map((g) => stats(g)[1] ?? 0), color: variable("--ink"), thickness: 1.4 }, hovertemplate: "mean %{x:.5g}<extra></extra>", marker: { symbol: "line-ns-open", size: 15, line: { width: 2.5, color: variable("--ink") }, color: variable("--ink") } },
    ] : [];
    const height = 110 + 30 * Math.max(groups.length, 2);
    return { traces, text: note, frame: layout(axis(`${name} (${["final", "best"][state.which]})`, { type: kind(log) }), axis("", { type: "category", autorange: "reversed", title: undefined }), { height, showlegend: false, margin: { l: 12, r: 12, t: 8, b: 44 } }) };
  });
}

const ALONG = [["steps", "optimizer steps"], ["images", "images seen"], ["flops", "training FLOPs"], ["seconds", "training time, s"]];

function curvesPanel() {
  const followed = Object.keys(data.curves.of).map(Number);
  const metric = choose("Curve", [["", "the metric above"], ...followed.map((m) => [m, data.metrics[m][0]])]);
  const along = choose("over", ALONG.filter(([name]) => data.groups.some((group) => group.runs.some((run) => run.costs[name] !== undefined))));
  const every = check("every seed");
  const logs = [check("log x"), check("log y")];
  panel("curves", "Learning curves, the mean of each group's seeds", [metric, along, every, ...logs], () => {
    const chosen = metric.read() === "" ? state.metric : Number(metric.read());
    const curves = data.curves.of[chosen] || [];
    const { groups, note } = drawn();
    const traces = groups.flatMap((g) => groupCurves(g, curves.filter(([of]) => of === g), along.read(), every.read()));
    const thin = data.curves.thinned ? ` Curves are thinned to ${data.curves.thinned} points.` : "";
    const none = traces.length ? "" : "This metric was not followed over training; choose another curve.";
    const title = ALONG.find(([name]) => name === along.read())[1];
    return { traces, text: `${none}${note}${thin}`, frame: layout(axis(title, { type: kind(logs[0]) }), axis(data.metrics[chosen][0], { type: kind(logs[1]) }), { showlegend: groups.length <= 12 }) };
  });
}

function groupCurves(g, curves, along, every) {
  const runs = curves.map(([, place, steps, values]) => ({ run: data.groups[g].runs[place], steps: data.curves.steps[steps], values }));
  const scale = (run) => (run.costs[along] === undefined || !run.costs.steps ? null : run.costs[along] / run.costs.steps);
  const line = { color: colour(g), dash: dash(g) };
  const traces = [];
  if (every) {
    for (const { run, steps, values } of runs.filter((one) => scale(one.run) !== null)) {
      traces.push({ type: "scatter", mode: "lines", x: steps.map((step) => (step + 1) * scale(run)), y: values, name: named(g), legendgroup: g, showlegend: false, opacity: 0.45, line: { ...line, width: 1, dash: run.counts ? dash(g) : "dot" }, hovertemplate: `${plain(cut(run.id))}, seed ${plain(run.seed)}: %{y:.5g}<extra></extra>` });
    }
  }
  const counting = runs.filter((one) => one.run.counts && scale(one.run) !== null);
  const sums = new Map();
  for (const { steps, values } of counting) {
    steps.forEach((step, place) => {
      const sum = sums.get(step) || [0, 0];
      if (values[place] !== null) sums.set(step, [sum[0] + values[place], sum[1] + 1]);
    });
  }
  const steps = [...sums.keys()].filter((step) => sums.get(step)[1] === counting.length).sort((a, b) => a - b);
  if (steps.length) {
    const factor = middle(counting.map((one) => scale(one.run)));
    traces.push({ type: "scatter", mode: steps.length < 40 ? "lines+markers" : "lines", x: steps.map((step) => (step + 1) * factor), y: steps.map((step) => sums.get(step)[0] / sums.get(step)[1]), name: named(g), legendgroup: g, line: { ...line, width: 2 }, marker: { size: 6, symbol: symbol(g) }, hovertemplate: `${named(g)}: %{y:.5g}<extra>${plural(counting.length, "seed")}</extra>` });
  }
  return traces;
}

function nfePanel() {
  const names = [...new Set(data.evaluations.map((one) => one[2]))];
  const target = document.getElementById("nfe");
  if (!names.length) {
    target.append(make("p", { class: "note" }, "None of these runs was evaluated yet: fmlab evaluate RUN --steps 5,10,20 measures one over network forwards (NFE)."));
    return;
  }
  const measures = [...new Set(data.evaluations.map((one) => one[6]))];
  const metric = choose("Metric", names.map((name) => [name, name]));
  const how = choose("Measured as", measures.map((place, number) => [place, `${number + 1}: ${brief(place)}`]));
  how.hidden = measures.length < 2;
  const log = check("log y");
  panel("nfe", "Quality against network forwards an image", [metric, how, log], () => {
    const fitting = data.evaluations.filter((one) => one[2] === metric.read() && one[4] !== null);
    const own = [...new Set(fitting.map((one) => one[6]))];
    how.hidden = own.length < 2;
    const place = own.includes(Number(how.read())) ? Number(how.read()) : own[0];
    const groups = ordered().flatMap((part) => part.groups).slice(0, SHOWN);
    const lines = new Map();
    for (const [g, , , nfe, value, line, measure] of fitting) {
      if (measure !== place || !groups.includes(g)) continue;
      const points = lines.get(`${g} ${line}`) || { g, line, at: new Map() };
      points.at.set(nfe, [...(points.at.get(nfe) || []), value]);
      lines.set(`${g} ${line}`, points);
    }
    const kinds = [...new Set([...lines.values()].map((one) => one.line))];
    const traces = [...lines.values()].map(({ g, line, at }) => {
      const x = [...at.keys()].sort((a, b) => a - b);
      const deviation = (values) => (values.length < 2 ? 0 : Math.sqrt(values.reduce((sum, one) => sum + (one - middle(values)) ** 2, 0) / (values.length - 1)));
      return { type: "scatter", mode: "lines+markers", x, y: x.map((nfe) => middle(at.get(nfe))), error_y: { array: x.map((nfe) => deviation(at.get(nfe))), thickness: 1 }, name: kinds.length > 1 ? `${named(g)}; ${plain(cut(differingWords(line, kinds), 60))}` : named(g), line: { color: colour(g), dash: DASHES[kinds.indexOf(line) % DASHES.length] }, marker: { symbol: SYMBOLS[kinds.indexOf(line) % SYMBOLS.length], size: 7 }, hovertemplate: "NFE %{x}: %{y:.5g}<extra>%{fullData.name}</extra>" };
    });
    return { traces, text: `${measured(place ?? measures[0]).map(([word, value]) => `${word}: ${value}`).join("; ")}. Bars: standard deviation over seeds.`, frame: layout(axis("network forwards an image (NFE)", { type: "log", ...ticks(traces.flatMap((trace) => trace.x)) }), axis(metric.read(), { type: kind(log) }), { showlegend: traces.length <= 16 }) };
  });
}

// A tick at each value, but not where two would overlap.
function ticks(values) {
  const marks = [];
  for (const value of [...new Set(values)].sort((a, b) => a - b)) {
    if (!marks.length || value >= 1.2 * marks[marks.length - 1]) marks.push(value);
  }
  return { tickmode: "array", tickvals: marks, ticktext: marks.map((value) => digits(value, 3)) };
}

// Of the words that describe a line, those that are not in all lines.
const differingWords = (line, lines) => line.split(", ").filter((word) => !lines.every((one) => one.split(", ").includes(word))).join(", ");
const brief = (place) => measured(place).filter(([word]) => /^(samples|reference\.data|features\.name)/.test(word)).map(([, value]) => value).join(", ");

function costPanel() {
  const known = COSTS.filter(([name]) => data.groups.some((group) => group.runs.some((run) => run.costs[name] !== undefined)));
  const numeric = data.keys.map((key, place) => [`flag ${place}`, key]).filter(([, key]) => data.groups.every((group) => group.flags[data.keys.indexOf(key)] === null || isNumber(group.flags[data.keys.indexOf(key)])));
  const others = data.metrics.map(([name], place) => [`metric ${place}`, name]);
  const options = [...[...known].sort(([a], [b]) => (b === "flops") - (a === "flops")), ...numeric, ...others];
  if (!options.length) return;
  const along = choose("Against", options);
  const logs = [check("log x"), check("log y")];
  const read = (g, run, name) => {
    const [word, place] = name.split(" ");
    if (word === "flag") return data.groups[g].flags[place] === null ? null : Number(data.groups[g].flags[place]);
    if (word === "metric") return (run.scores[place] || [null, null])[state.which];
    return run.costs[name] ?? null;
  };
  panel("cost", "Quality against what training cost, a point a run", [along, ...logs], () => {
    const { groups, note } = drawn();
    const traces = groups.map((g) => {
      const runs = counted(g);
      return { type: "scatter", mode: "markers", name: named(g), x: runs.map((run) => read(g, run, along.read())), y: runs.map(scoreOf), text: runs.map((run) => hover(run, [`${data.groups[g].label}, seed ${run.seed}`])), hovertemplate: "%{text}<br>%{x:.4g}: %{y:.5g}<extra></extra>", marker: { color: colour(g), symbol: symbol(g), size: 9, opacity: 0.8 } };
    });
    // Where all cost the same, an axis of its own choosing would count the last digits.
    const costs = [...new Set(traces.flatMap((trace) => trace.x).filter((x) => x !== null))];
    const same = costs.length === 1 && costs[0] > 0 ? { range: [0.9, 1.1].map((factor) => (logs[0].read() ? Math.log10(factor * costs[0]) : factor * costs[0])), nticks: 3 } : {};
    const flops = along.read() === "flops" ? "Training FLOPs: three forwards an image, a multiply-add counted as two. " : "";
    return { traces, text: flops + note, frame: layout(axis(options.find(([name]) => name === along.read())[1], { type: kind(logs[0]), ...same }), axis(`${data.metrics[state.metric][0]} (${["final", "best"][state.which]})`, { type: kind(logs[1]) }), { showlegend: groups.length <= 12 }) };
  });
}
