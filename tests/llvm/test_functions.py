"""The elementary functions: their stated errors, special cases, targets, and random numbers."""

from __future__ import annotations

import ctypes
import functools
import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from numpy.typing import NDArray

from graphc.llvm.builder import Builder, spell
from graphc.llvm.functions import FUNCTIONS, ULP
from graphc.ops import numeric, philox
from tests.exhaustive.error import distances

mpmath: Any = pytest.importorskip("mpmath")
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, of NaN and infinity

llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()

Array = NDArray[Any]
UNARY = (
    *("exp", "expm1", "log", "log1p", "logistic", "tanh", "sinh", "cosh"),
    *("sin", "cos", "tan", "atan", "erf"),
    *("sqrt", "rsqrt", "floor", "ceil", "rint", "trunc", "abs", "sign", "is_nan"),
)
BINARY = ("pow", "maximum", "minimum", "floor_divide", "remainder")
RANDOM = {"uniform": "float32", "normal": "float32", "uniform64": "float64", "normal64": "float64"}
FLOATS = ("float32", "float64")
INTEGERS = ("int32", "int64", "uint8")
EXACT = ("abs", "sign", "maximum", "minimum", "floor_divide", "remainder")
HOST = (llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
OLDER = {
    "avx2": (
        "x86-64-v3",
        "+avx2,+fma,-avx512f",
    ),
    "sse2": ("x86-64", "+sse2,-sse3,-sse4.1,-avx,-fma"),
}
SPECIAL = [
    0.0,
    1.0,
    0.5,
    1.5,
    2.0,
    2.5,
    3.0,
    88.7,
    103.9,
    1e-40,
    1e30,
    2.0**23,
    8388609.0,
    math.inf,
]


def loop(name: str, dtype: str, arity: int, lanes: int) -> tuple[str, set[str]]:
    """A function that applies one elementary function to arrays; and its declarations."""
    builder = Builder()
    kind = "int64" if name in RANDOM else dtype
    index = "%index"
    operands = []
    for position in range(arity):
        address = builder.define(
            "pointer", 1, f"getelementptr {spell(kind)}, ptr %p{position}, i64 {index}"
        )
        operands.append(
            builder.define(kind, lanes, f"load {spell(kind, lanes)}, {address}, align 1")
        )
    result = FUNCTIONS[name](builder, *operands)
    if result.dtype == "bool":
        result = builder.convert("zext", result, "uint8")
    assert result.lanes == lanes
    address = builder.define(
        "pointer", 1, f"getelementptr {spell(result.dtype)}, ptr %out, i64 {index}"
    )
    builder.emit(f"store {result}, {address}, align 1")
    parameters = ", ".join(f"ptr %p{position}" for position in range(arity))
    text = "\n".join(
        (
            f"define void @{name}_{dtype}({parameters}, ptr %out, i64 %count) {{",
            "entry:",
            "  br label %head",
            "head:",
            "  %index = phi i64 [0, %entry], [%next, %body]",
            "  %more = icmp slt i64 %index, %count",
            "  br i1 %more, label %body, label %exit",
            "body:",
            *builder.lines,
            f"  %next = add i64 %index, {lanes}",
            "  br label %head",
            "exit:",
            "  ret void",
            "}",
        )
    )
    return text, builder.declarations


def catalogue() -> Iterable[tuple[str, str, int]]:
    """Every function with an element type and its number of operands."""
    for dtype in FLOATS:
        yield from ((name, dtype, 1) for name in UNARY)
        yield from ((name, dtype, 2) for name in BINARY)
    for dtype in INTEGERS:
        yield from ((name, dtype, 1 if name in UNARY else 2) for name in EXACT)
    yield from ((name, dtype, 4) for name, dtype in RANDOM.items())


@functools.cache
def source(lanes: int) -> str:
    """One module with all of them."""
    texts, declarations = [], set()
    for name, dtype, arity in catalogue():
        text, needed = loop(name, dtype, arity, lanes)
        texts.append(text)
        declarations |= needed
    return "\n".join((*sorted(declarations), *texts))


def machine(target: tuple[str, str], triple: str | None = None) -> llvm.TargetMachine:
    """LLVM's code generator for a processor."""
    kind = llvm.Target.from_triple(triple or llvm.get_process_triple())
    created: llvm.TargetMachine = kind.create_target_machine(
        cpu=target[0], features=target[1], opt=2
    )
    return created


@functools.cache
def compiled(lanes: int, target: tuple[str, str] = HOST) -> llvm.ExecutionEngine:
    """The module as machine code."""
    module = llvm.parse_assembly(source(lanes))
    module.verify()
    engine = llvm.create_mcjit_compiler(module, machine(target))
    engine.finalize_object()
    return engine


def run(
    name: str, *operands: Array, lanes: int = 16, target: tuple[str, str] = HOST, dtype: str = ""
) -> Array:
    """Apply the native function to arrays of one length, a multiple of lanes."""
    kind = dtype or str(operands[0].dtype)
    count = len(operands[0])
    padded = -(-count // lanes) * lanes
    arrays = [np.ascontiguousarray(np.resize(operand, padded)) for operand in operands]
    result = np.empty(padded, dtype="uint8" if name == "is_nan" else kind)
    address = compiled(lanes, target).get_function_address(f"{name}_{kind}")
    assert address
    prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (len(arrays) + 1), ctypes.c_int64)
    prototype(address)(*(array.ctypes.data for array in arrays), result.ctypes.data, padded)
    return result[:count]


def error(result: Array, exact: Array) -> tuple[float, int]:
    """The greatest error in units in the last place of the exact result, and where it is.

    Infinities and NaN must be where rounding the exact result has them.
    """
    distance = distances(result, exact)
    worst = int(np.argmax(distance))
    return float(distance[worst]), worst


@functools.cache
def sample(stride: int) -> NDArray[np.float32]:
    """Every stride-th float32 bit pattern, and special values."""
    patterns = np.arange(0, 2**32, stride, dtype=np.uint64).astype(np.uint32).view(np.float32)
    special = np.array(SPECIAL, dtype=np.float32)
    return np.concatenate((patterns, special, -special, [np.float32(np.nan)]))


EXACTLY: dict[str, Callable[..., Array]] = {
    "atan": np.arctan,
    "logistic": numeric.VALUES["logistic"],
    "erf": np.vectorize(math.erf, otypes=[float]),
    "rsqrt": lambda x: 1 / np.sqrt(x),
}


def exactly(name: str, *operands: Array) -> Array:
    """numpy's function of float64 operands."""
    wide = [operand.astype(np.float64) for operand in operands]
    with np.errstate(all="ignore"):
        return EXACTLY.get(name, getattr(np, name, np.abs))(*wide)


def moderate(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The part of a sample where a function is neither its argument nor a constant."""
    return x[(np.abs(x) > 1e-4) & (np.abs(x) < 10)]


BOUNDED = tuple(name for name in ULP if name != "pow")


@pytest.mark.parametrize("name", BOUNDED)
def test_float32_is_within_its_bound(name: str) -> None:
    x = sample(997)
    if name == "erf":
        x = np.concatenate((sample(49999), moderate(x)[::3]))
    measured, worst = error(run(name, x), exactly(name, x))
    assert measured <= ULP[name], f"{name}({x[worst]!r}) is {measured:.3f} ULP off"


@pytest.mark.parametrize("target", OLDER)
@pytest.mark.parametrize("name", BOUNDED)
def test_float32_is_within_its_bound_on_older_processors(name: str, target: str) -> None:
    x = np.concatenate((sample(99991), moderate(sample(997))[::19]))
    measured, worst = error(run(name, x, target=OLDER[target]), exactly(name, x))
    assert measured <= ULP[name], f"{name}({x[worst]!r}) is {measured:.3f} ULP off"


@pytest.mark.parametrize("name", [*UNARY, *BINARY])
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_lane_alone_has_the_bits_of_a_vector(name: str, dtype: str) -> None:
    x = sample(99991).astype(dtype)
    operands = (x, x[::-1].copy())[: 2 if name in BINARY else 1]
    wide, alone = run(name, *operands), run(name, *operands, lanes=1)
    np.testing.assert_array_equal(wide, alone)
    finite = ~np.isnan(wide)
    np.testing.assert_array_equal(np.signbit(wide[finite]), np.signbit(alone[finite]))


def pairs() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Operands of a binary function: arbitrary bits, comparable magnitudes, special values."""
    generator = np.random.default_rng(0)
    bits = generator.integers(0, 2**32, (2, 300_000), dtype=np.uint32).view(np.float32)
    near = (generator.standard_normal((2, 300_000)) * 4).astype(np.float32)
    power = np.stack((np.exp(near[0] * 5), near[1])).astype(np.float32)
    whole = np.rint(near * 3)
    special = np.array([*SPECIAL, *(-s for s in SPECIAL), math.nan], dtype=np.float32)
    grid = np.stack([axis.ravel() for axis in np.meshgrid(special, special)])
    left, right = np.concatenate((bits, near, power, whole, grid), axis=1)
    return left, right


def test_pow_float32() -> None:
    x, y = pairs()
    measured, worst = error(run("pow", x, y), exactly("pow", x, y))
    assert measured <= ULP["pow"], f"{x[worst]!r} ** {y[worst]!r} is {measured:.3f} ULP off"


@pytest.mark.parametrize("dtype", FLOATS)
def test_pow_special_cases_are_numpys(dtype: str) -> None:
    special = np.array([*SPECIAL, *(-s for s in SPECIAL), math.nan], dtype=dtype)
    x, y = (axis.ravel() for axis in np.meshgrid(special, special))
    with np.errstate(all="ignore"):
        expected = np.power(x, y)
    result = run("pow", x, y)
    chosen = ~np.isfinite(expected) | (expected == 0) | (np.abs(expected) == 1)
    np.testing.assert_array_equal(result[chosen], expected[chosen])
    signed = chosen & ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(result[signed]), np.signbit(expected[signed]))


@pytest.mark.parametrize("lanes", [16, 1])
@pytest.mark.parametrize("name", ["floor", "ceil", "rint", "trunc", "abs", "sign", "is_nan"])
def test_rounding_and_signs_are_numpys(name: str, lanes: int) -> None:
    for dtype in FLOATS:
        x = np.concatenate((sample(9973), moderate(sample(9973)) * 3)).astype(dtype)
        reference = {"abs": np.abs, "is_nan": np.isnan}.get(name) or getattr(np, name)
        expected, result = reference(x), run(name, x, lanes=lanes)
        np.testing.assert_array_equal(result, expected)
        if name != "is_nan":
            known = ~np.isnan(x)
            np.testing.assert_array_equal(np.signbit(result[known]), np.signbit(expected[known]))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_extremes_propagate_nan(name: str, dtype: str) -> None:
    x, y = (operand.astype(dtype) for operand in pairs())
    np.testing.assert_array_equal(run(name, x, y), getattr(np, name)(x, y))


def test_remainder_and_floor_divide_float32() -> None:
    x, y = pairs()
    with np.errstate(all="ignore"):
        rest, quotient = np.remainder(x, y), np.floor_divide(x, y)
    result = run("remainder", x, y)
    np.testing.assert_array_equal(result, rest)
    known = ~np.isnan(rest)
    np.testing.assert_array_equal(np.signbit(result[known]), np.signbit(rest[known]))
    divided = run("floor_divide", x, y)
    # numpy's float32 quotient is rounded three times, its float64 one is exact in this range.
    with np.errstate(all="ignore"):
        precise = np.floor_divide(x.astype(np.float64), y.astype(np.float64))
        exact = precise.astype(np.float32)
    small = ~(np.abs(precise) >= 2.0**28)
    np.testing.assert_array_equal(divided[small], exact[small])
    known = small & ~np.isnan(quotient)
    np.testing.assert_array_equal(np.signbit(divided[known]), np.signbit(quotient[known]))
    np.testing.assert_allclose(divided[~small], exact[~small], rtol=2.0**-23)


def test_remainder_and_floor_divide_float64() -> None:
    generator = np.random.default_rng(1)
    x = generator.standard_normal(200_000) * 10.0 ** generator.integers(-8, 9, 200_000)
    y = generator.standard_normal(200_000) * 10.0 ** generator.integers(-3, 3, 200_000)
    special = np.array([*SPECIAL, *(-s for s in SPECIAL), math.nan, 1.7e308, -1e308, 5e-324])
    grid = [axis.ravel() for axis in np.meshgrid(special, special)]
    x, y = np.concatenate((x, grid[0])), np.concatenate((y, grid[1]))
    with np.errstate(all="ignore"):
        rest, quotient = np.remainder(x, y), np.floor_divide(x, y)
        within = ~(np.isfinite(x) & (y != 0) & (np.abs(x / y) >= 2.0**72))
    np.testing.assert_array_equal(run("remainder", x, y)[within], rest[within])
    assert np.isnan(run("remainder", x, y)[~within]).all()
    divided = run("floor_divide", x, y)
    small = ~(np.abs(quotient) >= 2.0**50)
    np.testing.assert_array_equal(divided[small], quotient[small])
    np.testing.assert_allclose(divided[~small], quotient[~small], rtol=2.0**-50)


@pytest.mark.parametrize("lanes", [16, 1])
@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_are_numpys(name: str, dtype: str, lanes: int) -> None:
    information = np.iinfo(dtype)
    edges = [information.min, information.min + 1, 0, 1, 2, 3, 7, 100, information.max]
    edges += [-1, -2, -7] if information.min else []
    generator = np.random.default_rng(2)
    drawn = generator.integers(information.min, information.max, (2, 3000), dtype=dtype)
    small = generator.integers(-9 if information.min else 0, 9, (2, 3000)).astype(dtype)
    grid = np.stack([axis.ravel() for axis in np.meshgrid(edges, edges)]).astype(dtype)
    x, y = np.concatenate((drawn, small, grid), axis=1)
    operands = (x,) if name in UNARY else (x, y)
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(*operands)
    np.testing.assert_array_equal(run(name, *operands, lanes=lanes), expected)


PRECISE: dict[str, tuple[Callable[..., Any], float, float]] = {
    "exp": (mpmath.exp, -745, 709.7),
    "expm1": (mpmath.expm1, -40, 709.7),
    "log": (mpmath.log, 1e-320, 1e300),
    "log1p": (mpmath.log1p, -0.999, 1e10),
    "logistic": (lambda x: 1 / (1 + mpmath.exp(-x)), -744, 800),
    "tanh": (mpmath.tanh, -20, 20),
    "sinh": (mpmath.sinh, -710, 710),
    "cosh": (mpmath.cosh, -710, 710),
    "sin": (mpmath.sin, -1e8, 1e8),
    "cos": (mpmath.cos, -1e8, 1e8),
    "tan": (mpmath.tan, -1e8, 1e8),
    "atan": (mpmath.atan, -50, 50),
    "erf": (mpmath.erf, -6.5, 6.5),
    "sqrt": (mpmath.sqrt, 0, 1e300),
    "rsqrt": (lambda x: 1 / mpmath.sqrt(x), 1e-300, 1e300),
}


def measure(result: Array, exact: list[Any]) -> float:
    """The greatest error of a float64 result in its units in the last place."""
    pairs = zip(result.tolist(), exact, strict=True)
    return max(float(abs(mpmath.mpf(a) - b) / math.ulp(float(b))) for a, b in pairs)


@pytest.mark.parametrize("target", ["host", "sse2"])
@pytest.mark.parametrize("name", PRECISE)
def test_float64_is_within_4_ulp(name: str, target: str) -> None:
    reference, low, high = PRECISE[name]
    generator = np.random.default_rng(3)
    close = generator.uniform(max(low, -3), min(high, 3), 300)
    tiny = generator.uniform(0, 1, 60) * 10.0 ** generator.integers(-18, 0, 60)
    wide = np.exp(generator.uniform(-5, math.log(high), 60)) * np.sign(low)
    x = np.concatenate((generator.uniform(low, high, 200), close, tiny, np.abs(wide)))
    x = x[(x >= low) & (x <= high)]
    x = np.concatenate((x, np.array([math.pi, math.pi / 2, 1.0, 2 / 3, 4 / 3])))
    with mpmath.workprec(160):
        exact = [reference(mpmath.mpf(v)) for v in x.tolist()]
        chosen = OLDER.get(target, HOST)
        assert measure(run(name, x, target=chosen), exact) <= 4.0


def test_float64_pow() -> None:
    generator = np.random.default_rng(4)
    x = np.exp(generator.uniform(-3, 3, 800) * generator.integers(0, 2, 800) * 20)
    x *= generator.uniform(0.5, 2, 800)
    y = generator.uniform(-1, 1, 800) * 700 / np.maximum(np.abs(np.log(x)), 1e-3)
    with mpmath.workprec(160):
        exact = [mpmath.power(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
        assert measure(run("pow", x, y), exact) <= 256.0


@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.parametrize("dtype", FLOATS)
def test_zeros_infinities_and_nan(name: str, dtype: str) -> None:
    x = np.array([0.0, -0.0, math.inf, -math.inf, math.nan], dtype=dtype)
    expected = exactly(name, x).astype(dtype)
    result = run(name, x)
    np.testing.assert_array_equal(result, expected)
    known = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(result[known]), np.signbit(expected[known]))


def test_huge_arguments_of_the_circular_functions() -> None:
    x = np.array([3.4e38, 1e22, 5.5e25, 1.6e12, 8.8e12, 7.7e25, 16367173 * 2.0**72], np.float32)
    with mpmath.workprec(300):
        for name in ("sin", "cos", "tan"):
            exact = [float(getattr(mpmath, name)(mpmath.mpf(v))) for v in x.tolist()]
            measured, worst = error(run(name, x), np.array(exact))
            assert measured <= ULP[name], (name, x[worst])
    assert np.isnan(run("sin", np.array([1e9, math.inf]))).all()


@pytest.mark.parametrize("lanes", [1, 3, 4, 8, 16])
@pytest.mark.parametrize("target", ["host", *OLDER])
def test_nothing_is_called(target: str, lanes: int) -> None:
    module = llvm.parse_assembly(source(lanes))
    assembly = machine(OLDER.get(target, HOST)).emit_assembly(module)
    assert not re.findall(r"\bcallq?\b.*|.*@PLT", assembly)


def test_nothing_is_called_on_arm() -> None:
    module = llvm.parse_assembly(source(4))
    assembly = machine(("generic", "+neon"), "aarch64-unknown-linux-gnu").emit_assembly(module)
    assert not re.findall(r"\tblr?\t.*", assembly)


KNOWN = [
    ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_philox_known_answers(counter: list[int], key: list[int], expected: str) -> None:
    arrays = [np.array(word, dtype=np.uint64) for word in (*counter, *key)]
    words = philox.philox(arrays[:4], arrays[4:])
    assert " ".join(f"{int(word):08x}" for word in words) == expected


def coordinates() -> tuple[NDArray[np.int64], ...]:
    """Seeds, steps, streams and positions: arbitrary, consecutive, and all zeros or ones."""
    generator = np.random.default_rng(5)
    information = np.iinfo(np.int64)
    drawn = generator.integers(information.min, information.max, (4, 20_000))
    drawn = np.concatenate((drawn, np.zeros((4, 1), int), -np.ones((4, 1), int)), axis=1)
    line = np.stack(np.broadcast_arrays(7, 3, 11, np.arange(100_000)))
    return tuple(np.concatenate((drawn, line), axis=1))


@pytest.mark.parametrize("target", ["host", *OLDER])
@pytest.mark.parametrize("lanes", [16, 1])
def test_random_numbers_are_the_oracles(lanes: int, target: str) -> None:
    place = coordinates()
    chosen = OLDER.get(target, HOST)
    for name, dtype in RANDOM.items():
        result = run(name, *place, lanes=lanes, dtype=dtype, target=chosen)
        expected = getattr(philox, name)(*place)
        assert result.dtype == expected.dtype
        if name.startswith("uniform"):
            np.testing.assert_array_equal(result, expected)
            continue
        tolerance = {"float32": 2.0**-20, "float64": 2.0**-48}[dtype]
        np.testing.assert_allclose(result, expected, rtol=0, atol=tolerance)
        np.testing.assert_array_equal(result, run(name, *place, dtype=dtype))


def test_normal_numbers_are_normal() -> None:
    for name in ("normal", "normal64"):
        drawn = getattr(philox, name)(1, 2, 3, np.arange(400_000)).astype(np.float64)
        assert abs(drawn.mean()) < 0.01
        assert abs(drawn.std() - 1) < 0.01
        assert abs((drawn**4).mean() - 3) < 0.1


def test_scalar_seeds_are_repeated() -> None:
    builder = Builder()
    seed = builder.constant("int64", 5)
    position = builder.iota("int64", 8)
    assert FUNCTIONS["normal"](builder, seed, seed, seed, position).lanes == 8
