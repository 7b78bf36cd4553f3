// The review page: one item of the queue at a time, blind, judged by buttons or keys.

import { sentence } from "./api.js";
import { render } from "./markdown.js";
import { letMark, showMark } from "./spans.js";

const KEY = "thumbwheel.reviewer";
const PAIR = [["a", "A is better", "A"], ["tie", "Equally good", "T"], ["b", "B is better", "B"], ["skip", "Skip", "S"]];
const ALONE = [["a", "It is all right", "A"], ["b", "It is bad", "B"], ["skip", "Skip", "S"]];
const LABELS = { w: "wrong", x: "toxic" };
const SETTLED = ["already_judged", "item_not_found"];
const KEYS = { a: "a", arrowleft: "a", b: "b", arrowright: "b", t: "tie", arrowdown: "tie", s: "skip" };

const $ = (id) => document.getElementById(id);
const area = () => $("repair").querySelector("textarea");
let item = null;
let marks = { a: [], b: [] };
let marking = [];
let busy = false;

class Refused extends Error {}
class Settled extends Error {} // another tab, or a try whose answer was lost, has judged it; or the queue has moved on

async function call(path, body) {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem(KEY)}`, "Content-Type": "application/json" };
  const response = await fetch(path, body ? { method: "POST", headers, body: JSON.stringify(body) } : { headers })
    .catch(() => { throw new Error("The service can't be reached. Check your connection and try again."); });
  if (response.ok) return response.json();
  const { message, code } = (await response.json().catch(() => ({}))).error ?? {};
  const Kind = [401, 403].includes(response.status) ? Refused : SETTLED.includes(code) ? Settled : Error;
  throw new Kind(sentence(message ?? `status ${response.status}`));
}

// --- what is shown --------------------------------------------------------------------------------------------------

function only(name) {
  for (const id of ["entry", "empty", "item"]) $(id).hidden = id !== name;
  $("verdicts").hidden = name !== "item";
  $("leave").hidden = name === "entry";
}

async function next() {
  const queue = await call("/v1/review/next");
  $("progress").textContent = `${queue.progress.mine} judged by you · ${queue.progress.waiting} waiting`;
  $("agreement").textContent = agreed(queue.agreement);
  item = queue.item;
  only(item ? "item" : "empty");
  if (item) show();
}

function show() {
  document.activeElement.blur(); // a field that is now hidden would still swallow the keys until the next frame
  marks = { a: [], b: [] };
  marking = [];
  const alone = item.b === null;
  $("prompt").replaceChildren(...item.prompt.map(({ role, content }) =>
    Object.assign(document.createElement("p"), { className: role === "user" ? "mine" : "theirs", textContent: content })));
  $("sides").classList.toggle("alone", alone);
  $("sides").replaceChildren(...(alone ? [side("a", "A reply that a user disliked")] : [side("a", "A"), side("b", "B")]));
  for (const span of item.disliked?.spans ?? []) showMark($("sides").firstChild, item.a, span);
  $("repair").open = false;
  area().value = "";
  $("problem").hidden = true;
  buttons(alone ? ALONE : PAIR);
  $("scroll").scrollTop = 0;
}

function side(letter, title) {
  const view = $("side").content.cloneNode(true).firstElementChild;
  view.dataset.side = letter;
  view.setAttribute("aria-label", `Answer ${letter.toUpperCase()}`);
  view.querySelector("h2").textContent = title;
  view.querySelector(".text").append(render(item[letter]));
  const content = item[letter];
  marking.push(letMark(view, () => content, async (span) => { marks[letter].push(span); return true; }));
  return view;
}

function buttons(choices) {
  document.querySelector(".choices").replaceChildren(...choices.map(([verdict, text, key]) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: `${text} ` });
    button.className = ["a", "b"].includes(verdict) ? "main" : "";
    button.append(Object.assign(document.createElement("kbd"), { textContent: key }));
    button.addEventListener("click", () => judge(verdict));
    return button;
  }));
}

function agreed({ items, share, kappa, low, high }) {
  if (kappa === null) return "Agreement is shown once two reviewers have judged the same answers.";
  const interval = low === null ? "" : ` (95 %: ${low.toFixed(2)} to ${high.toFixed(2)})`;
  return `Reviewers agreed on ${Math.round(100 * share)} % of ${items} · Fleiss' κ ${kappa.toFixed(2)}${interval}`;
}

function tell(told) {
  $("told").hidden = !told;
  if (!told) return;
  const why = told.reasons.length ? ` (${told.reasons.join(", ").replaceAll("_", " ")})` : "";
  const quotes = told.marked.flatMap((text) => [", ", Object.assign(document.createElement("q"), { textContent: text })]);
  $("told").replaceChildren(`Of the last pair a user had disliked ${told.disliked.toUpperCase()}${why}`,
    ...(quotes.length ? [" and marked ", ...quotes.slice(1)] : []), ".");
}

// --- verdicts -------------------------------------------------------------------------------------------------------

async function judge(verdict) {
  if (!item || busy) return;
  busy = true;
  const repair = area().value.trim();
  try {
    const kept = await call("/v1/review/verdicts", { item: item.id, verdict, spans: marks, ...(repair ? { repair } : {}) });
    tell(kept.told);
    await next();
  } catch (error) {
    await recover(error);
  } finally {
    busy = false;
  }
}

async function recover(error) {
  if (error instanceof Refused) ask(error.message);
  if (error instanceof Settled) await begin();
  $("problem").hidden = false;
  $("problem").textContent = error.message;
}

function onKey(event) {
  if (!item || event.altKey || event.metaKey || event.repeat) return; // a key that is held judges one item, not all
  if (event.target.tagName === "TEXTAREA" || event.target.tagName === "INPUT") return inRepair(event);
  const name = event.key.toLowerCase();
  if (event.ctrlKey) return;
  if (LABELS[name]) marking.some((mark) => mark(LABELS[name]));
  else if (name === "r") openRepair();
  else if (KEYS[name] && !(item.b === null && KEYS[name] === "tie")) judge(KEYS[name]);
  else return;
  event.preventDefault();
}

function inRepair(event) {
  if (event.key === "Escape") event.target.blur();
  if (event.key === "Enter" && event.ctrlKey && area().value.trim()) judge(item.b === null ? "b" : "tie");
}

function openRepair() {
  $("repair").open = true;
  area().focus();
}

// --- who asks -------------------------------------------------------------------------------------------------------

function ask(message = "") {
  sessionStorage.removeItem(KEY);
  item = null;
  only("entry");
  $("progress").textContent = "";
  $("refused").hidden = !message;
  $("refused").textContent = message;
  $("key").focus();
}

async function begin() {
  try {
    await next();
  } catch (error) {
    ask(error.message);
  }
}

$("entry").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, $("key").value.trim());
  $("key").value = "";
  begin();
});
$("leave").addEventListener("click", () => ask());
$("again").addEventListener("click", begin);
document.addEventListener("keydown", onKey);
if (sessionStorage.getItem(KEY)) begin();
else ask();
