"""A stage of a compiled program as plain data, for programs that read JSON."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from graphc.graph.graph import Graph
from graphc.graph.leaf import Leaf
from graphc.graph.node import Node
from graphc.graph.show import leaf_kind
from graphc.graph.site import Site
from graphc.runtime.cost import KernelCost
from graphc.runtime.kernels import KernelView
from graphc.runtime.program import Program
from graphc.runtime.text import names_of


def stage_data(program: Program, stage: str, extents: Mapping[str, int]) -> dict[str, Any]:
    """A stage as nodes, kernels or sizes; one that is loops or code as its text.

    Raises InputError for an unknown stage or extent.
    """
    stages = program.stages
    match stage:
        case "graph":
            found: dict[str, Any] = graph_data(program, stages.source)
        case "simplified":
            found = graph_data(program, stages.graph)
        case "backward":
            derived = {node for node in stages.source.nodes if node.site.derived}
            found = graph_data(program, stages.source, derived)
        case "memory":
            sizes = program.memory(**extents)
            found = {**asdict(sizes), "must": sizes.must}
        case "cost":
            work = program.cost(**extents)
            found = {"extents": dict(work.extents), "kernels": [cost_data(row) for row in work]}
        case "kernels":
            found = {"kernels": [kernel_data(kernel) for kernel in program.kernels.values()]}
        case _:
            found = {"text": program.as_text(stage, **extents)}
    return {"stage": stage, **found}


def graph_data(
    program: Program, graph: Graph, only: Collection[Node] | None = None
) -> dict[str, Any]:
    """The nodes of a graph by their printed names, its outputs and its updates."""
    names = names_of(program.stages)
    return {
        "nodes": [node_data(node, names) for node in graph.nodes if only is None or node in only],
        "outputs": {
            name: names[node] for name, node in zip(graph.names, graph.outputs, strict=True)
        },
        "updates": {names[variable]: names[node] for variable, node in graph.updates},
    }


def node_data(node: Node, names: Mapping[Node, str]) -> dict[str, Any]:
    """One node."""
    leaf = isinstance(node.op, Leaf)
    return {
        "name": names[node],
        "op": leaf_kind(node) if leaf else node.op.name,
        "operands": [names[operand] for operand in node.inputs],
        "dtype": node.dtype,
        "shape": list(node.shape),
        "formula": None if leaf else node.op.describe(),
        "derived": node.site.derived,
        **site_data(node.site),
    }


def site_data(site: Site) -> dict[str, Any]:
    """A place in the user's code."""
    return {"file": site.file, "line": site.line, "layer": site.path}


def cost_data(cost: KernelCost) -> dict[str, Any]:
    """A kernel's work."""
    return {
        "kernel": cost.kernel,
        "ops": list(cost.ops),
        "flops": cost.flops,
        "bytes": cost.bytes,
        "sites": [site_data(site) for site in cost.sites],
    }


def kernel_data(kernel: KernelView, stage: str | None = None) -> dict[str, Any]:
    """A kernel's work and why it is as it is; with a stage, the text of that too."""
    text = {} if stage is None else {"stage": stage, "text": kernel.as_text(stage)}
    return {**cost_data(kernel.cost()), "notes": list(kernel.notes), **text}
