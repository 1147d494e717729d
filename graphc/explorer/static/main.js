// The page: its head, its panels, the search, the keys, and what is new on a live one.

const PANELS = [
  ["kernel", "Kernels", kernelPanel],
  ["passes", "Passes", passesPanel],
  ["memory", "Memory", memoryPanel],
  ["roofline", "Roofline", rooflinePanel],
  ["training", "Training", trainingPanel],
];
const KEYS = [
  ["/", "search nodes, layers and kernels"],
  ["1 2 3", "source, graph, mathematics"],
  ["4 … 8", "kernels, passes, memory, roofline, training"],
  ["Tab", "to the next pane"],
  ["↑ ↓", "in a list, code, a table or a picture: to the next that belongs to a node"],
  ["← ↑ ↓ →", "in the graph: to the next node"],
  ["Enter", "in the graph: open or close a layer"],
  ["e c 0 + −", "in the graph: open all, close all, whole graph, larger, smaller"],
  ["Esc", "select nothing"],
  ["t", "light or dark"],
  ["?", "these keys"],
];

function head() {
  $("title").textContent = report.title;
  const total = report.graphs.declared.filter((id) => !nodes.get(id).leaf).length;
  $("about").textContent = `${report.kind} · ${count(total)} in ${report.kernels.length} kernels · graphc ${report.version} · ${report.machine} · ${report.made.slice(0, 16).replace("T", " ")}`;
  $("about").title = $("about").textContent;
}

/** The tabs of the dock. */
function dock() {
  const panels = $("panels");
  const shown = {};
  function open(name) {
    for (const [other, , build] of PANELS) {
      if (other === name && !shown[other]) {
        shown[other] = build();
        shown[other].id = `panel-${other}`;
        shown[other].setAttribute("role", "tabpanel");
        panels.append(shown[other]);
        relight(shown[other]);
      }
      if (shown[other]) shown[other].hidden = other !== name;
      $(`tab-${other}`).setAttribute("aria-selected", String(other === name));
      $(`tab-${other}`).tabIndex = other === name ? 0 : -1;
    }
  }
  for (const [name, title] of PANELS) {
    $("tabs").append(make("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `panel-${name}`, onclick: () => open(name) }, title));
  }
  $("tabs").addEventListener("keydown", (event) => {
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!move) return;
    const at = PANELS.findIndex(([name]) => $(`tab-${name}`).getAttribute("aria-selected") === "true");
    const next = PANELS[(at + move + PANELS.length) % PANELS.length][0];
    open(next);
    $(`tab-${next}`).focus();
  });
  open("kernel");
  return { open, shown };
}

/** Search by name of node, op, layer or kernel. */
function search(graph) {
  const input = $("search");
  const list = $("found");
  const compiled = new Set(report.graphs.compiled);
  const known = [...report.nodes].sort((a, b) => compiled.has(b.id) - compiled.has(a.id));
  const entries = [
    ...known.map((node) => ({ text: `${node.name} ${node.op} ${node.layer} ${node.type}`.toLowerCase(), shown: [node.text ?? node.name, siteOf(node)], op: node.op.toLowerCase(), leaf: node.leaf, go: () => graph.find(node.id) })),
    ...report.kernels.map((kernel, at) => ({ text: `${kernel.name} ${kernel.ops.join(" ")}`.toLowerCase(), shown: [kernel.name, [...new Set(kernel.ops)].slice(0, 4).join(", ")], go: () => selectKernel(at) })),
  ];
  let at = 0;
  function look() {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const hits = words.length ? entries.filter((entry) => words.every((word) => entry.text.includes(word))) : [];
    const worth = (entry) => (words.includes(entry.op) ? 0 : entry.op?.startsWith(words[0]) ? 1 : entry.leaf ? 3 : 2);
    const best = hits.sort((a, b) => worth(a) - worth(b)).slice(0, 40);
    at = 0;
    list.replaceChildren(...best.map((entry, number) => {
      const item = make("li", { role: "option", id: `found-${number}`, "aria-selected": String(number === 0), onmousedown: (event) => { event.preventDefault(); go(entry); } }, make("span", {}, entry.shown[0]), make("span.quiet", {}, entry.shown[1]));
      item.entry = entry;
      return item;
    }));
    if (words.length && !hits.length) list.append(make("li.quiet", {}, "nothing of that name"));
    list.hidden = !words.length;
    input.setAttribute("aria-expanded", String(!list.hidden));
  }
  function go(entry) {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.blur();
    entry.go();
  }
  input.addEventListener("input", look);
  input.addEventListener("focus", look);
  input.addEventListener("blur", () => { list.hidden = true; });
  input.addEventListener("keydown", (event) => {
    const items = [...list.children].filter((item) => item.entry);
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (move && items.length) {
      event.preventDefault();
      items[at].setAttribute("aria-selected", "false");
      at = (at + move + items.length) % items.length;
      items[at].setAttribute("aria-selected", "true");
      items[at].scrollIntoView({ block: "nearest" });
      input.setAttribute("aria-activedescendant", items[at].id);
    } else if (event.key === "Enter" && items[at]) go(items[at].entry);
    else if (event.key === "Escape") input.blur();
    event.stopPropagation();
  });
}

function theme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
}

function keys(panels) {
  const dialog = $("keys");
  dialog.append(make("h3", {}, "Keys"), make("dl.facts", {}, KEYS.flatMap(([key, what]) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, what)])), make("p.quiet", {}, "Colours: ", make("span.forward", {}, "forward"), ", ", make("span.backward", {}, "backward"), ", ", make("span.update", {}, "update"), "; what belongs to the selection is yellow, the hot loop red."), make("button", { type: "button", onclick: () => dialog.close() }, "Close"));
  $("help").addEventListener("click", () => dialog.showModal());
  $("theme").addEventListener("click", theme);
  const PANES = ["#source .body", "#canvas", "#mathematics .body"];
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input")) return;
    const number = Number(event.key);
    if (event.key === "/") $("search").focus();
    else if (event.key === "?") dialog.showModal();
    else if (event.key === "t") theme();
    else if (event.key === "Escape" && !dialog.open) select([], null);
    else if (number >= 1 && number <= 3) document.querySelector(PANES[number - 1]).focus();
    else if (number >= 4 && number < 4 + PANELS.length) {
      panels.open(PANELS[number - 4][0]);
      $(`tab-${PANELS[number - 4][0]}`).focus();
    } else return;
    event.preventDefault();
  });
}

head();
showSource();
const graph = showGraph();
showMathematics();
const panels = dock();
search(graph);
keys(panels);
addEventListener("resize", () => graph.fit());
requestAnimationFrame(() => setTimeout(() => {
  performance.mark("ready"); // the first picture is on the screen
  document.documentElement.dataset.ready = "true";
}));
