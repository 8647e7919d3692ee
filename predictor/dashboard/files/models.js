// The other models and versions of this server, each with a page like this one.

import { element } from "./dom.js";
import { model } from "./model.js";

const same = (a, b) => a.name === b.name && a.version === b.version;

/** Show links to the other pages, if there are any, and say of which model the form's call would be. */
export async function listModels() {
  const response = await fetch("metadata");
  if (!response.ok) return;
  const { models } = await response.json();
  const meant = models.find((each) => each.default);
  if (meant && !same(meant, model)) {
    for (const control of document.querySelectorAll("#try form :is(input, select, textarea, button)")) control.disabled = true;
    document.querySelector("#form-note").textContent = `The form asks the default model, ${meant.name}; this is the page of another.`;
  }
  if (models.length < 2) return;
  const nav = document.querySelector("#models");
  nav.replaceChildren(...models.flatMap((each) => [link(each), " "]));
  nav.hidden = false;
}

function link(each) {
  const where = new URLSearchParams({ model: each.name, version: each.version });
  const here = same(each, model) ? { "aria-current": "page" } : {};
  return element("a", { href: each.default ? "./" : `?${where}`, ...here }, `${each.name} ${each.version}`);
}
