// A reply's Markdown as DOM nodes: paragraphs, headings, lists, quotes, tables, code, bold, emphasis. Text only ever becomes
// text nodes, never HTML.

const SIGNS = {
  ul: /^\s*[-*•]\s+/, ol: /^\s*\d+[.)]\s+/, h3: /^ {0,3}#{1,6}\s+/, blockquote: /^ {0,3}>\s?/, table: /^\s*\|(?=.*\|\s*$)/,
};
const RULE = /^\s*\|(\s*:?-+:?\s*\|)+\s*$/;
const MARKED = /(\*\*[^*]+\*\*|`[^`]+`|(?<![\w*])\*[^\s*](?:[^*]*[^\s*])?\*(?![\w*]))/;

export function render(text) {
  const blocks = document.createDocumentFragment();
  const parts = text.split(/^```.*$/m);
  parts.forEach((part, index) => (index % 2 ? blocks.append(codeBlock(part)) : blocks.append(...paragraphs(part))));
  return blocks;
}

function paragraphs(text) {
  const runs = [];
  for (const line of text.split("\n")) {
    const kind = line.trim() ? Object.keys(SIGNS).find((sign) => SIGNS[sign].test(line)) ?? "p" : null;
    const last = runs.at(-1);
    if (kind === null) runs.push(null);
    else if (last?.kind === kind && kind !== "h3") last.lines.push(line);
    else runs.push({ kind, lines: [line] });
  }
  return runs.filter(Boolean).map(block);
}

function block({ kind, lines }) {
  if (kind === "table" && RULE.test(lines[1])) return table(lines);
  const node = document.createElement(kind === "table" ? "p" : kind);
  if (kind === "ol") node.start = parseInt(lines[0], 10) || 1;
  lines.forEach((line, index) => {
    const content = inline(kind === "table" ? line : line.replace(SIGNS[kind] ?? "", ""));
    if (kind === "ul" || kind === "ol") node.append(filled("li", content));
    else node.append(...(index ? [document.createElement("br")] : []), ...content);
  });
  return node;
}

function table([head, , ...rows]) {
  const cells = (line) => line.trim().slice(1, -1).split("|").map((cell) => inline(cell.trim()));
  const row = (line, kind) => filled("tr", cells(line).map((cell) => filled(kind, cell)));
  return filled("table", [row(head, "th"), ...rows.map((line) => row(line, "td"))]);
}

function inline(text) {
  return text.split(MARKED).map((part, index) => {
    if (index % 2 === 0) return document.createTextNode(part);
    if (part.startsWith("**")) return filled("strong", [part.slice(2, -2)]);
    return filled(part.startsWith("`") ? "code" : "em", [part.slice(1, -1)]);
  });
}

function filled(kind, content) {
  const node = document.createElement(kind);
  node.append(...content);
  return node;
}

function codeBlock(text) {
  const pre = document.createElement("pre");
  pre.append(document.createElement("code"));
  pre.firstChild.textContent = text.replace(/^\n|\n$/g, "");
  return pre;
}
