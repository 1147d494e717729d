"""Crosswise: a matrix along whose rows sums go, while lanes go across: its panels are turned over.

    for i: for j: for s: c[i, j] += a[S*i + s]*b[S*j + s]
    -->
    for j by J: p[J*s + j'] = b[S*(j + j') + s]; for i: for j', s: c += a[S*i + s]*p[J*s + j']

Of many matrices one behind the other, summed over too, each is such a one. The graph pass that
turns operands over leaves these, and no others, as they lie.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from graphc.loops.ir import For, Load, Stmt
from graphc.loops.nest import Nest, extent
from graphc.passes.pack import often, rows
from graphc.types import is_float


def crosswise(nest: Nest, loop: For, stmt: Stmt) -> bool:
    """Whether a statement loads an element of such a matrix, lanes being along a loop."""
    if not isinstance(stmt, Load) or stmt.guards or stmt.access.lookups or not nest.summed:
        return False
    if loop.index != nest.kept[-1].index or not is_float(stmt.access.buffer.dtype):
        return False
    if any(f.extent is None for f in (loop, *nest.summed)) or extent(loop) < 2:
        return False
    offset, others = stmt.access.offset, nest.kept[:-1]
    if any(offset.coefficient(f.index) for f in others):
        return False
    if not all(offset.coefficient(f.index) for f in nest.summed):
        return False
    terms = [(f.index, extent(f)) for f in nest.summed]
    count = math.prod(map(extent, others))
    return rows(offset, loop.index, terms) and count >= often(math.prod(n for _, n in terms))


def crossed(nest: Nest, loop: For, stmts: Sequence[Stmt]) -> bool:
    """Whether some statements load elements of such a matrix."""
    return any(crosswise(nest, loop, stmt) for stmt in stmts)


def matrices(nest: Nest, loop: For, outer: For) -> bool:
    """Whether a sum goes from one such matrix to the next."""
    loads = [s for s in nest.inner if isinstance(s, Load) and crosswise(nest, loop, s)]
    steps = [[s.access.offset.coefficient(f.index) for f in (outer, loop)] for s in loads]
    return any(step > apart for step, apart in steps)
