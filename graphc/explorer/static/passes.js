// What the graph passes did: each as a difference, with its time.

function passesPanel() {
  const list = make("div.side.narrow", { role: "listbox", "aria-label": "Passes", tabindex: "0" });
  const box = make("div.wide.code", { tabindex: "0", "aria-label": "What the pass changed" });
  const rows = report.passes.map((step, at) => {
    const changed = step.removed.length + step.added.length;
    const said = changed ? `−${step.removed.length} +${step.added.length}` : "no change";
    const numbers = [...step.removed, ...step.added].flatMap((line) => line.nodes);
    return make("button.row", { type: "button", role: "option", tabindex: "-1", "data-nodes": [...new Set(numbers)].join(" "), onclick: () => open(at) }, make("b", {}, step.name), ` ${said}, ${duration(step.milliseconds / 1e3)}`);
  });
  list.append(...rows);
  if (!rows.length) list.append(make("p.quiet", {}, "The graph had been through its passes when this program was made."));
  list.append(make("h3", {}, "Then"));
  for (const [name, milliseconds] of report.stages) list.append(make("p.row", {}, make("b", {}, name), ` ${milliseconds ? duration(milliseconds / 1e3) : "kept from before"}`));
  const loops = make("div");
  list.append(loops);

  function open(at) {
    const step = report.passes[at];
    for (const row of list.querySelectorAll(".row")) row.setAttribute("aria-selected", String(row === rows[at]));
    const parts = [make("p.quiet", {}, `${step.name}: ${step.removed.length} nodes replaced by ${step.added.length}, ${step.rewired} others read the new ones; ${step.nodes} nodes after it.`)];
    for (const note of step.notes) parts.push(make("p.why", {}, note));
    const entries = paired(step.removed, step.added);
    let site = null;
    for (const [sign, kind, line] of entries) {
      if (line.site !== site) parts.push(make("div.line.quiet", {}, make("span.at", {}, ""), make("span", {}, `# ${line.site}`)));
      site = line.site;
      const text = `${line.text} : ${line.type}  ${line.formula}`;
      parts.push(shows(make(`div.line.${kind}`, {}, make("span.at", {}, sign), make("span", {}, text)), line.nodes));
    }
    box.replaceChildren(...parts);
    relight(box);
  }
  /** The loop passes of the selected kernel. */
  onSelect(async ({ kernel }) => {
    const texts = kernel === null ? null : await codeOf(kernel);
    if (!texts || selection.kernel !== kernel) return loops.replaceChildren();
    const { name } = report.kernels[kernel];
    const steps = texts.passes.map(([pass, lines]) => make("button.row", { type: "button", role: "option", onclick: (event) => reveals(event.currentTarget, name, pass, lines) }, make("b", {}, pass), ` ${counted(lines)}`));
    loops.replaceChildren(make("h3", {}, `Loop passes of ${name}`), ...(steps.length ? steps : [make("p.quiet", {}, "none changed its loops")]));
  });
  const counted = (lines) => `−${lines.filter((line) => line[0] === "-").length} +${lines.filter((line) => line[0] === "+").length} lines`;
  function reveals(row, name, pass, lines) {
    for (const other of list.querySelectorAll(".row")) other.setAttribute("aria-selected", String(other === row));
    const kinds = { "-": "minus", "+": "plus" };
    box.replaceChildren(
      make("p.quiet", {}, `${pass}, on the loops of ${name}`),
      ...lines.map((line) => make(`div.line${kinds[line[0]] ? `.${kinds[line[0]]}` : ""}`, {}, make("span.at", {}, line[0].replace("-", "−")), make("span", {}, line.slice(1)))),
    );
  }

  /** What went and what came, by line; of one kind the first that went beside the first that came. */
  function paired(removed, added) {
    const turns = new Map();
    const ranked = [["−", "minus", removed], ["+", "plus", added]].flatMap(([sign, kind, lines]) =>
      lines.map((line) => {
        const alike = `${sign} ${line.site} ${line.text.replace(/^.*= (.*?)\(.*$/, "$1")} ${line.type}`;
        turns.set(alike, (turns.get(alike) ?? 0) + 1);
        return [sign, kind, line, alike.slice(2), turns.get(alike)];
      }),
    );
    const site = (a, b) => a[2].site.localeCompare(b[2].site, "en", { numeric: true });
    return ranked.sort((a, b) => site(a, b) || a[3].localeCompare(b[3]) || a[4] - b[4] || (a[0] === "−" ? -1 : 1));
  }
  const first = report.passes.findIndex((step) => step.removed.length || step.added.length);
  if (rows.length) open(Math.max(first, 0));
  walkable(list, "[role=option]");
  walkable(box);
  return make("div.panel", {}, list, box);
}
