"""The nets, and the workloads made of them."""

from __future__ import annotations

from tests.benchmarks.workloads.inference import Inference
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
    MaxPool2d,
    Position,
    Recurrent,
    Residual,
    Rows,
)
from tests.benchmarks.workloads.net import Net
from tests.benchmarks.workloads.training import Training, Xor

RELU, TANH, GELU = Activation("relu"), Activation("tanh"), Activation("gelu")

XOR = Net((Linear(2, 8), TANH, Linear(8, 1)), (2,))
PLAYGROUND = Net((Linear(2, 8), TANH, Linear(8, 8), TANH, Linear(8, 1)), (2,))
MLP = Net((Linear(784, 512), RELU, Linear(512, 256), RELU, Linear(256, 10)), (784,))
SEEDNET = Net(
    (Conv2d(3, 6, 5), RELU, Conv2d(6, 10, 5), RELU, Flatten(), Linear(5760, 10)), (3, 32, 32)
)
CONVNET = Net(
    (
        *(Conv2d(3, 32, 3, padding=1), RELU, Conv2d(32, 32, 3, padding=1), RELU, MaxPool2d(2)),
        *(Conv2d(32, 64, 3, padding=1), RELU, Conv2d(64, 64, 3, padding=1), RELU, MaxPool2d(2)),
        *(Flatten(), Linear(4096, 128), RELU, Linear(128, 10)),
    ),
    (3, 32, 32),
)
LSTM = Net(
    (Embedding(64, 64), Recurrent("lstm", 64, 256), Linear(256, 64), Rows()), (64,), vocabulary=64
)


def block(width: int, heads: int, inner: int) -> tuple[Layer, ...]:
    """A transformer's layer, the norms first."""
    return (
        Residual((LayerNorm(width), Attention(width, heads))),
        Residual((LayerNorm(width), Linear(width, inner), GELU, Linear(inner, width))),
    )


TRANSFORMER = Net(
    (
        *(Embedding(256, 256), Position(128, 256)),
        *(*block(256, 4, 1024), *block(256, 4, 1024)),
        *(LayerNorm(256), Linear(256, 256), Rows()),
    ),
    (128,),
    vocabulary=256,
)

AUTOENCODER = Net(
    (Linear(784, 256), RELU, Linear(256, 64), RELU, Linear(64, 256), RELU, Linear(256, 784)), (784,)
)


def pair(channels: int, filters: int, stride: int) -> tuple[Layer, ...]:
    """Two convolutions of a residual block."""
    return (
        *(Conv2d(channels, filters, 3, stride, 1), BatchNorm2d(filters), RELU),
        *(Conv2d(filters, filters, 3, padding=1), BatchNorm2d(filters)),
    )


def down(channels: int, filters: int) -> tuple[Layer, ...]:
    """A residual block that halves the sides."""
    return (Residual(pair(channels, filters, 2), (Conv2d(channels, filters, 1, 2),)), RELU)


RESNET = Net(
    (
        *(Conv2d(3, 16, 3, padding=1), BatchNorm2d(16), RELU),
        *(Residual(pair(16, 16, 1)), RELU, *down(16, 32), *down(32, 64)),
        *(GlobalAveragePool(), Linear(64, 10)),
    ),
    (3, 32, 32),
)


def separable(channels: int, filters: int, stride: int) -> tuple[Layer, ...]:
    """A filter for each channel, then one of 1x1 over all."""
    return (
        *(Conv2d(channels, channels, 3, stride, 1, channels), BatchNorm2d(channels), RELU),
        *(Conv2d(channels, filters, 1), BatchNorm2d(filters), RELU),
    )


MOBILENET = Net(
    (
        *(Conv2d(3, 32, 3, 2, 1), BatchNorm2d(32), RELU, *separable(32, 64, 1)),
        *(*separable(64, 128, 2), *separable(128, 128, 1), GlobalAveragePool(), Linear(128, 10)),
    ),
    (3, 64, 64),
)
GRU = Net(
    (Embedding(64, 48), Recurrent("gru", 48, 160), Linear(160, 64), Rows()), (40,), vocabulary=64
)

