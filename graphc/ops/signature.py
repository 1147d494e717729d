"""Signatures of ops: parsed from text, and solved for the extents of their indices.

    signature = operand ("," operand)* "->" result
    operand   = dim*                      (dims separated by blanks; none for a scalar)
    dim       = "..." | term (("+" | "-") term)*
    term      = factor ("*" factor)*
    factor    = number | index | attribute | EXTENT

An index is a name in lower case; the same name in capitals is its extent; a name that is an
attribute of the op is that number. `...` stands for any leading axes, broadcast as numpy does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from graphc.errors import ShapeError
from graphc.ops.index import Affine, Domain, Index, index
from graphc.types import Extent, Shape

Factor = int | str
Term = tuple[int, tuple[Factor, ...]]
Expression = tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """A parsed signature. A dim is None for `...`, else its terms before attributes are known."""

    reads: tuple[tuple[Expression | None, ...], ...]
    writes: tuple[Expression | None, ...]
    text: str


@cache
def parse(text: str) -> Signature:
    """Parse a signature. Raises ShapeError where the text is not one."""
    left, arrow, right = text.partition("->")
    if not arrow:
        raise ShapeError(f"signature {text!r} has no '->'")
    reads = tuple(_operand(part, text) for part in left.split(",")) if left.strip() else ()
    return Signature(reads, _operand(right, text), text)


def _operand(text: str, whole: str) -> tuple[Expression | None, ...]:
    return tuple(None if dim == "..." else _dim(dim, whole) for dim in text.split())


def _dim(text: str, whole: str) -> Expression:
    terms = []
    for sign, term in re.findall(r"([+-]?)([^+-]+)", text):
        factors: list[Factor] = []
        for factor in term.split("*"):
            if not re.fullmatch(r"\d+|[A-Za-z_]\w*", factor):
                raise ShapeError(f"cannot read {text!r} in signature {whole!r}")
            factors.append(int(factor) if factor.isdigit() else factor)
        terms.append((-1 if sign == "-" else 1, tuple(factors)))
    return tuple(terms)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A signature over given operand shapes: where it reads and writes, and its iteration space."""

    reads: tuple[Index, ...]
    writes: Index
    domain: Domain
    shape: Shape


def solve(
    signature: Signature,
    shapes: tuple[Shape, ...],
    attributes: Mapping[str, int],
    *,
    extents: Mapping[str, Extent] | None = None,
    shape: Shape | None = None,
    floor: bool = False,
    operands: Sequence[str] = (),
) -> Resolved:
    """Find every index's extent from the operands' shapes; the result's shape follows.

    `extents` gives indices that no operand determines, `shape` the result's shape where it is
    larger than what is written, `floor` lets a compound index leave a remainder unread; `operands`
    names them for errors. Raises ShapeError with the arithmetic where the shapes do not fit.
    """
    sizes = tuple((extents or {}).items())
    numbers = tuple(attributes.items())
    return _solved(signature, shapes, numbers, sizes, shape, floor, tuple(operands))


@lru_cache(maxsize=4096)
def _solved(
    signature: Signature,
    shapes: tuple[Shape, ...],
    numbers: tuple[tuple[str, int], ...],
    sizes: Domain,
    shape: Shape | None,
    floor: bool,
    operands: tuple[str, ...],
) -> Resolved:
    attributes = dict(numbers)
    if not signature.reads and len(shapes) == 1:
        signature = Signature(((),), signature.writes, signature.text)  # `->` of one scalar
    if len(shapes) != len(signature.reads):
        raise ShapeError(f"{len(signature.reads)} operands expected, {len(shapes)} given")
    known: dict[str, Extent] = dict(sizes)
    called = [*operands, *(f"operand {i}" for i in range(len(operands), len(shapes)))]
    leading = _broadcast(signature, shapes, called)
    names = [f"b{i}" for i in range(len(leading))]
    known |= dict(zip(names, leading, strict=True))
    dims = [_align(d, s, names, known) for d, s in zip(signature.reads, shapes, strict=True)]
    _extents(signature, dims, shapes, attributes, known, floor, called)

    def read(expression: Expression | Affine) -> Affine:
        return (
            expression if isinstance(expression, Affine) else _affine(expression, attributes, known)
        )

    reads = tuple(tuple(read(e) for e in operand) for operand in dims)
    written = [
        e
        for dim in signature.writes
        for e in ([index(n) for n in names] if dim is None else [read(dim)])
    ]
    writes = tuple(written)
    used: dict[str, None] = {}
    for position in (writes, *reads):
        for expression in position:
            used |= dict.fromkeys(expression.outermost)
    for name in used:
        if name not in known:
            raise ShapeError(f"no operand is read at the result's index {name}: it has no extent")
    domain = tuple((name, known[name]) for name in used)
    return Resolved(reads, writes, domain, shape or tuple(_size(e, known) for e in writes))


