"""Run the lecture's examples in full, in order, and record what they measured in docs/lecture.md.

    GRAPHC_DATA_DIR=folder python examples/lecture/run_all.py

Each runs in a process of its own, with its pictures in docs/pictures/lecture. After each, the table
between the two marks of the page is written anew: claims, seeds, times, and above them the machine
and the versions. With names (`04_mlp 07_sgd`) only those run. The rows of the others stay, marked
where another machine or other versions measured them; so do those of an example that ends without a
table, below a row that says so. Ends with 1 where an example or a claim failed.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import platform
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent.parent / "docs" / "lecture.md"
BEGIN, END = "<!-- results -->\n", "<!-- end of results -->"
NAMES = [path.stem for path in sorted(HERE.glob("[0-9][0-9]_*.py"))]
PACKAGES = ("graphc", "numpy", "llvmlite", "sympy", "scipy", "scikit-learn")
ELSEWHERE = ", with another machine or other versions"
ENDED = "ended before its table"
HEAD = (
    "| example | claim | measured | reference | seed | run |\n| --- | --- | --- | --- | --- | --- |"
)


def machine() -> str:
    """What the numbers depend on: processor, cores, system and versions."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", info.read_text("utf-8")) if info.exists() else None
    processor = found[1] if found else platform.machine()
    versions = ", ".join(map(version, PACKAGES))
    system = f"{platform.platform()}, Python {platform.python_version()}"
    return f"{processor}, {os.cpu_count()} cores, {system}; {versions}."


def version(package: str) -> str:
    """A package with its version, or that it is not there: some examples do without."""
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"no {package}"


def processor() -> float:
    """The processor's seconds that the examples took so far."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def measured(name: str, pictures: Path) -> tuple[list[str], bool]:
    """Run an example: its rows of the table, and whether all its claims held.

    Where it ended before its table there is one row, which says why.
    """
    began, before = time.monotonic(), processor()
    command = [sys.executable, str(HERE / f"{name}.py"), "--out", str(pictures)]
    done = subprocess.run(command, capture_output=True, text=True)
    spent, busy = time.monotonic() - began, processor() - before
    sys.stderr.write(done.stderr)
    text = (HERE / f"{name}.py").read_text("utf-8")
    seeds = re.findall(r"(?:seed|default_rng|RandomState)\((\d+)\)", text)
    seed = ", ".join(sorted(set(seeds))) or "none"
    run = f"{datetime.date.today()}, {spent:.0f} s, of the processor {busy:.0f} s"
    rows = re.findall(r"^\| (.+) \| (.+) \| (.+) \|$", done.stdout, re.MULTILINE)[2:]
    lines = []
    if not rows:
        lines = [f"| {name} | {ENDED} | {reason(done)} (FAILED) | a table | {seed} | {run} |"]
    for claim, value, reference in rows:
        value += " (FAILED)" * (f"FAILED: {claim}: " in done.stderr)
        lines.append(f"| {name} | {claim} | {value} | {reference} | {seed} | {run} |")
    print(f"{name}: {len(rows)} claims, {spent:.0f} s, exit code {done.returncode}", flush=True)
    return lines, done.returncode == 0 and bool(rows)


def reason(done: subprocess.CompletedProcess[str]) -> str:
    """Why a run ended: the first line of its errors, or the last of a traceback, or its code."""
    said = done.stderr.strip().splitlines()
    if done.returncode < 0 or not said:
        return f"exit code {done.returncode}"
    return said[-1 if "Traceback" in done.stderr else 0].strip().replace("|", "/")


def elsewhere(line: str) -> str:
    """A row that was not measured with what the page is headed by."""
    return line if ELSEWHERE in line else line.removesuffix(" |") + f"{ELSEWHERE} |"


def recorded(page: str) -> tuple[str, dict[str, list[str]]]:
    """The machine that a page's table was measured on, and its rows by example."""
    table = page.partition(BEGIN)[2].partition(END)[0]
    rows: dict[str, list[str]] = {}
    for line in re.findall(r"^\| \d\d_.+$", table, re.MULTILINE):
        rows.setdefault(line.split()[1], []).append(line)
    return table.partition("\n")[0], rows


def written(page: str, host: str, rows: dict[str, list[str]]) -> str:
    """The page with this table between its marks; the rest as it is."""
    above, _, rest = page.partition(BEGIN)
    lines = [line for name in sorted(rows) for line in rows[name]]
    table = "\n".join([host, "", HEAD, *lines, ""])
    return f"{above}{BEGIN}{table}{END}{rest.partition(END)[2]}"


def main(arguments: list[str] | None = None) -> None:
    """Run and record, one example after the other."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(NAMES)}; by default all")
    parser.add_argument("--page", type=Path, default=PAGE, help="by default docs/lecture.md")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        parser.error(f"no example {unknown[0]!r}; there are {', '.join(NAMES)}")
    if not options.page.is_file():
        parser.error(f"--page {options.page}: there is no such file")
    host, rows = recorded(options.page.read_text("utf-8"))
    rows = {name: rows[name] for name in rows if name in NAMES}
    if host != machine():
        rows = {name: [elsewhere(line) for line in lines] for name, lines in rows.items()}
    began, failed = time.monotonic(), []
    for name in options.names or NAMES:
        lines, held = measured(name, options.page.parent / "pictures" / "lecture")
        if f"| {ENDED} |" in lines[0]:
            lines += [line for line in rows.get(name, []) if f"| {ENDED} |" not in line]
        rows[name] = lines
        failed += [] if held else [name]
        page = options.page.read_text("utf-8")
        options.page.write_text(written(page, machine(), rows), "utf-8")
    print(f"{time.monotonic() - began:.0f} s in all")
    if failed:
        raise SystemExit(f"claims that do not hold: {', '.join(failed)}")


if __name__ == "__main__":
    main()
