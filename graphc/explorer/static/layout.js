// The graph's outline (bands, layers, nodes) and where everything lies: columns from left to right.

const BAND_TITLES = { forward: "forward", backward: "backward: the chain rule", update: "updates" };
const CHARACTER = 7.3;
const GAP = { x: 26, y: 12, pad: 12, head: 22 };
const TIED = 4; // nodes of one line, outside of layers, that are shown as one when there are more

/** The outline of a graph: a tree of groups {key, label, kind, children, parent, open} and boxes. */
function outline(name) {
  const members = report.graphs[name].map((id) => nodes.get(id)).filter((node) => !plain(node));
  const root = group("", "", "root", null);
  root.open = true;
  const roles = [...new Set(members.map((node) => node.role))];
  const crowd = lineCounts(members);
  const owners = updateOwners(name);
  const sorted = ["forward", "backward", "update"].filter((role) => roles.includes(role));
  for (const role of sorted) {
    const band = sorted.length > 1 ? child(root, role, BAND_TITLES[role], "band") : root;
    band.role = role;
    band.open = role !== "update" || sorted.length === 1;
    for (const node of members.filter((other) => other.role === role)) {
      let home = band;
      for (const part of pathOf(node, role, crowd, owners)) {
        const path = home.path ? `${home.path}.${part}` : part;
        home = child(home, part, part, "layer");
        home.role = role;
        home.path = path;
      }
      home.children.set(node.id, { key: `n${node.id}`, kind: "box", node, parent: home, role });
    }
  }
  const open = members.length <= 40;
  each(root, (item) => {
    if (item.kind === "layer") {
      item.open = open;
      const only = [...item.children.values()];
      if (only.length === 1 && only[0].kind === "box" && item.parent) dissolve(item, only[0]);
    }
  });
  return root;
}

/** Numbers and extents: the text of what reads them spells them out. */
const plain = (node) => node.leaf && (node.op === "extent" || (node.op === "constant" && node.type.endsWith("[]")));

