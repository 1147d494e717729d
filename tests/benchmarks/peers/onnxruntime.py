"""ONNX Runtime: the net as an ONNX model, all optimisations on; inference only."""

from __future__ import annotations

from dataclasses import dataclass

import onnxruntime

from tests.benchmarks.exported import model_of
from tests.benchmarks.peers import Session
from tests.benchmarks.workloads import Workload
from tests.benchmarks.workloads.inference import Inference
from tests.benchmarks.workloads.net import Array, samples


def describe() -> dict[str, object]:
    """ONNX Runtime's version; it optimises the model when it is loaded, and keeps nothing."""
    return {"version": onnxruntime.__version__, "compiles": True}


def variants(workload: Workload) -> list[str]:
    """One, for inference."""
    return ["default"] if isinstance(workload, Inference) else []


def prepare(workload: Workload, variant: str, threads: int) -> Session:
    """Load the model."""
    assert isinstance(workload, Inference)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    session = onnxruntime.InferenceSession(
        model_of(workload), options, providers=["CPUExecutionProvider"]
    )
    return Predictor(session, workload.ring)


@dataclass
class Predictor:
    """A loaded model, and the place in its ring of batches."""

    session: onnxruntime.InferenceSession
    ring: list[Array]
    done: int = 0
    grain: int = 1

    def next(self) -> Array:
        """The outputs of the next batch."""
        x = self.ring[self.done % len(self.ring)]
        self.done += 1
        found: Array = self.session.run(None, {"x": x})[0]
        return found

    def check(self, steps: int) -> list[float]:
        """Samples of the outputs of so many batches."""
        return [value for _ in range(steps) for value in samples(self.next())]

    def run(self, steps: int) -> None:
        """So many batches."""
        for _ in range(steps):
            self.next()
