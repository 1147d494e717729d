"""JAX: one jitted function a step, its state donated; or a scan over many steps in one call.

Images are kept [n, h, w, channels], as XLA's kernels for the processor want them; the batches are
turned within the step. `scan` goes round a ring of batches that lies in JAX's own arrays.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import lax, nn
from jax import numpy as jnp

from tests.benchmarks.peers import Session
from tests.benchmarks.workloads import Workload
from tests.benchmarks.workloads.inference import Inference
from tests.benchmarks.workloads.kernel import (
    Chain,
    CrossEntropy,
    Kernel,
    Pass,
    Product,
    Update,
    scaled,
)
from tests.benchmarks.workloads.layers import (
    SGD,
    Activation,
    Adam,
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
    Optimizer,
    Position,
    Recurrent,
    Residual,
    Rows,
)
from tests.benchmarks.workloads.net import Array, Net, samples
from tests.benchmarks.workloads.training import Training

jax.config.update("jax_platforms", "cpu")
if "JAX_COMPILATION_CACHE_DIR" in os.environ:
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
jnp.zeros(()).block_until_ready()  # starts the backend, which its compile time leaves out

Weights = Mapping[str, Any]
IMAGES = ("NHWC", "HWIO", "NHWC")


def describe() -> dict[str, object]:
    """JAX's version; it compiles, and keeps what it compiled."""
    return {"version": jax.__version__, "compiles": True}


def variants(workload: Workload) -> list[str]:
    """For training one step a call, and many; the latter not for images.

    In a loop XLA's convolutions do without their fast kernels: seednet took ten times as long.
    """
    match workload:
        case Training(net=net) if net.has(Conv2d):
            return ["jit"]
        case Training():
            return ["jit", "scan"]
    return ["default"]


def prepare(workload: Workload, variant: str, threads: int) -> Session:
    """Trace; compilation happens at the first call."""
    match workload:
        case Training() if variant == "scan":
            return scanner(workload)
        case Training():
            return trainer(workload)
        case Inference():
            return predictor(workload)
        case Kernel():
            return Repeated(kernel_of(workload))
    raise NotImplementedError(workload.name)


def weights_of(net: Net, seed: int) -> dict[str, Any]:
    """The weights and buffers by path; filters [h, w, channels, filters]."""
    found = net.weights(seed) | net.buffers()
    return {
        name: jnp.asarray(np.transpose(value, (2, 3, 1, 0)) if value.ndim == 4 else value)
        for name, value in found.items()
    }


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": nn.relu,
    "tanh": jnp.tanh,
    "gelu": lambda x: nn.gelu(x, approximate=False),
}


def forward(
    layers: Iterable[Layer], weights: Weights, x: Any, moved: dict[str, Any] | None, path: str = ""
) -> Any:
    """The layers' result. `moved` takes the running statistics in training, None in inference."""
    for position, layer in enumerate(layers):
        at = f"{path}{position}."
        if isinstance(layer, Residual):
            aside = forward(layer.shortcut, weights, x, moved, at + "shortcut.")
            x = aside + forward(layer.body, weights, x, moved, at + "body.")
        elif isinstance(layer, BatchNorm2d):
            x = batch_norm(weights, at, x, moved)
        else:
            own = {k[len(at) :]: v for k, v in weights.items() if k.startswith(at)}
            x = apply(layer, own, x)
    return x


def apply(layer: Layer, own: Weights, x: Any) -> Any:
    """One layer, with its own weights."""
    match layer:
        case Linear():
            return x @ own["weight"].T + own["bias"]
        case Conv2d(_, _, _, stride, padding, groups):
            edges, steps = [(padding, padding)] * 2, (stride, stride)
            options = {"dimension_numbers": IMAGES, "feature_group_count": groups}
            result = lax.conv_general_dilated(x, own["weight"], steps, edges, **options)
            return result + own["bias"]
        case MaxPool2d(size):
            window = (1, size, size, 1)
            return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")
        case GlobalAveragePool():
            return x.mean((1, 2))
        case LayerNorm():
            centred = x - x.mean(-1, keepdims=True)
            scale = lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
            return centred * scale * own["weight"] + own["bias"]
        case Embedding():
            return own["weight"][x]
        case Position():
            return x + own["weight"]
        case Recurrent(kind, _, hidden):
            return recurrent({"lstm": lstm, "gru": gru}[kind], own, x, hidden)
        case Attention(_, heads):
            return attention(own, x, heads)
        case Activation(function):
            return ACTIVATIONS[function](x)
        case Flatten():
            if x.ndim == 4:
                x = x.transpose(0, 3, 1, 2)
            return x.reshape(x.shape[0], -1)
        case Rows():
            return x.reshape(-1, x.shape[-1])
    raise NotImplementedError(layer)


