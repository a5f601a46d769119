"use strict";
// The table: every row stays in the columns it came in; a filter gives a list of row numbers, and one page of them is drawn.
// Texts reach the page through textContent alone.
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const PAGE = 100;
const coded = (name, row) => data.coded[name].names[data.coded[name].codes[row]];
const grouped = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f");
const COLUMNS = [
  { name: "source", value: (row) => data.text.source[row] },
  { name: "status", value: (row) => coded("status", row) },
  { name: "reason", value: (row) => coded("reason", row) },
  { name: "label", value: (row) => coded("label", row) },
  { name: "category", value: (row) => coded("category", row) },
  { name: "caption", value: (row) => data.text.caption[row] },
  { name: "detail", value: (row) => data.text.detail[row] },
  { name: "frames", value: (row) => data.number.frames[row], figure: true },
  {
    name: "size",
    value: (row) => data.number.width[row] && `${data.number.width[row]}×${data.number.height[row]}`,
    order: (row) => data.number.width[row] && data.number.width[row] * data.number.height[row],
    figure: true,
  },
];
const FILTERS = ["status", "reason", "category", "label"];
const state = { search: "", status: "", reason: "", category: "", label: "", sort: "", down: false, page: 0 };
let found = [];
let haystack = null;

function make(tag, text, className) {
  const node = document.createElement(tag);
  if (text !== undefined && text !== null) node.textContent = text;
  if (className) node.className = className;
  return node;
}

function texts() {
  // Lower-case texts to search in, made at the first search.
  haystack ??= Array.from({ length: data.rows }, (_, row) =>
    [data.text.source[row], data.text.caption[row], coded("label", row), data.text.detail[row], data.text.answer[row]]
      .join("\n").toLowerCase());
  return haystack;
}

function compare(column) {
  const key = column.order || column.value;
  const keys = new Map(found.map((row) => [row, key(row)]));
  const side = state.down ? -1 : 1;
  // Empty cells come last, whichever way.
  return (a, b) => {
    const x = keys.get(a), y = keys.get(b);
    const noX = x === null || x === "", noY = y === null || y === "";
    if (noX || noY) return noX - noY || a - b;
    return (x < y ? -side : x > y ? side : 0) || a - b;
  };
}

function filter() {
  const words = state.search.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = FILTERS.filter((name) => state[name])
    .map((name) => [data.coded[name].codes, data.coded[name].names.indexOf(state[name])]);
  const all = words.length ? texts() : null;
  found = [];
  for (let row = 0; row < data.rows; row++) {
    if (wanted.every(([codes, code]) => codes[row] === code) && words.every((word) => all[row].includes(word))) found.push(row);
  }
  const column = COLUMNS.find((item) => item.name === state.sort);
  if (column) found.sort(compare(column));
}

function drawRow(row) {
  const line = make("tr");
  line.dataset.row = row;
  for (const column of COLUMNS) {
    const cell = make("td", null, column.figure ? "figure" : `cell-${column.name}`);
    const value = column.value(row) ?? "";
    if (column.name === "source") {
      const button = make("button", value, "link");
      button.type = "button";
      button.dataset.row = row;
      cell.append(button);
    } else if (column.name === "status") {
      cell.append(make("span", value, `pill ${value}`));
    } else {
      cell.textContent = value;
    }
    line.append(cell);
  }
  return line;
}

function draw() {
  const pages = Math.max(1, Math.ceil(found.length / PAGE));
  state.page = Math.min(Math.max(0, state.page), pages - 1);
  const start = state.page * PAGE;
  at("body").replaceChildren(...found.slice(start, start + PAGE).map(drawRow));
  at("found").textContent = `${grouped(found.length)} of ${grouped(data.rows)} inputs`;
  at("found").dataset.count = found.length;
  at("page").textContent = `page ${grouped(state.page + 1)} of ${grouped(pages)}`;
  at("first").disabled = at("previous").disabled = state.page === 0;
  at("next").disabled = at("last").disabled = state.page === pages - 1;
  at("pager").hidden = pages === 1;
  for (const head of at("head").children) {
    const sorted = head.dataset.name === state.sort;
    head.setAttribute("aria-sort", sorted ? (state.down ? "descending" : "ascending") : "none");
  }
}

function show(change) {
  Object.assign(state, { page: 0 }, change);
  at("search").value = state.search;
  for (const name of FILTERS) at(`filter-${name}`).value = state[name];
  filter();
  draw();
  const parts = new URLSearchParams();
  for (const name of ["search", ...FILTERS, "sort"]) if (state[name]) parts.set(name, state[name]);
  if (state.sort && state.down) parts.set("down", "1");
  const hash = parts.size ? `#?${parts}` : location.pathname + location.search;
  history.replaceState(null, "", hash);
}

function jump(change) {
  show({ search: "", status: "", reason: "", category: "", label: "", ...change });
  at("inputs").scrollIntoView();
  at("search").focus({ preventScroll: true });
}

function pairs(title, entries) {
  const list = make("dl");
  for (const [name, value] of entries) {
    if (value === null || value === undefined || value === "") continue;
    list.append(make("dt", name), make("dd", value));
  }
  return list.children.length ? [make("h3", title), list] : [];
}

