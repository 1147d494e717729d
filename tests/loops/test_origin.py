"""Every statement of a kernel, before and after scheduling, knows the nodes it comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

import graphc
from graphc import nn, ops
from graphc.graph.node import Node
from graphc.loops import show
from graphc.loops.ir import Barrier, For, Kernel, Let, Load, Update, walk
from graphc.loops.origin import apart, origin
from graphc.ops.recurrence import Scan
from graphc.runtime.program import Program


def convolution() -> list[Node]:
    image, kernel = graphc.input("image", ("batch", 3, 9, 9)), graphc.parameter("k", (8, 3, 3, 3))
    loss = ops.sum(ops.square(ops.relu(ops.conv2d(image, kernel, padding=1))))
    return [loss, *graphc.grad(loss, [image, kernel])]


def product() -> list[Node]:  # gathered rows, panels, and a sum in parts
    a, b = graphc.input("a", (2000, 256)), graphc.input("b", (2000, 512))
    return [ops.tanh(ops.einsum("k m, k n -> m n", a, b))]


def rows() -> list[Node]:  # what one pass over a row keeps for the next
    x, labels = graphc.input("x", ("batch", 40)), graphc.input("labels", ("batch",), "int64")
    loss = ops.cross_entropy(x, labels)
    return [loss, *graphc.grad(loss, [x]), ops.argmax(x, 1), ops.softmax(x, axis=-1)]


def turned() -> list[Node]:
    return [ops.transpose(graphc.input("x", (40, 48)))]


def looked_up() -> list[Node]:
    table, at = graphc.parameter("table", (10, 4)), graphc.input("at", ("batch",), "int64")
    picked = ops.gather(table, at)
    return [picked, *graphc.grad(ops.sum(ops.square(picked)), [table])]


def steps() -> list[Node]:
    model = nn.LSTM(4, 8)
    y = model(graphc.input("x", (3, 5, 4)))
    loss = ops.sum(y[0] if isinstance(y, tuple) else y)
    return [loss, *graphc.grad(loss, [p.node for p in model.parameters()])]


PROGRAMS: dict[str, Callable[[], list[Node]]] = {
    f.__name__: f for f in (convolution, product, rows, turned, looked_up, steps)
}


def kernels(program: Program) -> list[Kernel]:
    return [*program.stages.lowered, *program.stages.kernels]


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("target", ["avx512", "sse2"])
def test_every_statement_has_nodes(name: str, target: str) -> None:
    """All but barriers; and they are nodes of the kernel's group, or of a body of its scan."""
    program = graphc.compile(PROGRAMS[name](), target=target)
    groups = [*program.stages.plan.groups] * 2
    for group, kernel in zip(groups, kernels(program), strict=True):
        of, inside = origin(kernel), set(group.nodes)
        for stmt in walk(kernel.body):
            nodes = of(stmt)
            assert bool(nodes) != isinstance(stmt, Barrier), f"{kernel.name}: {stmt}"
            assert group.body is not None or set(nodes) <= inside
            assert inside & set(nodes) or not nodes


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_stored_node_has_statements(name: str) -> None:
    program = graphc.compile(PROGRAMS[name](), target="avx2")
    for group, kernel in zip(program.stages.plan.groups, program.stages.kernels, strict=True):
        if group.body is None:
            of = origin(kernel)
            assert set(group.roots) <= {n for s in kernel.body for n in of(s)}


def test_statements_of_a_fused_kernel_are_told_apart() -> None:
    """A value belongs to the node it is, a load to those that read it, a loop to all inside."""
    x, w, b = graphc.input("x", (64, 32)), graphc.parameter("w", (32, 48)), graphc.input("b", (48,))
    program = graphc.compile(ops.relu(x @ w + b), target="avx2")
    kernel = program.stages.kernels[-1]
    of = origin(kernel)
    made = {
        str(stmt.expr): [node.op.name for node in of(stmt)]
        for stmt in walk(kernel.body)
        if isinstance(stmt, Let | Update)
    }
    assert made["a*b"] == ["matmul"] and made["a + b"] == ["add"]
    assert made["Piecewise((0, x <= 0), (x, True))"] == ["relu"]
    loads = {
        stmt.access.buffer.name: [node.op.name for node in of(stmt)]
        for stmt in walk(kernel.body)
        if isinstance(stmt, Load) and stmt.access.buffer.space == "argument"
    }
    assert sorted(loads.values()) == [["add"], ["matmul"], ["matmul"]]
    loop = next(stmt for stmt in kernel.body if isinstance(stmt, For))
    assert {node.op.name for node in of(loop)} == {"matmul", "add", "relu"}


def test_a_scan_gives_the_nodes_of_its_body_and_itself() -> None:
    program = graphc.compile(steps()[0], target="avx2")
    for group, kernel in zip(program.stages.plan.groups, program.stages.kernels, strict=True):
        if group.body is not None:
            of = origin(kernel)
            pairs = {of(stmt) for stmt in walk(kernel.body) if not hasattr(stmt, "body")}
            assert all(any(isinstance(n.op, Scan) for n in nodes) for nodes in pairs if nodes)
            assert any(not isinstance(n.op, Scan) for nodes in pairs for n in nodes)
            return
    pytest.fail("no kernel is a scan")


def test_origins_are_no_part_of_what_a_kernel_does() -> None:
    (kernel,) = graphc.compile(turned()).stages.kernels
    bare = replace(kernel, origins={})
    assert bare == kernel and show.exact(bare) == show.exact(kernel)


def test_apart_changes_no_statement() -> None:
    for kernel in graphc.compile(convolution()).stages.kernels:
        body = apart(kernel.body)
        assert body == kernel.body
        assert len({id(s) for s in walk(body)}) == sum(1 for _ in walk(body))
