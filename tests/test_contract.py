"""The one contract that every op keeps, compiled: value, gradients, extremes, NaN, manual page.

Each op's cases (tests/cases.py) are compiled together, so that one program covers an op's shapes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.autodiff import vjp
from graphc.graph import leaf
from graphc.graph.node import Node, make
from graphc.ops.reference import evaluate
from graphc.runtime.program import Program
from graphc.types import TensorType, is_float, resolve
from tests.cases import BATCH, EVERY, NO_CASES, Case, by_op

Array = np.ndarray[Any, Any]

OPS = sorted(by_op())
UNIT = {"float32": 1.2e-7, "float64": 2.3e-16}


@dataclass(frozen=True)
class Part:
    """One case in a bundle: its inputs, its results, and their derivatives where it has them."""

    case: Case
    number: int
    inputs: tuple[Node, ...]
    flows: tuple[tuple[Node, ...], ...]
    results: tuple[Node, ...]
    first: tuple[Node, ...] = ()
    second: tuple[Node, ...] = ()

    @property
    def levels(self) -> tuple[tuple[Node, ...], ...]:
        """Results, gradients, gradients of gradients."""
        return self.results, self.first, self.second


@dataclass(frozen=True)
class Bundle:
    """Cases of one op as one graph: element type, and parts in order."""

    dtype: str
    parts: tuple[Part, ...]

    @property
    def outputs(self) -> list[Node]:
        """Everything that is computed, level by level of each part."""
        return [n for p in self.parts for level in p.levels for n in level]

    def apart(self, values: Iterable[Array]) -> list[tuple[Part, list[list[Array]]]]:
        """Values in the order of `outputs`, by part and level."""
        stream = iter(values)
        return [(p, [[next(stream) for _ in level] for level in p.levels]) for p in self.parts]


@cache
def bundle(name: str, dtype: str, order: int, symbolic: bool = False) -> Bundle:
    """An op's cases for an element type with derivatives up to `order`.

    `symbolic` takes the cases with a run-time extent, and leaves it one.
    """
    floating = is_float(dtype)
    parts = []
    for number, case in enumerate(by_op()[name]):
        if (not floating and dtype not in case.dtypes) or (symbolic and not case.batched):
            continue
        inputs = []
        for position, operand in enumerate(case.operands):
            shape = tuple(BATCH if e == "batch" and not symbolic else e for e in operand.shape)
            type = TensorType(operand.dtype or dtype, shape)
            inputs.append(make(leaf.Input(f"x{number}_{position}"), (), type))
        levels = [tuple(case.results(inputs))]
        flowing = []
        reals = [x for x, o in zip(inputs, case.operands, strict=True) if o.real and floating]
        for level in range(order):
            outputs = [o for o in levels[-1] if is_float(o.dtype) and "batch" not in o.shape[1:]]
            outputs = outputs if reals else []
            flows = [
                make(leaf.Input(f"g{number}_{level}_{i}"), (), o.type)
                for i, o in enumerate(outputs)
            ]
            flowing.append(tuple(flows))
            levels.append(vjp(outputs, reals, flows) if outputs else ())
        parts.append(Part(case, number, tuple(inputs), tuple(flowing), *levels))
    return Bundle(dtype, tuple(parts))


@cache
def compiled(
    name: str,
    dtype: str,
    order: int,
    symbolic: bool = False,
    target: str | None = None,
    skip: str = "",
) -> Program:
    """A bundle's program."""
    before = os.environ.get("GRAPHC_SKIP")
    os.environ["GRAPHC_SKIP"] = skip
    try:
        return graphc.compile(bundle(name, dtype, order, symbolic).outputs, target=target)
    finally:
        os.environ.pop("GRAPHC_SKIP")
        if before is not None:
            os.environ["GRAPHC_SKIP"] = before


