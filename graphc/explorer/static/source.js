// The user's source: lines that made nodes are marked, and select them.

function showSource() {
  const box = document.querySelector("#source .body");
  const tools = $("files");
  let shown = null;
  function open(file) {
    if (shown === file) return;
    shown = file;
    for (const button of tools.children) {
      button.setAttribute("aria-pressed", String(button.title === file.path));
    }
    if (!file.lines.length) {
      box.replaceChildren(make("p.quiet", {}, `${file.path} cannot be read.`));
      return;
    }
    fill(box, file.lines.map((text, at) => [text, file.marks[file.first + at] ?? []]), "python", file.first);
    for (const line of box.querySelectorAll("[data-nodes]")) line.classList.add("marked");
    box.setAttribute("aria-label", `Source ${file.name}`);
    reveal(box.querySelector(".marked"), box);
  }
  for (const file of report.files.slice(0, 6)) {
    tools.append(make("button", { type: "button", title: file.path, onclick: () => open(file) }, file.name));
  }
  if (report.files.length) open(report.files[0]);
  walkable(box);
  onSelect(({ primary }) => {
    const node = nodes.get(primary);
    if (!node || box.matches(":focus-within, :focus")) return;
    const file = report.files.find((other) => other.path === node.file);
    if (!file) return;
    open(file);
    relight(box);
    reveal(box.children[node.line - file.first], box);
  });
}
