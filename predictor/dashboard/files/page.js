// Brings the parts of the page together.

import { show } from "./detail.js";
import { count } from "./dom.js";
import { start } from "./form.js";
import * as list from "./list.js";
import { listModels } from "./models.js";
import { draw } from "./plots.js";
import { showState, trouble } from "./state.js";
import { listen } from "./stream.js";

const KEPT = 300; // as many as the server keeps
const RATE_OVER = 5000; // ms

let kept = [];
let chosen = null;
let awaited = null; // the job of the form, until it comes over the stream
let counts = []; // [when, how many the server had observed], the oldest first
let reason = null; // why predictions are refused, or not logged
let connected = "lost";
let rated = false; // whether a rate was shown: then it is shown to fall, too

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
  if (anew) counts = [];
  counts.push([performance.now(), observed]);
  countUp();
  document.querySelector("#plotted").textContent = kept.length ? `the last ${count(kept.length)} that came here` : "";
  const own = awaited && predictions.find((prediction) => prediction.job_id === awaited);
  if (own) {
    awaited = null;
    choose(own, false);
  }
}

/** Say how many predictions there were, and how many a second over the last seconds, also when nothing comes. */
function countUp() {
  if (!counts.length) return;
  const now = performance.now();
  while (counts.length > 1 && counts[1][0] <= now - RATE_OVER) counts.shift();
  const observed = counts.at(-1)[1];
  const rate = (observed - counts[0][1]) / Math.max(1, Math.min(now - counts[0][0], RATE_OVER) / 1000);
  if (rate >= 10) rated = true;
  const often = rated ? `, ${count(Math.round(rate))} a second` : "";
  document.querySelector("#count").textContent = observed ? `${count(observed)} since the start${often}` : "";
}

function tell(said) {
  showState(said);
  reason = trouble(said);
  if (connected === "live") state("live");
}

function state(word) {
  connected = word;
  const refused = word === "live" && reason;
  const text = refused || { live: "Live", lost: "Connection lost, trying again" }[word];
  if (connection.textContent === text) return; // said once
  connection.textContent = text;
  connection.className = `pill ${refused ? "refusing" : word}`;
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
listen(hear, tell, state);
setInterval(countUp, 1000);
