// One prediction in full.

import { copyButton } from "./clipboard.js";
import { duration, element, percent, short, track } from "./dom.js";
import { offerFeedback } from "./feedback.js";
import { beyond, brief, model, numbers, probabilities } from "./model.js";

const place = document.querySelector("#chosen");
const title = document.querySelector("#detail-title");

/** Show a prediction; with `go` the reader is brought there. */
export function show(p, go) {
  place.replaceChildren(
    verdict(p),
    ...(p.probabilities ? [probabilities(p.probabilities, track, percent)] : []),
    numbers(p.values ?? [], track) ?? "",
    heading("Where the time went"),
    ...timings(p),
    ...(p.features ? [heading("Input"), input(p)] : []),
    heading("Where to find it"),
    facts(p),
    links(p),
  );
  offerFeedback(p);
  if (go) title.focus();
}

const heading = (text) => element("h3", {}, text);

function verdict(p) {
  const score = p.score === undefined ? "" : `, score ${short(p.score)}`;
  const badge = p.outlier ? element("span", { class: "badge" }, `outlier${score}`) : null;
  const said = p.error ? element("span", { class: "badge" }, p.error) : element("span", {}, ...brief(p));
  const fine = p.outlier === false ? element("span", { class: "muted" }, `no outlier${score}`) : null;
  return element("p", { class: "verdict" }, said, badge, fine);
}

function timings(p) {
  const parts = [["request", p.total]];
  if (p.queue !== undefined) {
    const batch = p.batch > 1 ? ` (${p.batch} rows at once)` : "";
    parts.splice(0, 1, ["reading and waiting", p.queue], [`model${batch}`, p.inference]);
    parts.push(["the rest", Math.max(0, p.total - p.queue - p.inference)]);
  }
  const bar = element("div", { class: "spent", "aria-hidden": "true" });
  const legend = element("p", { class: "times" });
  for (const [index, [name, seconds]] of parts.entries()) {
    const part = element("span", { class: `t${index}` });
    part.style.flexGrow = String((100 * seconds) / p.total || 1); // a sum below 1 would leave room
    bar.append(part);
    const spot = element("span", { class: `swatch t${index}`, "aria-hidden": "true" });
    legend.append(element("span", {}, spot, `${name} ${duration(seconds)}`));
  }
  legend.append(element("strong", {}, `${duration(p.total)} in all`));
  return [bar, legend];
}

function input(p) {
  const list = element("dl", { class: "facts" });
  for (const [place_, value] of p.features.entries()) {
    const feature = model.features[place_];
    const unit = feature.unit && value !== null ? ` ${feature.unit}` : "";
    const badge = value !== null && beyond(feature, value) ? element("span", { class: "badge" }, "beyond training") : null;
    const shown = value === null ? element("span", { class: "muted" }, feature.log === "keep" ? "missing" : "not shown") : `${value}${unit} `;
    list.append(element("dt", {}, feature.name), element("dd", {}, shown, badge));
  }
  if (p.features.length < model.width) {
    list.append(element("dt", {}, "…"), element("dd", {}, `${model.width - p.features.length} more`));
  }
  return list;
}

function facts(p) {
  const pairs = [
    ["job", element("code", {}, p.job_id), "job id"],
    ["row", p.index === undefined ? undefined : String(p.index)],
    ["trace", element("code", {}, p.trace_id), "trace id"],
    ["spans", p.kept ? `kept, because of ${{ head: "the sampler" }[p.kept] ?? p.kept}` : "not kept"],
    ["call", element("code", {}, p.route)],
    ["arrived", new Date(p.time).toISOString()],
    ["request id", p.request_id && element("code", {}, p.request_id)],
  ];
  const list = element("dl", { class: "facts" });
  for (const [name, value, copied] of pairs) {
    const copy = copied ? copyButton(copied, () => value.textContent) : null;
    if (value) list.append(element("dt", {}, name), element("dd", {}, value, copy));
  }
  return list;
}

function links(p) {
  const shown = `predictor log show ${p.job_id}`;
  const command = element("span", {}, element("code", {}, shown), copyButton("command", () => shown));
  const what = p.kept ? "Record and trace in Grafana" : "Record in Grafana";
  const link = p.link ? element("a", { href: p.link, target: "_blank", rel: "noopener noreferrer" }, what) : null;
  return element("p", { class: "links" }, link, command);
}
