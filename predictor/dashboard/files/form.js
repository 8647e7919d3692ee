// The form: one prediction, asked for as any client asks.

import { copies } from "./clipboard.js";
import { element, percent, short, track } from "./dom.js";
import { beyond, labelled, model, numbers, probabilities } from "./model.js";

const form = document.querySelector("#try form");
const answer = document.querySelector("#answer");
const wide = document.querySelector("#row");
const LONGEST = 2000; // characters of an answer that are shown
const token = document.querySelector("#token"); // only where predictions want one; it is kept nowhere else
const field = ({ id }) => document.getElementById(`f-${id}`);
const asksForLabel = model.ownLabel && model.gives === "probabilities";
const call = asksForLabel ? "predict/label" : "predict";
const button = form.querySelector("[type=submit]");

/** Return the row that the form holds; raises SyntaxError. */
function row() {
  return wide ? JSON.parse(wide.value) : model.columns.map((column) => valueOf(column, field(column)));
}

/** Return what a field holds as JSON has it; a number that is left out is missing. */
function valueOf({ type }, input) {
  if (type === "text") return input.value;
  if (type === "bool") return input.value === "true";
  return input.value === "" ? null : input.valueAsNumber;
}

const body = () => JSON.stringify(model.tensors ? row() : { data: [row()] });

/** Return the form's call as a command for a shell of POSIX; a token stays on the page. */
function command() {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const authorization = token ? ` -H "Authorization: Bearer $TOKEN"` : "";
  const url = quoted(new URL(call, location.href).href);
  return `curl -s -H 'Content-Type: application/json'${authorization} --data-raw ${quoted(body())} ${url}`;
}

async function predict() {
  const headers = { "Content-Type": "application/json" };
  if (token) headers.Authorization = `Bearer ${token.value.trim()}`;
  const response = await fetch(call, { method: "POST", headers, body: body() });
  const said = await response.json();
  if (!response.ok) throw new Error(said.detail ?? said.title);
  return said;
}

function verdict(said) {
  if (model.tensors) return [element("pre", {}, JSON.stringify(said.outputs).slice(0, LONGEST))];
  const pairs = model.gives !== "probabilities" || asksForLabel ? [] : mostProbable(said.prediction);
  const outlier = said.is_outlier
    ? element("span", { class: "badge" }, `outlier, score ${short(said.outlier_score)}`)
    : said.is_outlier === false
      ? element("span", { class: "muted" }, `no outlier, score ${short(said.outlier_score)}`)
      : null;
  const bars = model.gives === "probabilities" ? probabilities(pairs, track, percent) : null;
  return [element("p", { class: "verdict" }, headline(said, pairs), outlier), bars ?? numbers(valuesOf(said), track)];
}

const mostProbable = (shares) => [...shares.entries()].sort(([, a], [, b]) => b - a).slice(0, 10);
const valuesOf = (said) => (Array.isArray(said.prediction) ? said.prediction : []);

/** Return what is said first: the label, or the only number. */
function headline(said, pairs) {
  if (pairs.length) return element("span", {}, ...labelled(pairs[0][0]), ` ${percent(pairs[0][1])}`);
  if (asksForLabel) return element("span", {}, ...labelled(model.labels.indexOf(said.prediction)));
  const [only, ...more] = valuesOf(said);
  return element("span", {}, ...(said.label === undefined ? [more.length ? "" : short(only)] : labelled(said.label)));
}

/** Call `done(job_id)` after each prediction of the form. */
export function start(done) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      const said = await predict();
      answer.replaceChildren(...verdict(said));
      done(said.job_id);
    } catch (error) {
      answer.replaceChildren(element("p", { class: "error" }, `No prediction: ${error.message}`));
    } finally {
      button.disabled = false;
    }
  });
  form.addEventListener("reset", () => {
    answer.replaceChildren();
    setTimeout(hints); // when the values are back
  });
  form.addEventListener("input", hints);
  copies(document.querySelector("#as-curl"), command);
  hints();
}

function hints() {
  for (const feature of wide ? [] : model.features) {
    const hint = document.getElementById(`h-${feature.id}`);
    hint?.classList.toggle("beyond", beyond(feature, field(feature).valueAsNumber));
  }
}
