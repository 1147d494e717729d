// The graph pane: the outline as SVG, opened and closed by layer, moved, enlarged and searched.

function showGraph() {
  const canvas = $("canvas");
  const svg = draw("svg", { role: "img", "aria-label": "the computation graph" });
  const plane = draw("g");
  svg.append(plane);
  canvas.append(svg);
  const outlines = {};
  const state = { name: "compiled", root: null, items: [], view: { x: 0, y: 0, scale: 1 }, current: null };

  /** Draw the outline anew, as it is opened now. */
  function render() {
    const { shown, edges } = arrange(state.root);
    const layers = { back: draw("g"), fused: draw("g"), edges: draw("g"), notes: draw("g"), front: draw("g") };
    state.items = [];
    (function walk(item) {
      if (item.kind !== "root") paint(item, layers);
      if (item.kind !== "box" && item.open) for (const inner of item.children.values()) walk(inner);
    })(state.root);
    paintFused(shown, layers.fused);
    const noted = new Set();
    for (const { source, target, operand } of edges) {
      const far = source.role !== target.role ? ".far" : "";
      layers.edges.append(shows(draw(`path.edge${far}`, { d: curve(source, target) }), [operand]));
      if (noted.has(source)) continue;
      noted.add(source);
      const place = { x: source.x + source.width + 5, y: source.y + source.height / 2 - 4 };
      layers.notes.append(draw("text.edge-label", place, nodes.get(operand).type));
    }
    plane.replaceChildren(...Object.values(layers));
    relight(plane);
  }

  /** One item: a box, or a group with its head. */
  function paint(item, layers) {
    const closed = item.kind !== "box" && !item.open;
    const tag = item.kind === "box" ? "g.box" : `g.${item.kind}`;
    const words = closed || item.kind === "box" ? labels(item) : [`▾ ${titleOf(item)}`];
    const numbers = inside(item);
    const element = draw(tag, { transform: `translate(${item.x} ${item.y})`, tabindex: "-1", role: "button", "aria-label": spoken(item) });
    element.classList.add(item.role);
    if (closed) element.classList.add("closed");
    if (item.node?.leaf) element.classList.add("leaf");
    if (item.node?.home !== undefined) element.classList.add("view");
    const round = item.kind === "box" ? 4 : 7;
    element.append(draw("rect", { width: item.width, height: item.height, rx: round }));
    words.forEach((word, at) =>
      element.append(draw(at ? "text.small" : "text", { x: 10, y: at ? 33 : 17 }, word)),
    );
    element.append(draw("title", {}, spoken(item)));
    shows(element, numbers, () => choose(item));
    if (item.kind !== "box") {
      element.addEventListener("dblclick", (event) => { event.stopPropagation(); toggle(item); });
      element.firstChild.nextSibling.addEventListener("click", (event) => { event.stopPropagation(); toggle(item); });
    }
    item.element = element;
    state.items.push(item);
    (item.kind === "box" || closed ? layers.front : layers.back).append(element);
  }

  function spoken(item) {
    if (item.kind !== "box") return `${titleOf(item)}: ${count(inside(item).length)}, ${item.open ? "open" : "closed"}`;
    const { node } = item;
    const kernels = node.kernels.map((k) => report.kernels[k].name).join(", ");
    return `${node.text ?? node.name} : ${node.type}, ${siteOf(node)}${kernels && `, ${kernels}`}`;
  }

  /** Kernels of several nodes: a soft outline along their boxes and the edges between them. */
  function paintFused(shown, layer) {
    if (state.name !== "compiled") return;
    report.kernels.forEach((kernel, number) => {
      const boxes = kernel.nodes.map((id) => shown.get(id)).filter((item) => item?.kind === "box");
      if (boxes.length < 2) return;
      const outline = draw(`g.fused.tone${number % 4}`, {}, draw("title", {}, `${kernel.name}: computed together`));
      const members = new Set(boxes);
      for (const item of boxes) {
        outline.append(draw("rect", { x: item.x - 5, y: item.y - 5, width: item.width + 10, height: item.height + 10, rx: 9 }));
        for (const operand of item.node.inputs) {
          const source = shown.get(operand);
          if (members.has(source)) outline.append(draw("path", { d: curve(source, item), "stroke-width": 16 }));
        }
      }
      layer.append(shows(outline, kernel.nodes, () => selectKernel(number)));
    });
  }

  function curve(source, target) {
    const x = source.x + source.width, y = source.y + source.height / 2;
    const u = target.x, v = target.y + target.height / 2;
    const bend = Math.max(24, Math.min(Math.abs(u - x) / 2, 160));
    return `M${x} ${y}C${x + bend} ${y} ${u - bend} ${v} ${u} ${v}`;
  }

  /** Choose an item: a box its node, a group all of its nodes, the one with most work first. */
  function choose(item) {
    state.current = item;
    const numbers = inside(item);
    const work = (id) => nodes.get(id).flops ?? -1;
    select(numbers, numbers.reduce((best, id) => (work(id) > work(best) ? id : best), numbers[0]));
    item.element.focus({ preventScroll: true });
  }

  /** Open or close a group; what was under the pointer stays there. */
  function toggle(item, open = !item.open) {
    if (item.kind === "box" || item.open === open) return;
    const { x, y } = item;
    item.open = open;
    render();
    state.view.x += (x - item.x) * state.view.scale;
    state.view.y += (y - item.y) * state.view.scale;
    state.current = item;
    move();
    item.element.focus({ preventScroll: true });
  }

  function toggleAll(open) {
    each(state.root, (item) => {
      if (item.kind === "layer" || (item.kind === "band" && open)) item.open = open;
    });
    render();
    fit();
  }

  // --- the view ---------------------------------------------------------------------------

  function move() {
    const { x, y, scale } = state.view;
    plane.setAttribute("transform", `translate(${x} ${y}) scale(${scale})`);
  }

  /** The whole graph in view, no larger than life; a long one by its height, from its beginning. */
  function fit() {
    const { width, height } = canvas.getBoundingClientRect();
    const whole = Math.min(width / (state.root.width + 24), height / (state.root.height + 24));
    const scale = Math.min(1, Math.max(whole, 0.8));
    const y = Math.max(12, (height - state.root.height * scale) / 2);
    state.view = { x: 12, y: whole < scale ? 12 : y, scale };
    move();
  }

  function zoom(factor, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
    const { view } = state;
    const scale = Math.min(3, Math.max(0.05, view.scale * factor));
    view.x = x - ((x - view.x) * scale) / view.scale;
    view.y = y - ((y - view.y) * scale) / view.scale;
    view.scale = scale;
    move();
  }

  /** Bring an item into the middle unless it is in view. */
  function bring(item) {
    const { view } = state;
    const { width, height } = canvas.getBoundingClientRect();
    const x = item.x * view.scale + view.x, y = item.y * view.scale + view.y;
    const right = x + Math.min(item.width * view.scale, width), bottom = y + Math.min(item.height * view.scale, height);
    if (x >= 0 && y >= 0 && right <= width && bottom <= height) return;
    view.x += width / 2 - (x + right) / 2;
    view.y += height / 2 - (y + bottom) / 2;
    move();
  }

  /** Show a node: open the groups around it where asked, and bring what stands for it into view. */
  function show(id, open) {
    let item = null;
    each(state.root, (other) => { if (other.node?.id === id) item = other; });
    if (!item) return;
    const closed = [];
    for (let outer = item.parent; outer; outer = outer.parent) if (!outer.open) closed.push(outer);
    if (open && closed.length) {
      for (const outer of closed) outer.open = true;
      render();
    }
    const stands = open || !closed.length ? item : closed.at(-1);
    state.current = stands;
    bring(stands);
  }

  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const box = canvas.getBoundingClientRect();
    if (event.ctrlKey || event.metaKey || !event.shiftKey) zoom(Math.exp(-event.deltaY / 500), event.clientX - box.left, event.clientY - box.top);
    else { state.view.x -= event.deltaY; move(); }
  }, { passive: false });
  let drag = null;
  canvas.addEventListener("pointerdown", (event) => { drag = { x: event.clientX, y: event.clientY, moved: false }; });
  canvas.addEventListener("pointermove", (event) => {
    if (!drag || !(event.buttons & 1)) return;
    const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
    if (!drag.moved && Math.hypot(dx, dy) < 4) return;
    drag = { x: event.clientX, y: event.clientY, moved: true };
    state.view.x += dx;
    state.view.y += dy;
    move();
  });
  canvas.addEventListener("click", (event) => { if (drag?.moved) event.stopPropagation(); }, true);

  // --- keys -------------------------------------------------------------------------------

  const DIRECTIONS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
  canvas.addEventListener("keydown", (event) => {
    const direction = DIRECTIONS[event.key];
    if (direction) step(...direction);
    else if (event.key === "Enter" || event.key === " ") state.current && (state.current.kind === "box" ? choose(state.current) : toggle(state.current));
    else if (event.key === "+" || event.key === "=") zoom(1.25);
    else if (event.key === "-") zoom(0.8);
    else if (event.key === "0") fit();
    else if (event.key === "e") toggleAll(true);
    else if (event.key === "c") toggleAll(false);
    else return;
    event.preventDefault();
  });

  /** Choose the nearest item in a direction. */
  function step(dx, dy) {
    const from = state.current && state.items.includes(state.current) ? state.current : null;
    const candidates = state.items.filter((item) => item !== from && (item.kind === "box" || !item.open));
    if (!candidates.length) return;
    const middle = (item) => [item.x + (item.kind !== "box" && item.open ? 0 : item.width / 2), item.y + (item.kind !== "box" && item.open ? 0 : item.height / 2)];
    let best = from ? null : candidates[0];
    if (from) {
      const [x, y] = middle(from);
      let least = Infinity;
      for (const item of candidates) {
        const [u, v] = middle(item);
        const along = (u - x) * dx + (v - y) * dy, across = Math.abs((u - x) * dy) + Math.abs((v - y) * dx);
        if (along <= 4) continue;
        const cost = along + 2.5 * across;
        if (cost < least) { least = cost; best = item; }
      }
    }
    if (!best) return;
    choose(best);
    bring(best);
  }

  // --- tools ------------------------------------------------------------------------------

  function open(name) {
    state.name = name;
    state.root = outlines[name] ??= outline(name);
    for (const button of tools.querySelectorAll("[data-graph]")) {
      button.setAttribute("aria-pressed", String(button.dataset.graph === name));
    }
    render();
    fit();
  }
  const tools = $("graph-tools");
  const tool = (label, title, action) => make("button", { type: "button", title, onclick: action }, label);
  for (const [name, title] of [["declared", "As the model declares it"], ["compiled", "As it runs, after all passes; fused groups outlined"]]) {
    const button = tool(name, title, () => open(name));
    button.dataset.graph = name;
    tools.append(button);
  }
  tools.append(
    tool("open all", "Open every layer (e)", () => toggleAll(true)),
    tool("close", "Close every layer (c)", () => toggleAll(false)),
    tool("fit", "Whole graph (0)", fit),
    tool("+", "Enlarge (+)", () => zoom(1.25)),
    tool("−", "Shrink (-)", () => zoom(0.8)),
  );
  open("compiled");
  onSelect(({ primary, nodes: chosen }) => {
    if (canvas.matches(":focus-within")) return;
    const here = new Set(report.graphs[state.name]);
    const found = here.has(primary) ? primary : [...chosen].find((id) => here.has(id));
    if (found !== undefined) show(found, state.opening);
  });
  return {
    /** Select a node and open the groups around it. */
    find(id) {
      if (!report.graphs[state.name].includes(id)) open(state.name === "compiled" ? "declared" : "compiled");
      state.opening = true;
      select([id], id);
      state.opening = false;
    },
    fit,
  };
}
