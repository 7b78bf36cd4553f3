// A reply's Markdown as DOM nodes: paragraphs, lists, code, bold. Text only ever becomes text nodes, never HTML.

const BULLET = /^\s*[-*•]\s+/;
const NUMBER = /^\s*\d+[.)]\s+/;

export function render(text) {
  const blocks = document.createDocumentFragment();
  const parts = text.split(/^```.*$/m);
  parts.forEach((part, index) => (index % 2 ? blocks.append(codeBlock(part)) : blocks.append(...paragraphs(part))));
  return blocks;
}

function paragraphs(text) {
  const runs = [];
  for (const line of text.split("\n")) {
    const kind = BULLET.test(line) ? "ul" : NUMBER.test(line) ? "ol" : line.trim() ? "p" : null;
    const last = runs.at(-1);
    if (kind === null) runs.push(null);
    else if (last?.kind === kind) last.lines.push(line);
    else runs.push({ kind, lines: [line] });
  }
  return runs.filter(Boolean).map(block);
}

function block({ kind, lines }) {
  const node = document.createElement(kind);
  if (kind === "p") {
    lines.forEach((line, index) => node.append(...(index ? [document.createElement("br")] : []), ...inline(line)));
    return node;
  }
  if (kind === "ol") node.start = parseInt(lines[0], 10) || 1;
  for (const line of lines) {
    const item = document.createElement("li");
    item.append(...inline(line.replace(kind === "ul" ? BULLET : NUMBER, "")));
    node.append(item);
  }
  return node;
}

function inline(text) {
  return text.split(/(\*\*[^*]+\*\*|`[^`]+`)/).map((part) => {
    const mark = part.startsWith("**") && part.length > 4 ? "strong" : part.startsWith("`") && part.length > 2 ? "code" : null;
    if (!mark) return document.createTextNode(part);
    const node = document.createElement(mark);
    node.textContent = mark === "strong" ? part.slice(2, -2) : part.slice(1, -1);
    return node;
  });
}

function codeBlock(text) {
  const pre = document.createElement("pre");
  pre.append(document.createElement("code"));
  pre.firstChild.textContent = text.replace(/^\n|\n$/g, "");
  return pre;
}