def feeds(bundle: Bundle, batch: int = BATCH) -> dict[str, Array]:
    """A value for every input of a bundle: operands as the cases draw them, cotangents normal."""
    given: dict[str, Array] = {}
    for part in bundle.parts:
        for position, (node, operand) in enumerate(
            zip(part.inputs, part.case.operands, strict=True)
        ):
            key = (part.number, position)
            given[name_of(node)] = operand.draw(bundle.dtype, key, batch)
        for node in (n for level in part.flows for n in level):
            generator = np.random.default_rng([*name_of(node).encode(), batch])
            shape = resolve(node.shape, {"batch": batch})
            given[name_of(node)] = generator.uniform(-1, 1, shape).astype(node.dtype)
    return given


def name_of(node: Node) -> str:
    """An input's name."""
    assert isinstance(node.op, leaf.Input)
    return node.op.name


def run(program: Program, given: Mapping[str, Array]) -> tuple[Array, ...]:
    """Call a program with those of the values that it takes."""
    result: tuple[Array, ...] = program(**{n: given[n] for n in map(name_of, program.inputs)})
    return result


def close(found: Array, wanted: Array, case: Case, what: str, factor: float = 1.0) -> None:
    """Assert equal types, shapes, NaNs and infinities, and numbers that agree to rounding."""
    assert found.dtype == wanted.dtype, (case.name, what, found.dtype, wanted.dtype)
    assert found.shape == wanted.shape, (case.name, what, found.shape, wanted.shape)
    if not is_float(str(wanted.dtype)):
        np.testing.assert_array_equal(found, wanted, err_msg=f"{case.name}: {what}")
        return
    unit = UNIT[str(wanted.dtype)] * 200 * factor * case.tolerance
    finite = np.abs(wanted[np.isfinite(wanted)])
    size = max(1.0, float(finite.max())) if finite.size else 1.0
    np.testing.assert_allclose(
        found, wanted, rtol=unit, atol=unit * size, err_msg=f"{case.name}: {what}", equal_nan=True
    )


def agree(bundle: Bundle, found: Iterable[Array], given: Mapping[str, Array], what: str) -> None:
    """Assert that a program's results are the oracle's."""
    wanted = evaluate(bundle.outputs, given)
    for (part, mine), (_, other) in zip(bundle.apart(found), bundle.apart(wanted), strict=True):
        for level, (ours, theirs) in enumerate(zip(mine, other, strict=True)):
            shapes = [o.shape for o in part.case.operands]
            for value, reference in zip(ours, theirs, strict=True):
                close(
                    value,
                    reference,
                    part.case,
                    f"{what}, case {part.number}, {shapes}, derivative {level}",
                    10.0**level,
                )


# --- the dictionary -------------------------------------------------------------------------


def test_every_op_has_a_case_and_a_manual_page() -> None:
    known = {*by_op(), *NO_CASES}
    assert known >= set(ops.__all__), "ops without a case in tests/cases.py"
    assert known <= set(ops.__all__), "cases of ops that are none"
    bare = [n for n in ops.__all__ if not (getattr(ops, n).__doc__ or "").strip()]
    assert not bare, "ops without a docstring"


# --- value and gradient ---------------------------------------------------------------------


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_native_equals_the_oracle(name: str, dtype: str) -> None:
    """Values, gradients, and in float64 their gradients; a second run gives the same bits."""
    order = 2 if dtype == "float64" else 1
    program, given = compiled(name, dtype, order), feeds(bundle(name, dtype, order))
    found = run(program, given)
    agree(bundle(name, dtype, order), found, given, dtype)
    same_bits(run(program, given), found, "a second run")


@pytest.mark.parametrize("name", [n for n in OPS if any(c.dtypes for c in by_op()[n])])
@pytest.mark.parametrize("dtype", EVERY)
def test_native_equals_the_oracle_on_whole_numbers(name: str, dtype: str) -> None:
    space = bundle(name, dtype, 0)
    if not space.parts:
        pytest.skip(f"{name} takes no {dtype}")
    given = feeds(space)
    agree(space, run(compiled(name, dtype, 0), given), given, dtype)


