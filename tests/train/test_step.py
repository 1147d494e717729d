"""The compiled training step: against torch, its state, its errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn, ops, optim
from graphc.errors import InputError, ShapeError
from graphc.graph.node import Node
from graphc.train import compile_eval_step, compile_train_step

Array = np.ndarray[Any, Any]


def mlp() -> nn.Sequential:
    """A small network with batch norm."""
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))


def data(steps: int, size: int = 6, dtype: str = "float32") -> list[tuple[Array, Array]]:
    """Batches of inputs and labels."""
    random = np.random.default_rng(1)
    return [
        (random.standard_normal((size, 4)).astype(dtype), random.integers(0, 3, size))
        for _ in range(steps)
    ]


def test_twenty_steps_equal_torch(torch: Any) -> None:
    """Losses, parameters and running statistics, in float64."""
    ours = mlp().double()
    theirs = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Tanh(), torch.nn.Linear(8, 3)
    ).double()
    ours.load_state_dict(theirs.state_dict())
    step = compile_train_step(
        ours,
        "cross_entropy",
        optim.Adam(0.01),
        inputs={"x": ("batch", 4)},
        targets={"y": ("batch",)},
    )
    optimizer = torch.optim.Adam(theirs.parameters(), 0.01)
    for x, y in data(20, dtype="float64"):
        found = step(x=x, y=y)["loss"]
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(y))
        loss.backward()
        optimizer.step()
        assert float(found) == pytest.approx(loss.item(), rel=1e-9)
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(
            ours.state_dict()[name], value.numpy(), rtol=1e-7, atol=1e-9, err_msg=name
        )


def test_metrics_and_ragged_batches() -> None:
    """Metrics are of the parameters before the step; another batch size needs no compilation."""
    step = compile_train_step(
        mlp(),
        "cross_entropy",
        optim.SGD(0.1),
        inputs={"x": ("batch", 4)},
        targets={"y": ("batch",)},
        metrics=["accuracy", "perplexity"],
    )
    for size in (6, 2, 5):
        (batch,) = data(1, size)
        found = step(x=batch[0], y=batch[1])
        assert list(found) == ["loss", "accuracy", "perplexity"]
        assert float(found["perplexity"]) == pytest.approx(np.exp(found["loss"]), rel=1e-5)
    assert step.optimizer.step == 3


def test_schedules_and_random_steps_advance() -> None:
    """The rate follows the schedule; dropout draws anew in every step."""
    graphc.seed(0)
    model = nn.Sequential(nn.Linear(4, 50), nn.Dropout(0.5), nn.Linear(50, 3))
    optimizer = optim.SGD(optim.StepLR(0.0, 1, per="epoch"))
    step = compile_train_step(
        model,
        "cross_entropy",
        optimizer,
        inputs={"x": (6, 4)},
        targets={"y": (6,)},
        steps_per_epoch=2,
    )
    ((x, y),) = data(1)
    losses = [float(step(x=x, y=y)["loss"]) for _ in range(4)]
    assert len(set(losses)) == 4
    decayed = optim.SGD(optim.StepLR(1.0, 1, gamma=0.5, per="epoch"))
    step = compile_train_step(
        mlp(), "cross_entropy", decayed, {"x": (6, 4)}, {"y": (6,)}, steps_per_epoch=2
    )
    rates = []
    for _ in range(5):
        step(x=x, y=y)
        rates.append(decayed.lr)
    assert rates == [1.0, 1.0, 0.5, 0.5, 0.25]


def test_frozen_and_unused_parameters_stay() -> None:
    """Weight decay does not touch them either."""

    class Net(nn.Module):
        def __init__(self) -> None:
            self.body = nn.Linear(4, 3)
            self.unused = nn.Linear(2, 2)

        def forward(self, x: Any) -> Any:
            return self.body(x)

    model = Net()
    model.body.bias.trainable = False
    before = model.state_dict()
    step = compile_train_step(
        model,
        "cross_entropy",
        optim.SGD(0.1, weight_decay=0.1),
        inputs={"x": ("batch", 4)},
        targets={"y": ("batch",)},
    )
    ((x, y),) = data(1)
    step(x=x, y=y)
    changed = {n for n, v in model.state_dict().items() if (v != before[n]).any()}
    assert changed == {"body.weight"}


def test_custom_loss_and_dtypes() -> None:
    """A function of several targets; float targets by default, others as given."""
    model = nn.Linear(4, 3)

    def loss(prediction: Any, y: Any, weight: Any) -> Any:
        return ops.mean(ops.square(prediction - y) * ops.cast(weight, "float32"))

    step = compile_train_step(
        model,
        loss,
        optim.SGD(0.1),
        inputs={"x": ("batch", 4)},
        targets={"y": ("batch", 3), "weight": (("batch", 1), "int32")},
        metrics={"peak": lambda prediction, *_: ops.max(prediction)},
    )
    x, y = np.ones((2, 4), np.float32), np.zeros((2, 3), np.float32)
    assert set(step(x=x, y=y, weight=np.ones((2, 1), np.int32))) == {"loss", "peak"}


def test_targets_go_to_a_loss_by_name_or_all_in_order() -> None:
    """Never one by name and another by its place."""
    seen: list[Any] = []

    def loss(prediction: Any, low: Any, high: Any) -> Any:
        seen.append((low.op.name, high.op.name))
        return ops.mean(prediction - low + high)

    def step(*names: str) -> None:
        targets = dict.fromkeys(names, ("batch", 3))
        compile_train_step(nn.Linear(4, 3), loss, optim.SGD(0.1), {"x": ("batch", 4)}, targets)

    step("high", "low")
    step("first", "second")
    assert seen == [("low", "high"), ("first", "second")]
    for names in (("high", "lwo"), ("low",), ("low", "high", "more")):
        with pytest.raises(InputError, match=rf"the loss takes \(.*are {', '.join(names)}"):
            step(*names)


def test_evaluation_moves_nothing() -> None:
    """Running statistics are used, not updated."""
    model = mlp()
    step = compile_eval_step(
        model, "cross_entropy", {"x": ("batch", 4)}, {"y": ("batch",)}, metrics=["accuracy"]
    )
    before = model.state_dict()
    ((x, y),) = data(1)
    one, two = step(x=x, y=y), step(x=x, y=y)
    assert one == two and set(one) == {"loss", "accuracy"}
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_label_out_of_range_changes_no_state() -> None:
    """IndexError, and the step did not happen."""
    model = mlp()
    optimizer = optim.Adam(0.1)
    step = compile_train_step(
        model, "cross_entropy", optimizer, {"x": ("batch", 4)}, {"y": ("batch",)}
    )
    before = model.state_dict()
    ((x, y),) = data(1)
    y[3] = 3
    with pytest.raises(IndexError, match="3"):
        step(x=x, y=y)
    assert optimizer.step == 0
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_errors() -> None:
    """What cannot be a training step."""
    specs: dict[str, Any] = {"inputs": {"x": ("batch", 4)}, "targets": {"y": ("batch", 3)}}
    sgd = optim.SGD(0.1)
    with pytest.raises(ShapeError, match="must be a scalar"):
        compile_train_step(nn.Linear(4, 3), lambda p, y: p - y, sgd, **specs)
    with pytest.raises(InputError, match="must return a node"):
        compile_train_step(nn.Linear(4, 3), lambda p, y: 0.0, sgd, **specs)  # type: ignore[arg-type, return-value]  # on purpose
    with pytest.raises(InputError, match="no trainable parameter"):
        compile_train_step(nn.ReLU(), lambda p, y: ops.sum(p), sgd, **specs)
    with pytest.raises(InputError, match="names an input and a target"):
        compile_train_step(nn.Linear(4, 3), "mse", sgd, {"x": (1, 4)}, {"x": (1, 3)})
    for threads in (0, "many", 1.5):
        with pytest.raises(InputError, match="threads"):
            compile_train_step(nn.Linear(4, 3), "mse", sgd, **specs, threads=threads)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(ShapeError, match="not a scalar"):
        compile_train_step(nn.Linear(4, 3), "mse", sgd, **specs, metrics=[lambda p, y: p])


def net(batch: int | str = 6) -> tuple[Any, nn.Sequential]:
    """A step with dropout, a schedule and a metric, from the same start each time."""
    graphc.seed(3)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 3))
    step = compile_train_step(
        model,
        "cross_entropy",
        optim.Adam(optim.StepLR(0.1, 3, 0.5)),
        inputs={"x": (batch, 4)},
        targets={"y": ((batch,), "int64")},
        metrics=["accuracy"],
    )
    return step, model


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("reference", [True, False])
def test_many_steps_in_one_call_equal_as_many_calls(
    ordered: bool, reference: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reference:
        monkeypatch.setenv("GRAPHC_REFERENCE", "1")
    random = np.random.default_rng(0)
    x = random.standard_normal((40, 4)).astype(np.float32)
    y = random.integers(0, 3, 40)
    order = random.permutation(40)[:36].reshape(6, 6) if ordered else np.arange(2, 38).reshape(6, 6)
    one, by_call = net("batch")
    expected = [one(x=x[rows], y=y[rows]) for rows in order]
    many, at_once = net("batch")
    if ordered:
        found = many.run({"x": x, "y": y}, order)
    else:
        found = many.run({"x": x, "y": y}, batch_size=6, start=2, steps=6)
    for name, values in found.items():
        np.testing.assert_array_equal(values, [row[name] for row in expected])
    for a, b in zip(by_call.parameters(), at_once.parameters(), strict=True):
        np.testing.assert_array_equal(a.value, b.value)
    assert many.optimizer.step == 6 and many.optimizer.lr == one.optimizer.lr


def test_a_metric_that_is_a_variable_is_that_in_many_steps() -> None:
    """However many variables come before it that nothing reads once the graph is simplified."""
    seven = graphc.parameter("seven", value=np.float32(7))
    x = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
    for count in range(12):
        unread = [graphc.parameter(f"unread{number}", (4,)) for number in range(count)]

        def loss(p: Node, t: Node, unread: list[Node] = unread) -> Node:
            nothing = [
                ops.where(ops.full_like(u, 1.0) > 0, ops.full_like(u, 0.0), u) for u in unread
            ]
            return sum(map(ops.sum, nothing), ops.mean(ops.square(p - t)))

        step = compile_train_step(
            nn.Linear(3, 1),
            loss,
            optim.SGD(0.1),
            inputs={"x": ("batch", 3)},
            targets={"t": ("batch", 1)},
            metrics={"seven": lambda p, t: seven},
        )
        found = step.run({"x": x, "t": x[:, :1]}, batch_size=5)
        np.testing.assert_array_equal(found["seven"], np.full(4, 7))


def test_a_label_ends_many_steps_where_it_is_met() -> None:
    x, y = np.zeros((24, 4), np.float32), np.zeros(24, np.int64)
    y[13] = 7
    step, model = net()
    with pytest.raises(graphc.errors.IndexError, match="index 7 at position"):
        step.run({"x": x, "y": y}, batch_size=6)
    assert step.optimizer.step == 2, "the two steps before it are made"
    other, expected = net()
    other.run({"x": x, "y": y}, batch_size=6, steps=2)
    for a, b in zip(model.parameters(), expected.parameters(), strict=True):
        np.testing.assert_array_equal(a.value, b.value)


def test_rows_that_are_not_there_are_refused() -> None:
    x, y = np.zeros((24, 4), np.float32), np.zeros(24, np.int64)
    step, _ = net()
    for arguments, problem in (
        ({"order": np.full((1, 6), 24)}, "rows 24 to 24 are taken of 'x', which has 24"),
        ({"order": np.full((1, 6), -1)}, "rows -1 to -1"),
        ({"batch_size": 6, "steps": 5}, "rows 0 to 29"),
        ({"batch_size": 5}, "axis 0 must be 6, not 5"),
        ({}, "give the order of the rows"),
        ({"order": np.zeros(6)}, "the order must be of integers"),
        ({"order": np.zeros((2, 6))}, r"not float64 \(2, 6\)"),
        ({"order": np.zeros((2, 0), np.int64)}, "the order must be of integers"),
        ({"order": np.full((1, 6), 2**64 - 1, np.uint64)}, "row 18446744073709551615"),
    ):
        with pytest.raises(InputError, match=problem):
            step.run({"x": x, "y": y}, **arguments)
    with pytest.raises(InputError, match="missing input 'y'"):
        step.run({"x": x}, batch_size=6)
    with pytest.raises(InputError, match="no input 'z'; the step takes x, y"):
        step.run({"x": x, "y": y, "z": x}, batch_size=6)
    with pytest.raises(InputError, match="'y' needs a first axis"):
        step.run({"x": x, "y": 3}, batch_size=6)
    with pytest.raises(InputError, match="input 'y' is int64"):
        step.run({"x": x, "y": y + 0.5}, batch_size=6)
    with pytest.raises(InputError, match="same number of examples: x has 24, y has 18"):
        step.run({"x": x, "y": y[:18]}, batch_size=6)
    assert step.optimizer.step == 0
    assert len(step.run({"x": x, "y": y}, batch_size=6)["loss"]) == 4


@pytest.mark.parametrize("x_dtype", ["float64", "float16", "float32"])
@pytest.mark.parametrize("y_dtype", ["int32", "uint8", "int64"])
def test_many_steps_convert_the_data_as_a_call_does(x_dtype: str, y_dtype: str) -> None:
    random = np.random.default_rng(1)
    x, y = random.standard_normal((18, 4)).astype(x_dtype), random.integers(0, 3, 18)
    one = net()[0]
    expected = [one(x=x[i : i + 6], y=y[i : i + 6])["loss"] for i in (0, 6, 12)]
    given = {"x": x.tolist() if x_dtype == "float64" else x, "y": y.astype(y_dtype)}
    found = net()[0].run(given, batch_size=6)
    np.testing.assert_array_equal(found["loss"], expected)


def test_one_row_takes_its_own_bytes_whatever_its_stride() -> None:
    """numpy calls a single row contiguous, even where its stride is that of a longer step."""
    x = (np.arange(400, dtype=np.float32) / 400).reshape(100, 4)[::100]
    y = np.zeros(100, np.int64)[::100]
    assert x.flags.c_contiguous and x.strides[0] > x.nbytes
    expected = net("batch")[0](x=x, y=y)["loss"]
    assert net("batch")[0].run({"x": x, "y": y}, [[0]])["loss"][0] == expected
    assert net("batch")[0].run({"x": x, "y": y}, batch_size=1)["loss"][0] == expected
