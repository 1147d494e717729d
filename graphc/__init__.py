"""graphc: declare a network as a static graph, differentiate it, compile it, look inside.

The public names are re-exported here, each imported when it is first used, so that
`import graphc` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphc import data, errors, metrics, nn, ops, optim, train
    from graphc.autodiff import grad, hessian_vector_product, jvp, vjp
    from graphc.compiler import compile
    from graphc.errors import (
        CompileError,
        DTypeError,
        GraphcError,
        IndexError,
        InputError,
        NanError,
        NumericsError,
        ShapeError,
        UnsupportedOpError,
    )
    from graphc.explorer.explore import explore
    from graphc.explorer.live import Live
    from graphc.graph.graph import Graph
    from graphc.graph.leaf import constant, input, parameter
    from graphc.graph.node import Node
    from graphc.graph.site import layer
    from graphc.inspect.networks import to_networkx
    from graphc.ops.op import op
    from graphc.ops.random import seed
    from graphc.ops.reference import evaluate
    from graphc.ops.scan import scan
    from graphc.runtime.program import Program
    from graphc.train.step import compile_train_step
    from graphc.train.trainer import Trainer
    from graphc.tuning.tune import tune
    from graphc.types import TensorType

__version__ = "0.1.0"

_HOMES = {
    "graphc.autodiff": ("grad", "hessian_vector_product", "jvp", "vjp"),
    "graphc.compiler": ("compile",),
    "graphc.runtime.program": ("Program",),
    "graphc.errors": (
        "CompileError",
        "DTypeError",
        "GraphcError",
        "IndexError",
        "InputError",
        "NanError",
        "NumericsError",
        "ShapeError",
        "UnsupportedOpError",
    ),
    "graphc.explorer.explore": ("explore",),
    "graphc.explorer.live": ("Live",),
    "graphc.graph.graph": ("Graph",),
    "graphc.graph.leaf": ("constant", "input", "parameter"),
    "graphc.graph.node": ("Node",),
    "graphc.graph.site": ("layer",),
    "graphc.inspect.networks": ("to_networkx",),
    "graphc.ops.op": ("op",),
    "graphc.ops.random": ("seed",),
    "graphc.ops.reference": ("evaluate",),
    "graphc.ops.scan": ("scan",),
    "graphc.train.step": ("compile_train_step",),
    "graphc.train.trainer": ("Trainer",),
    "graphc.tuning.tune": ("tune",),
    "graphc.types": ("TensorType",),
}
_PACKAGES = ("data", "errors", "metrics", "nn", "ops", "optim", "train")
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [*_HOME, *_PACKAGES, "__version__"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for; any op is a name of the package too."""
    if name in _PACKAGES:
        return importlib.import_module(f"graphc.{name}")
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
    elif name.startswith("_"):
        raise AttributeError(f"module 'graphc' has no attribute {name!r}")
    else:
        ops = importlib.import_module("graphc.ops")
        if name not in getattr(ops, "__all__", ()):
            raise AttributeError(f"module 'graphc' has no attribute {name!r}")
        value = getattr(ops, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
