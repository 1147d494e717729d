// A training: its loss and metrics by epoch, and its weights and gradients by layer.

function trainingPanel() {
  const side = make("div.side", { tabindex: "0", "aria-label": "Curves" });
  const wide = make("div.wide", { tabindex: "0", "aria-label": "Weights and gradients" });
  const panel = make("div.panel", {}, side, wide);
  function draws() {
    const { training } = report;
    if (!training) {
      side.replaceChildren(make("p.quiet", {}, "This program is no training step, or was explored without its Trainer."));
      wide.replaceChildren();
      return;
    }
    side.replaceChildren(...curveParts(training));
    wide.replaceChildren(...histogramParts(training));
    relight(panel);
  }
  draws();
  walkable(wide);
  panel.renew = draws;
  return panel;
}

/** One picture for each value, with its validation beside it. */
function curveParts(training) {
  const names = Object.keys(training.curves);
  const parts = withinEpoch(training.within);
  if (!names.length && !parts.length) return [make("p.quiet", {}, "Nothing has been trained yet.")];
  for (const name of names.filter((other) => !other.startsWith("val_"))) {
    const second = training.curves[`val_${name}`];
    const series = [{ name, values: training.curves[name] }];
    if (second) series.push({ name: `val_${name}`, values: second });
    parts.push(make("h3", {}, make("span.forward", {}, name), ...(second ? [", ", make("span.backward", {}, `val_${name}`)] : [])), curves(series, training.epochs));
  }
  return parts;
}

/** Of a training that runs: the averages so far in the epoch. */
function withinEpoch(within) {
  if (!within || within.steps.length < 2) return [];
  return Object.entries(within.values).flatMap(([name, values]) => [make("h3", {}, `${name} so far in this epoch, by step`), curves([{ name, values }], within.steps)]);
}

/** A parameter, what reads it, and the nodes of its layer: what lights its card. */
function aroundParameter(numbers) {
  const layer = nodes.get(numbers[0])?.layer;
  const near = report.nodes.filter((node) => (layer && node.layer === layer) || node.inputs.some((id) => numbers.includes(id)));
  return [...new Set([...numbers, ...near.map((node) => node.id)])];
}

/** For each parameter its values and its gradient. */
function histogramParts(training) {
  const note = training.gradients ? [make("p.quiet", {}, training.gradients)] : [];
  const cards = training.parameters.map((found) => {
    const parts = [make("h3", {}, found.name), make("p.quiet", {}, `${found.shape}, mean ${label(found.mean)}, deviation ${label(found.deviation)}`), histogram(found.values)];
    if (found.gradient) parts.push(make("p.quiet", {}, `gradient, deviation ${label(found.gradient.deviation)}`), histogram(found.gradient, true));
    const card = shows(make("div.card", {}, ...parts), found.nodes);
    card.setAttribute("data-nodes", aroundParameter(found.nodes).join(" "));
    return card;
  });
  return [...note, make("div.cards", {}, ...cards)];
}
