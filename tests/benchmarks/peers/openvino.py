"""OpenVINO: the net as an ONNX model, in float32, one request at a time; inference only."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino

from tests.benchmarks.environment import OPENVINO_CACHE
from tests.benchmarks.exported import model_of
from tests.benchmarks.peers import Session
from tests.benchmarks.workloads import Workload
from tests.benchmarks.workloads.inference import Inference
from tests.benchmarks.workloads.net import Array, samples


def describe() -> dict[str, object]:
    """OpenVINO's version; it compiles, and keeps what it compiled."""
    return {"version": openvino.__version__.split("-")[0], "compiles": True}


def variants(workload: Workload) -> list[str]:
    """One, for inference."""
    return ["default"] if isinstance(workload, Inference) else []


def prepare(workload: Workload, variant: str, threads: int) -> Session:
    """Compile the model."""
    assert isinstance(workload, Inference)
    options: dict[str, object] = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
    }
    if OPENVINO_CACHE in os.environ:
        options["CACHE_DIR"] = os.environ[OPENVINO_CACHE]
    core = openvino.Core()
    model = core.read_model(io.BytesIO(model_of(workload)))
    return Predictor(core.compile_model(model, "CPU", options), workload.ring)


@dataclass
class Predictor:
    """A compiled model, and the place in its ring of batches."""

    model: Any
    ring: list[Array]
    done: int = 0
    grain: int = 1

    def __post_init__(self) -> None:
        self.request = self.model.create_infer_request()

    def next(self) -> Array:
        """The outputs of the next batch, in OpenVINO's own memory, valid until the next call."""
        x = self.ring[self.done % len(self.ring)]
        self.done += 1
        found: Array = self.request.infer([x], share_inputs=True, share_outputs=True)[0]
        return found

    def check(self, steps: int) -> list[float]:
        """Samples of the outputs of so many batches."""
        return [value for _ in range(steps) for value in samples(np.array(self.next()))]

    def run(self, steps: int) -> None:
        """So many batches."""
        for _ in range(steps):
            self.next()
