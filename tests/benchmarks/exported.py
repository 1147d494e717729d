"""A net as an ONNX model, for the libraries that run those: one or a few nodes a layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.benchmarks.workloads.inference import Inference
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
    MaxPool2d,
    Position,
    Recurrent,
    Residual,
    Rows,
    Shape,
)
from tests.benchmarks.workloads.net import Array

OPSET = 20
IR_VERSION = 10
GATES = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}
"""Of ONNX's gates, i o f c and z r n, their place in ours."""


class Builder:
    """The nodes and constants so far; every method adds some and returns its result's name."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        """One node; the name of its first output."""
        names = [f"v{len(self.nodes)}.{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0]

    def constant(self, value: Array) -> str:
        """A constant's name."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def shaped(self, x: str, *shape: int) -> str:
        """A reshape; 0 keeps an extent, -1 is what is left."""
        return self.node("Reshape", x, self.constant(np.array(shape, np.int64)))

    def layers(self, layers: Iterable[Layer], x: str, shape: Shape, path: str = "") -> str:
        """Layers one after the other, on an input of this shape."""
        for position, layer in enumerate(layers):
            at = f"{path}{position}."
            if isinstance(layer, Residual):
                aside = self.layers(layer.shortcut, x, shape, at + "shortcut.")
                x = self.node("Add", aside, self.layers(layer.body, x, shape, at + "body."))
            else:
                own = {k[len(at) :]: v for k, v in self.weights.items() if k.startswith(at)}
                x = self.layer(layer, own, x, shape)
            shape = layer.shape(shape)
        return x

    def layer(self, layer: Layer, own: Mapping[str, Array], x: str, shape: Shape) -> str:
        """One layer with its weights."""
        match layer:
            case Linear() if len(shape) == 2:
                weight, bias = self.constant(own["weight"]), self.constant(own["bias"])
                return self.node("Gemm", x, weight, bias, transB=1)
            case Linear():
                return self.linear(x, own["weight"], own["bias"])
            case Conv2d(_, _, size, stride, padding, groups):
                weight, bias = self.constant(own["weight"]), self.constant(own["bias"])
                options = {"strides": [stride] * 2, "pads": [padding] * 4, "group": groups}
                return self.node("Conv", x, weight, bias, kernel_shape=[size] * 2, **options)
            case MaxPool2d(size):
                return self.node("MaxPool", x, kernel_shape=[size] * 2, strides=[size] * 2)
            case GlobalAveragePool():
                return self.node("Flatten", self.node("GlobalAveragePool", x))
            case BatchNorm2d():
                names = ("weight", "bias", "running_mean", "running_var")
                values = [self.constant(own[name]) for name in names]
                return self.node("BatchNormalization", x, *values, epsilon=1e-5)
            case LayerNorm():
                values = [self.constant(own[name]) for name in ("weight", "bias")]
                return self.node("LayerNormalization", x, *values, axis=-1, epsilon=1e-5)
            case Embedding():
                return self.node("Gather", self.constant(own["weight"]), x)
            case Position():
                return self.node("Add", x, self.constant(own["weight"]))
            case Recurrent(kind, _, hidden):
                return self.recurrent(kind, hidden, own, x)
            case Attention(_, heads):
                return self.attention(heads, own, x, shape)
            case Activation(function):
                return self.node({"relu": "Relu", "tanh": "Tanh", "gelu": "Gelu"}[function], x)
            case Flatten():
                return self.node("Flatten", x)
            case Rows():
                return self.shaped(x, *layer.shape(shape))
        raise NotImplementedError(layer)

    def linear(self, x: str, weight: Array, bias: Array) -> str:
        """x W^T + b over the last of several axes."""
        return self.node(
            "Add", self.node("MatMul", x, self.constant(weight.T)), self.constant(bias)
        )

    def recurrent(self, kind: str, hidden: int, own: Mapping[str, Array], x: str) -> str:
        """An LSTM or GRU, time first within."""

        def ordered(name: str) -> Array:
            parts = np.split(own[name], len(GATES[kind]))
            return np.concatenate([parts[i] for i in GATES[kind]])[None]

        biases = np.concatenate([ordered("bias_ih_l0"), ordered("bias_hh_l0")], axis=1)
        values = (ordered("weight_ih_l0"), ordered("weight_hh_l0"), biases)
        options = {"linear_before_reset": 1} if kind == "gru" else {}
        turned = self.node("Transpose", x, perm=[1, 0, 2])
        names = map(self.constant, values)
        found = self.node(kind.upper(), turned, *names, hidden_size=hidden, **options)
        squeezed = self.node("Squeeze", found, self.constant(np.array([1], np.int64)))
        return self.node("Transpose", squeezed, perm=[1, 0, 2])

    def attention(self, heads: int, own: Mapping[str, Array], x: str, shape: Shape) -> str:
        """Causal self-attention from products and a softmax, as exporters write it."""
        _, steps, width = shape
        inner = width // heads
        turns = ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])
        q, k, v = (
            self.node(
                "Transpose",
                self.shaped(self.linear(x, weight, bias), 0, 0, heads, inner),
                perm=perm,
            )
            for weight, bias, perm in zip(
                np.split(own["in_proj_weight"], 3),
                np.split(own["in_proj_bias"], 3),
                turns,
                strict=True,
            )
        )
        scale = self.constant(np.array(inner**-0.5, np.float32))
        scores = self.node("MatMul", self.node("Mul", q, scale), k)
        mask = self.constant(np.triu(np.full((steps, steps), -1e30, np.float32), 1))
        weights = self.node("Softmax", self.node("Add", scores, mask), axis=-1)
        joined = self.node("Transpose", self.node("MatMul", weights, v), perm=[0, 2, 1, 3])
        return self.linear(
            self.shaped(joined, 0, 0, width), own["out_proj.weight"], own["out_proj.bias"]
        )


def model_of(workload: Inference) -> bytes:
    """The serialised model: input "x", output "y", all extents fixed."""
    builder = Builder(workload.net.weights(workload.seed) | workload.net.buffers())
    result = builder.layers(workload.net.layers, "x", workload.shape)
    builder.nodes.append(helper.make_node("Identity", [result], ["y"]))
    kind = TensorProto.INT64 if workload.net.vocabulary else TensorProto.FLOAT
    outputs = workload.net.outputs(workload.batch)
    graph = helper.make_graph(
        builder.nodes,
        workload.name,
        [helper.make_tensor_value_info("x", kind, workload.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, outputs)],
        builder.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
