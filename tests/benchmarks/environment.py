"""The settings of a worker's process: threads, instruction set, and where compiled code is kept."""

from __future__ import annotations

import os
from collections.abc import Mapping

THREADS = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    "TORCHINDUCTOR_COMPILE_THREADS",
)
CACHES = ("GRAPHC_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "JAX_COMPILATION_CACHE_DIR")
OPENVINO_CACHE = "BENCHMARK_OPENVINO_CACHE"
ISA: Mapping[str, Mapping[str, str]] = {
    "host": {},
    "avx2": {
        "GRAPHC_TARGET": "avx2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "DNNL_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL",
    },
}
UNLIMITED = ("onnxruntime",)
"""Peers that no setting keeps from using all that the processor has."""


def environment(threads: int, isa: str, cache: str | None) -> dict[str, str]:
    """The variables of a worker's process."""
    found = dict(os.environ)
    # A core type that the user's shell chose for another numpy would hold OpenBLAS back.
    found.pop("OPENBLAS_CORETYPE", None)
    found |= {name: str(threads) for name in THREADS}
    found["XLA_FLAGS"] = " ".join(
        [f"--xla_cpu_multi_thread_eigen={str(threads > 1).lower()}"]
        + ["--xla_cpu_max_isa=AVX2"] * (isa == "avx2")
    )
    found |= ISA[isa]
    if cache:
        found |= dict.fromkeys((*CACHES, OPENVINO_CACHE), cache)
    return found
