"use strict";
(() => {
let data, byHash; // what is drawn; a page that is served gets more of it as the study goes on
const at = (id) => document.getElementById(id);
const MARKS = ["circle", "square", "diamond", "triangle-up", "triangle-down", "hexagon", "triangle-left", "triangle-right", "pentagon", "x"];
const DASHES = ["solid", "dash", "dot", "dashdot"];
const pinned = [];
let light = false; // while it is printed

// Plotly takes what it is given for markup, and keeps only these three signs from it.
const text = (words) => String(words).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const make = (tag, words, className) => {
  const node = document.createElement(tag);
  if (words !== undefined) node.textContent = words;
  if (className) node.className = className;
  return node;
};
const shorten = (words, most) => words.length <= most ? words : words.slice(0, most / 2) + "…" + words.slice(-most / 2 + 1);
const digits = (value) => {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  for (const [unit, sign] of [[1e12, " T"], [1e9, " G"], [1e6, " M"]]) if (size >= unit) return Number((value / unit).toPrecision(3)) + sign;
  if (value && size < 1e-4) return value.toExponential(2);
  return (Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)))).replace("-", "−");
};
const percent = (share) => share >= 0.995 ? "> 99 %" : share <= 0.005 ? "< 1 %" : Math.round(100 * share) + " %";
const interval = (one) => digits(one[0]) + (one[1] === null ? "" : ` (${digits(one[1])} to ${digits(one[2])})`);

function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue("--" + name).trim();
  return light ? { ink: "#1f2328", quiet: "#57606a", line: "#d0d7de", faint: "#eaeef2", paper: "#ffffff", mark: "#0173b2", dark: false } :
    { ink: of("ink"), quiet: of("quiet"), line: of("line"), faint: of("faint"), paper: of("paper"), mark: of("mark"),
      dark: matchMedia("screen and (prefers-color-scheme: dark)").matches };
}

function inLines(words, most) {
  // Words in lines of at most so many signs: a title is never cut. Long names break behind their underscores and slashes.
  const rows = [""];
  for (const part of shorten(words, 90).match(/[^ _/]*[ _/]+|[^ _/]+/g) ?? []) {
    if (rows[rows.length - 1].length + part.trimEnd().length > most) rows.push("");
    rows[rows.length - 1] += part;
  }
  return rows.filter((row) => row.trim()).map((row) => text(row.trim())).join("<br>");
}

function axis(title, more, most = innerWidth < 620 ? 34 : 80) {
  const c = colours();
  return Object.assign({ title: { text: inLines(title, most), font: { color: c.ink } }, color: c.quiet, gridcolor: c.faint, linecolor: c.line,
    zerolinecolor: c.line, automargin: true, tickformat: "~g" }, more);
}

function layout(more) {
  const c = colours();
  return Object.assign({ paper_bgcolor: c.paper, plot_bgcolor: c.paper, font: { family: "system-ui, sans-serif", size: 13, color: c.ink },
    uirevision: "kept", margin: { l: 60, r: 20, t: 20, b: 50 }, showlegend: false, hoverlabel: { bgcolor: c.paper, bordercolor: c.quiet, font: { color: c.ink }, align: "left" } }, more);
}

const drawings = [];
async function draw(id, traces, shape) {
  const chart = at(id);
  await Plotly.react(chart, traces, shape, { displayModeBar: false, responsive: true });
  return chart;
}

// ------------------------------------------------------------------ front
function options(select, entries, chosen) {
  for (const [value, words] of entries) {
    const option = make("option", words);
    option.value = value;
    option.selected = value === chosen;
    select.append(option);
  }
}

function stairs(points, larger) {
  // The corners of the front that the two chosen axes have, from the best across to the best up.
  const sign = [larger[0] ? -1 : 1, larger[1] ? -1 : 1];
  const sorted = points.map((p) => [p[0] * sign[0], p[1] * sign[1]]).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const kept = [];
  for (const p of sorted) if (!kept.length || p[1] < kept[kept.length - 1][1]) kept.push(p);
  const line = [];
  kept.forEach((p, i) => { if (i) line.push([p[0], kept[i - 1][1]]); line.push(p); });
  return line.map((p) => [p[0] * sign[0], p[1] * sign[1]]);
}

