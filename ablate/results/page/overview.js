"use strict";
(() => { // several studies side by side: a card each, made anew every two seconds
const EVERY = 2000, COLOURS = ["#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#949494", "#56b4e9"];
const at = (id) => document.getElementById(id);
const make = (tag, words, className) => {
  const node = document.createElement(tag);
  if (words !== undefined) node.textContent = words;
  if (className) node.className = className;
  return node;
};
const drawing = (tag, attributes) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
};

function curves(trials) { // the losses of the trials at work, without axes: their courses
  const drawn = trials.filter((one) => one.curve.length > 1);
  if (!drawn.length) return [];
  const all = drawn.flatMap((one) => one.curve), xs = all.map((p) => p[0]), ys = all.map((p) => p[1]);
  const log = Math.min(...ys) > 0 ? Math.log : (v) => v;
  const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), log(Math.min(...ys)), log(Math.max(...ys))];
  const svg = drawing("svg", { viewBox: "0 0 300 80", class: "spark", role: "img", "aria-label": `training loss of ${drawn.length} trials at work` });
  drawn.forEach((one, i) => svg.append(drawing("polyline", { fill: "none", stroke: COLOURS[i % COLOURS.length], "stroke-width": "1.6",
    points: one.curve.map(([x, y]) => `${(300 * (x - x0)) / (x1 - x0 || 1)},${76 - (72 * (log(y) - y0)) / (y1 - y0 || 1)}`).join(" ") })));
  const names = make("p", undefined, "small");
  drawn.forEach((one, i) => { const name = make("span", `${i ? ", " : "Training loss: "}`); const mark = make("span", "● "); mark.style.color = COLOURS[i % COLOURS.length]; mark.setAttribute("aria-hidden", "true"); names.append(name, mark, `${one.name} (seed ${one.seed})`); });
  return [svg, names];
}

function card(one, i) {
  const box = make("article");
  const head = make("h2"), link = make("a", one.name);
  link.href = `${i}/`;
  head.append(link);
  box.append(head);
  if (one.question) box.append(make("p", one.question, "question"));
  const words = Object.entries(one.states).map(([name, n]) => `${n} ${name}`).join(", ") || "no trial yet";
  box.append(make("p", `${one.doing}; trials${one.planned === null ? "" : ` of ${one.planned}`}: ${words}.`));
  if (one.planned) {
    const bar = make("progress");
    bar.max = one.planned;
    bar.value = one.done;
    bar.setAttribute("aria-label", `${one.done} of ${one.planned} trials have ended`);
    box.append(bar);
  }
  if (one.verdict) box.append(make("p", one.verdict, "verdict small"));
  if (one.best && one.best.length) {
    const table = make("table");
    const row = table.createTHead().insertRow();
    for (const words of ["candidate", one.quality]) { const cell = make("th", words); cell.scope = "col"; row.append(cell); }
    const body = table.createTBody();
    for (const [name, value, front] of one.best) {
      const line = body.insertRow();
      if (front) line.className = "front";
      line.append(make("td", (front ? "● " : "") + name), make("td", value));
    }
    box.append(table);
  }
  for (const trial of one.trials) {
    const images = trial.images === null ? "" : `, ${trial.images.toLocaleString("en")}${trial.total ? ` of ${trial.total.toLocaleString("en")}` : ""} images`;
    box.append(make("p", `${trial.name}, seed ${trial.seed}: ${trial.doing}${images}`, "small"));
    if (trial.pictured !== null) {
      const image = make("img");
      image.src = `${i}/samples/${encodeURIComponent(trial.trial)}.png?after=${trial.pictured}`;
      image.alt = `samples of ${trial.name}, seed ${trial.seed}, after ${trial.pictured} images`;
      box.append(image);
    }
  }
  box.append(...curves(one.trials));
  return box;
}

let shown = "", failures = 0;
async function look() {
  try {
    const answer = await fetch("cards", { cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const cards = await answer.json(), now = JSON.stringify(cards);
    failures = 0;
    at("live").textContent = `${cards.length} studies, ${cards.filter((one) => one.doing === "At work").length} at work.`;
    if (now !== shown && document.getSelection().isCollapsed) {
      const focused = document.activeElement?.getAttribute?.("href");
      at("cards").replaceChildren(...cards.map(card));
      if (focused) document.querySelector(`#cards a[href="${focused}"]`)?.focus({ preventScroll: true });
      shown = now;
    }
  } catch {
    if (++failures > 1) at("live").textContent = "The server does not answer: `ablate watch` has ended, and this page stays as it is.";
  }
  document.documentElement.dataset.drawn = "true";
  setTimeout(look, document.hidden ? 5 * EVERY : EVERY);
}
look();
})();
