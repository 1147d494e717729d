// The roofline: every kernel as a point below what this machine can do, and a table of them.

function rooflinePanel() {
  const side = make("div.wide", { tabindex: "0", "aria-label": "Roofline" });
  const wide = make("div.wide", { tabindex: "0", "aria-label": "Kernels by time" });
  const panel = make("div.panel", {}, side, wide);
  const order = {};
  function draws() {
    const { roofline } = report;
    side.replaceChildren(...(roofline ? [picture(roofline)] : []));
    wide.replaceChildren(...(roofline?.rows ? tables(roofline, order) : [make("p.quiet", {}, roofline?.missing ?? "This page was made without running the program: give inputs to have its kernels timed.")]));
    relight(panel);
  }
  draws();
  walkable(side);
  walkable(wide);
  panel.renew = draws;
  return panel;
}

function picture(roofline) {
  const size = { width: 620, height: 360, left: 54, right: 12, top: 14, bottom: 36 };
  const rows = (roofline.rows ?? []).filter((row) => row.intensity > 0 && row.gflops > 0);
  const peaks = Object.entries(roofline.peaks ?? {});
  const bandwidths = Object.entries(roofline.bandwidths ?? {});
  const top = Math.max(...peaks.map(([, value]) => value), 1) * 1.6;
  const left = Math.min(0.05, ...rows.map((row) => row.intensity / 1.5));
  const right = Math.max(100, ...rows.map((row) => row.intensity * 1.5));
  const low = Math.max(top / 1e5, Math.min(top / 1e3, ...rows.map((row) => row.gflops / 1.5)));
  const scale = (value, from, to, start, end) => start + ((end - start) * Math.log(value / from)) / Math.log(to / from);
  const x = (value) => scale(value, left, right, size.left, size.width - size.right);
  const y = (value) => scale(value, low, top, size.height - size.bottom, size.top);
  const svg = draw("svg.chart", { viewBox: `0 0 ${size.width} ${size.height}`, role: "img", "aria-label": "GFLOP/s by FLOPs a byte" });
  for (let power = Math.ceil(Math.log10(left)); 10 ** power <= right; power += 1) {
    svg.append(draw("path.axis", { d: `M${x(10 ** power)} ${size.top}V${size.height - size.bottom}` }), draw("text", { x: x(10 ** power), y: size.height - 20, "text-anchor": "middle" }, label(10 ** power)));
  }
  for (let power = Math.ceil(Math.log10(low)); 10 ** power <= top; power += 1) {
    svg.append(draw("path.axis", { d: `M${size.left} ${y(10 ** power)}H${size.width - size.right}` }), draw("text", { x: size.left - 6, y: y(10 ** power) + 4, "text-anchor": "end" }, label(10 ** power)));
  }
  svg.append(draw("text", { x: size.width - size.right, y: size.height - 4, "text-anchor": "end" }, "FLOPs a byte that must be moved"), draw("text", { x: 4, y: 10 }, "GFLOP/s"));
  const main = Math.max(...peaks.map(([, value]) => value), 1);
  for (const [name, peak] of peaks) {
    const from = Math.max(left, peak / Math.max(...bandwidths.map(([, value]) => value), 1));
    svg.append(draw(`path.roof${peak < main ? ".lesser" : ""}`, { d: `M${x(from)} ${y(peak)}H${size.width - size.right}` }), draw("text", { x: size.width - size.right - 4, y: y(peak) - 5, "text-anchor": "end" }, `${name} ${trimmed(peak)} GFLOP/s`));
  }
  bandwidths.forEach(([name, bandwidth], at) => {
    const end = Math.min(right, main / bandwidth);
    const begin = Math.max(left, low / bandwidth);
    svg.append(draw(`path.roof${at < bandwidths.length - 1 ? ".lesser" : ""}`, { d: `M${x(begin)} ${y(begin * bandwidth)}L${x(end)} ${y(end * bandwidth)}` }), draw("text", { x: size.width - size.right - 4, y: size.height - size.bottom - 8 - 14 * (bandwidths.length - 1 - at), "text-anchor": "end" }, `${name} ${trimmed(bandwidth)} GB/s`));
  });
  for (const row of [...rows].sort((a, b) => b.share - a.share)) {
    const kernel = report.kernels[row.number];
    const role = nodes.get(kernel.nodes[0])?.role ?? "forward";
    const point = draw(`circle.${role}`, { cx: x(row.intensity), cy: y(Math.max(row.gflops, low)), r: 3 + 12 * Math.sqrt(row.share), tabindex: "-1" }, draw("title", {}, `${kernel.name} ${kernel.ops.join(", ")}: ${duration(row.seconds)}, ${trimmed(row.gflops)} GFLOP/s`));
    svg.append(shows(point, kernel.nodes, () => selectKernel(row.number)));
  }
  return svg;
}

function tables(roofline, order) {
  const name = (row) => report.kernels[row.number];
  const site = (row) => { const [file, line, path] = name(row).sites[0] ?? ["", 0, ""]; return file ? place(file, line) + (path ? ` (${path})` : "") : ""; };
  const columns = [
    ["kernel", (row) => row.number, (row) => name(row).name],
    ["ops", (row) => name(row).ops.join(), (row) => { const ops = [...new Set(name(row).ops)]; return ops.slice(0, 3).join(", ") + (ops.length > 3 ? `, ${ops.length - 3} more` : ""); }],
    ["time", (row) => row.seconds, (row) => duration(row.seconds), true],
    ["share", (row) => row.share, (row) => `${(100 * row.share).toFixed(1)} %`, true],
    ["FLOPs", (row) => name(row).flops, (row) => short(name(row).flops), true],
    ["bytes", (row) => name(row).bytes, (row) => bytes(name(row).bytes), true],
    ["GFLOP/s", (row) => row.gflops, (row) => trimmed(row.gflops), true],
    ["of the roof", (row) => row.fraction ?? 0, (row) => (row.fraction === null ? "" : `${(100 * row.fraction).toFixed(0)} %`), true],
    ["bound by", (row) => row.bound, (row) => row.bound],
    ["source", site, site],
  ];
  const said = roofline.said ? [make("p.quiet", {}, roofline.said)] : [];
  return [...said, sortable(columns, roofline.rows, (element, row) => shows(element, name(row).nodes, () => selectKernel(row.number)), order)];
}