@pytest.mark.parametrize("name", OPS)
def test_derivatives_are_the_central_differences(name: str) -> None:
    """Both orders at once: results against gradients, gradients against theirs, by the program."""
    space, program = bundle(name, "float64", 2), compiled(name, "float64", 2)
    given, step = feeds(space), 1e-5
    ways = {
        name_of(x): np.random.default_rng([5, p.number, i]).uniform(-1, 1, given[name_of(x)].shape)
        for p in space.parts
        for i, (x, o) in enumerate(zip(p.inputs, p.case.operands, strict=True))
        if o.real
    }
    moved = [
        space.apart(run(program, given | {n: given[n] + s * step * w for n, w in ways.items()}))
        for s in (1, -1)
    ]
    here = space.apart(run(program, given))
    for (part, levels), (_, above), (_, below) in zip(here, *moved, strict=True):
        case = part.case
        if not case.differences:
            continue
        names = [name_of(x) for x, o in zip(part.inputs, case.operands, strict=True) if o.real]
        for level in range(min(2, case.order)):
            if not levels[level + 1]:
                continue
            flows = [given[name_of(n)] for n in part.flows[level]]
            slope = sum(
                float(((a - b) * g).sum()) / (2 * step)
                for a, b, g in zip(floats(above[level]), floats(below[level]), flows, strict=True)
            )
            derived = sum(
                float((d * ways[n]).sum()) for d, n in zip(levels[level + 1], names, strict=True)
            )
            size = max(1.0, *(np.abs(d).max() for d in levels[level + 1] if d.size), 1.0)
            shapes = [o.shape for o in case.operands]
            np.testing.assert_allclose(
                derived, slope, rtol=2e-6, atol=2e-6 * size,
                err_msg=f"{name}, case {part.number}, {shapes}, derivative {level + 1}",
            )  # fmt: skip


def floats(values: Iterable[Array]) -> Iterator[Array]:
    """Those of a float dtype."""
    return (v for v in values if is_float(str(v.dtype)))


# --- extremes -------------------------------------------------------------------------------


def filled(bundle: Bundle, value: float) -> dict[str, Array]:
    """As feeds, every real operand one number everywhere, every cotangent 1."""
    given = {n: np.ones_like(v) if n[0] == "g" else v for n, v in feeds(bundle).items()}
    for part in bundle.parts:
        for node, operand in zip(part.inputs, part.case.operands, strict=True):
            if operand.real:
                given[name_of(node)] = np.full_like(given[name_of(node)], value)
    return given


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("value", [-80.0, 0.0, 80.0])
def test_values_and_gradients_are_finite_at_extremes(name: str, value: float) -> None:
    space, program = bundle(name, "float32", 1), compiled(name, "float32", 1)
    for part, levels in space.apart(run(program, filled(space, value))):
        if value not in part.case.extremes or any(0 in o.shape for o in part.case.operands):
            continue
        shapes = [o.shape for o in part.case.operands]
        for level, values in enumerate(levels):
            for result in floats(values):
                what = f"{name}, case {part.number}, {shapes}, derivative {level} at {value}"
                assert np.isfinite(result).all(), f"{what}: {result}"


