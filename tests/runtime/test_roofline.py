"""Roofs and points: what bounds a kernel, and what was measured of the machine."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import cache, ops
from graphc.runtime import limits as limits_
from graphc.runtime.limits import Gauge, Level, Limits, limits, measured, places, read
from graphc.runtime.profile import Profile
from graphc.runtime.profile import rows as timed
from graphc.runtime.roofline import roofline

LIMITS = Limits(
    "a machine",
    1,
    {"float32": 100.0, "float64": 50.0},
    (Level("L1", 1 << 15, 200.0), Level("L2", 1 << 19, 100.0), Level("memory", 1 << 28, 20.0)),
    0.0,
)


def profiled(size: int, dtype: str = "float32") -> tuple[Any, Profile]:
    """A product, and a sum of two vectors, each taking a microsecond."""
    a, b = (graphc.input(name, (size, size), dtype) for name in "ab")
    program = graphc.compile([a @ b, a + b], target="avx2", threads=1)
    rows = program.cost().rows
    return program, Profile(timed(list(rows), [1e-6] * len(rows)), 1, 1e-6, {})


@pytest.mark.parametrize(("dtype", "peak"), [("float32", 100.0), ("float64", 50.0)])
def test_the_roof_is_what_takes_longest(dtype: str, peak: float) -> None:
    program, profile = profiled(64, dtype)
    found = {"matmul" in p.ops: p for p in roofline(program.stages, profile, LIMITS)}
    product, total = found[True], found[False]
    size = 64 * 64 * (4 if dtype == "float32" else 8)
    assert product.bound == dtype
    assert product.roof == pytest.approx(2 * 64**3 / peak / 1e9)
    assert total.bound == "L2" and total.roof == pytest.approx(3 * size / 100 / 1e9)
    assert product.fraction == pytest.approx(product.roof / 1e-6)
    assert product.intensity == pytest.approx(2 * 64**3 / (3 * size))


def test_data_that_no_cache_holds_is_the_memorys() -> None:
    program, profile = profiled(512)
    (total,) = [p for p in roofline(program.stages, profile, LIMITS) if "matmul" not in p.ops]
    assert total.bound == "memory"


def test_the_table_and_the_data() -> None:
    program, profile = profiled(64)
    found = roofline(program.stages, profile, LIMITS)
    lines = str(found).splitlines()
    assert "float32 100.0, float64 50.0 GFLOP/s; L1 200.0, L2 100.0, memory 20.0 GB/s" in lines[0]
    assert "must read and write" in lines[1]
    assert [line.split()[0] for line in lines[4:]] == [point.kernel for point in found]
    data = json.loads(json.dumps(found.as_json()))
    assert [row["bound"] for row in data["kernels"]] == [point.bound for point in found]
    assert data["limits"]["levels"][0] == {"name": "L1", "bytes": 1 << 15, "gbytes": 200.0}


def test_a_program_measures_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_, "measured", lambda threads: replace(LIMITS, when=time.time()))
    x = graphc.input("x", ("n", 64))
    program = graphc.compile(ops.tanh(x), threads=1)
    found = program.roofline([np.ones((8, 64), np.float32)], repeats=3, measure=True)
    assert len(found) == len(program.kernels) and found.limits == LIMITS
    assert all(point.fraction > 0 and point.seconds > 0 for point in found)


# --- the machine ----------------------------------------------------------------------------


def test_what_was_measured_is_kept_for_a_day(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path))
    calls, now = [], [1000.0]

    def counted(threads: int) -> Limits:
        calls.append(threads)
        return replace(LIMITS, threads=threads, when=now[0])

    monkeypatch.setattr(limits_, "measured", counted)
    monkeypatch.setattr(limits_.time, "time", lambda: now[0])
    assert limits(1) == limits(1) and calls == [1]
    limits(2)
    assert calls == [1, 2]  # other threads, other limits
    now[0] += 23 * 3600
    limits(1)
    assert calls == [1, 2]
    now[0] += 2 * 3600
    limits(1)
    limits(1, measure=True)
    assert calls == [1, 2, 1, 1]
    now[0] -= 3600  # a clock that was set back: measured in the future
    limits(1)
    assert calls == [1, 2, 1, 1, 1]


def test_what_is_kept_and_damaged_is_nothing() -> None:
    for data in (None, b"", b"[1]", b"{}", b'{"levels": 3}', b'{"levels": [{"name": "L1"}]}'):
        assert read(data) is None


def test_measuring_without_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", "off")
    monkeypatch.setattr(limits_, "measured", lambda threads: LIMITS)
    assert limits(1) == LIMITS and cache.folder() is None


def test_gauges_measure() -> None:
    """The numbers are those of a processor: no cache is faster than what is nearer, by far."""
    gauge = Gauge("float32")
    assert 0.5 < gauge.gflops(1) < 1000
    near, far = gauge.gbytes(16 << 10, 1), gauge.gbytes(48 << 20, 1)
    assert 0.5 < far < near * 1.5 < 5000
    assert gauge.gbytes(64 << 10, 2, past=True) > 0.5


def test_places_are_in_order_of_size() -> None:
    sizes = [size for _, size, _ in places(1)]
    assert sizes == sorted(sizes) and places(1)[-1][0] == "memory"
    assert all(moved <= size for _, size, moved in places(2))


def test_measured_has_every_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_, "places", lambda threads: [("L1", 1 << 15, 1 << 14)])
    found = measured(1)
    assert [level.name for level in found.levels] == ["L1"]
    assert found.gflops["float32"] > found.gflops["float64"] * 1.2
    assert found.level(1) is found.levels[0] is found.level(1 << 40)
