// The log of a build. However long it is, only the lines in sight are in the page: they are fetched in blocks as they come
// into sight, and new ones arrive as they are written. Lines come as text with names of styles and stay text.

import { announce } from "./app.js";

const BLOCK = 200;
/** Blocks that are kept. */
const KEPT = 80;
/** Rows beyond what is in sight, on either side. */
const MARGIN = 30;
/** Browsers lose count beyond some ten million pixels; a longer log is scrolled in proportion. */
const TALLEST = 6_000_000;
/** Steps that ended well and have more lines are folded when the page opens. */
const LONG = 20;
const MOST_HITS = 10_000;

const section = document.getElementById("log");
const view = document.getElementById("log-view");

if (section && view) start();

function start() {
  const address = section.dataset.log;
  const by = (id) => document.getElementById(id);
  const space = element("div", "log-space");
  const rows = element("div", "log-rows");
  const blocks = new Map();
  const fetching = new Set();
  const folded = new Map();

  let total = 0;
  let ended = false;
  let firstError = null;
  let sections = [];
  /** Where each section begins among the rows, and the number of rows. */
  let starts = [0];
  let count = 0;
  let height = 24;
  /** What stands at the upper edge: a row, and how much of it is out of sight. */
  let anchor = { row: 0, pixels: 0 };
  let lastTop = 0;
  let following = false;
  let selected = null;
  let needle = "";
  let hits = [];
  let hitsTo = 1;
  let current = -1;
  let searching = null;
  let planned = false;
  const measured = new Map();

  // Lines and rows ------------------------------------------------------------------------------------------------

  /** Lines before the first section, if there are any, are one without a step. */
  function arrange() {
    starts = [];
    count = 0;
    for (const [index, part] of sections.entries()) {
      part.last = (sections[index + 1]?.first ?? total + 1) - 1;
      starts.push(count);
      count += isFolded(part) ? 1 : Math.max(part.last - part.first + 1, 0);
    }
  }

  function isFolded(part) {
    return part.step !== null && (folded.get(part.first) ?? false);
  }

  function sectionOfRow(row) {
    return sections[lastAtMost(starts, row)];
  }

  function lineOfRow(row) {
    const index = lastAtMost(starts, row);
    return (sections[index]?.first ?? 1) + row - (starts[index] ?? 0);
  }

  function rowOfLine(line) {
    const index = lastAtMost(sections.map((part) => part.first), line);
    const part = sections[index];
    if (!part) return 0;
    return starts[index] + (isFolded(part) ? 0 : line - part.first);
  }

  function setOutline(outline) {
    const had = new Set(sections.map((part) => part.first));
    sections = outline.sections;
    if (!sections.length || sections[0].first > 1) sections.unshift({ first: 1, step: null, title: "", outcome: "open", took: null });
    firstError = outline.first_error;
    setTotal(outline.total);
    for (const part of sections) {
      // Nothing folds under the eyes of who reads it.
      if (!had.size && ["done", "cached"].includes(part.outcome) && part.last - part.first > LONG) folded.set(part.first, true);
    }
    arrange();
    by("log-error").hidden = firstError === null;
    by("log-fold").hidden = !sections.some((part) => part.step !== null);
  }

  function setTotal(lines) {
    total = lines;
    by("log-total").textContent = `${lines.toLocaleString("en")} ${lines === 1 ? "line" : "lines"}`;
    arrange();
  }

  // Fetching ------------------------------------------------------------------------------------------------------

  function keep(from, lines) {
    lines.forEach((line, index) => {
      const number = from + index;
      const id = Math.floor((number - 1) / BLOCK);
      let block = blocks.get(id);
      if (!block) blocks.set(id, (block = []));
      block[(number - 1) % BLOCK] = line;
    });
    while (blocks.size > KEPT) blocks.delete(blocks.keys().next().value);
  }

  function lineAt(number) {
    const id = Math.floor((number - 1) / BLOCK);
    const block = blocks.get(id);
    if (block) {
      // The one that was used last goes last.
      blocks.delete(id);
      blocks.set(id, block);
    }
    return block?.[(number - 1) % BLOCK];
  }

  async function fetchBlock(id) {
    if (fetching.has(id)) return;
    fetching.add(id);
    try {
      let from = id * BLOCK + 1;
      const until = Math.min(from + BLOCK - 1, total);
      while (from <= until) {
        const answer = await fetch(`${address}/lines?from=${from}&count=${until - from + 1}`, { headers: { Accept: "application/json" } });
        if (!answer.ok) throw new Error(answer.status);
        const got = await answer.json();
        if (!got.lines.length) break;
        keep(got.from, got.lines);
        from += got.lines.length;
        plan();
      }
    } catch {
      // Asked for again a little later, if it is still in sight.
      await new Promise((resolve) => setTimeout(resolve, 1500));
    } finally {
      fetching.delete(id);
      plan();
    }
  }

  // Scrolling -----------------------------------------------------------------------------------------------------

  const wraps = () => view.classList.contains("wrap");
  const full = () => Math.min(Math.max(count * height, view.clientHeight), TALLEST);
  /** Whether each row stands exactly where the bar says. */
  const isExact = () => !wraps() && count * height <= TALLEST;
  const heightOf = (row) => (wraps() ? measured.get(row) ?? height : height);
  const bottom = () => full() - view.clientHeight;

  function moveBy(pixels) {
    let { row, pixels: inside } = anchor;
    inside += pixels;
    while (inside < 0 && row > 0) inside += heightOf(--row);
    while (row < count - 1 && inside >= heightOf(row)) inside -= heightOf(row++);
    anchor = { row, pixels: Math.max(inside, 0) };
  }

  function onScroll() {
    const top = view.scrollTop;
    const distance = top - lastTop;
    lastTop = top;
    if (isExact()) anchor = { row: Math.floor(top / height), pixels: top % height };
    else if (top <= 0) anchor = { row: 0, pixels: 0 };
    else if (top >= bottom() - 1) toEnd();
    else if (Math.abs(distance) <= 2 * view.clientHeight) moveBy(distance);
    else {
      const row = (top / bottom()) * Math.max(count - view.clientHeight / height, 0);
      anchor = { row: Math.floor(row), pixels: (row % 1) * height };
    }
    // Whoever scrolls up wants to read; whoever comes back to the end wants to see what comes.
    if (distance < 0 && following && top < bottom() - height) setFollowing(false);
    else if (!ended && !following && distance > 0 && top >= bottom() - 2) setFollowing(true);
    plan();
  }

  function toEnd() {
    anchor = { row: Math.max(count - 1, 0), pixels: 0 };
    moveBy(height - view.clientHeight);
  }

  /** Brings a row into sight, a few rows below the upper edge. */
  function showRow(row) {
    anchor = { row: Math.min(Math.max(row, 0), Math.max(count - 1, 0)), pixels: 0 };
    moveBy(-Math.min(5 * height, view.clientHeight / 3));
    placeBar();
    plan();
  }

  /** Sets the bar to where the anchor is. */
  function placeBar() {
    space.style.height = `${full()}px`;
    const exact = anchor.row * height + anchor.pixels;
    const most = Math.max(count * height - view.clientHeight, 1);
    view.scrollTop = isExact() ? exact : (Math.min(exact, most) / most) * bottom();
    lastTop = view.scrollTop;
    if (isExact()) anchor = { row: Math.floor(lastTop / height), pixels: lastTop % height };
  }

  // Drawing -------------------------------------------------------------------------------------------------------

  function plan() {
    if (planned) return;
    planned = true;
    requestAnimationFrame(() => {
      planned = false;
      draw();
    });
  }

  function draw() {
    space.style.height = `${full()}px`;
    rows.style.setProperty("--seen", `${view.clientWidth}px`);
    if (following) {
      toEnd();
      view.scrollTop = bottom();
      lastTop = view.scrollTop;
      if (isExact()) anchor = { row: Math.floor(lastTop / height), pixels: lastTop % height };
    }
    const from = Math.max(anchor.row - MARGIN, 0);
    const to = Math.min(anchor.row + Math.ceil(view.clientHeight / height) + MARGIN, count);
    const focused = rows.contains(document.activeElement) ? document.activeElement.dataset.line : null;
    const fresh = document.createDocumentFragment();
    const missing = new Set();
    for (let row = from; row < to; row++) {
      const line = lineOfRow(row);
      const spans = lineAt(line);
      if (!spans) missing.add(Math.floor((line - 1) / BLOCK));
      fresh.append(drawLine(row, line, spans));
    }
    rows.replaceChildren(fresh);
    if (focused) rows.querySelector(`button[data-line="${focused}"]`)?.focus({ preventScroll: true });
    let above = (anchor.row - from) * height;
    if (wraps()) {
      [...rows.children].forEach((child, index) => measured.set(from + index, child.offsetHeight));
      above = rows.children[anchor.row - from]?.offsetTop ?? 0;
      if (following || view.scrollTop >= bottom() - 1) {
        // Only now it is known how tall the last rows are.
        toEnd();
        above = rows.children[anchor.row - from]?.offsetTop ?? above;
      }
    }
    rows.style.transform = `translateY(${view.scrollTop - above - anchor.pixels}px)`;
    for (const id of missing) fetchBlock(id);
  }

  function drawLine(row, line, spans) {
    const part = sectionOfRow(row);
    const isFirst = part?.step !== null && part?.first === line;
    const box = element("div", "ln");
    if (!spans) box.classList.add("await");
    if (selected && line >= selected[0] && line <= selected[1]) box.classList.add("sel");
    if (hits[current] === line) box.classList.add("hit-now");
    const number = element("a", "no");
    number.href = `#L${line}`;
    number.textContent = line;
    number.tabIndex = -1;
    number.setAttribute("aria-label", `Line ${line}`);
    number.dataset.number = line;
    const text = element("span", "tx");
    if (spans) write(text, spans);
    if (isFirst) {
      box.classList.add("first");
      const button = element("button", "fold");
      button.type = "button";
      button.dataset.line = line;
      button.setAttribute("aria-expanded", String(!isFolded(part)));
      button.append(...text.childNodes);
      const lines = part.last - part.first;
      const words = [part.outcome === "open" ? "" : part.outcome, part.took ?? "", isFolded(part) ? `${lines.toLocaleString("en")} more lines` : ""];
      const note = element("span", part.outcome === "failed" ? "note failed" : "note");
      note.textContent = words.filter(Boolean).join(" · ");
      text.append(button, note);
    }
    box.append(number, text);
    return box;
  }

  /** Puts runs of text into an element, and marks what is searched for. */
  function write(into, spans) {
    const runs = spans.map((run) => (typeof run === "string" ? ["", run] : run));
    const whole = runs.map(([, text]) => text).join("");
    const places = needle ? placesOf(whole) : [];
    let at = 0;
    for (const [classes, text] of runs) {
      const span = element("span", classes);
      const end = at + text.length;
      let done = at;
      for (const [from, to] of places) {
        if (to <= at || from >= end) continue;
        const begin = Math.max(from, at);
        if (begin > done) span.append(whole.slice(done, begin));
        const mark = document.createElement("mark");
        mark.textContent = whole.slice(begin, Math.min(to, end));
        span.append(mark);
        done = Math.min(to, end);
      }
      if (done < end) span.append(whole.slice(done, end));
      into.append(span);
      at = end;
    }
  }

  function placesOf(text) {
    const lower = text.toLowerCase();
    const wanted = needle.toLowerCase();
    const places = [];
    // Some letters change their length with their case: better no mark than one in a wrong place.
    if (lower.length !== text.length) return places;
    for (let at = lower.indexOf(wanted); at >= 0 && places.length < 200; at = lower.indexOf(wanted, at + wanted.length)) {
      places.push([at, at + wanted.length]);
    }
    return places;
  }

  // Lines that are linked -----------------------------------------------------------------------------------------

  function goTo(line) {
    setFollowing(false);
    const part = sections[lastAtMost(sections.map((other) => other.first), line)];
    if (part && isFolded(part) && line > part.first) {
      folded.set(part.first, false);
      changed();
    }
    showRow(rowOfLine(line));
  }

  function fromAddress() {
    const found = /^#L(\d{1,9})(?:-L?(\d{1,9}))?$/.exec(location.hash);
    if (!found) return false;
    const ends = [Number(found[1]), Number(found[2] ?? found[1])].map((line) => Math.min(Math.max(line, 1), Math.max(total, 1)));
    selected = [Math.min(...ends), Math.max(...ends)];
    goTo(selected[0]);
    return true;
  }

  function select(from, to) {
    selected = [Math.min(from, to), Math.max(from, to)];
    const name = selected[0] === selected[1] ? `#L${selected[0]}` : `#L${selected[0]}-L${selected[1]}`;
    history.replaceState(null, "", name);
    plan();
  }

  // Searching -----------------------------------------------------------------------------------------------------

  async function search(text) {
    needle = text;
    hits = [];
    hitsTo = 1;
    current = -1;
    searching?.abort();
    plan();
    tellHits(Boolean(text));
    if (text) await searchOn();
  }

  /** Goes on from where the search came to; also when a log has grown. */
  async function searchOn() {
    searching = new AbortController();
    const { signal } = searching;
    try {
      for (let from = hitsTo; from && hits.length < MOST_HITS; ) {
        const query = new URLSearchParams({ q: needle, from });
        const answer = await fetch(`${address}/search?${query}`, { signal, headers: { Accept: "application/json" } });
        if (!answer.ok) return;
        const found = await answer.json();
        hits.push(...found.lines.filter((line) => line > (hits.at(-1) ?? 0)));
        hitsTo = found.next ?? total + 1;
        if (current < 0 && hits.length) goToHit(nearestHit());
        from = found.next;
        tellHits(Boolean(from));
      }
      tellHits();
    } catch {
      // Another search took its place, or the server is away: the next key asks again.
    }
  }

  function nearestHit() {
    const line = lineOfRow(anchor.row);
    const index = hits.findIndex((hit) => hit >= line);
    return index < 0 ? 0 : index;
  }

  function goToHit(index) {
    if (!hits.length) return;
    current = (index + hits.length) % hits.length;
    goTo(hits[current]);
    tellHits();
  }

  function tellHits(goesOn = false) {
    const more = goesOn || hits.length >= MOST_HITS ? "+" : "";
    const shown = hits.length.toLocaleString("en") + more;
    by("log-count").textContent = !needle ? "" : hits.length ? `${(current + 1).toLocaleString("en")} of ${shown}` : goesOn ? "…" : "nothing";
    for (const id of ["log-previous", "log-next"]) by(id).disabled = !hits.length;
  }

  // Following -----------------------------------------------------------------------------------------------------

  function setFollowing(on) {
    following = on && !ended;
    const button = by("log-follow");
    button.hidden = ended;
    button.setAttribute("aria-pressed", String(following));
    button.textContent = following ? "Following" : "Follow";
    if (following) plan();
  }

  function listen() {
    const source = new EventSource(`${address}/stream?from=${Math.max(total, 1)}`);
    source.addEventListener("lines", (event) => {
      const got = JSON.parse(event.data);
      keep(got.from, got.lines);
      setTotal(got.total);
      if (needle && !searching?.signal.aborted && hitsTo <= got.total) searchSoon();
      plan();
    });
    source.addEventListener("outline", (event) => {
      const place = lineOfRow(anchor.row);
      setOutline(JSON.parse(event.data));
      if (!following) anchor.row = rowOfLine(place);
      plan();
      document.dispatchEvent(new CustomEvent("hullworks:changed"));
    });
    source.addEventListener("end", () => {
      source.close();
      ended = true;
      setFollowing(false);
      announce("The build has ended");
      document.dispatchEvent(new CustomEvent("hullworks:changed"));
    });
    source.addEventListener("error", () => {
      // The browser comes back by itself, unless it was refused: then one may no longer look, or the server was away.
      if (source.readyState === EventSource.CLOSED && !ended) setTimeout(listenAgain, 2000);
    });
    addEventListener("pagehide", () => source.close());
  }

  async function listenAgain() {
    const answer = await fetch(`${address}/outline`, { headers: { Accept: "application/json" } }).catch(() => null);
    if (answer?.ok) listen();
    else if (answer && answer.status < 500) location.reload();
    else setTimeout(listenAgain, 5000);
  }

  let soon = null;
  function searchSoon() {
    soon ??= setTimeout(() => {
      soon = null;
      if (needle) searchOn();
    }, 1000);
  }

  // What people do ------------------------------------------------------------------------------------------------

  /** The rows are others than before: what was at the upper edge stays there. */
  function changed() {
    const line = lineOfRow(anchor.row);
    measured.clear();
    arrange();
    anchor = { row: Math.min(rowOfLine(line), Math.max(count - 1, 0)), pixels: 0 };
    placeBar();
    plan();
  }

  function toggle(line) {
    const top = rowOfLine(line) - anchor.row;
    folded.set(line, !(folded.get(line) ?? false));
    measured.clear();
    arrange();
    // The head that was clicked stays under the pointer.
    anchor = { row: Math.max(rowOfLine(line) - top, 0), pixels: anchor.pixels };
    placeBar();
    draw();
  }

  view.addEventListener("scroll", onScroll, { passive: true });
  new ResizeObserver(() => {
    measured.clear();
    plan();
  }).observe(view);

  rows.addEventListener("click", (event) => {
    const number = event.target.closest("a.no");
    if (number) {
      event.preventDefault();
      const line = Number(number.dataset.number);
      if (event.shiftKey && selected) select(selected[0], line);
      else select(line, line);
      return;
    }
    const button = event.target.closest("button.fold");
    // Whoever marks text in it means the text.
    if (button && getSelection().isCollapsed) toggle(Number(button.dataset.line));
  });

  addEventListener("hashchange", () => {
    if (fromAddress()) section.scrollIntoView({ block: "nearest" });
  });
  // A link to the line that is in the address already leads there all the same.
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#L"]');
    if (link && !rows.contains(link) && link.hash === location.hash && fromAddress()) section.scrollIntoView({ block: "nearest" });
  });

  const input = by("log-search");
  let typing = null;
  input.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => search(input.value), 150);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      event.preventDefault();
      if (input.value !== needle) search(input.value);
      else goToHit(current + (event.shiftKey ? -1 : 1));
    } else if (event.key === "Escape") {
      input.value = "";
      search("");
      view.focus({ preventScroll: true });
    }
  });
  by("log-next").addEventListener("click", () => goToHit(current + 1));
  by("log-previous").addEventListener("click", () => goToHit(current - 1));
  by("log-follow").addEventListener("click", () => setFollowing(!following));
  by("log-error").addEventListener("click", goToError);
  by("log-wrap").addEventListener("click", () => setWrap(!wraps()));
  by("log-fold").addEventListener("click", () => {
    const fold = by("log-fold").getAttribute("aria-pressed") !== "true";
    for (const part of sections) if (part.step !== null) folded.set(part.first, fold);
    by("log-fold").setAttribute("aria-pressed", String(fold));
    changed();
  });

  function goToError() {
    if (firstError === null) return;
    select(firstError, firstError);
    goTo(firstError);
  }

  function setWrap(on) {
    const line = lineOfRow(anchor.row);
    view.classList.toggle("wrap", on);
    by("log-wrap").setAttribute("aria-pressed", String(on));
    try { localStorage.setItem("log-wrap", on ? "on" : ""); } catch { /* Not kept, then. */ }
    measured.clear();
    anchor = { row: rowOfLine(line), pixels: 0 };
    placeBar();
    plan();
  }

  /** Moves the marked line by the keyboard. */
  function step(way, extending) {
    const at = selected ? selected[way > 0 ? 1 : 0] : lineOfRow(anchor.row) - way;
    const line = Math.min(Math.max(at + way, 1), total);
    if (extending && selected) select(way > 0 ? selected[0] : line, way > 0 ? line : selected[1]);
    else select(line, line);
    const row = rowOfLine(line);
    const inSight = row > anchor.row && row < anchor.row + Math.floor(view.clientHeight / height) - 1;
    if (!inSight) goTo(line);
    announce(`Line ${line}`);
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select, [contenteditable]")) return;
    const act = {
      n: () => goToHit(current + 1),
      N: () => goToHit(current - 1),
      f: () => setFollowing(!following),
      e: goToError,
      j: () => step(1, false),
      k: () => step(-1, false),
      J: () => step(1, true),
      K: () => step(-1, true),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  // The beginning -------------------------------------------------------------------------------------------------

  async function begin() {
    const answer = await fetch(`${address}/outline`, { headers: { Accept: "application/json" } });
    if (!answer.ok) return;
    const outline = await answer.json();
    ended = outline.ended;
    for (const plain of section.querySelectorAll("[data-plain]")) plain.remove();
    view.classList.add("virtual");
    try { if (localStorage.getItem("log-wrap")) setWrap(true); } catch { /* As it is, then. */ }
    view.replaceChildren(space);
    space.append(rows);
    const probe = rows.appendChild(element("div", "ln"));
    height = probe.getBoundingClientRect().height || height;
    probe.remove();
    setOutline(outline);
    tellHits();
    setFollowing(false);
    if (fromAddress()) section.scrollIntoView({ block: "start" });
    else if (!ended) setFollowing(true);
    else if (firstError !== null) goTo(firstError);
    draw();
    if (!ended) listen();
  }

  begin();
}

function element(name, classes) {
  const made = document.createElement(name);
  if (classes) made.className = classes;
  return made;
}

/** The index of the last of the ascending numbers that is at most `value`; 0 if there is none. */
function lastAtMost(numbers, value) {
  let [low, high] = [0, numbers.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (numbers[middle] <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}
