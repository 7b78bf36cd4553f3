// A reply's Markdown as DOM nodes: paragraphs, headings, nested lists, quotes, tables, code, bold, emphasis, links. Text only
// ever becomes text nodes, never HTML. An address is shown as it is, behind its name: where a link leads is no surprise.

const SIGNS = {
  ul: /^[-*•]\s+/, ol: /^\d{1,9}[.)]\s+/, h3: /^#{1,6}\s+/, blockquote: /^>\s?/, table: /^\|(?=.*\|\s*$)/,
};
const RULE = /^\|(\s*:?-+:?\s*\|)+\s*$/;
const FENCE = /^(\s*(?:(?:[-*•]|\d{1,9}[.)])\s+)*)(`{3,})[^`]*$/; // behind the signs of items, too
const WITHIN = 2; // columns behind an item's sign, from which on a line belongs to the item
const DEEPEST = 6; // lists within lists; what is deeper stands at this depth
const ADDRESS = /https?:\/\/[^\s<>"'`()[\]{}|*]*[^\s<>"'`()[\]{}|*.,;:!?]/;
const NAMED = new RegExp(`!?\\[([^[\\]]+)\\]\\((${ADDRESS.source})\\)`);
const EMPHASIS = /(?<![\w*])\*[^\s*](?:[^*]*[^\s*])?\*(?![\w*])/;
const LINK = new RegExp(`!?\\[[^[\\]]+\\]\\(${ADDRESS.source}\\)`);
const MARKED = new RegExp(`(${[/\*\*[^*]+\*\*/, /`[^`]+`/, LINK, ADDRESS, EMPHASIS].map(({ source }) => source).join("|")})`);

export function render(text) {
  const blocks = document.createDocumentFragment();
  blocks.append(...nodesOf(linesOf(text), 0));
  return blocks;
}

// The lines that are not blank as {indent, parted, sign, text or code}, `parted` by blank ones from those before; a block of code is
// one line.
function linesOf(text) {
  const lines = [];
  let parted = false, fence = null, margin;
  const add = (indent, more) => { lines.push({ indent, parted, sign: signOf(more), ...more }); parted = false; };
  for (const line of text.split("\n")) {
    const [, before, ticks] = FENCE.exec(line) ?? [];
    if (fence) {
      if (ticks?.length >= fence.length && line.trim() === ticks) fence = null;
      else lines.at(-1).code.push(line.replace(margin, ""));
    } else if (ticks) {
      if (before.trim()) add(indentOf(before), { text: before.trimStart() });
      add(width(before), { code: [] });
      [fence, margin] = [ticks, new RegExp(`^\\s{0,${before.length}}`)];
    } else if (line.trim()) add(indentOf(line), { text: line.trimStart() });
    else parted = true;
  }
  return lines;
}

const width = (text) => text.replaceAll("\t", "    ").length;
const indentOf = (line) => width(/^\s*/.exec(line)[0]);

const signOf = ({ text, code }) => (code ? "pre" : Object.keys(SIGNS).find((sign) => SIGNS[sign].test(text)) ?? "p");
const kindOf = ({ indent, sign }) => (indent > 3 && (sign === "h3" || sign === "blockquote") ? "p" : sign);

function nodesOf(lines, depth) {
  const nodes = [];
  for (let at = 0, end; at < lines.length; at = end) {
    const kind = kindOf(lines[at]);
    end = at + 1;
    if (kind === "ul" || kind === "ol") end = addList(nodes, lines, at, kind, depth);
    else {
      while (end < lines.length && kind !== "h3" && kind !== "pre" && !lines[end].parted && kindOf(lines[end]) === kind) end += 1;
      nodes.push(kind === "pre" ? codeBlock(lines[at]) : block(kind, lines.slice(at, end).map(({ text }) => text)));
    }
  }
  return nodes;
}

// Add the list that begins `at` a line, and return where it ends: before a line that is neither in an item nor an item of its kind.
function addList(nodes, lines, at, kind, depth) {
  const list = document.createElement(kind);
  if (kind === "ol") list.start = parseInt(lines[at].text, 10);
  for (let end; at < lines.length && kindOf(lines[at]) === kind; at = end) {
    const { indent, text } = lines[at], inner = indent + WITHIN;
    const isWithin = (line) => line.indent >= inner && (depth + 1 < DEEPEST || !/^[uo]l$/.test(kindOf(line)));
    end = at + 1;
    while (end < lines.length && isWithin(lines[end])) end += 1;
    const own = lines.slice(at + 1, end).map((line) => ({ ...line, indent: line.indent - inner }));
    list.append(item(text.replace(SIGNS[kind], ""), own, depth + 1));
  }
  nodes.push(list);
  return at;
}

function item(text, lines, depth) {
  const more = lines.findIndex((line) => line.parted || kindOf(line) !== "p");
  const end = more < 0 ? lines.length : more;
  const said = [text, ...lines.slice(0, end).map((line) => line.text)].filter(Boolean);
  return filled("li", [...block("p", said).childNodes, ...nodesOf(lines.slice(end), depth)]);
}

function block(kind, lines) {
  if (kind === "table" && RULE.test(lines[1])) return table(lines);
  const content = lines.map((line) => inline(kind === "table" ? line : line.replace(SIGNS[kind] ?? "", "")));
  return filled(kind === "table" ? "p" : kind, content.flatMap((part, index) => (index ? [document.createElement("br"), ...part] : part)));
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

function codeBlock({ code }) {
  return filled("pre", [filled("code", [code.join("\n")])]);
}
