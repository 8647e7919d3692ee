// What a prediction truly was, sent as any client sends it; only where the server takes feedback.

const form = document.querySelector("#feedback");
const said = document.querySelector("#feedback-said");
const field = (name) => form.querySelector(`#feedback-${name}`);

let meant = null;

/** Offer feedback on a prediction; there is none on what failed. */
export function offerFeedback(p) {
  if (!form) return;
  if (meant?.n !== p.n) said.textContent = "";
  meant = p;
  form.hidden = Boolean(p.error);
}

function body() {
  const label = field("label")?.value;
  const value = field("value")?.valueAsNumber;
  const comment = field("comment").value.trim();
  return JSON.stringify({
    index: meant.index ?? 0,
    ...(label ? { label } : {}),
    ...(Number.isFinite(value) ? { value } : {}),
    ...(comment ? { comment } : {}),
  });
}

async function send() {
  const headers = { "Content-Type": "application/json" };
  const token = field("token"); // only where feedback wants one; it is kept nowhere else
  if (token) headers.Authorization = `Bearer ${token.value.trim()}`;
  const response = await fetch(`feedback/${meant.job_id}`, { method: "POST", headers, body: body() });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.detail ?? answer.title);
  return response.headers.get("X-Prediction-Logged") === "false" ? "Taken, but it could not be logged." : "It is logged.";
}

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("[type=submit]");
  button.disabled = true;
  const about = meant;
  let words = "";
  try {
    words = await send();
  } catch (error) {
    words = `No feedback: ${error.message}`;
  } finally {
    button.disabled = false;
  }
  if (meant === about) said.textContent = words;
});
