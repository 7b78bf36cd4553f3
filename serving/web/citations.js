// The sources of a reply: a list under it, and each [1] in its text a link or a mark that says what it stands for.

export function showSources(view, sources) {
  const box = view.querySelector(".sources");
  box.hidden = !sources.length;
  box.querySelector("ol").replaceChildren(...sources.map(entry));
  for (const source of sources) if (source.cited) markAll(view.querySelector(".text"), source);
}

function entry(source) {
  const item = document.createElement("li");
  item.value = source.number;
  item.classList.toggle("cited", source.cited);
  item.append(named(source, source.title, source.excerpt));
  return item;
}

// A link where the source has an address on the web, else a word with a tooltip; never anything that runs.
function named(source, text, tip) {
  const node = document.createElement(/^https?:\/\//.test(source.link ?? "") ? "a" : "span");
  if (node.tagName === "A") Object.assign(node, { href: source.link, target: "_blank", rel: "noopener noreferrer" });
  return Object.assign(node, { title: tip, textContent: text });
}

function markAll(root, source) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) if (!walker.currentNode.parentElement.closest("code, .mark")) texts.push(walker.currentNode);
  for (const text of texts) markOne(text, source);
}

function markOne(text, source) {
  const sign = `[${source.number}]`;
  const [before, ...rest] = text.data.split(sign);
  if (!rest.length) return;
  text.replaceWith(before, ...rest.flatMap((part) => {
    const mark = Object.assign(document.createElement("sup"), { className: "mark" });
    mark.append(named(source, sign, source.title));
    return [mark, part];
  }));
}
