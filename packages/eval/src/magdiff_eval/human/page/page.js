"use strict";
// One rater's way through the study. Every answer is sent at once, and again until the server has it.
const QUESTIONS = [
  { aspect: "image_alignment", title: "the subject", hint: "Is it the one in the picture, throughout?" },
  { aspect: "text_alignment", title: "the text", hint: "Does the video show what it says?" },
  { aspect: "quality", title: "the quality", hint: "Is the video clear, smooth and natural?" },
];
const SCALE = ["very dissatisfied", "dissatisfied", "neither", "satisfied", "very satisfied"];
const at = (id) => document.getElementById(id);
const token = location.pathname.match(/^\/r\/([^/]+)$/)?.[1];
const waiting = new Map(); // answers that the server does not have yet
let videos = [], place = 0, active = 0, sending = false, finishing = false;

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function show(id) {
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== id;
  at("progress").hidden = !videos.length;
  if (id !== "rate") {
    at("video").pause();
    at("place").textContent = "";
    document.title = "Video study";
    at(`${id}-title`).focus({ preventScroll: true });
  }
}

function fail(text) {
  at("problem-text").textContent = text;
  show("problem");
}

async function ask(path, method = "GET", body = undefined) {
  const options = { method, signal: AbortSignal.timeout(10000), cache: "no-store" };
  if (body) Object.assign(options, { body: JSON.stringify(body), headers: { "Content-Type": "application/json" }, keepalive: true });
  const response = await fetch(path, options);
  const answer = await response.json();
  if (!response.ok) throw Object.assign(new Error(answer.error), { refused: response.status < 500 });
  return answer;
}

const answered = (video) => QUESTIONS.filter(({ aspect }) => video.scores[aspect]).length;
const isWhole = (video) => answered(video) === QUESTIONS.length;

function tell(text, isError = false) {
  at("status").textContent = text;
  at("status").classList.toggle("error", isError);
  at("progress").value = videos.reduce((sum, video) => sum + answered(video), 0);
}

async function send() {
  if (sending) return;
  sending = true;
  let pause = 500;
  while (waiting.size) {
    const [key, answer] = waiting.entries().next().value;
    try {
      await ask(`/api/r/${token}/answers`, "PUT", answer);
      if (waiting.get(key) === answer) waiting.delete(key); // else it was changed meanwhile
      pause = 500;
    } catch (error) {
      tell(error.refused ? `Not saved: ${error.message}` : "Not saved yet. Trying again …", true);
      await new Promise((resolve) => setTimeout(resolve, pause));
      pause = Math.min(2 * pause, 8000);
    }
  }
  sending = false;
  tell("Saved");
  if (finishing) finish();
}

function answer(index, score) {
  const video = videos[place], { aspect } = QUESTIONS[index];
  video.scores[aspect] = score;
  waiting.set(`${video.id} ${aspect}`, { video: video.id, aspect, score });
  tell("Saving …");
  send();
  drawAnswers();
}

function answerAndMove(index, score) {
  answer(index, score);
  const open = [...QUESTIONS.keys()].find((other) => !videos[place].scores[QUESTIONS[other].aspect]);
  activate(open ?? index);
}

function drawAnswers() {
  const { scores } = videos[place];
  for (const input of document.querySelectorAll("#questions input")) input.checked = scores[input.name] === Number(input.value);
  at("next").classList.toggle("ready", isWhole(videos[place]));
  at("next").textContent = place === videos.length - 1 ? "Finish" : "Next";
}

function mark(index) {
  active = index;
  for (const [other, field] of [...at("questions").children].entries()) field.classList.toggle("active", other === index);
}

function activate(index) {
  mark(Math.min(Math.max(index, 0), QUESTIONS.length - 1));
  const field = at("questions").children[active];
  field.focus({ preventScroll: true });
  field.scrollIntoView({ block: "nearest" });
}

function go(index) {
  finishing = false;
  place = Math.min(Math.max(index, 0), videos.length - 1);
  const video = videos[place], player = at("video");
  show("rate");
  at("place").textContent = document.title = `Video ${place + 1} of ${videos.length}`;
  at("image").src = video.image;
  at("prompt").textContent = video.prompt;
  at("video-error").hidden = true;
  player.src = video.video;
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) play();
  if (place + 1 < videos.length) Object.assign(document.createElement("video"), { preload: "auto", muted: true, src: videos[place + 1].video });
  at("back").disabled = place === 0;
  drawAnswers();
  scrollTo(0, 0);
  mark(Math.max(0, QUESTIONS.findIndex(({ aspect }) => !video.scores[aspect])));
  at("questions").children[active].focus({ preventScroll: true });
}

function play() {
  at("video").play().catch(() => {}); // refused, or another video came: the button says so
}

function replay() {
  at("video").currentTime = 0;
  play();
}

