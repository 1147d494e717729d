"""Panels: columns of a matrix by so many vectors, each panel a matrix of its own, row after row.

    b[k, 32*p + q]   ->   b'[p, k, q]

A product that reads some columns of every row then goes along memory.
"""

from __future__ import annotations

from graphc.ops import scalar
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, index
from graphc.passes.invert import expression
from graphc.types import Extent

VECTORS = (2, 3, 4, 1)
"""How many vectors wide panels are, the best first."""


def width(extent: Extent, lanes: int) -> int:
    """How wide panels of so many columns are, all alike; 0 where there is no width of several."""
    sizes = [lanes * vectors for vectors in VECTORS]
    return next((n for n in sizes if isinstance(extent, int) and extent % n == 0 < extent - n), 0)


def panel(name: str) -> str:
    """The index of the panel, for that of a column."""
    return f"{name}.panel"


def place(name: str) -> str:
    """The index of the place within a panel, for that of a column."""
    return f"{name}.place"


def split(op: Formula, name: str, size: int) -> Formula:
    """The formula with the index of a column in two: the panel, and the place within it."""
    extent = op.extents[name]
    assert isinstance(extent, int)
    form = index(panel(name)) * size + index(place(name))
    parts = [(panel(name), extent // size), (place(name), size)]
    domain: list[tuple[str, Extent]] = []
    for other, steps in op.domain:
        domain += parts if other == name else [(other, steps)]
    writes, *reads = (
        tuple(e.substitute({name: form}) if isinstance(e, Affine) else e for e in read)
        for read in (op.writes, *op.reads)
    )
    expr = op.expr.subs({scalar.position(name): expression(form)})
    return Formula(op.name, op.args, expr, tuple(reads), writes, tuple(domain), op.how)


def panelled(op: Formula, order: tuple[str, ...], lanes: str) -> tuple[str, ...]:
    """The order of a copy's axes with the lanes in panels, each with all that it is summed over."""
    kept = [name for name in order if name in op.kept]
    summed = [name for name in order if name in op.summed]
    return (*kept, panel(lanes), *summed, place(lanes))