def _broadcast(signature: Signature, shapes: tuple[Shape, ...], called: Sequence[str]) -> Shape:
    """The extents that `...` stands for, broadcast over the operands."""
    leading: list[Extent] = []
    owner: dict[int, str] = {}
    for operand, dims, shape in zip(called, signature.reads, shapes, strict=True):
        fixed = sum(d is not None for d in dims)
        if None not in dims and len(shape) != fixed:
            raise ShapeError(f"{operand} needs a rank of {fixed}, but its shape is {_text(shape)}")
        if len(shape) < fixed:
            problem = f"{operand} needs a rank of {fixed} at least, but its shape is"
            raise ShapeError(f"{problem} {_text(shape)}")
        if None not in dims:
            continue
        at = dims.index(None)
        extra = list(shape[at : len(shape) - (fixed - at)])
        if len(extra) > len(leading):
            leading[:0] = [1] * (len(extra) - len(leading))
        for axis, extent in zip(range(-1, -len(extra) - 1, -1), reversed(extra), strict=True):
            here = f"axis {at + len(extra) + axis} of {operand}"
            if leading[axis] == 1:
                leading[axis], owner[axis] = extent, here
            elif extent not in (1, leading[axis]):
                raise ShapeError(
                    f"extents {leading[axis]} and {extent} do not broadcast: {owner[axis]} "
                    f"against {here}; they must be equal, or one of them 1"
                )
    return tuple(leading)


def _align(
    dims: tuple[Expression | None, ...], shape: Shape, names: list[str], known: Mapping[str, Extent]
) -> list[Expression | Affine]:
    """One expression per axis, `...` spelled out; a broadcast axis is read at 0."""
    aligned: list[Expression | Affine] = []
    fixed = sum(d is not None for d in dims)
    for dim in dims:
        if dim is not None:
            aligned.append(dim)
            continue
        extra = len(shape) - fixed
        at = len(aligned)
        for name, extent in zip(names[len(names) - extra :], shape[at : at + extra], strict=True):
            stretched = extent == 1 and known[name] != 1
            aligned.append(Affine() if stretched else index(name))
    return aligned


def _affine(
    expression: Expression, attributes: Mapping[str, int], known: Mapping[str, Extent]
) -> Affine:
    total = Affine()
    for sign, factors in expression:
        number, name = sign, None
        for factor in factors:
            if isinstance(factor, int):
                number *= factor
            elif factor in attributes:
                number *= int(attributes[factor])
            elif factor.isupper() or factor[0].isupper():
                extent = known.get(factor.lower())
                if not isinstance(extent, int):
                    raise ShapeError(f"the extent {factor} must be a number here, not {extent!r}")
                number *= extent
            else:
                name = factor
        total = total + (index(name) * number if name else number)
    return total


def _extents(
    signature: Signature,
    dims: list[list[Expression | Affine]],
    shapes: tuple[Shape, ...],
    attributes: Mapping[str, int],
    known: dict[str, Extent],
    floor: bool,
    called: Sequence[str],
) -> None:
    """Fill `known`: first the axes read at a plain index, then the compound ones."""
    compound: list[tuple[Expression, Extent]] = []
    owner: dict[str, str] = {}
    for name_of, operand, shape in zip(called, dims, shapes, strict=True):
        for axis, (expression, extent) in enumerate(zip(operand, shape, strict=True)):
            if isinstance(expression, Affine):
                continue
            single = len(expression) == 1 and len(expression[0][1]) == 1
            name = expression[0][1][0] if single else None
            if not isinstance(name, str) or name in attributes or expression[0][0] != 1:
                compound.append((expression, extent))
                continue
            here = f"axis {axis} of {name_of}"
            if known.setdefault(name, extent) != extent:
                first = f" ({owner[name]})" if name in owner else ""
                raise ShapeError(
                    f"index {name} has extents {known[name]}{first} and {extent} ({here}), "
                    "which must be equal"
                )
            owner.setdefault(name, here)
    for expression, extent in compound:
        names = [
            f
            for _, factors in expression
            for f in factors
            if isinstance(f, str) and f not in attributes and not f[0].isupper()
        ]
        unknown = [n for n in names if n not in known]
        if not unknown:
            continue
        if len(unknown) > 1 or not isinstance(extent, int):
            raise ShapeError(f"signature {signature.text!r} does not determine {unknown}")
        known[unknown[0]] = 1
        form = _affine(expression, attributes, known)
        known[unknown[0]] = _fit(form, unknown[0], extent, known, floor)


def _fit(form: Affine, unknown: str, size: int, known: Mapping[str, Extent], floor: bool) -> int:
    """How often an index fits so that its expression stays within an axis of `size`."""
    step = abs(form.coefficient(unknown))
    reach = form.range({**known, unknown: 1})[1] + 1
    room = size - reach
    if room < 0:
        raise ShapeError(f"a window of {reach} does not fit into {size}")
    if room % step and not floor:
        raise ShapeError(f"({size} - {reach})/{step} is not a whole number")
    return room // step + 1


def _size(expression: Affine, known: Mapping[str, Extent]) -> Extent:
    """The extent of an axis written at an expression: its largest value plus one."""
    if expression.plain is not None:
        return known[expression.plain]
    for name in expression.names:
        if not isinstance(known[name], int):
            raise ShapeError(f"index {name} of run-time extent {known[name]!r} must stand alone")
        if known[name] == 0:
            return 0
    return expression.range(known)[1] + 1


def _text(shape: Shape) -> str:
    return f"({', '.join(map(str, shape))})"
