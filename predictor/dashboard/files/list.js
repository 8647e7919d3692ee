// The table of the last predictions. It holds still while somebody points at it, has the focus in it, or says so.

import { count, duration, element, percent, time, track } from "./dom.js";
import { brief, colour, model } from "./model.js";

const KEPT = 300; // as many as the server keeps: these are searched
const SHOWN = matchMedia("(min-width: 60rem)").matches ? 28 : 8; // so that the form is not far away on a phone

const ONE_ROW = /^\/predict(\/test)?(\/label)?$/; // calls of one row: its number says nothing

const section = document.querySelector("#live");
const table = section.querySelector("table");
const body = table.tBodies[0];
const pause = section.querySelector("#pause");
const held = section.querySelector("#held");

const search = section.querySelector("#search");
const only = section.querySelector("#only");
const none = section.querySelector("#none-found");

let newest = [];
let behind = 0;
let chosen = null;
let choose = () => {};

/** Say what to do with a prediction that was chosen. */
export function onChoice(act) {
  choose = act;
}

/** Mark a prediction as the chosen one. */
export function mark(prediction) {
  chosen = prediction.n;
  for (const row of body.rows) row.classList.toggle("chosen", Number(row.dataset.n) === chosen);
}

/** Show predictions, the oldest first, in front of those that are shown, or instead of them if `anew`. */
export function add(predictions, anew) {
  newest = [...predictions.toReversed(), ...(anew ? [] : newest)].slice(0, KEPT);
  behind = anew ? 0 : behind + predictions.length;
  table.hidden = !newest.length;
  for (const each of section.querySelectorAll(".empty")) each.hidden = Boolean(newest.length);
  if (anew) body.replaceChildren();
  draw();
}

function still() {
  return pause.getAttribute("aria-pressed") === "true" || body.matches(":hover") || body.contains(document.activeElement);
}

function draw() {
  const wait = still() && body.rows.length > 0;
  held.hidden = !wait || !behind;
  held.textContent = `${count(behind)} newer; the list holds still while you are in it.`;
  if (wait) return;
  behind = 0;
  const found = newest.filter(chosenBy(search.value.trim().toLowerCase(), only.value));
  none.hidden = !newest.length || found.length > 0;
  none.textContent = `None of the last ${count(newest.length)} is like that.`;
  const shown = found.slice(0, SHOWN);
  const there = new Map([...body.rows].map((row) => [Number(row.dataset.n), row]));
  body.replaceChildren(...shown.map((prediction) => there.get(prediction.n) ?? rowOf(prediction, there.size > 0)));
}

/** Return what tells whether a prediction is one that is searched for. */
function chosenBy(words, kind) {
  const slow = newest.map((p) => p.total).sort((a, b) => b - a)[Math.floor(newest.length / 10)];
  const kinds = { all: () => true, errors: (p) => p.error, outliers: (p) => p.outlier, slow: (p) => p.total >= slow };
  return (p) => kinds[kind](p) && (!words || textOf(p).includes(words));
}

const textOf = (p) =>
  [model.labels[p.label] ?? p.label, p.error, p.job_id, p.trace_id, p.request_id, p.route, ...(p.features ?? []), ...(p.values ?? [])]
    .join(" ")
    .toLowerCase();

function rowOf(p, moving) {
  const button = element("button", { type: "button" }, ...(p.error ? [p.error] : brief(p)));
  button.addEventListener("click", () => choose(p));
  const cells = [
    element("td", {}, time(p.time)),
    element(
      "td",
      {},
      button,
      p.index !== undefined && !ONE_ROW.test(p.route) ? element("span", { class: "badge plain" }, `row ${p.index}`) : null,
      p.error ? element("span", { class: "badge" }, "error") : null,
      p.outlier ? element("span", { class: "badge" }, "outlier") : null,
    ),
    element("td", {}, p.probabilities ? meter(p) : "–"),
    element("td", { class: "number" }, duration(p.total)),
  ];
  const classes = [moving ? "new" : "", p.n === chosen ? "chosen" : ""].join(" ").trim();
  return element("tr", { "data-n": p.n, class: classes || undefined }, ...cells);
}

function meter(p) {
  const share = p.probabilities[0][1];
  return element("span", { class: "meter" }, element("span", {}, percent(share)), track(share, colour(p.label)));
}

pause.addEventListener("click", () => {
  pause.setAttribute("aria-pressed", String(pause.getAttribute("aria-pressed") !== "true"));
  draw();
});
for (const control of [search, only]) control.addEventListener("input", draw);
body.addEventListener("mouseleave", draw);
body.addEventListener("focusout", () => setTimeout(draw)); // when the focus is where it goes
