"""How to call each op of the dictionary: operands and attributes for the contract that all keep.

A shape's "batch" is a run-time extent where a test wants one, else 3. Real operands are drawn away
from the kinks that an op has at 0; what an op may not be given is narrowed by `within`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc import ops
from graphc.graph.leaf import constant
from graphc.graph.node import Node
from graphc.types import Shape, resolve

Array = np.ndarray[Any, Any]
Call = Callable[..., Any]

BATCH = 3
WHOLE = ("int32", "int64", "uint8")
EVERY = (*WHOLE, "bool")


@dataclass(frozen=True)
class Operand:
    """A shape, and what lies in it: reals of (low, high), whole numbers below a bound, truths."""

    shape: Shape
    low: float = -2.0
    high: float = 2.0
    bound: int | None = None
    dtype: str | None = None

    def draw(self, dtype: str, key: Sequence[int], batch: int = BATCH) -> Array:
        """The operand's value, the same for the same key; `dtype` where it has none of its own."""
        shape = resolve(self.shape, {"batch": batch})
        generator = np.random.default_rng([*key, batch])
        kind = self.dtype or dtype
        if self.bound is not None:
            return generator.integers(0, self.bound, shape).astype(kind)
        if kind == "bool":
            return generator.integers(0, 2, shape).astype(bool)
        if not kind.startswith("float"):
            info = np.iinfo(kind)
            small = generator.integers(max(-9, int(info.min)), 10, shape)
            large = generator.integers(info.min, info.max, shape, dtype=kind, endpoint=True)
            return np.where(generator.random(shape) < 0.5, small, large).astype(kind)
        drawn = generator.uniform(self.low, self.high, shape).astype(kind)
        near = np.abs(drawn) < 0.02  # a kink at 0 is further away than central differences reach
        return np.asarray(np.where(near, np.asarray(0.05, kind), drawn))

    @property
    def real(self) -> bool:
        """Whether a gradient may be asked for."""
        return self.dtype is None and self.bound is None


@dataclass(frozen=True)
class Case:
    """One way to call an op, and which clauses of the contract hold for it."""

    name: str
    call: Call
    operands: tuple[Operand, ...]
    dtypes: tuple[str, ...] = ()  # beside the floats
    extremes: tuple[float, ...] = (-80.0, 0.0, 80.0)
    differences: bool = True
    order: int = 2
    swallows: bool = False
    nan: bool = True
    tolerance: float = 1.0

    def results(self, inputs: Sequence[Node]) -> list[Node]:
        """The op's results as a list."""
        made = self.call(*inputs)
        return list(made) if isinstance(made, tuple | list) else [made]

    @property
    def batched(self) -> bool:
        """Whether some operand has the run-time extent."""
        return any("batch" in o.shape for o in self.operands)


CASES: list[Case] = []


def case(name: str, call: Call, *operands: Operand | Shape, **options: Any) -> None:
    """Add a case; a bare shape is an operand of reals."""
    made = tuple(o if isinstance(o, Operand) else Operand(o) for o in operands)
    CASES.append(Case(name, call, made, **options))


def within(low: float, high: float, *shape: Any) -> Operand:
    """An operand of reals of an interval."""
    return Operand(shape, low, high)


def below(bound: int, *shape: Any, dtype: str = "int64") -> Operand:
    """An operand of indices or labels."""
    return Operand(shape, bound=bound, dtype=dtype)


def truth(*shape: Any) -> Operand:
    """A mask."""
    return Operand(shape, dtype="bool")


# --- pointwise ------------------------------------------------------------------------------

SHAPES: tuple[Shape, ...] = (("batch", 17), (33,), (2, 1, 5), (0, 3), ())
POSITIVE = (80.0,)


def unary(name: str, low: float = -4.0, high: float = 4.0, **options: Any) -> None:
    """An op of one operand, over the odd shapes."""
    attributes = options.pop("attributes", {})
    for shape in options.pop("shapes", SHAPES):
        case(
            name,
            lambda x: getattr(ops, name)(x, **attributes),
            Operand(shape, low, high),
            **options,
        )


SHORT: tuple[Shape, ...] = (("batch", 5), (0, 3))
for _name in "neg sign square relu6 relu hardtanh hardsigmoid hardswish step".split():
    unary(_name, dtypes=WHOLE if _name in ("neg", "sign", "square") else ())
