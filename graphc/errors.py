"""The exceptions that graphc raises: one root and its kinds; and what refusals say."""

from __future__ import annotations

import builtins
import difflib
from collections.abc import Iterable


class GraphcError(Exception):
    """Root of every error that graphc raises on purpose."""


class ShapeError(GraphcError, ValueError):
    """The extents of the operands do not fit the operation."""


class DTypeError(GraphcError, TypeError):
    """The element types of the operands do not fit the operation."""


class UnsupportedOpError(GraphcError, NotImplementedError):
    """The operation, or this use of it, is outside what graphc can express."""


class CompileError(GraphcError, RuntimeError):
    """A stage of the compiler broke one of its own invariants, or LLVM refused its text."""


class NumericsError(GraphcError, ArithmeticError):
    """A value is NaN or infinite where a finite one is required."""


class NanError(NumericsError):
    """A call made a NaN, or found one; the state is as before the call. See debug_nans.

    `op` is the operation that made the first one, or None where an input or a variable held it:
    `holder` then has its name. `position` is its place in the result; `step` that of a sequence.
    `file`, `line`, `layer` and `derived`, whether differentiation made the operation, tell where.
    """

    op: str | None = None
    holder: str | None = None
    position: tuple[int, ...] = ()
    step: int | None = None
    file: str = ""
    line: int = 0
    layer: str = ""
    derived: bool = False


class InputError(GraphcError, ValueError):
    """An argument of a call is missing, unknown, or cannot be converted without loss."""


class InputShapeError(InputError, ShapeError):
    """An array given to a program has another shape than its input."""


class InputDTypeError(InputError, DTypeError):
    """An array given to a program cannot become its input's dtype."""


class WriteError(GraphcError, OSError):
    """The system refuses to write a file: no space, no permission, a name that cannot be."""


class IndexError(GraphcError, builtins.IndexError):
    """A label or index lies outside its bound. No memory outside the operand was touched.

    `position` is the place of the wrong number in its operand, `inputs` the program's inputs that
    this operand is made of; `axis` the name of its leading extent, such as "batch", or None where
    that is a number.
    """

    position: tuple[int, ...] = ()
    inputs: tuple[str, ...] = ()
    axis: str | None = None


def near(wanted: str, known: Iterable[str]) -> str:
    """The end of a refusal: the nearest known names, or nothing where none is near."""
    names = list(known)
    found = [name for name in names if wanted and name.startswith(wanted)][:3]
    found = found or [name for name in names if name.lower() == wanted.lower()]
    found = found or difflib.get_close_matches(wanted, names, n=3, cutoff=0.6)
    return f". Did you mean {' or '.join(map(repr, found))}?" if found else ""


def missing(use: str, package: str, extra: str) -> InputError:
    """The refusal of a use for which a library of an extra is not installed."""
    return InputError(f"{use} needs {package}: pip install 'graphc[{extra}]'")
