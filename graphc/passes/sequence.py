"""The order of kernels: what is needed just before its use, and early what lets memory go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from graphc.graph.node import Node
from graphc.passes.group import Group

Needs = Mapping[Group, Sequence[Group]]
TRIES = 4
"""How many orders are compared with the plain one, and how often the best is relieved;"""
LARGEST = 6
"""of so many values that lie idle beside a kernel each time."""


@dataclass(frozen=True)
class Traffic:
    """What each kernel makes and reads of memory that is used again, and the bytes of each value.

    What stays (inputs, variables, outputs) is no part of it.
    """

    makes: Mapping[Group, tuple[Node, ...]]
    reads: Mapping[Group, tuple[Node, ...]]
    bytes: Mapping[Node, int]


def sequence(needs: Needs, traffic: Traffic) -> list[Group]:
    """Depth first, or `eager` where its greatest live set is smaller, or that with less room.

    Then what lies idle at the greatest live set is read before, where that makes it smaller.
    """
    best = plain = depth_first(needs)
    most = peak(plain, traffic)
    room: int | None = None
    for _ in range(TRIES):
        order = eager(needs, traffic, plain, room)
        taken = peak(order, traffic)
        if taken >= most and room is not None:
            break
        if taken < most:
            best, most = order, taken
        room = most - 1
    for _ in range(TRIES if most else 0):
        better = relieved(best, needs, traffic, most)
        if better is None:
            break
        best, most = better, peak(better, traffic)
    return best


def relieved(
    order: Sequence[Group], needs: Needs, traffic: Traffic, most: int
) -> list[Group] | None:
    """The order with all readers of a value before the kernel at which most is alive.

    The value is none of that kernel's own. None where no such order has a smaller peak.
    """
    step = fullest(order, traffic)[1]
    group, before, after = order[step], order[:step], order[step:]
    readers: dict[Node, list[Group]] = {}
    for later in after:
        for node in traffic.reads[later]:
            readers.setdefault(node, []).append(later)
    made = {node for earlier in before for node in traffic.makes[earlier]}
    idle = [node for node in readers if node in made and node not in traffic.reads[group]]
    done = set(before)
    for node in sorted(idle, key=lambda n: -traffic.bytes[n])[:LARGEST]:
        moved = [g for g in depth_first(needs, readers[node]) if g not in done]
        if group in moved:
            continue
        late = set(moved)
        new = [*before, *moved, *(g for g in after if g not in late)]
        if peak(new, traffic) < most:
            return new
    return None


def depth_first(needs: Needs, roots: Iterable[Group] | None = None) -> list[Group]:
    """Depth first in the given order: what is needed comes first, and just before its use.

    All groups, or those that some roots need.
    """
    done: dict[Group, None] = {}
    for root in needs if roots is None else roots:
        stack = [(root, False)]
        while stack:
            group, expanded = stack.pop()
            if group in done:
                continue
            if expanded:
                done[group] = None
                continue
            stack.append((group, True))
            stack.extend((g, False) for g in reversed(needs[group]))
    return list(done)


def eager(
    needs: Needs, traffic: Traffic, plain: Sequence[Group], room: int | None = None
) -> list[Group]:
    """The plain order, but what frees more than it takes comes as soon as it can.

    Such is the gradient of a parameter with the update that consumes it: once both are done, the
    activation that was kept for them is gone before the next one's cotangent is made. With room,
    one that would need more bytes than that waits until there is less beside it.
    """
    order = Order(needs, traffic, room)
    for group in plain:
        while (found := order.freeing()) is not None:
            order.run(found)
        if group not in order.done:
            order.run(group)
    return list(order.done)


@dataclass
class Order:
    """An order in the making. `left` counts the readers of each value that are still to come."""

    needs: Needs
    traffic: Traffic
    room: int | None
    live: int = 0
    done: dict[Group, None] = field(default_factory=dict)
    left: dict[Node, int] = field(default_factory=dict)
    waits: dict[Group, int] = field(default_factory=dict)
    users: dict[Group, list[Group]] = field(default_factory=dict)
    readers: dict[Node, list[Group]] = field(default_factory=dict)
    gains: dict[Group, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for group, needed in self.needs.items():
            self.waits[group] = len(set(needed))
            for other in set(needed):
                self.users.setdefault(other, []).append(group)
            for node in self.traffic.reads[group]:
                self.left[node] = self.left.get(node, 0) + 1
                self.readers.setdefault(node, []).append(group)
        self.weigh(self.needs)

    def run(self, group: Group) -> None:
        """Put a kernel next, and weigh anew the ones that this changes something for."""
        self.done[group] = None
        self.gains.pop(group, None)
        for user in self.users.get(group, ()):
            self.waits[user] -= 1
        for node in self.traffic.reads[group]:
            self.left[node] -= 1
        gone = [node for node in self.traffic.reads[group] if not self.left[node]]
        kept = [node for node in self.traffic.makes[group] if self.left.get(node)]
        self.live += self.total(kept) - self.total(gone)
        touched = (*self.traffic.reads[group], *self.traffic.makes[group])
        near = [reader for node in touched for reader in self.readers.get(node, ())]
        near += self.users.get(group, ())
        makers = [maker for other in near for maker in self.needs[other]]
        self.weigh(dict.fromkeys([*near, *makers]))

    def weigh(self, groups: Iterable[Group]) -> None:
        """Note which of some kernels could run now and would free memory, and how much."""
        for group in groups:
            if group in self.done or self.waits[group]:
                continue
            gain = self.gain(group)
            if gain > 0:
                self.gains[group] = gain
            else:
                self.gains.pop(group, None)

    def freeing(self) -> Group | None:
        """The kernel that frees most, of those that could run now; None where none frees any."""
        fitting = (
            group
            for group in self.gains
            if self.room is None or self.live + self.total(self.traffic.makes[group]) <= self.room
        )
        return max(fitting, key=self.gains.__getitem__, default=None)

    def total(self, nodes: Iterable[Node]) -> int:
        """The bytes of some values."""
        return sum(self.traffic.bytes[node] for node in nodes)

    def gain(self, group: Group) -> int:
        """Bytes fewer in use after a kernel, and after the one that alone reads what it makes."""
        made = [node for node in self.traffic.makes[group] if self.left.get(node)]
        freed = [node for node in self.traffic.reads[group] if self.left[node] == 1]
        gain = self.total(freed) - self.total(made)
        nexts = {reader for node in made for reader in self.readers[node]}
        if gain > 0 or len(nexts) != 1:
            return gain
        (after,) = nexts
        if self.waits[after] != 1:
            return gain
        read = self.traffic.reads[after]
        last = [n for n in read if self.left[n] == 1 + (n in self.traffic.reads[group])]
        kept = [n for n in self.traffic.makes[after] if self.left.get(n)]
        return gain + self.total(last) - self.total(kept)


def peak(order: Sequence[Group], traffic: Traffic) -> int:
    """The greatest live set of an order, in bytes."""
    return fullest(order, traffic)[0]


def fullest(order: Sequence[Group], traffic: Traffic) -> tuple[int, int]:
    """The greatest live set of an order, in bytes, and the step at which it is alive."""
    last = {node: step for step, group in enumerate(order) for node in traffic.reads[group]}
    ending: dict[int, int] = {}
    for node, step in last.items():
        ending[step] = ending.get(step, 0) + traffic.bytes[node]
    live, most, where = 0, 0, 0
    for step, group in enumerate(order):
        made = sum(traffic.bytes[node] for node in traffic.makes[group])
        live += made
        if live > most:
            most, where = live, step
        unread = [node for node in traffic.makes[group] if node not in last]
        live -= ending.get(step, 0) + sum(traffic.bytes[node] for node in unread)
    return most, where
