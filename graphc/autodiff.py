"""The chain rule: from nodes to the nodes of their derivatives, in the same graph, to any order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from graphc.errors import DTypeError, InputError, ShapeError
from graphc.graph import leaf
from graphc.graph.node import Node, make
from graphc.graph.site import deriving
from graphc.ops.make import as_node, fail, fill
from graphc.ops.pullback import pull_back
from graphc.types import is_float

Nodes = Node | Iterable[Node]


def vjp(outputs: Nodes, variables: Nodes, cotangents: Any) -> tuple[Node, ...]:
    """For each variable the sum over outputs of cotangent * d output / d variable.

    `outputs` and `variables` are nodes, or one node each; `cotangents` are as many nodes or arrays
    as there are outputs, of their types. The result is a tuple, of the variables' types, also for
    one variable; zeros for one that the outputs do not depend on. Raises InputError where the
    lengths differ, DTypeError for a variable that is no float, ShapeError and DTypeError where a
    cotangent does not fit its output.
    """
    outputs = _nodes("vjp", "outputs", outputs)
    variables = _floats("vjp", variables)
    return _vjp(outputs, variables, _paired("vjp", "cotangent", cotangents, "output", outputs))


def grad(output: Node, variables: Nodes) -> tuple[Node, ...]:
    """Gradients of a scalar with respect to variables (any nodes), as nodes of the same graph.

    `variables` is one node or several; the result is a tuple in both cases, of the variables'
    types. Raises ShapeError for an output that is no scalar, DTypeError for what is no float.
    """
    (output,) = _nodes("grad", "the output", [output])
    return _grad("grad", output, _floats("grad", variables))


def jvp(outputs: Nodes, variables: Nodes, tangents: Any) -> tuple[Node, ...]:
    """For each output the sum over variables of d output / d variable * tangent.

    `tangents` are as many nodes or arrays as there are variables, of their types; the result is a
    tuple of the outputs' types. Raises as vjp does. By reverse mode twice: vjp is linear in its
    cotangent, and its transpose is jvp.
    """
    outputs = _nodes("jvp", "outputs", outputs)
    variables = _floats("jvp", variables)
    tangents = _paired("jvp", "tangent", tangents, "variable", variables)
    probes = [make(leaf.Input(f"probe{i}"), (), o.type) for i, o in enumerate(outputs)]
    return _vjp(_vjp(outputs, variables, probes), probes, tangents)


def hessian_vector_product(output: Node, variables: Nodes, vectors: Any) -> tuple[Node, ...]:
    """The Hessian of a scalar times vectors: the gradient's derivative in their direction.

    `vectors` are as many nodes or arrays as there are variables, of their types; the result is a
    tuple of these types. Raises as grad and vjp do.
    """
    name = "hessian_vector_product"
    (output,) = _nodes(name, "the output", [output])
    variables = _floats(name, variables)
    vectors = _paired(name, "vector", vectors, "variable", variables)
    return _vjp(_grad(name, output, variables), variables, vectors)


def _vjp(
    outputs: Sequence[Node], variables: Sequence[Node], cotangents: Sequence[Node]
) -> tuple[Node, ...]:
    with deriving():
        pulled = pull_back(outputs, variables, cotangents)
        return tuple(
            fill(0, v.type) if flow is None else flow
            for v, flow in zip(variables, pulled, strict=True)
        )


def _grad(name: str, output: Node, variables: Sequence[Node]) -> tuple[Node, ...]:
    if output.shape != ():
        problem = f"needs a scalar, not {output.type}; reduce it to one, or use graphc.vjp"
        raise fail(ShapeError, name, [output], problem)
    if not is_float(output.dtype):
        raise fail(DTypeError, name, [output], f"needs a float, not {output.type}")
    return _vjp([output], variables, [leaf.constant(1, output.dtype)])


# --- what the arguments may be --------------------------------------------------------------


def _nodes(name: str, what: str, given: Any) -> tuple[Node, ...]:
    """One node or several, as a tuple. Raises InputError for anything else."""
    if isinstance(given, Node):
        return (given,)
    nodes = tuple(given) if isinstance(given, Iterable) else (given,)
    for value in nodes:
        if not isinstance(value, Node):
            hint = "; its variable is its .node" if hasattr(value, "node") else ""
            problem = f"{what} must be of the type Node, not {type(value).__name__}{hint}"
            raise fail(InputError, name, [], problem)
    return nodes


def _floats(name: str, given: Any) -> tuple[Node, ...]:
    """The variables as a tuple. Raises DTypeError for integers and bools: nothing flows to them."""
    nodes = _nodes(name, "variables", given)
    for node in nodes:
        if not is_float(node.dtype):
            problem = f"variables must be floats, {node!r} has no derivatives"
            raise fail(DTypeError, name, nodes, problem)
    return nodes


def _paired(name: str, what: str, given: Any, other: str, nodes: Sequence[Node]) -> list[Node]:
    """A node or array for each node, of its type. Raises InputError, ShapeError, DTypeError."""
    single = not isinstance(given, tuple | list) and len(nodes) == 1
    if not single and not isinstance(given, Iterable):
        raise fail(InputError, name, [], f"{what}s must be nodes or arrays, not {given!r}")
    values = [given] if single else list(given)
    if len(values) != len(nodes):
        problem = f"a {what} for each {other} is needed: {len(nodes)}, not {len(values)}"
        raise fail(InputError, name, nodes, problem)
    found = [as_node(value, node.dtype) for value, node in zip(values, nodes, strict=True)]
    for partner, node in zip(found, nodes, strict=True):
        problem = f"the {what} {partner.type} does not fit its {other} {node.type}"
        if partner.shape != node.shape:
            raise fail(ShapeError, name, [node, partner], problem)
        if is_float(node.dtype) and partner.dtype != node.dtype:
            raise fail(DTypeError, name, [node, partner], problem)
    return found
