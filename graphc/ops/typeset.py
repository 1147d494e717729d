"""Formulas as MathML: an op as one equation over its indices, and its derivatives step by step."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from xml.dom.minidom import parseString

from sympy.printing.mathml import MathMLPresentationPrinter

from graphc.errors import UnsupportedOpError
from graphc.graph.leaf import input as declare
from graphc.graph.node import Node
from graphc.ops.chain import RESULT, slope
from graphc.ops.formula import KINDS, Formula
from graphc.ops.index import Affine, Index, Lookup
from graphc.ops.scalar import Expr, Symbol

OPERATORS = {"sum": "∑", "prod": "∏", "any": "\N{N-ARY LOGICAL OR}", "all": "⋀"}
"""How a reduction is written before its formula; another one by its name."""
MINUS = "\N{MINUS SIGN}"
Places = Mapping[Symbol, str]


@dataclass(frozen=True)
class Step:
    """One line of a derivation: what is done, and what there is then, as MathML and as text."""

    title: str
    mathml: str
    text: str


@dataclass(frozen=True)
class Derivation:
    """How the cotangent of one operand comes about. No steps: nothing flows to it."""

    operand: str
    steps: tuple[Step, ...]


def equation(op: object) -> str:
    """The op's whole definition: result[writes] = sum over indices of its formula; "" for others.

    Operands stand in it with the indices at which they are read.
    """
    return _equation(op) if isinstance(op, Formula) else ""


def derivations(node: Node) -> tuple[Derivation, ...]:
    """For each operand of a node: the slope of its formula, the chain rule, the derived op."""
    op = node.op
    if not isinstance(op, Formula):
        return ()
    return tuple(Derivation(str(a), _steps(op, i, node)) for i, a in enumerate(op.args))


def _steps(op: Formula, position: int, node: Node) -> tuple[Step, ...]:
    """What differentiating by one operand does."""
    arg = op.args[position]
    places = dict(zip(op.args, (subscript(op, read) for read in op.reads), strict=True))
    cotangent = declare("grad", node.shape, node.dtype)
    try:
        back = op.vjp(position, cotangent, node)
    except UnsupportedOpError as error:
        return (Step("cannot be differentiated", f"<mtext>{html.escape(str(error))}</mtext>", ""),)
    if back is None or not isinstance(back.op, Formula):
        return ()
    given = dict(op.derivatives).get(arg)
    local = slope(op.expr, arg, given)
    title = "the slope of the formula" if given is None else "the slope, as the op states it"
    fraction = f"<mfrac><mrow><mi>∂</mi>{printed(op.expr, {})}</mrow><mrow><mi>∂</mi>{name(arg)}"
    fraction += "</mrow></mfrac>"
    first = row(fraction, operator("="), printed(local, {}))
    flow = printed(back.op.expr, {**places, **whereabouts(back.op)})
    factor = "times what flows in, at the index it is read at"
    if RESULT in back.op.expr.free_symbols:
        factor += "; through the result, which is at hand"
    return (
        Step(title, math(first), str(local)),
        Step(factor, math(flow), str(back.op.expr)),
        Step(
            f"over the same loops, written where {arg} was read: the op {back.op.name}",
            _equation(back.op, f"∂{arg}"),
            back.op.describe(),
        ),
    )


def whereabouts(op: Formula) -> dict[Symbol, str]:
    """The subscripts of an op's operands."""
    return {a: subscript(op, read) for a, read in zip(op.args, op.reads, strict=True)}


@lru_cache(maxsize=4096)
def _equation(op: Formula, result: str = "result") -> str:
    left = subscripted(f"<mi>{html.escape(result)}</mi>", subscript(op, op.writes))
    sign = "=" if op.plain or op.pointwise else KINDS[op.how]
    formula = printed(op.expr, whereabouts(op))
    if op.summed or op.how not in ("sum", "prod"):
        over = row(*commas([f"<mi>{html.escape(i)}</mi>" for i in op.summed]))
        formula = row(reduction(op.how, over), formula)
    return math(row(left, operator(sign), formula))


