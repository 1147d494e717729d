"""What tests of ops share: running functions of nodes, and comparing them with PyTorch's."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.autodiff import vjp
from graphc.graph.leaf import constant
from graphc.graph.node import Node, make
from graphc.graph.leaf import Input
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
    """The outputs' values where the inputs x0, x1, ... have these values."""
    return list(evaluate(outputs, {f"x{i}": a for i, a in enumerate(arrays)}))


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
    for level in range(order + 1):
        found = values(mine, given)
        assert len(found) == len(other)
        for value, tensor in zip(found, other, strict=True):
            wanted = tensor.detach().numpy()
            assert value.shape == wanted.shape, (level, value.shape, wanted.shape)
            assert value.dtype == wanted.dtype, (level, value.dtype, wanted.dtype)
            np.testing.assert_allclose(
                value, wanted, rtol=tolerance, atol=tolerance, err_msg=f"derivative {level}"
            )
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


def _several(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple | list) else [result]
