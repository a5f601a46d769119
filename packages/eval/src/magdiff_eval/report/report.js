// A row a prompt, drawn once, then moved and hidden. Texts reach the page through textContent alone.
const LISTED = -1, NONE = -1;
const FIRST = { score: data.scores.length ? 0 : LISTED, method: 0, minus: NONE, order: "worst", search: "", group: "", faults: false };
const state = { ...FIRST };

function short(value, signed) {
  const text = Math.abs(value) >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(4)));
  return (signed && value > 0 ? "+" : "") + text.replace("-", "\u2212");
}

// Rows

function drawCell(row, title, place, missing, kind) {
  const cell = make("figure", null, "cell");
  const frame = make("div", null, "frame");
  if (place === null) {
    const box = make("div", null, kind);
    box.append(...missing.map((text) => make("p", text)));
    frame.append(box);
  } else {
    frame.append(drawMedium(row, place, `${title}: ${row.prompt}`));
  }
  cell.append(make("figcaption", title), frame);
  return cell;
}

function drawMethod(row, method) {
  const { video, scores, faults } = row.cells[method];
  const cell = drawCell(row, data.methods[method], video, ["No video", ...faults], "box");
  const list = make("dl");
  data.scores.forEach((score, place) => {
    const pair = make("div");
    pair.dataset.score = place;
    const value = scores[place];
    pair.append(make("dt", score.name), make("dd", value === null ? "\u2013" : short(value)));
    list.append(pair);
  });
  if (data.scores.length) cell.append(list);
  if (video !== null) cell.append(...faults.map((text) => make("p", text, "fault")));
  return cell;
}

function drawRow(row, index) {
  Object.assign(row, { index, media: [], inSight: false, started: false, own: null });
  row.text = [row.prompt, row.name, row.group, row.task].join("\n").toLowerCase();
  row.faulty = row.cells.some((cell) => cell.faults.length);
  row.node = make("li", null, "row");
  row.node.dataset.name = row.name;
  row.node.style.setProperty("--ratio", row.ratio);
  row.key = make("span", null, "key");
  row.toggle = make("button", "Pause");
  row.toggle.type = "button";
  row.toggle.addEventListener("click", () => {
    row.own = !(row.own ?? !paused);
    follow(row);
  });
  const heading = make("h3", row.prompt);
  heading.id = `prompt-${index}`;
  row.toggle.setAttribute("aria-describedby", heading.id);
  const about = make("p", null, "about soft");
  about.append(make("span", row.group, "tag"), ` ${row.task} \u00b7 ${row.name} `, row.key);
  const head = make("div", null, "head");
  head.append(heading, row.toggle, about);
  const cells = make("div", null, "cells");
  cells.append(drawCell(row, "given", row.given, ["no file of it is kept"], "box soft"));
  cells.append(...data.methods.map((_, method) => drawMethod(row, method)));
  row.node.append(head, cells);
  return row.node;
}

// Sorting and filtering

function goodness(row, method) {
  // A failure is worse than any value; null where the score does not apply.
  const { scores, faults } = row.cells[method];
  const value = scores[state.score];
  if (value === null) return faults.length ? -Infinity : null;
  return data.scores[state.score].better === "lower" ? -value : value;
}

function sortKey(row) {
  if (state.score === LISTED) return row.index;
  const own = goodness(row, state.method);
  if (state.minus === NONE || own === null) return own;
  const other = goodness(row, state.minus);
  const difference = other === null ? NaN : own - other; // two failures have none
  return Number.isNaN(difference) ? null : difference;
}

function keyText(row) {
  if (state.score === LISTED) return "";
  const { name } = data.scores[state.score];
  const own = row.cells[state.method].scores[state.score];
  if (state.minus === NONE) return `${name} of ${data.methods[state.method]}: ${own === null ? "\u2013" : short(own)}`;
  const other = row.cells[state.minus].scores[state.score];
  const text = own === null || other === null ? "\u2013" : short(own - other, true);
  return `${name}, ${data.methods[state.method]} minus ${data.methods[state.minus]}: ${text}`;
}

