"""A training for the page: its curves, and the values and gradients of its parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from graphc.autodiff import grad
from graphc.compiler import compile
from graphc.explorer.nodes import Numbers
from graphc.graph.leaf import Variable
from graphc.graph.node import Node
from graphc.runtime.program import Program
from graphc.train.history import History

Array = np.ndarray[Any, Any]
BINS = 40
LOSS = "loss"


def training(
    numbers: Numbers,
    history: History | None,
    gradients: Mapping[str, Array],
    said: str,
    values: Mapping[str, Array] | None = None,
) -> dict[str, Any]:
    """The curves of a history, and a histogram of each parameter and of its gradient by name.

    `said` tells of what batch the gradients are. `values` are those of the parameters by name, or
    a part of them; otherwise what their cells hold.
    """
    names = history.names if history is not None else []
    found = []
    for node in trained(numbers.stages.source.variables()):
        assert isinstance(node.op, Variable)
        name = node.op.name
        entry = {"name": name, "shape": str(node.type), "nodes": numbers.of([node])}
        entry |= described(node.op.cell.value if values is None else values[name])
        if name in gradients:
            slope = described(gradients[name])
            entry["gradient"] = slope["values"] | {"deviation": slope["deviation"]}
        found.append(entry)
    return {
        "epochs": list(history.epochs) if history is not None else [],
        "curves": {name: [finite(v) for v in history[name]] for name in names} if history else {},
        "parameters": found,
        "gradients": said if gradients else "",
    }


def trained(variables: tuple[Node, ...]) -> list[Node]:
    """The variables that are trained."""
    return [v for v in variables if isinstance(v.op, Variable) and v.op.cell.trainable]


def described(array: Array) -> dict[str, Any]:
    """Mean, deviation and a histogram of the finite values of an array."""
    values = np.asarray(array, np.float64).ravel()
    values = values[np.isfinite(values)]
    if not values.size:
        return {"mean": 0.0, "deviation": 0.0, "values": {"counts": [0], "low": 0.0, "high": 0.0}}
    low, high = float(values.min()), float(values.max())
    span = (low, high) if high > low else (low - 0.5, high + 0.5)
    counts, _ = np.histogram(values, BINS, span)
    shape = {"counts": counts.tolist(), "low": span[0], "high": span[1]}
    return {"mean": float(values.mean()), "deviation": float(values.std()), "values": shape}


def finite(value: float) -> float | None:
    """A number as JSON has it; None for what it has not."""
    return float(value) if math.isfinite(value) else None


def gradients(program: Program) -> Program | None:
    """A program of the gradient of a step's loss by each of its parameters, by name.

    None where the step has no loss of that name, or it depends on no parameter.
    """
    source = program.source
    if LOSS not in source.names or not source.updates:
        return None
    loss = source.outputs[source.names.index(LOSS)]
    below = [v for v in trained(source.variables()) if v in source.nodes]
    found = grad(loss, below) if below else []
    if not found:
        return None
    named = {v.op.name: g for v, g in zip(below, found, strict=True)}
    return compile(named, threads=program.threads)
