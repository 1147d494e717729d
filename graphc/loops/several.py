"""Several: products of matrices side by side, made one after the other.

    for b: for i: for j: for s: c[b, i, j] += x[b, i, s]*y[b, j, s]
    -->
    for b: { the product of x[b] and y[b], turned over panel by panel }

Only where sums go along the rows of what is read across: what is contiguous needs no panels.
"""

from __future__ import annotations

from dataclasses import replace

from graphc.loops.crosswise import crossed
from graphc.loops.ir import For, Load
from graphc.loops.nest import Nest, parse


def several(loop: For) -> tuple[tuple[For, ...], Nest | None]:
    """The loops around the products of a nest, none if it is one, and the nest of each."""
    nest = parse(loop)
    if nest is None or not nest.reduces:
        return (), nest
    last = nest.kept[-1]
    for stmt in nest.inner:
        if isinstance(stmt, Load) and stmt.access.offset.coefficient(last.index):
            names = set(stmt.access.offset.names) - {last.index}
            around = tuple(f for f in nest.kept if f.index in names)
            one = replace(nest, kept=tuple(f for f in nest.kept if f not in around))
            if around and crossed(one, last, (stmt,)):
                return around, one
    return (), nest
