"""`python -m tests.benchmarks.imports`: how long `import graphc` takes in a fresh process."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Sequence

PROGRAM = """
import sys, time
start = time.perf_counter()
import {module}
seconds = time.perf_counter() - start
print(seconds, *sorted({{"sympy", "networkx", "llvmlite"}} & set(sys.modules)))
"""


def measure(module: str, runs: int) -> tuple[list[float], list[str]]:
    """Seconds of `import module` in each of so many processes, and the heavy modules it drew in.

    One process more runs first, unmeasured: it writes the bytecode and fills the file cache.
    """
    seconds, heavy = [], []
    for run in range(runs + 1):
        command = [sys.executable, "-c", PROGRAM.format(module=module)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"import {module} failed:\n{done.stderr}")
        taken, *heavy = done.stdout.split()
        if run:
            seconds.append(float(taken))
    return seconds, heavy


def main(argv: Sequence[str] | None = None) -> int:
    """Print the medians. The exit status is 1 if graphc's is above the limit."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.imports", description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--limit", type=float, default=0.35, help="seconds (default 0.35)")
    options = parser.parse_args(argv)
    medians = {}
    for module in ("numpy", "graphc"):
        seconds, heavy = measure(module, options.runs)
        medians[module] = statistics.median(seconds)
        drawn = f", draws in {', '.join(heavy)}" if heavy else ""
        print(
            f"import {module}: median {medians[module]:.3f} s, "
            f"{min(seconds):.3f} to {max(seconds):.3f} in {len(seconds)} processes{drawn}"
        )
    if medians["graphc"] > options.limit:
        print(f"FAILED: the limit is {options.limit} s", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
