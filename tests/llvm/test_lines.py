"""Debug line information: what LLVM is told of the user's lines, and what it makes of it."""

from __future__ import annotations

import gc
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.graph.node import Node
from graphc.llvm import engine
from graphc.llvm.lines import escaped, title
from graphc.runtime.program import Program

NET = """import graphc
from graphc import ops
x = graphc.input("x", ("batch", 16))
w = graphc.parameter("w", (16, 8))
product = (
    x @ w
)
biased = product + 1.5
y = ops.tanh(biased)
total = ops.sum(y)
(slope,) = graphc.grad(total, [w])
"""
LINES = {6, 8, 9, 10}
"""The lines of NET that make nodes which are computed."""


def net(file: str = "/models/net.py", above: int = 0) -> dict[str, Any]:
    """NET as if it stood in a file, below so many empty lines."""
    space: dict[str, Any] = {}
    exec(compile("\n" * above + NET, file, "exec"), space)
    return space


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Line information is on, and nothing is in the cache."""
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("GRAPHC_DEBUG_INFO", "1")


def compiled(space: dict[str, Any], target: str | None = None) -> Program:
    return graphc.compile([space["total"], space["slope"]], target=target)


@pytest.mark.parametrize("target", ["avx512", "avx2", "sse2", "neon"])
def test_llvm_accepts_the_metadata(told: None, target: str) -> None:
    """The program's module, and the one whose lines are statements."""
    stages = compiled(net(), target).stages
    for module in (stages.module, stages.numbered):
        parsed = engine.parse(module.text)
        parsed.verify()
        assert "DISubprogram" in str(parsed)  # LLVM drops what it takes for broken


def test_every_instruction_has_a_line(told: None) -> None:
    for text in compiled(net()).stages.module.functions.values():
        code = text[: text.index("\n}")].splitlines()
        instructions = [line for line in code if line.startswith("  ")]
        assert all(re.search(r", !dbg !\d+$", line) for line in instructions)
        used = set(re.findall(r"!dbg !(\d+)", text))
        assert used <= set(re.findall(r"^!(\d+) = ", text, re.MULTILINE))


def test_machine_code_points_at_the_lines(told: None) -> None:
    """Those of the net and no others: gradients at the lines that they are gradients of."""
    program = compiled(net())
    text = engine.assembly(program.as_text("llvm"), program.stages.target)
    files = dict(re.findall(r'\.file\t(\d+) "/models" "(.*)"', text))
    assert set(files.values()) == {"net.py"}
    found = re.findall(r"\.loc\t(\d+) (\d+) (\d+)", text)
    assert {int(line) for file, line, _ in found if file in files} - {0} == LINES
    assert {"1", "2"} <= {column for _, _, column in found}  # 2: made by differentiation


def test_kernels_have_names_for_people(told: None) -> None:
    with graphc.layer("encoder.0"):
        y = graphc.sum(graphc.input("x", (64, 8)) @ graphc.parameter("v", (8, 4)))
    program = graphc.compile(y)
    titles = [title(kernel) for kernel in program.stages.kernels]
    assert titles[0].startswith("k00 matmul") and titles[0].endswith(" (encoder.0)")
    assert all(f'name: "{text}"' in program.as_text("llvm") for text in titles)


def test_strange_names_do_no_harm(told: None) -> None:
    """Quotes, backslashes, breaks, other alphabets, in files and layers."""
    engine.parse(compiled(net('/tmp/"quoted\\" ünï.py')).as_text("llvm")).verify()
    with graphc.layer('a"b\\c\nd'):
        program = graphc.compile(graphc.exp(graphc.input("strange", (3,))))
    engine.parse(program.as_text("llvm")).verify()
    assert [title(kernel) for kernel in program.stages.kernels] == ['k00 exp (a"b\\c?d)']
    assert escaped('a"\\\n') == "a\\22\\5C\\0A"


def test_values_and_code_are_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path))
    numbers = np.random.default_rng(0).standard_normal((7, 16)).astype(np.float32)
    space = net()
    space["w"].op.cell.value[...] = np.random.default_rng(1).standard_normal((16, 8))
    plain = compiled(space)
    monkeypatch.setenv("GRAPHC_DEBUG_INFO", "1")
    marked = compiled(space)
    assert not marked.loaded.from_cache
    for a, b in zip(plain(numbers), marked(numbers), strict=True):
        np.testing.assert_array_equal(a, b)
    for name in plain.kernels:
        assert plain.kernels[name].as_text("asm") == marked.kernels[name].as_text("asm")


def sited(above: int) -> bool:
    """Whether a program of the net, so far down its file, was in the cache."""
    found = compiled(net(above=above)).loaded.from_cache
    gc.collect()  # its nodes go, so that equal ones are made anew, with another line
    return found


def test_cached_code_knows_its_lines(told: None) -> None:
    """Code that differs in its lines alone is not taken from the cache; equal code is."""
    assert [sited(0), sited(0), sited(3), sited(3), sited(0)] == [False, True, False, True, True]


def test_without_it_lines_do_not_matter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path))
    assert [sited(0), sited(3)] == [False, True]


def twins() -> list[Node]:
    x = graphc.input("x", ("batch", 16))
    first = graphc.sum(graphc.square(x @ graphc.parameter("a", (16, 16))), 0)
    other = graphc.sum(graphc.square(x @ graphc.parameter("b", (16, 16))), 0)
    return [first, other]


def test_equal_kernels_of_different_lines_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path))
    shared = graphc.compile(twins()).stages.module.functions
    monkeypatch.setenv("GRAPHC_DEBUG_INFO", "1")
    apart = graphc.compile(twins()).stages.module.functions
    assert len(apart) > len(shared)
