"""Epochs: which rows of the data their steps take, many steps at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.data.sampling import shuffled
from graphc.errors import IndexError
from graphc.runtime.steps import Rows
from graphc.train.arrays import Examples
from graphc.train.step import TrainStep

Array = NDArray[Any]


@dataclass(frozen=True)
class Epoch:
    """The examples in batches of one size, the last one smaller; in `order`, or as they are."""

    data: Examples
    batch_size: int
    order: Array | None

    def part(self, position: int, most: int) -> tuple[Rows, int]:
        """The rows of the steps from `position` on, and how many steps: `most` whole batches.

        A smaller batch at the end is a part of its own.
        """
        first = position * self.batch_size
        whole = min((len(self.data) - first) // self.batch_size, most)
        size, steps = (self.batch_size, whole) if whole else (len(self.data) - first, 1)
        if self.order is None:
            return Rows(size, None, first), steps
        taken = self.order[first : first + size * steps].reshape(steps, size)
        return Rows(size, np.ascontiguousarray(taken, np.int64)), steps

    def batch(self, rows: Rows, step: int) -> dict[str, Array]:
        """A copy of the arrays of one step of a part, by name."""
        first = rows.start + step * rows.batch
        taken: Any = slice(first, first + rows.batch)
        if rows.order is not None:
            taken = rows.order[step]
        return {name: np.array(array[taken]) for name, array in self.data.named.items()}

    def refused(self, step: TrainStep, position: int, number: int) -> None:
        """Make one step by itself, to raise what is wrong with its labels: their place in the data.

        `number` is the epoch's, from 1.
        """
        first = position * self.batch_size
        taken: Any = slice(first, first + self.batch_size)
        if self.order is not None:
            taken = self.order[taken]
        try:
            step(**{name: array[taken] for name, array in self.data.named.items()})
        except IndexError as error:
            when = f"step {position + 1} of epoch {number}"
            raise self.data.located(error, first, when, self.order) from None


@dataclass(frozen=True)
class Batches:
    """How epochs go through the examples: in batches, and shuffled anew in each or as they are."""

    data: Examples
    batch_size: int
    shuffle: bool

    @property
    def plan(self) -> list[int]:
        """What an epoch that was cut short must have in common with the one that goes on."""
        return [len(self.data), self.batch_size, int(self.shuffle)]

    @property
    def size(self) -> int:
        """How many examples the first batch of an epoch has."""
        return min(self.batch_size, len(self.data))

    def epoch(self, seed: int, number: int) -> Epoch:
        """An epoch; `number` counts from 0."""
        return Epoch(self.data, self.batch_size, self._order(seed, number))

    def rows(self, seed: int, numbers: Iterable[int]) -> Rows:
        """The rows of epochs one after the other, where whole batches make up each."""
        orders = [self._order(seed, number) for number in numbers]
        plain = np.arange(len(self.data))
        order = np.concatenate([plain if order is None else order for order in orders])
        return Rows(self.size, np.ascontiguousarray(order, np.int64).reshape(-1, self.size))

    def _order(self, seed: int, number: int) -> Array | None:
        return shuffled(len(self.data), seed=seed, epoch=number) if self.shuffle else None