@pytest.mark.parametrize("name", OPS)
def test_nan_propagates(name: str) -> None:
    """One NaN in an operand goes where the oracle's does; NaN everywhere leaves no number."""
    space, program = bundle(name, "float32", 1), compiled(name, "float32", 1)
    given = feeds(space)
    for part in space.parts:
        for node, operand in zip(part.inputs, part.case.operands, strict=True):
            value = given[name_of(node)]
            if operand.real and value.size and part.case.nan:
                value.flat[value.size // 2] = np.nan
                break
    agree(space, run(program, given), given, "one NaN")
    for part, levels in space.apart(run(program, filled(space, np.nan))):
        reads = [o for o in part.case.operands if o.real and 0 not in o.shape]
        if part.case.swallows or len(reads) < len(part.case.operands) or not reads:
            continue
        for result in floats(levels[0]):
            assert np.isnan(result).all(), (name, part.number, result)


def test_the_first_of_equal_infinities_gets_the_gradient() -> None:
    """Windows and rows of nothing but -inf (inf), padded ones too, still have a first extreme."""
    x, g = leaf.input("x", (1, 1, 7)), leaf.input("g", (1, 1, 4))
    pools = [ops.max_pool1d(x, 3, stride=2, padding=1)]
    rows = [ops.max(x, 2), ops.argmax(x, 2), ops.argmin(ops.neg(x), 2), ops.min(ops.neg(x), 2)]
    outputs = [*pools, *rows, *vjp(pools, [x], [g]), *vjp(rows[:1], [x], [ops.sum(g, 2)])]
    given = {"x": np.full((1, 1, 7), -np.inf, np.float32), "g": np.ones((1, 1, 4), np.float32)}
    for target in (None, "sse2"):
        found = graphc.compile(outputs, target=target)(**given)
        for value, wanted in zip(found, evaluate(outputs, given), strict=True):
            np.testing.assert_array_equal(value, wanted)


# --- programs that must agree ---------------------------------------------------------------


def same_bits(found: Iterable[Array], wanted: Iterable[Array], what: str) -> None:
    """Assert equality bit for bit."""
    for number, (a, b) in enumerate(zip(found, wanted, strict=True)):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_array_equal(bits(a), bits(b), err_msg=f"{what}: output {number}")


def bits(value: Array) -> Array:
    """An array's bytes, with every NaN the same one."""
    value = np.ascontiguousarray(value)
    if is_float(str(value.dtype)):
        value = np.where(np.isnan(value), np.asarray(np.nan, value.dtype), value)
    return value.reshape(-1).view(np.uint8)


@pytest.mark.parametrize("name", OPS)
def test_fused_equals_unfused_bit_for_bit(name: str) -> None:
    given = feeds(bundle(name, "float32", 1))
    fused = run(compiled(name, "float32", 1), given)
    same_bits(run(compiled(name, "float32", 1, skip="fuse"), given), fused, name)


@pytest.mark.parametrize("name", OPS)
def test_cached_equals_fresh(name: str) -> None:
    """What was compiled now, or earlier in this run, against what its stored code gives."""
    given = feeds(bundle(name, "float32", 1))
    fresh = run(compiled(name, "float32", 1), given)
    cached = graphc.compile(bundle(name, "float32", 1).outputs)
    assert cached.loaded is not None and cached.loaded.from_cache
    same_bits(run(cached, given), fresh, f"{name}, from the cache")


@pytest.mark.parametrize("name", OPS)
def test_scalar_loops_agree_with_tiled_ones(name: str) -> None:
    space = bundle(name, "float32", 1)
    given = feeds(space)
    agree(space, run(compiled(name, "float32", 1, skip="tile,order"), given), given, "scalar loops")


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("target", ["avx2", "sse2"])
def test_other_targets_agree_with_the_oracle(name: str, target: str) -> None:
    space = bundle(name, "float32", 1)
    program = compiled(name, "float32", 1, target=target)
    if not program.stages.target.native:
        pytest.skip(f"this machine does not run {target}")
    given = feeds(space)
    agree(space, run(program, given), given, target)


@pytest.mark.parametrize("name", OPS)
def test_neon_compiles_to_assembly(name: str) -> None:
    assert "ret" in compiled(name, "float32", 0, target="neon").as_text("asm")


@pytest.mark.parametrize("name", [n for n in OPS if any(c.batched for c in by_op()[n])])
def test_a_run_time_extent_needs_no_recompile(name: str) -> None:
    space = bundle(name, "float32", 1, symbolic=True)
    program = compiled(name, "float32", 1, symbolic=True)
    for batch in (1, 3, 17, 4):
        given = feeds(space, batch)
        agree(space, run(program, given), given, f"batch {batch}")
