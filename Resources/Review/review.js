"use strict";
// The list draws only the rows in sight, so that ten thousand cases scroll as ten do.

const ROW = 136;
const SPARE = 4;
const VERDICTS = { 1: "good", 2: "wrong", 3: "unsure", 0: "" };
const NOBODY_ASKED = 2;
const sure = (one) => one.sure ?? NOBODY_ASKED;
const ORDERS = { score: (a, b) => b.score - a.score, sure: (a, b) => sure(a) - sure(b), name: () => 0 };
const byId = (id) => document.getElementById(id);
const list = byId("list");
const cases = REVIEW.cases;
const key = "misfm-review:" + cases.length + ":" + (cases.length ? cases[0].label : "");
let shown = [];
let chosen = 0;
const drawn = new Map(); // rows in sight by their place in the list: while scrolling they stay

// ------------------------------------------------------------------------------- verdicts

function restore() {
  let kept = {};
  try { kept = JSON.parse(localStorage.getItem(key) || "{}"); } catch { /* not kept for this page */ }
  for (const one of cases) {
    const said = Object.hasOwn(kept, one.name) ? kept[one.name] : null;
    if (said) { one.verdict = said.verdict; one.note = said.note; }
  }
}

function keep() {
  const kept = {};
  for (const one of cases) {
    if (one.verdict || one.note) kept[one.name] = { verdict: one.verdict, note: one.note };
  }
  try { localStorage.setItem(key, JSON.stringify(kept)); } catch { say("Save the verdicts: this browser does not keep them."); }
}

function judge(verdict) {
  if (!shown.length) return;
  const judged = shown[chosen];
  judged.verdict = verdict;
  keep();
  // With a filter by verdict the case may leave the list, and the next one takes its place.
  update(false);
  if (shown[chosen] === judged && verdict) choose(chosen + 1); else draw();
}

let noted = null;

function note() {
  if (!shown.length) return;
  noted = shown[chosen];
  byId("note-title").textContent = "Note on " + noted.name;
  byId("note").value = noted.note;
  byId("note-bar").hidden = false;
  byId("note").focus();
}

function endNote(isKept) {
  if (isKept) { noted.note = byId("note").value.trim(); keep(); }
  byId("note-bar").hidden = true;
  list.focus();
  draw();
}

function quoted(cell) {
  return /[",\n\r]/.test(cell) ? '"' + cell.replaceAll('"', '""') + '"' : cell;
}

function asCsv() {
  const rows = [["case", "verdict", "note"]];
  for (const one of cases) {
    if (one.verdict || one.note) rows.push([one.name, one.verdict, one.note]);
  }
  return rows.map((row) => row.map(quoted).join(",")).join("\n") + "\n";
}

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([asCsv()], { type: "text/csv" }));
  link.download = "verdicts.csv";
  link.click();
  URL.revokeObjectURL(link.href);
  say("verdicts.csv is saved; misfm review --verdicts takes it.");
}

function parsed(text) {
  const rows = [];
  let row = [], cell = "", inside = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (inside) {
      if (c !== '"') cell += c;
      else if (text[i + 1] === '"') { cell += c; i++; }
      else inside = false;
    } else if (c === '"') inside = true;
    else if (c === ",") { row.push(cell); cell = ""; }
    else if (c === "\n") { row.push(cell.replace(/\r$/, "")); rows.push(row); row = []; cell = ""; }
    else cell += c;
  }
  if (cell || row.length) rows.push([...row, cell]);
  return rows;
}

async function load(file) {
  const rows = parsed((await file.text()).replace(/^\ufeff/, ""));
  const head = rows.shift() || [];
  const [name, verdict, words] = ["case", "verdict", "note"].map((title) => head.indexOf(title));
  if (name < 0 || verdict < 0) { say(file.name + " is no file of verdicts."); return; }
  const known = new Map(cases.map((one) => [one.name, one]));
  let count = 0;
  for (const row of rows) {
    const one = known.get(row[name]);
    if (!one || !Object.values(VERDICTS).includes(row[verdict])) continue;
    one.verdict = row[verdict];
    one.note = words < 0 ? "" : row[words] || "";
    count++;
  }
  keep();
  update();
  say(count + " verdicts of " + rows.length + " are loaded.");
}