unary("abs", dtypes=WHOLE)
for _name in "sin cos tan tanh erf sigmoid log_sigmoid expm1 exp".split():
    unary(_name, -1.4, 1.4, dtypes=("int32", "uint8") if _name == "exp" else ())
for _name in "leaky_relu elu selu celu gelu silu mish softplus softsign".split():
    unary(_name)
for _name, _attributes in [
    ("gelu", {"approximate": "tanh"}),
    ("leaky_relu", {"negative_slope": 0.3}),
    ("elu", {"alpha": 0.7}),
    ("celu", {"alpha": 2}),
    ("softplus", {"beta": 3, "threshold": 5}),
    ("hardtanh", {"min_val": -2, "max_val": 0.5}),
]:
    unary(_name, shapes=SHORT, attributes=_attributes)
for _name in "floor ceil round trunc".split():
    unary(_name, dtypes=WHOLE)
for _name in "sqrt rsqrt log reciprocal".split():
    unary(_name, 0.3, 4, extremes=POSITIVE, dtypes=("int32",) if _name == "reciprocal" else ())
unary("log1p", -0.6, 4, extremes=(0.0, 80.0))
unary("logit", 0.1, 0.9, extremes=())
for _name in "isnan isinf isfinite logical_not".split():
    unary(_name, swallows=True, dtypes=EVERY if _name == "logical_not" else ())
unary("stop_gradient", differences=False, dtypes=EVERY)

PAIRS: tuple[tuple[Shape, Shape], ...] = (
    (("batch", 5), ("batch", 5)),
    ((2, 1, 17), (3, 1)),
    ((), (33,)),
    ((0, 3), (1, 3)),
)


def binary(name: str, low: float = -2.0, high: float = 2.0, **options: Any) -> None:
    """An op of two operands that broadcast."""
    for left, right in PAIRS:
        given = (Operand(left, low, high), Operand(right, low, high))
        case(name, getattr(ops, name), *given, **options)


for _name in "add sub mul maximum minimum".split():
    binary(_name, dtypes=WHOLE)
binary("div", 0.4, 2, extremes=POSITIVE, dtypes=("int32", "uint8"))
for _name in ("floor_divide", "remainder"):
    binary(_name, 0.4, 2, extremes=POSITIVE, dtypes=WHOLE)
binary("pow", 0.4, 2, extremes=(), dtypes=EVERY)
case("pow", lambda x: ops.pow(x, 3), ("batch", 5), dtypes=("int32", "int64", "uint8"))
for _exponent in (-1, -2, 0.5, -0.5, 1.5, 0.3, -1.7):
    case("pow", lambda x, e=_exponent: ops.pow(x, e), within(0.4, 2, 17), extremes=POSITIVE)
case("pow", lambda x: ops.pow(x, 0), (5,), swallows=True)
case("pow", lambda x: ops.pow(x, -3) * x, (5,), extremes=POSITIVE)  # a negative base
for _name in "equal not_equal less less_equal greater greater_equal".split():
    binary(_name, swallows=True, dtypes=WHOLE)
for _name in "logical_and logical_or logical_xor".split():
    binary(_name, swallows=True, dtypes=EVERY)
NUMBERS = [constant(-3, "int32"), constant(300, "int64"), constant(2.5, "float64"), constant(True)]
for _number in NUMBERS:  # beside operands of every type: the result is of the wider one
    for _name in "add sub mul maximum minimum floor_divide remainder".split():
        case(
            _name,
            lambda x, n=_name, c=_number: getattr(ops, n)(x, c),
            within(0.2, 0.9, "batch", 5),
            dtypes=EVERY,
            extremes=(),
        )
    for _name in "equal less greater_equal logical_and".split():
        case(
            _name,
            lambda x, n=_name, c=_number: getattr(ops, n)(c, x),
            (5,),
            dtypes=EVERY,
            swallows=True,
        )
    case("where", lambda x, c=_number: ops.where(x > 0, x, c), (5,), dtypes=EVERY, swallows=True)
for _bounds in [(-1.0, 1.5), (None, 0.5), (0.5, None)]:
    case("clip", lambda x, b=_bounds: ops.clip(x, *b), ("batch", 17))
