// The state of the server and of its log: what waits, what is lost, whether the sink answers, how long answers take.

import { bytes, count, duration, element, time } from "./dom.js";

const tiles = document.querySelector("#state .tiles");
const line = document.querySelector("#trouble");

/** Return in few words why it may not be said that all is well, null if it may. */
export function trouble({ refusing, log }) {
  if (refusing) return "Predictions are refused";
  return log?.full ? "Predictions are not logged" : null;
}

/** Show the state. */
export function showState(said) {
  tiles.replaceChildren(...[...logOf(said.log), ...latency(said.latency), problems(said.problems)]);
  const reasons = [said.refusing, !said.refusing && said.log?.full && `the outbox is full: ${said.log.full}`, said.log?.outbox_problem, said.log?.problem];
  const words = [...new Set(reasons.filter(Boolean))];
  line.textContent = words.join("; ");
  line.hidden = !words.length;
}

function logOf(log) {
  if (!log) return [tile("Log", "switched off", true)];
  return [
    tile("Sink", log.sink ? (log.problem ? "takes nothing" : log.accepted ? "reachable" : "nothing sent yet") : "none is set", Boolean(log.problem)),
    ...(log.sink ? [tile("Backlog", bytes(log.backlog_bytes)), tile("Last accepted", log.accepted ? time(1000 * log.accepted) : "–")] : []),
    tile("Lost", count(log.lost), log.lost > 0),
    tile("Rejected", count(log.rejected), log.rejected > 0),
  ];
}

function latency(found) {
  if (!found) return [tile("Answers took", "none answered")];
  const [, ...values] = found;
  return ["Half within", "95 % within", "99 % within"].map((name, place) => tile(name, duration(values[place])));
}

function problems(found) {
  const pairs = Object.entries(found);
  const shown = pairs.slice(0, 3).map(([word, number]) => `${count(number)} ${word}`);
  return tile("Problems", pairs.length ? shown.join(", ") + (pairs.length > 3 ? ", …" : "") : "none", pairs.length > 0);
}

function tile(name, text, bad = false) {
  return element("div", { class: bad ? "bad" : undefined }, element("dt", {}, name), element("dd", {}, text));
}
