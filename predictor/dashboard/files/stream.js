// The last predictions as the server sends them, while somebody looks.

import { model } from "./model.js";

const AGAIN = 5000; // ms; a server that refuses (16 pages are open, or it shuts down) is asked again this late

/**
 * Call `hear(predictions, observed, anew)` with what is new, or with everything that the server has kept if `anew`;
 * `tell(state)` with the state of the server; and `state("live" | "lost")` when that changes.
 */
export function listen(hear, tell, state) {
  let source = null;
  let later = 0;
  let last = 0;

  function open() {
    clearTimeout(later);
    source = new EventSource(`page/events${location.search}`);
    source.addEventListener("snapshot", (event) => {
      last = 0; // the server may have been started anew and count from 1 again
      take(event, true);
      state("live");
    });
    source.addEventListener("state", (event) => tell(JSON.parse(event.data)));
    source.addEventListener("news", (event) => take(event, false));
    source.addEventListener("error", () => {
      state("lost");
      if (source.readyState === EventSource.CLOSED) later = setTimeout(open, AGAIN); // else it tries again by itself
    });
  }

  function take(event, anew) {
    const { observed, predictions, page } = JSON.parse(event.data);
    if (page !== model.digest) {
      location.reload(); // another version is served here by now
      return;
    }
    const fresh = predictions.filter((prediction) => prediction.n > last); // the first news may repeat the snapshot
    if (fresh.length) last = fresh.at(-1).n;
    if (fresh.length || anew) hear(fresh, observed, anew);
  }

  document.addEventListener("visibilitychange", () => {
    clearTimeout(later);
    source?.close(); // a hidden page takes no place among the listeners
    if (!document.hidden) open();
  });
  if (!document.hidden) open();
}
