"""What is kept of sympy's answers: formulas come back as they were, and a start needs no sums."""

from __future__ import annotations

import json
import operator
import os
import subprocess
import sys
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
import sympy

import graphc
from graphc import ops
from graphc.graph.graph import postorder
from graphc.ops import known, scalar
from graphc.ops.formula import Formula
from graphc.types import is_float
from tests.cases import Case, by_op

TRAINING = """
import sys
import numpy as np
import graphc
from graphc import nn, optim

model = nn.Sequential(
    nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.GELU(), nn.MaxPool2d(2), nn.Flatten(),
    nn.Dropout(0.1), nn.Linear(27, 5), nn.LayerNorm(5),
)
step = graphc.compile_train_step(
    model, "cross_entropy", optim.Adam(1e-2),
    inputs={"x": ("batch", 2, 8, 8)}, targets={"y": ("batch",)}, metrics=["accuracy"],
)
random = np.random.default_rng(0)
x = random.standard_normal((4, 2, 8, 8)).astype(np.float32)
losses = [float(step(x=x, y=[0, 1, 2, 3])["loss"]) for _ in range(3)]
print(losses, step.program.loaded.from_cache, "sympy.tensor.tensor" in sys.modules)
"""


def formulas(case: Case) -> list[Formula]:
    """The formulas of a case and of its gradients."""
    kinds = [o.dtype or ("float32" if o.bound is None else "int64") for o in case.operands]
    pairs = zip(case.operands, kinds, strict=True)
    inputs = [graphc.input(f"x{i}", o.shape, kind) for i, (o, kind) in enumerate(pairs)]
    roots = case.results(inputs)
    floats = [root for root in roots if is_float(root.dtype)]
    wanted = [node for node in inputs if is_float(node.dtype)]
    if floats and wanted:
        roots += graphc.grad(reduce(operator.add, map(ops.sum, floats)), wanted)
    return [node.op for node in postorder(roots) if isinstance(node.op, Formula)]


@pytest.mark.parametrize("name", by_op())
def test_a_formula_comes_back_as_it_was(name: str) -> None:
    for op in [op for case in by_op()[name] for op in formulas(case)]:
        twin = known.built(json.loads(json.dumps(known.plain(op.expr))))
        assert twin == op.expr
        assert scalar.spelled(twin) == scalar.spelled(op.expr)
        assert twin.free_symbols == op.expr.free_symbols
        assert getattr(twin, "is_commutative", None) == getattr(op.expr, "is_commutative", None)


def test_what_is_no_part_of_the_language_is_not_kept() -> None:
    for value in (sympy.Symbol("x", positive=True), sympy.Function("f")(scalar.argument("x")), 1):
        with pytest.raises(known.UnkeptError):
            known.plain(value)


def start(folder: Path) -> list[str]:
    """The losses of three steps, whether the code came from disk, whether sums were made."""
    environment = {**os.environ, "GRAPHC_CACHE_DIR": str(folder)}
    command = [sys.executable, "-c", TRAINING]
    found = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return found.stdout.rsplit(maxsplit=2)


def test_a_second_start_derives_nothing(tmp_path: Path) -> None:
    """The module that sympy's first sum imports tells whether there was one."""
    folder = tmp_path / "cache"
    losses, kept, summed = start(folder)
    assert (kept, summed) == ("False", "True")
    assert start(folder) == [losses, "True", "False"]
    for path in folder.glob("*.o"):
        if b"graphc.ops" in path.read_bytes():
            path.write_bytes(path.read_bytes()[:-1])
    assert start(folder) == [losses, "True", "True"], "what is damaged is derived again"


def test_an_op_of_a_users_own_is_traced_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its source is no part of the key."""
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "cache"))

    def made(factor: int) -> graphc.Node:
        @graphc.op
        def mine(x: sympy.Expr) -> sympy.Expr:
            """A multiple of x."""
            return factor * x

        return mine(graphc.input("x", (3,)))

    for factor in (2, 3):
        program = graphc.compile(made(factor))
        np.testing.assert_array_equal(program(np.ones(3))[0], np.full(3, factor))
