// Brings the parts of the page together.

import { show } from "./detail.js";
import { count } from "./dom.js";
import { start } from "./form.js";
import * as list from "./list.js";
import { listModels } from "./models.js";
import { draw } from "./plots.js";
import { listen } from "./stream.js";

const KEPT = 300; // as many as the server keeps

let kept = [];
let chosen = null;
let awaited = null; // the job of the form, until it comes over the stream
let before = null; // [when, how many the server had observed]

const connection = document.querySelector("#connection");

function choose(prediction, go) {
  chosen = prediction;
  show(prediction, go);
  list.mark(prediction);
  draw(kept, chosen);
}

function hear(predictions, observed, anew) {
  kept = [...(anew ? [] : kept), ...predictions].slice(-KEPT);
  list.add(predictions, anew);
  draw(kept, chosen);
  if (!chosen && predictions.length) choose(predictions.at(-1), false); // so that there is something to see
  const now = performance.now();
  const rate = before && !anew ? ((observed - before[1]) / (now - before[0])) * 1000 : 0;
  before = [now, observed];
  const often = rate >= 10 ? `, ${count(Math.round(rate))} a second` : "";
  document.querySelector("#count").textContent = observed ? `${count(observed)} since the start${often}` : "";
  document.querySelector("#plotted").textContent = kept.length ? `the last ${count(kept.length)} that came here` : "";
  const own = awaited && predictions.find((prediction) => prediction.job_id === awaited);
  if (own) {
    awaited = null;
    choose(own, false);
  }
}

function state(word) {
  const text = { live: "Live", lost: "Connection lost, trying again" }[word];
  if (connection.textContent === text) return; // said once
  connection.textContent = text;
  connection.className = `pill ${word}`;
}

document.querySelector("#origin").textContent = new URL("./", location.href).href;
list.onChoice((prediction) => choose(prediction, true));
start((jobId) => {
  awaited = jobId;
  const there = kept.find((prediction) => prediction.job_id === jobId); // the stream may be faster than the answer
  if (there) {
    awaited = null;
    choose(there, false);
  }
});
draw([], null);
listModels();
listen(hear, state);