case("clip", lambda x, a, b: ops.clip(x, a, b), ("batch", 5), within(-2, -1, 5), within(1, 2, 5))
case("clip", lambda x: ops.clip(x, -3, 7), ("batch", 5), dtypes=("int32", "int64"))
case("where", ops.where, truth("batch", 5), ("batch", 5), (5,), swallows=True)
case("where", ops.where, truth(3, 1), (), (1, 17), swallows=True)
case("where", lambda a, b: ops.where(a > b, a, b), (33,), (33,), dtypes=WHOLE, swallows=True)
case("prelu", ops.prelu, ("batch", 5, 3), (5,))
case("prelu", ops.prelu, (17,), ())
for _dtype in ("float32", "float64", *EVERY):
    case(
        "cast", lambda x, d=_dtype: ops.cast(x, d), within(0, 9, "batch", 17),
        dtypes=EVERY, swallows=not _dtype.startswith("float"), order=1,
        differences=_dtype == "float64", extremes=(0.0, 80.0), nan=_dtype.startswith("float"),
    )  # fmt: skip
case("cast", lambda x: ops.cast(x, "int32"), within(-9, 9, 33), swallows=True, nan=False)

# --- linear ---------------------------------------------------------------------------------

for _left, _right in [
    (("batch", 5), (5, 17)),
    ((17, 33), (33, 2)),
    ((1, 1), (1, 33)),
    ((2, 3, 5), (5, 2)),
    ((2, 1, 3, 5), (3, 5, 2)),
    ((5,), (5, 3)),
    ((3, 5), (5,)),
    ((5,), (5,)),
    ((0, 5), (5, 3)),
    ((3, 0), (0, 5)),
    (("batch", 5, 2), ("batch", 2, 3)),
]:
    case("matmul", ops.matmul, _left, _right, dtypes=("int32", "uint8"))
case("dot", ops.dot, (33,), (33,))
case("outer", ops.outer, (5,), (17,))
case("linear", ops.linear, ("batch", 5), (17, 5), (17,))
case("linear", ops.linear, (2, 3, 5), (2, 5))
case("bilinear", ops.bilinear, ("batch", 3), ("batch", 5), (2, 3, 5), (2,))
for _text, _shapes in [
    ("ij,jk->ik", ((3, 5), (5, 2))),
    ("bij,bjk->bik", ((2, 3, 5), (2, 5, 2))),
    ("ii->i", ((5, 5),)),
    ("ii", ((3, 3),)),
    ("ij->ji", ((3, 5),)),
    ("i,j,k->kji", ((2,), (3,), (5,))),
    ("...ij,...j->...i", ((2, 3, 5), (5,))),
]:
    case("einsum", lambda *x, t=_text: ops.einsum(t, *x), *_shapes)


def window(name: str, *shapes: Any, **options: Any) -> None:
    """A convolution or a pool with options."""
    nan = "transpose" not in name
    call = getattr(ops, name)
    case(name, lambda *x: call(*x, **options), *shapes, nan=nan, swallows=not nan)


window("conv1d", ("batch", 2, 17), (3, 2, 3), (3,))
window("conv1d", (1, 2, 5), (3, 2, 5))
window("conv1d", (2, 3, 33), (2, 3, 4), stride=2, padding=2, dilation=3, floor=True)
window("conv2d", ("batch", 2, 7, 7), (3, 2, 3, 3), (3,))
window("conv2d", ("batch", 3, 9, 9), (5, 3, 3, 3), stride=2)
window(
    "conv2d", (2, 3, 8, 5), (2, 3, 3, 2), (2,), stride=(2, 1), padding=((1, 2), (0, 1)), floor=True
)
window("conv2d", (2, 2, 7, 7), (3, 2, 3, 3), padding="same", dilation=2)
window("conv2d", (1, 4, 6, 6), (6, 2, 3, 3), groups=2, padding=1)
window("conv2d", (2, 3, 5, 5), (2, 3, 1, 1))
window("conv2d", (3, 6, 5), (2, 3, 3, 2), (2,))
window("conv3d", (1, 2, 4, 5, 3), (2, 2, 2, 3, 1), (2,))

# What lies outside is 0 to a product, and 0*NaN is NaN: a NaN may spread as far as the filter.
window("conv_transpose1d", ("batch", 2, 5), (2, 3, 3), (3,))
window("conv_transpose1d", (2, 2, 5), (2, 3, 3), stride=2, padding=1, output_padding=1)
window("conv_transpose2d", (2, 2, 3, 5), (2, 3, 3, 2), (3,), stride=2)
window("conv_transpose2d", (1, 4, 3, 3), (4, 2, 3, 3), groups=2, stride=3, padding=1, dilation=2)
window("conv_transpose3d", (1, 2, 2, 3, 2), (2, 2, 2, 2, 3))