function labels(chart, shown, x, y) {
  // Names above their points where there is room: the baseline's, the front's, then the others', none over another or over a point.
  const { xaxis, yaxis } = chart._fullLayout, size = 6.4, boxes = [];
  const place = shown.map((_, i) => [xaxis.d2p(x[i][0]), yaxis.d2p(y[i][0])]);
  const points = place.map(([u, v]) => [u - 6, v - 6, u + 6, v + 6]);
  const apart = (a, b) => a[2] < b[0] || b[2] < a[0] || a[3] < b[1] || b[3] < a[1];
  const found = shown.map(() => "");
  const order = shown.map((_, i) => i).sort((i, j) => (shown[j].baseline - shown[i].baseline) || (shown[j].front - shown[i].front));
  for (const i of order.slice(0, 60)) {
    const words = shorten(shown[i].baseline && shown.length > 12 ? "baseline" : shown[i].name, 40), half = size * words.length / 2, [u, v] = place[i];
    const box = [u - half, v - 24, u + half, v - 8];
    if (box[0] < -20 || box[2] > xaxis._length + 20 || !boxes.every((other) => apart(box, other)) || !points.every((other, j) => j === i || apart(box, other))) continue;
    boxes.push(box);
    found[i] = text(words);
  }
  return found;
}

