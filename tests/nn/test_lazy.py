"""Lazy layers: as the layers they become, whatever gives them their sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn, optim
from graphc.errors import InputError, ShapeError

CASES: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("Conv1d", (4, 3), {"padding": 1}, (2, 2, 6)),
    ("Conv2d", (4, 3), {"groups": 2}, (2, 2, 5, 5)),
    ("Conv3d", (3, 2), {"bias": False}, (1, 2, 3, 3, 3)),
    ("ConvTranspose1d", (4, 3), {"stride": 2}, (2, 2, 4)),
    ("ConvTranspose2d", (4, 3), {"groups": 2, "output_padding": 1, "stride": 2}, (1, 2, 3, 3)),
    ("ConvTranspose3d", (3, 2), {}, (1, 2, 2, 3, 2)),
    ("BatchNorm1d", (), {}, (4, 3)),
    ("BatchNorm1d", (), {"affine": False}, (4, 3, 5)),
    ("BatchNorm2d", (), {"track_running_stats": False}, (2, 3, 2, 2)),
    ("BatchNorm3d", (), {"momentum": None, "eps": 1e-3}, (2, 3, 2, 1, 2)),
]


def eager(name: str, values: Any, options: Any, channels: int) -> nn.Module:
    """The layer that a lazy one becomes."""
    layer: nn.Module = getattr(nn, name)(channels, *values, **options)
    return layer


@pytest.mark.parametrize(("name", "values", "options", "shape"), CASES)
def test_a_lazy_layer_becomes_the_other(
    name: str, values: Any, options: Any, shape: tuple[int, ...]
) -> None:
    """The same names and shapes, initial values within the same bound, the same results."""
    lazy = getattr(nn, f"Lazy{name}")(*values, **options)
    wanted = eager(name, values, options, shape[1])
    assert isinstance(lazy, getattr(nn, name))
    program = graphc.compile(lazy, inputs={"x": ("batch", *shape[1:])})
    assert list(lazy.state_dict()) == list(wanted.state_dict())
    for path, value in wanted.state_dict().items():
        found = lazy.state_dict()[path]
        assert found.shape == value.shape and found.dtype == value.dtype
        if "BatchNorm" in name:
            np.testing.assert_array_equal(found, value, err_msg=path)
        else:
            bound = 1 / np.sqrt(nn.init.fans(wanted.state_dict()["weight"].shape)[0])
            assert found.any() and abs(found).max() <= bound
    lazy.load_state_dict(wanted.state_dict())
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    other = graphc.compile(wanted, inputs={"x": ("batch", *shape[1:])})
    np.testing.assert_array_equal(program(x)[0], other(x)[0])
    assert repr(lazy).partition("(")[2] == repr(wanted).partition("(")[2]


@pytest.mark.parametrize(("name", "values", "options", "shape"), CASES)
def test_a_state_gives_the_sizes_too(
    name: str, values: Any, options: Any, shape: tuple[int, ...]
) -> None:
    wanted = eager(name, values, options, shape[1])
    lazy = getattr(nn, f"Lazy{name}")(*values, **options)
    lazy.load_state_dict(wanted.state_dict())
    assert lazy.trace({"x": shape}).shape == wanted.trace({"x": shape}).shape
    for path, value in wanted.state_dict().items():
        np.testing.assert_array_equal(lazy.state_dict()[path], value, err_msg=path)


def test_running_statistics_move() -> None:
    graphc.seed(0)
    model = nn.Sequential(nn.LazyBatchNorm1d(), nn.LazyLinear(1))
    trainer = graphc.Trainer(model, "mse", optim.SGD(0.1))
    trainer.fit(np.full((8, 3), 2.0), np.zeros((8, 1)), verbose=0)
    np.testing.assert_allclose(model.state_dict()["0.running_mean"], np.full(3, 0.2), rtol=1e-6)
    assert int(model.state_dict()["0.num_batches_tracked"]) == 1
    assert [path for path, cell in model.named_cells() if cell.name != path] == []


def test_before_the_first_trace_there_is_no_state() -> None:
    with pytest.raises(InputError, match="no shape before the first"):
        nn.LazyBatchNorm2d(affine=False).state_dict()
    with pytest.raises(InputError, match="no shape before the first"):
        nn.LazyConvTranspose2d(3, 3).state_dict()


@pytest.mark.parametrize(
    ("layer", "shape", "problem"),
    [
        (nn.LazyConv1d(4, 3, groups=2), (2, 3, 5), "LazyConv1d takes 3 axes.*groups=2 divides"),
        (nn.LazyConvTranspose2d(4, 3), (2, 5, 5), "LazyConvTranspose2d takes 4 axes"),
        (nn.LazyBatchNorm1d(), (4,), "LazyBatchNorm1d takes 1 axes"),
        (nn.LazyBatchNorm2d(), (4, 3), "takes 3 channels in the second of 4 axes"),
    ],
)
def test_what_gives_no_size_is_refused(layer: Any, shape: tuple[int, ...], problem: str) -> None:
    with pytest.raises(ShapeError, match=problem):
        layer.trace({"x": shape})
