// Lines of code with their words coloured, and lists of such lines.

const LANGUAGES = {
  python: /(#.*$)|("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|\b(\d[\w.]*)\b|\b(and|as|assert|class|def|elif|else|except|False|for|from|if|import|in|is|lambda|None|not|or|pass|raise|return|True|try|while|with|yield)\b/g,
  loops: /(#.*$)|("[^"]*")|\b(\d[\w.]*)\b|\b(kernel|for|in|by|if|and|where|check|barrier|register|stack|shared|one thread|turned)\b/g,
  llvm: /(;.*$|![\w]+)|("[^"]*")|\b(-?\d[\w.+]*)\b|\b(define|declare|call|load|store|br|phi|ret|label|getelementptr|add|sub|mul|icmp|fcmp|select|fadd|fsub|fmul|fdiv|fma|bitcast|shufflevector|insertelement|extractelement|tail|void|ptr|float|double|i1|i8|i32|i64)\b/g,
  asm: /(#.*$|^\s*\.\w+.*$)|("[^"]*")|\b(0x[\da-f]+|\d+)\b|^\s*([a-z][\w.]+)\b/g,
};
LANGUAGES.lowered = LANGUAGES.loops;
const KINDS = ["", "note", "string", "number", "word"];

/** A line of text as coloured parts. */
function coloured(text, language) {
  const pattern = LANGUAGES[language];
  if (!pattern) return [text];
  const parts = [];
  let last = 0;
  for (const match of text.matchAll(pattern)) {
    const kind = KINDS.findIndex((_, k) => k > 0 && match[k] !== undefined);
    const word = match[kind];
    const start = match.index + match[0].indexOf(word);
    if (start > last) parts.push(text.slice(last, start));
    parts.push(make(`span.t-${KINDS[kind]}`, {}, word));
    last = start + word.length;
  }
  if (last < text.length) parts.push(text.slice(last));
  return parts;
}

/** Fill a box with lines [text, nodes, hot]; numbered from `first` where it is given. */
function fill(box, lines, language, first = null) {
  box.replaceChildren(
    ...lines.map(([text, numbers = [], hot = 0], at) => {
      const label = first === null ? (hot ? "▸" : "") : String(first + at);
      const line = make("div.line", {}, make("span.at", {}, label), make("span", {}, coloured(text, language)));
      if (hot) line.classList.add("hot");
      return shows(line, numbers);
    }),
  );
  relight(box);
}

/** Arrow keys select the next of the items in a box, which Tab enters and leaves as one. */
function walkable(box, items = "[data-nodes]") {
  box.addEventListener("keydown", (event) => {
    if (!["ArrowDown", "ArrowUp"].includes(event.key) || event.altKey) return;
    const lines = [...box.querySelectorAll(items)];
    if (!lines.length) return;
    const current = lines.findIndex((line) => line === box.current);
    const lit = current >= 0 ? current : lines.findIndex((line) => line.classList.contains("lit"));
    const next = Math.min(Math.max(lit + (event.key === "ArrowDown" ? 1 : -1), 0), lines.length - 1);
    event.preventDefault();
    box.current = lines[next];
    lines[next].dispatchEvent(new MouseEvent("click", { bubbles: true })); // SVG has no click()
    reveal(lines[next], box);
  });
}