async function front() {
  const [kx, ky] = [at("front-x").value, at("front-y").value];
  const [mx, my] = [data.measures[kx], data.measures[ky]];
  const c = colours();
  const shown = data.candidates.filter((one) => mx.values[one.hash] && my.values[one.hash]).sort((a, b) => (a.front - b.front) || (a.baseline - b.baseline));
  const x = shown.map((one) => mx.values[one.hash]), y = shown.map((one) => my.values[one.hash]);
  const known = shown.some((one) => one.chance !== null);
  const bars = (of) => ({ type: "data", symmetric: false, array: of.map((v) => v[1] === null ? 0 : v[2] - v[0]), arrayminus: of.map((v) => v[1] === null ? 0 : v[0] - v[1]),
    color: shown.length > 30 ? c.line : c.quiet, thickness: shown.length > 200 ? 0.5 : 1, width: 0 });
  const words = (one, i) => [`<b>${text(shorten(one.name, 60))}</b> (${one.id})` + (one.baseline ? ", the baseline" : ""),
    ...one.diff.slice(0, 6).map((d) => `${text(shorten(d[0], 40))}: ${text(shorten(d[1], 30))} → ${text(shorten(d[2], 30))}`),
    `${text(ky)}: ${interval(y[i])}`, `${text(kx)}: ${interval(x[i])}`,
    ...(one.chance === null ? [] : [`on the front of the study’s objectives: ${percent(one.chance)}`]),
    ...(one.violates ? [`breaks a constraint: ${text(shorten(one.violates, 60))}`] : []), ...(one.lost ? [text(one.lost)] : [])].join("<br>");
  const standing = shown.map((one, i) => [one, [x[i][0], y[i][0]]]).filter(([one]) => !one.lost.includes("diverged") && !one.violates).map(([, p]) => p);
  const line = stairs(standing, [mx.larger, my.larger]);
  const marker = { size: shown.map((one) => one.front || one.baseline ? 13 : 9), symbol: shown.map((one) => one.baseline ? "star" : one.front ? "diamond" : "circle"),
    opacity: shown.length > 200 ? 0.8 : 1, line: { width: shown.map((one) => pinned.includes(one.hash) ? 3 : 1), color: shown.map((one) => pinned.includes(one.hash) ? c.mark : one.front ? c.ink : c.paper) } };
  if (known) {
    Object.assign(marker, { color: shown.map((one) => 100 * (one.chance ?? 0)), cmin: 0, cmax: 100, colorscale: c.dark ? [[0, "#4b5563"], [0.5, "#4d9be6"], [1, "#ffe08a"]] : [[0, "#b8bec6"], [0.5, "#4a90c2"], [1, "#0b2f5c"]],
      colorbar: { title: { text: "on the front, %", side: "right", font: { color: c.quiet, size: 12 } }, thickness: 10, len: 0.6, outlinewidth: 0, tickfont: { color: c.quiet } } });
  } else marker.color = shown.map((one) => one.front ? c.mark : c.quiet);
  const narrow = at("front-chart").clientWidth < 520;
  if (narrow && known) marker.colorbar = { ...marker.colorbar, orientation: "h", y: 1.02, yanchor: "bottom", len: 1, title: { ...marker.colorbar.title, side: "top" } };
  const chart = await draw("front-chart", [
    { x: line.map((p) => p[0]), y: line.map((p) => p[1]), mode: "lines", line: { color: c.mark, width: 1.5 }, hoverinfo: "skip" },
    { x: x.map((v) => v[0]), y: y.map((v) => v[0]), error_x: bars(x), error_y: bars(y), mode: "markers+text", text: shown.map(() => ""), textposition: "top center", textfont: { size: 11, color: c.ink },
      marker, customdata: shown.map((one) => one.hash), hovertext: shown.map(words), hovertemplate: "%{hovertext}<extra></extra>", cliponaxis: false },
  ], layout({ xaxis: axis(mx.label, at("front-log").checked ? { type: "log", dtick: narrow ? 1 : "D2" } : { nticks: narrow ? 4 : 8 }), yaxis: axis(my.label, {}, narrow ? 34 : 48), margin: { l: 60, r: 20, t: 28, b: 50 }, hovermode: "closest", uirevision: [kx, ky, at("front-log").checked].join() }));
  await Plotly.restyle(chart, { text: [labels(chart, shown, x, y)] }, [1]);
  if (!chart.listens) {
    chart.listens = true;
    chart.on("plotly_hover", (event) => { const hash = event.points[0].customdata; if (hash) details(hash); });
    chart.on("plotly_click", (event) => { const hash = event.points[0].customdata; if (hash) pin(hash); });
  }
  const without = data.candidates.filter((one) => !mx.values[one.hash] || !my.values[one.hash]);
  at("front-without").textContent = without.length ? "Not in the chart, without such a value: " +
    without.slice(0, 12).map((one) => `${shorten(one.name, 60)} (${one.lost || "not measured"})`).join(", ") + (without.length > 12 ? ` and ${without.length - 12} more.` : ".") : "";
}

// ------------------------------------------------------------------ details, pins
function card(hash) {
  const one = byHash.get(hash), box = make("article");
  box.dataset.hash = hash;
  const head = make("h3", one.name + " ");
  head.append(make("code", one.id));
  box.append(head);
  const facts = [one.baseline ? "the baseline" : "", one.front ? "on the front" : "", one.chance === null ? "" : `on it with ${percent(one.chance)}`, one.violates ? `breaks ${one.violates}` : "", one.lost, one.n === 1 ? "1 complete seed" : one.n + " complete seeds"];
  box.append(make("p", facts.filter(Boolean).join("; "), "small"));
  const diff = make("table");
  for (const [path, before, after] of one.diff) {
    const row = diff.insertRow();
    row.append(make("td", path), make("td", before, "was"), make("td", after, "now"));
  }
  if (one.diff.length) box.append(diff);
  else box.append(make("p", one.baseline ? "All choices are the baseline’s." : "No choice differs from the baseline’s.", "small"));
  const values = make("table");
  for (const measure of Object.values(data.measures)) {
    if (!measure.values[hash]) continue;
    values.insertRow().append(make("td", measure.label.replace(/ +\(\w+ is better\)$/, "")), make("td", interval(measure.values[hash])));
  }
  box.append(values);
  const strip = [...document.querySelectorAll(".strip img")].find((image) => image.dataset.hash === hash);
  if (strip) {
    const image = make("img");
    image.src = strip.src;
    image.alt = strip.alt;
    box.append(image);
  }
  if (pinned.includes(hash)) {
    const button = make("button", "Let go");
    button.type = "button";
    button.addEventListener("click", () => pin(hash));
    box.append(button);
  }
  return box;
}

