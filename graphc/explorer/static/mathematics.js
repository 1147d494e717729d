// The mathematics of the selected node: its definition, its derivatives, and what became of it.

function showMathematics() {
  const box = document.querySelector("#mathematics .body");

  /** MathML from the report, which wrote it from formulas with every name escaped. */
  function typeset(text) {
    const holder = document.createElement("template");
    holder.innerHTML = text;
    return make("div.step", {}, holder.content);
  }

  /** A link to other nodes by their names. */
  function links(numbers) {
    return numbers.flatMap((id, at) => [at ? ", " : "", make("button.mono", { type: "button", onclick: () => select([id], id) }, nodes.get(id)?.name ?? `node ${id}`)]);
  }

  function facts(node) {
    const list = make("dl.facts");
    const add = (name, ...value) => list.append(make("dt", {}, name), make("dd", {}, ...value));
    add("type", make("span.mono", {}, node.type));
    add("for", make(`span.${node.role}`, {}, node.role));
    add("from", siteOf(node));
    if (node.inputs.length) add("reads", ...links(node.inputs));
    const users = report.nodes.filter((other) => other.inputs.includes(node.id)).map((other) => other.id);
    if (users.length) add("read by", ...links(users.slice(0, 12)), users.length > 12 ? ` and ${users.length - 12} more` : "");
    if (node.kernels.length) add("computed by", ...node.kernels.map((k) => make("button.mono", { type: "button", onclick: () => selectKernel(k) }, report.kernels[k].name)));
    if (node.kernels.length) add("its value", node.stored ? "is stored" : "stays in registers");
    if (node.home !== undefined) add("costs nothing", `re-reads ${nodes.get(node.home)?.name ?? "another value"}${node.view ? `: ${node.view}` : ""}`);
    const others = (report.related[node.id] ?? []).filter((id) => id !== node.id);
    if (others.length) add(report.graphs.declared.includes(node.id) ? "became" : "was", ...links(others.slice(0, 12)));
    return list;
  }

  function show(node) {
    const parts = [make("h3.mono", {}, node.text ?? node.name), facts(node)];
    const entry = report.mathematics[node.mathematics];
    if (entry?.equation) parts.push(make("h3", {}, "Definition"), typeset(entry.equation));
    else if (node.formula) parts.push(make("h3", {}, "Definition"), make("p.mono", {}, node.formula));
    for (const { operand, steps } of entry?.derivations ?? []) {
      if (!steps.length) continue;
      parts.push(make("h3", {}, `Derivative by ${operand}`));
      for (const [title, text] of steps) parts.push(make("p.quiet", {}, title), typeset(text));
    }
    const silent = (entry?.derivations ?? []).filter(({ steps }) => !steps.length).map(({ operand }) => operand);
    if (silent.length) parts.push(make("p.quiet", {}, `Nothing flows to ${silent.join(", ")}.`));
    if (node.body) parts.push(make("h3", {}, "Body, once for each element of the sequence"), make("pre.mono", {}, node.body));
    parts.push(make("div", { id: "generated" }));
    return parts;
  }

  const empty = () => make("p.quiet", {}, "Select a node, a line, a kernel: what belongs to it lights up in every pane, and its mathematics stands here.");
  box.replaceChildren(empty());
  onSelect(async ({ primary, nodes: chosen, kernel }) => {
    const node = nodes.get(primary);
    box.replaceChildren(...(node ? show(node) : [empty()]));
    box.scrollTop = 0;
    if (!node || kernel === null) return;
    const texts = await codeOf(kernel);
    if (selection.primary !== primary || !texts) return;
    const lines = texts.loops.filter(([text, numbers]) => numbers.length === 1 && chosen.has(numbers[0]) && !text.trim().startsWith("for "));
    if (!lines.length) return;
    const code = make("div.code");
    fill(code, lines.slice(0, 40).map(([text, numbers, hot]) => [text.trim(), numbers, hot]), "loops");
    $("generated")?.replaceChildren(make("h3", {}, `As it is generated, in ${report.kernels[kernel].name}`), code);
  });
}
