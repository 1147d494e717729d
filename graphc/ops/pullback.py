"""The reverse walk: cotangents of outputs pulled back to the nodes that they were computed from."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import reduce
from typing import Protocol, TypeGuard

from graphc.graph.graph import postorder
from graphc.graph.node import Node, operators
from graphc.graph.site import made_for


class Joint(Protocol):
    """An operation with several results, each a node, whose cotangents are pulled back together."""

    def family(self, node: Node) -> Hashable:
        """Equal for the nodes that are results of one and the same run."""

    def joint_vjp(
        self, positions: Sequence[int], cotangents: Mapping[Node, Node], node: Node
    ) -> dict[int, Node]:
        """Cotangents of the operands at `positions`, from those of all results of the run."""


def is_joint(op: object) -> TypeGuard[Joint]:
    """Whether an operation is of that kind."""
    return hasattr(op, "joint_vjp")


def pull_back(
    outputs: Sequence[Node], variables: Sequence[Node], cotangents: Sequence[Node]
) -> list[Node | None]:
    """For each variable the sum over outputs of cotangent * d output / d variable; None for zero.

    Nodes are visited users first, so every cotangent is complete when its node's turn comes; the
    results of one run have their turn together, when the last of them is met.
    """
    order = list(postorder(outputs))
    below = set(variables)
    for node in order:
        if any(operand in below for operand in node.inputs):
            below.add(node)
    pending: dict[Node, list[Node]] = {}
    for output, cotangent in zip(outputs, cotangents, strict=True):
        pending.setdefault(output, []).append(cotangent)
    last = {node.op.family(node): node for node in reversed(order) if is_joint(node.op)}
    waiting: dict[Hashable, dict[Node, Node]] = {}
    total: dict[Node, Node] = {}
    for node in reversed(order):
        if node in pending and node in below:
            with made_for(node.site):
                total[node] = reduce(operators["__add__"], pending[node])
        positions = [i for i, operand in enumerate(node.inputs) if operand in below]
        flows: dict[int, Node] = {}
        with made_for(node.site):
            if is_joint(node.op):
                group = waiting.setdefault(node.op.family(node), {})
                group |= {node: total[node]} if node in total else {}
                if group and positions and last[node.op.family(node)] is node:
                    flows = node.op.joint_vjp(positions, group, node)
            elif node in total:
                found = {i: node.op.vjp(i, total[node], node) for i in positions}
                flows = {i: flow for i, flow in found.items() if flow is not None}
        for position, flow in flows.items():
            pending.setdefault(node.inputs[position], []).append(flow)
    return [total.get(v) for v in variables]
