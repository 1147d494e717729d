"""The one kind of op: an index signature and a scalar formula, from which everything is derived.

    result[writes] how= expr(operand[reads], ...)      over every point of the domain

A point where some index leaves its operand, or the result, contributes nothing. What no point
writes is the identity of `how`: 0 for a sum, -inf for a maximum.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, overload

import numpy as np
import sympy

from graphc.errors import DTypeError, GraphcError, ShapeError, UnsupportedOpError
from graphc.graph import leaf
from graphc.graph.node import Node, make
from graphc.graph.site import here
from graphc.ops import scalar
from graphc.ops.index import (
    Affine,
    Domain,
    Index,
    Lookup,
    Resolved,
    Signature,
    index,
    parse,
    show,
    solve,
)
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
            where = fresh(WHERE, self.args)
            here = sympy.Eq(self.flat, where)
            first = self.positions(node)
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
        return finder(node.inputs, TensorType("int64", node.shape))

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


# --- making nodes ---------------------------------------------------------------------------


def fail(kind: type[GraphcError], name: str, operands: Sequence[Node], problem: str) -> GraphcError:
    """An error that names the op, every operand's type, the layer, and the user's file and line."""
    types = ", ".join(str(o.type) for o in operands)
    shown = f"\n  operands: {types}" if types else ""
    return kind(f"{name}: {problem}{shown}{here()}")


def as_node(value: Any, like: str | None = None) -> Node:
    """A node as it is; a number or array as a constant, a Python number of the dtype `like`."""
    if isinstance(value, Node):
        return value
    if isinstance(value, bool) and like != "bool" and like is not None:
        return leaf.constant(value, like)
    if isinstance(value, int) and not isinstance(value, bool) and like not in (None, "bool"):
        return leaf.constant(value, like)
    if isinstance(value, float):
        kind = like if like is not None and is_float(like) else "float32"
        return leaf.constant(value, kind)
    array = np.asarray(value)
    if array.dtype == np.float64 and like == "float32":
        array = array.astype(np.float32)
    return leaf.constant(array)


def as_nodes(values: Sequence[Any]) -> list[Node]:
    """Operands as nodes; Python numbers take the dtype of the nodes beside them."""
    dtypes = [v.dtype for v in values if isinstance(v, Node)]
    like = None
    if dtypes:
        floats = [d for d in dtypes if is_float(d)]
        like = (floats or [d for d in dtypes if d != "bool"] or dtypes)[0]
    return [as_node(v, like) for v in values]


def apply(
    name: str,
    signature: str | Signature,
    args: tuple[Symbol, ...],
    expr: Expr,
    operands: Sequence[Node],
    *,
    attributes: Mapping[str, Any] | None = None,
    extents: Mapping[str, Extent] | None = None,
    shape: Shape | None = None,
    floor: bool = False,
    how: str = "sum",
    dtype: str | None = None,
    derivatives: Derivatives = (),
) -> Node:
    """The node of a formula over operands: solve the signature, infer the dtype, intern."""
    signature = parse(signature) if isinstance(signature, str) else signature
    try:
        space = solve(
            signature,
            tuple(o.shape for o in operands),
            attributes or {},
            extents=extents,
            shape=shape,
            floor=floor,
        )
    except ShapeError as error:
        raise fail(ShapeError, name, operands, f"{error}  [{signature.text}]") from None
    if dtype is None:
        kinds = {a: o.dtype for a, o in zip(args, operands, strict=True)}
        default = next((o.dtype for o in operands if is_float(o.dtype)), "float32")
        try:
            dtype = scalar.dtype_of(expr, kinds, default)
        except GraphcError as error:
            raise fail(DTypeError, name, operands, str(error)) from None
    return place(name, args, expr, space, operands, how, dtype, derivatives)


def place(
    name: str,
    args: tuple[Symbol, ...],
    expr: Expr,
    space: Resolved,
    operands: Sequence[Node],
    how: str,
    dtype: str,
    derivatives: Derivatives = (),
) -> Node:
    """The node of a formula over a solved iteration space."""
    op = Formula(name, args, expr, space.reads, space.writes, space.domain, how, derivatives)
    named = {e for e in space.shape if isinstance(e, str)}
    if len(named) and sum(isinstance(e, str) for e in space.shape) > 1:
        raise fail(
            ShapeError,
            name,
            operands,
            f"the result would have the run-time extents {space.shape}; one axis at most may",
        )
    return op(tuple(operands), TensorType(dtype, space.shape))


def fill(value: Expr | float, type: TensorType, name: str = "fill") -> Node:
    """A tensor with one value everywhere, as a formula of no operands."""
    domain = tuple((f"b{axis}", extent) for axis, extent in enumerate(type.shape))
    writes = tuple(index(letter) for letter, _ in domain)
    return Formula(name, (), sympy.sympify(value), (), writes, domain)((), type)


ELEMENTWISE = {n: ", ".join(["..."] * n) + " -> ..." for n in range(1, 9)}


@dataclass
class Op:
    """A callable made from a Python function of symbols by `@op`. Its docstring is its manual."""

    function: Callable[..., Expr]
    signature: str | None
    how: str
    result: str | None
    name: str
    __doc__: str | None = None
    rules: dict[str, Callable[..., Expr]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parameters = inspect.signature(self.function).parameters.values()
        positional = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)
        self.parameters = tuple(p.name for p in parameters if p.kind in positional)
        self.defaults = {p.name: p.default for p in parameters if p.kind not in positional}
        self.args = tuple(argument(p) for p in self.parameters)
        self._memo: dict[Any, tuple[Expr, Derivatives]] = {}

    def __call__(self, *operands: Any, **attributes: Any) -> Node:
        """Apply to nodes, arrays or numbers. Keywords are the op's attributes."""
        nodes = as_nodes(operands)
        self.check(nodes, attributes)
        attributes = {**self.defaults, **attributes}
        expr, derivatives = self.formula(attributes)
        return apply(
            self.name,
            self.signature or ELEMENTWISE[len(self.args)],
            self.args,
            expr,
            nodes,
            attributes={k: v for k, v in attributes.items() if isinstance(v, int)},
            how=self.how,
            dtype=self.result,
            derivatives=derivatives,
        )

    def check(self, nodes: list[Node], attributes: dict[str, Any]) -> None:
        """Refuse a wrong number of operands, or attributes that the op does not have."""
        if len(nodes) != len(self.args):
            wanted = ", ".join(self.parameters)
            raise fail(
                ShapeError,
                self.name,
                nodes,
                f"takes {len(self.args)} operands ({wanted}), {len(nodes)} given",
            )
        for key in attributes:
            if key not in self.defaults:
                known = ", ".join(self.defaults) or "none"
                raise fail(
                    UnsupportedOpError, self.name, nodes, f"no attribute {key!r}; it has: {known}"
                )

    def formula(self, attributes: dict[str, Any]) -> tuple[Expr, Derivatives]:
        """The scalar expression for given attributes, and the derivatives given by hand."""
        key = tuple((k, type(v), v) for k, v in sorted(attributes.items()))
        if key not in self._memo:
            numbers = {
                k: v if v is None or isinstance(v, str) else sympy.sympify(v)
                for k, v in attributes.items()
            }
            expr = sympy.sympify(self.function(*self.args, **numbers))
            scalar.check_language(expr, self.name)
            derivatives = tuple(
                (argument(arg), sympy.sympify(rule_call(rule, self, numbers)))
                for arg, rule in self.rules.items()
            )
            self._memo[key] = expr, derivatives
        return self._memo[key]

    def derivative(self, rule: Callable[..., Expr]) -> Callable[..., Expr]:
        """Decorator: the derivative where the derived form is not the stable one.

        The rule takes the op's operands, or `result`, by name, and its attributes by keyword. An
        op of several operands names the one it differentiates by: `def da(a, b)`; else the first.
        """
        name = rule.__name__
        arg = name[1:] if name.startswith("d") and name[1:] in self.parameters else None
        self.rules[arg or self.parameters[0]] = rule
        return rule


