"""Recurrent layers on scan, with torch's parameter names and gate orders."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from graphc import ops
from graphc.errors import InputError, ShapeError
from graphc.graph.node import Node
from graphc.nn import init
from graphc.nn.linear import misfit
from graphc.nn.module import Module
from graphc.nn.parameter import Parameter
from graphc.types import Extent

State = tuple[Node, ...]


class Recurrent(Module):
    """What RNN, LSTM and GRU share: layers, directions, and their parameters.

    Layer k has weight_ih_l{k} [gates*hidden, in], weight_hh_l{k} [gates*hidden, hidden], and
    bias_ih_l{k} and bias_hh_l{k} [gates*hidden]; the backward direction's end in _reverse. All
    start uniform within 1/sqrt(hidden_size). dropout acts between layers, in training.
    """

    gates: ClassVar[int]
    states: ClassVar[int] = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: str = "float32",
    ) -> None:
        if min(input_size, hidden_size, num_layers) < 1:
            raise ShapeError(
                f"input_size={input_size}, hidden_size={hidden_size} and num_layers={num_layers} "
                "must be at least 1"
            )
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, dropout
        self.bidirectional = bidirectional
        rows = self.gates * hidden_size
        for layer in range(num_layers):
            width = input_size if layer == 0 else hidden_size * len(self.directions)
            for suffix in self._suffixes(layer):
                shapes: dict[str, tuple[int, ...]] = {
                    "weight_ih": (rows, width),
                    "weight_hh": (rows, hidden_size),
                }
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                for name, shape in shapes.items():
                    self.register_parameter(name + suffix, Parameter.zeros(shape, dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    @property
    def directions(self) -> tuple[bool, ...]:
        """For each direction whether it runs backwards."""
        return (False, True) if self.bidirectional else (False,)

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}" + ("_reverse" if back else "") for back in self.directions]

    def cell(self, projected: Node, state: State, weight: Node, bias: Node | None) -> State:
        """One step: the input's projection [n, gates*hidden] and the state -> the next state."""
        raise NotImplementedError

    def forward(self, x: Node, initial: Any = None) -> tuple[Node, Any]:
        """(output, final state).

        x is [t, n, in], or [n, t, in] with batch_first; the output has hidden_size features, twice
        that if bidirectional. A state is [layers * directions, n, hidden], for LSTM a pair of them;
        the initial one defaults to zeros.
        """
        if len(x.shape) != 3 or x.shape[2] != self.input_size:
            order = "[n, t, " if self.batch_first else "[t, n, "
            raise misfit(
                f"{type(self).__name__} takes {order}{self.input_size}], its input is {x.type}", ""
            )
        if self.batch_first:
            x = ops.transpose(x, (1, 0, 2))
        count = self.num_layers * len(self.directions)
        starts = self._starts(initial, x, count)
        finals: list[State] = []
        for layer in range(self.num_layers):
            results = []
            for suffix, back in zip(self._suffixes(layer), self.directions, strict=True):
                ys, final = self._run(x, starts[len(finals)], suffix, back)
                results.append(ys)
                finals.append(final)
            x = ops.concat(results, axis=2) if len(results) > 1 else results[0]
            if self.training and self.dropout and layer + 1 < self.num_layers:
                x = ops.dropout(x, self.dropout)
        stacked = tuple(ops.stack([f[i] for f in finals], axis=0) for i in range(self.states))
        if self.batch_first:
            x = ops.transpose(x, (1, 0, 2))
        return x, stacked if self.states > 1 else stacked[0]

    def _run(self, x: Node, start: State, suffix: str, back: bool) -> tuple[Node, State]:
        """One layer in one direction over [t, n, in]: (outputs [t, n, hidden], final state)."""
        bias = getattr(self, "bias_ih" + suffix) if self.bias else None
        projected = ops.linear(x, getattr(self, "weight_ih" + suffix), bias)
        weight = getattr(self, "weight_hh" + suffix)
        recurrent_bias = getattr(self, "bias_hh" + suffix) if self.bias else None

        def step(state: State, at: Node) -> tuple[State, Node]:
            following = self.cell(at, state, weight, recurrent_bias)
            return following, following[0]

        final, ys = ops.scan(step, start, projected, reverse=back)
        return ys, final

    def _starts(self, initial: Any, x: Node, count: int) -> list[State]:
        """The initial state of every layer and direction."""
        shape: tuple[Extent, ...] = (x.shape[1], self.hidden_size)
        if initial is None:
            zeros = ops.zeros(shape, x.dtype)
            return [(zeros,) * self.states] * count
        given = (initial,) if self.states == 1 else tuple(initial)
        if len(given) != self.states:
            raise InputError(f"{type(self).__name__}: {self.states} initial states are needed")
        for state in given:
            if state.shape != (count, *shape):
                raise misfit(
                    f"{type(self).__name__}: the initial state must be {(count, *shape)}, "
                    f"it is {state.type}",
                    "",
                )
        return [tuple(state[i] for state in given) for i in range(count)]

    def extra_repr(self) -> str:
        """Sizes and options."""
        text = f"{self.input_size}, {self.hidden_size}"
        for name, default in (
            ("num_layers", 1),
            ("bias", True),
            ("batch_first", False),
            ("dropout", 0.0),
            ("bidirectional", False),
        ):
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return text


class RNN(Recurrent):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu of it: Elman, "Finding Structure", 1990."""

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: str = "float32",
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise InputError(f"nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        self.nonlinearity = nonlinearity
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            dtype=dtype,
        )

    def cell(self, projected: Node, state: State, weight: Node, bias: Node | None) -> State:
        """The formula above."""
        total = projected + ops.linear(state[0], weight, bias)
        return (ops.tanh(total) if self.nonlinearity == "tanh" else ops.relu(total),)


class LSTM(Recurrent):
    """c' = f c + i g, h' = o tanh(c'), gates in the order i f g o; the state is (h, c).

    Source: Hochreiter, Schmidhuber, "Long Short-Term Memory", 1997, with the forget gate of Gers
    et al. 1999.
    """

    gates = 4
    states = 2

    def cell(self, projected: Node, state: State, weight: Node, bias: Node | None) -> State:
        """The formula above."""
        h, c = state
        i, f, g, o = ops.split(projected + ops.linear(h, weight, bias), 4, axis=-1)
        c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
        return ops.sigmoid(o) * ops.tanh(c), c


class GRU(Recurrent):
    """h' = (1 - z) n + z h, n = tanh(W_in x + b_in + r (W_hn h + b_hn)), gates in the order r z n.

    Source: Cho et al., arXiv:1406.1078, with the reset after the product as in torch.
    """

    gates = 3

    def cell(self, projected: Node, state: State, weight: Node, bias: Node | None) -> State:
        """The formula above."""
        (h,) = state
        xr, xz, xn = ops.split(projected, 3, axis=-1)
        hr, hz, hn = ops.split(ops.linear(h, weight, bias), 3, axis=-1)
        r, z = ops.sigmoid(xr + hr), ops.sigmoid(xz + hz)
        n = ops.tanh(xn + r * hn)
        return ((1.0 - z) * n + z * h,)
