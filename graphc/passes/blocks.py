"""Blocks: groups that are computed a piece at a time, for formulas with a case for each row.

The axes before the first one that has cases are loops around a block. What is handed on inside it
lies on the stack, except for maps that are computed where they are read.
"""

from __future__ import annotations

from graphc.graph.node import Node
from graphc.ops.formula import Formula
from graphc.ops.index import Affine

LIMIT, ROOM = 1 << 20, 4 << 20
"""Bytes of a block that may be kept on the stack: of each value, and of all. A thread's has 8 MiB;
the panels of a product may lie there, too."""


def lead(op: Formula) -> int:
    """How many plain axes lie before the first one along which a formula has cases: of blocks."""
    for axis, e in enumerate(op.writes):
        if not isinstance(e, Affine) or e.plain is None or e.plain == op.switch:
            return axis
    return 0


def turns(node: Node) -> bool:
    """Whether a node reads an operand along another axis than its own last one: best by itself."""
    op = node.op
    if not isinstance(op, Formula) or not op.writes:
        return False
    ends = [read[-1] for read in op.reads if len(read) > 1]
    return any(isinstance(e, Affine) and e.terms and e != op.writes[-1] for e in ends)


def spread(user: Node, operand: Node) -> bool:
    """Whether a formula with cases reads at several places what has no cases itself.

    Computed for each place, it would be computed again and again.
    """
    reader, made = user.op, operand.op
    assert isinstance(reader, Formula) and isinstance(made, Formula)
    if reader.switch is None or made.switch is not None:
        return False
    return user.inputs.count(operand) > 1
