"""What the machine offers, and what graphc uses of it."""

from __future__ import annotations

import os
import platform
import shutil
from importlib import metadata
from typing import Any

from graphc import __version__, cache, machine
from graphc.llvm import engine, targets, tuned
from graphc.runtime import threads

LIBRARIES = ("numpy", "sympy", "networkx", "llvmlite", "click", "rich", "safetensors")
MISSING = "not installed"
EXTRAS = {
    "draw": ("drawings of graphs", "pygraphviz"),
    "plot": ("plots of histories and rooflines", "matplotlib"),
    "profiling": ("kernels and lines in perf", "pyelftools"),
    "serve": ("a training in the browser while it runs", "waitress"),
    "browser": ("tests of the explorer page in a browser", "playwright"),
    "examples": (
        "the data and pictures of the examples",
        *("matplotlib", "scikit-learn", "scipy"),
    ),
    "bench": (
        "other libraries to compare with",
        *("torch", "jax", "onnx", "onnxruntime", "openvino", "psutil"),
    ),
}
"""What each extra for use is for, and the libraries that it brings."""
USED = ("sse2", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl", "neon")
"""The features that decide what code is generated."""


def examine() -> dict[str, Any]:
    """Facts about versions, processor, targets, object cache and settings, ready for JSON."""
    chosen = targets.target()
    return {
        "versions": versions(),
        "processor": processor(),
        "target": {
            "name": chosen.name,
            "cpu": chosen.cpu,
            "triple": chosen.triple,
            "vector_bits": chosen.vector_bytes * 8,
            "float32_lanes": chosen.vector_bytes // 4,
            "float64_lanes": chosen.vector_bytes // 8,
            "vector_registers": chosen.registers,
            "vector_passes": chosen.model.passes,
            "level1_bytes": chosen.level1,
            "level2_bytes": chosen.level2,
        },
        "threads": threads.resolve(None) if threads.supported() else 1,
        "targets": {name: targets.target(name).native for name in targets.WIDTHS},
        "object_cache": object_cache(),
        "extras": extras(),
        "tools": tools(),
        "settings": {k: v for k, v in sorted(os.environ.items()) if k.startswith("GRAPHC_")},
    }


def versions() -> dict[str, str]:
    """Versions of graphc, Python, LLVM and the libraries that are installed."""
    found = {"graphc": __version__, "python": platform.python_version()}
    found["llvm"] = engine.llvm_version()
    return found | {name: version(name) for name in LIBRARIES}


def version(package: str) -> str:
    """The version of an installed package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return MISSING


def processor() -> dict[str, Any]:
    """The processor: model, cores that this process may use, features, caches where readable."""
    features = targets.host_features()
    return {
        "model": machine.processor(),
        "architecture": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "usable_cores": threads.available(),
        "features": [name for name in USED if features.get(name)],
        "caches": caches(),
    }


def caches() -> list[dict[str, Any]]:
    """The caches of the first core: level, kind, size; empty where the system does not tell."""
    return [
        {"level": cache.level, "kind": cache.kind, "size": f"{cache.size >> 10}K"}
        for cache in machine.caches()
    ]


def object_cache() -> dict[str, Any]:
    """Where compiled code is kept: how much, and whether the folder is ours alone and writable."""
    folder = cache.folder()
    if folder is None:
        none = {"folder": None, "objects": 0, "bytes": 0, "tuned": 0}
        return {**none, "trusted": False, "writable": False}
    found = cache.entries()
    return {
        "folder": str(folder),
        "objects": sum(kind_of(entry) == "object" for entry in found),
        "bytes": sum(entry.size for entry in found),
        "tuned": len(tuned.entries()),
        "trusted": cache.trusted(folder) or not folder.exists(),
        "writable": cache.ready(),
    }


def kind_of(entry: cache.Entry) -> str:
    """What an entry of the cache holds: the room that it lies in, or what its contents tell."""
    if entry.begins is None:
        return "unfinished" if entry.path.name.startswith(".") else "damaged"
    if entry.room:
        return entry.room
    if entry.begins.startswith(b'{"slots"'):
        return "image"
    return "derivations" if entry.begins.startswith(b"{") else "object"


def extras() -> dict[str, dict[str, Any]]:
    """What can be installed beside graphc: for what, and the version of each library it needs."""
    return {
        name: {"for": use, "libraries": {library: version(library) for library in libraries}}
        for name, (use, *libraries) in EXTRAS.items()
    }


def tools() -> dict[str, str | None]:
    """The path of each native tool that can look at generated code; None where there is none."""
    return {name: shutil.which(name) for name in ("perf", "gdb")}
