// Finds what a person means by "the button Save" or "the field Name": what is visible, by its accessible name.
// Arguments: a selector of the region to look in, a kind, a name or the beginning of one and `…`. Answers the element, or null.
const [region, kind, wanted] = arguments;
const kinds = {
  button: 'button, summary, input[type=submit], [role=button], [role=tab], [role=menuitem]',
  link: 'a[href]',
  field: 'input:not([type=hidden]):not([type=submit]), textarea, select',
};
const tidy = text => text.replace(/\s+/g, ' ').trim();
const text = element => {
  const copy = element.cloneNode(true);
  copy.querySelectorAll('[aria-hidden=true], input, select, textarea').forEach(part => part.remove());
  return tidy(copy.textContent);
};
const names = element => {
  const given = element.getAttribute('aria-label');
  if (given) return [tidy(given)];
  const by = element.getAttribute('aria-labelledby');
  if (by) return [tidy(by.split(/\s+/).map(id => text(document.getElementById(id))).join(' '))];
  if (element.labels?.length) return [...element.labels].map(text);
  return [text(element) || tidy(element.value ?? '') || tidy(element.title)];
};
const fits = name => wanted.endsWith('…') ? name.startsWith(wanted.slice(0, -1)) : name === wanted;
const root = document.querySelector(region);
if (!root) return null;
const found = [...root.querySelectorAll(kinds[kind])]
  .filter(element => element.checkVisibility({ visibilityProperty: true }))
  .filter(element => names(element).some(fits));
return found.find(element => !element.disabled) ?? null;
