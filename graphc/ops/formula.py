"""The one kind of op: an index signature and a scalar formula, from which everything is derived.

    result[writes] how= expr(operand[reads], ...)      over every point of the domain

A point where some index leaves its operand, or the result, contributes nothing. What no point
writes is the identity of `how`: 0 for a sum, -inf for a maximum.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import sympy

from graphc.errors import UnsupportedOpError
from graphc.graph.node import Node, make
from graphc.lazy import cached_property
from graphc.ops import cases, scalar
from graphc.ops.chain import (
    GRAD,
    RESULT,
    WHERE,
    flat,
    fresh,
    position_dtype,
    pulled,
    pulled_at,
    pulled_beside,
)
from graphc.ops.index import Affine, Domain, Index, Lookup, index, show
from graphc.ops.scalar import Expr, Symbol
from graphc.types import Extent, Shape, TensorType, is_float

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

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """Computed once: formulas are looked up by value at every node that is made."""
        place = (self.reads, self.writes, self.domain)
        return hash((self.name, self.args, self.expr, *place, self.how))

    @cached_property
    def exact(self) -> str:
        """All that tells it apart, as text."""
        args = " ".join(map(scalar.spelled, self.args))
        reads = "; ".join(map(show, self.reads))
        domain = " ".join([f"{name}:{extent!r}" for name, extent in self.domain])
        where = f"[{reads}] [{show(self.writes)}] {domain}"
        return f"{self.name!r} {args} {scalar.spelled(self.expr)} {where} {self.how}"

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
        symbol = cases.switch(self.expr)
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
        return bool(self.lookups) or self.expr.has(scalar.bounded)

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
        grad = fresh(GRAD, (*self.args, *self.used))
        expr, extra = self.local(position, node, grad)
        if expr == 0:
            return None
        source: dict[Symbol, tuple[Node, Index]] = {grad: (cotangent, self.writes), **extra}
        for symbol, other, read in zip(self.args, node.inputs, self.reads, strict=True):
            source[symbol] = (other, read)
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

    @cached_property
    def used(self) -> tuple[Symbol, ...]:
        """Every symbol of the expression that is no operand: the indices it reads."""
        names = {name for name, _ in self.domain}
        return tuple(s for s in self.expr.free_symbols if s not in self.args and s.name in names)

    def is_lookup(self, position: int) -> bool:
        """Whether an operand serves as an index into another, or into the result."""
        return position in self.lookups

    @cached_property
    def lookups(self) -> frozenset[int]:
        """The operands that serve so."""
        places = (*self.writes, *(e for read in self.reads for e in read))
        return frozenset(e.operand for e in places if isinstance(e, Lookup))

    def local(
        self, position: int, node: Node, grad: Symbol
    ) -> tuple[Expr, dict[Symbol, tuple[Node, Index]]]:
        """grad * d result / d operand at one point, and what else it reads, where."""
        arg = self.args[position]
        question = self.expr, arg, dict(self.derivatives).get(arg), grad
        if self.how in ("max", "min") and (self.summed or not self.plain):
            where = fresh(WHERE, self.args)
            expr = pulled_at(*question, where, self.sizes)
            if expr == 0:
                return expr, {}
            self.check_flat()
            return expr, {where: (self.positions(node), self.writes)}
        if self.how == "prod" and self.summed:
            others = fresh(RESULT, self.args)
            expr = pulled_beside(*question, others)
            return expr, {} if expr == 0 else {others: self.product_of_others(node)}
        if self.how not in ("sum", "prod", "max", "min"):
            return sympy.Integer(0), {}
        alone = self.pointwise and self.how in ("sum", "prod")
        result = fresh(RESULT, self.args) if alone else None
        expr = pulled(*question, result)
        return expr, {result: (node, self.writes)} if result in expr.free_symbols else {}

    @property
    def sizes(self) -> tuple[tuple[str, int], ...]:
        """The summed indices and their extents, 0 for one that is not known before the run."""
        sizes = [(name, self.extents[name]) for name in self.summed]
        return tuple((name, size if isinstance(size, int) else 0) for name, size in sizes)

    @property
    def flat(self) -> Expr:
        """The row-major position of a point among the summed indices."""
        self.check_flat()
        return flat(self.sizes)

    def check_flat(self) -> None:
        """Refuse a position among reduced axes that has no fixed strides."""
        for name in self.summed[1:]:
            extent = self.extents[name]
            if not isinstance(extent, int):
                raise UnsupportedOpError(
                    f"{self.name}: the position among several reduced axes of which {extent!r} is "
                    "not the first has no fixed strides; transpose it to the front"
                )

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
        return finder(node.inputs, TensorType(position_dtype(self.sizes), node.shape))

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
        return make(same(self, self.derivatives), operands, type)

    def canonical(self) -> Formula:
        """The same op with its domain in the order that the result carries, then the operands."""
        order: dict[str, None] = {}
        for place in (self.writes, *self.reads):
            for e in place:
                if isinstance(e, Affine):
                    order |= dict.fromkeys(e.outermost)
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


@lru_cache(maxsize=4096)
def same(op: Formula, derivatives: Derivatives) -> Formula:
    """Of equal formulas the first, so that what one has found out about itself all know."""
    return op
