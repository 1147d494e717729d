"""What the machine offers, and what graphc uses of it."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

from graphc import __version__, cache, machine
from graphc.llvm import engine, tuned
from graphc.runtime import threads

LIBRARIES = ("numpy", "sympy", "networkx", "llvmlite", "click", "rich", "safetensors")
USED = ("sse2", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl", "neon")
"""The features that decide what code is generated."""


def examine() -> dict[str, Any]:
    """Facts about versions, processor, targets, object cache and settings, ready for JSON."""
    chosen = engine.target()
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
            "level1_bytes": chosen.level1,
            "level2_bytes": chosen.level2,
        },
        "threads": threads.resolve(None) if threads.supported() else 1,
        "targets": {name: engine.target(name).native for name in engine.WIDTHS},
        "object_cache": object_cache(),
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
        return "not installed"


def processor() -> dict[str, Any]:
    """The processor: model, cores that this process may use, features, caches where readable."""
    features = engine.host_features()
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
    """Where compiled objects are kept, how many, how large, and whether the folder is trusted."""
    folder = cache.folder()
    if folder is None:
        return {"folder": None, "objects": 0, "bytes": 0, "tuned": 0, "trusted": False}
    sizes = []
    for path in folder.glob("*.o"):
        try:
            sizes.append(path.stat().st_size)
        except OSError:
            continue
    return {
        "folder": str(folder),
        "objects": len(sizes),
        "bytes": sum(sizes),
        "tuned": len(tuned.entries()),
        "trusted": cache.trusted(folder) or not folder.exists(),
    }
