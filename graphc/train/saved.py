"""The file of a training: the arrays of model and optimiser, and the rest of its state as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from graphc.errors import InputError
from graphc.nn.module import Module
from graphc.optim.optimizer import Optimizer
from graphc.train.files import load_arrays, save_arrays
from graphc.train.standing import plateaus_of

Array = NDArray[Any]

FORMAT = "graphc.trainer"


def save_training(
    path: str | os.PathLike[str], model: Module, optimizer: Optimizer, state: Mapping[str, Any]
) -> None:
    """Write the arrays as "model." and "optimizer."; the state and schedules as metadata."""
    optimizer.attach(model.named_parameters())
    arrays = {f"model.{name}": array for name, array in model.state_dict().items()}
    arrays |= {f"optimizer.{name}": array for name, array in optimizer.state_dict().items()}
    plateaus = [plateau.state_dict() for plateau in plateaus_of(optimizer)]
    metadata = json.dumps({"version": 1, **state, "plateaus": plateaus})
    save_arrays(path, arrays, {FORMAT: metadata})


def load_training(
    path: str | os.PathLike[str], model: Module, optimizer: Optimizer
) -> dict[str, Any]:
    """Overwrite model and optimiser with what save_training wrote, and return the state.

    Raises InputError where the file is of another kind, model or optimiser, and as load_arrays
    does.
    """
    arrays, metadata = load_arrays(path)
    if FORMAT not in metadata:
        raise InputError(
            f"{path} was not saved by a Trainer; for weights alone use "
            "model.load_state_dict(graphc.train.load_arrays(path)[0])"
        )
    model.load_state_dict(_below("model.", arrays))
    optimizer.attach(model.named_parameters())
    optimizer.load_state_dict(_below("optimizer.", arrays))
    state: dict[str, Any] = json.loads(metadata[FORMAT])
    for plateau, saved in zip(plateaus_of(optimizer), state["plateaus"], strict=False):
        plateau.load_state_dict(saved)
    return state


def _below(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
