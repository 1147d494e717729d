// The memory plan: the arena's buffers over the course of the step, and what lies at its peak.

function memoryPanel() {
  const { memory } = report;
  const side = make("div.side", { tabindex: "0", "aria-label": "Memory" });
  const wide = make("div.wide", { tabindex: "0", "aria-label": "Buffers over the course of the step" });
  const slots = memory.slots.filter((slot) => slot.offset >= 0);
  const forSizes = Object.entries(report.extents).map(([name, value]) => `${name} = ${value}`).join(", ");

  const facts = make("dl.facts");
  const add = (name, value) => facts.append(make("dt", {}, name), make("dd", {}, value));
  add("arena", bytes(memory.arena));
  add("its values", `${bytes(memory.values)} in ${slots.length} buffers`);
  if (memory.kept) add("kept for backward", bytes(memory.kept));
  add("least possible", bytes(memory.least));
  add("inputs", bytes(memory.inputs));
  add("variables", bytes(memory.states));
  if (memory.constants) add("constants", bytes(memory.constants));
  add("outputs", bytes(memory.outputs));
  side.append(make("h3", {}, `Memory of a call${forSizes && `, ${forSizes}`}`), facts);
  const detail = make("div");
  side.append(detail);

  function describe(slot) {
    return `${slot.names.join(", ")} : ${slot.type}, ${bytes(slot.bytes)}, ${slot.alive}`;
  }
  function atPeak() {
    if (memory.peak < 0 || !slots.length) return;
    const alive = slots.filter((slot) => slot.first <= memory.peak && memory.peak <= slot.last).sort((a, b) => b.bytes - a.bytes);
    detail.append(make("h3", {}, `Most lies there in ${report.kernels[memory.peak].name}: ${bytes(memory.live[memory.peak])}`));
    for (const slot of alive.slice(0, 40)) detail.append(shows(make("button.row", { type: "button", tabindex: "-1", title: describe(slot) }, make("b", {}, slot.names[0]), ` ${bytes(slot.bytes)}`), slot.nodes));
  }
  atPeak();
  walkable(side);
  walkable(wide);

  if (!slots.length) {
    wide.append(make("p.quiet", {}, "This program keeps nothing between its kernels: it has no arena."));
    return make("div.panel", {}, side, wide);
  }
  const size = { width: 1000, height: 330, left: 70, top: 12, bottom: 34 };
  const count = report.kernels.length;
  const x = (step) => size.left + ((size.width - size.left - 10) * step) / count;
  const y = (offset) => size.height - size.bottom - ((size.height - size.top - size.bottom) * offset) / memory.arena;
  const picture = draw("svg.chart", { viewBox: `0 0 ${size.width} ${size.height}`, role: "img", "aria-label": "buffers by kernel and offset" });
  const live = memory.live.map((amount, step) => `L${x(step)} ${y(amount)}L${x(step + 1)} ${y(amount)}`).join("");
  picture.append(draw("path.live", { d: `M${x(0)} ${y(0)}${live}L${x(count)} ${y(0)}Z` }));
  for (const fraction of [0, 0.25, 0.5, 0.75, 1]) {
    const at = y(memory.arena * fraction);
    picture.append(draw("path.axis", { d: `M${size.left} ${at}H${size.width - 10}` }));
    picture.append(draw("text", { x: size.left - 6, y: at + 4, "text-anchor": "end" }, bytes(Math.round(memory.arena * fraction))));
  }
  const firstBackward = report.kernels.findIndex((kernel) => kernel.nodes.some((id) => nodes.get(id)?.role === "backward"));
  for (const slot of slots) {
    const kept = firstBackward > 0 && slot.first < firstBackward && slot.last >= firstBackward;
    const bar = draw(`rect.slot${kept ? ".kept" : ""}`, {
      x: x(Math.max(slot.first, 0)), y: y(slot.offset + slot.bytes),
      width: Math.max(x(slot.last + 1) - x(Math.max(slot.first, 0)), 1), height: Math.max(y(slot.offset) - y(slot.offset + slot.bytes), 1),
    }, draw("title", {}, describe(slot)));
    picture.append(shows(bar, slot.nodes));
  }
  if (memory.peak >= 0) {
    const at = x(memory.peak + 0.5);
    picture.append(draw("path.peak", { d: `M${at} ${size.top}V${size.height - size.bottom}` }), draw("text", { x: at + 4, y: size.top + 8 }, "peak"));
  }
  const every = Math.max(1, Math.ceil(count / 24));
  for (let step = 0; step < count; step += every) picture.append(draw("text", { x: x(step + 0.5), y: size.height - 16, "text-anchor": "middle" }, report.kernels[step].name));
  picture.append(draw("text", { x: size.left, y: size.height - 2 }, "kernels in order; height: the place in the arena; grey: bytes alive; red: kept from the forward pass for the backward pass"));
  wide.append(picture);
  return make("div.panel", {}, side, wide);
}