// ----------------------------------------------------------------------------------- list

function update(fromTop = true) {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const filter = byId("filter").value;
  shown = cases.filter((one) => {
    if (filter === "open" ? one.verdict : filter !== "all" && one.verdict !== filter) return false;
    const text = (one.name + " " + one.reasons.join(" ") + " " + one.note).toLowerCase();
    return words.every((word) => text.includes(word));
  });
  const before = ORDERS[byId("order").value];
  shown.sort((a, b) => before(a, b) || (a.name < b.name ? -1 : 1));
  byId("space").style.height = shown.length * ROW + "px";
  chosen = fromTop ? 0 : Math.max(0, Math.min(chosen, shown.length - 1));
  if (fromTop) list.scrollTop = 0;
  draw();
  plot();
}

function draw() {
  drawn.clear();
  const judged = cases.filter((one) => one.verdict).length;
  byId("summary").textContent = shown.length + " of " + cases.length + " cases, " + judged + " judged";
  drawSight();
}

function drawSight() {
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - SPARE);
  const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + SPARE);
  for (const index of drawn.keys()) if (index < first || index >= last) drawn.delete(index);
  for (let index = first; index < last; index++) if (!drawn.has(index)) drawn.set(index, row(index));
  byId("space").replaceChildren(...drawn.values());
}

function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function row(index) {
  const one = shown[index];
  const line = element("div", "case" + (index === chosen ? " chosen" : ""));
  line.style.top = index * ROW + "px";
  line.setAttribute("role", "option");
  line.setAttribute("aria-selected", index === chosen);
  line.setAttribute("aria-posinset", index + 1);
  line.setAttribute("aria-setsize", shown.length);
  line.addEventListener("click", () => choose(index));
  if (one.picture) {
    const picture = element("img", "");
    picture.decoding = "async";
    picture.src = "thumbnails/" + encodeURIComponent(one.name) + ".jpg";
    picture.alt = "Three planes of " + one.name;
    line.append(picture);
  } else line.append(element("div", "none", "no picture"));
  const words = element("div", "words");
  const name = element("div", "name", one.name + " ");
  const figures = [];
  if (one.score > 0 && one.score < 1000) figures.push("outlier score " + one.score.toFixed(1));
  if (one.sure !== null) figures.push("sure to " + (100 * one.sure).toFixed(1) + " %");
  name.append(element("span", "score", figures.join(", ")));
  words.append(name);
  const found = REVIEW.structures.map((title, place) => [title, one.volumes[place]]).filter((pair) => pair[1] !== null);
  const volumes = element("div", "volumes", found.map(([title, ml]) => title + " " + ml.toPrecision(3) + " ml").join(", "));
  volumes.title = volumes.textContent;
  words.append(volumes);
  const reasons = element("ul", "reasons");
  for (const reason of one.reasons.slice(0, 4)) reasons.append(element("li", "", reason));
  words.append(reasons);
  line.append(words);
  const verdict = element("div", "verdict " + one.verdict, one.verdict);
  if (one.note) verdict.append(element("div", "note", one.note));
  line.append(verdict);
  return line;
}

function choose(index) {
  if (!shown.length) return;
  chosen = Math.max(0, Math.min(index, shown.length - 1));
  const top = chosen * ROW;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
  draw();
  plot();
}

// ----------------------------------------------------------------------------------- plot

function plot() {
  const canvas = byId("plot");
  const scale = window.devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * scale;
  canvas.height = canvas.clientHeight * scale;
  const pen = canvas.getContext("2d");
  const points = plotted(canvas.width);
  const style = getComputedStyle(document.documentElement);
  for (const point of points) {
    const isChosen = shown.length && point.one === shown[chosen];
    pen.fillStyle = style.getPropertyValue(isChosen ? "--wrong" : point.one.score > 0 ? "--unsure" : "--mark");
    pen.globalAlpha = isChosen ? 1 : 0.55;
    pen.beginPath();
    pen.arc(point.x, point.y * canvas.height, (isChosen ? 5 : 3) * scale, 0, 7);
    pen.fill();
  }
  const volumes = points.map((point) => point.ml);
  const range = (value) => value.toPrecision(3) + " ml";
  let low = Infinity, high = -Infinity;
  for (const volume of volumes) { low = Math.min(low, volume); high = Math.max(high, volume); }
  byId("plot-range").textContent = points.length ? range(low) + " to " + range(high) : "";
}

