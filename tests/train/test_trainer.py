"""Trainer: fit, evaluate, predict; resuming bit for bit; callbacks; refusals."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn, ops, optim
from graphc.data.sampling import shuffled
from graphc.errors import DTypeError, IndexError, InputError, NumericsError, ShapeError
from graphc.ops import random
from graphc.train import (
    Callback,
    Checkpoint,
    CSVLog,
    EarlyStopping,
    Steps,
    Trainer,
    load_arrays,
    save_arrays,
    watching,
)
from graphc.train.callbacks import TrainerLike
from graphc.train.step import TrainStep

Array = np.ndarray[Any, Any]
DRAW = np.random.default_rng(0)
X = DRAW.standard_normal((50, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0)


def trainer(**options: Any) -> Trainer:
    """A small network with all kinds of state, the same one every time."""
    graphc.seed(11)
    model = nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 3)
    )
    settings = {"loss": "cross_entropy", "optimizer": optim.Adam(0.02), "metrics": ["accuracy"]}
    return Trainer(model, **{**settings, **options})


def same(one: Trainer, two: Trainer) -> None:
    """Model, optimiser and history, bit for bit."""
    for name, value in one.model.state_dict().items():
        np.testing.assert_array_equal(two.model.state_dict()[name], value, err_msg=name)
    for name, value in one.optimizer.state_dict().items():
        np.testing.assert_array_equal(two.optimizer.state_dict()[name], value, err_msg=name)
    assert one.history == two.history and one.epoch == two.epoch


def test_fit_learns() -> None:
    """The loss falls; evaluate and predict agree with the history."""
    one = trainer()
    history = one.fit(X, Y, batch_size=16, epochs=12, validation_data=(X, Y), verbose=0)
    assert history is one.history and history.epochs == list(range(1, 13))
    assert history.names == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert history["loss"][-1] < history["loss"][0]
    found = one.evaluate(X, Y, batch_size=7)
    assert found["loss"] == pytest.approx(history["val_loss"][-1], rel=1e-5)
    prediction = one.predict(X, batch_size=7)
    assert prediction.shape == (50, 3)
    assert (prediction.argmax(1) == Y).mean() == pytest.approx(found["accuracy"])


@pytest.mark.parametrize("split", [4, 6], ids=["epoch's end", "mid-epoch"])
def test_resume_equals_no_break(tmp_path: Path, split: int) -> None:
    """12 steps equal so many, save, load into a fresh Trainer, and the rest."""
    whole = trainer()
    whole.fit(X, Y, batch_size=16, epochs=3, verbose=0)
    first = trainer()
    first.fit(X, Y, batch_size=16, epochs=3, steps=split, verbose=0)
    assert first.epoch == split // 4 and first.position == split % 4
    first.save(tmp_path / "state.safetensors")
    second = trainer(optimizer=optim.Adam(0.5), seed=9)
    second.load(tmp_path / "state.safetensors")
    graphc.seed(77)
    second.fit(X, Y, batch_size=16, epochs=3, initial_epoch=second.epoch, verbose=0)
    same(whole, second)
    assert whole.epoch == 3 and whole.optimizer.step == 12


def test_seed_decides_order_and_dropout() -> None:
    """The same seed repeats; another differs; the global generator is left alone."""
    runs = []
    for seed in (1, 1, 2):
        one = trainer(seed=seed)
        before = int(random.DEFAULT.step.value)
        one.fit(X, Y, batch_size=16, verbose=0)
        assert int(random.DEFAULT.step.value) == before
        runs.append(one.history["loss"][0])
    assert runs[0] == runs[1] != runs[2]


def test_an_interrupted_epoch_goes_on() -> None:
    """KeyboardInterrupt between two steps loses nothing."""
    whole, cut = trainer(), trainer()
    whole.fit(X, Y, batch_size=16, epochs=2, verbose=0)

    class Interrupt(Callback):
        def on_epoch_begin(self, trainer: Any) -> None:
            if trainer.epoch == 1:
                raise KeyboardInterrupt

    cut.fit(X, Y, batch_size=16, epochs=2, steps=2, verbose=0)
    with pytest.raises(KeyboardInterrupt):
        cut.fit(X, Y, batch_size=16, epochs=2, verbose=0, callbacks=[Interrupt()])
    cut.fit(X, Y, batch_size=16, epochs=1, verbose=0)
    same(whole, cut)


def test_ctrl_c_loses_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes inside of a step, and takes effect after the step's values are counted."""
    whole, cut = trainer(), trainer()
    whole.fit(X, Y, batch_size=50, epochs=2, verbose=0)
    step_of = cut._train_step

    def interrupted(data: Any) -> Any:
        step = step_of(data)

        class Step:
            metrics, steps_per_epoch, pace = step.metrics, 1, step.pace
            program = step.program

            def advance(self, *rows: Any) -> Any:
                signal.raise_signal(signal.SIGINT)
                return step.advance(*rows)

        return Step()

    monkeypatch.setattr(cut, "_train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cut.fit(X, Y, batch_size=50, epochs=2, verbose=0)
    average = cut._standing.average
    assert cut.position == 1 and average is not None and average.weight == 50
    monkeypatch.undo()
    cut.fit(X, Y, batch_size=50, epochs=2, verbose=0, callbacks=[EarlyStopping("loss")])
    same(whole, cut)


@pytest.mark.parametrize("size", [10, 50, 64])
@pytest.mark.parametrize("shuffle", [True, False])
def test_short_epochs_are_made_together(
    size: int, shuffle: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit what epochs one by one give; nothing but a call of Python's is left out."""
    schedule = optim.CosineAnnealingLR(0.05, T_max=40)
    one, two = (trainer(optimizer=optim.AdamW(schedule)) for _ in range(2))
    one.fit(X, Y, batch_size=size, epochs=40, shuffle=shuffle, verbose=0, callbacks=[Callback()])
    counts: list[int] = []
    run = TrainStep.advance

    def advance(self: TrainStep, data: Any, rows: Any, count: int) -> Any:
        counts.append(count)
        return run(self, data, rows, count)

    monkeypatch.setattr(TrainStep, "advance", advance)
    two.fit(X, Y, batch_size=size, epochs=30, shuffle=shuffle, verbose=0)
    each = two.optimizer.step // 30
    two.fit(X, Y, batch_size=size, epochs=50, steps=7 * each, shuffle=shuffle, verbose=0)
    assert two.epoch == 37 and two.position == 0
    two.fit(X, Y, batch_size=size, epochs=3, shuffle=shuffle, verbose=0)
    assert len(counts) < 40 and sum(counts) == 40 * each
    same(one, two)


@pytest.mark.parametrize("row", [35, 5], ids=["within an epoch", "its first step"])
def test_a_label_that_is_refused_leaves_its_epoch_unfinished(row: int) -> None:
    one = trainer()
    one.fit(X, Y, batch_size=10, epochs=40, verbose=0)
    wrong = Y.copy()
    wrong[row] = 3
    step = row // 10
    where = rf"example {row}: y\[{row}\], in step {step + 1} of epoch 41"
    with pytest.raises(IndexError, match=where):
        one.fit(X, wrong, batch_size=10, epochs=40, shuffle=False, verbose=0)
    assert (one.epoch, one.position, len(one.history)) == (40, step, 40)


def test_a_label_out_of_range_is_found_in_the_data() -> None:
    """By its row there, wherever shuffling and splitting have brought it."""
    wrong = Y.copy()
    wrong[35] = 3
    one = trainer()
    for options, when in (
        ({"batch_size": 8}, r"step \d of epoch 1"),
        ({"batch_size": 8, "shuffle": False}, "step 5 of epoch 1"),
        ({"batch_size": 50, "validation_split": 0.5}, "batch 1"),
    ):
        with pytest.raises(IndexError, match=rf"example 35: y\[35\], in {when}"):
            one.fit(X, wrong, verbose=0, **options)
    with pytest.raises(IndexError, match=r"cross_entropy: index 3 (.|\n)*y\[35\], in batch 5"):
        one.evaluate(X, wrong, batch_size=8)


def test_labels_of_a_loss_of_ones_own_stay_integers() -> None:
    named, own = (
        trainer(loss=loss) for loss in ("cross_entropy", lambda p, t: ops.cross_entropy(p, t))
    )
    named.fit(X, Y, verbose=0)
    own.fit(X, Y, verbose=0)
    same(named, own)


def test_a_misspelt_input_is_not_bound_by_position() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.scale = nn.Parameter(np.ones(4))

        def forward(self, left: Any, right: Any) -> Any:
            return (left - right) * self.scale

    one = Trainer(Net(), "mse", optim.SGD(0.1))
    np.testing.assert_array_equal(one.predict({"right": X, "left": 2 * X}), X)
    for work in (one.predict, lambda x: one.fit(x, X, verbose=0)):
        with pytest.raises(InputError, match=r"no input 'rigth'.*Did you mean 'right'"):
            work({"rigth": X, "left": X})


def test_another_batch_size_starts_the_epoch_anew() -> None:
    """The unfinished epoch's steps are kept, its place is not."""
    one = trainer()
    one.fit(X, Y, batch_size=16, steps=2, verbose=0)
    one.fit(X, Y, batch_size=25, verbose=0)
    assert one.epoch == 1 and one.optimizer.step == 4 and one.position == 0


def test_callbacks(tmp_path: Path) -> None:
    """Early stopping restores the best, checkpoints resume, the log has a line an epoch."""
    one = trainer()
    stopping = EarlyStopping("val_loss", patience=1, restore_best_weights=True, min_delta=10)
    one.fit(
        X,
        Y,
        batch_size=25,
        epochs=5,
        validation_split=0.2,
        verbose=0,
        callbacks=[
            stopping,
            Checkpoint(tmp_path / "{epoch}.safetensors"),
            CSVLog(tmp_path / "log.csv"),
        ],
    )
    assert one.epoch == 2 and stopping.best_epoch == 1
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3
    best = trainer()
    best.load(tmp_path / "1.safetensors")
    for name, value in best.model.state_dict().items():
        np.testing.assert_array_equal(one.model.state_dict()[name], value, err_msg=name)
    assert best._standing.random_step == 2


class Recorder(Callback):
    """What each call of on_steps_end could know."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, dict[str, float], dict[str, Array]]] = []

    def on_steps_end(self, trainer: TrainerLike, made: Steps) -> None:
        assert isinstance(trainer, Trainer) and trainer.fitting
        self.seen.append((trainer.epoch, trainer.position, made.values(), made.batch()))


@pytest.mark.parametrize("options", [{}, {"terminate_on_nan": True}])
@pytest.mark.parametrize("shuffle", [True, False])
def test_steps_tell_their_batch_and_averages(shuffle: bool, options: dict[str, Any]) -> None:
    one, recorder = trainer(**options), Recorder()
    one.fit(X, Y, batch_size=16, epochs=2, shuffle=shuffle, verbose=0, callbacks=[recorder])
    assert not one.fitting
    for epoch, position, _, batch in recorder.seen:
        order = shuffled(50, seed=0, epoch=epoch) if shuffle else np.arange(50)
        rows = order[16 * (position - 1) : 16 * position]
        np.testing.assert_array_equal(batch["x"], X[rows])
        np.testing.assert_array_equal(batch["y"], Y[rows])
        assert not np.shares_memory(batch["x"], X)
    assert recorder.seen[0][:2] == (0, 1)
    if options:
        assert [place[:2] for place in recorder.seen] == [
            (e, p) for e in (0, 1) for p in (1, 2, 3, 4)
        ]
    last = {epoch: (position, values) for epoch, position, values, _ in recorder.seen}
    assert last == {0: (4, one.history.rows[0]), 1: (4, one.history.rows[1])}


def test_watching_a_run_of_others() -> None:
    """Every fit inside has the callback, after its own; none outside has it."""
    outer, inner, said = Recorder(), Recorder(), []

    class Named(Callback):
        def __init__(self, name: str) -> None:
            self.name = name

        def on_train_end(self, trainer: TrainerLike) -> None:
            said.append(self.name)

    one = trainer()
    with watching(outer):
        with watching(inner), watching(Named("watching")):
            one.fit(X, Y, batch_size=50, epochs=1, verbose=0, callbacks=[Named("own")])
        one.fit(X, Y, batch_size=50, epochs=1, verbose=0)
    one.fit(X, Y, batch_size=50, epochs=1, verbose=0)
    assert (len(outer.seen), len(inner.seen)) == (2, 1) and said == ["own", "watching"]


def test_schedules(tmp_path: Path) -> None:
    """By epochs, and by what an epoch reported; a plateau's state is saved."""
    one = trainer(optimizer=optim.SGD(optim.StepLR(1.0, 1, gamma=0.5)))
    one.fit(X, Y, epochs=3, verbose=0)
    assert one.optimizer.lr == 0.25
    plateau = optim.ReduceLROnPlateau(1.0, "loss", factor=0.1, patience=0, threshold=0.99)
    two = trainer(optimizer=optim.SGD(plateau))
    two.fit(X, Y, epochs=2, verbose=0)
    assert plateau.rate == pytest.approx(0.1)
    two.save(tmp_path / "a.safetensors")
    again = optim.ReduceLROnPlateau(1.0, "loss", factor=0.1, patience=0, threshold=0.99)
    three = trainer(optimizer=optim.SGD(again))
    three.load(tmp_path / "a.safetensors")
    assert again == plateau
    with pytest.raises(InputError, match="watches 'val_loss', which the epoch did not report"):
        trainer(optimizer=optim.SGD(optim.ReduceLROnPlateau(1.0))).fit(X, Y, verbose=0)


def test_data_by_name_and_dtype() -> None:
    """Dicts of inputs, integer inputs as they are, float64 and integer targets converted."""

    class Net(nn.Module):
        def __init__(self) -> None:
            self.table = nn.Embedding(5, 4)
            self.head = nn.Linear(4, 1)

        def forward(self, values: Any, index: Any) -> Any:
            return self.head(self.table(index) + values)

    one = Trainer(Net(), "mse", optim.SGD(0.1), ["mae"])
    x = {"index": np.arange(50) % 5, "values": X.astype(np.float64)}
    y = np.ones((50, 1), np.int32)
    one.fit(x, y, epochs=1, verbose=0)
    assert one.predict(x).shape == (50, 1)
    assert set(one.evaluate(x, y)) == {"loss", "mae"}


def test_several_outputs() -> None:
    """A tuple or a dict of what the model gives."""

    class Net(nn.Module):
        def forward(self, x: Any) -> Any:
            return {"twice": x * 2.0, "half": x / 2.0}

    found = Trainer(Net(), "mse", optim.SGD(0.1)).predict(X, batch_size=20)
    np.testing.assert_allclose(found["twice"], X * 2)
    np.testing.assert_allclose(found["half"], X / 2)


def test_nan_ends_training() -> None:
    """At once, naming step and epoch."""
    bad = X.copy()
    bad[40] = np.nan
    one = trainer(terminate_on_nan=True)
    with pytest.raises(NumericsError, match="the loss is nan in step 3 of epoch 1"):
        one.fit(bad, Y, batch_size=16, shuffle=False, verbose=0)
    trainer().fit(bad, Y, batch_size=16, shuffle=False, verbose=0)


def test_refusals(tmp_path: Path) -> None:
    """Every error names what differs."""
    one = trainer()
    with pytest.raises(ShapeError, match="x has 50, y has 49"):
        one.fit(X, Y[:-1])
    with pytest.raises(InputError, match="no examples"):
        one.fit(X[:0], Y[:0])
    with pytest.raises(DTypeError, match="'x' has dtype <U1"):
        one.predict(np.array([["a"]]))
    with pytest.raises(ShapeError, match="takes 4 features"):
        one.predict(X[:, :3])
    with pytest.raises(InputError, match="not both"):
        one.fit(X, Y, validation_data=(X, Y), validation_split=0.5)
    with pytest.raises(InputError, match="leaves 50 to train on and 0 to validate on"):
        one.fit(X, Y, validation_split=0.001)
    for pair in (X, X[:2], (X, Y, Y)):
        with pytest.raises(InputError, match="a pair: the inputs and the targets"):
            one.fit(X, Y, validation_data=pair)
    with pytest.raises(InputError, match=r"several: \[EarlyStopping\(...\)\]"):
        one.fit(X, Y, callbacks=EarlyStopping("loss"))  # type: ignore[arg-type]  # what is tested
    with pytest.raises(InputError, match=r"<class '.*EarlyStopping'> is no callback: .* instance"):
        one.fit(X, Y, callbacks=[EarlyStopping])  # type: ignore[list-item]  # what is tested
    for size in (0, 8.0, "many"):
        with pytest.raises(InputError, match=f"batch_size={size!r} must be a whole number"):
            one.fit(X, Y, batch_size=size)
        with pytest.raises(InputError, match=f"batch_size={size!r} must be a whole number"):
            one.predict(X, batch_size=size)
    with pytest.raises(InputError, match=r"'x' is no array.*dict by the names"):
        one.fit((X, X[:, :2]), Y)
    one.fit(X, Y, verbose=0)
    with pytest.raises(InputError, match="initial_epoch=0, but 1 epochs"):
        one.fit(X, Y, initial_epoch=0)
    save_arrays(tmp_path / "weights.safetensors", one.state_dict())
    with pytest.raises(InputError, match="not saved by a Trainer"):
        one.load(tmp_path / "weights.safetensors")
    trainer().model.load_state_dict(load_arrays(tmp_path / "weights.safetensors")[0])
    one.save(tmp_path / "all.safetensors")
    with pytest.raises(InputError, match=r"unexpected: 0.bias.exp_avg"):
        trainer(optimizer=optim.SGD(0.1)).load(tmp_path / "all.safetensors")


def test_lazy_models_load_before_the_first_trace(tmp_path: Path) -> None:
    """Their shapes come from the file."""

    def make() -> Trainer:
        graphc.seed(2)
        return Trainer(nn.Sequential(nn.LazyLinear(3)), "cross_entropy", optim.Adam(0.1))

    one, two = make(), make()
    one.fit(X, Y, verbose=0)
    one.save(tmp_path / "a.safetensors")
    two.load(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(one.predict(X), two.predict(X))
    one.fit(X, Y, verbose=0)
    two.fit(X, Y, verbose=0)
    same(one, two)


def test_what_trains_is_checked_at_once() -> None:
    model, adam = nn.Linear(3, 2), optim.Adam()
    with pytest.raises(InputError, match=r"model=<function.* is no nn\.Module, such as"):
        graphc.Trainer(lambda x: x, "mse", adam)  # type: ignore[arg-type]  # what is tested
    with pytest.raises(InputError, match=r"MSELoss is a class; give a loss, MSELoss\(\)"):
        graphc.Trainer(model, nn.MSELoss, adam)  # type: ignore[arg-type]  # what is tested
    with pytest.raises(InputError, match=r"optimizer='adam' is no optimizer, such as optim\.Adam"):
        graphc.Trainer(model, "mse", "adam")  # type: ignore[arg-type]  # what is tested
    with pytest.raises(InputError, match=r"math='quick': there are 'exact' and 'fast'"):
        graphc.Trainer(model, "mse", adam, math="quick")
    with pytest.raises(InputError, match=r"unknown metric 'acc'.*Did you mean 'accuracy'\?"):
        graphc.Trainer(model, "mse", adam, metrics=["acc"])


def test_a_change_of_what_is_trained_takes_effect() -> None:
    """Freezing, thawing and a submodule's mode between two calls of fit."""
    one = trainer()
    first, norm = one.model[0], one.model[1]
    first.weight.trainable = False
    before = first.weight.value.copy()
    one.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(first.weight.value, before)
    first.weight.trainable = True
    one.fit(X, Y, verbose=0)
    assert (first.weight.value != before).any()
    after, mean = first.weight.value.copy(), norm.running_mean.copy()
    first.weight.trainable = False
    norm.eval()
    one.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(first.weight.value, after)
    np.testing.assert_array_equal(norm.running_mean, mean)
