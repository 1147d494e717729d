"""Invariants of every graph: unique names, updates that fit their variables, sound types."""

from __future__ import annotations

from graphc.errors import CompileError, DTypeError, InputError, ShapeError
from graphc.graph import leaf
from graphc.graph.graph import Graph
from graphc.graph.node import Node, Operation


def verify(graph: Graph) -> None:
    """Raise if the graph breaks an invariant; InputError and kin where the user can mend it."""
    named: dict[str, Node] = {}
    for op in {type(node.op): node.op for node in graph.nodes}.values():
        if not isinstance(op, Operation):
            raise CompileError(f"{op!r} is no operation")
    for node in graph.nodes:
        if sum(isinstance(e, str) for e in node.shape) > 1:
            raise CompileError(f"{node!r} has several run-time extents")
        if isinstance(node.op, leaf.Input):
            other = named.setdefault(node.op.name, node)
            if other is not node:
                raise InputError(
                    f"two inputs are called {node.op.name!r}: {other.type} at {other.site}, "
                    f"{node.type} at {node.site}"
                )
    if len(set(graph.names)) != len(graph.names) or len(graph.names) != len(graph.outputs):
        raise InputError(f"output names {graph.names} must be distinct, one for each output")
    seen: set[Node] = set()
    for variable, value in graph.updates:
        if not isinstance(variable.op, leaf.Variable):
            raise InputError(f"only a parameter can be updated, not {variable!r}")
        if variable in seen:
            raise InputError(f"{variable.op.name!r} is updated twice")
        seen.add(variable)
        if variable.shape != value.shape:
            raise ShapeError(unlike(variable, value))
        if variable.dtype != value.dtype:
            raise DTypeError(unlike(variable, value))


def unlike(variable: Node, value: Node) -> str:
    """What is wrong with an update of another type, and the line that made its value."""
    layer = f"\n  layer: {value.site.path}" if value.site.path else ""
    place = f"{layer}\n  at {value.site.file}:{value.site.line}"
    return f"the update of {variable.op.name!r} : {variable.type} has type {value.type}{place}"