TRAINING = (
    Xor(
        name="train-xor",
        title="MLP 2-8-1, tanh, BCE, batch 4, SGD",
        net=XOR,
        batch=4,
        loss="bce_with_logits",
        optimizer=SGD(0.5),
    ),
    Training(
        name="train-playground",
        title="MLP 2-8-8-1, tanh, BCE, batch 10, SGD",
        net=PLAYGROUND,
        batch=10,
        loss="bce_with_logits",
        optimizer=SGD(0.03),
    ),
    Training(
        name="train-mlp",
        title="MLP 784-512-256-10, relu, batch 128, Adam",
        net=MLP,
        batch=128,
        loss="cross_entropy",
        optimizer=Adam(1e-3),
    ),
    Training(
        name="train-seednet",
        title="32x32x3, conv 5x5 to 6, conv 5x5 to 10, dense 10, batch 64, SGD momentum",
        net=SEEDNET,
        batch=64,
        loss="cross_entropy",
        optimizer=SGD(0.01, momentum=0.9),
    ),
    Training(
        name="train-convnet",
        title="32x32x3, two conv 3x3 of 32, pool, two of 64, pool, dense 128, batch 64, Adam",
        net=CONVNET,
        batch=64,
        loss="cross_entropy",
        optimizer=Adam(1e-3),
    ),
    Training(
        name="train-lstm",
        title="character model, 64 characters, hidden 256, 64 steps, batch 32, Adam",
        net=LSTM,
        batch=32,
        loss="cross_entropy",
        optimizer=Adam(1e-3),
    ),
    Training(
        name="train-transformer",
        title="causal, 2 layers, width 256, 4 heads, 128 tokens of 256, batch 8, AdamW",
        net=TRANSFORMER,
        batch=8,
        loss="cross_entropy",
        optimizer=Adam(3e-4, decay=1e-2),
    ),
    Training(
        name="train-autoencoder",
        title="MLP 784-256-64-256-784, relu, squared error, batch 64, Adam",
        net=AUTOENCODER,
        batch=64,
        loss="mse",
        optimizer=Adam(1e-3),
        held_out=True,
    ),
    Training(
        name="train-resnet",
        title="32x32x3, residual blocks of 16, 32, 64 with batch norm, batch 32, SGD momentum",
        net=RESNET,
        batch=32,
        loss="cross_entropy",
        optimizer=SGD(0.05, momentum=0.9),
        held_out=True,
    ),
    Training(
        name="train-mobilenet",
        title="64x64x3, depthwise separable blocks of 64, 128, 128, batch 32, SGD momentum",
        net=MOBILENET,
        batch=32,
        loss="cross_entropy",
        optimizer=SGD(0.05, momentum=0.9),
        held_out=True,
    ),
    Training(
        name="train-gru",
        title="character model, 64 characters, hidden 160, 40 steps, batch 16, Adam",
        net=GRU,
        batch=16,
        loss="cross_entropy",
        optimizer=Adam(1e-3),
        held_out=True,
    ),
)

INFERENCE = (
    Inference("infer-mlp-1", "MLP 784-512-256-10, batch 1", MLP, 1),
    Inference("infer-seednet-1", "the net of train-seednet, batch 1", SEEDNET, 1),
    Inference("infer-convnet-1", "the net of train-convnet, batch 1", CONVNET, 1),
    Inference("infer-convnet-64", "the net of train-convnet, batch 64", CONVNET, 64),
    Inference("infer-lstm-1", "the net of train-lstm, batch 1", LSTM, 1),
    Inference("infer-transformer-1", "the net of train-transformer, batch 1", TRANSFORMER, 1),
    Inference("infer-resnet-1", "the net of train-resnet, batch 1", RESNET, 1, held_out=True),
    Inference(
        "infer-mobilenet-1", "the net of train-mobilenet, batch 1", MOBILENET, 1, held_out=True
    ),
    Inference(
        "infer-mobilenet-16", "the net of train-mobilenet, batch 16", MOBILENET, 16, held_out=True
    ),
    Inference("infer-gru-1", "the net of train-gru, batch 1", GRU, 1, held_out=True),
)