function details(hash) {
  const box = at("detail");
  if (!box) return;
  const shown = pinned.includes(hash) || !hash ? [...pinned] : [...pinned.slice(-1), hash];
  if (hash && pinned.length === 2 && !pinned.includes(hash)) return; // two stand side by side: they stay
  if (!shown.length) { box.replaceChildren(make("p", "Point at a candidate to see what it chose; click to keep it here, beside a second one.", "hint")); return; }
  const pair = make("div", undefined, "pair");
  pair.append(...shown.map(card));
  box.replaceChildren(pair);
}

function pin(hash) {
  const place = pinned.indexOf(hash);
  if (place >= 0) pinned.splice(place, 1);
  else { if (pinned.length === 2) pinned.shift(); pinned.push(hash); }
  const beside = document.querySelector(".beside");
  const was = beside && beside.classList.contains("two");
  if (beside) beside.classList.toggle("two", pinned.length === 2);
  for (const row of at("table").tBodies[0].rows) {
    const kept = pinned.includes(row.dataset.hash);
    row.classList.toggle("pinned", kept);
    row.querySelector(".pin").setAttribute("aria-pressed", String(kept));
  }
  details(pinned.length ? pinned[pinned.length - 1] : null);
  if (data.axes) front().then(() => { if (was !== (pinned.length === 2)) Plotly.Plots.resize(at("front-chart")); });
}

