"""Two programs side by side: which stages are equal, and how the lines of the others differ."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from graphc.graph.show import aligned

HEADER = ("stage", "lines", "removed", "added")
PLACE = re.compile(r"\s*# (?:from )?\S+:\d+(?: \([^)]*\))?(?:, .*)?$")
NUMBER = re.compile(r"%[\w.]*\d+|\bk\d{2,}\b|\.?L\w+\d")
"""What only counts: nodes, kernels, and in code its values and labels."""
GAP = re.compile(r"(?<=\S) {2,}")

Text = Callable[[str], str]


@dataclass(frozen=True)
class Difference:
    """One stage of two programs: its lines in each."""

    stage: str
    before: tuple[str, ...]
    after: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return self.before == self.after

    @property
    def counts(self) -> tuple[int, int]:
        """How many lines of the first the second has not, and the other way round."""
        marks = [line[:1] for line in self.lines(context=0)[2:]]
        return marks.count("-"), marks.count("+")

    def lines(self, names: tuple[str, str] = ("", ""), context: int = 3) -> list[str]:
        """The unified difference, with the names of the two at its head; empty for equal ones.

        Lines that differ only in the numbers of nodes and kernels count as the same, as one node
        more renumbers all that follow; unless nothing else differs.
        """
        if self.equal:
            return []
        before, after = list(map(blurred, self.before)), list(map(blurred, self.after))
        if before == after:
            before, after = list(self.before), list(self.after)
        found = [f"--- {names[0]}", f"+++ {names[1]}"]
        for steps in SequenceMatcher(None, before, after).get_grouped_opcodes(context):
            (_, a, _, c, _), (_, _, b, _, d) = steps[0], steps[-1]
            found.append(f"@@ -{span(a, b)} +{span(c, d)} @@")
            for kind, begin, end, start, stop in steps:
                if kind == "equal":
                    found += [f" {line}" for line in self.after[start:stop]]
                    continue
                found += [f"-{line}" for line in self.before[begin:end]]
                found += [f"+{line}" for line in self.after[start:stop]]
        return found

    def as_data(self) -> dict[str, Any]:
        """The stage and its counts."""
        removed, added = self.counts
        return {"stage": self.stage, "equal": self.equal, "removed": removed, "added": added}


def blurred(line: str) -> str:
    """A line without its numbers of nodes and kernels."""
    return NUMBER.sub("%", line)


def span(begin: int, end: int) -> str:
    """Some lines as the head of a hunk counts them: from 1, and how many."""
    return f"{begin + (end > begin)},{end - begin}"


def compared(before: Text, after: Text, stages: Iterable[str]) -> list[Difference]:
    """The stages of two programs, given as functions from a stage to its text."""
    return [
        Difference(stage, tuple(settled(before(stage))), tuple(settled(after(stage))))
        for stage in stages
    ]


def settled(text: str) -> list[str]:
    """The lines without what says nothing of the program: places in files, columns' widths."""
    lines = [GAP.sub("  ", PLACE.sub("", line)) for line in text.splitlines()]
    return [new for new, old in zip(lines, text.splitlines(), strict=True) if new or not old]


def table(found: Iterable[Difference]) -> list[str]:
    """The stages and their counts as lines."""
    rows = []
    for one in found:
        removed, added = one.counts
        marks = ("equal",) if one.equal else (f"-{removed:,}", f"+{added:,}")
        rows.append((one.stage, f"{len(one.before):,}", *marks))
    return aligned([HEADER, *rows], right=(1, 2, 3))