def batch_norm(weights: Weights, at: str, x: Any, moved: dict[str, Any] | None) -> Any:
    """By the batch's statistics in training, by the running ones else."""
    mean, variance = weights[at + "running_mean"], weights[at + "running_var"]
    if moved is not None:
        count = x.size // x.shape[-1]
        old = (mean, variance)
        mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
        stopped = lax.stop_gradient((mean, variance * (count / (count - 1))))
        for name, before, now in zip(("mean", "var"), old, stopped, strict=True):
            moved[f"{at}running_{name}"] = 0.9 * before + 0.1 * now
        moved[at + "num_batches_tracked"] = weights[at + "num_batches_tracked"] + 1
    scale = lax.rsqrt(variance + 1e-5) * weights[at + "weight"]
    return (x - mean) * scale + weights[at + "bias"]


def recurrent(cell: Callable[..., Any], own: Weights, x: Any, hidden: int) -> Any:
    """The outputs of a cell over [n, t, in], the inputs' product taken once for all steps."""
    inputs = x.swapaxes(0, 1) @ own["weight_ih_l0"].T + own["bias_ih_l0"]
    turned = own["weight_hh_l0"].T
    zeros = jnp.zeros((x.shape[0], hidden), x.dtype)

    def step(state: Any, at: Any) -> Any:
        following = cell(state, at, state[0] @ turned + own["bias_hh_l0"])
        return following, following[0]

    _, outputs = lax.scan(step, (zeros, zeros), inputs)
    return outputs.swapaxes(0, 1)


def lstm(state: Any, inputs: Any, recurrence: Any) -> Any:
    """The next (h, c)."""
    i, f, g, o = jnp.split(inputs + recurrence, 4, axis=-1)
    c = nn.sigmoid(f) * state[1] + nn.sigmoid(i) * jnp.tanh(g)
    return nn.sigmoid(o) * jnp.tanh(c), c


def gru(state: Any, inputs: Any, recurrence: Any) -> Any:
    """The next (h, unused)."""
    (xr, xz, xn), (hr, hz, hn) = jnp.split(inputs, 3, axis=-1), jnp.split(recurrence, 3, axis=-1)
    z, n = nn.sigmoid(xz + hz), jnp.tanh(xn + nn.sigmoid(xr + hr) * hn)
    return (1 - z) * n + z * state[0], state[1]


def attention(own: Weights, x: Any, heads: int) -> Any:
    """Causal self-attention in heads."""
    batch, steps, width = x.shape
    joined = x @ own["in_proj_weight"].T + own["in_proj_bias"]
    q, k, v = (part.reshape(batch, steps, heads, -1) for part in jnp.split(joined, 3, axis=-1))
    result = nn.dot_product_attention(q, k, v, is_causal=True)
    return result.reshape(batch, steps, width) @ own["out_proj.weight"].T + own["out_proj.bias"]


def loss_of(name: Loss, outputs: Any, target: Any) -> Any:
    """The mean loss."""
    match name:
        case "cross_entropy":
            logs = nn.log_softmax(outputs)
            return -jnp.take_along_axis(logs, target[:, None], axis=1).mean()
        case "bce_with_logits":
            return (jnp.maximum(outputs, 0) - outputs * target + nn.softplus(-abs(outputs))).mean()
        case "mse":
            return ((outputs - target) ** 2).mean()


def images_last(x: Any) -> Any:
    """Images with their channels last, other inputs as they are."""
    return x.transpose(0, 2, 3, 1) if x.ndim == 4 else x


@dataclass
class State:
    """All that advances: weights, what is not trained, the optimiser's averages, the time."""

    weights: Any
    buffers: Any
    first: Any
    second: Any
    time: Any


jax.tree_util.register_dataclass(State)


def initial(workload: Training) -> State:
    """The state before the first step."""
    both = weights_of(workload.net, workload.seed)
    buffers = {name: both.pop(name) for name in workload.net.buffers()}

    def zeros() -> Any:
        return jax.tree.map(jnp.zeros_like, both)

    adam = isinstance(workload.optimizer, Adam)
    momentum = isinstance(workload.optimizer, SGD) and workload.optimizer.momentum
    time = jnp.zeros((), jnp.float32)
    return State(both, buffers, zeros() if adam or momentum else {}, zeros() if adam else {}, time)


