// Begins: unpacks, fills the choices, draws, and draws again at every choice.

const METHOD = "Runs that differ in nothing but their seed are a group; a value is its mean ± standard deviation over seeds. "
  + "Groups are paired by seed and compared by two-sided paired t-tests, all pairs of groups of one measurement at once, since the best "
  + "is chosen by the same numbers it is then compared by. A group is “worse” where Holm's step-down p-value over this family is below 0.05. "
  + "The intervals are at the level of Holm's first step, so that all of them hold together with 95 %; at the border Holm's test may see "
  + "what its interval still includes. With fewer than five pairs nothing is tested. Only finished runs count, and the last of several with "
  + "one seed. A filter hides groups; it changes no result.";

function drawAnswer() {
  const target = document.getElementById("answer");
  const list = standings();
  if (!list.length) {
    target.replaceChildren(make("p", {}, "No finished run has a value of this metric."));
    return;
  }
  const shown = list.slice(0, 5).flatMap((one, place) => [
    make("p", { class: one.winner ? "claim" : null }, one.sentence),
    ...(place ? [make("p", { class: "note" }, one.apart)] : []),
  ]);
  if (list.length > 5) shown.push(make("p", { class: "note" }, `And ${list.length - 5} more measurements, none ranked with another.`));
  target.replaceChildren(...shown);
}

let waiting = 0;

function drawAll() {
  drawAnswer();
  drawTable();
  drawConfigs();
  drawSamples();
  clearTimeout(waiting);
  waiting = setTimeout(drawCharts, 0);
}

function fillChoices() {
  const select = document.getElementById("metric");
  select.append(...data.metrics.map(([name], place) => make("option", { value: place }, name)));
  state.metric = data.metric ?? 0;
  select.value = state.metric;
  select.addEventListener("change", () => {
    state.metric = Number(select.value);
    if (state.sort === "value") state.sort = null;
    drawAll();
  });
  for (const radio of document.getElementsByName("which")) {
    radio.addEventListener("change", () => {
      state.which = Number(radio.value);
      drawAll();
    });
  }
  let typing = 0;
  const filter = document.getElementById("filter");
  filter.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => {
      state.filter = filter.value;
      drawAll();
    }, 120);
  });
  document.getElementById("choices").addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("all").addEventListener("click", () => {
    state.all = true;
    drawTable();
  });
  document.getElementById("table").addEventListener("keydown", moveInTable);
}

async function start() {
  if (!("DecompressionStream" in window)) {
    document.getElementById("answer").textContent = "This browser is too old to unpack the page: Chrome 80, Firefox 113 or Safari 16.4 can.";
    return;
  }
  data = JSON.parse(await unpack("data"));
  const runs = data.groups.flatMap((group) => group.runs);
  const unfinished = runs.filter((run) => run.state !== "done").length;
  document.getElementById("about").textContent = `${plural(runs.length, "run")} in ${plural(data.groups.length, "group")}`
    + `${unfinished ? `, ${unfinished} not finished` : ""}; written ${data.made} by fmlab ${data.version}.`;
  document.getElementById("method").textContent = METHOD;
  if (!data.metrics.length) {
    document.getElementById("answer").textContent = "These runs have no metrics yet.";
    return;
  }
  fillChoices();
  ordered().flatMap((part) => part.groups).forEach((g, place) => looks.set(g, place));
  watchTips();
  drawAnswer();
  drawTable();
  drawConfigs();
  drawSamples();
  document.body.dataset.table = Math.round(performance.now());
  await loadPlotly();
  seedsPanel();
  curvesPanel();
  nfePanel();
  costPanel();
  drawCharts();
  dark.addEventListener("change", drawAll);
  document.body.dataset.ready = Math.round(performance.now());
}

start();
