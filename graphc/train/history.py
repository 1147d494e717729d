"""What an epoch left behind: its loss and metrics, as numbers, a table and a CSV file."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from graphc import html, plot
from graphc.errors import InputError
from graphc.files import writing

EPOCH = "epoch"

Row = dict[str, float]


@dataclass
class History:
    """The values that each epoch reported, oldest first.

    epochs[i] is the number of an epoch, counted from 1 and increasing; rows[i] what it reported.
    Epochs need not report the same names: a value that is absent reads as NaN.
    """

    epochs: list[int] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def append(self, epoch: int, values: Mapping[str, float]) -> None:
        """Add an epoch's values, as Python floats. Raises InputError for an epoch not later."""
        if self.epochs and epoch <= self.epochs[-1]:
            raise InputError(f"epoch {epoch} cannot follow epoch {self.epochs[-1]}")
        if EPOCH in values:
            raise InputError(f"no value may be called {EPOCH!r}: that is the number's own column")
        self.epochs.append(int(epoch))
        self.rows.append({name: float(value) for name, value in values.items()})

    @property
    def names(self) -> list[str]:
        """The names of all values, in order of appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    @property
    def last(self) -> Row:
        """What the latest epoch reported; empty before the first."""
        return self.rows[-1] if self.rows else {}

    def __len__(self) -> int:
        return len(self.epochs)

    def __getitem__(self, name: str) -> list[float]:
        """One value for each epoch, NaN where there is none. Raises KeyError where all are."""
        if name not in self.names:
            raise KeyError(f"{name!r}: the epochs reported {', '.join(self.names) or 'nothing'}")
        return [row.get(name, math.nan) for row in self.rows]

    def cells(self) -> list[tuple[str, ...]]:
        """The table's lines: the epoch, and each value to five significant digits."""
        names = self.names
        return [
            (str(epoch), *(f"{row[n]:#.5g}" if n in row else "-" for n in names))
            for epoch, row in zip(self.epochs, self.rows, strict=True)
        ]

    def __str__(self) -> str:
        """A table of one line an epoch, values to five significant digits."""
        table = [(EPOCH, *self.names), *self.cells()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = (map(str.rjust, line, widths) for line in table)
        return "\n".join("  ".join(line) for line in lines)

    def _repr_html_(self) -> str:
        """The table below a curve for each name, for notebooks."""
        names = self.names
        curves = {position: self[name] for position, name in enumerate(names, 1)}
        return html.table(
            (EPOCH, *names),
            self.cells(),
            right=range(len(names) + 1),
            curves=curves,
            everything="print(history)",
        )

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """A matplotlib figure of the values over the epochs, one panel for each kind.

        A value and its val_ counterpart share a panel. With a path it is written there, as .svg,
        .png or .pdf. Raises InputError without matplotlib (the extra `plot`), for another suffix
        and for a history without epochs; WriteError where the system refuses.
        """
        return plot.history(self.epochs, {name: self[name] for name in self.names}, path)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a header and one line an epoch; floats are written so that they read back equal.

        Raises WriteError where the system refuses.
        """
        with writing(path), Path(path).open("w", newline="", encoding="utf-8") as file:
            names = self.names
            write_line(file, (EPOCH, *names))
            for epoch, row in zip(self.epochs, self.rows, strict=True):
                write_line(file, (epoch, *(row.get(name, "") for name in names)))

    @classmethod
    def from_csv(cls, path: str | os.PathLike[str]) -> History:
        """Read what to_csv wrote. Raises InputError with the file's line where it cannot."""
        history = cls()
        with Path(path).open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            if header[:1] != [EPOCH]:
                raise InputError(f"{path}: expected a first column {EPOCH!r}, found {header}")
            for cells in reader:
                try:
                    pairs = zip(header[1:], cells[1:], strict=True)
                    values = {name: float(cell) for name, cell in pairs if cell}
                    history.append(int(cells[0]), values)
                except (ValueError, LookupError) as error:
                    raise InputError(f"{path}, line {reader.line_num}: {error}") from error
        return history


def write_line(file: TextIO, cells: Iterable[object]) -> None:
    """Write one line of CSV, with a plain newline."""
    csv.writer(file, lineterminator="\n").writerow(cells)