def step_of(workload: Training) -> Callable[[State, Any, Any], tuple[State, Any]]:
    """A step: (state, x, y) -> (the next state, the loss before the update)."""

    def step(state: State, x: Any, y: Any) -> tuple[State, Any]:
        def evaluate(weights: Weights) -> Any:
            moved: dict[str, Any] = {}
            every = {**weights, **state.buffers}
            outputs = forward(workload.net.layers, every, images_last(x), moved)
            return loss_of(workload.loss, outputs, y), moved

        (loss, moved), slopes = jax.value_and_grad(evaluate, has_aux=True)(state.weights)
        return advanced(workload.optimizer, state, slopes, moved), loss

    return step


def advanced(optimizer: Optimizer, state: State, slopes: Any, moved: Any) -> State:
    """The state after an update."""
    time = state.time + 1
    each = jax.tree.map
    match optimizer:
        case Adam(rate, decay):
            first = each(lambda m, g: 0.9 * m + 0.1 * g, state.first, slopes)
            second = each(lambda v, g: 0.999 * v + 0.001 * g * g, state.second, slopes)
            size, root = rate / (1 - 0.9**time), jnp.sqrt(1 - 0.999**time)

            def move(w: Any, m: Any, v: Any) -> Any:
                return w * (1 - rate * decay) - size * m / (jnp.sqrt(v) / root + 1e-8)

            return State(each(move, state.weights, first, second), moved, first, second, time)
        case SGD(rate, 0.0):
            weights = each(lambda w, g: w - rate * g, state.weights, slopes)
            return State(weights, moved, {}, {}, time)
        case SGD(rate, momentum):
            first = each(lambda v, g: momentum * v + g, state.first, slopes)
            weights = each(lambda w, v: w - rate * v, state.weights, first)
            return State(weights, moved, first, {}, time)


def trainer(workload: Training) -> Trainer:
    """One step a call."""
    step = jax.jit(step_of(workload), donate_argnums=0)
    return Trainer(step, initial(workload), workload.ring)


@dataclass
class Trainer:
    """A jitted step, its state, and the place in its ring of batches."""

    step: Callable[[State, Array, Array], tuple[State, Any]]
    state: State
    ring: list[tuple[Array, Array]]
    done: int = 0
    grain: int = 1

    def next(self) -> Any:
        """The loss of the next step."""
        x, y = self.ring[self.done % len(self.ring)]
        self.done += 1
        self.state, loss = self.step(self.state, x, y)
        return loss

    def check(self, steps: int) -> list[float]:
        """The losses of so many steps."""
        return [float(self.next()) for _ in range(steps)]

    def run(self, steps: int) -> None:
        """So many steps; the end of the last one is waited for."""
        loss = None
        for _ in range(steps):
            loss = self.next()
        jax.block_until_ready((self.state, loss))


def scanner(workload: Training) -> Scanner:
    """Many steps a call: so many that calling costs nothing."""
    ring = workload.ring
    rounds = 1 if workload.flops > 1e6 else 512
    step = step_of(workload)

    def steps(state: State, xs: Any, ys: Any) -> tuple[State, Any]:
        def one(state: State, at: Any) -> tuple[State, Any]:
            return step(state, xs[at], ys[at])

        return lax.scan(one, state, jnp.tile(jnp.arange(len(ring)), rounds))

    xs, ys = (jnp.stack(arrays) for arrays in zip(*ring, strict=True))
    scan = jax.jit(steps, donate_argnums=0)
    return Scanner(scan, initial(workload), xs, ys, len(ring) * rounds)


