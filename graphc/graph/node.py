"""The node: one immutable value of the graph, interned so that equal nodes are the same object."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable
from weakref import WeakValueDictionary

from graphc.graph.site import Site, current_site
from graphc.types import Extent, TensorType


@runtime_checkable
class Operation(Protocol):
    """What a node needs of its operation. Operations are values: equal ones are interchangeable."""

    @property
    def name(self) -> str:
        """The operation's name in the printed graph."""

    def describe(self) -> str:
        """The operation's mathematics as text, shown to the right of the node's type."""

    def vjp(self, position: int, cotangent: Node, node: Node) -> Node | None:
        """The cotangent of operand `position`, or None where nothing flows."""


Overload = Callable[..., "Node"]
operators: dict[str, Overload] = {}
"""Python's operator slots on nodes, and the property T, filled in by the dictionary of ops."""


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Node:
    """One value: an operation applied to operands. Make nodes with `make`, which interns them."""

    op: Operation
    inputs: tuple[Node, ...]
    type: TensorType
    site: Site

    __array_ufunc__ = None  # numpy leaves `array * node` to the node

    @property
    def shape(self) -> tuple[Extent, ...]:
        """Extents, numbers or names."""
        return self.type.shape

    @property
    def dtype(self) -> str:
        """Element type's name."""
        return self.type.dtype

    @property
    def T(self) -> Node:  # noqa: N802  # its name in numpy and torch
        """The node of two axes with its axes exchanged. Raises ShapeError for other ranks."""
        return operators["T"](self)

    def __repr__(self) -> str:
        return f"<{self.op.name} : {self.type}>"

    def __add__(self, other: Any) -> Node:
        return operators["__add__"](self, other)

    def __radd__(self, other: Any) -> Node:
        return operators["__add__"](other, self)

    def __sub__(self, other: Any) -> Node:
        return operators["__sub__"](self, other)

    def __rsub__(self, other: Any) -> Node:
        return operators["__sub__"](other, self)

    def __mul__(self, other: Any) -> Node:
        return operators["__mul__"](self, other)

    def __rmul__(self, other: Any) -> Node:
        return operators["__mul__"](other, self)

    def __truediv__(self, other: Any) -> Node:
        return operators["__truediv__"](self, other)

    def __rtruediv__(self, other: Any) -> Node:
        return operators["__truediv__"](other, self)

    def __floordiv__(self, other: Any) -> Node:
        return operators["__floordiv__"](self, other)

    def __rfloordiv__(self, other: Any) -> Node:
        return operators["__floordiv__"](other, self)

    def __mod__(self, other: Any) -> Node:
        return operators["__mod__"](self, other)

    def __rmod__(self, other: Any) -> Node:
        return operators["__mod__"](other, self)

    def __pow__(self, other: Any) -> Node:
        return operators["__pow__"](self, other)

    def __rpow__(self, other: Any) -> Node:
        return operators["__pow__"](other, self)

    def __matmul__(self, other: Any) -> Node:
        return operators["__matmul__"](self, other)

    def __rmatmul__(self, other: Any) -> Node:
        return operators["__matmul__"](other, self)

    def __neg__(self) -> Node:
        return operators["__neg__"](self)

    def __abs__(self) -> Node:
        return operators["__abs__"](self)

    def __invert__(self) -> Node:
        return operators["__invert__"](self)

    def __and__(self, other: Any) -> Node:
        return operators["__and__"](self, other)

    def __or__(self, other: Any) -> Node:
        return operators["__or__"](self, other)

    def __xor__(self, other: Any) -> Node:
        return operators["__xor__"](self, other)

    def __lt__(self, other: Any) -> Node:
        return operators["__lt__"](self, other)

    def __le__(self, other: Any) -> Node:
        return operators["__le__"](self, other)

    def __gt__(self, other: Any) -> Node:
        return operators["__gt__"](self, other)

    def __ge__(self, other: Any) -> Node:
        return operators["__ge__"](self, other)

    def __getitem__(self, item: Any) -> Node:
        return operators["__getitem__"](self, item)

    def __bool__(self) -> bool:
        raise TypeError(
            "a node has no truth value before the program runs; use graphc.where(condition, a, b)"
        )

    def __iter__(self) -> Any:
        raise TypeError("a node is not iterable; use graphc.unstack(x, axis=0)")


_interned: WeakValueDictionary[tuple[object, ...], Node] = WeakValueDictionary()
_lock = threading.RLock()  # a signal handler may make nodes while its own thread makes one
atexit.register(_interned.clear)


def unlock() -> None:
    """In a child of fork() no other thread makes a node."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=unlock)


def make(op: Operation, inputs: tuple[Node, ...], type: TensorType) -> Node:
    """The node of `op` applied to `inputs`; an equal one made before is returned as it is.

    Equal operations may have been given other derivatives: then they make other nodes.
    """
    key = (op, getattr(op, "derivatives", ()), tuple(map(id, inputs)), type)
    with _lock:
        node = _interned.get(key)
        if node is None:
            node = _interned.setdefault(key, Node(op, inputs, type, current_site()))
    return node
