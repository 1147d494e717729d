"""What was derived before, kept on disk: formulas that are built again without sympy's algebra.

sympy's first answers in a process take milliseconds each, and its first sum imports a good part of
it. They are pure functions of formulas and numbers, so they are kept under those, and under the
dates of this room's sources and sympy's version.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache as cache_forever
from functools import lru_cache, wraps
from typing import Any, TypeVar, cast

import sympy

from graphc import cache
from graphc.ops.scalar import Symbol, argument, position, written

Result = TypeVar("Result")
MOST = 20_000
"""Answers that are kept; beyond them no more are added."""
LANGUAGE = ("sympy.", "graphc.ops.scalar")
"""Where the classes of a formula that can be kept come from."""
_fresh: dict[str, Any] = {}


class UnkeptError(Exception):
    """A value that cannot be written down."""


def kept(function: Callable[..., Result]) -> Callable[..., Result]:
    """Decorator: a pure function of formulas, texts and numbers whose answers are kept on disk.

    Its answer is a formula, None, or tuples of them.
    """
    home = f"{function.__module__}.{function.__qualname__}"

    @lru_cache(maxsize=4096, typed=True)
    @wraps(function)
    def answer(*args: Any) -> Result:
        return ask(f"{home}({', '.join(map(spelled, args))})", lambda: function(*args))

    return cast(Callable[..., Result], answer)


def ask(question: str, derive: Callable[[], Result]) -> Result:
    """The answer known for a question, else the one that is derived, which is then known."""
    found = table().get(question)
    if found is not None:
        return cast(Result, built(found))
    result = derive()
    with suppress(UnkeptError):
        _fresh[question] = table()[question] = plain(result)
    return result


def spelled(value: object) -> str:
    """An argument as text that tells it apart."""
    return f"({', '.join(map(spelled, value))})" if isinstance(value, tuple) else written(value)


# --- on disk --------------------------------------------------------------------------------


@cache_forever
def key() -> str:
    """Under what the answers are kept."""
    return cache.digest("known", cache.source(("ops", "types.py")), sympy.__version__)


@cache_forever
def table() -> dict[str, Any]:
    """The answers by their questions, as they were when first asked for."""
    return read()


def read() -> dict[str, Any]:
    """The answers on disk."""
    data = cache.read(key())
    try:
        found = json.loads(data) if data is not None else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def save() -> None:
    """Add to the disk what was derived since the last time."""
    if _fresh:
        found = read()
        if len(found) < MOST:
            cache.write(key(), json.dumps({**found, **_fresh}).encode())
        _fresh.clear()


# --- formulas as lists ----------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A formula as JSON can hold it. Raises UnkeptError for one that is not of the language."""
    if isinstance(value, tuple) and not isinstance(value, sympy.Basic):
        return ["tuple", *map(plain, value)]
    if value is None:
        return ["none"]
    if isinstance(value, sympy.Symbol):
        for kind, make in SYMBOLS.items():
            if value == make(value.name):
                return [kind, value.name]
        raise UnkeptError
    if isinstance(value, sympy.Rational):
        return ["number", int(value.p), int(value.q)]
    if isinstance(value, sympy.Float):
        return ["float", [int(part) for part in value._mpf_], int(value._prec)]
    home = type(value).__module__ or ""
    if not isinstance(value, sympy.Basic) or not home.startswith(LANGUAGE):
        raise UnkeptError
    return [home, type(value).__name__, *map(plain, value.args)]


SYMBOLS: dict[str, Callable[[str], Symbol]] = {
    "argument": argument,
    "position": position,
    "symbol": Symbol,
}


def built(found: list[Any]) -> Any:
    """The formula that `plain` wrote, part by part as it was: nothing is evaluated."""
    kind = found[0]
    if kind in SYMBOLS:
        return SYMBOLS[kind](found[1])
    match kind:
        case "tuple":
            return tuple(map(built, found[1:]))
        case "none":
            return None
        case "number":
            return sympy.Rational(found[1], found[2])
        case "float":
            return sympy.Float(tuple(found[1]), precision=found[2])
    function = getattr(sys.modules[kind], found[1])
    args = list(map(built, found[2:]))
    if not args or issubclass(function, sympy.Tuple):
        return function(*args)
    return function(*args, evaluate=False)
