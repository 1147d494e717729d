"""The machine model: caches read from the system's files, whatever they hold; no bit of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import machine, ops
from graphc.graph.node import Node
from graphc.llvm import engine, targets

KIB = 1 << 10
CONSTANTS = machine.LEVEL1, machine.LEVEL2, machine.LAST


def core(root: Path, name: str, *caches: tuple[str, str, str]) -> None:
    """A core's folder as Linux has it: (level, type, size) of each of its caches."""
    for number, contents in enumerate(caches):
        folder = root / name / "cache" / f"index{number}"
        folder.mkdir(parents=True)
        for file, text in zip(("level", "type", "size"), contents, strict=True):
            (folder / file).write_text(f"{text}\n")


def test_caches_are_read_from_the_systems_files(tmp_path: Path) -> None:
    core(
        tmp_path, "cpu0", ("1", "Data", "48K"), ("1", "Instruction", "64K"), ("2", "Unified", "2M")
    )
    (tmp_path / "cpufreq").mkdir()
    assert machine.levels(tmp_path) == (48 * KIB, 2048 * KIB, 2048 * KIB)
    first, other, second = machine.caches(tmp_path / "cpu0")
    assert (first.level, first.kind, first.size) == (1, "data", 48 * KIB)
    assert (other.kind, second.kind, second.size) == ("instruction", "unified", 2048 * KIB)


def test_where_cores_differ_the_least_counts(tmp_path: Path) -> None:
    core(tmp_path, "cpu0", ("1", "Data", "48K"), ("2", "Unified", "2048K"))
    core(tmp_path, "cpu1", ("1", "Data", "32K"), ("2", "Unified", "4096K"))
    assert machine.levels(tmp_path) == (32 * KIB, 2048 * KIB, 2048 * KIB)


@pytest.mark.parametrize("size", ["", "many", "-1K", "0K", "9999999G", "K"])
def test_what_is_no_size_is_passed_over(tmp_path: Path, size: str) -> None:
    core(tmp_path, "cpu0", ("1", "Data", "48K"), ("2", "Unified", size))
    assert machine.levels(tmp_path)[:2] == (48 * KIB, machine.LEVEL2)
    assert machine.levels(tmp_path)[2] == machine.LAST


def test_without_files_the_constants_stand(tmp_path: Path) -> None:
    assert machine.levels(tmp_path / "none") == CONSTANTS
    (tmp_path / "cpu0").mkdir()
    assert machine.levels(tmp_path) == CONSTANTS
    assert machine.caches(tmp_path / "cpu0") == []


def test_a_target_that_is_not_this_machine_has_the_constants() -> None:
    foreign = [t for name in targets.WIDTHS if not (t := targets.target(name)).native]
    assert foreign
    assert {(t.level1, t.level2, t.last) for t in foreign} == {CONSTANTS}
    native = targets.target()
    model = native.model
    assert (model.level1, model.level2, model.last) == machine.levels()


def test_the_caches_are_part_of_the_key_of_code() -> None:
    target = targets.target()
    keys = {
        engine.digest("text", replace(target, level1=one << 10, level2=two << 10, last=three << 10))
        for one in (32, 48)
        for two in (512, 2048)
        for three in (8192, 32768)
    }
    assert len(keys) == 8


def products() -> list[tuple[Sequence[Node], list[tuple[Any, ...]]]]:
    """Sums long enough to leave caches: gradients of convolutions, products of every form."""
    image, kernel = graphc.input("image", (48, 16, 20, 20)), graphc.input("kernel", (32, 16, 3, 3))
    loss = ops.sum(ops.square(ops.conv2d(image, kernel, padding=1)))
    found: list[tuple[Sequence[Node], list[tuple[Any, ...]]]]
    found = [(graphc.grad(loss, [image, kernel]), [image.shape, kernel.shape])]
    for form, left, right in (
        ("b k m, b k n -> m n", (40, 64, 96), (40, 64, 128)),
        ("b k m, b k n -> m n", (40, 64, 3), (40, 64, 2)),
        ("b m k, b k -> m", (64, 12, 640), (64, 640)),
        ("k m, k n -> m n", (1536, 130), (1536, 67)),
    ):
        a, b = graphc.input("a", left), graphc.input("b", right)
        found.append(([ops.einsum(form, a, b)], [left, right]))
    return found


def test_no_bit_depends_on_the_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    target = targets.target()
    random = np.random.default_rng(0)
    texts: set[tuple[str, ...]] = set()
    for nodes, shapes in products():
        given = [random.standard_normal(shape).astype(np.float32) for shape in shapes]
        results: list[Any] = []
        for sizes in ((8, 128), (32, 512), (64, 8192)):
            level1, level2 = (size * KIB for size in sizes)
            here = replace(target, level1=level1, level2=level2)
            monkeypatch.setattr(targets, "target", lambda name, here=here: here)
            program = graphc.compile(nodes)
            texts.add(tuple(kernel.as_text("loops") for kernel in program.kernels.values()))
            results.append(program(*given))
        for other in results[1:]:
            for one, two in zip(results[0], other, strict=True):
                np.testing.assert_array_equal(one, two)
    assert len(texts) > len(products())  # the sizes do decide how sums are made