@dataclass
class Scanner:
    """A jitted scan of `grain` steps, its state, and its batches."""

    scan: Callable[[State, Any, Any], tuple[State, Any]]
    state: State
    xs: Any
    ys: Any
    grain: int

    def check(self, steps: int) -> list[float]:
        """The first losses of as many scans as are needed."""
        losses: list[float] = []
        while len(losses) < steps:
            self.state, found = self.scan(self.state, self.xs, self.ys)
            losses += np.asarray(found).tolist()
        return losses[:steps]

    def run(self, steps: int) -> None:
        """So many steps."""
        losses = None
        for _ in range(steps // self.grain):
            self.state, losses = self.scan(self.state, self.xs, self.ys)
        jax.block_until_ready((self.state, losses))


def predictor(workload: Inference) -> Predictor:
    """The jitted forward pass."""
    weights = weights_of(workload.net, workload.seed)

    def predict(weights: Weights, x: Any) -> Any:
        return forward(workload.net.layers, weights, images_last(x), None)

    return Predictor(jax.jit(predict), weights, workload.ring)


@dataclass
class Predictor:
    """A jitted forward pass, and the place in its ring of batches."""

    predict: Callable[[Weights, Array], Any]
    weights: Weights
    ring: list[Array]
    done: int = 0
    grain: int = 1

    def next(self) -> Array:
        """The outputs of the next batch."""
        x = self.ring[self.done % len(self.ring)]
        self.done += 1
        return np.asarray(self.predict(self.weights, x))

    def check(self, steps: int) -> list[float]:
        """Samples of the outputs of so many batches."""
        return [value for _ in range(steps) for value in samples(self.next())]

    def run(self, steps: int) -> None:
        """So many batches."""
        for _ in range(steps):
            self.next()


Results = tuple[Any, ...]


def kernel_of(workload: Kernel) -> Callable[[], Results]:
    """A kernel, jitted, on its operands, which lie in JAX's own arrays."""
    match workload:
        case Product(form=form):
            left, right = form

            def product(a: Any, b: Any) -> Results:
                return ((a.T if left == "t" else a) @ (b.T if right == "t" else b),)

            return called(product, workload.operands())
        case Pass():
            return both_ways(workload)
        case CrossEntropy():

            def loss(logits: Any, labels: Any) -> Results:
                return jax.value_and_grad(lambda x: loss_of("cross_entropy", x, labels))(logits)

            return called(loss, workload.operands())
        case Update(optimizer=optimizer):
            weights, gradient = map(jnp.asarray, workload.operands())
            start = State(weights, {}, jnp.zeros_like(weights), jnp.zeros_like(weights), 0.0)
            state = jax.tree.map(jnp.asarray, start)
            step = jax.jit(lambda state, g: advanced(optimizer, state, g, {}), donate_argnums=0)

            def update() -> Results:
                nonlocal state
                state = step(state, gradient)
                return (state.weights,)

            return update
        case Chain():
            return called(
                lambda a, b, c: (jnp.maximum(a * b + c, 0) - a * 0.1,), workload.operands()
            )
    raise NotImplementedError(workload.name)


def both_ways(workload: Pass) -> Callable[[], Results]:
    """y, dx and the gradients of the weights, those that are wanted; images as in training."""
    every = weights_of(workload.net, 0)
    buffers = {name: every.pop(name) for name in workload.net.buffers()}
    names = list(every)  # what comes back from JAX is sorted

    def run(x: Any, dy: Any, weights: Weights) -> Results:
        def evaluate(x: Any, weights: Weights) -> Any:
            moved: dict[str, Any] = {}
            return forward(workload.layers, {**weights, **buffers}, x, moved), moved

        y, back, moved = jax.vjp(evaluate, x, weights, has_aux=True)
        dx, dw = back(dy)
        slopes = [dw[name] for name in names]
        slopes = [g.transpose(3, 0, 1, 2) if g.ndim == 4 else g for g in slopes]
        found = {"y": [y], "dx": [dx], "dw": slopes}
        return *(value for part in workload.parts for value in found[part]), moved

    x, dy = (images_last(array) for array in workload.operands())
    return called(run, (x, dy, every), hidden=1)


def called(
    function: Callable[..., Results], operands: Iterable[Any], hidden: int = 0
) -> Callable[[], Results]:
    """The jitted function on the same operands each time, without its last `hidden` results."""
    jitted = jax.jit(function)
    arrays = jax.tree.map(jnp.asarray, tuple(operands))
    return lambda: jitted(*arrays)[: -hidden or None]


def images_first(result: Any) -> Array:
    """A result in numpy, images and filters in the order of the declaration."""
    return np.asarray(result).transpose(0, 3, 1, 2) if result.ndim == 4 else np.asarray(result)


@dataclass
class Repeated:
    """A kernel; the end of the last call is waited for."""

    call: Callable[[], Results]
    grain: int = 1

    def check(self, steps: int) -> list[float]:
        """Samples of the results of the last call of so many."""
        for _ in range(steps):
            results = self.call()
        return scaled(tuple(map(images_first, results)))

    def run(self, steps: int) -> None:
        """So many calls."""
        results: Results = ()
        for _ in range(steps):
            results = self.call()
        jax.block_until_ready(results)
