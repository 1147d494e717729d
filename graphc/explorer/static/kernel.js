// The kernels: why each is as it is, its loop nest beside its machine code.

const unpacked = new Map();

/** The texts of a kernel, unpacked when they are first asked for. */
async function codeOf(number) {
  const like = report.kernels[number]?.like ?? number;
  if (!unpacked.has(like)) unpacked.set(like, report.code[like] ? inflate(report.code[like]) : Promise.resolve(null));
  const texts = await unpacked.get(like);
  if (!texts || like === number) return texts;
  // The code of another kernel serves for this one too: its nodes stand for that one's, in order.
  const own = new Map(report.kernels[like].nodes.map((id, at) => [id, report.kernels[number].nodes[at]]));
  const moved = ([text, numbers, hot]) => [text, numbers.map((id) => own.get(id) ?? id), hot];
  const { passes, ...stages } = texts;
  return { passes, ...Object.fromEntries(Object.entries(stages).map(([stage, lines]) => [stage, lines.map(moved)])) };
}

async function inflate(packed) {
  const data = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  const stream = new Blob([data]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

function kernelPanel() {
  const list = make("div.side.narrow", { role: "listbox", "aria-label": "Kernels", tabindex: "0" });
  const why = make("div.side", { tabindex: "0", "aria-label": "Why" });
  const left = codeColumn("loops", [["loops", "loop nest, scheduled"], ["lowered", "loop nest, plain"]]);
  const right = codeColumn("asm", [["asm", "assembly"], ["llvm", "LLVM IR"]]);
  const panel = make("div.panel", {}, list, why, left.element, right.element);

  report.kernels.forEach((kernel, number) => {
    const names = [...new Set(kernel.ops)].join(", ");
    const row = make("button.row", { type: "button", role: "option", tabindex: "-1", title: names }, make("b", {}, kernel.name), " ", names);
    list.append(shows(row, kernel.nodes, () => selectKernel(number)));
  });
  walkable(list);
  walkable(why);

  /** The reasons of a kernel. */
  function reasons(kernel) {
    const parts = [make("h3.mono", {}, kernel.name)];
    const facts = make("dl.facts");
    const add = (name, value) => facts.append(make("dt", {}, name), make("dd", {}, value));
    add("over", kernel.over.length ? `[${kernel.over.join(", ")}]` : "one point");
    add("work", `${short(kernel.flops, "FLOP")}, ${bytes(kernel.bytes)}${kernel.bytes ? `, ${trimmed(kernel.flops / kernel.bytes)} FLOP a byte` : ""}`);
    if (kernel.seconds !== undefined) add("time", `${duration(kernel.seconds)}, ${(100 * kernel.share).toFixed(1)} % of the step`);
    if (kernel.like !== report.kernels.indexOf(kernel)) add("code", `shares that of ${report.kernels[kernel.like].name}`);
    add("from", [...new Set(kernel.sites.map(([file, line, path]) => place(file, line) + (path ? ` (${path})` : "")))].join(", "));
    parts.push(facts);
    const section = (title, reasons, otherwise) => {
      parts.push(make("h3", {}, title));
      for (const reason of reasons.length ? reasons : [otherwise]) parts.push(make("p.why", {}, reason));
    };
    section("Fused", kernel.fusion, kernel.nodes.length > 1 ? "its nodes share their loops" : "one node: nothing could join it, or it joins nothing");
    section("Layout", kernel.layout, "as declared");
    section("Loops and tile", kernel.schedule, "in the order of the formula");
    parts.push(make("h3", {}, "Computes"));
    for (const id of kernel.nodes) {
      const node = nodes.get(id);
      parts.push(shows(make("button.row", { type: "button", tabindex: "-1" }, make("b", {}, node?.text ?? `node ${id}`), kernel.stored.includes(id) ? " stored" : ""), [id]));
    }
    return parts;
  }

  let shown = null;
  async function show(kernel) {
    if (!list.matches(":focus-within")) reveal(list.children[kernel], list);
    if (shown !== kernel) {
      shown = kernel;
      why.replaceChildren(...reasons(report.kernels[kernel]));
      relight(why);
      const texts = await codeOf(kernel);
      if (shown !== kernel) return;
      left.fill(texts);
      right.fill(texts);
    }
    left.reveal();
    right.reveal();
  }
  onSelect(({ kernel }) => {
    for (const [at, row] of [...list.children].entries()) row.setAttribute("aria-selected", String(at === kernel));
    if (kernel !== null) show(kernel);
  });
  const weight = (kernel) => kernel.share ?? kernel.flops;
  const { kernels } = report; // until something is selected, the one that takes longest
  if (kernels.length) show(kernels.reduce((best, kernel, at) => (weight(kernel) > weight(kernels[best]) ? at : best), 0));
  return panel;
}

/** A column with a choice of texts. */
function codeColumn(first, choices) {
  const box = make("div.code", { tabindex: "0", "aria-label": choices[0][1] });
  const tools = make("nav");
  const hot = make("button", { type: "button", title: "To the hot loop", onclick: () => reveal(box.querySelector(".hot"), box) }, "hot loop");
  let texts = null;
  let chosen = first;
  const buttons = choices.map(([stage, label]) =>
    make("button", { type: "button", "data-stage": stage, onclick: () => { chosen = stage; show(); } }, label),
  );
  tools.append(...buttons, hot);
  walkable(box);
  function show() {
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.stage === chosen));
    const lines = texts?.[chosen] ?? [];
    fill(box, lines, chosen);
    box.className = `code stage-${chosen}`;
    hot.hidden = !lines.some(([, , warm]) => warm);
  }
  show();
  return {
    element: make("div.column", {}, tools, box),
    fill(found) { texts = found; show(); },
    reveal() {
      if (box.matches(":focus-within, :focus")) return;
      reveal(box.querySelector(".lit.hot") ?? box.querySelector(".lit") ?? box.querySelector(".hot"), box);
    },
  };
}
