// Small pictures: curves over epochs, and histograms.

/** A value for a label. */
const label = (value) => (Math.abs(value) >= 1e-3 && Math.abs(value) < 1e5) || value === 0 ? trimmed(value) : value.toExponential(1);

/** Curves over whole numbers: [{name, values}], NaN as null. */
function curves(series, xs, size = { width: 320, height: 150 }) {
  const pad = { left: 46, right: 8, top: 8, bottom: 20 };
  const values = series.flatMap((line) => line.values).filter((value) => value !== null);
  const low = Math.min(...values), high = Math.max(...values);
  const span = high - low || 1;
  const last = Math.max(xs.length - 1, 1);
  const x = (at) => pad.left + ((size.width - pad.left - pad.right) * at) / last;
  const y = (value) => size.height - pad.bottom - ((size.height - pad.top - pad.bottom) * (value - low)) / span;
  const picture = draw("svg.chart", { viewBox: `0 0 ${size.width} ${size.height}`, role: "img", "aria-label": series.map((line) => line.name).join(", ") });
  if (!values.length) return picture;
  for (const value of [low, low + span / 2, high]) {
    picture.append(draw("path.axis", { d: `M${pad.left} ${y(value)}H${size.width - pad.right}` }), draw("text", { x: pad.left - 5, y: y(value) + 4, "text-anchor": "end" }, label(value)));
  }
  series.forEach((line, number) => {
    const points = line.values.map((value, at) => (value === null ? null : [x(at), y(value)]));
    const d = points.map((point, at) => (point ? `${at && points[at - 1] ? "L" : "M"}${point[0]} ${point[1]}` : "")).join("");
    picture.append(draw(`path.curve${number ? ".second" : ""}`, { d }, draw("title", {}, line.name)));
    if (points.length === 1 && points[0]) picture.append(draw("circle", { cx: points[0][0], cy: points[0][1], r: 3 }));
  });
  picture.append(draw("text", { x: pad.left, y: size.height - 5 }, String(xs[0])), draw("text", { x: size.width - pad.right, y: size.height - 5, "text-anchor": "end" }, String(xs[xs.length - 1])));
  return picture;
}

/** A histogram {counts, low, high}. */
function histogram(found, second = false, size = { width: 220, height: 80 }) {
  const picture = draw("svg.chart", { viewBox: `0 0 ${size.width} ${size.height}`, role: "img", "aria-label": `${label(found.low)} to ${label(found.high)}` });
  const most = Math.max(...found.counts, 1);
  const width = size.width / found.counts.length;
  found.counts.forEach((amount, at) => {
    const height = ((size.height - 16) * amount) / most;
    picture.append(draw(`rect.bar${second ? ".second" : ""}`, { x: at * width, y: size.height - 16 - height, width: Math.max(width - 0.5, 0.5), height }));
  });
  picture.append(draw("text", { x: 0, y: size.height - 3 }, label(found.low)), draw("text", { x: size.width, y: size.height - 3, "text-anchor": "end" }, label(found.high)));
  return picture;
}

/** A table of rows whose columns sort; columns: [title, value(row), shown(row), numeric]. What it is sorted by stays in `order`. */
function sortable(columns, rows, mark, order = {}) {
  const head = make("tr");
  const body = make("tbody");
  function sort(at) {
    order.back = order.at === at && !order.back;
    order.at = at;
    put();
  }
  function put() {
    const [, value, , numeric] = columns[order.at] ?? [null, () => 0];
    const sign = Boolean(numeric) === Boolean(order.back) ? 1 : -1;
    const sorted = [...rows].sort((a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0) * sign);
    body.replaceChildren(...sorted.map((row) => mark(make("tr", {}, columns.map(([, , shown, numeric]) => make(numeric ? "td.number" : "td", {}, shown(row)))), row)));
    relight(body);
  }
  columns.forEach(([title, , , numeric], at) => {
    const cell = make(numeric ? "th.number" : "th", { scope: "col", tabindex: "0", role: "button", onclick: () => sort(at), onkeydown: (event) => { if (event.key === "Enter") sort(at); } }, title);
    head.append(cell);
  });
  put();
  return make("table", {}, make("thead", {}, head), body);
}
