"""The one kind of op: an index signature and a scalar formula, from which everything is derived.

    result[writes] how= expr(operand[reads], ...)      over every point of the domain

A point where some index leaves its operand, or the result, contributes nothing. What no point
writes is the identity of `how`: 0 for a sum, -inf for a maximum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import sympy

from graphc.errors import UnsupportedOpError
from graphc.graph.node import Node, make
from graphc.ops import scalar
from graphc.ops.index import Affine, Domain, Index, Lookup, index, show
from graphc.ops.scalar import Expr, Symbol, argument, differentiate
from graphc.types import Extent, Shape, TensorType, is_float

GRAD = argument("grad")
RESULT = argument("result")
WHERE = argument("where")

KINDS = {
    "sum": "+=",
    "prod": "*=",
    "max": "max=",
    "min": "min=",
    "argmax": "argmax=",
    "argmin": "argmin=",
    "any": "or=",
    "all": "and=",
}
Derivatives = tuple[tuple[Symbol, Expr], ...]


@dataclass(frozen=True)
class Formula:
    """An op over given extents. Equal formulas are the same op whatever code made them."""

    name: str
    args: tuple[Symbol, ...]
    expr: Expr
    reads: tuple[Index, ...]
    writes: Index
    domain: Domain
    how: str = "sum"
    derivatives: Derivatives = field(default=(), compare=False, repr=False)

    @cached_property
    def extents(self) -> dict[str, Extent]:
        """The extent of every index."""
        return dict(self.domain)

    @cached_property
    def summed(self) -> tuple[str, ...]:
        """The indices that the result does not carry, in order."""
        kept = {n for e in self.writes if isinstance(e, Affine) for n in e.names}
        return tuple(name for name, _ in self.domain if name not in kept)

    @cached_property
    def kept(self) -> tuple[str, ...]:
        """The indices that the result carries, in order."""
        return tuple(name for name, _ in self.domain if name not in self.summed)

    @cached_property
    def plain(self) -> bool:
        """Whether the result is written at distinct plain indices: each element exactly once."""
        names = [e.plain if isinstance(e, Affine) else None for e in self.writes]
        return None not in names and len(set(names)) == len(names)

    @cached_property
    def pointwise(self) -> bool:
        """Whether it is a map: plain writes and nothing summed."""
        return self.plain and not self.summed and self.how not in ("argmax", "argmin")

    @cached_property
    def switch(self) -> str | None:
        """The index for each value of which the formula is another one."""
        symbol = scalar.switch(self.expr)
        return symbol.name if symbol is not None and symbol not in self.args else None

    def fills(self, shape: Shape) -> bool:
        """Whether each element of a result of this shape is written, at plain indices."""
        return self.plain and all(
            isinstance(e, Affine) and self.extents[str(e.plain)] == size
            for e, size in zip(self.writes, shape, strict=True)
        )

    @cached_property
    def reuses(self) -> bool:
        """Whether some operand is read again for several elements of the result: a contraction."""
        big = {n for n in self.kept if self.extents[n] != 1}
        for read in self.reads:
            seen = {n for e in read if isinstance(e, Affine) for n in e.names}
            if len(self.reads) > 1 and seen & set(self.summed) and big - seen:
                return True
        return False

    @cached_property
    def checks(self) -> bool:
        """Whether it can refuse a value: an index that is data, or a bounded one."""
        places = (*self.writes, *(e for read in self.reads for e in read))
        return any(isinstance(e, Lookup) for e in places) or self.expr.has(scalar.bounded)

    def describe(self) -> str:
        """E.g. `[m, n] += a*b  where a[m, k], b[k, n]`."""
        shown = [
            f"{arg}[{show(self.named(read))}]"
            for arg, read in zip(self.args, self.reads, strict=True)
        ]
        sign = "=" if self.pointwise else KINDS[self.how]
        where = f"  where {', '.join(shown)}" if shown else ""
        return f"[{show(self.named(self.writes))}] {sign} {self.expr}{where}"

    def named(self, position: Index) -> Index:
        """An index tuple with look-ups spelled by their operand's name, for show()."""
        return tuple(
            index(f"{self.args[e.operand]}[]") if isinstance(e, Lookup) else e for e in position
        )

    # --- the chain rule --------------------------------------------------------------------

    def vjp(self, position: int, cotangent: Node, node: Node) -> Node | None:
        """Cotangent of an operand: the same loops, read at the result's index, written at its own.

        It reads what the derivative's free symbols name, and nothing else.
        """
        operand = node.inputs[position]
        if not is_float(operand.dtype) or not is_float(node.dtype) or self.is_lookup(position):
            return None
        local, extra = self.local(position, node)
        if local == 0:
            return None
        grad = fresh(GRAD, (*self.args, *self.used))
        source: dict[Symbol, tuple[Node, Index]] = {grad: (cotangent, self.writes), **extra}
        for symbol, other, read in zip(self.args, node.inputs, self.reads, strict=True):
            source[symbol] = (other, read)
        expr = times(grad, local)
        lookups = [e for e in (*self.reads[position], *self.writes) if isinstance(e, Lookup)]
        needed = {self.args[e.operand] for e in lookups}
        reads = [s for s in source if s in expr.free_symbols or s in needed]
        for symbol in list(reads):
            for e in source[symbol][1]:
                if isinstance(e, Lookup) and self.args[e.operand] not in reads:
                    reads.append(self.args[e.operand])
        place = {symbol: i for i, symbol in enumerate(reads)}

        def moved(at: Index) -> Index:
            return tuple(
                Lookup(place[self.args[e.operand]]) if isinstance(e, Lookup) else e for e in at
            )

        back = Formula(
            f"{self.name}.d{self.args[position]}",
            tuple(reads),
            expr,
            tuple(moved(source[s][1]) for s in reads),
            moved(self.reads[position]),
            self.domain,
        )
        return back.canonical()(tuple(source[s][0] for s in reads), operand.type)

    @property
    def used(self) -> tuple[Symbol, ...]:
        """Every symbol of the expression that is no operand: the indices it reads."""
        names = {name for name, _ in self.domain}
        return tuple(s for s in self.expr.free_symbols if s not in self.args and s.name in names)

    def is_lookup(self, position: int) -> bool:
        """Whether an operand serves as an index into another, or into the result."""
        places = (*self.writes, *(e for read in self.reads for e in read))
        return any(isinstance(e, Lookup) and e.operand == position for e in places)

    def local(self, position: int, node: Node) -> tuple[Expr, dict[Symbol, tuple[Node, Index]]]:
        """d result / d operand at one point, and what else it reads, where."""
        arg = self.args[position]
        given = dict(self.derivatives)
        derivative = given[arg] if arg in given else differentiate(self.expr, arg)
        if derivative == 0:
            return derivative, {}
        if self.how in ("max", "min"):
            if not self.summed and self.plain:
                return derivative, {}
            where, first = fresh(WHERE, self.args), self.positions(node)
            here = sympy.Eq(scalar.cast(self.flat, sympy.Symbol(first.dtype)), where)
            return sympy.Piecewise((derivative, here), (0, True)), {where: (first, self.writes)}
        if self.how == "prod" and self.summed:
            others = fresh(RESULT, self.args)
            return times(others, derivative), {others: self.product_of_others(node)}
        if self.how not in ("sum", "prod"):
            return sympy.Integer(0), {}
        if self.pointwise:
            result = fresh(RESULT, self.args)
            shorter = derivative.subs(self.expr, result) if arg not in given else derivative
            if arg in given:
                shorter = derivative.subs(RESULT, result)
            if result in shorter.free_symbols:
                return shorter, {result: (node, self.writes)}
        return derivative, {}

    @property
    def flat(self) -> Expr:
        """The row-major position of a point among the summed indices."""
        total: Expr = sympy.Integer(0)
        for name in self.summed:
            extent = self.extents[name]
            if total != 0 and not isinstance(extent, int):
                raise UnsupportedOpError(
                    f"{self.name}: the position among several reduced axes of which {extent!r} is "
                    "not the first has no fixed strides; transpose it to the front"
                )
            total = total * extent + scalar.position(name) if total != 0 else scalar.position(name)
        return total

    def positions(self, node: Node) -> Node:
        """For a maximum or minimum: where among the summed indices the first one stands."""
        finder = Formula(
            f"{self.name}.at",
            self.args,
            self.expr,
            self.reads,
            self.writes,
            self.domain,
            "arg" + self.how,
        )
        extents = [self.extents[name] for name in self.summed]
        few = all(isinstance(e, int) for e in extents) and math.prod(map(int, extents)) < 2**31
        return finder(node.inputs, TensorType("int32" if few else "int64", node.shape))

    def product_of_others(self, node: Node) -> tuple[Node, Index]:
        """For a product: at each point the product over all other points of its reduction."""
        twin = {name: index(name + "'") for name in self.summed}
        renamed = {scalar.position(n): scalar.position(n + "'") for n in self.summed}
        same = sympy.And(*(sympy.Eq(a, b) for a, b in renamed.items()))
        expr = sympy.Piecewise((1, same), (self.expr.subs(renamed), True))

        def moved(at: Index) -> Index:
            return tuple(e if isinstance(e, Lookup) else e.substitute(twin) for e in at)

        writes = tuple(index(name) for name, _ in self.domain)
        domain = (*self.domain, *((n + "'", self.extents[n]) for n in self.summed))
        reads = tuple(moved(read) for read in self.reads)
        others = Formula(f"{self.name}.others", self.args, expr, reads, writes, domain, "prod")
        shape = tuple(extent for _, extent in self.domain)
        return others(node.inputs, TensorType(node.dtype, shape)), writes

    def __call__(self, operands: tuple[Node, ...], type: TensorType) -> Node:
        """The node of this op on these operands."""
        return make(self, operands, type)

    def canonical(self) -> Formula:
        """The same op with its domain in the order that the result carries, then the operands."""
        order: dict[str, None] = {}
        for place in (self.writes, *self.reads):
            for e in place:
                if isinstance(e, Affine):
                    order |= dict.fromkeys(e.names)
        order |= dict.fromkeys(self.extents)
        domain = tuple((name, self.extents[name]) for name in order)
        return Formula(
            self.name,
            self.args,
            self.expr,
            self.reads,
            self.writes,
            domain,
            self.how,
            self.derivatives,
        )


def times(factor: Symbol, local: Expr) -> Expr:
    """factor * local, taken into the branches so that 0 stays 0 beside an infinite factor."""
    if isinstance(local, sympy.Piecewise):
        return sympy.Piecewise(*((factor * value, where) for value, where in local.args))
    return factor * local


def fresh(symbol: Symbol, taken: Sequence[Symbol]) -> Symbol:
    """The symbol, primed until it differs from those taken."""
    names = {s.name for s in taken}
    while symbol.name in names:
        symbol = argument(symbol.name + "'")
    return symbol
