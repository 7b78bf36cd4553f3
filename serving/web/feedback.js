// What a user says of a reply: thumbs, reasons, marked words and better answers.

import { askForKey } from "./access.js";
import { KeyError, sendFeedback } from "./api.js";
import { render } from "./markdown.js";

const GIVEN = "thumbwheel.thumbs"; // {message: "up" or "down"}, for a page that is loaded again

const given = () => JSON.parse(sessionStorage.getItem(GIVEN) ?? "{}");

// Show the thumb that a reply was given before the page was loaded again.
export function showGiven({ view, id }) {
  if (id && given()[id]) showThumb(view, given()[id]);
}

export const forgetGiven = () => sessionStorage.removeItem(GIVEN);

// Wire the buttons of a reply's view; `turn` has its text, and its ids once they are known.
export function letRate(turn) {
  const on = (selector, type, act) => turn.view.querySelector(selector).addEventListener(type, act);
  on(".up", "click", () => thumb(turn, "up"));
  on(".down", "click", () => thumb(turn, "down"));
  on(".edit", "click", () => openEditor(turn));
  on(".better", "click", () => openEditor(turn));
  on(".editor", "submit", (event) => { event.preventDefault(); sendEdit(turn); });
  on(".cancel", "click", () => { turn.view.querySelector(".editor").hidden = true; });
  on(".reasons", "click", (event) => event.target.dataset.reason && giveReason(turn, event.target));
}

// Send marked words, and tell whether they arrived.
export async function markSpan(turn, span) {
  if (!turn.id || !(await rate(turn, { rating: "down", spans: [span] }, "Thank you, marked."))) return false;
  give(turn, "down");
  return true;
}

// Tell whether feedback arrived and may be shown: an answer that took the place of the one it was meant for shows none of it.
async function rate(turn, feedback, thanks) {
  const { id, conversation } = turn;
  const state = turn.view.querySelector(".state");
  const consent = document.getElementById("consent").checked;
  try {
    await sendFeedback({ conversation_id: conversation, message_id: id, consent, ...feedback });
    if (turn.id !== id) return false;
    state.textContent = thanks;
    return true;
  } catch (error) {
    state.textContent = `${turn.id === id ? "Not" : "Of the earlier answer, not"} sent: ${error.message}`;
    if (error instanceof KeyError) askForKey(error.message);
    return false;
  }
}

function showThumb(view, rating) {
  for (const name of ["up", "down"]) view.querySelector(`.${name}`).setAttribute("aria-pressed", name === rating);
}

function give({ view, id }, rating) {
  sessionStorage.setItem(GIVEN, JSON.stringify({ ...given(), [id]: rating }));
  showThumb(view, rating);
}

async function thumb(turn, rating) {
  const { view } = turn;
  if (!(await rate(turn, { rating }, "Thank you!"))) return;
  give(turn, rating);
  const reasons = view.querySelector(".reasons");
  reasons.hidden = rating === "up";
  reasons.scrollIntoView({ block: "nearest" });
}

async function giveReason(turn, button) {
  if (!(await rate(turn, { rating: "down", reason: button.dataset.reason }, "Thank you, noted."))) return;
  for (const other of turn.view.querySelectorAll(".reasons [data-reason]")) other.setAttribute("aria-pressed", other === button);
}

function openEditor(turn) {
  const editor = turn.view.querySelector(".editor");
  const area = editor.querySelector("textarea");
  editor.hidden = false;
  area.rows = Math.min(12, Math.max(4, Math.ceil(turn.content.length / 70)));
  area.focus();
  if (!area.value) {
    area.value = turn.content;
    area.setSelectionRange(0, 0); // at its beginning, where a long answer is read first
    area.scrollTop = 0;
  }
  editor.scrollIntoView({ block: "nearest" });
}

async function sendEdit(turn) {
  const { view } = turn;
  const correction = view.querySelector(".editor textarea").value.trim();
  if (!correction || correction === turn.content) {
    view.querySelector(".state").textContent = "Change the answer first.";
    return;
  }
  const down = view.querySelector(".down").getAttribute("aria-pressed") === "true";
  if (!(await rate(turn, { correction, ...(down ? { rating: "down" } : {}) }, "Thank you for the better answer!"))) return;
  view.querySelector(".editor").hidden = view.querySelector(".reasons").hidden = true;
  view.querySelector(".yours").hidden = false;
  view.querySelector(".yours div").replaceChildren(render(correction));
}
