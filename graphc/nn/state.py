"""A model's state: its parameters and buffers as arrays by path, out and in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graphc.errors import DTypeError, InputError
from graphc.graph.leaf import Cell
from graphc.nn.parameter import Parameter

if TYPE_CHECKING:
    from graphc.nn.module import Module

Array = NDArray[Any]


@dataclass(frozen=True)
class Reserved:
    """A buffer that has no shape yet."""

    module: Module
    name: str
    ready = False

    @property
    def value(self) -> Array:
        """None as yet. Raises InputError."""
        raise InputError(
            f"the buffer {self.name!r} belongs to a lazy layer and has no shape before the first "
            "trace"
        )


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


def entries(model: Module) -> Iterator[tuple[str, Parameter | Cell | Reserved]]:
    """What a state dict holds, in torch's order: a module's parameters, buffers, then children."""
    for path, module in model._paths(""):
        for name, parameter in module._parameters.items():
            if parameter is not None:
                yield _join(path, name), parameter
        for name, cell in module._buffers.items():
            if name in module._reserved:
                yield _join(path, name), Reserved(module, name)
            elif cell is not None and name not in module._transient:
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
        if not ready(entry):
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
        if isinstance(entry, Reserved):
            entry.module.register_buffer(entry.name, _floats(array))
        elif isinstance(entry, Parameter) and not entry.ready:
            entry.materialize(_floats(array), path)
        else:
            entry.assign(array)


def ready(entry: Parameter | Cell | Reserved) -> bool:
    """Whether an entry has a shape."""
    return isinstance(entry, Cell) or entry.ready


def _floats(array: Array) -> Array:
    return array.astype(np.float64 if array.dtype == np.float64 else np.float32)


def _check_dtype(path: str, entry: Parameter | Cell | Reserved, array: Array) -> None:
    wanted = entry.value.dtype if ready(entry) else np.dtype(np.float32)
    if not np.can_cast(array.dtype, wanted, "same_kind"):
        raise DTypeError(f"{path}: is {wanted}, given {array.dtype}")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
