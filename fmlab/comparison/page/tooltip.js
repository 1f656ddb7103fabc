// One tooltip for all cells: on hover, and on focus by keyboard. Escape hides it.

const tips = new WeakMap();

function tip(element, lines) {
  tips.set(element, lines);
  return element;
}

function measured(place) {
  return place === null || place === undefined ? [] : data.measurements[place];
}

function showTip(element) {
  const lines = tips.get(element)();
  const box = document.getElementById("tip");
  if (!lines.length) return;
  const list = make("dl");
  for (const [word, value] of lines) list.append(make("dt", {}, word), make("dd", {}, String(value)));
  box.replaceChildren(list);
  box.hidden = false;
  element.setAttribute("aria-describedby", "tip");
  const at = element.getBoundingClientRect();
  const size = box.getBoundingClientRect();
  const above = at.bottom + size.height + 8 > innerHeight && at.top > size.height + 8;
  box.style.left = `${Math.max(6, Math.min(at.left, innerWidth - size.width - 6))}px`;
  box.style.top = `${Math.max(6, above ? at.top - size.height - 6 : Math.min(at.bottom + 6, innerHeight - size.height - 6))}px`;
}

function hideTip() {
  document.getElementById("tip").hidden = true;
  document.querySelectorAll("[aria-describedby=tip]").forEach((one) => one.removeAttribute("aria-describedby"));
}

function tipOf(target) {
  const cell = target instanceof Element ? target.closest("td, th, button") : null;
  return cell && (tips.has(cell) ? cell : cell.closest("td, th"));
}

function watchTips() {
  for (const [begin, end] of [["mouseover", "mouseout"], ["focusin", "focusout"]]) {
    document.addEventListener(begin, (event) => {
      const cell = tipOf(event.target);
      if (cell && tips.has(cell)) showTip(cell);
    });
    document.addEventListener(end, hideTip);
  }
  document.addEventListener("keydown", (event) => event.key === "Escape" && hideTip());
  document.addEventListener("scroll", hideTip, true);
}
