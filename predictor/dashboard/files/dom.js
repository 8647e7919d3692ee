// Elements, and how numbers are written. Text is only ever set as text: what callers send cannot become markup.

const SVG = "http://www.w3.org/2000/svg";

/** Return an element with attributes (undefined ones left out) and children, strings being text. */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** Return the same for SVG. */
export function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Return a horizontal bar, `share` of 1 filled, decoration for the number beside it. */
export function track(share, colour) {
  const fill = element("span", { class: colour });
  fill.style.inlineSize = `${(100 * share).toFixed(1)}%`;
  return element("span", { class: "track", "aria-hidden": "true" }, fill);
}

const counting = new Intl.NumberFormat("en");
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

export const count = (number) => counting.format(number);
export const percent = (share) => `${(100 * share).toFixed(1)} %`;
export const time = (milliseconds) => clock.format(milliseconds);

/** Write a number with six digits that count, as short as it can be. */
export const short = (number) => String(Number(number.toPrecision(6)));

/** Write seconds as milliseconds, or as seconds when they are many. */
export function duration(seconds) {
  return seconds >= 1 ? `${seconds.toFixed(2)} s` : `${(1000 * seconds).toFixed(seconds < 0.01 ? 2 : 1)} ms`;
}

/** Write a number of bytes. */
export function bytes(number) {
  if (number < 1024) return `${number} B`;
  const power = Math.min(4, Math.floor(Math.log2(number) / 10));
  return `${(number / 1024 ** power).toFixed(1)} ${["KiB", "MiB", "GiB", "TiB"][power - 1]}`;
}