# --- pools ----------------------------------------------------------------------------------

window("max_pool1d", ("batch", 2, 17), kernel_size=3, stride=2)
window("max_pool2d", ("batch", 2, 6, 6), kernel_size=2)
window("max_pool2d", (2, 1, 7, 5), kernel_size=3, stride=2, padding=1)
window("max_pool2d", (1, 2, 9, 7), kernel_size=(3, 2), stride=2, dilation=(2, 1), floor=True)
window("max_pool2d", (1, 2, 6, 6), kernel_size=3, stride=2, ceil_mode=True)
window("max_pool3d", (1, 2, 4, 4, 6), kernel_size=2)
window("avg_pool1d", ("batch", 2, 17), kernel_size=3, stride=2)
window("avg_pool2d", ("batch", 2, 6, 6), kernel_size=2)
window("avg_pool2d", (2, 1, 7, 5), kernel_size=3, stride=2, padding=1)
window("avg_pool2d", (1, 1, 7, 5), kernel_size=3, stride=2, padding=1, count_include_pad=False)
window("avg_pool2d", (1, 2, 6, 6), kernel_size=3, stride=2, ceil_mode=True)
window("avg_pool3d", (1, 2, 4, 4, 6), kernel_size=2)
window("global_avg_pool", ("batch", 3, 5, 7))
window("global_max_pool", ("batch", 3, 5, 7))
window("adaptive_avg_pool", ("batch", 2, 6, 4), output_size=(3, 2))
window("adaptive_max_pool", ("batch", 2, 6, 4), output_size=(3, 2))

# --- reductions -----------------------------------------------------------------------------

REDUCED: tuple[tuple[Shape, Any, bool], ...] = (
    (("batch", 17), None, False),
    (("batch", 33), 1, False),
    (("batch", 5), 0, True),
    ((2, 3, 5), (0, 2), False),
    ((2, 3, 5), (-1,), True),
    ((1, 33), 1, False),
    ((33, 1), 1, False),
    ((0, 3), 1, False),
)


def reduction(name: str, low: float = -2.0, high: float = 2.0, **options: Any) -> None:
    """A reduction over axes."""
    attributes = options.pop("attributes", {})
    for shape, axis, keep in REDUCED:
        if name == "std" and shape == (33, 1):
            continue  # the root of 0/0
        case(
            name,
            lambda x, a=axis, k=keep: getattr(ops, name)(x, axis=a, keepdims=k, **attributes),
            Operand(shape, low, high),
            **options,
        )


reduction("sum", dtypes=EVERY)
reduction("mean", dtypes=WHOLE)
reduction("max", dtypes=WHOLE)
reduction("min", dtypes=WHOLE)
reduction("var", attributes={"correction": 0})
reduction("std", attributes={"correction": 0})
reduction("logsumexp")
reduction("norm")
for _order in (1, 3, np.inf, -np.inf, 0):
    case(
        "norm",
        lambda x, o=_order: ops.norm(x, o, 1),
        ("batch", 5),
        extremes=(),
        order=1,
        swallows=_order == 0,
    )
case("var", lambda x: ops.var(x, 1), ("batch", 17))
case("std", lambda x: ops.std(x, unbiased=True), ("batch", 17))
case("sum", ops.sum, (3, 0), dtypes=WHOLE)
case("sum", lambda x: ops.sum(x, 0), (0, 3))
for _name in ("any", "all"):
    reduction(_name, dtypes=EVERY, swallows=True)
    case(_name, lambda x, n=_name: getattr(ops, n)(x, 0), (0, 3), dtypes=EVERY, swallows=True)
for _name in ("argmax", "argmin"):
    reduction(_name, dtypes=WHOLE, swallows=True)
for _shape, _axis in [((3, 5), 1), ((3, 5), None), ((2, 3, 2), (0, 2)), (("batch", 3), 1)]:
    case("prod", lambda x, a=_axis: ops.prod(x, a), Operand(_shape), dtypes=EVERY)
case("prod", lambda x: ops.prod(x, 0), (0, 3), dtypes=WHOLE)

# --- shape ----------------------------------------------------------------------------------


