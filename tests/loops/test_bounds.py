"""Bounds: no loop reads or writes beyond its buffers, whatever schedules make of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import graphc
from graphc import compiler, ops
from graphc.graph.graph import make_graph
from graphc.llvm import targets
from graphc.loops.ir import Access, For, Kernel, Load, Stmt, Transpose, Update

Spans = Mapping[str, tuple[int, int]]


def beyond(stmts: Sequence[Stmt], spans: Spans) -> Iterator[str]:
    """The statements that touch what is not in their buffers, of those that say where they do."""
    for stmt in stmts:
        match stmt:
            case For(index=index, start=int(start), stop=int(stop), step=step):
                last = start + (stop - 1 - start) // step * step
                if stmt.kind == "vector":
                    last = stop - 1
                if stop > start:
                    yield from beyond(stmt.body, {**spans, index: (start, last)})
            case Load(access=access) | Update(target=access) if not stmt.guards:
                if not within(access, spans):
                    yield str(stmt)
            case Transpose(target=target, source=source):
                sides = (source, stmt.read), (target, stmt.made)
                ends = [(a, sum(step * (n - 1) for step, n in side)) for a, side in sides]
                if not all(within(access, spans, more) for access, more in ends):
                    yield str(stmt)


def within(access: Access, spans: Spans, more: int = 0) -> bool:
    """Whether all that is accessed lies in the buffer; so it does where that is not known."""
    size, offset = access.buffer.size, access.offset
    if not isinstance(size, int) or access.lookups or not set(offset.names) <= set(spans):
        return True
    ends = [sorted(by * at for at in spans[name]) for name, by in offset.terms]
    low = offset.constant + sum(end[0] for end in ends)
    high = offset.constant + sum(end[1] for end in ends) + more
    return low >= 0 and high < size


@dataclass(frozen=True)
class Window:
    """A convolution of images by filters."""

    images: int
    channels: int
    filters: int
    groups: int
    size: tuple[int, int]
    taps: tuple[int, int]
    padding: int
    stride: int
    dilation: int

    def kernels(self, target: str) -> list[Kernel]:
        """It and its gradients, followed by another op, as they are scheduled for a target."""
        x = graphc.input("x", (self.images, self.channels * self.groups, *self.size))
        weight = graphc.input("w", (self.filters * self.groups, self.channels, *self.taps))
        options = {"padding": self.padding, "stride": self.stride, "dilation": self.dilation}
        y = ops.conv2d(x, weight, groups=self.groups, floor=True, **options)
        back = graphc.grad(ops.sum(ops.tanh(y)), [x, weight])
        outputs = make_graph([ops.relu(y), *back])
        return list(compiler.make(outputs, targets.target(target)).kernels)


windows = st.builds(
    Window,
    images=st.sampled_from([1, 2, 3, 8]),
    channels=st.sampled_from([1, 2, 3, 8, 16, 20, 64]),
    filters=st.sampled_from([1, 2, 3, 8, 16, 24, 50, 64]),
    groups=st.sampled_from([1, 1, 1, 2, 4, 16]),
    size=st.tuples(*[st.sampled_from([5, 7, 8, 12, 14, 16, 28, 32, 33, 64])] * 2),
    taps=st.tuples(*[st.sampled_from([1, 2, 3, 3, 5, 7])] * 2),
    padding=st.sampled_from([0, 1, 1, 2, 3]),
    stride=st.sampled_from([1, 1, 2, 3]),
    dilation=st.sampled_from([1, 1, 1, 2]),
).filter(
    lambda w: all(
        size + 2 * w.padding > w.dilation * (taps - 1)
        for size, taps in zip(w.size, w.taps, strict=True)
    )
)


@pytest.mark.parametrize("target", ["sse2", "avx2", "avx512"])
@given(window=windows)
@example(window=Window(4, 1, 1, 8, (8, 8), (7, 7), padding=3, stride=1, dilation=1))
@settings(max_examples=25, deadline=None)
def test_windows_stay_within_their_operands(target: str, window: Window) -> None:
    """Forwards and backwards, of one group and of many, padded, with strides and holes."""
    for kernel in window.kernels(target):
        assert not list(beyond(kernel.body, {})), kernel.name
