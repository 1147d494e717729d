"""A model's state: its parameters and buffers as arrays by path, out and in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graphc.errors import DTypeError, InputError
from graphc.graph.leaf import Cell
from graphc.nn.parameter import Parameter

if TYPE_CHECKING:
    from graphc.nn.module import Module

Array = NDArray[Any]


def parameters_of(model: Module) -> Iterator[tuple[str, Parameter]]:
    """Every parameter with its path; a shared one once for each of its paths."""
    for path, module in model._paths(""):
        for name, parameter in module._parameters.items():
            if parameter is not None:
                yield _join(path, name), parameter


def buffers_of(model: Module) -> Iterator[tuple[str, Cell]]:
    """Every buffer's cell once, with its path."""
    for path, module in model.named_modules():
        for name, cell in module._buffers.items():
            if cell is not None:
                yield _join(path, name), cell


def entries(model: Module) -> Iterator[tuple[str, Parameter | Cell]]:
    """What a state dict holds, in torch's order: a module's parameters, buffers, then children."""
    for path, module in model._paths(""):
        for name, parameter in module._parameters.items():
            if parameter is not None:
                yield _join(path, name), parameter
        for name, cell in module._buffers.items():
            if cell is not None and name not in module._transient:
                yield _join(path, name), cell


def state_dict(model: Module) -> dict[str, Array]:
    """Copies of the arrays by path."""
    return {path: np.array(entry.value) for path, entry in entries(model)}


def load_state_dict(model: Module, values: Mapping[str, Any], *, strict: bool = True) -> None:
    """Overwrite the arrays by path; all or nothing."""
    wanted = dict(entries(model))
    given = {path: np.asarray(values[path]) for path in wanted if path in values}
    problems = []
    if strict:
        problems += [f"missing: {path}" for path in wanted if path not in values]
        problems += [f"unexpected: {path}" for path in values if path not in wanted]
    for path, array in given.items():
        entry = wanted[path]
        if isinstance(entry, Parameter) and not entry.ready:
            continue
        if array.shape != entry.value.shape:
            problems.append(f"{path}: has shape {entry.value.shape}, given {array.shape}")
    if problems:
        listed = "\n  ".join(problems)
        raise InputError(f"cannot load the state of {type(model).__name__}:\n  {listed}")
    for path, array in given.items():
        _check_dtype(path, wanted[path], array)
    for path, array in given.items():
        entry = wanted[path]
        if isinstance(entry, Parameter) and not entry.ready:
            wide = array.dtype == np.float64
            entry.materialize(array.astype(np.float64 if wide else np.float32), path)
        else:
            entry.assign(array)


def _check_dtype(path: str, entry: Parameter | Cell, array: Array) -> None:
    ready = not isinstance(entry, Parameter) or entry.ready
    wanted = entry.value.dtype if ready else np.dtype(np.float32)
    if not np.can_cast(array.dtype, wanted, "same_kind"):
        raise DTypeError(f"{path}: is {wanted}, given {array.dtype}")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
