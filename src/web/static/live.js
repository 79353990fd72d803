// Keeps parts of a page as they are on the server. `<section id="builds" data-live="/live/...">` names a stream of events;
// on each `change` the page is fetched again and the elements of the same ids take the place of the old ones.

const PAUSE = 150;
let waiting = null;
let fetching = false;

const sources = new Map();
const over = new Set();
let prepare = () => {};

/** Follows every stream that the page names. `make` does to fresh parts what the script did to the page. */
export function watch(make) {
  prepare = make;
  listen();
  // Browsers open few connections to a host: what nobody looks at holds none, and is made true when somebody does.
  document.addEventListener("visibilitychange", () => (document.hidden ? hush() : listen()));
  document.addEventListener("hullworks:changed", refreshSoon);
  addEventListener("pagehide", hush);
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
}

function listen() {
  if (document.hidden) return;
  for (const part of document.querySelectorAll("[data-live]")) {
    const address = part.dataset.live;
    if (sources.has(address) || over.has(address)) continue;
    const source = new EventSource(address);
    sources.set(address, source);
    source.addEventListener("change", refreshSoon);
    // The server says that there is nothing to wait for any more, or that one may no longer see it.
    source.addEventListener("end", () => { source.close(); over.add(address); refreshSoon(); });
  }
}

function hush() {
  for (const source of sources.values()) source.close();
  sources.clear();
}

function refreshSoon() {
  waiting ??= setTimeout(refresh, PAUSE);
}

async function refresh() {
  waiting = null;
  if (fetching) return refreshSoon();
  fetching = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.redirected || answer.status === 404) return location.reload();
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const old of document.querySelectorAll("[data-live][id]")) swap(old, fresh.getElementById(old.id));
  } catch {
    // Away for a moment: the stream connects again by itself, and the next change brings all of it.
  } finally {
    fetching = false;
  }
}

function swap(old, fresh) {
  if (!fresh) return;
  prepare(fresh);
  if (old.isEqualNode(fresh)) return;
  // What somebody is using must not be torn from under their hands.
  const active = old.contains(document.activeElement) ? document.activeElement : null;
  if (active?.matches("input:not([type=checkbox]), textarea, select") || old.querySelector("details[open] :focus")) return refreshLater();
  const focus = active && pathTo(old, active);
  const open = [...old.querySelectorAll("details[open][id]")].map((part) => part.id);
  old.replaceWith(fresh);
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  if (focus) follow(fresh, focus)?.focus({ preventScroll: true });
  fresh.dispatchEvent(new CustomEvent("hullworks:swapped", { bubbles: true }));
}

function refreshLater() {
  document.activeElement.addEventListener("blur", refreshSoon, { once: true });
}

/** Where an element stands, as indexes among children. */
function pathTo(root, element) {
  const path = [];
  for (let at = element; at !== root; at = at.parentElement) path.unshift([...at.parentElement.children].indexOf(at));
  return path;
}

function follow(root, path) {
  return path.reduce((at, index) => at?.children[index], root);
}
