"""What tests of ops share: running functions of nodes, and comparing them with PyTorch's."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import graphc
from graphc.autodiff import vjp
from graphc.graph.leaf import Input, constant
from graphc.graph.node import Node, make
from graphc.ops.reference import evaluate
from graphc.types import TensorType

Array = np.ndarray[Any, Any]


def random(*shape: int, seed: int = 0) -> Array:
    """Normal float64 numbers, the same ones for the same shape and seed."""
    key = zlib.crc32(repr((shape, seed)).encode())
    return np.random.default_rng(key).standard_normal(shape)


def nodes(arrays: Sequence[Array]) -> list[Node]:
    """An input x0, x1, ... of each array's type."""
    return [
        make(Input(f"x{i}"), (), TensorType(str(a.dtype), a.shape)) for i, a in enumerate(arrays)
    ]


def values(outputs: Sequence[Node], arrays: Sequence[Array]) -> list[Array]:
    """The outputs' values where the inputs x0, x1, ... have these values, by the oracle."""
    return list(evaluate(outputs, {f"x{i}": a for i, a in enumerate(arrays)}))


def native(outputs: Sequence[Node], arrays: Sequence[Array]) -> list[Array]:
    """As `values`, compiled."""
    program = graphc.compile(outputs)
    given = {f"x{i}": a for i, a in enumerate(arrays)}
    return list(program(**{node.op.name: given[node.op.name] for node in program.inputs}))


def run(function: Callable[..., Any], *arrays: Any) -> Any:
    """A function of nodes applied to arrays; a tuple where it gives one."""
    given = [np.asarray(a) for a in arrays]
    result = function(*nodes(given))
    if isinstance(result, Node):
        return values([result], given)[0]
    return tuple(values(list(result), given))


def same(
    torch: Any,
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    *arrays: Any,
    order: int = 2,
    tolerance: float = 1e-10,
) -> None:
    """Assert that values, and derivatives up to `order`, equal PyTorch's in float64.

    Every derivative is that of the one before times fixed numbers, with respect to all arrays of
    floats.
    """
    given = [np.asarray(a) for a in arrays]
    inputs = nodes(given)
    mine = _several(ours(*inputs))
    tensors = [torch.tensor(a, requires_grad=a.dtype == np.float64) for a in given]
    other = _several(theirs(*tensors))
    floats = [i for i, a in enumerate(given) if a.dtype == np.float64]
    compiled: list[tuple[Node, Array]] = []
    for level in range(order + 1):
        found = values(mine, given)
        assert len(found) == len(other)
        for node, value, tensor in zip(mine, found, other, strict=True):
            wanted = tensor.detach().numpy()
            alike(value, wanted, f"derivative {level}", tolerance)
            compiled += [(node, wanted)] if level < 2 else []
        if level == min(order, 1):  # values and gradients are one program
            for value, (_, wanted) in zip(
                native([n for n, _ in compiled], given), compiled, strict=True
            ):
                alike(value, wanted, "native code", tolerance)
        if level == order:
            return
        weights = [random(*v.shape, seed=k + 10 * level) for k, v in enumerate(found)]
        mine = list(
            vjp(mine, [inputs[i] for i in floats], [constant(w, "float64") for w in weights])
        )
        loss = sum(((o * torch.tensor(w)).sum() for o, w in zip(other, weights, strict=True)))
        if not getattr(loss, "requires_grad", False):
            other = [torch.zeros_like(tensors[i]) for i in floats]
            continue
        grads = torch.autograd.grad(
            loss, [tensors[i] for i in floats], create_graph=True, allow_unused=True
        )
        other = [
            torch.zeros_like(tensors[i]) if g is None else g
            for i, g in zip(floats, grads, strict=True)
        ]


def alike(value: Array, wanted: Array, what: str, tolerance: float) -> None:
    """Assert equal types and shapes, and numbers within a tolerance."""
    assert value.shape == wanted.shape, (what, value.shape, wanted.shape)
    assert value.dtype == wanted.dtype, (what, value.dtype, wanted.dtype)
    np.testing.assert_allclose(value, wanted, rtol=tolerance, atol=tolerance, err_msg=what)


def _several(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple | list) else [result]


def single(
    torch: Any,
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    *arrays: Any,
    tolerance: float = 2e-5,
) -> None:
    """Assert that value and gradient equal PyTorch's in float32."""
    given = [np.asarray(a) for a in arrays]
    given = [a.astype(np.float32) if a.dtype == np.float64 else a for a in given]
    inputs = nodes(given)
    result = ours(*inputs)
    floats = [i for i, a in enumerate(given) if a.dtype == np.float32]
    weight = random(*result.shape).astype(np.float32)
    gradients = vjp([result], [inputs[i] for i in floats], [constant(weight)])
    tensors = [torch.tensor(a, requires_grad=a.dtype == np.float32) for a in given]
    other = theirs(*tensors)
    wanted = [other]
    if other.requires_grad:
        wanted += torch.autograd.grad(
            other, [tensors[i] for i in floats], torch.tensor(weight), allow_unused=True
        )
    for value, tensor in zip(native([result, *gradients], given), wanted, strict=False):
        expected = 0 if tensor is None else tensor.detach().numpy()
        assert value.dtype == getattr(expected, "dtype", value.dtype)
        np.testing.assert_allclose(value, expected, rtol=tolerance, atol=tolerance)


def central_differences(
    function: Callable[..., Node], *arrays: Any, order: int = 2, tolerance: float = 1e-6
) -> None:
    """Assert that derivatives up to `order` equal the central differences of the one before.

    In float64, along a random direction, each derivative times fixed random numbers.
    """
    given = [np.asarray(a, np.float64) for a in arrays]
    inputs = nodes(given)
    directions = [random(*a.shape, seed=7) for a in given]
    step = 1e-5
    outputs = [function(*inputs)]
    for level in range(order):
        weights = [random(*map(int, o.shape), seed=level) for o in outputs]
        gradients = vjp(outputs, inputs, [constant(w, "float64") for w in weights])

        def along(sign: float, outputs: Any = outputs, weights: Any = weights) -> float:
            moved = [a + sign * step * d for a, d in zip(given, directions, strict=True)]
            found = values(outputs, moved)
            return float(sum((f * w).sum() for f, w in zip(found, weights, strict=True)))

        slope = (along(1) - along(-1)) / (2 * step)
        found = values(gradients, given)
        derived = float(sum((g * d).sum() for g, d in zip(found, directions, strict=True)))
        np.testing.assert_allclose(derived, slope, rtol=tolerance, atol=tolerance)
        outputs = list(gradients)
