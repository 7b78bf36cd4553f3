// The chat page: one conversation, its streamed replies, and what the user says of them.

import { askForKey, letAccess } from "./access.js";
import { ApiError, KeyError, ask, checkKey, getJson } from "./api.js";
import { showSources } from "./citations.js";
import { forgetGiven, letRate, markSpan, showGiven } from "./feedback.js";
import { render } from "./markdown.js";
import { letForget } from "./remembered.js";
import { letMark } from "./spans.js";

const ICONS = {
  send: "M12 19V5m0 0-6 6m6-6 6 6",
  stop: "M8 8h8v8H8z",
  up: "M7 11v9H4v-9h3Zm0 0 4-8a2.500 2.500 0 0 1 2.500 2.500V9h5.300a2 2 0 0 1 2 2.400l-1.400 7a2 2 0 0 1-2 1.600H7",
  down: "M17 13V4h3v9h-3Zm0 0-4 8a2.500 2.500 0 0 1-2.500-2.500V15H5.200a2 2 0 0 1-2-2.400l1.400-7a2 2 0 0 1 2-1.600H17",
  edit: "M4 20h4L19 9a2.100 2.100 0 0 0-4-4L4 16v4Zm9.500-13.500 4 4",
  again: "M20 11a8 8 0 1 0-2.300 6.700M20 5v6h-6",
};
const KEPT = "thumbwheel.conversation";
const ASKED = "thumbwheel.asked"; // what was asked and not begun to be answered, for a page that is loaded again
const GONE = ["conversation_not_found", "message_not_found"];
const MOST = { messages: 100, characters: 150_000 }; // sent of a conversation: the service takes no more than twice that
const NEAR = 60; // pixels from the end, within which a reader follows the answer
const CONSENT = "thumbwheel.consent";

const $ = (id) => document.getElementById(id);
const turns = []; // {role, content, view, id?, conversation?}; what is on the page, and what is sent
let conversation = null;
let running = null; // AbortController of the answer being streamed
let release = null;
let locked = null; // the view of the question that waits for a key

// --- asking ---------------------------------------------------------------------------------------------------------

function send(text) {
  $("suggestions").hidden = true;
  sessionStorage.setItem(ASKED, text);
  addUser(text);
  answer(addReply());
}

async function answer(turn, replaced = null) {
  const view = turn.view;
  running = new AbortController();
  locked = null;
  setBusy(view, true);
  scrollDown();
  let text = "";
  const show = () => { turn.content = text; view.querySelector(".text").replaceChildren(render(text)); };
  try {
    const finish = await ask(replaced ? { regenerate: replaced, messages: [] } : { messages: spoken(turn), conversation_id: conversation },
      running.signal,
      (ids) => { turn.id = ids.message; keep(turn.conversation = ids.conversation); sessionStorage.removeItem(ASKED); },
      (piece) => { text += piece; follow(show); },
      (sources) => follow(() => showSources(view, sources)));
    markFiltered(view, finish);
  } catch (error) {
    if (error instanceof KeyError) lock(turn, error.message);
    else if (GONE.includes(error.code)) problem(view, "This conversation was erased.", () => { leave(); disown(); answer(turn); });
    else if (error.name !== "AbortError") problem(view, error instanceof ApiError ? error.message : "Something broke on this page.", () => answer(turn, replaced));
    else if (!text) view.querySelector(".text").textContent = "Stopped.";
    if (!(error instanceof ApiError) && error.name !== "AbortError") console.error(error);
  } finally {
    running = null;
    follow(() => { setBusy(view, false); view.querySelector(".actions").hidden = !text; });
    onlyLastCanBeAnsweredAgain();
  }
}

function lock(turn, why) {
  locked = turn.view;
  problem(turn.view, why, () => answer(turn));
  askForKey(why);
}

// What was said so far belongs to who said it, with another key or none: only what waits for the key goes on, anew.
function onKey() {
  const view = locked;
  if (!view) return startAnew();
  leave();
  disown();
  view.querySelector(".retry").click();
}

// What is on the page stays, and goes on as a conversation of its own: nothing of it can be rated or answered again.
function disown() {
  for (const turn of turns) {
    turn.id = null;
    turn.view.querySelector(".actions")?.setAttribute("hidden", "");
  }
}

function leave() {
  conversation = locked = null;
  sessionStorage.removeItem(KEPT);
  forgetGiven();
}

function markFiltered(view, finish) {
  view.classList.toggle("filtered", finish === "content_filter");
}

function spoken(turn) {
  let room = MOST.characters;
  const before = turns.slice(0, turns.indexOf(turn)).filter((t) => t.content).slice(-MOST.messages);
  const first = before.findLastIndex((t, index) => (room -= t.content.length) < 0 && index < before.length - 1) + 1;
  return before.slice(first).map(({ role, content }) => ({ role, content }));
}

function keep(id) {
  conversation = id;
  sessionStorage.setItem(KEPT, id);
}

function answerAgain(turn) {
  const view = turn.view, replaced = turn.id;
  const earlier = view.querySelector(".earlier");
  earlier.hidden = false;
  earlier.querySelector("div").replaceChildren(render(turn.content));
  view.querySelector(".text").replaceChildren();
  reset(view);
  turn.id = null; // what is still being sent of it is not the new answer's
  answer(turn, replaced);
}

// --- the page -------------------------------------------------------------------------------------------------------

function addUser(content) {
  const view = Object.assign(document.createElement("article"), { className: "mine", textContent: content, ariaLabel: "You" });
  turns.push({ role: "user", content, view });
  $("log").append(view);
}

