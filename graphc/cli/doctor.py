"""`graphc doctor`: what the machine offers, what graphc uses of it, and whether it works."""

from __future__ import annotations

import json
from typing import Any

import click
import numpy as np

from graphc import nn, optim
from graphc.compiler import compile
from graphc.errors import GraphcError
from graphc.graph import leaf
from graphc.graph.show import aligned
from graphc.inspect.colour import write
from graphc.inspect.host import MISSING, examine
from graphc.train.trainer import Trainer


@click.command(short_help="Print what the machine offers and what graphc uses of it.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def doctor(as_json: bool) -> None:
    """Print versions, the processor, the chosen target, the object cache, extras, and two trials.

    Exits with 1 where a trial fails: compiling and running a small program, and training a net of
    two layers, whose loss must fall.

    \b
    Example:
      graphc doctor --json
    """
    facts = {**examine(), "trial": trial(), "training": training()}
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        write("\n".join(report(facts)))
    if (facts["trial"], facts["training"]) != ("passed", "passed"):
        raise SystemExit(1)


def training() -> str:
    """Train a small net for some steps: "passed", or what went wrong."""
    random = np.random.default_rng(0)
    x = random.standard_normal((64, 4)).astype(np.float32)
    y = (x.sum(axis=1) > 0).astype(np.int64)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    trainer = Trainer(model, "cross_entropy", optim.Adam(0.05))
    try:
        losses = trainer.fit(x, y, epochs=5, batch_size=16, verbose=0)["loss"]
    except (GraphcError, OSError, RuntimeError) as error:
        return f"failed: {error}"
    return "passed" if losses[-1] < losses[0] else f"failed: the loss went {losses}"


def trial() -> str:
    """Compile and run x + x: "passed", or what went wrong."""
    x = leaf.input("x", ("n", 3))
    numbers = np.arange(21, dtype=np.float32).reshape(7, 3)
    try:
        (result,) = compile(x + x)(numbers)
    except (GraphcError, OSError, RuntimeError) as error:
        return f"failed: {error}"
    return "passed" if np.array_equal(result, numbers + numbers) else "failed: wrong numbers"


def report(facts: dict[str, Any]) -> list[str]:
    """The facts as lines."""
    cpu, target, kept = facts["processor"], facts["target"], facts["object_cache"]
    native = [name for name, runs in facts["targets"].items() if runs]
    others = [name for name, runs in facts["targets"].items() if not runs]
    rows = [
        ("versions", ", ".join(f"{name} {v}" for name, v in facts["versions"].items())),
        (
            "processor",
            f"{cpu['model']} ({cpu['architecture']}), usable cores: {cpu['usable_cores']}",
        ),
        ("system", cpu["system"]),
        ("features", " ".join(cpu["features"]) or "none that matter here"),
        ("caches", caches(cpu["caches"])),
        (
            "target",
            f"{target['name']} ({target['cpu']}): {target['vector_bits']}-bit vectors, "
            f"{target['float32_lanes']} float32 or {target['float64_lanes']} float64 lanes, "
            f"{target['vector_registers']} vector registers"
            + (", each vector in two passes" if target["vector_passes"] > 1 else ""),
        ),
        (
            "schedules",
            f"for {target['level1_bytes'] >> 10} KiB of first and "
            f"{target['level2_bytes'] >> 10} KiB of second cache for data a core",
        ),
        ("runs", f"{', '.join(native)}; can be inspected only: {', '.join(others) or 'none'}"),
        ("threads", f"{facts['threads']} at most; short calls stay on the calling thread"),
        ("object cache", object_cache(kept)),
        ("settings", " ".join(f"{k}={v}" for k, v in facts["settings"].items()) or "no GRAPHC_*"),
        *(("extra", line) for line in extras(facts["extras"])),
        ("tools", ", ".join(f"{k}: {v or 'not found'}" for k, v in facts["tools"].items())),
        ("trial", facts["trial"]),
        ("training", facts["training"]),
    ]
    return aligned(rows)


def extras(found: dict[str, Any]) -> list[str]:
    """Each extra on a line: what it is for, what is there of it, and how to get the rest."""
    lines = []
    for name, extra in found.items():
        libraries = extra["libraries"]
        there = [f"{library} {v}" for library, v in libraries.items() if v != MISSING]
        lacking = [library for library, v in libraries.items() if v == MISSING]
        shown = ", ".join([*there, *(f"no {library}" for library in lacking)])
        way = f"; pip install 'graphc[{name}]'" if lacking else ""
        lines.append(f"{name}, {extra['for']}: {shown}{way}")
    return lines


def caches(found: list[dict[str, Any]]) -> str:
    """The caches on a line."""
    shown = [f"L{c['level']} {c['kind']} {c['size']}" for c in found]
    return ", ".join(shown) or "the system does not tell"


def object_cache(kept: dict[str, Any]) -> str:
    """The object cache on a line."""
    if kept["folder"] is None:
        return 'off (GRAPHC_CACHE_DIR is "off")'
    size = f"{kept['objects']} objects, {kept['bytes'] / 1e6:.1f} MB"
    size += f", {kept['tuned']} tuned kernels"
    trust = "" if kept["writable"] else "; NOT used: nothing can be written there"
    if not kept["trusted"]:
        trust = "; NOT used: others may write there, or it is not yours"
    return f"{kept['folder']}: {size}{trust}"