function plotted(width) {
  const index = REVIEW.structures.indexOf(byId("structure").value);
  const found = shown.filter((one) => one.volumes[index] > 0);
  let low = Infinity, high = -Infinity;
  for (const one of found) { low = Math.min(low, one.volumes[index]); high = Math.max(high, one.volumes[index]); }
  const known = found.filter((one) => one.sure !== null);
  const least = known.reduce((value, one) => Math.min(value, one.sure), Infinity);
  const most = known.reduce((value, one) => Math.max(value, one.sure), -Infinity);
  return found.map((one, number) => ({
    one,
    ml: one.volumes[index],
    x: 8 + (width - 16) * (high > low ? (one.volumes[index] - low) / (high - low) : 0.5),
    y: 0.1 + 0.8 * (least < most && one.sure !== null ? (one.sure - least) / (most - least) : (number * 0.618034) % 1),
  }));
}

function chooseInPlot(event) {
  const canvas = byId("plot");
  const scale = canvas.width / canvas.clientWidth;
  let best = null, distance = 20 * scale;
  for (const point of plotted(canvas.width)) {
    const away = Math.hypot(point.x - event.offsetX * scale, point.y * canvas.height - event.offsetY * scale);
    if (away < distance) { best = point.one; distance = away; }
  }
  if (best) choose(shown.indexOf(best));
}

// -------------------------------------------------------------------------------- commands

function python(text) {
  return JSON.stringify(text).replaceAll("'", "\\u0027");
}

async function copyCommand() {
  if (!shown.length) return;
  const one = shown[chosen];
  const steps = [];
  if (one.image) steps.push("slicer.util.loadVolume(" + python(one.image) + ")");
  if (one.label) steps.push("slicer.util.loadSegmentation(" + python(one.label) + ")");
  const command = "Slicer --python-code '" + steps.join("; ") + "'";
  try { await navigator.clipboard.writeText(command); say("Copied: " + command); }
  catch { prompt("Copy this command", command); }
}

function say(text) { byId("said").textContent = text; }

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, select")) {
    if (event.key === "Escape" && event.target.id === "note") endNote(false);
    else if (event.key === "Escape") list.focus();
    return;
  }
  if (event.target.matches("button") && event.key === "Enter") return;
  const page = Math.max(1, Math.floor(list.clientHeight / ROW) - 1);
  const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page };
  if (event.key in steps) choose(chosen + steps[event.key]);
  else if (event.key === "Home") choose(0);
  else if (event.key === "End") choose(shown.length - 1);
  else if (event.key in VERDICTS) judge(VERDICTS[event.key]);
  else if (event.key.toLowerCase() === "n") note();
  else if (event.key.toLowerCase() === "c") copyCommand();
  else if (event.key.toLowerCase() === "s") save();
  else if (event.key === "/") byId("search").select();
  else return;
  event.preventDefault();
});
list.addEventListener("scroll", drawSight, { passive: true });
window.addEventListener("resize", () => { draw(); plot(); });
for (const id of ["search", "order", "filter"]) byId(id).addEventListener("input", () => update());
byId("structure").addEventListener("input", plot);
byId("plot").addEventListener("click", chooseInPlot);
byId("save").addEventListener("click", save);
byId("open").addEventListener("click", () => byId("load").click());
byId("note-bar").addEventListener("submit", (event) => { event.preventDefault(); endNote(true); });
byId("load").addEventListener("change", (event) => { if (event.target.files.length) load(event.target.files[0]); event.target.value = ""; });
byId("plot-height").hidden = cases.every((one) => one.sure === null);
if (byId("plot-height").hidden) document.querySelector("option[value=sure]").remove();
for (const name of REVIEW.structures) byId("structure").append(new Option(name, name));
restore();
update();
list.focus();