def moves(name: str, call: Call, *operands: Operand | Shape, **options: Any) -> None:
    """An op that only moves elements: of any dtype."""
    case(name, call, *operands, dtypes=EVERY, **options)


moves("reshape", lambda x: ops.reshape(x, (5, 2, 3)), (3, 10))
moves("reshape", lambda x: ops.reshape(x, (-1, 15)), ("batch", 3, 5))
moves("reshape", lambda x: ops.reshape(x, (0, 7)), (3, 0))
moves("flatten", lambda x: ops.flatten(x, 1), ("batch", 3, 5))
moves("flatten", lambda x: ops.flatten(ops.transpose(x)), (5, 3))
moves("squeeze", ops.squeeze, (1, 5, 1))
moves("expand_dims", lambda x: ops.expand_dims(x, 1), ("batch", 5))
moves("transpose", ops.transpose, (5, 17))
moves("transpose", ops.transpose, ("batch", 5))
moves("transpose", lambda x: ops.transpose(x, 1, 2, 0), (2, 3, 5))
moves("permute", lambda x: ops.permute(x, 2, 0, 1), (2, 3, 5))
moves("swapaxes", lambda x: ops.swapaxes(x, 0, 2), (2, 3, 5))
moves("moveaxis", lambda x: ops.moveaxis(x, 0, 2), (2, 3, 5))
moves("broadcast_to", lambda x: ops.broadcast_to(x, (2, 3, 5)), (3, 1))
moves("broadcast_to", lambda x: ops.broadcast_to(x, (0, 3)), (3,))
moves("concat", lambda a, b: ops.concat([a, b], 1), ("batch", 3), ("batch", 5))
moves("concat", lambda a, b, c: ops.concat([a, b, c], 0), (2, 17), (0, 17), (1, 17))
moves("stack", lambda a, b: ops.stack([a, b], 1), ("batch", 5), ("batch", 5))
moves("stack", lambda a, b: ops.stack([a, b]), (), ())
moves("roll", lambda x: ops.roll(x, 2, 1), ("batch", 5))
moves("tile", lambda x: ops.tile(x, (2, 1, 3)), (2, 3))
moves("repeat", lambda x: ops.repeat(x, 3, 1), ("batch", 5))
moves("pad", lambda x: ops.pad(x, ((0, 0), (2, 1))), ("batch", 5), swallows=True)
moves("pad", lambda x: ops.pad(x, 2, value=1), (3, 5), swallows=True)
moves("pad", lambda x: ops.pad(x, ((-1, 2), (1, -2))), (3, 5), swallows=True)
moves("pad", lambda x: ops.pad(x, ((1, 2), (3, 4)), "reflect"), (3, 5))
moves("pad", lambda x: ops.pad(x, ((1, 2), (0, 4)), "edge"), (3, 5))
moves("getitem", lambda x: x[:, 1:4], ("batch", 5))
moves("getitem", lambda x: x[::-2, 1, None, ..., 3:0:-1], (5, 3, 2, 5))
moves("getitem", lambda x: x[:, 3:3], (3, 5))
moves("getitem", lambda x: x[[2, 0, 2]], (3, 5))
moves("flip", lambda x: ops.flip(x, 1), ("batch", 5))
moves("flip", ops.flip, (3, 17))
moves("split", lambda x: ops.split(x, (1, 0, 4), 1), ("batch", 5))
moves("unstack", lambda x: ops.unstack(x, 1), ("batch", 3))
moves("tril", ops.tril, (2, 5, 5), swallows=True)
moves("triu", lambda x: ops.triu(x, -1), (5, 3), swallows=True)

# --- made of nothing ------------------------------------------------------------------------

for _shape in [(3, 5), (0, 2), (), (33,)]:
    case("zeros", lambda s=_shape: ops.zeros(s))
    case("ones", lambda s=_shape: ops.ones(s, "int32"))
    case("full", lambda s=_shape: ops.full(s, 2.5, "float64"))
    case("full", lambda s=_shape: ops.full(s, True, "bool"))
moves("zeros_like", ops.zeros_like, (3, 5), swallows=True)
moves("ones_like", ops.ones_like, (3, 5), swallows=True)
moves("full_like", lambda x: ops.full_like(x, 3), (3, 5), swallows=True)
case("iota", lambda: ops.iota((3, 17), 1))
case("iota", lambda: ops.iota((3, 17), 0, "float32"))
case("arange", lambda: ops.arange(33))
case("arange", lambda: ops.arange(1, 4, 0.3))
case("arange", lambda: ops.arange(5, -5, -2))
case("eye", lambda: ops.eye(5, 3, 1))

