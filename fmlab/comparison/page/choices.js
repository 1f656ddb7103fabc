// What is shown: metric, value, filter, order.

const state = { metric: 0, which: 0, filter: "", sort: null, falling: false, all: false, open: new Set() };
let data = null;

const better = () => data.metrics[state.metric][1];
const standings = () => data.standings[state.metric][state.which];
const stats = (g) => (data.groups[g].stats[state.metric] || [[null, null, 0], [null, null, 0]])[state.which];
const counted = (g) => data.groups[g].runs.filter((run) => run.counts);
const scoreOf = (run) => (run.scores[state.metric] || [null, null])[state.which];

function middle(values) {
  const known = values.filter((value) => value !== null && value !== undefined);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

const costOf = (g, name) => middle(counted(g).map((run) => run.costs[name] ?? null));

// The place of the key that a word names: the whole of it, or its end.
function keyPlace(word) {
  const lower = word.toLowerCase();
  const exact = data.keys.findIndex((key) => key.toLowerCase() === lower);
  return exact >= 0 ? exact : data.keys.findIndex((key) => key.toLowerCase().endsWith(`.${lower}`));
}

function facts(g, word) {
  const group = data.groups[g];
  if (word === "state") return group.runs.map((run) => run.state);
  if (word === "seed") return group.runs.map((run) => run.seed);
  if (word === "seeds") return [String(stats(g)[2])];
  const place = keyPlace(word);
  if (place >= 0) return [group.flags[place] ?? "none"];
  const metric = data.metrics.findIndex(([name]) => name === word || name.endsWith(`/${word}`));
  if (metric >= 0) return [String((group.stats[metric] || [[null], [null]])[state.which][0] ?? "none")];
  const same = data.shared.find(([key]) => key.toLowerCase() === word || key.toLowerCase().endsWith(`.${word}`));
  return same ? [same[1]] : null;
}

const RELATIONS = {
  "=": (a, b) => (isNumber(a) && isNumber(b) ? Number(a) === Number(b) : a.toLowerCase() === b.toLowerCase()),
  "<": (a, b) => isNumber(a) && isNumber(b) && Number(a) < Number(b),
  ">": (a, b) => isNumber(a) && isNumber(b) && Number(a) > Number(b),
  "<=": (a, b) => isNumber(a) && isNumber(b) && Number(a) <= Number(b),
  ">=": (a, b) => isNumber(a) && isNumber(b) && Number(a) >= Number(b),
};
const isNumber = (text) => text !== "" && Number.isFinite(Number(text));

function passes(g) {
  return state.filter.trim().split(/\s+/).filter(Boolean).every((term) => {
    const parts = term.match(/^([^=!<>]+)(!=|<=|>=|=|<|>)(.*)$/);
    const values = parts && facts(g, parts[1].toLowerCase());
    if (!values) return haystack(g).includes(term.toLowerCase());
    if (parts[2] === "!=") return !values.some((fact) => RELATIONS["="](fact, parts[3]));
    return values.some((fact) => RELATIONS[parts[2]](fact, parts[3]));
  });
}

function haystack(g) {
  const group = data.groups[g];
  group.words ??= [group.label, ...group.flags, ...group.runs.flatMap((run) => [run.id, run.state, run.folder])]
    .join(" ").toLowerCase();
  return group.words;
}

// Groups by standing, those that pass the filter, in order; then those without a value.
function ordered() {
  const placed = new Set(standings().flatMap((one) => one.groups));
  const rest = data.groups.map((_, g) => g).filter((g) => !placed.has(g));
  const parts = standings().map((one, place) => ({ one, place, groups: inOrder(one.groups.filter(passes)) }));
  parts.push({ one: null, place: -1, groups: inOrder(rest.filter(passes)) });
  return parts.filter((part) => part.groups.length);
}

function inOrder(groups) {
  const column = columns().find((one) => one.key === state.sort);
  const value = column ? column.value : (g) => stats(g)[0];
  const falling = column ? state.falling : better() === "more";
  const keyed = groups.map((g) => [g, value(g)]);
  const known = keyed.filter(([, key]) => key !== null && key !== undefined);
  const numbers = known.every(([, key]) => isNumber(String(key)));
  known.sort(([, a], [, b]) => (numbers ? Number(a) - Number(b) : String(a).localeCompare(String(b), "en", { numeric: true })));
  if (falling) known.reverse();
  const unknown = keyed.filter(([, key]) => key === null || key === undefined);
  return [...known, ...unknown].map(([g]) => g);
}
