// Copies text, where the browser lets a page do so, which it does on loopback and over https.

import { element } from "./dom.js";

const SAID = 2000; // ms for which it is said that it was copied

/** Return a button that copies what `text()` returns; `name` says what it copies. */
export function copyButton(name, text) {
  const button = element("button", { type: "button", class: "copy", "aria-label": `Copy ${name}` }, "Copy");
  copies(button, text);
  return button;
}

/** Let a button copy what `text()` returns, and say for a moment whether it did. */
export function copies(button, text) {
  const words = button.textContent;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not copied";
    }
    setTimeout(() => {
      button.textContent = words;
    }, SAID);
  });
}