function spread(columns, row) {
  return Object.entries(columns).map(([name, values]) => [name.replaceAll("_", " "), values[row]]);
}

function open(row) {
  const duration = data.number.duration[row];
  at("drawer-title").textContent = data.text.source[row];
  const picture = document.querySelector(`.card[data-row="${row}"] img`);
  at("drawer-body").replaceChildren(
    ...(picture ? [picture.cloneNode()] : []),
    make("p", data.sentences[coded("reason", row)]),
    ...pairs("Outcome", [
      ["status", coded("status", row)], ["reason", coded("reason", row)], ["stage", coded("stage", row)],
      ["detail", data.text.detail[row]], ["label", coded("label", row)], ["label from", coded("label_source", row)],
      ["category", coded("category", row)], ["caption", data.text.caption[row]],
      ["caption by", data.captionMade.includes(row) ? "a model" : null],
      ["answer", data.text.answer[row]], ["nouns", data.text.nouns[row]],
      ["source size", COLUMNS[8].value(row) && `${COLUMNS[8].value(row)} px`], ["frames", data.number.frames[row]],
      ["duration", duration && `${duration} s`], ["starts at", data.number.start[row] && `${data.number.start[row]} s`],
      ["key", data.text.key[row]], ["settings", coded("settings_sha256", row)],
    ]),
    ...pairs("Scores", spread(data.scores, row)),
    ...pairs("Thresholds", Object.entries(JSON.parse(coded("thresholds", row))).map(([n, v]) => [n.replaceAll("_", " "), v])),
    ...pairs("Seconds", spread(data.seconds, row)),
    ...pairs("Models", Object.entries(JSON.parse(coded("models", row)))),
  );
  at("drawer").showModal();
  at("drawer").scrollTop = 0;
}

function options(name) {
  const counts = new Map();
  const { names, codes } = data.coded[name];
  for (const code of codes) counts.set(code, (counts.get(code) || 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]).filter(([code]) => names[code])
    .map(([code, count]) => [names[code], `${names[code]} (${grouped(count)})`]);
}

function setTheme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  at("theme").textContent = dark ? "Light" : "Dark";
}

function fromHash() {
  // #?search=…&reason=… is a link to a filtered table.
  if (!location.hash.startsWith("#?")) return {};
  const parts = new URLSearchParams(location.hash.slice(2));
  const change = { sort: parts.get("sort") || "", down: parts.has("down") };
  for (const name of ["search", ...FILTERS]) change[name] = parts.get(name) || "";
  return change;
}

function start() {
  for (const name of ["status", "reason", "category"]) {
    const select = at(`filter-${name}`);
    select.append(new Option("all", ""), ...options(name).map(([value, text]) => new Option(text, value)));
    select.addEventListener("change", () => show({ [name]: select.value }));
  }
  // A browser slows down with longer lists of suggestions; any label can still be typed.
  at("label-names").append(...options("label").slice(0, 500).map(([value]) => new Option("", value)));
  at("filter-label").addEventListener("input", (event) => {
    const value = event.target.value;
    if (!value || data.coded.label.names.includes(value)) show({ label: value });
  });
  for (const column of COLUMNS) {
    const head = make("th", null, column.figure ? "figure" : "");
    const button = make("button", column.name, "sort");
    head.dataset.name = column.name;
    head.scope = "col";
    button.type = "button";
    button.addEventListener("click", () => {
      const again = state.sort === column.name;
      show({ sort: again && state.down ? "" : column.name, down: again && !state.down });
    });
    head.append(button);
    at("head").append(head);
  }
  let timer = 0;
  at("search").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => show({ search: at("search").value }), 120);
  });
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  at("filters").addEventListener("reset", (event) => {
    event.preventDefault();
    show({ search: "", status: "", reason: "", category: "", label: "", sort: "", down: false });
  });
  const turn = (step) => () => { state.page = step(state.page); draw(); at("scroll").scrollTop = 0; };
  at("first").addEventListener("click", turn(() => 0));
  at("previous").addEventListener("click", turn((page) => page - 1));
  at("next").addEventListener("click", turn((page) => page + 1));
  at("last").addEventListener("click", turn(() => Infinity));
  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-row], [data-reason], [data-label]");
    if (!target) return;
    if (target.dataset.reason) jump({ reason: target.dataset.reason });
    else if (target.dataset.label) jump({ status: "kept", label: target.dataset.label });
    else if (!getSelection().toString()) open(Number(target.dataset.row));
  });
  document.addEventListener("keydown", (event) => {
    const word = event.target.closest(".word");
    if (word && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      jump({ status: "kept", label: word.dataset.label });
    }
  });
  at("close").addEventListener("click", () => at("drawer").close());
  at("drawer").addEventListener("click", (event) => { if (event.target === at("drawer")) at("drawer").close(); });
  setTheme(matchMedia("(prefers-color-scheme: dark)").matches);
  at("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme !== "dark"));
  const linked = fromHash();
  if (Object.keys(linked).length) jump(linked);
  else show({});
  void document.body.offsetHeight; // the layout counts as well
  document.documentElement.dataset.ready = Math.round(performance.now());
}

start();
