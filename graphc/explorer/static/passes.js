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

  function open(at) {
    const step = report.passes[at];
    rows.forEach((row, other) => row.setAttribute("aria-selected", String(other === at)));
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
