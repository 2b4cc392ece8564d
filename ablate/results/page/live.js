"use strict";
(() => { // the page of a study that runs: asks its server what is new, and keeps what the reader has chosen
const { begin, keep, restore, drawAll, at, make, draw, layout, axis, colours, text, shorten, library } = window.report;
const EVERY = 2000, COLOURS = ["#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#949494", "#56b4e9"];
let version = document.documentElement.dataset.version, held = false, waiting = null, failures = 0;
addEventListener("pointerdown", () => { held = true; });
addEventListener("pointerup", () => { held = false; });
addEventListener("pointercancel", () => { held = false; });

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store" });
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.json();
}

const ago = (seconds) => seconds === null ? "" : seconds < 90 ? `${Math.round(seconds)} s ago` : `${Math.round(seconds / 60)} min ago`;
const digits = (value) => value === null ? "" : String(Number(value.toPrecision(3)));

function table(trials) {
  const body = at("running-table").tBodies[0];
  body.replaceChildren(...trials.map((one) => {
    const row = make("tr");
    row.setAttribute("role", "row");
    const images = one.images === null ? "" : one.images.toLocaleString("en") + (one.total ? ` of ${one.total.toLocaleString("en")}` : "");
    const cells = [["candidate", one.name], ["seed", String(one.seed)], ["doing", one.doing], ["images", images], ["loss", digits(one.loss)], ["images/s", digits(one.speed)], ["last sign", ago(one.age)]];
    for (const [of, words] of cells) {
      const cell = make("td", words);
      cell.setAttribute("role", "cell");
      cell.dataset.of = of;
      row.append(cell);
    }
    return row;
  }));
  at("running-table").hidden = !trials.length;
}

async function chart(trials) {
  const drawn = trials.filter((one) => one.curve.length);
  at("running-figure").hidden = !drawn.length;
  if (!drawn.length) return;
  await library();
  const c = colours(), all = drawn.flatMap((one) => one.curve.map((point) => point[1]));
  const traces = drawn.map((one, i) => ({ x: one.curve.map((p) => p[0]), y: one.curve.map((p) => p[1]), name: text(shorten(`${one.name}, seed ${one.seed}`, 40)),
    mode: one.curve.length > 12 ? "lines" : "lines+markers", line: { color: COLOURS[i % COLOURS.length], width: 1.8 } }));
  const shape = Math.min(...all) > 0 && Math.max(...all) / Math.min(...all) > 5 ? { type: "log", dtick: "D2" } : {};
  const narrow = at("running-chart").clientWidth < 620;
  await draw("running-chart", traces, layout({ xaxis: axis("training images", { tickformat: "~s" }), yaxis: axis("training loss", shape), height: 340, showlegend: true,
    legend: narrow ? { orientation: "h", y: -0.25, yanchor: "top", font: { size: 11 } } : { font: { size: 11, color: c.ink } } }));
}

function samples(trials) {
  const box = at("running-samples"), wanted = trials.filter((one) => one.pictured !== null);
  const shown = new Map([...box.children].map((figure) => [figure.dataset.trial, figure]));
  for (const [trial, figure] of shown) if (!wanted.some((one) => one.trial === trial)) figure.remove();
  for (const one of wanted) {
    let figure = shown.get(one.trial);
    if (!figure) {
      figure = make("figure");
      figure.dataset.trial = one.trial;
      figure.append(make("figcaption"), make("img"));
      box.append(figure);
    }
    if (figure.dataset.images === String(one.pictured)) continue;
    figure.dataset.images = one.pictured;
    const words = `${one.name}, seed ${one.seed}, after ${one.pictured.toLocaleString("en")} images`;
    figure.firstChild.textContent = words;
    figure.lastChild.alt = `samples of ${words}`;
    figure.lastChild.src = `samples/${encodeURIComponent(one.trial)}.png?after=${one.pictured}`;
  }
  const rows = trials.flatMap((one) => one.points.map((point) => [one, point]));
  at("running-points").replaceChildren(...(rows.length ? [make("p", "Measured on the way: " + rows.slice(-12).map(([one, point]) =>
    `${shorten(one.name, 40)} (seed ${one.seed}) after ${point[0].toLocaleString("en")} images: ${point[1]} ${digits(point[2])}`).join("; ") + ".", "small")] : []));
}

function place() { // the section at the top of the window, so that it stays there
  const seen = [...document.querySelectorAll("#header, #running, main section")].filter((one) => one.getBoundingClientRect().bottom > 0)[0];
  return seen ? [seen.id, seen.getBoundingClientRect().top] : null;
}

async function renew() { // a newer page in the place of this one
  if (held || !document.getSelection().isCollapsed) return; // the reader drags, or has marked words: later
  const newer = await ask("content");
  if (newer.version === version) return;
  const kept = keep(), top = place(), charts = new Map([...document.querySelectorAll("#results .chart, #probe-charts")].filter((one) => one.id).map((one) => [one.id, one]));
  at("header").innerHTML = newer.header; // made by the same template as this page: names are escaped in it
  const box = make("div");
  box.innerHTML = newer.main;
  for (const [id, chart] of charts) if (!chart.closest("#probe-charts") || id === "probe-charts") box.querySelector("#" + id)?.replaceWith(chart); // zoom and all stay
  at("results").replaceChildren(...box.childNodes);
  at("data").textContent = newer.data;
  begin();
  restore(kept);
  version = newer.version;
  document.documentElement.dataset.version = version;
  const back = () => { const section = top && at(top[0]); if (section) scrollBy(0, section.getBoundingClientRect().top - top[1]); };
  back();
  await drawAll();
  restoreCharts();
  back();
}
function restoreCharts() { for (const chart of document.querySelectorAll("#results .chart")) if (chart._fullLayout && window.Plotly) window.Plotly.Plots.resize(chart); }

async function look() {
  try {
    const state = await ask("state");
    failures = 0;
    const words = Object.entries(state.states).map(([name, n]) => `${n} ${name}`).join(", ") || "no trial yet";
    at("live-state").textContent = `${state.doing}; trials${state.planned === null ? "" : ` of ${state.planned}`}: ${words}.${state.note ? " " + state.note : ""}`;
    at("live").classList.remove("lost");
    table(state.trials);
    samples(state.trials);
    await chart(state.trials);
    if (state.version !== version) await renew();
  } catch (error) {
    failures += 1;
    if (failures > 1) { at("live-state").textContent = "The server does not answer: `ablate watch` has ended, and this page stays as it is."; at("live").classList.add("lost"); }
  }
  document.documentElement.dataset.looked = String(Number(document.documentElement.dataset.looked ?? 0) + 1);
  waiting = setTimeout(look, document.hidden ? 5 * EVERY : EVERY);
}
document.addEventListener("visibilitychange", () => { if (!document.hidden) { clearTimeout(waiting); look(); } });
look();
})();
