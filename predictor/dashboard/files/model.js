// What the page knows of the model: it is in the page itself.

import { element } from "./dom.js";

/** `labels`; `features` with name, unit, range ([lowest, highest] or null) and log; `width`, numbers in a row;
 * `ownLabel`, whether the label need not be the most probable class; `tensors`, whether it takes these and no rows;
 * `name`, `version` and `digest`. */
export const model = JSON.parse(document.querySelector("main").dataset.model);

const COLOURS = 6; // more cannot be told apart; the other labels share one

/** Return the class that gives a label its colour, the same all over the page. */
export const colour = (label) => `c${Math.min(label, COLOURS)}`;

/** Return a label with the spot of its colour; none is shown that stays out of the log. */
export function labelled(label) {
  if (model.tensors) return [element("span", {}, "tensors")];
  if (label === undefined) return [element("span", { class: "muted" }, "not shown")];
  return [element("span", { class: `swatch ${colour(label)}`, "aria-hidden": "true" }), model.labels[label]];
}

/** Tell whether a value is beyond what the model saw of a feature in training. */
export function beyond(feature, value) {
  return Boolean(feature.range) && (value < feature.range[0] || value > feature.range[1]);
}

/** Return the bars of probabilities: pairs of label and number, the most probable first. */
export function probabilities(pairs, track, percent) {
  const items = pairs.map(([label, share]) =>
    element("li", {}, element("span", {}, ...labelled(label)), track(share, colour(label)), percent(share)),
  );
  return element("ul", { class: "bars" }, ...items);
}
