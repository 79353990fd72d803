// What every page has: copying, filtering as one types, relative times that stay true, menus that close, and forms that
// answer without a reload. Everything here improves what already works without it.

import { watch } from "./live.js";

const PLAIN = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "long" });
const UNITS = [["year", 31536000], ["month", 2592000], ["week", 604800], ["day", 86400], ["hour", 3600], ["minute", 60]];

/** The words for a moment, seen from now. */
export function relative(moment, now = Date.now()) {
  const seconds = Math.round((moment - now) / 1000);
  for (const [unit, length] of UNITS) {
    if (Math.abs(seconds) >= length) return PLAIN.format(Math.trunc(seconds / length), unit);
  }
  return Math.abs(seconds) < 10 ? "just now" : PLAIN.format(seconds, "second");
}

function tellTime(root = document) {
  for (const time of root.querySelectorAll("time[data-relative]")) {
    const words = relative(Date.parse(time.dateTime));
    if (time.textContent !== words) time.textContent = words;
  }
}

/** The words for how long something has taken so far. */
function lasting(since, now = Date.now()) {
  const seconds = Math.max(0, Math.floor((now - since) / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60) % 60} min`;
}

function tellDurations(root = document) {
  for (const part of root.querySelectorAll("[data-since]")) {
    const words = lasting(Date.parse(part.dataset.since));
    if (part.textContent !== words) part.textContent = words;
  }
}

/** What the script makes of a page, or of a part of it that has just come. */
function prepare(root = document) {
  for (const box of root.querySelectorAll("[data-needs-script]")) box.hidden = false;
  tellTime(root);
  tellDurations(root);
}

/** Tells a screen reader what the eye sees. */
export function announce(words) {
  document.getElementById("announcer").textContent = words;
}

async function copy(button) {
  await navigator.clipboard.writeText(button.dataset.copy);
  flash(button, "Copied");
}

/** Turns a button green for a moment, without moving what stands beside it. */
export function flash(button, words) {
  button.classList.add("done");
  announce(words);
  setTimeout(() => button.classList.remove("done"), 1600);
}

/** Says on the page what was not done. */
function refuse(words) {
  document.querySelector(".notice.said")?.remove();
  const notice = document.createElement("div");
  notice.className = "notice bad said";
  notice.setAttribute("role", "alert");
  notice.append(document.createElement("div"));
  notice.firstChild.textContent = words;
  document.getElementById("main").prepend(notice);
  notice.scrollIntoView({ block: "nearest" });
}

/** Hides what does not hold all the words that are typed: `<input data-filter="id">` over the children of that element. */
function filter(input) {
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  const list = document.getElementById(input.dataset.filter);
  let shown = 0;
  for (const item of list?.children ?? []) {
    const text = item.textContent.toLowerCase();
    item.hidden = !words.every((word) => text.includes(word));
    shown += item.hidden ? 0 : 1;
  }
  announce(words.length ? `${shown} shown` : "");
}

/** Sends a `<form data-quiet>` without leaving the page; live sections show what came of it. */
async function sendQuietly(form, button) {
  const answer = await fetch(form.action, {
    method: "POST",
    body: new URLSearchParams(new FormData(form, button)),
    headers: { Accept: "application/json" },
  });
  if (!answer.ok) {
    form.dataset.refused = "";
    // The page itself knows best how to say what was wrong.
    return form.requestSubmit(button);
  }
  const said = await answer.json().catch(() => ({}));
  document.querySelector(".notice.said")?.remove();
  if (said.tone === "bad") refuse(said.notice);
  else flash(button ?? form.querySelector("button"), said.notice ?? "Done");
  document.dispatchEvent(new CustomEvent("hullworks:changed"));
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    const menu = document.querySelector("details.menu[open]");
    if (menu) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  }
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    const box = document.querySelector("[data-slash]");
    if (box) {
      event.preventDefault();
      box.focus();
      box.select();
    }
  }
});

document.addEventListener("input", (event) => {
  if (event.target.matches("[data-filter]")) filter(event.target);
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  const question = event.submitter?.dataset.confirm ?? form.dataset.confirm;
  if (question && !window.confirm(question)) return event.preventDefault();
  if (form.matches("[data-quiet]") && !("refused" in form.dataset)) {
    event.preventDefault();
    sendQuietly(form, event.submitter);
  }
});

document.addEventListener("hullworks:swapped", () => {
  for (const input of document.querySelectorAll("[data-filter]")) if (input.value) filter(input);
});

prepare();
setInterval(tellTime, 20_000);
setInterval(tellDurations, 1000);
watch(prepare);