function addReply(content = "", id = null) {
  const view = $("reply").content.cloneNode(true).firstElementChild;
  const turn = { role: "assistant", content, view, id, conversation };
  turns.push(turn);
  view.querySelector(".text").append(render(content));
  view.querySelector(".actions").hidden = !id;
  wire(turn);
  $("log").append(view);
  scrollDown();
  return turn;
}

function wire(turn) {
  for (const name of ["up", "down", "edit", "again"]) turn.view.querySelector(`.${name}`).append(icon(name));
  turn.view.querySelector(".again").addEventListener("click", () => running || answerAgain(turn));
  letMark(turn.view, () => (running ? "" : turn.content), (span) => markSpan(turn, span));
  letRate(turn);
}

function reset(view) {
  markFiltered(view, null);
  showSources(view, []);
  view.querySelector(".marks").replaceChildren();
  for (const name of [".reasons", ".editor", ".yours", ".problem", ".actions", ".marker"]) view.querySelector(name).hidden = true;
  for (const button of view.querySelectorAll("[aria-pressed]")) button.setAttribute("aria-pressed", "false");
  view.querySelector(".editor textarea").value = view.querySelector(".state").textContent = "";
}

function problem(view, message, retry) {
  const note = view.querySelector(".problem");
  note.hidden = false;
  note.querySelector("span").textContent = message;
  note.querySelector("button").onclick = () => { if (!running) { reset(view); view.querySelector(".text").replaceChildren(); retry(); } };
  scrollDown();
}

function setBusy(view, busy) {
  const was = document.activeElement;
  view.classList.toggle("busy", busy);
  $("log").setAttribute("aria-busy", busy);
  $("send").hidden = busy;
  $("stop").hidden = !busy;
  if (busy && (was === $("send") || view.contains(was))) $("stop").focus(); // where the keyboard was is hidden now
  if (!busy && was === $("stop")) $("message").focus();
}

function onlyLastCanBeAnsweredAgain() {
  for (const turn of turns) if (turn.role === "assistant") turn.view.querySelector(".again").hidden = turn !== turns.at(-1) || !turn.id;
}

function scrollDown() {
  $("scroll").scrollTop = $("scroll").scrollHeight;
}

// Change the page and stay at its end, unless its reader has scrolled up to read.
function follow(change) {
  const { scrollHeight, scrollTop, clientHeight } = $("scroll");
  change();
  if (scrollHeight - scrollTop - clientHeight < NEAR) scrollDown();
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.append(document.createElementNS(svg.namespaceURI, "path"));
  svg.firstChild.setAttribute("d", ICONS[name]);
  return svg;
}

function fit(area) {
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight + 2}px`;
}

function greet() {
  $("log").replaceChildren(Object.assign(document.createElement("p"), { className: "greeting", textContent: release.greeting }));
  $("suggestions").replaceChildren(...release.suggestions.map((text) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: text });
    button.addEventListener("click", () => running || send(text));
    return button;
  }));
  $("suggestions").hidden = false;
}

function startAnew() {
  running?.abort();
  turns.length = 0;
  leave();
  sessionStorage.removeItem(ASKED);
  if (release) greet();
  $("message").focus();
}

async function restore() {
  const id = sessionStorage.getItem(KEPT), asked = sessionStorage.getItem(ASKED);
  if (asked && !$("message").value) $("message").value = asked;
  const kept = id && (await keptConversation(id));
  if (!kept || turns.length || sessionStorage.getItem(KEPT) !== id) return; // or the page has begun anew meanwhile
  conversation = id;
  $("suggestions").hidden = true;
  for (const { role, content } of kept.messages) {
    if (role === "user") addUser(content);
    else {
      const found = kept.replies.findLast((reply) => reply.reply === content);
      const turn = addReply(content, found?.message_id ?? null);
      markFiltered(turn.view, found?.finish);
      showSources(turn.view, found?.citations ?? []);
      showGiven(turn);
    }
  }
  onlyLastCanBeAnsweredAgain();
}

// An answer that a reload cut off is kept a moment after the page is there again.
async function keptConversation(id) {
  for (const pause of [0, 200, 500, 1000, 2000]) {
    await new Promise((resolve) => setTimeout(resolve, pause));
    const kept = turns.length ? null : await getJson(`/v1/conversations/${encodeURIComponent(id)}`).catch(unlessGone);
    if (kept || turns.length) return kept;
  }
}

// A conversation that is gone, or another's, is none; one that cannot be had now is not to be thought lost.
function unlessGone(error) {
  if (!GONE.includes(error.code) && !(error instanceof KeyError)) throw error;
}

async function start() {
  $("send").append(icon("send"));
  $("stop").append(icon("stop"));
  $("consent").checked = localStorage.getItem(CONSENT) === "yes";
  $("consent").addEventListener("change", () => localStorage.setItem(CONSENT, $("consent").checked ? "yes" : "no"));
  $("message").addEventListener("input", () => fit($("message")));
  $("message").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    $("composer").requestSubmit();
  });
  $("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = $("message").value.trim();
    if (!text || running) return;
    $("message").value = "";
    fit($("message"));
    send(text);
  });
  $("stop").addEventListener("click", () => { running?.abort(); sessionStorage.removeItem(ASKED); });
  $("new").addEventListener("click", startAnew);
  letAccess(checkKey, onKey);
  letForget(startAnew);
  release = await getJson("/release");
  document.title = $("title").textContent = release.title;
  $("message").placeholder = `Message ${release.assistant}`;
  $("model").textContent = `${release.model} · ${release.bundle.slice(0, 7)}`;
  if (turns.length) return; // somebody was quicker than this page: what they asked stays
  greet();
  await restore();
}

start().catch((error) => {
  $("log").append(Object.assign(document.createElement("p"), { className: "problem", textContent: error.message }));
});
