// What the page knows of the model: it is in the page itself.

import { element, short } from "./dom.js";

/** `labels`; `features` with name, unit, range ([lowest, highest] or null) and log; `width`, numbers in a row;
 * `ownLabel`, whether the label need not be the most probable class; `tensors`, whether it takes these and no rows;
 * `name`, `version` and `digest`. */
export const model = JSON.parse(document.querySelector("main").dataset.model);

const COLOURS = 6; // more cannot be told apart; the other labels share one

/** Return the class that gives a label its colour, the same all over the page. */
export const colour = (label) => `c${typeof label === "number" ? Math.min(label, COLOURS) : COLOURS}`;

/** Return a label with the spot of its colour; none is shown that stays out of the log. */
export function labelled(label) {
  if (model.tensors) return [element("span", {}, "tensors")];
  if (label === undefined) return [element("span", { class: "muted" }, "not shown")];
  if (typeof label === "string") return [label]; // the model knows its labels, the page does not
  return [element("span", { class: `swatch ${colour(label)}`, "aria-hidden": "true" }), model.labels[label]];
}

/** Tell whether a value is beyond what the model saw of a feature in training. */
export function beyond(feature, value) {
  return Boolean(feature.range) && typeof value === "number" && (value < feature.range[0] || value > feature.range[1]);
}

/** Return the bars of probabilities: pairs of label and number, the most probable first. */
export function probabilities(pairs, track, percent) {
  const items = pairs.map(([label, share]) =>
    element("li", {}, element("span", {}, ...labelled(label)), track(share, colour(label)), percent(share)),
  );
  return element("ul", { class: "bars" }, ...items);
}

/** Return the numbers of an answer with their names; those that are probabilities of labels as bars. */
export function numbers(values, track) {
  if (!values.length || (values.length === 1 && !model.shares)) return null;
  const items = values.slice(0, 10).map((value, place) => {
    const bar = model.shares ? track(value, colour(place)) : element("span", {});
    return element("li", {}, element("span", {}, model.values[place] ?? `${place}`), bar, short(value));
  });
  return element("ul", { class: "bars" }, ...items);
}

/** Return an answer in few words: the label, or the first numbers. */
export function brief(p) {
  if (p.label !== undefined) return labelled(p.label);
  if (!p.values) return model.tensors ? ["tensors"] : labelled(undefined);
  if (p.values.length === 1) return [short(p.values[0])];
  const named = p.values.slice(0, 3).map((value, place) => `${model.values[place] ?? place} ${short(value)}`);
  return [named.join(", ") + (p.values.length > 3 ? " …" : "")];
}