# --- gather ---------------------------------------------------------------------------------

moves("gather", ops.gather, (5, 3), below(5, 17))
moves("gather", lambda x, i: ops.gather(x, i, 1), (2, 5), below(5, 2, 3, dtype="int32"))
moves("gather", ops.gather, (5, 17), below(5, "batch", dtype="uint8"))
moves("embedding", ops.embedding, below(7, "batch", 5), (7, 17))
moves("take_along_axis", ops.take_along_axis, (3, 5), below(5, 3, 2))
moves("take_along_axis", lambda x, i: ops.take_along_axis(x, i, 0), (3, 5), below(3, 2, 5))
moves("scatter_add", ops.scatter_add, (5, 3), below(5, 17), (17, 3))
moves("scatter_add", lambda x, i, u: ops.scatter_add(x, i, u, 1), (2, 5), below(5, 3), (2, 3))
case("one_hot", lambda i: ops.one_hot(i, 5), below(5, "batch"))
case("one_hot", lambda i: ops.one_hot(i, 5, "int64"), below(5, 3, 2, dtype="uint8"))

# --- normalisation --------------------------------------------------------------------------

for _name in ("softmax", "log_softmax"):
    for _shape, _axis in [
        (("batch", 17), -1),
        ((3, 5), 0),
        ((2, 33, 3), 1),
        ((0, 3), 1),
        ((5, 1), 1),
    ]:
        case(_name, lambda x, n=_name, a=_axis: getattr(ops, n)(x, a), Operand(_shape))
case("layer_norm", lambda x, w, b: ops.layer_norm(x, 17, w, b), ("batch", 17), (17,), (17,))
case("layer_norm", lambda x: ops.layer_norm(x, (3, 5)), (2, 3, 5))
case("rms_norm", lambda x, w: ops.rms_norm(x, 17, w), ("batch", 17), (17,), extremes=(-80.0, 80.0))
case("batch_norm", ops.batch_norm, ("batch", 5), (5,), (5,))
case("batch_norm", ops.batch_norm, (2, 3, 5, 2))
case(
    "batch_norm_inference", ops.batch_norm_inference,
    ("batch", 3, 5), (3,), within(0.5, 2, 3), (3,), (3,), extremes=(0.0, 80.0),
)  # fmt: skip
case("group_norm", lambda x, w, b: ops.group_norm(x, 2, w, b), ("batch", 4, 5), (4,), (4,))
case("instance_norm", ops.instance_norm, ("batch", 3, 5), (3,), (3,))
case("local_response_norm", lambda x: ops.local_response_norm(x, 5, alpha=0.3), ("batch", 7, 3))
case("local_response_norm", lambda x: ops.local_response_norm(x, 2), (1, 3, 2, 2))
case(
    "scaled_dot_product_attention",
    ops.scaled_dot_product_attention,
    (2, 3, 5),
    (2, 7, 5),
    (2, 7, 2),
)
case(
    "scaled_dot_product_attention",
    lambda q, k, v: ops.scaled_dot_product_attention(q, k, v, is_causal=True),
    ("batch", 5, 3), ("batch", 5, 3), ("batch", 5, 3),
)  # fmt: skip
case(
    "scaled_dot_product_attention",
    lambda q, k, v, m: ops.scaled_dot_product_attention(q, k, v, m),
    (2, 3, 5), (2, 7, 5), (2, 7, 2), (3, 7),
)  # fmt: skip
case("cosine_similarity", ops.cosine_similarity, ("batch", 5), ("batch", 5), extremes=(-80.0, 80.0))

# --- losses ---------------------------------------------------------------------------------


def loss(name: str, *operands: Operand | Shape, **options: Any) -> None:
    """A loss with each of its reductions."""
    attributes = options.pop("attributes", {})
    for how in ("mean", "sum", "none"):
        case(
            name,
            lambda *x, h=how: getattr(ops, name)(*x, reduction=h, **attributes),
            *operands,
            **options,
        )


for _name in "mse_loss l1_loss huber_loss smooth_l1_loss bce_with_logits poisson_nll_loss".split():
    loss(_name, ("batch", 5), ("batch", 5))
