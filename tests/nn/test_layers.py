"""Every layer against torch's: same state, same values, same gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.errors import InputError, ShapeError
from tests.nn.oracle import compare, draw, run

CASES: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("Linear", (4, 3), {}, (2, 4)),
    ("Linear", (4, 3), {"bias": False}, (2, 5, 4)),
    ("Conv1d", (2, 3, 3), {"padding": 1}, (2, 2, 7)),
    ("Conv2d", (2, 4, 3), {"stride": 2, "padding": 1, "groups": 2}, (2, 2, 5, 7)),
    ("Conv2d", (2, 3, (3, 2)), {"dilation": 2, "padding": "valid", "bias": False}, (1, 2, 6, 5)),
    ("Conv2d", (1, 2, 3), {"padding": "same"}, (1, 1, 4, 5)),
    ("Conv3d", (1, 2, 2), {}, (1, 1, 3, 4, 3)),
    ("ConvTranspose1d", (2, 3, 3), {"stride": 2, "padding": 1}, (2, 2, 4)),
    ("ConvTranspose2d", (2, 4, 3), {"stride": 2, "output_padding": 1, "groups": 2}, (1, 2, 3, 2)),
    ("ConvTranspose3d", (2, 2, 2), {"stride": 2, "padding": 1}, (1, 2, 2, 3, 2)),
    ("MaxPool1d", (2,), {}, (2, 2, 6)),
    ("MaxPool2d", (3,), {"stride": 2, "padding": 1}, (2, 2, 5, 7)),
    ("MaxPool3d", (2,), {}, (1, 2, 4, 2, 4)),
    ("AvgPool1d", (3,), {"stride": 1}, (2, 2, 6)),
    ("AvgPool2d", (3,), {"stride": 2, "padding": 1}, (2, 2, 5, 7)),
    ("AvgPool2d", (3,), {"stride": 2, "padding": 1, "count_include_pad": False}, (2, 2, 5, 7)),
    ("AvgPool3d", (2,), {}, (1, 2, 4, 2, 4)),
    ("AdaptiveAvgPool2d", (2,), {}, (1, 3, 4, 6)),
    ("AdaptiveMaxPool2d", ((2, 3),), {}, (1, 3, 4, 6)),
    ("Flatten", (), {}, (2, 3, 4)),
    ("Unflatten", (1, (2, 3)), {}, (2, 6)),
    ("Identity", (), {}, (2, 3)),
    ("BatchNorm1d", (3,), {}, (4, 3)),
    ("BatchNorm1d", (3,), {"affine": False}, (4, 3, 5)),
    ("BatchNorm2d", (3,), {"momentum": None}, (4, 3, 2, 3)),
    ("BatchNorm2d", (3,), {"track_running_stats": False}, (4, 3, 2, 3)),
    ("BatchNorm3d", (2,), {"momentum": 0.3}, (2, 2, 2, 3, 2)),
    ("LayerNorm", ((3, 4),), {}, (2, 3, 4)),
    ("LayerNorm", (4,), {"bias": False}, (2, 4)),
    ("RMSNorm", (4,), {}, (2, 3, 4)),
    ("GroupNorm", (2, 4), {}, (2, 4, 3)),
    ("LocalResponseNorm", (3,), {"alpha": 0.5, "beta": 0.6, "k": 1.5}, (2, 5, 3)),
    ("ReLU", (), {}, (3, 4)),
    ("ReLU6", (), {}, (3, 4)),
    ("LeakyReLU", (0.2,), {}, (3, 4)),
    ("PReLU", (), {}, (3, 4)),
    ("PReLU", (4,), {}, (3, 4, 2)),
    ("SELU", (), {}, (3, 4)),
    ("ELU", (0.7,), {}, (3, 4)),
    ("CELU", (0.5,), {}, (3, 4)),
    ("GELU", (), {}, (3, 4)),
    ("GELU", (), {"approximate": "tanh"}, (3, 4)),
    ("SiLU", (), {}, (3, 4)),
    ("Mish", (), {}, (3, 4)),
    ("Sigmoid", (), {}, (3, 4)),
    ("LogSigmoid", (), {}, (3, 4)),
    ("Tanh", (), {}, (3, 4)),
    ("Softplus", (2.0,), {}, (3, 4)),
    ("Softsign", (), {}, (3, 4)),
    ("Hardtanh", (-0.5, 0.7), {}, (3, 4)),
    ("Hardsigmoid", (), {}, (3, 4)),
    ("Hardswish", (), {}, (3, 4)),
    ("Softmax", (1,), {}, (3, 4)),
    ("LogSoftmax", (0,), {}, (3, 4)),
    ("LeakyReLU", (), {"negative_slope": 0.2}, (3, 4)),
    ("Hardtanh", (), {"min_val": -0.5, "max_val": 0.7}, (3, 4)),
    ("MaxPool2d", (2,), {"stride": 3, "ceil_mode": True}, (1, 2, 6, 6)),
    ("AvgPool2d", (2, 3, 0, True), {}, (1, 2, 6, 6)),
    ("AvgPool1d", (2, 3, 1, True, False), {}, (1, 2, 6)),
    ("RNN", (3, 4), {}, (5, 2, 3)),
    ("RNN", (3, 4), {"nonlinearity": "relu", "bias": False}, (5, 2, 3)),
    ("LSTM", (3, 4), {"num_layers": 2, "bidirectional": True}, (5, 2, 3)),
    ("LSTM", (3, 2), {"batch_first": True}, (2, 5, 3)),
    ("GRU", (3, 4), {"num_layers": 2}, (5, 2, 3)),
    ("GRU", (3, 2), {"bidirectional": True, "batch_first": True}, (2, 4, 3)),
]


def name_of(case: Any) -> str:
    """The layer and its options."""
    name, values, options, _ = case
    return f"{name}-{values}-{options}".replace(" ", "")


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_layer_equals_torch(torch: Any, case: Any) -> None:
    """In evaluation mode."""
    name, values, options, shape = case
    ours, theirs = (
        getattr(nn, name)(*values, **options),
        getattr(torch.nn, name)(*values, **options),
    )
    # torch's gradient of this one multiplies by 1/6 in float32
    tolerance = 1e-7 if name == "Hardsigmoid" else 1e-9
    compare(torch, ours, theirs, draw(*shape), tolerance=tolerance)


@pytest.mark.parametrize("case", [c for c in CASES if "BatchNorm" in c[0]], ids=name_of)
def test_batch_norm_equals_torch_in_training(torch: Any, case: Any) -> None:
    """Values, gradients and the running statistics after one batch."""
    name, values, options, shape = case
    ours, theirs = (
        getattr(nn, name)(*values, **options),
        getattr(torch.nn, name)(*values, **options),
    )
    compare(torch, ours, theirs, draw(*shape) * 2 + 1, training=True)


@pytest.mark.parametrize("padding_idx", [None, 2])
def test_embedding_equals_torch(torch: Any, padding_idx: int | None) -> None:
    """Rows by index, repeated ones summed in the gradient; none for the padding."""
    options = {"padding_idx": padding_idx}
    indices = np.array([[0, 2, 2], [4, 0, 1]])
    compare(torch, nn.Embedding(5, 3, **options), torch.nn.Embedding(5, 3, **options), indices)


def test_initial_state_of_lstm(torch: Any) -> None:
    """A state given is where the sequence starts."""

    class Ours(nn.Module):
        def __init__(self) -> None:
            self.body = nn.LSTM(3, 4)

        def forward(self, x: Any, h: Any, c: Any) -> Any:
            return self.body(x, (h, c))

    class Theirs(torch.nn.Module):  # type: ignore[misc, name-defined]  # torch is a fixture
        def __init__(self) -> None:
            super().__init__()
            self.body = torch.nn.LSTM(3, 4)

        def forward(self, x: Any, h: Any, c: Any) -> Any:
            return self.body(x, (h, c))

    state = draw(1, 2, 4, seed=1), draw(1, 2, 4, seed=2)
    compare(torch, Ours(), Theirs(), draw(5, 2, 3), *state)


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"batch_first": True}], ids=str)
def test_attention_equals_torch(torch: Any, options: dict[str, Any]) -> None:
    """Self-attention is what torch gives, and queries may be of another length."""
    ours = nn.MultiheadAttention(6, 2, **options)
    theirs = torch.nn.MultiheadAttention(6, 2, **options)

    class Values(torch.nn.Module):  # type: ignore[misc, name-defined]  # torch is a fixture
        def __init__(self) -> None:
            super().__init__()
            self.body = theirs

        def forward(self, q: Any, k: Any, v: Any) -> Any:
            return self.body(q, k, v, need_weights=False)[0]

    shapes = [(2, 4, 6), (2, 5, 6), (2, 5, 6)]
    if not options.get("batch_first"):
        shapes = [(t, n, e) for n, t, e in shapes]
    operands = [draw(*shape, seed=i) for i, shape in enumerate(shapes)]
    compare(torch, Wrapped(ours), Values(), *operands)


class Wrapped(nn.Module):
    """Attention under the name body, without its weights."""

    def __init__(self, body: nn.Module) -> None:
        self.body = body

    def forward(self, *inputs: Any) -> Any:
        """The first result."""
        return self.body(*inputs)[0]


def test_masks_equal_torch(torch: Any) -> None:
    """Causal masks and padding, and the averaged weights."""
    ours = nn.MultiheadAttention(6, 2, batch_first=True)
    theirs = torch.nn.MultiheadAttention(6, 2, batch_first=True)
    theirs.double()
    ours.double().load_state_dict(theirs.state_dict())
    causal = np.triu(np.ones((4, 4), bool), 1)
    padding = np.array([[False] * 4, [False, False, False, True]])
    x = draw(2, 4, 6)
    wanted = theirs(
        *[torch.tensor(x)] * 3,
        attn_mask=torch.tensor(causal),
        key_padding_mask=torch.tensor(padding),
    )

    class Masked(nn.Module):
        def __init__(self) -> None:
            self.body = ours

        def forward(self, x: Any) -> Any:
            return self.body(x, is_causal=True, key_padding_mask=padding, need_weights=True)

    from_mask = Masked().trace({"x": (x.shape, "float64")})
    found = graphc.evaluate(from_mask, {"x": x})
    for mine, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(mine, other.detach().numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("norm_first", [False, True])
def test_encoder_layer_equals_torch(torch: Any, norm_first: bool, batch_first: bool) -> None:
    """The whole layer, in evaluation mode."""
    options: dict[str, Any] = {"norm_first": norm_first, "activation": "gelu"}
    options |= {"batch_first": True} if batch_first else {}
    ours = nn.TransformerEncoderLayer(6, 2, 8, **options)
    theirs = torch.nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, **options)
    torch.backends.mha.set_fastpath_enabled(False)
    compare(torch, ours, theirs, draw(2, 4, 6))


@pytest.mark.parametrize("own", [False, True])
def test_an_ensemble_is_as_many_linear_layers(own: bool) -> None:
    """Their initial values, what they make of the same rows or of their own, their gradients."""
    graphc.seed(3)
    alone = [nn.Linear(4, 5, dtype="float64") for _ in range(3)]
    graphc.seed(3)
    together = nn.LinearEnsemble(3, 4, 5, dtype="float64")
    for name in ("weight", "bias"):
        values = np.stack([layer.state_dict()[name] for layer in alone])
        np.testing.assert_array_equal(together.state_dict()[name], values)
    x = draw(3, 3 if own else 1, 4)  # as many rows as members: the axes are not confused
    value, by_x, by_weight, by_bias = run(together, [x])
    weights = draw(3, 3, 5, seed=9)
    found_by_x = np.zeros_like(x)
    for i, layer in enumerate(alone):
        rows, w = x[:, i % x.shape[1]], layer.weight.value
        np.testing.assert_allclose(value[:, i], rows @ w.T + layer.bias.value, rtol=1e-12)
        np.testing.assert_allclose(by_weight[i], weights[:, i].T @ rows, rtol=1e-12)
        np.testing.assert_allclose(by_bias[i], weights[:, i].sum(0), rtol=1e-12)
        found_by_x[:, i % x.shape[1]] += weights[:, i] @ w
    np.testing.assert_allclose(by_x, found_by_x, rtol=1e-12)


@pytest.mark.parametrize("shape", [(6, 4), (2, 4), (3, 5)])
def test_an_ensemble_refuses_what_has_no_axis_of_members(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"takes \[\.\.\., 3 or 1, 4\](.|\n)*x\[:, None\]"):
        graphc.compile(nn.LinearEnsemble(3, 4, 2), inputs={"x": shape})


def test_options_that_a_layer_does_not_have_are_refused() -> None:
    with pytest.raises(InputError, match=r"ReLU has the options: none.*the compiler decides"):
        nn.ReLU(inplace=True)
    with pytest.raises(
        InputError, match=r"Linear needs its inputs declared, inputs=\{'x': shape\}"
    ):
        graphc.compile(nn.Linear(8, 3))
