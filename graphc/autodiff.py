"""The chain rule: from nodes to the nodes of their derivatives, in the same graph, to any order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc.errors import DTypeError, ShapeError
from graphc.graph import leaf
from graphc.graph.node import Node, make
from graphc.graph.site import deriving
from graphc.ops.formula import fill
from graphc.ops.pullback import pull_back


def vjp(
    outputs: Sequence[Node], variables: Sequence[Node], cotangents: Sequence[Node]
) -> tuple[Node, ...]:
    """For each variable the sum over outputs of cotangent * d output / d variable.

    Cotangents have the types of their outputs; results those of their variables. A variable that
    the outputs do not depend on gets zeros.
    """
    for output, cotangent in zip(outputs, cotangents, strict=True):
        if cotangent.shape != output.shape:
            raise ShapeError(f"cotangent {cotangent.type} does not fit its output {output.type}")
    with deriving():
        pulled = pull_back(outputs, variables, cotangents)
        return tuple(
            fill(0, v.type) if flow is None else flow
            for v, flow in zip(variables, pulled, strict=True)
        )


def grad(output: Node, variables: Sequence[Node]) -> tuple[Node, ...]:
    """Gradients of a scalar with respect to variables (any nodes), as nodes of the same graph."""
    if output.shape != ():
        raise ShapeError(f"grad needs a scalar, not {output.type}; sum it or use graphc.vjp")
    if not output.dtype.startswith("float"):
        raise DTypeError(f"grad needs a float, not {output.type}")
    return vjp([output], variables, [leaf.constant(np.ones((), output.dtype))])


def jvp(
    outputs: Sequence[Node], variables: Sequence[Node], tangents: Sequence[Node]
) -> tuple[Node, ...]:
    """For each output the sum over variables of d output / d variable * tangent.

    By reverse mode twice: vjp is linear in its cotangent, and its transpose is jvp.
    """
    probes = [make(leaf.Input(f"probe{i}"), (), o.type) for i, o in enumerate(outputs)]
    pulled = vjp(outputs, variables, probes)
    return vjp(pulled, probes, tangents)


def hessian_vector_product(
    output: Node, variables: Sequence[Node], vectors: Sequence[Node]
) -> tuple[Node, ...]:
    """The Hessian of a scalar times vectors: the gradient's derivative in their direction."""
    return vjp(grad(output, variables), variables, vectors)
