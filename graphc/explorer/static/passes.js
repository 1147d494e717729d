// What the graph passes did: each as a difference, with its time.

function passesPanel() {
  const list = make("div.side.narrow", { role: "listbox", "aria-label": "Passes", tabindex: "0" });
  const box = make("div.wide.code", { tabindex: "0", "aria-label": "What the pass changed" });
  const rows = report.passes.map((step, at) => {
    const changed = step.removed.length + step.added.length;
    const said = changed ? `−${step.removed.length} +${step.added.length}` : "no change";
    return make("button.row", { type: "button", role: "option", onclick: () => open(at) }, make("b", {}, step.name), ` ${said}, ${duration(step.milliseconds / 1e3)}`);
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
    const entries = [...step.removed.map((line) => ["−", "minus", line]), ...step.added.map((line) => ["+", "plus", line])];
    entries.sort((a, b) => a[2].site.localeCompare(b[2].site, "en", { numeric: true }));
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
  const first = report.passes.findIndex((step) => step.removed.length || step.added.length);
  if (rows.length) open(Math.max(first, 0));
  walkable(box);
  return make("div.panel", {}, list, box);
}
