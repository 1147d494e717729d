"""A model's predictions: its outputs for all examples, batch by batch, joined."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from graphc.compiler import compile
from graphc.nn.module import Module
from graphc.runtime.program import Program
from graphc.train.arrays import Examples
from graphc.types import TensorType


@dataclass(frozen=True)
class Predictor:
    """A model compiled in evaluation mode, and what its forward returns."""

    program: Program
    kind: Literal["array", "tuple", "dict"]

    def over(self, data: Examples, batch_size: int) -> Any:
        """What the model gives for all examples, in the kind that it returns."""
        results = [result for result, _ in data.applied(self.program, batch_size)]
        if self.kind == "dict":
            return {name: np.concatenate([r[name] for r in results]) for name in results[0]}
        joined = tuple(np.concatenate(parts) for parts in zip(*results, strict=True))
        return joined[0] if self.kind == "array" else joined


def compile_predictor(model: Module, inputs: Mapping[str, TensorType], **options: Any) -> Predictor:
    """Compile the model for inputs of these types; options are those of compile."""
    found = model.trace(inputs)
    program = compile(found, **options)
    if isinstance(found, Mapping):
        return Predictor(program, "dict")
    return Predictor(program, "tuple" if isinstance(found, list | tuple) else "array")
