// Words of an answer marked as wrong or toxic: a selection becomes characters of the reply, and a small bar offers both.

const LABELS = [["wrong", "Mark as wrong"], ["toxic", "Mark as toxic"]];

// Let words of a reply be marked; `content()` is the reply's text, `mark(span)` resolves to whether it was taken.
// Returned is what a key does: mark what is selected now with a label, and say whether anything was.
export function letMark(view, content, mark) {
  const text = view.querySelector(".text"), bar = view.querySelector(".marker");
  let span = null;
  const offer = () => {
    if (!view.isConnected) return document.removeEventListener("selectionchange", offer);
    span = selected(text, content());
    bar.hidden = !span;
    if (span) place(bar, view);
  };
  const take = async (label) => {
    const words = span && { ...span, label };
    if (!words || !(await mark(words))) return;
    showMark(view, content(), words);
    getSelection().removeAllRanges();
  };
  document.addEventListener("selectionchange", offer);
  bar.replaceChildren(...LABELS.map(([label, said]) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: said, className: label });
    button.addEventListener("pointerdown", (event) => event.preventDefault()); // which would undo the selection
    button.addEventListener("click", () => take(label));
    return button;
  }));
  return (label) => {
    offer(); // a key may come before the browser has told of the selection
    if (span) take(label);
    return Boolean(span);
  };
}

export function showMark(view, content, { start, end, label }) {
  const item = document.createElement("li");
  const quote = Object.assign(document.createElement("q"), { textContent: [...content].slice(start, end).join("") });
  item.className = label;
  item.append(quote, ` marked as ${label}`);
  view.querySelector(".marks").append(item);
}

// The selection within `root` as {start, end} in code points of the Markdown that it was rendered from, or null.
function selected(root, content) {
  const selection = getSelection();
  if (!selection.rangeCount || selection.isCollapsed) return null;
  const range = selection.getRangeAt(0);
  if (!root.contains(range.startContainer) || !root.contains(range.endContainer)) return null;
  const before = document.createRange();
  before.setStart(root, 0);
  before.setEnd(range.startContainer, range.startOffset);
  const from = letters(before.toString()).length, length = letters(range.toString()).length;
  const places = placesOf(letters(root.textContent), content);
  if (!length || places.length < from + length) return null;
  const start = places[from], last = places[from + length - 1];
  return { start: points(content, start), end: points(content, last) + 1 };
}

// Where each shown letter stands in the Markdown, found from the end, for marks of lists stand before what they mark.
function placesOf(shown, content) {
  const places = [];
  let at = content.length;
  for (const letter of shown.toReversed()) {
    at = at > 0 ? content.lastIndexOf(letter, at - 1) : -1;
    if (at < 0) return [];
    places.push(at);
  }
  return places.reverse();
}

const letters = (text) => [...text].filter((letter) => /\S/u.test(letter));
const points = (content, index) => [...content.slice(0, index)].length;

function place(bar, view) {
  const at = getSelection().getRangeAt(0).getBoundingClientRect(), own = view.getBoundingClientRect();
  bar.style.top = `${at.bottom - own.top + 6}px`;
  bar.style.left = `${Math.max(0, Math.min(at.left - own.left, own.width - bar.offsetWidth))}px`;
}
