"""debug_nans: the first node that makes a NaN is named, and the state is as before the call."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn, ops, optim
from graphc.errors import CompileError, InputError, NanError, NumericsError
from graphc.graph.node import Node
from graphc.train.step import compile_train_step


def line() -> int:
    """The line that calls this."""
    frame = inspect.currentframe()
    assert frame is not None and frame.f_back is not None
    return frame.f_back.f_lineno


def refused(program: Any, *arrays: Any, **named: Any) -> NanError:
    """The NanError of a call."""
    with pytest.raises(NanError) as caught:
        program(*arrays, **named)
    return caught.value


def test_a_forward_node_is_named_with_its_place_and_operands() -> None:
    x = graphc.input("x", ("n", 3))
    with graphc.layer("head"):
        y, place = ops.log(x - 1.0), line()
    program = graphc.compile(ops.sum(y * 2.0), debug_nans=True)
    assert program(np.full((2, 3), 2, np.float32))[0] == 0
    error = refused(program, np.array([[2, 2, 2], [2, 0.5, 0.25]], np.float32))
    assert (error.op, error.position, error.layer) == ("log", (1, 1), "head")
    assert (error.file, error.line, error.derived) == (__file__, place, False)
    text = str(error)
    assert "log makes NaN at position (1, 1) of f32[n,3]" in text
    assert "from -0.75 to 1" in text and f"at {__file__}:{place}" in text
    assert isinstance(error, NumericsError)


def test_a_derived_node_points_at_the_line_it_derives_from() -> None:
    x = graphc.input("x", (4,))
    y, place = ops.sqrt(x), line()
    (slope,) = graphc.grad(ops.sum(y * 0.0), [x])
    error = refused(graphc.compile(slope, debug_nans=True), np.array([1, 0, 4, 0], np.float32))
    assert error.derived and error.op == "sqrt.dx" and error.line == place
    assert error.position == (1,) and "derived" in str(error)


def test_the_state_is_as_before_the_call() -> None:
    w = graphc.parameter("w", value=np.array([1, 2], np.float32))
    x = graphc.input("x", (2,))
    program = graphc.compile(ops.sum(w * x), updates={w: w - ops.log(x)}, debug_nans=True)
    program(np.ones(2, np.float32))
    error = refused(program, np.array([1, -1], np.float32))
    assert error.op == "log" and w.op.cell.value.tolist() == [1, 2]
    program(np.full(2, np.e, np.float32))
    np.testing.assert_allclose(w.op.cell.value, [0, 1], atol=1e-6)


@pytest.mark.parametrize("trainable", [True, False])
def test_a_nan_from_before_the_call(trainable: bool) -> None:
    value = np.array([1, np.nan], np.float32)
    w = graphc.parameter("0.weight", value=value, trainable=trainable)
    program = graphc.compile(ops.sum(w * graphc.input("x", (2,))), debug_nans=True)
    error = refused(program, np.ones(2, np.float32))
    kind = "parameter" if trainable else "state"
    assert str(error).startswith(f"{kind} '0.weight' holds NaN before the call: 1 of 2 elements")
    assert (error.holder, error.op, error.position) == ("0.weight", None, (1,))
    w.op.cell.assign(np.ones(2))
    assert refused(program, np.array([np.nan, 1], np.float32)).holder == "x"


def test_a_nan_that_is_masked_is_none() -> None:
    """The log of a negative number is NaN, but where() does not take it."""
    x, y = graphc.input("x", (3,)), graphc.input("y", (3,))
    masked = ops.where(x > 0, ops.log(x), 0.0)
    numbers = np.array([1, -1, 2], np.float32)
    assert np.isfinite(graphc.compile(masked, debug_nans=True)(numbers)[0]).all()
    both = graphc.compile(masked + ops.sqrt(y), debug_nans=True)
    assert refused(both, numbers, np.array([1, 1, -1], np.float32)).op == "sqrt"


def test_infinities_where_they_are_asked_for() -> None:
    x = graphc.input("x", (3,))
    y = ops.exp(x) - ops.exp(x)
    numbers = np.array([1, 2, 100], np.float32)
    error = refused(graphc.compile(y, debug_nans=True), numbers)
    assert error.op == "sub" and "infinite" in str(error) and "debug_nans='inf'" in str(error)
    assert refused(graphc.compile(y, debug_nans="inf"), numbers).op == "exp"
    assert np.isinf(graphc.compile(ops.exp(x), debug_nans=True)(numbers)[0]).any()


@pytest.mark.parametrize("reverse", [False, True])
def test_the_step_of_a_sequence_and_the_node_inside_it(reverse: bool) -> None:
    start, xs = graphc.input("start", (2,)), graphc.input("xs", (5, 2))

    def step(carry: Node, x: Node) -> tuple[Node, Node]:
        total = carry + x
        return total, ops.log(total)

    _, logs = graphc.scan(step, start, xs, reverse=reverse)
    program = graphc.compile(logs, debug_nans=True)
    values = np.ones((5, 2), np.float32)
    values[3, 1] = -9
    error = refused(program, np.ones(2, np.float32), values)
    assert (error.op, error.step, error.position) == ("log", 3, (1,))
    assert "in step 3 of a sequence" in str(error)


def test_a_frozen_program() -> None:
    w = graphc.parameter("w", value=np.array([-1, 1], np.float32))
    x = graphc.input("x", ("n", 2))
    program = graphc.compile(ops.log(ops.tanh(w) * x), freeze=True, debug_nans=True)
    w.op.cell.value[:] = 1  # no later change is seen
    error = refused(program, np.ones((1, 2), np.float32))
    assert error.op == "log" and error.line > 0


def test_random_numbers_are_drawn_again_as_they_were() -> None:
    """Which element is dropped decides where the NaN is."""
    graphc.seed(3)
    x = graphc.input("x", (64,))
    kept = ops.uniform((64,)) < 0.5
    y = ops.sqrt(ops.where(kept, x, 1.0))
    program = graphc.compile(y, updates=ops.advance([y]), debug_nans=True)
    error = refused(program, -np.ones(64, np.float32))
    graphc.seed(3)
    (drawn,) = graphc.compile(kept)()
    assert error.position == (int(np.flatnonzero(drawn)[0]),)


def test_an_extent_that_no_input_tells() -> None:
    noise = ops.log(ops.uniform(("n",)) - 2.0)
    assert refused(graphc.compile(noise, debug_nans=True), n=3).op == "log"


def test_the_oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_REFERENCE", "1")
    program = graphc.compile(ops.log(graphc.input("x", (2,))), debug_nans=True)
    assert refused(program, np.array([1, -1], np.float32)).position == (1,)


def test_the_environment_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    y = ops.exp(graphc.input("x", (2,)))
    large = np.full(2, 200, np.float32)
    for setting, looks in (("0", False), ("1", False), ("inf", True)):
        monkeypatch.setenv("GRAPHC_DEBUG_NANS", setting)
        program = graphc.compile(y)
        assert (program.nans is not None) == (setting != "0")
        if looks:
            assert refused(program, large).op == "exp"
        else:
            program(large)
    assert graphc.compile(y, debug_nans=False).nans is None
    monkeypatch.setenv("GRAPHC_DEBUG_NANS", "yes")
    with pytest.raises(InputError, match="GRAPHC_DEBUG_NANS is 0, 1, inf, not 'yes'"):
        graphc.compile(y)
    with pytest.raises(CompileError, match="debug_nans='all'"):
        graphc.compile(y, debug_nans="all")


# --- training -------------------------------------------------------------------------------


def classifier() -> nn.Module:
    """A small net with randomness in it."""
    graphc.seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))


def data() -> tuple[Any, Any]:
    """Sixty examples of three classes."""
    random = np.random.default_rng(0)
    return random.standard_normal((60, 4)).astype(np.float32), random.integers(0, 3, 60)


def test_a_trainer_stops_at_the_step_before_the_nan() -> None:
    x, y = data()
    trainer = graphc.Trainer(classifier(), "cross_entropy", optim.SGD(0.1), debug_nans=True)
    trainer.fit(x, y, batch_size=20, verbose=0)
    x[47] = np.nan
    with pytest.raises(NanError, match="input 'x' holds NaN") as caught:
        trainer.fit(x, y, batch_size=20, shuffle=False, verbose=0)
    assert caught.value.holder == "x" and caught.value.position[0] == 7
    assert trainer.optimizer.step == 3 + 2
    assert all(np.isfinite(value).all() for value in trainer.model.state_dict().values())


def test_a_trainer_names_the_parameter_that_held_it() -> None:
    x, y = data()
    trainer = graphc.Trainer(classifier(), "cross_entropy", optim.Adam(0.1), debug_nans=True)
    trainer.model[0].weight.value[2, 1] = np.nan
    with pytest.raises(NanError, match=r"parameter '0\.weight' holds NaN before the call: 1 of 32"):
        trainer.fit(x, y, verbose=0)
    with pytest.raises(NanError, match=r"parameter '0\.weight'"):
        trainer.evaluate(x, y)
    with pytest.raises(NanError, match=r"parameter '0\.weight'"):
        trainer.predict(x)


def test_the_same_numbers_with_and_without() -> None:
    x, y = data()
    found = []
    for looks in (False, True):
        trainer = graphc.Trainer(classifier(), "cross_entropy", optim.Adam(0.01), debug_nans=looks)
        trainer.fit(x, y, batch_size=20, epochs=2, verbose=0)
        found.append([value.tobytes() for value in trainer.state_dict().values()])
    assert found[0] == found[1]


def test_many_steps_in_a_call_stop_at_the_first_nan() -> None:
    x, y = data()
    step = compile_train_step(
        classifier(),
        "cross_entropy",
        optim.SGD(0.1),
        {"x": ("batch", 4)},
        {"y": (("batch",), "int64")},
        debug_nans=True,
    )
    assert len(step.run({"x": x, "y": y}, batch_size=20)["loss"]) == 3
    x[25] = np.inf
    with pytest.raises(NanError):
        step.run({"x": x, "y": y}, batch_size=20)
    assert step.optimizer.step == 3 + 1