def rule_call(rule: Callable[..., Expr], op: Op, numbers: Mapping[str, Any]) -> Expr:
    """Call a derivative rule with what its parameters ask for."""
    known: dict[str, Any] = {**dict(zip(op.parameters, op.args, strict=True)), **numbers}
    known["result"] = RESULT
    return rule(**{p: known[p] for p in inspect.signature(rule).parameters})


@overload
def op(signature: Callable[..., Expr]) -> Op: ...


@overload
def op(
    signature: str | None = None,
    *,
    how: str = "sum",
    result: str | None = None,
    name: str | None = None,
) -> Callable[[Callable[..., Expr]], Op]: ...


def op(
    signature: str | Callable[..., Expr] | None = None,
    *,
    how: str = "sum",
    result: str | None = None,
    name: str | None = None,
) -> Op | Callable[[Callable[..., Expr]], Op]:
    """Make an op of a function from symbols to a formula.

    `@op` alone is elementwise with broadcasting; `@op("m k, k n -> m n")` gives an index signature,
    and the formula is summed (or `how`: prod max min any all argmax argmin) over every index that
    the result does not carry. `result` fixes the result's dtype. Attributes are keyword-only.
    """
    if callable(signature):
        return Op(signature, None, how, result, signature.__name__, signature.__doc__)

    def decorate(function: Callable[..., Expr]) -> Op:
        return Op(function, signature, how, result, name or function.__name__, function.__doc__)

    return decorate


@cache
def symbols(names: str) -> tuple[Symbol, ...]:
    """Operand symbols by their names, blank-separated."""
    return tuple(argument(n) for n in names.split())
