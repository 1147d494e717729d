"""Packing ahead: matrices that last are laid out once for the products that read them.

A product reads a matrix panel by panel: some vectors of columns, row after row. Within the matrix
each row of a panel lies in another place, a page on where rows are long, and loops that have enough
rows of the other operand copy it at each call. What no call changes is kept in panels from the
start; and what no step of a scan changes is laid out before the first, for a few rows, too.
"""

from __future__ import annotations

from collections.abc import Container

from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.graph.rewrite import rewrite
from graphc.machine import Machine
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, Index, index, stays
from graphc.passes import layout
from graphc.passes.pack import (
    FEWEST,
    REUSE,
    along,
    better,
    count,
    count_of,
    laid,
    slides,
    turned,
)
from graphc.passes.panels import panelled, split, width
from graphc.types import SIZE


def pack_ahead(graph: Graph, lasting: Container[Node], machine: Machine) -> Graph:
    """Pack what lasts, so that it is done once and for all: in panels, or turned over."""

    def panels(node: Node) -> Node | None:
        return in_panels(node, lasting, machine)

    return rewrite(graph, [panels, lambda node: turned(node, lasting, machine)])


def pack_once(graph: Graph, steps: int, fixed: Container[Node], machine: Machine) -> Graph:
    """Pack what no step of a scan changes, for a few rows: all steps read the one copy.

    For more, loops copy panels before the first step (`loops/hoist.py`).
    """
    fewest = -(-REUSE // max(steps, 1))
    if fewest >= FEWEST:
        return graph

    def laid_out(node: Node) -> Node | None:
        return None if node in fixed else in_panels(node, fixed, machine, fewest)

    return rewrite(graph, [laid_out])


def in_panels(
    node: Node, lasting: Container[Node], machine: Machine, fewest: int = FEWEST
) -> Node | None:
    """[m, n] += a[m, k]*b[n, k]   ->   [m, 16*p + q] += a[m, k]*b'[p, k, q]

    Where b' = b[16*p + q, k] lasts. Of a few rows none is made so, whose sums go along the matrix,
    unless `fewest` says that so many are enough; where no width of a panel divides n, the matrix
    is turned over for these.
    """
    op, lanes = node.op, along(node)
    if lanes is None or not isinstance(op, Formula) or slides(op):
        return None
    size = width(op.extents[lanes], machine.lanes(SIZE[node.dtype]))
    for position, operand in enumerate(node.inputs):
        if operand not in lasting or not across(op, position, operand, lanes, fewest):
            continue
        if not size and fewest == FEWEST:
            continue  # loops do it
        cut, order = op, (*op.summed, lanes)
        if size:
            cut = split(op, lanes, size)
            order = panelled(cut, order, lanes)
        reads = list(cut.reads)
        reads[position] = tuple(map(index, order))
        copy = laid(cut, cut.reads[position], operand, order)
        inputs = (*node.inputs[:position], copy, *node.inputs[position + 1 :])
        moved = Formula(cut.name, cut.args, cut.expr, tuple(reads), cut.writes, cut.domain, cut.how)
        return moved(inputs, node.type)
    return None


def across(op: Formula, position: int, operand: Node, lanes: str, fewest: int) -> bool:
    """Whether an operand is a matrix of what is summed and of the lanes, which lie across it.

    They do, frozen or not, where rows lie along them, or where the matrix would be turned over.
    """
    read = op.reads[position]
    if not matrix(op, read, operand, lanes):
        return False
    offset = layout.offset(operand.shape, read)  # type: ignore[arg-type]  # as checked
    along_rows = offset.coefficient(lanes) == 1
    if fewest < FEWEST:
        return fewest <= rows(op, lanes) < FEWEST and not along_rows
    return rows(op, lanes) >= FEWEST and (
        along_rows or better(op, position, lanes, operand) is not None
    )


def rows(op: Formula, lanes: str) -> int:
    """The rows of a product, all but its lanes."""
    return count(op, [name for name in op.kept if name != lanes])


def matrix(op: Formula, read: Index, operand: Node, lanes: str) -> bool:
    """Whether elements of an operand are read for an index of the lanes and a term each, once."""
    places = [e for e in read if isinstance(e, Affine)]
    names = {name for e in places for name in e.names}
    if len(places) != len(read) or names != {lanes, *op.summed}:
        return False
    inside = all(stays(e, n, op.extents) for e, n in zip(places, operand.shape, strict=True))
    known = all(isinstance(op.extents[name], int) for name in names)
    return inside and known and count(op, [*names]) <= count_of(operand.shape)
