"""Scatter to gather: make every op write each element of its result exactly once.

An op that writes at a compound index (padding, convolution's input gradient) is turned round:
iterate over the written index, solve for a loop index. What cannot be solved stays a scatter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache

from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.graph.rewrite import rebuild, rewrite
from graphc.graph.site import made_for
from graphc.machine import Machine
from graphc.ops import cases, scalar
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, Lookup, affine, index, stays
from graphc.passes.copies import copied
from graphc.passes.simplify import identity
from graphc.types import Extent, Shape, TensorType

Shapes = tuple[Shape, ...]


def invert(graph: Graph, machine: Machine) -> Graph:
    """Leave out what nobody reads of a scatter, and apply `gathered` everywhere."""
    users, roots = graph.users(), set(graph.roots)
    done: dict[Node, Node] = {}
    first: dict[Node, tuple[int, ...]] = {}  # of a scatter's elements, the first that is left
    for node in graph.nodes:
        part = later(node, first)
        seen = window(node, users[node]) if node not in roots else None
        if seen is not None:
            first[node] = tuple(low for low, _ in seen)
            part = shortened(part, seen)
        done[node] = rebuild(part, tuple(done[operand] for operand in node.inputs))
    return rewrite(graph.replaced(done.__getitem__), [identity, bordered, gathered, spread])


def window(node: Node, users: Iterable[Node]) -> list[tuple[int, Extent]] | None:
    """The part of a scatter that its users read, the first element and how many of each axis.

    None where that is all of it, and where it is not known.
    """
    op = node.op
    if not isinstance(op, Formula) or op.how != "sum" or covered(op, node):
        return None
    reads: list[list[tuple[int, int]]] = [[] for _ in node.shape]
    for user in users:
        if not isinstance(user.op, Formula) or 0 in user.op.extents.values():
            return None
        for operand, read in zip(user.inputs, user.op.reads, strict=True):
            if operand is not node:
                continue
            for axis, (e, size) in enumerate(zip(read, node.shape, strict=True)):
                if isinstance(e, Lookup) or not stays(e, size, user.op.extents):
                    return None
                if isinstance(size, int):
                    reads[axis].append(e.range(user.op.extents))
    seen: list[tuple[int, Extent]] = []
    for e, size, ranges in zip(op.writes, node.shape, reads, strict=True):
        low = min((low for low, _ in ranges), default=0)
        looked_up = isinstance(e, Lookup) or not ranges
        seen.append((0, size) if looked_up else (low, max(high for _, high in ranges) - low + 1))
    return None if [size for _, size in seen] == list(node.shape) else seen


def shortened(node: Node, seen: list[tuple[int, Extent]]) -> Node:
    """[e] += f   ->   [e - low] += f, in as many elements as are seen."""
    op = node.op
    assert isinstance(op, Formula)
    writes = tuple(
        e - low if isinstance(e, Affine) else e for e, (low, _) in zip(op.writes, seen, strict=True)
    )
    part = Formula(op.name, op.args, op.expr, op.reads, writes, op.domain, op.how)
    with made_for(node.site):
        return part(node.inputs, TensorType(node.dtype, tuple(size for _, size in seen)))


def later(node: Node, first: Mapping[Node, tuple[int, ...]]) -> Node:
    """f(x[i])   ->   f(x[i - low])   where x has lost what comes before `low`."""
    op = node.op
    if not isinstance(op, Formula) or first.keys().isdisjoint(node.inputs):
        return node
    reads = tuple(
        tuple(e - low if isinstance(e, Affine) else e for e, low in zip(read, lows, strict=True))
        if (lows := first.get(operand)) is not None
        else read
        for operand, read in zip(node.inputs, op.reads, strict=True)
    )
    moved = Formula(op.name, op.args, op.expr, reads, op.writes, op.domain, op.how)
    with made_for(node.site):
        return moved(node.inputs, node.type)


def bordered(node: Node) -> Node | None:
    """[3*h + r - 1] += f(x[h])  for r in 0..3   ->   [X] = y[X + 1]  where y[3*h + r] += f(x[h])

    Windows that do not meet, beside a border: what lies in it is made, too, and left out. Else each
    element would look for itself in two windows.
    """
    op = node.op
    if not isinstance(op, Formula) or op.how != "sum" or op.reuses or covered(op, node):
        return None
    lows = [
        before(e, op) if isinstance(e, Affine) and isinstance(size, int) else 0
        for e, size in zip(op.writes, node.shape, strict=True)
    ]
    if not any(lows):
        return None
    sizes = zip(lows, node.shape, strict=True)
    seen = [(-low, size + low if isinstance(size, int) else size) for low, size in sizes]
    wider = shortened(node, seen)
    names = [f"b{axis}" for axis in range(len(lows))]
    places = tuple(index(name) + low for name, low in zip(names, lows, strict=True))
    domain = tuple(zip(names, node.shape, strict=True))
    return copied("within", wider, places, tuple(map(index, names)), domain, node.shape)


def before(e: Affine, op: Formula) -> int:
    """How far windows that do not meet begin before the first element: s*h + r - 1, r up to s."""
    if len(e.terms) != 2 or any(isinstance(op.extents[n], str) for n in e.names):
        return 0
    (short, one), (long, step) = sorted(e.terms, key=lambda term: abs(term[1]))
    apart = one == 1 and _length(op, long) > 1 and _length(op, short) <= step
    return -e.constant if apart and 0 < -e.constant < step else 0


def gathered(node: Node) -> Node | None:
    """[s*h + t*r + c] += f(x[h], y[r])   ->   [X] += f(x[(X - t*r - c)/s], y[r]).

    Where all steps have a factor in common only every so many elements are written to: the others
    are 0.
    """
    op = node.op
    if not isinstance(op, Formula) or covered(op, node):
        return None
    if op.how in ("argmax", "argmin") or any(isinstance(e, Lookup) for e in op.writes):
        return None
    taken = set(op.extents)
    shapes = tuple(operand.shape for operand in node.inputs)
    for axis, (e, size) in enumerate(zip(op.writes, node.shape, strict=True)):
        assert isinstance(e, Affine)
        if complete(e, size, op.extents) or (e.plain and repeated(op, axis)):
            continue
        solved = solve(op, shapes, axis, e, size, taken)
        if solved is None:
            return None
        op = solved
        taken |= set(op.extents)
    return op.canonical()(node.inputs, node.type)


def spread(node: Node) -> Node | None:
    """[3*h + 2*r] += f(x[h], y[r])   ->   [h + 2*r] += f(x'[h], y[r])  where [3*h] = x[h], else 0.

    Steps without a common factor, of windows with holes that move by more than one: which terms
    meet at a place is then no index expression of it. More is added than there is, but element by
    element of the result, and nothing is written twice. The zeros are factors like any number.
    """
    op = node.op
    if not isinstance(op, Formula) or op.how != "sum" or covered(op, node):
        return None
    shapes = tuple(operand.shape for operand in node.inputs)
    for e in op.writes:
        if not isinstance(e, Affine) or len(e.terms) != 2 or any(c < 2 for _, c in e.terms):
            continue
        if any(isinstance(op.extents[name], str) for name in e.names):
            continue
        found = []
        for (name, step), (other, far) in (e.terms, e.terms[::-1]):
            position = bounding(op, shapes, name)
            if position is None or scalar.position(name) in op.expr.free_symbols:
                continue
            if scalar.with_value(op.expr, op.args[position], 0) == 0:
                meeting = min(-(-((_length(op, name) - 1) * step + 1) // far), _length(op, other))
                found.append((meeting, position, name, step))
        if found:
            return apart(node, op, *min(found)[1:])
    return None


def bounding(op: Formula, shapes: Shapes, name: str) -> int | None:
    """The operand that alone is read at an index, all along one of its axes."""
    carriers = [
        (position, e, size)
        for position, (read, shape) in enumerate(zip(op.reads, shapes, strict=True))
        for e, size in zip(read, shape, strict=True)
        if isinstance(e, Lookup) or name in e.names
    ]
    if len(carriers) != 1:
        return None
    position, e, size = carriers[0]
    whole = isinstance(e, Affine) and e.plain == name and size == op.extents[name]
    return position if whole and isinstance(size, int) and size else None


def apart(node: Node, op: Formula, position: int, name: str, step: int) -> Node:
    """The op on an operand whose elements along an index lie so many apart, zeros between them."""
    operand, read = node.inputs[position], op.reads[position]
    axis = next(a for a, e in enumerate(read) if isinstance(e, Affine) and e.plain == name)
    names = [f"b{a}" for a in range(len(read))]
    shape = list(operand.shape)
    shape[axis] = extent = (_length(op, name) - 1) * step + 1
    places = tuple(map(index, names))
    writes = (*places[:axis], places[axis] * step, *places[axis + 1 :])
    domain = tuple(zip(names, operand.shape, strict=True))
    inputs = list(node.inputs)
    inputs[position] = copied("spread", operand, places, writes, domain, shape)
    targets = tuple(
        affine([(n, 1 if n == name else c) for n, c in e.terms], e.constant)
        if isinstance(e, Affine) and name in e.names
        else e
        for e in op.writes
    )
    wider = tuple((n, extent if n == name else size) for n, size in op.domain)
    moved = Formula(op.name, op.args, op.expr, op.reads, targets, wider, op.how)
    return moved(tuple(inputs), node.type)


def repeated(op: Formula, axis: int) -> bool:
    """Whether another axis is written at the same index: a diagonal, which stays a scatter."""
    return sum(e == op.writes[axis] for e in op.writes) > 1


def covered(op: Formula, node: Node) -> bool:
    """Whether every element of the result is written, at an injective place."""
    return covers(op, node.shape)


@lru_cache(maxsize=4096)
def covers(op: Formula, shape: Shape) -> bool:
    """The same of a result of a shape: passes ask it again and again."""
    if any(isinstance(e, Lookup) for e in op.writes):
        return False
    names = [n for e in op.writes if isinstance(e, Affine) for n in e.names]
    if len(set(names)) != len(names):
        return False
    return all(
        isinstance(e, Affine) and complete(e, size, op.extents)
        for e, size in zip(op.writes, shape, strict=True)
    )


def complete(e: Affine, size: Extent, extents: Mapping[str, Extent]) -> bool:
    """Whether an index expression takes every value in [0, size) exactly once, or one beyond."""
    if e.plain is not None:
        return extents[e.plain] == size
    if size == 1 and not e.terms and e.constant == 0:
        return True
    if e.constant or not isinstance(size, int):
        return False
    reach = 1
    for name, factor in sorted(e.terms, key=lambda term: term[1]):
        extent = extents[name]
        if factor != reach or not isinstance(extent, int):
            return False
        reach *= extent
    return bool(e.terms) and reach >= size


def solve(
    op: Formula, shapes: Shapes, axis: int, e: Affine, size: Extent, taken: set[str]
) -> Formula | None:
    """The op with one written axis made a plain (or blocked) index of its own."""
    if not e.terms or not isinstance(size, int):
        return None
    if any(not isinstance(op.extents[n], int) for n in e.names):
        return None
    written = fresh("x", taken)
    ones = [n for n, c in e.terms if abs(c) == 1]
    rest = [n for n, c in e.terms if abs(c) != 1]
    strided = len(e.terms) == 2 and len(ones) == 1 and e.coefficient(rest[0]) > 1
    if strided and e.coefficient(ones[0]) == 1:
        parts = (_length(op, ones[0]) - 1) // e.coefficient(rest[0]) + 1
        if 1 < _length(op, rest[0]) >= parts:  # else taps lie apart, not the places they slide to
            return residues(op, shapes, axis, e, size, rest[0], ones[0], taken)
    if ones:
        longest = max(ones, key=lambda n: _length(op, n))
        sign = e.coefficient(longest)
        others = e - index(longest) * sign
        values = {longest: (index(written) - others) * sign}
        return moved(op, shapes, axis, values, index(written), {written: size})
    step = math.gcd(*(c for _, c in e.terms))
    if step == 1:
        return None
    inner = affine([(n, c // step) for n, c in e.terms], e.constant // step)
    part = solve(op, shapes, axis, inner, -(-size // step), taken)
    return every(part, axis, step, e.constant % step, taken) if part is not None else None


def every(op: Formula, axis: int, step: int, low: int, taken: set[str]) -> Formula | None:
    """What an op writes along an axis at every `step` elements, from `low` on; 0 between them."""
    if op.how != "sum":
        return None
    target, residue = op.writes[axis], fresh("v", taken | set(op.extents))
    assert isinstance(target, Affine)
    here = scalar.equals(scalar.position(residue), low)
    writes = list(op.writes)
    writes[axis] = target * step + index(residue)
    expr, domain = cases.only_where(op.expr, [here]), (*op.domain, (residue, step))
    return Formula(op.name, op.args, expr, op.reads, tuple(writes), domain, op.how)


def residues(
    op: Formula,
    shapes: Shapes,
    axis: int,
    e: Affine,
    size: int,
    long: str,
    short: str,
    taken: set[str],
) -> Formula | None:
    """s*h + r + c = X: with X = s*u + v, c = s*d + b: r = s*k + (v - b), h = u - d - k.

    Where b = 1 of s = 2, as well r = 2*k + (1 - v), h = u - d - 1 - k + v, which an even number of
    taps fills.
    """
    step = e.coefficient(long)
    block, residue, part = fresh("x", taken), fresh("v", taken), fresh("k", taken)
    shift, low = e.constant // step, e.constant % step
    values = {
        short: index(part) * step + index(residue) + -low,
        long: index(block) - index(part) + -shift,
    }
    blocks = -(-size // step)
    parts = (_length(op, short) + low - 1) // step + 1
    if step == 2 and low and _length(op, short) % 2 == 0:
        parts -= 1
        values = {
            short: index(part) * 2 - index(residue) + 1,
            long: index(block) - index(part) + index(residue) + -(shift + 1),
        }
    writes = index(block) * step + index(residue)
    return moved(op, shapes, axis, values, writes, {block: blocks, residue: step, part: parts})


def moved(
    op: Formula,
    shapes: Shapes,
    axis: int,
    values: dict[str, Affine],
    writes: Affine,
    extents: dict[str, Extent],
) -> Formula | None:
    """The op over new indices; an old index that no operand bounds is bounded in the formula."""
    conditions = []
    for name, form in values.items():
        extent = op.extents[name]
        bounded = any(
            isinstance(e, Affine) and e.plain == name and size == extent
            for read, shape in zip(op.reads, shapes, strict=True)
            for e, size in zip(read, shape, strict=True)
        )
        if not bounded:
            position = expression(form)
            assert isinstance(extent, int)
            conditions.append(scalar.within(position, extent))
    expr = op.expr.subs({scalar.position(n): expression(f) for n, f in values.items()})
    if conditions and op.how != "sum":
        return None
    if conditions:
        expr = cases.only_where(expr, conditions)
    reads = tuple(
        tuple(d.substitute(values) if isinstance(d, Affine) else d for d in read)
        for read in op.reads
    )
    targets = list(op.writes)
    targets[axis] = writes
    domain = tuple((n, x) for n, x in op.domain if n not in values) + tuple(extents.items())
    return Formula(op.name, op.args, expr, reads, tuple(targets), domain, op.how)


def expression(form: Affine) -> scalar.Expr:
    """An index expression as a sympy expression of index symbols."""
    total: scalar.Expr = scalar.ZERO + form.constant
    for name, factor in form.terms:
        total = total + scalar.position(name) * factor
    return total


def fresh(name: str, taken: set[str]) -> str:
    """A name not yet taken, by numbering."""
    number = 0
    while f"{name}{number}" in taken:
        number += 1
    return f"{name}{number}"


def _length(op: Formula, name: str) -> int:
    extent = op.extents[name]
    assert isinstance(extent, int)
    return extent
