// A reply's Markdown as DOM nodes: paragraphs, headings, lists, quotes, tables, code, bold, emphasis, links. Text only ever
// becomes text nodes, never HTML. An address is shown as it is, behind its name: where a link leads is no surprise.

const SIGNS = {
  ul: /^\s*[-*•]\s+/, ol: /^\s*\d+[.)]\s+/, h3: /^ {0,3}#{1,6}\s+/, blockquote: /^ {0,3}>\s?/, table: /^\s*\|(?=.*\|\s*$)/,
};
const RULE = /^\s*\|(\s*:?-+:?\s*\|)+\s*$/;
const ADDRESS = /https?:\/\/[^\s<>"'`()[\]{}|*]*[^\s<>"'`()[\]{}|*.,;:!?]/;
const NAMED = new RegExp(`!?\\[([^[\\]]+)\\]\\((${ADDRESS.source})\\)`);
const EMPHASIS = /(?<![\w*])\*[^\s*](?:[^*]*[^\s*])?\*(?![\w*])/;
const LINK = new RegExp(`!?\\[[^[\\]]+\\]\\(${ADDRESS.source}\\)`);
const MARKED = new RegExp(`(${[/\*\*[^*]+\*\*/, /`[^`]+`/, LINK, ADDRESS, EMPHASIS].map(({ source }) => source).join("|")})`);

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
  return text.split(MARKED).flatMap((part, index) => {
    if (index % 2 === 0) return document.createTextNode(part);
    if (part.startsWith("**")) return filled("strong", [part.slice(2, -2)]);
    if (part.startsWith("`")) return filled("code", [part.slice(1, -1)]);
    if (part.startsWith("*")) return filled("em", [part.slice(1, -1)]);
    const [, name, address] = NAMED.exec(part) ?? [null, null, part];
    return name ? [`${name} (`, link(address), ")"] : link(address);
  });
}

function link(address) {
  return Object.assign(filled("a", [address]), { href: address, target: "_blank", rel: "noopener noreferrer" });
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
