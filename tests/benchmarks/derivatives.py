"""Layers in numpy, each with its derivative written by hand.

`forward` gives a layer's result and a function from the result's cotangent to the input's and the
weights'. Convolutions are products with the windows of the image laid out in rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tests.benchmarks.workloads.layers import (
    Activation,
    Attention,
    BatchNorm2d,
    Conv2d,
    Embedding,
    Flatten,
    GlobalAveragePool,
    Layer,
    LayerNorm,
    Linear,
    Loss,
    MaxPool2d,
    Position,
    Recurrent,
    Residual,
    Rows,
)
from tests.benchmarks.workloads.net import Array

Weights = Mapping[str, Array]
Gradients = dict[str, Array]
Back = Callable[[Array], tuple[Array, Gradients]]
Result = tuple[Array, Back]


def sequence(layers: Iterable[Layer], weights: Weights, x: Array, training: bool) -> Result:
    """Layers one after the other. In training batch norms move their statistics, in `weights`."""
    backs: list[tuple[str, Back]] = []
    for position, layer in enumerate(layers):
        path = f"{position}."
        own = {k[len(path) :]: v for k, v in weights.items() if k.startswith(path)}
        x, back = forward(layer, own, x, training)
        backs.append((path, back))

    def all_back(dy: Array) -> tuple[Array, Gradients]:
        found: Gradients = {}
        for path, back in reversed(backs):
            dy, slopes = back(dy)
            found |= {path + name: slope for name, slope in slopes.items()}
        return dy, found

    return x, all_back


def forward(layer: Layer, own: Weights, x: Array, training: bool) -> Result:
    """One layer with its weights."""
    match layer:
        case Linear():
            return linear(x, own["weight"], own["bias"], "")
        case Conv2d():
            return convolution(layer, own, x)
        case MaxPool2d(size):
            return max_pool(size, x)
        case GlobalAveragePool():
            area = x.shape[2] * x.shape[3]
            shape = x.shape
            return x.mean((2, 3)), lambda dy: (
                np.broadcast_to(dy[:, :, None, None] / np.float32(area), shape),
                {},
            )
        case BatchNorm2d():
            return batch_norm(own, x, training)
        case LayerNorm():
            return normalised(x, (-1,), own["weight"], own["bias"], (..., slice(None)))
        case Embedding():
            return embedding(own["weight"], x)
        case Position():
            return x + own["weight"], lambda dy: (dy, {"weight": dy.sum(0)})
        case Recurrent(kind, _, hidden):
            return {"lstm": lstm, "gru": gru}[kind](own, x, hidden)
        case Attention(_, heads):
            return attention(own, x, heads)
        case Activation(function):
            return {"relu": relu, "tanh": tanh, "gelu": gelu}[function](x)
        case Flatten():
            shape = x.shape
            return x.reshape(len(x), -1), lambda dy: (dy.reshape(shape), {})
        case Rows():
            shape = x.shape
            return x.reshape(-1, x.shape[-1]), lambda dy: (dy.reshape(shape), {})
        case Residual():
            return residual(layer, own, x, training)
    raise NotImplementedError(layer)


def linear(x: Array, weight: Array, bias: Array, prefix: str) -> Result:
    """x W^T + b over the last axis."""
    rows = x.reshape(-1, x.shape[-1])

    def back(dy: Array) -> tuple[Array, Gradients]:
        flat = dy.reshape(-1, dy.shape[-1])
        slopes = {prefix + "weight": flat.T @ rows, prefix + "bias": flat.sum(0)}
        return (flat @ weight).reshape(x.shape), slopes

    return (rows @ weight.T + bias).reshape(*x.shape[:-1], len(weight)), back


def windows(x: Array, size: int, stride: int) -> Array:
    """[n, c, h, w] -> [n, h', w', c, size, size]."""
    view = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))
    return view[:, :, ::stride, ::stride].transpose(0, 2, 3, 1, 4, 5)


def convolution(layer: Conv2d, own: Weights, x: Array) -> Result:
    """A product of windows with filters."""
    size, stride, edge = layer.size, layer.stride, layer.padding
    padded = np.pad(x, ((0, 0), (0, 0), (edge, edge), (edge, edge))) if edge else x
    view = windows(padded, size, stride)
    groups, (n, h, w) = layer.groups, view.shape[:3]
    rows = view.reshape(n * h * w, groups, -1).transpose(1, 0, 2)
    filters = own["weight"].reshape(groups, layer.filters // groups, -1)

    def back(dy: Array) -> tuple[Array, Gradients]:
        flat = dy.transpose(0, 2, 3, 1).reshape(n * h * w, groups, -1).transpose(1, 0, 2)
        by_filter = (flat.transpose(0, 2, 1) @ rows).reshape(own["weight"].shape)
        slopes = {"weight": by_filter, "bias": flat.sum(1).reshape(-1)}
        parts = (flat @ filters).transpose(1, 0, 2).reshape(n, h, w, layer.channels, size, size)
        parts = parts.transpose(4, 5, 0, 3, 1, 2)
        dx = np.zeros_like(padded)
        for r in range(size):
            for s in range(size):
                dx[:, :, r : r + stride * h : stride, s : s + stride * w : stride] += parts[r, s]
        return dx[:, :, edge : edge + x.shape[2], edge : edge + x.shape[3]], slopes

    result = (rows @ filters.transpose(0, 2, 1)).transpose(1, 0, 2).reshape(n, h, w, layer.filters)
    result = result + own["bias"]
    return np.ascontiguousarray(result.transpose(0, 3, 1, 2)), back


def max_pool(size: int, x: Array) -> Result:
    """The maximum of windows side by side; a tie goes to the first."""
    n, c, h, w = x.shape
    high, wide = h // size, w // size
    blocks = x[:, :, : high * size, : wide * size].reshape(n, c, high, size, wide, size)
    blocks = blocks.transpose(0, 1, 2, 4, 3, 5).reshape(n, c, high, wide, size * size)
    place = blocks.argmax(-1)[..., None]

    def back(dy: Array) -> tuple[Array, Gradients]:
        spread = np.zeros_like(blocks)
        np.put_along_axis(spread, place, dy[..., None], -1)
        spread = spread.reshape(n, c, high, wide, size, size).transpose(0, 1, 2, 4, 3, 5)
        dx = np.zeros_like(x)
        dx[:, :, : high * size, : wide * size] = spread.reshape(n, c, high * size, wide * size)
        return dx, {}

    return np.take_along_axis(blocks, place, -1)[..., 0], back


def normalised(
    x: Array, axes: tuple[int, ...], weight: Array, bias: Array, place: tuple[Any, ...]
) -> Result:
    """(x - mean) / deviation over some axes, then weight and bias, indexed to fit."""
    centred = x - x.mean(axes, keepdims=True)
    scale = 1 / np.sqrt((centred**2).mean(axes, keepdims=True) + np.float32(1e-5))
    unit = centred * scale
    kept = [i for i, part in enumerate(np.shape(weight[place])[-x.ndim :]) if part > 1]
    offset = x.ndim - weight[place].ndim
    others = tuple(i for i in range(x.ndim) if i - offset not in kept)

    def back(dy: Array) -> tuple[Array, Gradients]:
        slopes = {"weight": (dy * unit).sum(others), "bias": dy.sum(others)}
        inner = dy * weight[place]
        along = unit * (inner * unit).mean(axes, keepdims=True)
        return scale * (inner - inner.mean(axes, keepdims=True) - along), slopes

    return unit * weight[place] + bias[place], back


def batch_norm(own: Weights, x: Array, training: bool) -> Result:
    """By the batch in training, by the running statistics else."""
    place = (slice(None), None, None)
    mean, variance = own["running_mean"], own["running_var"]
    if not training:
        scale = own["weight"] / np.sqrt(variance + np.float32(1e-5))
        result = (x - mean[place]) * scale[place] + own["bias"][place]
        return result, lambda dy: (dy * scale[place], {})
    count = x.size // x.shape[1]
    own["num_batches_tracked"][...] += 1
    mean += np.float32(0.1) * (x.mean((0, 2, 3)) - mean)
    variance += np.float32(0.1) * (x.var((0, 2, 3)) * np.float32(count / (count - 1)) - variance)
    return normalised(x, (0, 2, 3), own["weight"], own["bias"], place)


def embedding(table: Array, x: Array) -> Result:
    """Rows of a table."""

    def back(dy: Array) -> tuple[Array, Gradients]:
        slope = np.zeros_like(table)
        np.add.at(slope, x, dy)
        return dy, {"weight": slope}

    return table[x], back


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x), without overflow."""
    return np.float32(0.5) * np.tanh(np.float32(0.5) * x) + np.float32(0.5)


