"""The user's files for the page: their lines, and which of them made nodes."""

from __future__ import annotations

import linecache
from pathlib import Path
from typing import Any

MOST = 4000
"""Lines of a file that are shown; of a longer one those around what made nodes."""


def sources(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every file that made nodes, the one that made most first; without lines if unreadable."""
    marks: dict[str, dict[int, list[int]]] = {}
    for node in nodes:
        marks.setdefault(node["file"], {}).setdefault(node["line"], []).append(node["id"])
    files = []
    for path, lines in marks.items():
        text = [line.rstrip("\n") for line in linecache.getlines(path)]
        first = 0
        if len(text) > MOST:
            first = max(min(lines) - 50, 0)
            text = text[first : first + MOST]
        files.append(
            {
                "path": path,
                "name": Path(path).name,
                "first": first + 1,
                "lines": text,
                "marks": {str(number): found for number, found in sorted(lines.items())},
            }
        )
    return sorted(files, key=lambda file: -sum(map(len, file["marks"].values())))
