// Labels, and each feature against the range seen in training.

import { count, drawn, element, percent, short, track } from "./dom.js";
import { beyond, colour, labelled, model } from "./model.js";

const WIDTH = 300;
const FLOOR = 74; // y of the axis
const BINS = 40;

const labels = document.querySelector("#labels ul");
const figures = [...document.querySelectorAll("figure[data-name]")].map((figure) => ({
  feature: model.features.find(({ id }) => id === figure.dataset.feature) ?? { range: null },
  value: figure.dataset.value, // the place of a number of the answer, else undefined
  place: Number(figure.dataset.value ?? model.features.findIndex(({ id }) => id === figure.dataset.feature)),
  svg: figure.querySelector("svg"),
  list: figure.querySelector("ul"),
  said: figure.querySelector("p"),
}));

/** Draw predictions; `chosen` is marked where its values are. */
export function draw(predictions, chosen) {
  drawLabels(predictions.filter((p) => p.label !== undefined));
  for (const figure of figures) {
    const at = (p) => (figure.value === undefined ? p.features : p.values)?.[figure.place];
    const points = predictions.map((p) => [at(p), p.label ?? model.labels.length]).filter(([value]) => value !== undefined && value !== null);
    if (figure.list) drawTexts(figure, points);
    else drawFeature(figure, figure.feature, points, chosen ? at(chosen) : undefined);
  }
}

/** Show how often each text was there, the most frequent first. */
function drawTexts({ list, said }, points) {
  const counts = new Map();
  for (const [value] of points) counts.set(String(value), (counts.get(String(value)) ?? 0) + 1);
  const shown = [...counts].sort(([, a], [, b]) => b - a).slice(0, 5);
  const items = shown.map(([text, number]) =>
    element("li", {}, element("span", {}, text || "(empty)"), track(number / points.length, "c0"), count(number)),
  );
  list.replaceChildren(...items);
  said.textContent = points.length ? `${count(points.length)} with ${count(counts.size)} different values.` : "Nothing yet.";
}

function drawLabels(predictions) {
  const counts = new Map();
  for (const { label } of predictions) counts.set(label, (counts.get(label) ?? 0) + 1);
  const few = model.labels.length > 0 && model.labels.length <= 10; // else those that were predicted
  const shown = few ? [...model.labels.keys()] : [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a)).slice(0, 10);
  const items = shown.map((label) => {
    const number = counts.get(label) ?? 0;
    const share = predictions.length ? number / predictions.length : 0;
    const text = `${count(number)} (${percent(share)})`;
    return element("li", {}, element("span", {}, ...labelled(label)), track(share, colour(label)), text);
  });
  labels.replaceChildren(...items);
}

function drawFeature({ svg, said }, feature, points, marked) {
  const values = points.map(([value]) => value).sort((a, b) => a - b);
  said.textContent = words(feature, values);
  const [low, high] = span(values, feature.range);
  const x = (value) => 4 + ((Math.min(Math.max(value, low), high) - low) / (high - low)) * (WIDTH - 8);
  const parts = [];
  if (feature.range) {
    const [from, to] = feature.range.map(x);
    parts.push(drawn("rect", { class: "trained", x: from, y: 6, width: Math.max(to - from, 1), height: FLOOR - 6 }));
  }
  parts.push(...bars(points, feature, x), drawn("line", { class: "axis", x1: 0, x2: WIDTH, y1: FLOOR, y2: FLOOR }));
  for (const [value, anchor] of ticks(feature.range ?? (values.length ? [values[0], values.at(-1)] : []))) {
    const edge = x(value) < 24 ? "start" : x(value) > WIDTH - 24 ? "end" : anchor;
    parts.push(drawn("text", { x: x(value), y: FLOOR + 15, "text-anchor": edge }, short(value)));
  }
  if (marked !== undefined && marked !== null) {
    parts.push(drawn("line", { class: "mark", x1: x(marked), x2: x(marked), y1: 6, y2: FLOOR }));
    parts.push(drawn("circle", { class: "mark-head", cx: x(marked), cy: 5, r: 4 }));
  }
  svg.replaceChildren(...parts);
}

const ticks = (range) => (range[0] === range[1] ? range.slice(0, 1) : range).map((value) => [value, "middle"]);

/** Return what the axis spans: the training range and the values, but not so far that all else is squeezed. */
function span(values, range) {
  const at = (share) => values[Math.floor(share * (values.length - 1))];
  const [from, to] = range ?? (values.length ? [at(0.05), at(0.95)] : [0, 1]);
  const width = to - from || Math.abs(from) || 1;
  const low = Math.max(Math.min(values[0] ?? from, from), from - width);
  const high = Math.min(Math.max(values.at(-1) ?? to, to), to + width);
  return [low - width * 0.04, high + width * 0.04];
}

function bars(points, feature, x) {
  const step = (WIDTH - 8) / BINS;
  const bins = new Map();
  for (const [value, label] of points) {
    const bin = Math.min(BINS - 1, Math.floor((x(value) - 4) / step));
    if (!bins.has(bin)) bins.set(bin, { counts: new Map(), beyond: false });
    const { counts } = bins.get(bin);
    counts.set(label, (counts.get(label) ?? 0) + 1);
    bins.get(bin).beyond ||= beyond(feature, value);
  }
  const total = ({ counts }) => [...counts.values()].reduce((sum, number) => sum + number, 0);
  const highest = Math.max(4, ...[...bins.values()].map(total));
  const parts = [];
  for (const [bin, content] of bins) {
    let y = FLOOR;
    for (const [label, number] of [...content.counts].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const height = (number / highest) * (FLOOR - 14);
      y -= height;
      parts.push(drawn("rect", { class: `bar ${colour(label)}`, x: 4.5 + bin * step, y, width: step - 1, height }));
    }
    if (content.beyond) {
      const left = 4.5 + bin * step;
      parts.push(drawn("path", { class: "beyond", d: `M${left} ${FLOOR + 3}h${step - 1}` }));
    }
  }
  return parts;
}

/** Say what the plot shows, for those who do not see it and for those who want the numbers. */
function words(feature, values) {
  if (!values.length) return "Nothing yet.";
  const median = values[Math.floor(values.length / 2)];
  const seen = `${count(values.length)} from ${short(values[0])} to ${short(values.at(-1))}, median ${short(median)}`;
  if (!feature.range) return `${seen}.`;
  const outside = values.filter((value) => beyond(feature, value)).length;
  return outside ? `${seen}; ${count(outside)} beyond training.` : `${seen}; all within training.`;
}