def relu(x: Array) -> Result:
    """max(x, 0)."""
    y = np.maximum(x, 0)
    return y, lambda dy: (dy * (y > 0), {})


def tanh(x: Array) -> Result:
    """Hyperbolic tangent."""
    y = np.tanh(x)
    return y, lambda dy: (dy * (1 - y * y), {})


def gelu(x: Array) -> Result:
    """x Phi(x), the error function by Abramowitz and Stegun 7.1.26, to 1.5e-7."""
    z = np.abs(x) * np.float32(0.5**0.5)
    t = 1 / (1 + np.float32(0.3275911) * z)
    bell = np.exp(-z * z)
    series = t * np.float32(1.061405429) - np.float32(1.453152027)
    for factor in (1.421413741, -0.284496736, 0.254829592):
        series = series * t + np.float32(factor)
    tail = np.float32(0.5) * series * t * bell
    phi = np.where(x < 0, tail, 1 - tail)
    return x * phi, lambda dy: (dy * (phi + x * bell * np.float32(0.3989422804)), {})


def lstm(own: Weights, x: Array, hidden: int) -> Result:
    """Gates i f g o, from a state of zeros."""
    n, steps, _ = x.shape
    inputs, back_inputs = linear(x, own["weight_ih_l0"], own["bias_ih_l0"], "ih.")
    turned, bias = own["weight_hh_l0"].T, own["bias_hh_l0"]
    hs, cs = (np.zeros((steps + 1, n, hidden), np.float32) for _ in range(2))
    gates = np.empty((steps, n, 4 * hidden), np.float32)
    for t in range(steps):
        total = inputs[:, t] + hs[t] @ turned + bias
        gates[t] = sigmoid(total)
        gates[t, :, 2 * hidden : 3 * hidden] = np.tanh(total[:, 2 * hidden : 3 * hidden])
        i, f, g, o = np.split(gates[t], 4, axis=1)
        cs[t + 1] = f * cs[t] + i * g
        hs[t + 1] = o * np.tanh(cs[t + 1])

    def back(dy: Array) -> tuple[Array, Gradients]:
        flow = np.empty_like(gates)
        dh, dc = (np.zeros((n, hidden), np.float32) for _ in range(2))
        for t in reversed(range(steps)):
            i, f, g, o = np.split(gates[t], 4, axis=1)
            bent = np.tanh(cs[t + 1])
            dh = dh + dy[:, t]
            dc = dc + dh * o * (1 - bent * bent)
            parts = [dc * g * i * (1 - i), dc * cs[t] * f * (1 - f)]
            parts += [dc * i * (1 - g * g), dh * bent * o * (1 - o)]
            flow[t] = np.concatenate(parts, axis=1)
            dh, dc = flow[t] @ turned.T, dc * f
        return recurrent_back(back_inputs, flow, flow, hs)

    return np.ascontiguousarray(hs[1:].transpose(1, 0, 2)), back


