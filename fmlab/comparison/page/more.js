// Sample grids and configurations of the groups that pass the filter.

const GRIDS = 36;
const SIDE_BY_SIDE = 12;

function drawSamples() {
  const target = document.getElementById("samples");
  const order = ordered().flatMap((part) => part.groups);
  const shown = data.pictures.filter((picture) => order.includes(picture.group));
  if (!shown.length) {
    target.replaceChildren(make("p", { class: "note" }, "These runs have no sample grids."));
    return;
  }
  const blocks = [];
  for (const drawn of new Set(shown.map((picture) => picture.drawn))) {
    const same = shown.filter((picture) => picture.drawn === drawn);
    const groups = order.filter((g) => same.some((picture) => picture.group === g));
    const figures = groups.slice(0, GRIDS).map((g) => gridsOf(g, same.filter((picture) => picture.group === g)));
    const left = groups.length > GRIDS ? ` The first ${GRIDS} of ${groups.length} groups.` : "";
    blocks.push(make("h3", {}, `Same seeds and labels: ${drawn}.${left}`), make("div", { class: "grids" }, ...figures));
  }
  const missing = order.length - new Set(shown.map((picture) => picture.group)).size;
  if (missing > 0) blocks.push(make("p", { class: "note" }, `${plural(missing, "group")} without a picture in this page, which holds at most ${data.pictures.length}.`));
  target.replaceChildren(...blocks);
}

function gridsOf(g, pictures) {
  const group = data.groups[g];
  const row = pictures.map((picture) => {
    const run = group.runs[picture.member];
    const about = `Samples of ${group.label}, seed ${run.seed}, step ${picture.step}`;
    const size = Math.max(1, Math.round(140 / Math.max(picture.width, picture.height)));
    const image = make("img", { src: picture.source, alt: about, width: picture.width * size, height: picture.height * size, loading: "lazy" });
    const button = make("button", { type: "button" }, image);
    button.addEventListener("click", () => enlarge(picture, about));
    const unfinished = run.counts ? "" : `, ${run.state}`;
    return make("div", {}, button, make("span", {}, `seed ${run.seed}, step ${picture.step}${unfinished}`), make("span", {}, picture.solver));
  });
  return make("figure", {}, make("figcaption", {}, make("span", { class: "swatch", style: `background:${colour(g)}`, "aria-hidden": "true" }), group.label), make("div", { class: "row" }, ...row));
}

function enlarge(picture, about) {
  const dialog = document.getElementById("large");
  dialog.querySelector("div").replaceChildren(make("p", {}, about), make("img", { src: picture.source, alt: about }));
  dialog.showModal();
}

function drawConfigs() {
  const order = ordered().flatMap((part) => part.groups);
  const shown = order.slice(0, SIDE_BY_SIDE);
  const rows = [...data.keys.map((key, place) => [key, shown.map((g) => data.groups[g].flags[place] ?? "–")]),
    ...data.recorded.map(([word, values]) => [`(${word})`, shown.map((g) => values[g])])];
  const head = make("tr", {}, make("th", { scope: "col" }, "key"), ...shown.map((g) => make("th", { scope: "col", title: data.groups[g].label }, cut(data.groups[g].label, 30))));
  const body = rows.map(([key, values]) => make("tr", {}, make("th", { scope: "row" }, key), ...values.map((value) => make("td", {}, value))));
  const table = make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
  const same = make("table", { class: "same" }, make("tbody", {}, ...data.shared.map(([key, value]) => make("tr", {}, make("th", { scope: "row" }, key), make("td", {}, value)))));
  const left = order.length > shown.length ? `The first ${shown.length} of ${order.length} groups in the table's order. ` : "";
  const scroll = { class: "scroll few", tabindex: 0, role: "region" };
  document.getElementById("configs").replaceChildren(
    make("p", { class: "note" }, rows.length ? left : "Nothing differs but the seed."),
    ...(rows.length ? [make("div", { ...scroll, "aria-label": "What differs" }, table)] : []),
    make("details", {}, make("summary", {}, `What all of them share: ${plural(data.shared.length, "key")}`), make("div", { ...scroll, "aria-label": "What is shared" }, same)));
}
