"use strict";
// Videos exist only near the window, and play in sight, a row's together.
const at = (id) => document.getElementById(id);
const data = JSON.parse(at("data").textContent);
let paused = matchMedia("(prefers-reduced-motion: reduce)").matches;
let media = null;

function make(tag, text, className) {
  const node = document.createElement(tag);
  if (text !== undefined && text !== null) node.textContent = text;
  if (className) node.className = className;
  return node;
}

function address(place) {
  if (!media) {
    media = JSON.parse(at("media").textContent);
    at("media").remove();
  }
  const [type, content] = media[place];
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  return URL.createObjectURL(new Blob([bytes], { type }));
}

const wanted = (row) => row.inSight && (row.own ?? !paused);
const videosOf = (row) => row.media.filter((node) => node.tagName === "VIDEO");

function load(row) {
  for (const node of row.media) if (!node.hasAttribute("src")) node.src = address(Number(node.dataset.place));
}

function unload(row) {
  // Browsers hold few open videos at a time.
  row.started = false;
  for (const node of row.media) {
    if (!node.hasAttribute("src")) continue;
    URL.revokeObjectURL(node.src);
    node.removeAttribute("src");
    if (node.tagName === "VIDEO") node.load();
  }
}

function begin(row) {
  // All of a row's videos start together, from their first frames; the longest one decides when they start again.
  row.started = true;
  for (const video of videosOf(row)) {
    video.currentTime = 0;
    video.play().catch(() => {}); // refused where it is paused again before it could start
  }
}

function resume(row) {
  const left = videosOf(row).filter((video) => !video.ended);
  if (!left.length) begin(row);
  for (const video of left) video.play().catch(() => {});
}

function follow(row) {
  const videos = videosOf(row);
  row.toggle.hidden = !videos.length;
  row.toggle.textContent = (row.own ?? !paused) ? "Pause" : "Play";
  if (!wanted(row)) {
    for (const video of videos) video.pause();
  } else if (row.started) {
    resume(row);
  } else if (videos.every((video) => video.readyState >= HTMLMediaElement.HAVE_FUTURE_DATA)) {
    begin(row);
  }
}

function onError(row, node) {
  URL.revokeObjectURL(node.src);
  node.replaceWith(make("p", "The browser cannot show this file.", "box"));
  row.media = row.media.filter((other) => other !== node);
  follow(row);
}

function drawMedium(row, place, label) {
  const isVideo = place !== row.given || !row.picture;
  const node = make(isVideo ? "video" : "img");
  node.dataset.place = place;
  if (isVideo) {
    Object.assign(node, { muted: true, playsInline: true, preload: "auto", disablePictureInPicture: true });
    node.setAttribute("aria-label", label);
    node.addEventListener("canplay", () => follow(row));
    node.addEventListener("ended", () => follow(row));
  } else {
    node.alt = label;
  }
  node.addEventListener("error", () => node.hasAttribute("src") && onError(row, node));
  row.media.push(node);
  return node;
}

function setPaused(value) {
  paused = value;
  at("pause").textContent = paused ? "Play all" : "Pause all";
  for (const row of data.rows) {
    row.own = null;
    follow(row);
  }
}

function watch() {
  const rowOf = new Map(data.rows.map((row) => [row.node, row]));
  const near = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) (isIntersecting ? load : unload)(rowOf.get(target));
  }, { rootMargin: "600px 0px" });
  const sight = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const row = rowOf.get(target);
      row.inSight = isIntersecting;
      follow(row);
    }
  });
  for (const { node } of data.rows) {
    near.observe(node);
    sight.observe(node);
  }
  at("pause").addEventListener("click", () => setPaused(!paused));
  setPaused(paused);
}
