// The form of a repository: rows come and go without a reload, what the rules would build is shown as one types, and a name
// is suggested. The server makes every part of it, so that it is the same without script.

import { announce } from "./app.js";

const PAUSE = 250;
const PREVIEW = "/new/preview";

const form = document.querySelector("[data-repository-form]");
let waiting = null;
let asking = null;

async function send(address, button, signal) {
  const fields = new FormData(form, button);
  // Nothing that is asked for here depends on a secret.
  for (const input of form.querySelectorAll("input[type=password]")) fields.delete(input.name);
  const answer = await fetch(address, {
    method: "POST",
    body: new URLSearchParams(fields),
    headers: { Accept: "text/html" },
    signal,
  });
  if (!answer.ok || answer.redirected) throw new Error(`status ${answer.status}`);
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

/** Adds or removes a row. What is typed elsewhere, passwords too, stays in its inputs. */
async function changeRows(button) {
  const rows = button.closest("[data-rows]");
  let page;
  try {
    page = await send(form.action, button);
  } catch {
    // The page itself knows best how to say what was wrong.
    return form.requestSubmit(button);
  }
  const fresh = page.getElementById(rows.id);
  const { name, value } = button;
  keepSecrets(rows, fresh, name === "remove" ? value : "");
  const open = [...rows.querySelectorAll("details[open][id]")].map((part) => part.id);
  rows.replaceWith(fresh);
  if (name === "add") for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  focusAfter(fresh, name, value);
  announce(name === "add" ? "Added" : "Removed");
}

/** The server sends no secret back, so what was typed moves from the old row to the new one. */
function keepSecrets(rows, fresh, removed) {
  const inputs = (root) => [...root.querySelectorAll("input[type=password]")];
  const old = inputs(rows).filter((input) => !removed || !input.name.startsWith(removed));
  inputs(fresh).forEach((input, index) => { input.value = old[index]?.value ?? ""; });
}

function focusAfter(fresh, name, value) {
  const scope = (value.includes("build_args") && document.getElementById(value.replace(/\[\d+\]$/, ""))) || fresh;
  const fields = [...scope.querySelectorAll("input:not([type=hidden]), select")];
  if (name === "add") {
    const row = [...scope.querySelectorAll(":scope > .rule, :scope > .entry")].at(-1);
    return (row?.querySelector("select, input") ?? fields.at(-1))?.focus();
  }
  scope.focus();
}

function previewSoon() {
  clearTimeout(waiting);
  waiting = setTimeout(preview, PAUSE);
}

async function preview() {
  asking?.abort();
  const mine = asking = new AbortController();
  try {
    const page = await send(PREVIEW, null, mine.signal);
    for (const fresh of page.querySelectorAll("[data-preview]")) {
      const old = document.getElementById(fresh.id);
      if (old && !old.isEqualNode(fresh)) old.replaceWith(fresh);
    }
  } catch {
    // Typed on, or away for a moment: the next change asks again.
  }
}

/** The last part of the source's address, in the form that names have. */
function nameOf(address) {
  const last = address.trim().replace(/\/+$/, "").split("/").pop().replace(/\.git$/i, "");
  return last.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 100);
}

function suggest() {
  const field = (id) => document.getElementById(id);
  const [address, name, namespace, image] = ["source.url", "name", "namespace", "image"].map(field);
  if (!namespace) return;
  let suggested = "";
  const tellImage = () => {
    const parts = [form.dataset.registry, namespace.value, name.value || "name"];
    image.placeholder = parts.filter(Boolean).join("/");
  };
  address.addEventListener("input", () => {
    if (name.value === suggested && address.value.includes("/")) {
      suggested = name.value = nameOf(address.value);
      tellImage();
    }
  });
  name.addEventListener("input", tellImage);
  namespace.addEventListener("change", tellImage);
}

/** The names of time zones, to choose from where the browser knows them. */
function offerTimeZones() {
  const list = Object.assign(document.createElement("datalist"), { id: "time-zones" });
  for (const zone of ["UTC", ...(Intl.supportedValuesOf?.("timeZone") ?? [])]) list.append(new Option(zone, zone));
  form.append(list);
}

form.addEventListener("click", (event) => {
  const button = event.target.closest("button[name=add], button[name=remove]");
  if (!button?.closest("[data-rows]")) return;
  event.preventDefault();
  changeRows(button);
});
form.addEventListener("input", previewSoon);
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.id === "try_name") {
    event.preventDefault();
    preview();
  }
});
for (const button of form.querySelectorAll("[data-without-script]")) button.hidden = true;
suggest();
offerTimeZones();
