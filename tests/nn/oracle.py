"""Holding a layer to torch's: the same state, values and gradients in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import graphc
from graphc import nn, ops
from graphc.nn.trace import nodes_of, parameters, traced

Array = np.ndarray[Any, Any]


def draw(*shape: int, seed: int = 0) -> Array:
    """Normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape)


def run(model: nn.Module, inputs: Sequence[Array], *, training: bool = False) -> list[Array]:
    """What the model gives, then the gradients of the weighted sum of its first result.

    By its float inputs and by its parameters in order; running statistics are updated.
    """
    taken = [p.name for p in parameters(model) if p.kind is not p.VAR_POSITIONAL]
    names = taken[: len(inputs)] or [f"x{i}" for i in range(len(inputs))]
    specs = {n: (a.shape, a.dtype.name) for n, a in zip(names, inputs, strict=True)}
    nodes = {n: graphc.input(n, *spec) for n, spec in specs.items()}
    result, trace = traced(model, nodes, training=training)
    outputs = nodes_of(result)
    weights = draw(*map(int, outputs[0].shape), seed=9)
    value = ops.sum(outputs[0] * weights)
    wanted = [n for n in nodes.values() if n.dtype.startswith("float")]
    wanted += [p.node for p in model.parameters()]
    roots = [*outputs, *graphc.grad(value, wanted)]
    given = dict(zip(names, inputs, strict=True))
    expected = graphc.evaluate(roots, given)
    program = graphc.compile(roots, trace.updates)
    found = program(**{n.op.name: given[n.op.name] for n in program.inputs})
    for mine, reference in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, reference, rtol=1e-9, atol=1e-9)
    return list(found)


def compare(
    torch: Any,
    ours: nn.Module,
    theirs: Any,
    *inputs: Array,
    training: bool = False,
    tolerance: float = 1e-9,
) -> None:
    """Give ours their state, and hold results, gradients and buffers to theirs."""
    ours.double()
    theirs.double()
    ours.load_state_dict(theirs.state_dict())
    theirs.train(training)
    tensors = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in inputs]
    result = theirs(*tensors)
    flat = flatten(torch, result)
    (flat[0] * torch.tensor(draw(*flat[0].shape, seed=9))).sum().backward()
    wanted = flat + [t.grad for t in tensors if t.requires_grad]
    wanted += [p.grad for p in theirs.parameters()]
    found = run(ours, inputs, training=training)
    assert len(found) == len(wanted)
    for mine, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(
            mine, other.detach().numpy(), rtol=tolerance, atol=tolerance, strict=True
        )
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[name], value.numpy(), rtol=tolerance)


def flatten(torch: Any, result: Any) -> list[Any]:
    """The tensors of a result, nested tuples in order."""
    if isinstance(result, torch.Tensor):
        return [result]
    return [] if result is None else [t for part in result for t in flatten(torch, part)]
