"""Running a function over its operands, block by block, in every target at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import mpmath
import numpy as np

import graphc
from tests.exhaustive.error import Array, Tally, distances
from tests.exhaustive.subjects import Subject

BLOCK = 1 << 15  # what lies in the second level of cache with its float64 values
_INDICES = np.arange(BLOCK, dtype=np.uint32)
RANDOM_BLOCKS = 1 << 13
# The operands whose results the report shows.
POINTS = (0.0, -0.0, 2.0**-149, -(2.0**-149), np.inf, -np.inf, np.nan)
# Where two numbers from this table meet, something special happens.
EDGES = [0.0, 2.0**-149, 2.0**-140, 2.0**-127, 2.0**-126 - 2.0**-149, 2.0**-126, 2.0**-63, 1e-30]
EDGES += [0.1, 1 / 3, 0.5, 1 - 2.0**-24, 1.0, 1 + 2.0**-23, 1.5, 2.0, 3.0, 7.0, 10.0, 127.0, 128.0]
EDGES += [149.0, 2.0**23, 2.0**23 + 1, 2.0**24, 1e10, 2.0**63, 2.0**126, 2.0**127, np.inf, np.nan]


@dataclass
class Outcome:
    """A function's errors in each target, and how far the reference itself is off."""

    subject: Subject
    tallies: dict[str, Tally]
    reference: float = 0.0  # ULP of float32, against mpmath
    points: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def within(self) -> bool:
        """Whether the bound holds everywhere and no sign is wrong."""
        return all(t.error <= self.subject.bound and not t.signs for t in self.tallies.values())


def programs(subject: Subject, targets: Sequence[str], size: int) -> dict[str, Any]:
    """The function as a compiled program of each target."""
    operands = [graphc.input(f"x{i}", (size,)) for i in range(subject.arity)]
    return {t: graphc.compile(subject.build(*operands), target=t) for t in targets}


def patterns(first: int, every: int) -> Array:
    """A block of the float32 numbers whose bits are first, first + every, ..., modulo 2**32."""
    steps = _INDICES * np.uint32(every)
    return (steps + np.uint32(first)).view(np.float32)


def bits(numbers: int, generator: np.random.Generator) -> Array:
    """Float32 numbers of arbitrary bits."""
    return generator.integers(0, 1 << 32, numbers, dtype=np.uint32).view(np.float32)


def pairs(random_blocks: int) -> Iterator[tuple[Array, Array]]:
    """Blocks of two operands.

    Edges with edges; whole numbers with whole numbers; and three kinds of random ones: arbitrary
    bits, arbitrary mantissas of nearby exponents, and a base with an exponent whose power exists.
    """
    generator = np.random.default_rng(0)
    signed = np.array([*EDGES, *(-edge for edge in EDGES)], np.float32)
    grid = [axis.ravel() for axis in np.meshgrid(signed, signed)]
    yield np.resize(grid[0], BLOCK), np.resize(grid[1], BLOCK)
    whole = np.arange(1 << 10, dtype=np.float32)
    rows = BLOCK // whole.size
    for row in range(0, whole.size, rows):
        left, right = np.meshgrid(whole, whole[row : row + rows])
        yield left.ravel(), right.ravel()
    for number in range(random_blocks):
        if number % 3 == 0:
            yield bits(BLOCK, generator), bits(BLOCK, generator)
        elif number % 3 == 1:
            x, y = generator.uniform(1.0, 2.0, (2, BLOCK)).astype(np.float32)
            yield x, np.ldexp(y, generator.integers(-2, 3, BLOCK)).astype(np.float32)
        else:
            base = np.abs(bits(BLOCK, generator))
            with np.errstate(all="ignore"):
                power = generator.uniform(-105, 90, BLOCK) / np.log(base.astype(np.float64))
                yield base, power.astype(np.float32)