// ------------------------------------------------------------------ table
let order = null; // [title of the column, whether descending] by which the reader has sorted
function table() {
  const box = at("table"), body = box.tBodies[0], rows = [...body.rows], heads = [...box.tHead.rows[0].cells];
  const titles = heads.map((head) => head.textContent);
  const words = rows.map((row) => (row.textContent + " " + (byHash.get(row.dataset.hash)?.diff ?? []).map((d) => `${d[0]}=${d[2]}`).join(" ")).toLowerCase());
  const key = (row, column) => { const cell = row.cells[column]; return cell.dataset.v !== undefined ? Number(cell.dataset.v) : cell.textContent.trim(); };
  function sort(column, down) {
    order = [titles[column], down];
    const sorted = [...rows].sort((a, b) => {
      const [u, v] = [key(a, column), key(b, column)];
      if (typeof u !== typeof v) return typeof u === "number" ? -1 : 1; // what has no number stands last
      return (typeof u === "number" ? u - v : u.localeCompare(v, undefined, { numeric: true })) * (down ? -1 : 1);
    });
    body.append(...sorted);
    heads.forEach((head, i) => i === column ? head.setAttribute("aria-sort", down ? "descending" : "ascending") : head.removeAttribute("aria-sort"));
    heads.forEach((head, i) => { head.querySelector(".way").textContent = i === column ? (down ? " ↓" : " ↑") : ""; });
  }
  heads.forEach((head, column) => {
    const button = make("button");
    button.type = "button";
    const way = make("span", "", "way");
    way.setAttribute("aria-hidden", "true"); // aria-sort says it
    button.append(...head.childNodes, way);
    button.addEventListener("click", () => sort(column, head.getAttribute("aria-sort") === "ascending"));
    head.append(button);
    options(at("sort-by"), [[String(column), head.textContent]]);
  });
  at("sort-by").addEventListener("change", (event) => sort(Number(event.target.value), false));
  const count = () => {
    const wanted = at("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    let n = 0;
    rows.forEach((row, i) => { row.hidden = !wanted.every((word) => words[i].includes(word)); n += !row.hidden; });
    at("filter-count").textContent = wanted.length ? `${n} of ${rows.length} candidates` : `${rows.length} candidates`;
  };
  at("filter").addEventListener("input", count);
  at("filter-form").addEventListener("submit", (event) => event.preventDefault());
  count();
  if (order && titles.includes(order[0])) sort(titles.indexOf(order[0]), order[1]);
  const fit = () => { if (!box.isConnected) return; box.classList.remove("dense"); box.classList.toggle("dense", box.parentElement.scrollWidth > box.parentElement.clientWidth); };
  addEventListener("resize", fit);
  fit();
  body.addEventListener("click", (event) => { const button = event.target.closest(".pin"); if (button) pin(button.closest("tr").dataset.hash); });
  body.addEventListener("focusin", (event) => { if (event.target.closest(".pin")) details(event.target.closest("tr").dataset.hash); });
}

// ------------------------------------------------------------------ lines, effects
const colour = (one, c) => one.look.colour || c.ink;
function lines(found, kx, ky, band) {
  const c = colours(), traces = [];
  for (const [hash, line] of Object.entries(found)) {
    const one = byHash.get(hash);
    if (!one) continue;
    const hue = colour(one, c);
    if (band && line.low.every((v) => v !== null)) {
      traces.push({ x: [...line[kx], ...[...line[kx]].reverse()], y: [...line.high, ...[...line.low].reverse()], fill: "toself", fillcolor: hue, opacity: 0.13, line: { width: 0 }, mode: "lines", hoverinfo: "skip", legendgroup: hash, showlegend: false });
    }
    const few = line[kx].length <= 12;
    traces.push({ x: line[kx], y: line[ky], name: text(shorten(one.name, 34)), legendgroup: hash, mode: few ? "lines+markers" : "lines",
      line: { color: hue, width: one.baseline ? 2.6 : 1.7, dash: one.baseline ? "solid" : DASHES[Math.floor(one.look.index / 8) % 4] }, marker: { symbol: one.baseline ? "star" : MARKS[one.look.index % 10], size: 7 },
      hovertemplate: `${text(shorten(one.name, 60))}<br>%{x:.4~g}: %{y:.4~g}<extra></extra>` });
  }
  return traces;
}
const legend = (id) => at(id).clientWidth < 620 ? { showlegend: true, legend: { orientation: "h", y: -0.25, yanchor: "top", font: { size: 11 } } } : { showlegend: true, legend: { font: { size: 11 } } };
const positive = (found, key) => Object.values(found).every((line) => line[key].every((v) => v === null || v > 0));
const wide = (found, key) => { const all = Object.values(found).flatMap((line) => line[key]).filter((v) => v !== null); return Math.max(...all) / Math.min(...all) > 5; };
const scale = (found, key) => positive(found, key) && wide(found, key) ? { type: "log", dtick: "D2" } : {};

function during() {
  const of = at("during-x").value, found = data.during.lines;
  return draw("during-chart", lines(found, of, "value", true), layout({ xaxis: axis(data.during.axes[of], { ...scale(found, of), tickformat: "~s" }), yaxis: axis(data.during.label, scale(found, "value"), 34), height: 420, uirevision: of, ...legend("during-chart") }));
}
function losses() {
  const found = data.losses.lines;
  return draw("losses-chart", lines(found, "images", "loss", false), layout({ xaxis: axis(data.losses.axes.images, { tickformat: "~s" }), yaxis: axis(data.losses.label, scale(found, "loss")), height: 420, ...legend("losses-chart") }));
}
function forest() {
  const told = data.effects, c = colours(), rows = told.rows, narrow = at("effects-chart").clientWidth < 620;
  const names = rows.map((row) => { const one = byHash.get(row.hash); return text(shorten(one.name, narrow ? 20 : 42)) + ` <span style="font-size:10px">${one.id}</span>`; });
  const shapes = [{ type: "line", x0: told.origin, x1: told.origin, y0: -0.5, y1: rows.length - 0.5, line: { color: c.ink, width: 1 } }];
  if (told.margin) shapes.push({ type: "rect", x0: told.margin[0], x1: told.margin[1], y0: -0.5, y1: rows.length - 0.5, fillcolor: c.quiet, opacity: 0.15, line: { width: 0 } });
  const hues = { better: c.dark ? "#4cc38a" : "#02795a", worse: c.dark ? "#f08c5a" : "#b84a00", equivalent: c.mark };
  const trace = { x: rows.map((row) => row.value), y: rows.map((_, i) => i), mode: "markers",
    error_x: { type: "data", symmetric: false, array: rows.map((row) => row.high === null ? 0 : row.high - row.value), arrayminus: rows.map((row) => row.low === null ? 0 : row.value - row.low), color: c.quiet, thickness: 2, width: 4 },
    marker: { size: 10, color: rows.map((row) => hues[row.answer] || c.quiet), symbol: rows.map((row) => ({ better: "triangle-up", worse: "triangle-down", equivalent: "square" })[row.answer] || "circle") },
    hovertext: rows.map((row) => { const one = byHash.get(row.hash); return `<b>${text(shorten(one.name, 60))}</b><br>${row.text}` + (row.low === null ? "" : ` (${digits(row.low)} to ${digits(row.high)})`) + `<br>${row.answer}; p (Holm) ${row.p}; ${row.n} pairs`; }),
    hovertemplate: "%{hovertext}<extra></extra>" };
  at("effects-note").textContent = `${told.larger ? "Right" : "Left"} of the line is better. Bars: ${told.level} % intervals for all comparisons at once; paired by seed; ${told.test}, Holm-corrected. ▲ better, ▼ worse, ■ equivalent, ● open.` +
    (told.more ? ` The first ${rows.length}; ${told.more} more are in the table.` : "");
  return draw("effects-chart", [trace], layout({ xaxis: axis(told.label, {}, narrow ? 22 : 80), yaxis: axis("", { tickvals: rows.map((_, i) => i), ticktext: names, range: [rows.length - 0.5, -0.5], tickfont: { size: rows.length > 30 ? 10 : 12 }, zeroline: false }), shapes, height: 110 + 26 * rows.length, margin: { l: 60, r: 20, t: 10, b: 50 } }));
}
function probes() {
  return Promise.all(data.probes.map((probe, i) => {
    const id = `probe-${i}`, moments = Object.keys(probe.moments);
    if (!at(id)) {
      const box = make("figure"), chart = make("div", undefined, "chart");
      chart.id = id;
      chart.setAttribute("role", "img");
      chart.setAttribute("aria-label", `${probe.name} ${probe.site} over ${probe.axis}`);
      box.append(make("h3", [probe.name, probe.site].filter(Boolean).join(", ")));
      if (moments.length > 1) {
        const label = make("label", "After "), select = make("select");
        select.id = id + "-moment";
        options(select, moments.map((one) => [one, one]), moments[moments.length - 1]);
        select.addEventListener("change", () => drawProbe(i));
        label.append(select);
        box.append(label);
      }
      box.append(chart);
      at("probe-charts").append(box);
    }
    return drawProbe(i);
  }));
}
function drawProbe(i) {
  const probe = data.probes[i], id = `probe-${i}`, moments = Object.keys(probe.moments);
  const found = probe.moments[at(id + "-moment")?.value] ?? probe.moments[moments[moments.length - 1]];
  return draw(id, lines(found, "x", "value", false), layout({ xaxis: axis(probe.axis), yaxis: axis(probe.site || probe.name, probe.log ? { type: "log", dtick: "D2" } : {}, 34), height: 380, uirevision: at(id + "-moment")?.value ?? "", ...legend(id) }));
}

// ------------------------------------------------------------------ all of it
async function library() {
  const packed = Uint8Array.from(atob(at("library").textContent.trim()), (sign) => sign.charCodeAt(0));
  const source = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  const script = make("script", source);
  document.head.append(script);
}
async function all() { for (const one of drawings) await one(); }
let lastDrawn = Promise.resolve();
function redraw() { // one after the other: who prints begins the next before the last is through
  if (window.Plotly) lastDrawn = lastDrawn.then(all);
}

function begin() { // take the data, and make what it is drawn with ready
  data = JSON.parse(at("data").textContent);
  byHash = new Map(data.candidates.map((one) => [one.hash, one]));
  drawings.length = 0;
  table();
  if (data.axes) {
    const entries = Object.entries(data.measures).map(([key, one]) => [key, one.label]);
    options(at("front-x"), entries, data.axes.x);
    options(at("front-y"), entries, data.axes.y);
    at("front-log").checked = data.axes.log;
    for (const id of ["front-x", "front-y", "front-log"]) at(id).addEventListener("change", front);
    drawings.push(front);
  }
  if (data.effects) drawings.push(forest);
  if (data.during) {
    options(at("during-x"), Object.entries(data.during.axes), Object.keys(data.during.axes)[0]);
    at("during-x").addEventListener("change", during);
    drawings.push(during);
  }
  if (data.losses) drawings.push(losses);
  if (data.probes.length) drawings.push(probes);
}

// What the reader has chosen on the page, and how it is brought back on a newer one.
function keep() {
  const focused = document.activeElement, within = focused && at("results").contains(focused);
  return {
    values: [...document.querySelectorAll("#results select, #results input")].filter((one) => one.id).map((one) => [one.id, one.type === "checkbox" ? one.checked : one.value]),
    open: [...document.querySelectorAll("#results details")].map((one) => one.open),
    focus: !within ? null : focused.id ? { id: focused.id, from: focused.selectionStart, to: focused.selectionEnd } : { row: focused.closest("#table tr")?.dataset.hash, head: focused.closest("#table th")?.cellIndex },
    sides: [...document.querySelectorAll("#results .scroll")].map((one) => [one.scrollLeft, one.scrollTop]),
  };
}
function restore(kept) {
  for (const [id, value] of kept.values) {
    const one = at(id);
    if (!one) continue;
    if (one.type === "checkbox") one.checked = value;
    else if (one.tagName !== "SELECT" || [...one.options].some((option) => option.value === value)) one.value = value;
  }
  document.querySelectorAll("#results details").forEach((one, i) => { if (i < kept.open.length) one.open = kept.open[i]; });
  document.querySelectorAll("#results .scroll").forEach((one, i) => { [one.scrollLeft, one.scrollTop] = kept.sides[i] ?? [0, 0]; });
  at("filter").dispatchEvent(new Event("input"));
  const gone = pinned.filter((hash) => !byHash.has(hash));
  for (const hash of gone) pinned.splice(pinned.indexOf(hash), 1);
  const beside = document.querySelector(".beside");
  if (beside) beside.classList.toggle("two", pinned.length === 2);
  for (const row of at("table").tBodies[0].rows) {
    row.classList.toggle("pinned", pinned.includes(row.dataset.hash));
    row.querySelector(".pin").setAttribute("aria-pressed", String(pinned.includes(row.dataset.hash)));
  }
  if (pinned.length) details(pinned[pinned.length - 1]);
  const focus = kept.focus;
  if (!focus) return;
  const again = focus.id ? at(focus.id) : focus.row ? [...at("table").tBodies[0].rows].find((row) => row.dataset.hash === focus.row)?.querySelector("button") : at("table").tHead.rows[0].cells[focus.head]?.querySelector("button");
  again?.focus({ preventScroll: true });
  if (focus.id && focus.from !== null && focus.from !== undefined && again?.setSelectionRange) again.setSelectionRange(focus.from, focus.to);
}

begin();
let begun = null; // the library, once it is wanted
function drawAll() { begun ??= library(); lastDrawn = lastDrawn.then(() => begun).then(all); return lastDrawn; }
if (drawings.length) drawAll().then(() => { document.documentElement.dataset.drawn = "true"; });
else document.documentElement.dataset.drawn = "true";
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
addEventListener("beforeprint", () => { light = true; document.querySelectorAll("details").forEach((one) => { one.open = true; }); redraw(); });
addEventListener("afterprint", () => { light = false; redraw(); });
window.report = { begin, keep, restore, drawAll, at, make, draw, layout, axis, colours, text, shorten, library: () => (begun ??= library()) };
})();
