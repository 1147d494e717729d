// The report, and the one mechanism that links the panes: whatever shows nodes carries their numbers
// in data-nodes; selecting sets the chosen numbers, and all elements that share one light up.

const report = JSON.parse(document.getElementById("report").textContent);
const nodes = new Map(report.nodes.map((node) => [node.id, node]));
const listeners = [];
let selection = { nodes: new Set(), primary: null, kernel: null };

/** The element with an id. */
const $ = (id) => document.getElementById(id);

/** An element: its tag with classes ("div.line.hot"), its attributes, its children or text. */
function make(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  return filled(element, attributes, children);
}

/** The same of SVG. */
function draw(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  if (classes.length) element.setAttribute("class", classes.join(" "));
  return filled(element, attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Mark an element as showing nodes, so that it can be lit; a click on it selects them. */
function shows(element, numbers, choose = null) {
  if (!numbers.length) return element;
  element.setAttribute("data-nodes", numbers.join(" "));
  element.addEventListener("click", (event) => {
    event.stopPropagation();
    if (choose) choose();
    else select(numbers, numbers[0]);
  });
  return element;
}

/** A set of nodes and what stands for them in the other graph. */
function withRelated(numbers) {
  const found = new Set(numbers);
  for (const number of numbers) for (const other of report.related[number] ?? []) found.add(other);
  return found;
}

/** Choose nodes; `primary` is the one whose mathematics is shown, `kernel` the kernel. */
function select(numbers, primary = numbers[0] ?? null, kernel = null) {
  const chosen = withRelated(numbers);
  if (kernel === null) kernel = kernelOf(primary, chosen);
  selection = { nodes: chosen, primary, kernel };
  relight();
  for (const listener of listeners) listener(selection);
  const node = nodes.get(primary);
  $("said").textContent = node ? `${node.name}, ${node.op}, ${node.type}` : "nothing is selected";
}

/** The kernel that computes a node, or what stands for it. */
function kernelOf(primary, chosen) {
  for (const number of [primary, ...chosen]) {
    const found = nodes.get(number)?.kernels ?? [];
    if (found.length) return found[0];
  }
  return null;
}

/** Choose a kernel, and with it its nodes. */
function selectKernel(number) {
  const kernel = report.kernels[number];
  select(kernel.nodes, kernel.stored[0] ?? kernel.nodes[0], number);
}

/** Light what belongs to the selection, below one element or everywhere. */
function relight(root = document) {
  for (const element of root.querySelectorAll("[data-nodes]")) {
    const lit = element.getAttribute("data-nodes").split(" ").some((n) => selection.nodes.has(+n));
    element.classList.toggle("lit", lit);
  }
}

/** Be told of each selection, and of the one there is. */
function onSelect(listener) {
  listeners.push(listener);
  if (selection.primary !== null) listener(selection);
}

/** Bring an element into view inside the nearest box that scrolls, moving nothing else. */
function reveal(element, box) {
  if (!element || !box) return;
  const inner = element.getBoundingClientRect();
  const outer = box.getBoundingClientRect();
  if (inner.top < outer.top || inner.bottom > outer.bottom) {
    box.scrollTop += inner.top - outer.top - outer.height / 3;
  }
}

/** Numbers for people. */
const grouped = (value) => Math.round(value).toLocaleString("en");
function short(value, unit = "") {
  if (value === 0) return `0${unit && " " + unit}`;
  const size = Math.abs(value);
  for (const [limit, letter] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (size >= limit) return `${trimmed(value / limit)} ${letter}${unit}`;
  }
  return `${trimmed(value)}${unit && " " + unit}`;
}
const trimmed = (value) => String(+value.toPrecision(3));
function bytes(value) {
  for (const [limit, unit] of [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) {
    if (value >= limit) return `${trimmed(value / limit)} ${unit}`;
  }
  return `${value} B`;
}
function duration(seconds) {
  if (seconds >= 1) return `${trimmed(seconds)} s`;
  if (seconds >= 1e-3) return `${trimmed(seconds * 1e3)} ms`;
  return `${trimmed(seconds * 1e6)} µs`;
}

/** A file and line without its folders. */
const place = (file, line) => `${file.split("/").pop()}:${line}`;
const siteOf = (node) => place(node.file, node.line) + (node.layer ? ` (${node.layer})` : "");
