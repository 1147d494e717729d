"""Callbacks against a stand-in trainer that knows only what they may ask of one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from graphc.errors import InputError
from graphc.train.callbacks import Callback, Checkpoint, CSVLog, EarlyStopping, TrainerLike, mode_of
from graphc.train.files import WriteError
from graphc.train.history import History


class FakeTrainer:
    """Reports the given rows, one an epoch; its state is one array that holds the epoch."""

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self.callbacks = callbacks
        self.history = History()
        self.stop = False
        self.epoch = 0
        self.weight = np.zeros(2)
        self.saved: list[str] = []

    def state_dict(self) -> dict[str, NDArray[np.generic]]:
        return {"weight": self.weight}

    def load_state_dict(self, state: dict[str, NDArray[np.generic]]) -> None:
        self.weight[:] = state["weight"]

    def save(self, path: str) -> None:
        Path(path).write_text(str(self.epoch))
        self.saved.append(path)

    def fit(self, rows: Sequence[dict[str, float]]) -> FakeTrainer:
        trainer: TrainerLike = self  # what mypy checks of the protocol
        self.stop = False
        for callback in self.callbacks:
            callback.on_train_begin(trainer)
        for row in rows:
            for callback in self.callbacks:
                callback.on_epoch_begin(trainer)
            self.epoch += 1
            self.weight[:] = self.epoch
            self.history.append(self.epoch, row)
            for callback in self.callbacks:
                callback.on_epoch_end(trainer)
            if self.stop:
                break
        for callback in self.callbacks:
            callback.on_train_end(trainer)
        return self


def losses(*values: float) -> list[dict[str, float]]:
    return [{"val_loss": value} for value in values]


def test_the_base_does_nothing() -> None:
    trainer = FakeTrainer([Callback()]).fit(losses(1, 2))
    assert trainer.epoch == 2 and not trainer.stop


@pytest.mark.parametrize(
    ("patience", "values", "epochs"),
    [
        (0, (3, 2, 2, 1), 3),
        (1, (3, 2, 2, 1), 3),
        (2, (3, 2, 2, 1, 1, 1, 0), 6),
        (2, (3, 2, 1), 3),
        (2, (3, math.nan, math.nan, 1), 3),
        (1, (math.nan, 1), 1),
    ],
)
def test_early_stopping(patience: int, values: tuple[float, ...], epochs: int) -> None:
    early = EarlyStopping(patience=patience)
    trainer = FakeTrainer([early]).fit(losses(*values))
    assert trainer.epoch == epochs
    assert trainer.stop == (epochs < len(values))
    assert early.stopped_epoch == (epochs if trainer.stop else None)


def test_early_stopping_by_the_largest() -> None:
    rows = [{"val_accuracy": value} for value in (0.1, 0.5, 0.4, 0.3)]
    early = EarlyStopping("val_accuracy", patience=1)
    assert FakeTrainer([early]).fit(rows).epoch == 3
    assert (early.best, early.best_epoch, early.mode) == (0.5, 2, "max")


def test_min_delta_is_more_than_that_much() -> None:
    early = EarlyStopping(patience=2, min_delta=0.5)
    assert FakeTrainer([early]).fit(losses(2, 1.75, 1.5, 0)).epoch == 3
    early = EarlyStopping(patience=2, min_delta=0.5)
    assert FakeTrainer([early]).fit(losses(2, 1.75, 1.25, 1)).epoch == 4


@pytest.mark.parametrize("values", [(3, 1, 2, 2), (3, 1, 2)])
def test_restore_best_weights_stopped_or_not(values: tuple[float, ...]) -> None:
    kept = FakeTrainer([EarlyStopping(patience=2)]).fit(losses(*values))
    assert kept.weight.tolist() == [len(values)] * 2
    early = EarlyStopping(patience=2, restore_best_weights=True)
    assert FakeTrainer([early]).fit(losses(*values)).weight.tolist() == [2, 2]


def test_a_second_fit_starts_afresh() -> None:
    early = EarlyStopping(patience=1)
    trainer = FakeTrainer([early]).fit(losses(1, 2))
    assert trainer.fit(losses(5, 4, 4)).epoch == 5
    assert (early.best, early.best_epoch, early.stopped_epoch) == (4, 4, 5)


def test_a_value_that_is_not_reported() -> None:
    trainer = FakeTrainer([EarlyStopping()])
    with pytest.raises(InputError, match=r"'val_loss'.*epoch 1.*it has loss; pass validation_data"):
        trainer.fit([{"loss": 1.0}])


def test_modes() -> None:
    assert mode_of("val_loss", None) == mode_of("mse", None) == "min"
    assert mode_of("val_accuracy", None) == mode_of("top5_accuracy", None) == "max"
    assert mode_of("loss", "max") == "max"
    with pytest.raises(InputError, match=r"'beauty'.*mode='max'"):
        EarlyStopping("beauty")
    with pytest.raises(InputError, match="'min' or 'max'"):
        EarlyStopping(mode="auto")  # type: ignore[arg-type]  # the mistake under test
    for wrong in ({"patience": -1}, {"min_delta": -0.1}, {"min_delta": math.nan}):
        with pytest.raises(InputError, match="must not be negative"):
            EarlyStopping(**wrong)


def test_checkpoint_every_epoch(tmp_path: Path) -> None:
    keep = Checkpoint(tmp_path / "run" / "{epoch:02d}-{val_loss:.1f}.bin")
    FakeTrainer([keep]).fit(losses(1, 2))
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["01-1.0.bin", "02-2.0.bin"]
    assert keep.last_path == str(tmp_path / "run" / "02-2.0.bin")


def test_checkpoint_best_only_across_a_resume(tmp_path: Path) -> None:
    path = tmp_path / "best"
    trainer = FakeTrainer([Checkpoint(path, save_best_only=True)])
    trainer.fit(losses(math.nan, 2, 3, 2))
    assert len(trainer.saved) == 1 and path.read_text() == "2"
    trainer.callbacks = [Checkpoint(path, save_best_only=True)]
    trainer.fit(losses(2.5, 1))
    assert len(trainer.saved) == 2 and path.read_text() == "6"


def test_checkpoint_names_a_field_that_is_not_there(tmp_path: Path) -> None:
    for pattern in ("{val_f1}", "{}", "{epoch", "{epoch:q}", "{epoch.x}"):
        with pytest.raises(InputError, match=r"cannot fill the path.*epoch 1 has val_loss, epoch"):
            FakeTrainer([Checkpoint(tmp_path / pattern)]).fit(losses(1))
    with pytest.raises(InputError, match="Checkpoint watches 'val_loss'"):
        FakeTrainer([Checkpoint(tmp_path / "a", save_best_only=True)]).fit([{"loss": 1}])


def test_csv_log_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "new" / "log.csv"
    seen: list[str] = []

    class Look(Callback):
        def on_epoch_end(self, trainer: TrainerLike) -> None:
            seen.append(path.read_text())

    FakeTrainer([CSVLog(path), Look()]).fit(losses(2, 1.5))
    assert seen == ["epoch,val_loss\n1,2.0\n", "epoch,val_loss\n1,2.0\n2,1.5\n"]


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A file where a folder should be."""
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "log.csv"
    trainer = FakeTrainer([])
    with pytest.raises(WriteError, match=f"cannot save {place}: "):
        CSVLog(place).on_train_begin(trainer)
    with pytest.raises(WriteError, match=r"cannot save .*file"):
        History().to_csv(place)


def test_csv_log_starts_anew_and_resumes(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("what an earlier run left")
    FakeTrainer([CSVLog(path)]).fit(losses(3, 2, 1))
    # The run was resumed from a checkpoint of epoch 2: epoch 3 is repeated, not doubled.
    trainer = FakeTrainer([CSVLog(path)])
    trainer.epoch = 2
    trainer.fit(losses(1.5, 0.5))
    assert path.read_text() == "epoch,val_loss\n1,3.0\n2,2.0\n3,1.5\n4,0.5\n"


def test_csv_log_gains_a_column(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    FakeTrainer([CSVLog(path)]).fit([{"loss": 3}, {"loss": 2, "f1": 0.5}, {"f1": 0.25}])
    assert path.read_text() == "epoch,loss,f1\n1,3.0,\n2,2.0,0.5\n3,,0.25\n"


def test_csv_log_refuses_to_resume_another_file(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("a novel\n")
    trainer = FakeTrainer([CSVLog(path)])
    trainer.epoch = 1
    with pytest.raises(InputError, match="first column 'epoch'"):
        trainer.fit(losses(1))
    assert path.read_text() == "a novel\n"
