"""Other libraries that `graphc bench` compares with: the same model, built from graphc's layers.

A file a library: `prepare(work)` gives a Session, or raises Inexpressible. It is imported only when
it is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import MethodType
from typing import Any

import numpy as np

from graphc.graph.node import Node
from graphc.nn.loss import LossFunction
from graphc.nn.module import Module
from graphc.optim.optimizer import Optimizer

Array = np.ndarray[Any, Any]
PEERS = ("torch", "jax", "onnxruntime")


class Inexpressible(Exception):  # noqa: N818  # a finding, no failure
    """What the library has no equal for, by name."""


@dataclass(frozen=True)
class Work:
    """A model and what it is given: inputs in the order of forward; in training targets too."""

    model: Module
    inputs: tuple[Array, ...]
    threads: int
    targets: tuple[Array, ...] = ()
    loss: LossFunction | None = None
    optimizer: Optimizer | None = None

    @property
    def trains(self) -> bool:
        """Whether a training step is meant, not a forward pass."""
        return self.optimizer is not None


@dataclass(frozen=True)
class Session:
    """A model that is ready: a call or step, which returns when it is done, and its numbers."""

    label: str
    run: Callable[[], Any]
    values: Callable[[Any], list[Array]]


def prepare(name: str, work: Work) -> Session:
    """The model in another library. Raises Inexpressible; ImportError where it is not installed."""
    session: Session = importlib.import_module(f"graphc.cli.peers.{name}").prepare(work)
    return session


Table = dict[type[Module], Callable[[Any], Any]]


def entry(table: Table, layer: Module) -> Callable[[Any], Any] | None:
    """What a table has for a layer of graphc's; None for a class of the user's own.

    Raises Inexpressible for one of graphc's that it has not.
    """
    if not type(layer).__module__.startswith("graphc.nn."):
        return None
    for kind in type(layer).__mro__:
        if kind in table:
            return table[kind]
    raise Inexpressible(f"{type(layer).__name__} is not expressible")


class Standin:
    """A user's module whose parts are those of another library, to run its own forward on them.

    Its methods, and what else it has, are the module's.
    """

    def __init__(self, layer: Module, parts: dict[str, Any]) -> None:
        self.__dict__.update(parts)
        self.__dict__["layer"] = layer

    def __getattr__(self, name: str) -> Any:
        found = getattr(type(self.layer), name, None)
        return MethodType(found, self) if callable(found) else getattr(self.layer, name)

    def __call__(self, *inputs: Any) -> Any:
        """The user's forward. Raises Inexpressible where that needs graphc's nodes."""
        forward: Any = type(self.layer).forward
        refusal = Inexpressible(
            f"{type(self.layer).__name__}.forward is made of more than layers and operators, "
            "and is not expressible"
        )
        try:
            result = forward(self, *inputs)
        except Inexpressible:
            raise
        except Exception:
            raise refusal from None
        if isinstance(result, Node):
            raise refusal
        return result


def only(layer: Module, **wanted: object) -> None:
    """Raise Inexpressible unless options of a layer have these values."""
    for name, value in wanted.items():
        if getattr(layer, name) != value:
            kind = type(layer).__name__
            raise Inexpressible(f"{kind} with {name}={getattr(layer, name)!r} is not expressible")


def own(layer: Module) -> dict[str, Array]:
    """The values of a layer's own parameters and buffers by their names."""
    state = layer.state_dict()
    return {name: value for name, value in state.items() if "." not in name}