loss("hinge_loss", ("batch", 5), ("batch", 5))
loss("perceptron_loss", ("batch", 5), ("batch", 5))
loss("bce_loss", within(0.1, 0.9, "batch", 5), within(0.1, 0.9, "batch", 5), extremes=())
loss("gaussian_nll_loss", ("batch", 5), ("batch", 5), within(0.3, 2, "batch", 5), extremes=POSITIVE)
loss("kl_div", ("batch", 5), within(0.1, 1, "batch", 5), extremes=POSITIVE)
case(
    "kl_div",
    lambda x, t: ops.kl_div(x, t, reduction="batchmean"),
    ("batch", 5),
    within(0.1, 1, "batch", 5),
    extremes=POSITIVE,
)
loss("kl_div", (3, 5), (3, 5), attributes={"log_target": True})
case(
    "bce_with_logits",
    lambda x, t, w: ops.bce_with_logits(x, t, pos_weight=w),
    (3, 5),
    (3, 5),
    within(0.5, 2, 5),
)
loss("cross_entropy", ("batch", 5), below(5, "batch"))
loss("cross_entropy", (2, 5, 3), below(5, 2, 3), attributes={"label_smoothing": 0.1})
loss(
    "cross_entropy", ("batch", 5), below(5, "batch", dtype="uint8"), attributes={"ignore_index": 2}
)
case("cross_entropy", ops.cross_entropy, ("batch", 5), within(0, 1, "batch", 5))
case(
    "cross_entropy",
    lambda x, t, w: ops.cross_entropy(x, t, weight=w),
    (17, 5),
    below(5, 17),
    within(0.5, 2, 5),
    extremes=POSITIVE,
)
case("cross_entropy", ops.cross_entropy, (5,), below(5, dtype="int32"))
loss("nll_loss", ("batch", 5), below(5, "batch"))
loss("multi_margin_loss", ("batch", 5), below(5, "batch"))
case("multi_margin_loss", lambda x, t: ops.multi_margin_loss(x, t, p=2), (3, 5), below(5, 3))

# --- random ---------------------------------------------------------------------------------

KEY = ops.Generator()
KEY.restart(7)
for _shape in [(33,), (3, 5), (0, 2), ()]:
    case("uniform", lambda s=_shape: ops.uniform(s, low=-1, high=3, key=KEY, stream=1))
    case("uniform", lambda s=_shape: ops.uniform(s, dtype="float64", key=KEY, stream=2))
    case("normal", lambda s=_shape: ops.normal(s, mean=1, std=2, key=KEY, stream=3))
    case("normal", lambda s=_shape: ops.normal(s, dtype="float64", key=KEY, stream=4))
    case("randint", lambda s=_shape: ops.randint(s, -3, 9, key=KEY, stream=5))
    case("bernoulli", lambda s=_shape: ops.bernoulli(0.3, s, key=KEY, stream=6))
case(
    "bernoulli",
    lambda p: ops.bernoulli(p, key=KEY, stream=7),
    within(0, 1, "batch", 5),
    swallows=True,
    differences=False,
)
case("dropout", lambda x: ops.dropout(x, 0.4, key=KEY, stream=8), ("batch", 17), swallows=True)

# --- sequences ------------------------------------------------------------------------------

case("cumsum", lambda x: ops.cumsum(x, 1), ("batch", 17), dtypes=("int32", "uint8"))
case("cumsum", ops.cumsum, (5, 3))
case("cumprod", lambda x: ops.cumprod(x, 1), (3, 5))


def decaying(x: Node) -> tuple[Node, Node]:
    """A recurrence whose steps are kept."""
    return ops.scan(lambda h, s: ((h * 0.5 + s).__mul__(1.0), h * s), ops.zeros_like(x[0]), x)


case("scan", decaying, (5, 3))
case("scan", lambda x: ops.scan(lambda h, s: (ops.tanh(h + s), h), x[0], x, reverse=True), (5, 2))

NO_CASES = {
    "Generator": "the state of the random ops, which the cases of those use",
    "seed": "restarts the default generator",
    "streams": "numbers the random ops made inside",
    "advance": "the updates of a program's generators",
}
"""Public names of graphc.ops that are no function of tensors, and what they are."""


def by_op() -> dict[str, list[Case]]:
    """The cases of each op."""
    found: dict[str, list[Case]] = {}
    for one in CASES:
        found.setdefault(one.name, []).append(one)
    return found
