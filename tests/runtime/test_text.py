"""What a program says about itself: stages, kernels, cost, explanations, times."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.errors import InputError
from graphc.inspect.networks import to_networkx
from graphc.inspect.text import as_text
from graphc.ops.cost import per_point
from graphc.runtime.program import Program
from graphc.runtime.text import KERNEL_STAGES, STAGES

BATCH = 5


@graphc.op("m k, k n -> m n")
def product(a, b):
    """A matrix product."""
    return a * b


@graphc.op
def bend(x):
    """A pointwise formula."""
    return x * x


@pytest.fixture(scope="module")
def step() -> Program:
    """A training step: a product, a curve, a loss, one step of descent."""
    x = graphc.input("x", ("batch", 3))
    w = graphc.parameter("w", value=np.ones((3, 2), np.float32))
    with graphc.layer("dense"):
        hidden = product(x, w)
    with graphc.layer("curve"):
        bent = bend(hidden)
    loss = graphc.sum(bent)
    (slope,) = graphc.grad(loss, [w])
    return graphc.compile({"loss": loss}, {w: w - 0.1 * slope})


def numbers(text: str) -> list[str]:
    """The nodes that lines of the text define."""
    return re.findall(r"(%\d+) = ", text)


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_has_text(step: Program, stage: str) -> None:
    """All stages print, the same each time."""
    text = step.as_text(stage)
    assert text.strip() and text == step.as_text(stage)


def test_graph_is_what_was_declared(step: Program) -> None:
    """Forward, backward and update stand in it, each with its site."""
    text = step.as_text("graph")
    for word in ("product(x, w)", "bend(", "product.db(", "update w <- ", "output loss = "):
        assert word in text
    assert all("# test_text.py:" in line for line in text.splitlines() if line.startswith("%"))


def test_backward_is_what_differentiation_made(step: Program) -> None:
    """Neither forward nodes nor the update; the forward values that it reads come first."""
    text = step.as_text("backward")
    made = [line for line in text.splitlines() if line.startswith("%")]
    assert "product.db(" in made[-1] and not any("product(" in line for line in made)
    assert not any(" = sub(" in line for line in made)
    kept = [line for line in text.splitlines() if line.startswith("kept")]
    assert len(kept) == 1 and "product(x, w)" in kept[0]


def test_backward_of_an_inference() -> None:
    """A program without gradients says so."""
    program = graphc.compile(bend(graphc.input("x", (2,))))
    assert program.as_text("backward") == "# nothing was differentiated"


def test_a_number_means_one_node_in_all_stages(step: Program) -> None:
    """A %number of the fused text is that of the simplified graph."""
    simplified = dict(re.findall(r"(%\d+) = (\S+\(.*?\))", step.as_text("simplified")))
    fused = dict(re.findall(r"(%\d+) = (\S+\(.*?\))", step.as_text("fused")))
    assert fused.items() <= simplified.items()
    declared = dict(re.findall(r"(%\d+) = (\S+\(.*?\))", step.as_text("graph")))
    shared = declared.keys() & simplified.keys()
    assert shared and all(declared[n] == simplified[n] for n in shared)


def test_fused_shows_every_kernel(step: Program) -> None:
    """A heading for each kernel, and each node of a group marked stored or inside."""
    text = step.as_text("fused")
    heads = [line.split()[0] for line in text.splitlines() if line and not line.startswith(" ")]
    assert heads[: len(step.kernels)] == list(step.kernels)
    for kernel in step.kernels.values():
        assert len(numbers(kernel.as_text("fused"))) == len(kernel.nodes)


def test_memory_is_for_given_extents(step: Program) -> None:
    """Sizes follow the run-time extent; without it they are for 1, and the text says so."""
    assert step.as_text("memory").startswith("# for batch = 1\n")
    rows = {}
    for line in step.as_text("memory", batch=BATCH).splitlines()[2:]:
        cells = re.split(r"  +", line.strip())
        rows[cells[1] if len(cells) > 1 else ""] = cells
    assert rows["x"][2:5] == ["input", "f32[batch,3]", str(BATCH * 3 * 4)]
    state = next(cells for held, cells in rows.items() if held.startswith("w, %"))
    assert state[2] == "state"
    assert "arena" in step.as_text("memory").splitlines()[-1]


def test_unknown_names_are_refused_with_the_nearest(step: Program) -> None:
    """Stages, kernels, nodes and extents."""
    with pytest.raises(InputError, match=r"no stage 'lops'; .*Did you mean 'loops'"):
        step.as_text("lops")
    with pytest.raises(InputError, match=r"no kernel 'k0'; .*k00"):
        step.kernels["k0"]
    with pytest.raises(InputError, match=r"no stage 'memory' of a kernel; there are fused"):
        step.kernels["k00"].as_text("memory")
    with pytest.raises(InputError, match=r"'produkt'. Did you mean 'product'"):
        step.explain("produkt")
    with pytest.raises(InputError, match=r"no run-time extent 'bach'; it has: batch"):
        step.as_text("memory", bach=3)
    with pytest.raises(InputError, match="no run-time extent"):
        step.cost(bach=3)


# --- kernels --------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", KERNEL_STAGES)
def test_every_kernel_has_every_text(step: Program, stage: str) -> None:
    """Each text speaks of its own kernel."""
    for name, kernel in step.kernels.items():
        text = kernel.as_text(stage)
        assert name in text.splitlines()[0]


def test_kernel_code_is_a_part_of_the_modules(step: Program) -> None:
    """What one kernel shows is what the whole shows."""
    for kernel in step.kernels.values():
        assert kernel.as_text("asm") in step.as_text("asm")
        assert kernel.as_text("llvm") in step.as_text("llvm")
        assert kernel.as_text("loops") in step.as_text("loops")
        assert re.search(r"^\s+ret", kernel.as_text("asm"), re.MULTILINE)


def test_kernels_are_a_mapping(step: Program) -> None:
    """In order, with get() and a listing."""
    assert list(step.kernels) == sorted(step.kernels)
    assert "k00" in step.kernels and step.kernels.get("k99") is None
    assert repr(step.kernels).splitlines()[0].startswith("k00: ")
    assert step.kernels["k00"].sites and step.kernels["k00"].nodes


# --- cost -----------------------------------------------------------------------------------


def test_flops_of_a_product() -> None:
    """2 m k n, whatever the extents."""
    a, b = graphc.input("a", ("m", 3)), graphc.input("b", (3, 4))
    program = graphc.compile(product(a, b))
    cost = program.cost(m=10)
    assert cost.flops == 2 * 10 * 3 * 4
    assert cost.bytes == 4 * (10 * 3 + 3 * 4 + 10 * 4)
    assert cost.rows[0].intensity == pytest.approx(240 / 328)
    assert program.kernels["k00"].flops == 2 * 3 * 4
    assert program.kernels["k00"].cost(m=10) == cost.rows[0]


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        (lambda x: x + 0 * x, 0),
        (lambda x: -x, 0),
        (lambda x: x - 1, 1),
        (lambda x: 3 * x + 1, 2),
        (lambda x: x**2, 1),
        (lambda x: x**5, 3),
        (lambda x: 1 / x, 1),
        (lambda x: x**-2, 2),
        (lambda x: x**2 / (1 + x**2), 3),
    ],
)
def test_operations_of_a_formula(function, wanted: int) -> None:
    """Each distinct term once; signs and constants are free."""
    node = graphc.op(function)(graphc.input("x", (2,)))
    assert per_point(node.op) == wanted


def test_cost_is_a_table(step: Program) -> None:
    """A row a kernel, a total, and the extents it is for."""
    cost = step.cost(batch=BATCH)
    lines = str(cost).splitlines()
    assert lines[0] == f"# for batch = {BATCH}"
    assert lines[1].split()[:3] == ["kernel", "ops", "FLOPs"]
    assert len(lines) == len(step.kernels) + 3 and lines[-1].startswith("total")
    assert len(cost) == len(step.kernels)
    assert cost.flops == sum(row.flops for row in cost) > step.cost().flops
    assert "test_text.py:" in str(cost)


def test_the_results_of_one_scan_cost_its_steps_once() -> None:
    w = graphc.parameter("w", (8, 8))
    xs = graphc.input("xs", (5, 3, 8))
    start = graphc.input("start", (3, 8))

    def advanced(carry: Any, x: Any) -> tuple[Any, Any]:
        after = graphc.ops.tanh(carry @ w + x)
        return after, after * 2.0

    last, outputs = graphc.ops.scan(advanced, start, xs)
    cost = graphc.compile([last, outputs]).cost()
    (row,) = [row for row in cost if row.ops.count("scan") == 2]
    assert row.flops == 5 * 3 * 8 * (2 * 8 + 1 + 1 + 1)


# --- explain --------------------------------------------------------------------------------


def test_explain_a_node(step: Program) -> None:
    """By operation, by number, by the node itself: its kernel, company and place."""
    text = step.explain("product")
    (node,) = [n for n in step.stages.graph.nodes if n.op.name == "product"]
    assert text == step.explain(node) == step.explain("product_0")
    assert text == step.explain(numbers(text)[0])
    assert "k00 computes" in text and "lies in" in text and "reads   x" in text


def test_explain_a_kernel(step: Program) -> None:
    """By name or by the kernel itself: nodes, reasons, buffers, work."""
    kernel = step.kernels["k00"]
    text = step.explain("k00")
    assert text == step.explain(kernel)
    assert text.startswith("k00 computes\n")
    assert "why: " in text and "stores" in text and "work: " in text
    for note in kernel.notes:
        assert f"why: {note}" in text


def test_explain_a_leaf(step: Program) -> None:
    """Where it lies, who reads it, what overwrites it."""
    text = step.explain("w")
    assert text.startswith("parameter w : f32[3,2]")
    assert "(state)" in text and "read by k00" in text and "in place" in text


def test_explain_a_layer(step: Program) -> None:
    """Forward and backward nodes of the layer, and their kernels."""
    text = step.explain("dense")
    assert text.startswith("layer dense\n")
    assert "product(x, w)" in text and "product.db(" in text


def test_explain_a_node_that_was_rewritten(step: Program) -> None:
    """A node of the declared graph that no kernel computes still has an answer."""
    final = set(step.stages.graph.nodes)
    gone = [n for n in step.stages.source.nodes if n.inputs and n not in final]
    for node in gone:
        assert re.search("was (rewritten|simplified away)", step.explain(node))


def test_explain_a_stranger(step: Program) -> None:
    """A node of another program is refused."""
    with pytest.raises(InputError, match="no node of this program"):
        step.explain(graphc.input("elsewhere", (2,)))


# --- profile --------------------------------------------------------------------------------


def test_profile_times_every_kernel_and_leaves_the_state(step: Program) -> None:
    """A row a kernel; parameters are afterwards what they were."""
    (variable, _) = step.stages.source.updates[0]
    before = variable.op.cell.value.copy()
    profile = step.profile({"x": np.ones((4000, 3), np.float32)}, repeats=5)
    assert [row.kernel for row in profile] == list(step.kernels)
    assert all(row.seconds >= 0 for row in profile) and profile.seconds > 0
    assert np.array_equal(variable.op.cell.value, before)
    assert str(profile).splitlines()[-1].startswith("total")
    assert profile.rows[0].cost == step.cost(batch=4000).rows[0]


def test_profile_refuses_as_a_call_does(step: Program) -> None:
    """Missing inputs and no repeats."""
    with pytest.raises(InputError, match="missing input 'x'"):
        step.profile({})
    with pytest.raises(InputError, match="repeats"):
        step.profile([np.ones((1, 3), np.float32)], repeats=0)


# --- inspect --------------------------------------------------------------------------------


def test_repr(step: Program) -> None:
    """Inputs, outputs, size and target."""
    wanted = r"<Program \(x: f32\[batch,3\]\) -> \(loss: f32\[\]\), 1 updates, \d+ kernels, \w+>"
    assert re.fullmatch(wanted, repr(step))


def test_functions_for_anything_with_a_graph(step: Program) -> None:
    """Programs, graphs, nodes, and lists or dicts of nodes."""
    node = bend(graphc.input("x", (2,)))
    assert as_text(step, "memory", batch=2) == step.as_text("memory", batch=2)
    assert as_text(node).splitlines()[-1] == "output out0 = %0"
    assert as_text({"y": node}).splitlines()[-1] == "output y = %0"
    assert set(to_networkx(node)) == set(to_networkx([node])) == {"x", "%0"}
    assert to_networkx(step).number_of_nodes() == len(step.stages.source.nodes)
    with pytest.raises(InputError, match="holds no graph"):
        to_networkx(3)
    with pytest.raises(InputError, match="not compiled has no stage 'asm'"):
        as_text(node, "asm")


@pytest.mark.parametrize("batch", [-3, 2.0, True, "8"])
def test_an_extent_is_a_whole_number(step: Program, batch: Any) -> None:
    for work in (step.cost, lambda **extents: step.as_text("memory", **extents)):
        with pytest.raises(InputError, match=f"batch={batch!r} must be a whole number"):
            work(batch=batch)


def test_explain_takes_a_name_or_a_node(step: Program) -> None:
    with pytest.raises(InputError, match=r"explain takes the name of a kernel.*not 3"):
        step.explain(3)  # type: ignore[arg-type]  # what is tested
