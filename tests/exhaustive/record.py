"""Outcomes kept as files, so that a run which was broken off, or shared out, goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import graphc
from graphc.llvm import engine
from tests.exhaustive.error import Tally
from tests.exhaustive.subjects import Subject
from tests.exhaustive.sweep import Outcome


def place(folder: Path, subject: Subject, targets: Sequence[str], every: int) -> Path:
    """The file of a function's outcome: another one where the code that makes it is another."""
    here = Path(__file__).parent
    files = sorted((Path(graphc.__file__).parent / "ops").glob("*.py"))
    files += [here / f"{name}.py" for name in ("error", "subjects", "sweep")]
    code = b"\0".join(path.read_bytes() for path in files)
    digest = hashlib.sha256(f"{engine.generator()} {targets} {every}".encode() + code)
    return folder / f"{subject.name}-{digest.hexdigest()[:16]}.json"


def write(path: Path, outcome: Outcome) -> None:
    """Keep an outcome; the file appears whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tallies = {target: asdict(tally) for target, tally in outcome.tallies.items()}
    kept = {
        "tallies": tallies,
        "reference": outcome.reference,
        "points": outcome.points,
        "seconds": outcome.seconds,
    }
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(kept), "utf-8")
    draft.replace(path)


def read(path: Path, subject: Subject) -> Outcome:
    """The outcome that was kept. Raises FileNotFoundError where there is none."""
    kept = json.loads(path.read_text("utf-8"))
    tallies = {target: Tally(**tally) for target, tally in kept.pop("tallies").items()}
    for tally in tallies.values():
        tally.worst = [(error, tuple(point), result) for error, point, result in tally.worst]
    return Outcome(subject, tallies, **kept)