def blocks(subject: Subject, every: int) -> range:
    """The bits at which blocks of one operand begin; those of one sign if the other mirrors it."""
    end = 1 << (31 if subject.mirror else 32)
    return range(0, end, BLOCK * every)


def sweep(
    subject: Subject,
    targets: Sequence[str],
    every: int = 1,
    samples: int = 6000,
    advance: Callable[[float], None] = lambda _: None,
) -> Outcome:
    """Measure a function at one operand in `every`, and its reference at some `samples`.

    `advance` hears the part that is done, from 0 to 1.
    """
    outcome = Outcome(subject, {target: Tally() for target in targets})
    started = perf_counter()
    native = programs(subject, targets, BLOCK)
    with np.errstate(all="ignore"):
        if subject.arity == 2:
            count = -(-RANDOM_BLOCKS // every)
            for done, operands in enumerate(pairs(count)):
                compare(outcome, native, operands)
                advance(min(done / count, 1.0))
        else:
            starts = blocks(subject, every)
            for done, first in enumerate(starts):
                compare(outcome, native, (patterns(first, every),))
                if done % 64 == 0:
                    advance(done / len(starts))
            outcome.points = {t: values(native[t]) for t in targets}
    advance(1.0)
    outcome.reference = reference_error(subject, samples)
    for tally in outcome.tallies.values():
        confirm(subject, tally)
    outcome.seconds = perf_counter() - started
    return outcome


def compare(outcome: Outcome, native: Mapping[str, Any], operands: tuple[Array, ...]) -> None:
    """Add a block to the tallies; of a mirrored function also the block of the other sign."""
    subject = outcome.subject
    exact = subject.reference(*(operand.astype(np.float64) for operand in operands))
    rounded = exact.astype(np.float32)
    sides = [(operands, exact, rounded)]
    if subject.mirror > 0:
        sides.append(((-operands[0],), exact, rounded))
    elif subject.mirror < 0:
        sides.append(((-operands[0],), -exact, -rounded))
    for given, *expected in sides:
        for target, tally in outcome.tallies.items():
            (result,) = native[target](*given)
            tally.add(given, result, *expected)


def values(program: Any) -> list[float]:
    """The function at the points that the report shows."""
    operand = np.resize(np.array(POINTS, np.float32), BLOCK)
    return [float(value) for value in program(operand)[0][: len(POINTS)]]


def precisely(subject: Subject, point: tuple[float, ...]) -> Any:
    """The function's value by mpmath, to 300 bits."""
    with mpmath.workprec(300):
        return subject.precise(*(mpmath.mpf(value) for value in point))


def reference_error(subject: Subject, samples: int) -> float:
    """The largest error of the float64 reference at random operands, in ULP of float32."""
    generator = np.random.default_rng(1)
    drawn = np.stack([bits(samples // 2, generator) for _ in range(subject.arity)])
    near = generator.uniform(-12, 12, (subject.arity, samples // 2)).astype(np.float32)
    worst = 0.0
    with np.errstate(all="ignore"):
        points = np.concatenate((drawn, near), axis=1).T.astype(np.float64)
    for point in points:
        with np.errstate(all="ignore"):
            value = subject.reference(*point)
        if np.isfinite(value) and value and np.isfinite(point).all():
            exact = precisely(subject, tuple(point))
            unit = max(np.frexp(abs(float(value)))[1], -125) - 24
            worst = max(worst, float(abs(mpmath.mpf(float(value)) - exact) * 2.0**-unit))
    return worst


def confirm(subject: Subject, tally: Tally) -> None:
    """Measure the worst results once more, against mpmath."""
    again = []
    for distance, point, result in tally.worst:
        exact = precisely(subject, point) if np.isfinite([*point, result]).all() else None
        if exact is not None and isinstance(exact, mpmath.mpf):
            whole = np.array([exact], np.float64)
            distance = float(distances(np.array([result], np.float32), whole)[0])
        again.append((distance, point, result))
    tally.worst = sorted(again, key=lambda entry: -entry[0])
