"""The kernels that are timed by themselves."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.workloads.kernel import (
    Chain,
    CrossEntropy,
    Form,
    Kernel,
    Part,
    Pass,
    Product,
    Update,
)
from tests.benchmarks.workloads.layers import (
    Activation,
    BatchNorm2d,
    Conv2d,
    LayerNorm,
    MaxPool2d,
)

SQUARES = (64, 128, 256, 512, 1024, 2048)
FORMS: tuple[Form, ...] = ("nn", "nt", "tn", "tt")
SHAPES: tuple[tuple[int, int, int, tuple[Form, ...]], ...] = (
    *((n, n, n, ("nn",)) for n in SQUARES),
    (512, 512, 512, ("nt", "tn", "tt")),
    (128, 784, 512, ("nt",)),  # a layer of mlp forward,
    (512, 128, 784, ("tn",)),  # the gradient of its weights,
    (128, 512, 784, ("nn",)),  # that of its input
    (1024, 256, 1024, ("nt",)),  # and of transformer
    (1024, 1024, 256, ("nn",)),
    (256, 1024, 1024, ("tn",)),
    (4096, 64, 64, ("nn",)),
    (64, 64, 4096, ("nn",)),
    (1, 784, 512, ("nt",)),
    (100, 784, 500, FORMS),
    (37, 1001, 129, FORMS),
)
CONVOLUTIONS: tuple[tuple[Conv2d, int, int], ...] = (  # a layer, the batch, the side
    (Conv2d(3, 6, 5), 64, 32),
    (Conv2d(6, 10, 5), 64, 28),
    (Conv2d(16, 16, 3, padding=1), 64, 32),
    (Conv2d(32, 32, 3, padding=1), 64, 32),
    (Conv2d(64, 64, 3, padding=1), 64, 16),
    (Conv2d(128, 128, 3, padding=1), 64, 8),
    (Conv2d(256, 256, 3, padding=1), 16, 16),
    (Conv2d(32, 64, 3, 2, 1), 64, 32),
    (Conv2d(64, 256, 1), 64, 16),
    (Conv2d(3, 64, 7, 2, 3), 16, 64),
)
PARTS: tuple[tuple[Part, str], ...] = (
    ("y", "forward"),
    ("dx", "gradient of the input"),
    ("dw", "gradient of the weights"),
)
BOTH: tuple[Part, ...] = ("y", "dx")
ALL: tuple[Part, ...] = ("y", "dx", "dw")


def products() -> Iterator[Product]:
    """Matrix products."""
    for m, k, n, forms in SHAPES:
        for form in forms:
            size = str(m) if m == k == n else f"{m}x{k}x{n}"
            stored = {"nn": "", "nt": ", B turned", "tn": ", A turned", "tt": ", both turned"}
            name = f"sgemm-{size}" + ("" if form == "nn" else f"-{form}")
            yield Product(name, f"{m}x{k} by {k}x{n}{stored[form]}", m, k, n, form)


def convolutions() -> Iterator[Pass]:
    """Convolutions: forward and both gradients."""
    for layer, batch, side in CONVOLUTIONS:
        size, stride = layer.size, f"-s{layer.stride}" if layer.stride > 1 else ""
        name = f"conv-{layer.channels}-{layer.filters}-{size}x{size}{stride}"
        shape = (batch, layer.channels, side, side)
        title = (
            f"{size}x{size}, {layer.channels} to {layer.filters} channels, stride {layer.stride}"
        )
        title += f", padding {layer.padding}, {batch} images of {side}x{side}"
        for part, meaning in PARTS:
            yield Pass(f"{name}-{part}", f"{title}: {meaning}", (layer,), shape, (part,))
            if layer.size == 3 and layer.stride == 1:
                meaning += ", digits given up for speed"
                fast = (f"{name}-{part}-fast", f"{title}: {meaning}")
                yield Pass(*fast, (layer,), shape, (part,), math="fast")


RELU = Activation("relu")
IMAGES = (64, 32, 32, 32)

KERNELS: tuple[Kernel, ...] = (
    *products(),
    *convolutions(),
    Pass("pool", "relu and max pool, both ways", (RELU, MaxPool2d(2)), IMAGES, BOTH),
    CrossEntropy("cross-entropy-128-10", "softmax cross-entropy, both ways, 128x10", 128, 10),
    CrossEntropy("cross-entropy-1024-256", "the same, 1024x256", 1024, 256),
    CrossEntropy("cross-entropy-8192-1000", "the same, 8192x1000", 8192, 1000),
    Pass("layer-norm", "layer norm, both ways, 1024x256", (LayerNorm(256),), (1024, 256), ALL),
    Pass("batch-norm", "batch norm, both ways, 64x32x32x32", (BatchNorm2d(32),), IMAGES, ALL),
    Update("adam-64k", "Adam, 65,536 weights", 1 << 16),
    Update("adam-1m", "Adam, 1,048,576 weights", 1 << 20),
    Update("adam-8m", "Adam, 8,388,608 weights", 1 << 23),
    Chain("chain-16k", "relu(a b + c) - a / 10, 16,384 elements", 1 << 14),
    Chain("chain-16m", "relu(a b + c) - a / 10, 16,777,216 elements", 1 << 24),
)