function forward() {
  const open = QUESTIONS.findIndex(({ aspect }) => !videos[place].scores[aspect]);
  if (open >= 0) {
    activate(open);
    tell("Please answer all three questions first.");
  } else if (place < videos.length - 1) {
    go(place + 1);
  } else {
    finish();
  }
}

function finish() {
  const open = videos.findIndex((video) => !isWhole(video));
  finishing = open < 0 && waiting.size > 0; // `send` comes back here when all are kept
  if (open >= 0) go(open);
  else if (!finishing) {
    at("done-count").textContent = videos.length * QUESTIONS.length;
    show("done");
  }
}

function onKey(event) {
  if (at("rate").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
  const control = event.target.closest("button, a"), radio = event.target.closest("input");
  const keys = { Enter: forward, ArrowRight: forward, ArrowLeft: () => go(place - 1), " ": replay,
    ArrowUp: () => activate(active - 1), ArrowDown: () => activate(active + 1) };
  if (/^[1-5]$/.test(event.key)) {
    if (!event.repeat) answerAndMove(active, Number(event.key));
  } else if (!Object.hasOwn(keys, event.key) || (control && (event.key === "Enter" || event.key === " ")) || (radio && event.key !== "Enter")) {
    return; // a button or an answer that has the focus keeps its own keys
  } else if (!event.repeat) keys[event.key]();
  event.preventDefault();
}

function drawQuestions() {
  for (const [index, { aspect, title, hint }] of QUESTIONS.entries()) {
    const options = SCALE.map((meaning, number) => {
      const input = make("input", { type: "radio", name: aspect, value: number + 1, "aria-label": `${number + 1}, ${meaning}` });
      input.addEventListener("change", () => answer(index, number + 1));
      const label = make("label", { title: meaning }, input, make("span", { "aria-hidden": "true" }, String(number + 1)));
      label.addEventListener("click", (event) => {
        if (event.target === input) return; // the radio button's own click, from the keyboard
        event.preventDefault();
        answerAndMove(index, number + 1);
      });
      return label;
    });
    const ends = make("p", { class: "ends soft", "aria-hidden": "true" }, make("span", {}, SCALE[0]), make("span", {}, SCALE.at(-1)));
    const field = make("fieldset", { tabindex: -1, "data-aspect": aspect, "aria-describedby": `hint-${aspect}` },
      make("legend", {}, title), make("p", { class: "hint soft", id: `hint-${aspect}` }, hint), make("div", { class: "scale" }, ...options), ends);
    field.addEventListener("focusin", () => mark(index));
    at("questions").append(field);
    at("intro-questions").append(make("dt", {}, title), make("dd", {}, hint));
  }
}

async function join(event) {
  event.preventDefault();
  at("join-error").textContent = "";
  try {
    const { token } = await ask("/api/raters", "POST", { name: at("name").value });
    location.assign(`/r/${token}`);
  } catch (error) {
    at("join-error").textContent = error.refused ? error.message : "The server does not answer. Please try again.";
  }
}

async function copyLink() {
  at("intro-link").select();
  try {
    await navigator.clipboard.writeText(location.href);
    at("copy").textContent = "Copied";
  } catch { // without https there is no clipboard: the link is selected, to be copied by hand
    at("copy").textContent = "Selected";
  }
}

function listen() {
  const player = at("video");
  at("join-form").addEventListener("submit", join);
  at("copy").addEventListener("click", copyLink);
  at("begin").addEventListener("click", () => go(0));
  at("replay").addEventListener("click", replay);
  at("pause").addEventListener("click", () => (player.paused ? play() : player.pause()));
  for (const name of ["play", "pause", "emptied"]) player.addEventListener(name, () => { at("pause").textContent = player.paused ? "Play" : "Pause"; });
  player.addEventListener("error", () => { at("video-error").hidden = false; });
  at("retry").addEventListener("click", () => go(place));
  at("back").addEventListener("click", () => go(place - 1));
  at("next").addEventListener("click", forward);
  at("again").addEventListener("click", () => go(0));
  document.addEventListener("keydown", onKey);
  addEventListener("beforeunload", (event) => { if (waiting.size) event.preventDefault(); });
}

async function start() {
  drawQuestions();
  listen();
  try {
    if (!token) {
      const { by_link } = await ask("/api/study");
      show(by_link ? "by-link" : "join");
      if (!by_link) at("name").focus();
      return;
    }
    ({ videos } = await ask(`/api/r/${token}`));
  } catch (error) {
    fail(error.refused ? error.message : "The server does not answer. Please load the page again in a while.");
    return;
  }
  at("progress").max = videos.length * QUESTIONS.length;
  at("intro-count").textContent = videos.length;
  at("intro-link").value = location.href;
  tell("");
  if (!videos.some(answered)) show("intro");
  else finish(); // goes to the first question that is open
}

start();