function update() {
  const words = state.search.toLowerCase().split(/\s+/).filter(Boolean);
  const side = state.order === "best" && state.score !== LISTED ? -1 : 1;
  const keys = new Map(data.rows.map((row) => [row, sortKey(row)]));
  const sorted = [...data.rows].sort((a, b) => {
    const x = keys.get(a), y = keys.get(b);
    // What the score does not apply to comes last, whichever way.
    if (x === null || y === null) return (x === null) - (y === null) || a.index - b.index;
    return (x < y ? -side : x > y ? side : 0) || a.index - b.index;
  });
  let count = 0;
  for (const row of sorted) {
    const found = words.every((word) => row.text.includes(word)) && (!state.group || row.group === state.group)
      && (!state.faults || row.faulty);
    row.node.hidden = !found;
    count += found;
    row.key.textContent = keyText(row);
  }
  at("rows").append(...sorted.map((row) => row.node));
  at("rows").dataset.score = state.score;
  for (const pair of document.querySelectorAll("[data-score].active")) pair.classList.remove("active");
  for (const pair of document.querySelectorAll(`div[data-score="${state.score}"]`)) pair.classList.add("active");
  at("found").textContent = `${count} of ${data.rows.length} prompts`;
  showControls();
}

function showControls() {
  const lower = state.score !== LISTED && data.scores[state.score].better;
  const [worst, best] = at("order").options;
  worst.text = { higher: "worst first (lowest)", lower: "worst first (highest)" }[lower] || "lowest first";
  best.text = { higher: "best first (highest)", lower: "best first (lowest)" }[lower] || "highest first";
  for (const name of ["score", "method", "minus", "order", "group", "search"]) at(name).value = state[name];
  at("faults").checked = state.faults;
  for (const name of ["method", "minus", "order"]) at(name).disabled = state.score === LISTED;
}

function change(values) {
  Object.assign(state, values);
  update();
  const top = at("rows").getBoundingClientRect().top;
  if (top < 0) at("videos").scrollIntoView();
}

function setTheme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  at("theme").textContent = dark ? "Light" : "Dark";
}

function fillControls() {
  at("score").append(...data.scores.map(({ name }, place) => new Option(name, place)), new Option("as listed", LISTED));
  at("method").append(...data.methods.map((name, place) => new Option(name, place)));
  at("minus").append(new Option("nothing", NONE), ...data.methods.map((name, place) => new Option(name, place)));
  const counts = new Map();
  for (const row of data.rows) counts.set(row.group, (counts.get(row.group) || 0) + 1);
  at("group").append(new Option("all", ""), ...[...counts].map(([name, count]) => new Option(`${name} (${count})`, name)));
  for (const name of ["score", "method", "minus"]) {
    at(name).addEventListener("change", () => change({ [name]: Number(at(name).value) }));
  }
  for (const name of ["order", "group"]) at(name).addEventListener("change", () => change({ [name]: at(name).value }));
  at("faults").addEventListener("change", () => change({ faults: at("faults").checked }));
  at("search").addEventListener("input", () => change({ search: at("search").value }));
  at("controls").addEventListener("submit", (event) => event.preventDefault());
  at("controls").addEventListener("reset", (event) => {
    event.preventDefault();
    change(FIRST);
  });
}

function start() {
  fillControls();
  at("rows").append(...data.rows.map(drawRow));
  update();
  setTheme(matchMedia("(prefers-color-scheme: dark)").matches);
  at("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme !== "dark"));
  // The block of videos follows this script: rows are drawn while it arrives.
  addEventListener("DOMContentLoaded", () => {
    watch();
    document.documentElement.dataset.ready = Math.round(performance.now());
  });
}

start();
