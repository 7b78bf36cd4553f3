// The chat page: one conversation, its streamed replies, and what the user says of them.

import { ApiError, ask, getJson, sendFeedback } from "./api.js";
import { showSources } from "./citations.js";
import { render } from "./markdown.js";
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
const CONSENT = "thumbwheel.consent";

const $ = (id) => document.getElementById(id);
const turns = []; // {role, content, view?, id?}; what is on the page, and what is sent
let conversation = null;
let running = null; // AbortController of the answer being streamed
let release = null;

// --- asking ---------------------------------------------------------------------------------------------------------

function send(text) {
  $("suggestions").hidden = true;
  addUser(text);
  answer(addReply());
}

async function answer(turn, replaced = null) {
  const view = turn.view;
  running = new AbortController();
  setBusy(view, true);
  let text = "";
  const show = () => { turn.content = text; view.querySelector(".text").replaceChildren(render(text)); scrollDown(); };
  try {
    const finish = await ask(replaced ? { regenerate: replaced, messages: [] } : { messages: spoken(turn), conversation_id: conversation },
      running.signal,
      (ids) => { turn.id = ids.message; keep(ids.conversation); },
      (piece) => { text += piece; show(); },
      (sources) => { showSources(view, sources); scrollDown(); });
    markFiltered(view, finish);
  } catch (error) {
    if (error.name !== "AbortError") problem(view, error instanceof ApiError ? error.message : "Something broke on this page.", () => answer(turn, replaced));
    else if (!text) view.querySelector(".text").textContent = "Stopped.";
    if (!(error instanceof ApiError) && error.name !== "AbortError") console.error(error);
  } finally {
    running = null;
    setBusy(view, false);
    view.querySelector(".actions").hidden = !text;
    onlyLastCanBeAnsweredAgain();
  }
}

function markFiltered(view, finish) {
  view.classList.toggle("filtered", finish === "content_filter");
}

function spoken(turn) {
  const before = turns.slice(0, turns.indexOf(turn));
  return before.filter((t) => t.content).map(({ role, content }) => ({ role, content }));
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
  answer(turn, replaced);
}

// --- feedback -------------------------------------------------------------------------------------------------------

async function rate(turn, feedback, thanks) {
  const state = turn.view.querySelector(".state");
  try {
    await sendFeedback({ conversation_id: conversation, message_id: turn.id, consent: $("consent").checked, ...feedback });
    state.textContent = thanks;
    return true;
  } catch (error) {
    state.textContent = `Not sent: ${error.message}`;
    return false;
  }
}

async function thumb(turn, rating) {
  const view = turn.view;
  if (!(await rate(turn, { rating }, "Thank you!"))) return;
  view.querySelector(".up").setAttribute("aria-pressed", rating === "up");
  view.querySelector(".down").setAttribute("aria-pressed", rating === "down");
  view.querySelector(".reasons").hidden = rating === "up";
  scrollDown();
}

async function markSpan(turn, span) {
  const view = turn.view;
  if (!turn.id || !(await rate(turn, { rating: "down", spans: [span] }, "Thank you, marked."))) return false;
  view.querySelector(".up").setAttribute("aria-pressed", false);
  view.querySelector(".down").setAttribute("aria-pressed", true);
  return true;
}

async function giveReason(turn, button) {
  if (!(await rate(turn, { rating: "down", reason: button.dataset.reason }, "Thank you, noted."))) return;
  for (const other of turn.view.querySelectorAll(".reasons [data-reason]")) other.setAttribute("aria-pressed", other === button);
}

function openEditor(turn) {
  const editor = turn.view.querySelector(".editor");
  const area = editor.querySelector("textarea");
  editor.hidden = false;
  area.value ||= turn.content;
  area.rows = Math.min(12, Math.max(4, Math.ceil(area.value.length / 70)));
  area.focus();
  editor.scrollIntoView({ block: "nearest" });
}

async function sendEdit(turn) {
  const view = turn.view;
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

// --- the page -------------------------------------------------------------------------------------------------------

function addUser(content) {
  const view = Object.assign(document.createElement("p"), { className: "mine", textContent: content });
  turns.push({ role: "user", content, view });
  $("log").append(view);
}

function addReply(content = "", id = null) {
  const view = $("reply").content.cloneNode(true).firstElementChild;
  const turn = { role: "assistant", content, view, id };
  turns.push(turn);
  view.querySelector(".text").append(render(content));
  view.querySelector(".actions").hidden = !id;
  wire(turn);
  $("log").append(view);
  scrollDown();
  return turn;
}

function wire(turn) {
  const on = (selector, type, act) => turn.view.querySelector(selector).addEventListener(type, act);
  for (const name of ["up", "down", "edit", "again"]) turn.view.querySelector(`.${name}`).append(icon(name));
  letMark(turn.view, () => (running ? "" : turn.content), (span) => markSpan(turn, span));
  on(".up", "click", () => thumb(turn, "up"));
  on(".down", "click", () => thumb(turn, "down"));
  on(".again", "click", () => running || answerAgain(turn));
  on(".edit", "click", () => openEditor(turn));
  on(".better", "click", () => openEditor(turn));
  on(".editor", "submit", (event) => { event.preventDefault(); sendEdit(turn); });
  on(".cancel", "click", () => { turn.view.querySelector(".editor").hidden = true; });
  on(".reasons", "click", (event) => event.target.dataset.reason && giveReason(turn, event.target));
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
  view.classList.toggle("busy", busy);
  $("log").setAttribute("aria-busy", busy);
  $("send").hidden = busy;
  $("stop").hidden = !busy;
  scrollDown();
}

function onlyLastCanBeAnsweredAgain() {
  for (const turn of turns) if (turn.role === "assistant") turn.view.querySelector(".again").hidden = turn !== turns.at(-1) || !turn.id;
}

function scrollDown() {
  $("scroll").scrollTop = $("scroll").scrollHeight;
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
  conversation = null;
  sessionStorage.removeItem(KEPT);
  greet();
  $("message").focus();
}

async function restore() {
  const id = sessionStorage.getItem(KEPT);
  const kept = id && (await getJson(`/v1/conversations/${encodeURIComponent(id)}`).catch(() => null));
  if (!kept || turns.length) return;
  conversation = id;
  $("suggestions").hidden = true;
  for (const { role, content } of kept.messages) {
    if (role === "user") addUser(content);
    else {
      const found = kept.replies.findLast((reply) => reply.reply === content);
      const { view } = addReply(content, found?.message_id ?? null);
      markFiltered(view, found?.finish);
      showSources(view, found?.citations ?? []);
    }
  }
  onlyLastCanBeAnsweredAgain();
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
  $("stop").addEventListener("click", () => running?.abort());
  $("new").addEventListener("click", startAnew);
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