def gru(own: Weights, x: Array, hidden: int) -> Result:
    """Gates r z n, from a state of zeros."""
    n, steps, _ = x.shape
    inputs, back_inputs = linear(x, own["weight_ih_l0"], own["bias_ih_l0"], "ih.")
    turned, bias = own["weight_hh_l0"].T, own["bias_hh_l0"]
    hs = np.zeros((steps + 1, n, hidden), np.float32)
    kept: list[tuple[Array, ...]] = []
    for t in range(steps):
        recurrence = hs[t] @ turned + bias
        total = inputs[:, t] + recurrence
        r, z = sigmoid(total[:, :hidden]), sigmoid(total[:, hidden : 2 * hidden])
        inner = recurrence[:, 2 * hidden :]
        new = np.tanh(inputs[:, t, 2 * hidden :] + r * inner)
        hs[t + 1] = new + z * (hs[t] - new)
        kept.append((r, z, new, inner))

    def back(dy: Array) -> tuple[Array, Gradients]:
        outer, inside = (np.empty((steps, n, 3 * hidden), np.float32) for _ in range(2))
        dh = np.zeros((n, hidden), np.float32)
        for t in reversed(range(steps)):
            r, z, new, inner = kept[t]
            dh = dh + dy[:, t]
            dn = dh * (1 - z) * (1 - new * new)
            dr, dz = dn * inner * r * (1 - r), dh * (hs[t] - new) * z * (1 - z)
            outer[t] = np.concatenate([dr, dz, dn], axis=1)
            inside[t] = np.concatenate([dr, dz, dn * r], axis=1)
            dh = inside[t] @ turned.T + dh * z
        return recurrent_back(back_inputs, outer, inside, hs)

    return np.ascontiguousarray(hs[1:].transpose(1, 0, 2)), back


