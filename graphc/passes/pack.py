"""Packing: an operand that is read many times across its rows is turned over first.

A contraction whose result is contiguous along an index wants its operands contiguous along it too,
so that neighbouring elements of the result are the lanes of a vector. Where an operand is not, and
each of its elements is read often, one transposing copy costs less than reading it crosswise. A
matrix along whose rows a product sums, or each of many, is left as it lies: its loops copy it panel
by panel, and turn each over on the way (`loops/crosswise.py`). Filters that are read element by
element, the terms of a sum in pieces far apart, are gathered: in the copy they lie side by side.
Filters of long rows, of which a tile reads some vectors, are copied in panels (`passes/panels.py`).
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from itertools import dropwhile, takewhile

from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.graph.rewrite import rewrite
from graphc.machine import Machine
from graphc.ops import scalar
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, Index, index, stays
from graphc.passes import layout
from graphc.passes.border import residual
from graphc.passes.copies import copied, permuted
from graphc.passes.invert import covered, expression
from graphc.passes.panels import panelled, split, width
from graphc.passes.region import carried, in_windows, unit
from graphc.types import SIZE, Shape, is_float

REUSE, FEWEST, SELDOM = 24, 8, 4
"""How often an element must be read for a copy to pay: through memory, panel by panel, and of
filters, of which vectors would else be gathered."""
SHORTEST, FEWEST_OF_MANY = 8, 16
"""Terms of a row of a matrix, at least, for the loops to turn it over: of one, and of many."""
FAR = 32 << 10
"""Bytes of an operand from which on pieces of a row are gathered: the nearest cache holds less."""
NARROWEST, WIDEST = 8, 64
"""Columns of a matrix that is turned over ahead: loops would add up fewer in lanes of a sum again,
in another order than they do where they turn the matrix over themselves; and of more they would
copy panels row by row from as many pages, which takes longer than turning them over."""
ROW = 512
"""Bytes of a row of filters from which on they are copied in panels: less lies near together."""
PIECE = 256
"""Bytes of a piece up to which it is gathered with others."""
LONG, LONGEST = 1024, 4096
"""Terms of a sum beyond which few rows go along a matrix's, as its panels would leave the nearest
caches; and those of a panel at most: longer sums are made in parts."""
NOMINAL = 128


def pack(graph: Graph, machine: Machine) -> Graph:
    """Apply `turned` to all that loops do not turn over themselves."""
    return rewrite(graph, [lambda node: turned(node, frozenset(), machine)])


def turned(node: Node, lasting: Container[Node], machine: Machine) -> Node | None:
    """[m, n] += f(a[m, k], b[n, k])   ->   f(a[m, k], b'[k, n])  where [k, n] = b[n, k]."""
    op, lanes = node.op, along(node)
    if lanes is None or not isinstance(op, Formula):
        return None
    for position, (operand, read) in enumerate(zip(node.inputs, op.reads, strict=True)):
        ahead = operand in lasting and NARROWEST <= count(op, [lanes]) <= WIDEST
        order = better(op, position, lanes, operand)
        whole = gathered(op, read, lanes, operand)
        axes = across(op, read, lanes, operand)
        if whole is not None:
            op = forwards(op)
            moved_read: Index = tuple(map(index, whole))
            copy = laid(op, op.reads[position], operand, whole)
        elif order is not None:
            if by_panels(op, position, operand) and not ahead:
                continue
            size = width(op.extents[lanes], machine.lanes(SIZE[node.dtype]))
            if size and long_rows(op, lanes, SIZE[node.dtype]):
                op = split(op, lanes, size)
                order = panelled(op, order, lanes)
            moved_read = tuple(map(index, order))
            copy = laid(op, op.reads[position], operand, order)
        elif axes is not None:
            moved_read = tuple(read[axis] for axis in axes)
            copy = permuted(operand, axes, "packed")
        else:
            continue
        reads = (*op.reads[:position], moved_read, *op.reads[position + 1 :])
        inputs = (*node.inputs[:position], copy, *node.inputs[position + 1 :])
        moved = Formula(op.name, op.args, op.expr, reads, op.writes, op.domain, op.how)
        return moved(inputs, node.type)
    return None


def along(node: Node) -> str | None:
    """The last index of a sum's result, which could be the lanes."""
    op = node.op
    if not isinstance(op, Formula) or not op.summed or not op.writes or not covered(op, node):
        return None
    last = op.writes[-1]
    if not is_float(node.dtype) or 0 in op.extents.values():
        return None  # of no elements, strides say nothing
    name = unit(last, op)
    extent = op.extents[name] if name is not None else 1
    return name if isinstance(extent, int) and extent > 1 else None


def turns_panels(node: Node) -> bool:
    """Whether the loops of a node turn an operand over, once for all its rows."""
    op, lanes = node.op, along(node)
    return (
        lanes is not None
        and isinstance(op, Formula)
        and any(
            better(op, position, lanes, operand) is not None and by_panels(op, position, operand)
            for position, operand in enumerate(node.inputs)
        )
    )


def by_panels(op: Formula, position: int, operand: Node) -> bool:
    """Whether loops turn over an operand that goes across: the terms of a sum are a row of it."""
    offset = layout.offset(operand.shape, op.reads[position])  # type: ignore[arg-type]  # as checked
    lanes = unit(op.writes[-1], op)
    terms = [op.extents[name] for name in op.summed]
    if lanes is None or not set(offset.names) >= {lanes, *op.summed} or not is_float(operand.dtype):
        return False
    if not all(isinstance(extent, int) for extent in terms):
        return False
    return rows(offset, lanes, [(n, count(op, [n])) for n in op.summed])


def enough(op: Formula, position: int, operand: Node) -> int:
    """How often an element must be read for a copy of an operand that goes across to pay.

    Seldom, where vectors would else be gathered, or where panels are copied; where lanes could lie
    along its rows instead, and the copy goes through memory, more often.
    """
    offset = layout.offset(operand.shape, op.reads[position])  # type: ignore[arg-type]  # as checked
    last = op.summed[-1]
    straight = offset.coefficient(last) == 1 and count(op, [last]) >= SHORTEST
    if straight and by_panels(op, position, operand):
        return often(count(op, op.summed))
    if straight:
        return REUSE
    return SELDOM if in_windows(op) else FEWEST


def often(terms: int) -> int:
    """How often a panel of so many terms must be read for turning it over to pay."""
    return FEWEST if terms <= LONG else REUSE


def rows(offset: Affine, lanes: str, terms: Sequence[tuple[str, int]]) -> bool:
    """Whether sums go along rows of memory, neighbouring terms last, lanes from row to row.

    They may go on from matrix to matrix: the outer terms are then farther apart than rows are.
    """
    apart = offset.coefficient(lanes)
    inner = list(dropwhile(lambda term: offset.coefficient(term[0]) > apart, terms))
    if not inner or offset.coefficient(inner[-1][0]) != 1 or inner[-1][1] < SHORTEST:
        return False
    if len(inner) < len(terms) and math.prod(extent for _, extent in inner) < FEWEST_OF_MANY:
        return False
    return apart > sum(abs(offset.coefficient(name)) * (extent - 1) for name, extent in inner)


def better(op: Formula, position: int, lanes: str, operand: Node) -> tuple[str, ...] | None:
    """The indices of a read in the order of a copy's axes, the lanes last; None where none pays.

    Each index becomes an axis of its own: heads side by side in memory, or rows of a part of a
    matrix, are copied as they are read. Windows that overlap would be written out; they are not.
    """
    places = [e for e in op.reads[position] if isinstance(e, Affine)]
    if len(places) != len(op.reads[position]) or isinstance(op.extents[lanes], str):
        return None
    if not all(stays(e, n, op.extents) for e, n in zip(places, operand.shape, strict=True)):
        return None
    offset = layout.offset(operand.shape, tuple(places))
    names = offset.outermost
    if offset.coefficient(lanes) in (0, 1) or count(op, names) > count_of(operand.shape):
        return None
    apart = abs(offset.coefficient(lanes))
    near = [n for n in names if abs(offset.coefficient(n)) < apart and op.extents[n] != 1]
    often = count(op, [n for n in op.kept if n not in names])
    if not near or often < enough(op, position, operand):
        return None
    return (*(name for name in op.extents if name in names and name != lanes), lanes)


def long_rows(op: Formula, lanes: str, size: int) -> bool:
    """Whether filters, which alone are read at the lanes, have rows of which a tile reads parts."""
    carriers = [read for read in op.reads if lanes in carried(read)]
    return len(carriers) == 1 and in_windows(op) and count(op, [lanes]) * size >= ROW


def gathered(op: Formula, read: Index, lanes: str, operand: Node) -> tuple[str, ...] | None:
    """The indices of a read with what is summed last, where its terms lie in pieces far apart.

    [c, w] += a[f, c, r]*b[f, w + r]: what is read for one c, a piece for each f, becomes one row.
    Pieces of some lines, such as images of which each place is a term, are read well as they lie.
    """
    places = [e for e in read if isinstance(e, Affine)]
    if len(places) != len(read) or count_of(operand.shape) * SIZE[operand.dtype] <= FAR:
        return None
    if not all(stays(e, n, op.extents) for e, n in zip(places, operand.shape, strict=True)):
        return None
    offset = layout.offset(operand.shape, tuple(places))
    names = offset.outermost
    kept = [name for name in names if name in op.kept]
    if not slides(op) or not kept or lanes in kept or {names[0], names[-1]} & set(kept):
        return None
    long = [name for name in names if op.extents[name] != 1]
    piece = count(op, list(takewhile(lambda name: name not in op.kept, reversed(long))))
    if count(op, names) > count_of(operand.shape) or piece * SIZE[operand.dtype] > PIECE:
        return None
    if count(op, [n for n in op.kept if n not in names]) < REUSE:
        return None
    order = (*kept, *(name for name in op.extents if name in names and name not in kept))
    # A run-time extent is outermost in memory wherever its axis is: nothing would lie side by side.
    return None if any(isinstance(op.extents[name], str) for name in order[1:]) else order


def slides(op: Formula) -> bool:
    """Whether an operand is read in windows: at a kept index and a summed one together."""
    places = [set(e.names) for r in op.reads for e in r if isinstance(e, Affine)]
    return any(not names <= {*op.kept} and names & {*op.kept} for names in places)


def forwards(op: Formula) -> Formula:
    """[x] += a[r]*b[x - r + 2]   ->   [x] += a[2 - r]*b[x + r]: what slides is walked forwards.

    Rows that are walked backwards are fetched late. The formula may ask where it is, as that of a
    gradient does which is read through a reshape.
    """
    terms = [term for r in op.reads for e in r if isinstance(e, Affine) for term in e.terms]
    back = {name: op.extents[name] for name, by in terms if by < 0 and name in op.summed}
    turn = {n: index(n) * -1 + (size - 1) for n, size in back.items() if isinstance(size, int)}
    reads = tuple(
        tuple(e.substitute(turn) if isinstance(e, Affine) else e for e in read) for read in op.reads
    )
    expr = op.expr.subs({scalar.position(name): expression(form) for name, form in turn.items()})
    return Formula(op.name, op.args, expr, reads, op.writes, op.domain, op.how)


def across(op: Formula, read: Index, lanes: str, operand: Node) -> tuple[int, ...] | None:
    """The axes of an operand with the lanes' last, where other indices leave it at a residue."""
    places = [e for e in read if isinstance(e, Affine)]
    axes = [axis for axis, e in enumerate(places) if e.plain == lanes]
    if len(places) != len(read) or len(axes) != 1 or axes == [len(read) - 1]:
        return None
    if not any(residual(e, op) for e in places):
        return None
    names = {name for e in places for name in e.names}
    if count(op, [n for n in op.kept if n not in names]) < FEWEST:
        return None
    return (*(axis for axis in range(len(read)) if axis != axes[0]), axes[0])


def count(op: Formula, names: Sequence[str]) -> int:
    """The points of some indices, a run-time extent guessed."""
    return count_of(tuple(op.extents[name] for name in names))


def count_of(shape: Shape) -> int:
    """The elements of a shape, a run-time extent guessed."""
    return math.prod(extent if isinstance(extent, int) else NOMINAL for extent in shape)


def laid(op: Formula, read: Index, operand: Node, order: tuple[str, ...]) -> Node:
    """A copy of what an op reads of an operand, an axis for each index."""
    axes = {name: f"b{axis}" for axis, name in enumerate(order)}
    moved = tuple(
        e.substitute({name: index(axis) for name, axis in axes.items()})
        for e in read
        if isinstance(e, Affine)
    )
    domain = tuple((axes[name], op.extents[name]) for name in order)
    writes = tuple(index(axis) for axis in axes.values())
    shape = tuple(op.extents[n] for n in order)
    return copied("packed", operand, moved, writes, domain, shape)