def reduction(how: str, over: str) -> str:
    """The sign of a reduction with the indices that it runs over below it."""
    sign = OPERATORS.get(how)
    base = operator(sign) if sign else f"<mi>{how}</mi>"
    return f"<munder>{base}{over}</munder>"


def subscript(op: Formula, position: Index) -> str:
    """An index tuple as what stands below a letter."""
    shown = []
    for place in position:
        match place:
            case Affine():
                shown.append(affine(place))
            case Lookup():
                arg = op.args[place.operand]
                shown.append(subscripted(name(arg), subscript(op, op.reads[place.operand])))
    return row(*commas(shown)) if shown else ""


def affine(place: Affine) -> str:
    """An index expression: 2h + r."""
    parts: list[str] = []
    for letter, factor in place.terms:
        if parts or factor < 0:
            parts.append(operator(MINUS if factor < 0 else "+"))
        if abs(factor) != 1:
            parts.append(f"<mn>{abs(factor)}</mn>")
        parts.append(f"<mi>{html.escape(letter)}</mi>")
    if place.constant or not parts:
        if parts or place.constant < 0:
            parts.append(operator(MINUS if place.constant < 0 else "+"))
        parts.append(f"<mn>{abs(place.constant)}</mn>")
    return row(*parts)


# --- MathML -----------------------------------------------------------------------------------


def math(content: str) -> str:
    """A formula that stands by itself."""
    return f'<math display="block">{content}</math>'


def row(*parts: str) -> str:
    """Things beside each other."""
    return parts[0] if len(parts) == 1 else f"<mrow>{''.join(parts)}</mrow>"


def operator(sign: str) -> str:
    """A sign."""
    return f"<mo>{html.escape(sign)}</mo>"


def commas(parts: list[str]) -> list[str]:
    """Things with commas between them."""
    found: list[str] = []
    for part in parts:
        found += [operator(","), part] if found else [part]
    return found


def subscripted(base: str, below: str) -> str:
    """A letter with indices."""
    return f"<msub>{base}{below}</msub>" if below else base


def name(symbol: Symbol) -> str:
    """A symbol by its name, whole."""
    return f"<mi>{html.escape(symbol.name)}</mi>"


def printed(expr: Expr, places: Places) -> str:
    """A scalar formula, its operands with their subscripts."""
    text: str = Typesetter(places)._print(expr).toxml()
    text = re.sub(r"&(?:amp;)?InvisibleTimes;", "·", text)
    return re.sub(r"&(?:amp;)?([A-Z]\w+);", lambda found: html.unescape(f"&{found[1]};"), text)


class Typesetter(MathMLPresentationPrinter):  # type: ignore[misc]  # sympy has no types
    """sympy's printer with operands at their indices, and branches as a list of cases."""

    def __init__(self, places: Places) -> None:
        super().__init__()
        self.places = places

    def element(self, tag: str, *children: Any, text: str = "") -> Any:
        """An element with children or a text."""
        made = self.dom.createElement(tag)
        for child in children:
            made.appendChild(child)
        if text:
            made.appendChild(self.dom.createTextNode(text))
        return made

    def _print_Symbol(self, symbol: Symbol, style: str = "plain") -> Any:  # noqa: N802  # sympy's
        letter = self.element("mi", text=symbol.name)
        below = self.places.get(symbol, "")
        if not below:
            return letter
        return self.element("msub", letter, parseString(below).documentElement)

    def _print_Piecewise(self, expr: Expr) -> Any:  # noqa: N802  # sympy's name
        rows = [
            self.element(
                "mtr",
                self.element("mtd", self._print(value)),
                self.element("mtd", *self.condition(where)),
            )
            for value, where in expr.args
        ]
        brace = self.element("mo", text="{")
        return self.element("mrow", brace, self.element("mtable", *rows))

    def condition(self, where: Expr) -> list[Any]:
        """When a branch is taken."""
        if where == True:  # noqa: E712  # sympy's truth, which is no bool
            return [self.element("mtext", text="otherwise")]
        return [self.element("mtext", text="if\u00a0"), self._print(where)]

    def _print_Equality(self, expr: Expr) -> Any:  # noqa: N802  # sympy's name
        parts = [self._print(expr.lhs), self.element("mo", text="="), self._print(expr.rhs)]
        return self.element("mrow", *parts)
