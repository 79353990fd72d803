// Filters a list on the server while somebody types: `<form data-filters="id">` names the element that is to be swapped.

import { announce } from "./app.js";

const PAUSE = 140;

for (const form of document.querySelectorAll("form[data-filters]")) {
  const box = form.querySelector("input[type=search]");
  let waiting = null;
  let last = null;
  box.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(show, PAUSE);
  });

  async function show() {
    const address = new URL(form.action);
    for (const [name, value] of new FormData(form)) if (value) address.searchParams.set(name, value);
    last?.abort();
    last = new AbortController();
    try {
      const answer = await fetch(address, { headers: { Accept: "text/html" }, signal: last.signal });
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(form.dataset.filters);
      if (!fresh) return;
      document.getElementById(form.dataset.filters).replaceWith(fresh);
      fresh.dispatchEvent(new CustomEvent("hullworks:swapped", { bubbles: true }));
      history.replaceState(null, "", address);
      announce(`${fresh.querySelectorAll("li").length} shown`);
    } catch (error) {
      if (error.name !== "AbortError") form.submit();
    }
  }
}
