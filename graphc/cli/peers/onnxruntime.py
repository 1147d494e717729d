"""ONNX Runtime: the model's layers as nodes of an ONNX model, fully optimised; no training."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from graphc import nn
from graphc.cli.peers import Array, Inexpressible, Session, Table, Work, entry, only, own
from graphc.nn.conv import Conv1d, Conv2d, Conv3d
from graphc.nn.module import Module
from graphc.nn.norm import BatchNorm
from graphc.nn.pool import AvgPool, MaxPool

OPSET = 20
IR_VERSION = 10


class Builder:
    """The nodes and constants so far; `node` and `constant` add one and return its name."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, *inputs: str, **attributes: object) -> str:
        """One node with one result."""
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, value: Array) -> str:
        """An array that is known."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def layer(self, layer: Module, x: str) -> str:
        """What a layer makes of x."""
        build = entry(TABLE, layer)
        if build is None:
            raise Inexpressible(f"{type(layer).__name__}.forward is not expressible")
        found: str = build(layer)(self, x)
        return found


def prepare(work: Work) -> Session:
    """The model, loaded."""
    if work.trains:
        raise Inexpressible("a training step is not expressible")
    if len(work.inputs) != 1:
        raise Inexpressible("a model of several inputs is not expressible")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = work.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        exported(work.model, work.inputs[0]), options, providers=["CPUExecutionProvider"]
    )
    given = {"x": work.inputs[0]}
    label = f"onnxruntime {onnxruntime.__version__}"
    return Session(label, lambda: session.run(None, given), list)


def exported(model: Module, x: Array) -> bytes:
    """The model in ONNX's format, for an input of one shape."""
    builder = Builder()
    builder.nodes.append(helper.make_node("Identity", [builder.layer(model, "x")], ["y"]))
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    result = kind if x.dtype.kind == "f" else onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        builder.nodes,
        "graphc",
        [helper.make_tensor_value_info("x", kind, x.shape)],
        [helper.make_tensor_value_info("y", result, None)],
        builder.constants,
    )
    found = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    found.ir_version = IR_VERSION
    data: bytes = found.SerializeToString()
    return data


# --- layers: each a function from a layer to one that adds its nodes --------------------------


def sequential(layer: Module) -> Any:
    """One after the other."""

    def add(builder: Builder, x: str) -> str:
        for child in layer.children():
            x = builder.layer(child, x)
        return x

    return add


def residual(layer: Any) -> Any:
    """nn.Residual."""

    def add(builder: Builder, x: str) -> str:
        aside = x if layer.shortcut is None else builder.layer(layer.shortcut, x)
        return builder.node("Add", aside, builder.layer(layer.body, x))

    return add


def linear(layer: Any) -> Any:
    """A product and a sum, which the library joins."""

    def add(builder: Builder, x: str) -> str:
        values = own(layer)
        product = builder.node("MatMul", x, builder.constant(values["weight"].T))
        if "bias" not in values:
            return product
        return builder.node("Add", product, builder.constant(values["bias"]))

    return add


def convolution(layer: Any) -> Any:
    """A convolution with zeros around its image."""
    if isinstance(layer.padding, str):
        raise Inexpressible(f"padding={layer.padding!r} is not expressible")

    def add(builder: Builder, x: str) -> str:
        values = own(layer)
        names = [builder.constant(values[n]) for n in ("weight", "bias") if n in values]
        return builder.node(
            "Conv",
            x,
            *names,
            kernel_shape=layer.kernel_size,
            strides=layer.stride,
            pads=[*layer.padding, *layer.padding],
            dilations=layer.dilation,
            group=layer.groups,
        )

    return add


def pool(kind: str, **more: object) -> Any:
    """A pool of windows."""

    def build(layer: Any) -> Any:
        only(layer, ceil_mode=False)
        named = dict(more)
        if isinstance(layer, MaxPool):
            named["dilations"] = layer.dilation
        return lambda builder, x: builder.node(
            kind,
            x,
            kernel_shape=layer.kernel_size,
            strides=layer.stride,
            pads=[*layer.padding, *layer.padding],
            **named,
        )

    return build


def average(layer: Any) -> Any:
    """An average pool."""
    found = pool("AveragePool", count_include_pad=int(layer.count_include_pad))
    return found(layer)


def batch_norm(layer: Any) -> Any:
    """By the running statistics."""
    only(layer, track_running_stats=True, affine=True)
    names = ("weight", "bias", "running_mean", "running_var")
    return lambda builder, x: builder.node(
        "BatchNormalization",
        x,
        *(builder.constant(own(layer)[name]) for name in names),
        epsilon=layer.eps,
    )


def layer_norm(layer: Any) -> Any:
    """Over the last axes."""
    only(layer, elementwise_affine=True)
    return lambda builder, x: builder.node(
        "LayerNormalization",
        x,
        *(builder.constant(value) for value in own(layer).values()),
        axis=-len(layer.normalized_shape),
        epsilon=layer.eps,
    )


def flatten(layer: Any) -> Any:
    """All axes but the batch's."""
    only(layer, start_dim=1, end_dim=-1)
    return lambda builder, x: builder.node("Flatten", x)


def plain(kind: str, **options: str) -> Any:
    """One node, its attributes those of the layer: attribute = option."""
    return lambda layer: (
        lambda builder, x: builder.node(
            kind, x, **{name: getattr(layer, option) for name, option in options.items()}
        )
    )


def nothing(layer: Module) -> Any:
    """The input itself."""
    return lambda builder, x: x


TABLE: Table = {
    nn.Sequential: sequential,
    nn.Residual: residual,
    nn.Linear: linear,
    nn.Embedding: lambda m: lambda b, x: b.node("Gather", b.constant(own(m)["weight"]), x),
    nn.Flatten: flatten,
    nn.Identity: nothing,
    nn.Dropout: nothing,
    Conv1d: convolution,
    Conv2d: convolution,
    Conv3d: convolution,
    MaxPool: pool("MaxPool"),
    AvgPool: average,
    nn.GlobalAvgPool: lambda m: lambda b, x: b.node("Flatten", b.node("GlobalAveragePool", x)),
    BatchNorm: batch_norm,
    nn.LayerNorm: layer_norm,
    nn.ReLU: plain("Relu"),
    nn.LeakyReLU: plain("LeakyRelu", alpha="negative_slope"),
    nn.ELU: plain("Elu", alpha="alpha"),
    nn.GELU: plain("Gelu", approximate="approximate"),
    nn.SiLU: lambda m: lambda b, x: b.node("Mul", x, b.node("Sigmoid", x)),
    nn.Sigmoid: plain("Sigmoid"),
    nn.Tanh: plain("Tanh"),
    nn.Softmax: plain("Softmax", axis="dim"),
}
"""For each class of layers its nodes; one lower in a class's ancestry goes before."""