def recurrent_back(
    back_inputs: Back, outer: Array, inside: Array, hs: Array
) -> tuple[Array, Gradients]:
    """Cotangents of x and all weights, from those of both products at all steps."""
    dx, slopes = back_inputs(np.ascontiguousarray(outer.transpose(1, 0, 2)))
    rows = inside.reshape(-1, inside.shape[2])
    return dx, {
        "weight_ih_l0": slopes["ih.weight"],
        "bias_ih_l0": slopes["ih.bias"],
        "weight_hh_l0": rows.T @ hs[:-1].reshape(len(rows), -1),
        "bias_hh_l0": rows.sum(0),
    }


def attention(own: Weights, x: Array, heads: int) -> Result:
    """Causal self-attention in heads."""
    n, steps, width = x.shape
    joined, back_in = linear(x, own["in_proj_weight"], own["in_proj_bias"], "in.")
    q, k, v = joined.reshape(n, steps, 3, heads, -1).transpose(2, 0, 3, 1, 4)
    scale = np.float32((width // heads) ** -0.5)
    scores = (q * scale) @ k.swapaxes(2, 3)
    scores += np.triu(np.full((steps, steps), -np.inf, np.float32), 1)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    mixed = (weights @ v).transpose(0, 2, 1, 3).reshape(x.shape)
    result, back_out = linear(mixed, own["out_proj.weight"], own["out_proj.bias"], "out_proj.")

    def back(dy: Array) -> tuple[Array, Gradients]:
        flow, outer = back_out(dy)
        flow = flow.reshape(n, steps, heads, -1).transpose(0, 2, 1, 3)
        dw = flow @ v.swapaxes(2, 3)
        ds = weights * (dw - (dw * weights).sum(-1, keepdims=True))
        parts = [scale * (ds @ k), ds.swapaxes(2, 3) @ (q * scale), weights.swapaxes(2, 3) @ flow]
        together = np.stack(parts).transpose(1, 3, 0, 2, 4).reshape(n, steps, 3 * width)
        dx, inner = back_in(together)
        renamed = {f"in_proj_{name[3:]}": slope for name, slope in inner.items()}
        return dx, {**renamed, **outer}

    return result, back


def residual(layer: Residual, own: Weights, x: Array, training: bool) -> Result:
    """The sum of body and shortcut."""

    def part(name: str) -> Weights:
        return {k[len(name) :]: v for k, v in own.items() if k.startswith(name)}

    y, back_body = sequence(layer.body, part("body."), x, training)
    aside, back_aside = sequence(layer.shortcut, part("shortcut."), x, training)

    def back(dy: Array) -> tuple[Array, Gradients]:
        one, slopes = back_body(dy)
        other, more = back_aside(dy)
        found = {"body." + name: slope for name, slope in slopes.items()}
        return one + other, found | {"shortcut." + name: slope for name, slope in more.items()}

    return y + aside, back


def loss_of(name: Loss, x: Array, target: Array) -> tuple[np.float32, Array]:
    """The mean loss and its gradient."""
    match name:
        case "cross_entropy":
            exponentials = np.exp(x - x.max(1, keepdims=True))
            totals = exponentials.sum(1, keepdims=True)
            rows = np.arange(len(x))
            gradient = exponentials / totals
            loss = -np.log(gradient[rows, target]).mean()
            gradient[rows, target] -= 1
            return loss, gradient / np.float32(len(x))
        case "bce_with_logits":
            loss = (np.maximum(x, 0) - x * target + np.log1p(np.exp(-np.abs(x)))).mean()
            return loss, (sigmoid(x) - target) / np.float32(x.size)
        case "mse":
            difference = x - target
            return (difference**2).mean(), difference * np.float32(2 / x.size)
