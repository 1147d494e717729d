"""Ops from Python functions: `@op` makes one of a function from symbols to a formula."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, overload
from weakref import WeakValueDictionary

import numpy as np
import sympy

from graphc.errors import DTypeError, ShapeError, UnsupportedOpError
from graphc.graph.node import Node
from graphc.graph.site import here
from graphc.ops import numeric
from graphc.ops.chain import RESULT
from graphc.ops.compose import shortened
from graphc.ops.formula import KINDS, Derivatives
from graphc.ops.known import ask
from graphc.ops.make import ELEMENTWISE, apply, as_nodes, fail
from graphc.ops.scalar import Expr, argument
from graphc.types import dtype_name, whole

OWN = "graphc.ops."
ATTRIBUTES = (bool, int, float, str, type(None), np.bool_, np.integer, np.floating, sympy.Basic)


@dataclass(repr=False)
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
        self.__name__ = self.name
        self.__module__ = self.function.__module__
        self.__signature__ = public_signature(self.function)
        self._memo: dict[Any, tuple[Expr, Derivatives]] = {}
        self._made: WeakValueDictionary[Any, Node] = WeakValueDictionary()

    def __repr__(self) -> str:
        return f"{self.name}{self.__signature__}"

    def __call__(self, *operands: Any, **attributes: Any) -> Node:
        """Apply to nodes, arrays or numbers. Keywords are the op's attributes.

        Nodes are interned: what was made of these very nodes before is returned without deriving
        it again.
        """
        nodes = as_nodes(operands)
        self.check(nodes, attributes)
        attributes = {**self.defaults, **{k: whole(v) for k, v in attributes.items()}}
        key = (*map(id, nodes), *((k, type(v), v) for k, v in attributes.items()))
        made = self._made.get(key)
        if made is not None:
            return made
        expr, derivatives = self.formula(attributes)
        node = apply(
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
        short = shortened(node)
        if short is node:  # it keeps its operands, so that no other node comes to have their ids
            self._made[key] = node
        return short

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
        for key, default in self.defaults.items():
            value = attributes.get(key, default)
            if value is inspect.Parameter.empty:
                raise fail(UnsupportedOpError, self.name, nodes, f"needs the attribute {key!r}")
            if not isinstance(value, ATTRIBUTES):
                problem = (
                    f"the attribute {key!r} must be a number or text, not {type(value).__name__}; "
                    "what is known when the program runs is an operand"
                )
                raise fail(UnsupportedOpError, self.name, nodes, problem)

    def formula(self, attributes: dict[str, Any]) -> tuple[Expr, Derivatives]:
        """The scalar expression for given attributes, and the derivatives given by hand."""
        key = tuple((k, type(v), v) for k, v in sorted(attributes.items()))
        if key not in self._memo:
            self._memo[key] = self.derived(attributes)
        return self._memo[key]

    def derived(self, attributes: dict[str, Any]) -> tuple[Expr, Derivatives]:
        """The same. That of an op of graphc's own is kept: its source is part of the key."""
        function = self.function
        home, name = function.__module__, function.__qualname__
        if not home.startswith(OWN) or "<" in name or function.__closure__:
            return self.made(attributes)
        numbers = repr(sorted(attributes.items()))
        return ask(f"{home}.{name}{numbers}", lambda: self.made(attributes))

    def made(self, attributes: dict[str, Any]) -> tuple[Expr, Derivatives]:
        """The same, from what the functions make of symbols and numbers."""
        numbers = {
            k: v if v is None or isinstance(v, str) else sympy.sympify(v)
            for k, v in attributes.items()
        }
        expr = self.traced(self.function, *self.args, **numbers)
        derivatives = tuple(
            (argument(arg), self.traced(rule_call, rule, self, numbers))
            for arg, rule in self.rules.items()
        )
        return expr, derivatives

    def traced(self, function: Callable[..., Any], *args: Any, **numbers: Any) -> Expr:
        """What a formula or a derivative makes of symbols. Raises UnsupportedOpError."""
        try:
            expr = sympy.sympify(function(*args, **numbers))
        except (TypeError, ValueError, AttributeError, sympy.SympifyError) as error:
            problem = (
                f"the formula must be made of sympy's functions of symbols, with sympy.Piecewise "
                f"for branches, not Python's if, math's or numpy's functions: {error}"
            )
            raise fail(UnsupportedOpError, self.name, [], problem) from error
        if not isinstance(expr, sympy.Basic):
            raise fail(UnsupportedOpError, self.name, [], f"the formula gives {expr!r}, no number")
        names = {*self.parameters, RESULT.name, *re.findall(r"[a-z_]\w*", self.signature or "")}
        for symbol in expr.free_symbols:
            if symbol.name not in names:
                problem = f"the formula reads {symbol.name!r}, which is no operand"
                raise fail(UnsupportedOpError, self.name, [], problem)
        strange = numeric.outside(expr)
        if strange:
            raise fail(UnsupportedOpError, self.name, [], strange)
        return expr

    def derivative(self, rule: Callable[..., Expr]) -> Callable[..., Expr]:
        """Decorator: the derivative where the derived form is not the stable one.

        The rule takes the op's operands, or `result`, by name, and its attributes by keyword. An
        op of several operands names the one it differentiates by: `def da(a, b)`; else the first.
        """
        name = rule.__name__
        arg = name[1:] if name.startswith("d") and name[1:] in self.parameters else None
        self.rules[arg or self.parameters[0]] = rule
        return rule


def public_signature(function: Callable[..., Expr]) -> inspect.Signature:
    """How the op made of a formula is called: operands by position, attributes by keyword."""
    shown = []
    for p in inspect.signature(function).parameters.values():
        operand = p.kind is not inspect.Parameter.KEYWORD_ONLY
        kind = inspect.Parameter.POSITIONAL_ONLY if operand else p.kind
        typed = inspect.Parameter.empty if p.default is p.empty else type(p.default)
        shown.append(p.replace(kind=kind, annotation=Any if operand else typed))
    return inspect.Signature(shown, return_annotation=Node)


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
    if how not in KINDS:
        raise UnsupportedOpError(f"op: how={how!r}; there are {', '.join(KINDS)}{here()}")
    try:
        result = None if result is None else dtype_name(result)
    except DTypeError as error:
        raise DTypeError(f"op: result: {error}{here()}") from None
    if callable(signature):
        return Op(signature, None, how, result, signature.__name__, signature.__doc__)

    def decorate(function: Callable[..., Expr]) -> Op:
        return Op(function, signature, how, result, name or function.__name__, function.__doc__)

    return decorate
