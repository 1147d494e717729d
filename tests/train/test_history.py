"""The record of a run: rows in, columns, a table and a CSV file out."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from graphc.errors import InputError
from graphc.train.history import History


def example() -> History:
    history = History()
    history.append(1, {"loss": 2.5, "accuracy": 0.125})
    history.append(2, {"loss": float(np.float32(0.1)), "val_loss": math.nan})
    return history


def test_rows_and_columns() -> None:
    history = example()
    assert len(history) == 2 and history.epochs == [1, 2]
    assert history.names == ["loss", "accuracy", "val_loss"]
    assert history["loss"] == [2.5, float(np.float32(0.1))]
    assert history["accuracy"][0] == 0.125 and math.isnan(history["accuracy"][1])
    history.append(3, {"loss": np.float64(1.0)})
    assert type(history.last["loss"]) is float
    assert History().last == {}


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(KeyError, match="loss, accuracy, val_loss"):
        example()["f1"]
    with pytest.raises(KeyError, match="nothing"):
        History()["loss"]


def test_epochs_increase() -> None:
    history = example()
    for epoch in (1, 2):
        with pytest.raises(InputError, match=f"epoch {epoch} cannot follow epoch 2"):
            history.append(epoch, {})
    with pytest.raises(InputError, match="'epoch'"):
        history.append(3, {"epoch": 3.0})
    assert len(history) == 2


def test_table() -> None:
    assert str(example()).splitlines() == [
        "epoch     loss  accuracy  val_loss",
        "    1   2.5000   0.12500         -",
        "    2  0.10000         -       nan",
    ]
    assert str(History()) == "epoch"


def test_csv_text(tmp_path: Path) -> None:
    example().to_csv(tmp_path / "log.csv")
    assert (tmp_path / "log.csv").read_text() == (
        "epoch,loss,accuracy,val_loss\n1,2.5,0.125,\n2,0.10000000149011612,,nan\n"
    )


def test_csv_round_trip(tmp_path: Path) -> None:
    history = History()
    history.append(3, {"a, b": 0.1 + 0.2, 'quoted "c"': -math.inf})
    history.append(7, {"a, b": 5e-324})
    history.to_csv(tmp_path / "log.csv")
    assert History.from_csv(tmp_path / "log.csv") == history
    History().to_csv(tmp_path / "empty.csv")
    assert History.from_csv(tmp_path / "empty.csv") == History()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a first column 'epoch'"),
        ("step,loss\n1,2\n", "expected a first column 'epoch', found .'step', 'loss'"),
        ("epoch,loss\n1,2\n2,x\n", "line 3: could not convert"),
        ("epoch,loss\n1\n", "line 2: "),
        ("epoch,loss\n2,1\n2,1\n", "line 3: epoch 2 cannot follow"),
    ],
)
def test_what_is_no_log_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        History.from_csv(path)