/** How many nodes outside of layers each line made. */
function lineCounts(members) {
  const counts = new Map();
  const layered = members.some((node) => node.layer);
  for (const node of members) {
    if (!node.layer && !node.leaf && layered) {
      const key = `${node.role} ${place(node.file, node.line)}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
  }
  return counts;
}

/** The groups that a node lies in, outermost first. */
function pathOf(node, role, crowd, owners) {
  if (role === "update" && owners.has(node.id)) return [owners.get(node.id)];
  if (node.layer) return node.layer.split(".");
  const line = place(node.file, node.line);
  return !node.leaf && (crowd.get(`${role} ${line}`) ?? 0) > TIED ? [line] : [];
}

/** For each node of the updates the variable that it is computed for; none where it serves many. */
function updateOwners(name) {
  const owners = new Map();
  for (const end of report.ends[name]) {
    if (end.kind !== "update") continue;
    const stack = [end.node];
    while (stack.length) {
      const id = stack.pop();
      const node = nodes.get(id);
      if (!node || node.role !== "update" || owners.get(id) === end.name) continue;
      const label = end.name.replace(/^optimizer\./, "");
      const owner = label.replace(/\.[a-z_]+$/, (tail) => (end.name === label ? tail : ""));
      if (owners.has(id)) continue;
      owners.set(id, owner);
      stack.push(...node.inputs);
    }
  }
  return owners;
}

function group(key, label, kind, parent) {
  return { key, label, kind, parent, children: new Map(), open: false, role: "forward" };
}

function child(parent, key, label, kind) {
  if (!parent.children.has(key)) {
    parent.children.set(key, group(`${parent.key}/${key}`, label, kind, parent));
  }
  return parent.children.get(key);
}

/** A layer of one node is that node. */
function dissolve(layer, box) {
  const siblings = [...layer.parent.children].map(([key, item]) =>
    item === layer ? [box.node.id, box] : [key, item],
  );
  box.parent = layer.parent;
  box.alone = titleOf(layer);
  layer.parent.children = new Map(siblings);
}

/** Visit every item below another, inner ones first. */
function each(item, visit) {
  if (item.children) for (const inner of [...item.children.values()]) each(inner, visit);
  visit(item);
}

/** The numbers of all nodes in an item. */
function inside(item) {
  if (item.kind === "box") return [item.node.id];
  if (!item.members) item.members = [...item.children.values()].flatMap(inside);
  return item.members;
}

/** The item that stands for each node: its box, or the closed group that hides it. */
function visible(root) {
  const found = new Map();
  (function walk(item, hidden) {
    const stands = hidden ?? (item.kind !== "box" && !item.open ? item : null);
    if (item.kind === "box") found.set(item.node.id, stands ?? item);
    else for (const inner of item.children.values()) walk(inner, stands);
  })(root, null);
  return found;
}

/** Give every visible item x, y, width and height; positions are absolute. */
function arrange(root) {
  const shown = visible(root);
  const edges = [];
  const seen = new Set();
  for (const [id, target] of shown) {
    for (const operand of nodes.get(id).inputs) {
      const source = shown.get(operand);
      if (!source || source === target) continue;
      const key = `${source.key} ${target.key}`;
      if (!seen.has(key)) edges.push({ source, target, operand });
      seen.add(key);
    }
  }
  const links = new Map();
  for (const edge of edges) {
    const [a, b, common] = siblings(edge.source, edge.target);
    if (!links.has(common)) links.set(common, []);
    links.get(common).push([a, b]);
  }
  // The first edge of each bears its type, as it is drawn: later entries of a Map win.
  measure(root, links, new Map([...edges].reverse().map((edge) => [edge.source, edge.operand])));
  settle(root, 0, 0);
  return { shown, edges };
}

/** The ancestors of two items that lie in the same group, and that group. */
function siblings(a, b) {
  const chain = new Map();
  for (let item = a; item; item = item.parent) chain.set(item.parent, item);
  for (let item = b; item; item = item.parent) {
    if (chain.has(item.parent)) return [chain.get(item.parent), item, item.parent];
  }
  return [a, b, null];
}

/** The size of an item, and for an open group the places of its children inside it. */
function measure(item, links, outgoing) {
  if (item.kind === "box" || !item.open) {
    const words = labels(item);
    item.width = Math.max(...words.map((word) => word.length)) * CHARACTER + 22;
    item.height = words.length > 1 ? 40 : 26;
    return;
  }
  const inner = [...item.children.values()];
  for (const other of inner) measure(other, links, outgoing);
  const columns =
    item.kind === "root" && inner.some((other) => other.kind === "band")
      ? null
      : columnsOf(inner, links.get(item) ?? []);
  if (columns) placeColumns(item, columns, links.get(item) ?? [], outgoing);
  else stack(item, inner);
}

/** Bands lie below each other. */
function stack(item, inner) {
  let y = 0;
  item.width = 0;
  for (const band of inner) {
    band.dx = 0;
    band.dy = y;
    y += band.height + 28;
    item.width = Math.max(item.width, band.width);
  }
  item.height = y;
}

/** The texts on an item. */
function labels(item) {
  if (item.kind === "box") {
    const { node } = item;
    return node.leaf ? [node.name] : [node.op, item.alone ? `${node.name} · ${item.alone}` : node.name];
  }
  return [`▸ ${titleOf(item)}`, count(inside(item).filter((id) => !nodes.get(id).leaf).length)];
}
/** A layer by its path and its type. */
function titleOf(item) {
  const type = item.kind === "layer" ? report.layers[item.path] : undefined;
  return type ? `${item.label} ${type}` : item.label;
}
const count = (number) => `${number} node${number === 1 ? "" : "s"}`;

/** Items by column: each right of all that it reads. */
function columnsOf(items, links) {
  const after = new Map(items.map((item) => [item, []]));
  const before = new Map(items.map((item) => [item, []]));
  for (const [a, b] of links) {
    after.get(a).push(b);
    before.get(b).push(a);
  }
  const rank = new Map();
  const open = new Set();
  function rankOf(item) {
    if (rank.has(item)) return rank.get(item);
    if (open.has(item)) return -1; // a cycle between groups: this way round it is not followed
    open.add(item);
    let found = 0;
    for (const other of before.get(item)) found = Math.max(found, rankOf(other) + 1);
    open.delete(item);
    rank.set(item, found);
    return found;
  }
  for (const item of items) rankOf(item);
  for (const item of items) {
    if (before.get(item).length || !after.get(item).length) continue;
    rank.set(item, Math.max(0, Math.min(...after.get(item).map((other) => rank.get(other))) - 1));
  }
  const columns = [];
  for (const item of items) (columns[rank.get(item)] ??= []).push(item);
  for (let at = 0; at < columns.length; at += 1) columns[at] ??= [];
  const order = new Map();
  const number = (column) => column.forEach((item, at) => order.set(item, at));
  columns.forEach(number);
  for (let sweep = 0; sweep < 6; sweep += 1) {
    const neighbours = sweep % 2 ? after : before;
    for (const column of sweep % 2 ? [...columns].reverse() : columns) {
      const weight = new Map(column.map((item, at) => [item, mean(neighbours.get(item).map((n) => order.get(n)), at)]));
      column.sort((a, b) => weight.get(a) - weight.get(b));
      number(column);
    }
  }
  return { columns, before, after };
}
const mean = (values, otherwise) => (values.length ? values.reduce((a, b) => a + b, 0) / values.length : otherwise);

/** Places of the items of a group, column by column, near the middle of what they read. */
function placeColumns(item, { columns, before, after }, links, outgoing) {
  let x = GAP.pad;
  for (const column of columns) {
    const width = Math.max(0, ...column.map((inner) => inner.width));
    const note = Math.max(0, ...column.map((inner) => noteOf(inner, outgoing).length)) * 6.7;
    let y = 0;
    for (const inner of column) {
      inner.dx = x;
      inner.dy = y;
      y += inner.height + GAP.y;
    }
    x += width + (column.length ? GAP.x + note : 0);
  }
  const middle = (inner) => inner.dy + inner.height / 2;
  for (let sweep = 0; sweep < 4; sweep += 1) {
    const neighbours = sweep % 2 ? after : before;
    for (const column of sweep % 2 ? [...columns].reverse() : columns) {
      const wanted = column.map((inner) => mean(neighbours.get(inner).map(middle), middle(inner)) - inner.height / 2);
      spread(column, wanted);
    }
  }
  const all = columns.flat();
  const top = Math.min(...all.map((inner) => inner.dy));
  for (const inner of all) inner.dy += GAP.head + GAP.pad - top;
  item.width = Math.max(x - GAP.x + GAP.pad, (item.label ? titleOf(item).length : 0) * CHARACTER + 40);
  item.height = Math.max(...all.map((inner) => inner.dy + inner.height)) + GAP.pad;
}

/** Items of a column as near to where they are wanted as they can lie in order. */
function spread(column, wanted) {
  let floor = -Infinity;
  column.forEach((inner, at) => {
    inner.dy = Math.max(wanted[at], floor);
    floor = inner.dy + inner.height + GAP.y;
  });
  let ceiling = Infinity;
  for (let at = column.length - 1; at >= 0; at -= 1) {
    const inner = column[at];
    const moved = Math.min(inner.dy, ceiling - inner.height);
    const back = (inner.dy + Math.min(moved, Math.max(wanted[at], moved))) / 2;
    inner.dy = Math.min(moved, back);
    ceiling = inner.dy - GAP.y;
  }
}

/** The type on the edges that leave an item. */
function noteOf(item, outgoing) {
  const operand = outgoing.get(item);
  return operand === undefined ? "" : nodes.get(operand).type;
}

/** Places relative to the whole. */
function settle(item, x, y) {
  item.x = x;
  item.y = y;
  if (item.kind === "box" || !item.open) return;
  for (const inner of item.children.values()) settle(inner, x + inner.dx, y + inner.dy);
}
