"""Modules: registration, names, sharing, state, modes, tracing, text."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn, ops
from graphc.errors import DTypeError, InputError, ShapeError
from graphc.graph.graph import postorder
from graphc.nn.loss import loss_of, target_dtype


class Block(nn.Module):
    """A linear layer, a scale of its own, and a count of its calls."""

    def __init__(self) -> None:
        self.linear = nn.Linear(3, 3)
        self.scale = nn.Parameter(np.ones(3))
        self.register_buffer("calls", np.zeros((), np.float32))
        self.register_buffer("scratch", np.zeros(2, np.float32), persistent=False)

    def forward(self, x: Any) -> Any:
        """Scaled, and counted."""
        self.calls = self.calls + 1.0
        return self.linear(x) * self.scale


class Net(nn.Module):
    """Two blocks of one linear layer."""

    def __init__(self) -> None:
        self.first = Block()
        self.second = Block()
        self.second.linear = self.first.linear
        self.blocks = nn.ModuleList([nn.ReLU(), nn.Linear(3, 2, bias=False)])

    def forward(self, x: Any) -> Any:
        """In sequence."""
        x = self.second(self.first(x))
        for block in self.blocks:
            x = block(x)
        return x


def test_names_are_torch_s() -> None:
    """A shared parameter once among the parameters, under every path in the state."""
    net = Net()
    assert [name for name, _ in net.named_parameters()] == [
        "first.scale",
        "first.linear.weight",
        "first.linear.bias",
        "second.scale",
        "blocks.1.weight",
    ]
    assert list(net.state_dict()) == [
        "first.scale",
        "first.calls",
        "first.linear.weight",
        "first.linear.bias",
        "second.scale",
        "second.calls",
        "second.linear.weight",
        "second.linear.bias",
        "blocks.1.weight",
    ]
    assert [name for name, _ in net.named_modules()] == [
        "",
        "first",
        "first.linear",
        "second",
        "blocks",
        "blocks.0",
        "blocks.1",
    ]


def test_nodes_carry_the_layer_s_path() -> None:
    """Down to the parameters' names."""
    result = Net().trace({"x": ("batch", 3)})
    nodes = list(postorder([result]))
    assert {"first.linear", "first", "second", "blocks.0", "blocks.1"} <= {
        n.site.path for n in nodes
    }
    assert {"first.linear.weight", "blocks.1.weight"} <= {n.op.name for n in nodes}
    assert result.shape == ("batch", 2)


def test_a_shared_parameter_is_one_variable() -> None:
    """Its gradient is the sum over both uses."""
    net = Net()
    variables = [n for n in postorder([net.trace({"x": (1, 3)})]) if "weight" in n.op.name]
    assert len(variables) == 2
    tied = nn.Linear(3, 3)
    tied.weight = net.first.linear.weight
    assert tied.weight is net.first.linear.weight


def test_state_goes_out_and_in() -> None:
    """Copies out; in place in, in any float dtype."""
    graphc.seed(1)
    one, two = Net(), Net()
    state = one.state_dict()
    state["first.calls"][...] = 5
    assert one.first.calls == 0
    storage = two.first.scale.value
    two.load_state_dict({name: array.astype(np.float64) for name, array in state.items()})
    assert two.first.calls == 5 and two.first.scale.value is storage
    np.testing.assert_array_equal(two.blocks[1].weight.value, one.blocks[1].weight.value)


def test_state_that_does_not_fit_changes_nothing() -> None:
    """Every problem is listed."""
    net = Net()
    state = net.state_dict()
    before = net.first.scale.value.copy()
    state["first.scale"] = state["first.scale"] + 1
    wrong: dict[str, Any] = {**state, "more": np.zeros(1), "second.scale": np.zeros(4)}
    del wrong["blocks.1.weight"]
    with pytest.raises(InputError) as error:
        net.load_state_dict(wrong)
    assert str(error.value).splitlines()[1:] == [
        "  missing: blocks.1.weight",
        "  unexpected: more",
        "  second.scale: has shape (3,), given (4,)",
    ]
    np.testing.assert_array_equal(net.first.scale.value, before)
    net.load_state_dict({"first.scale": state["first.scale"]}, strict=False)
    np.testing.assert_array_equal(net.first.scale.value, before + 1)
    with pytest.raises(DTypeError, match="num_batches_tracked: is int64, given float64"):
        nn.BatchNorm1d(2).load_state_dict({"num_batches_tracked": np.array(1.0)}, strict=False)


def test_modes() -> None:
    """train and eval reach all; a trace for inference puts them back."""
    net = Net()
    assert not net.eval().first.training
    net.train()
    net.first.eval()
    net.trace({"x": (1, 3)})
    assert net.training and not net.first.training and net.second.training


def test_a_buffer_assigned_in_forward_is_an_update() -> None:
    """Twice in a chain where the module is applied twice."""
    block = Block()
    twice = nn.Sequential(block, block)
    result, updates = nn.trace(twice, {"x": (2, 3)}, training=True)
    graphc.compile([result], updates)(x=np.zeros((2, 3)))
    assert block.calls == 2
    with pytest.raises(InputError, match="outside of forward"):
        block.calls = graphc.constant(1.0)
    block.calls = 7.0
    assert block.calls == 7


def test_registration_errors() -> None:
    """What an attribute may not become."""
    layer = nn.Linear(2, 2)
    with pytest.raises(InputError, match=r"use \.weight\.assign"):
        layer.weight = np.zeros((2, 2))
    layer.weight.assign(np.zeros((2, 2)))
    with pytest.raises(AttributeError, match="Linear has no attribute 'wieght'"):
        _ = layer.wieght
    layer.bias = None
    assert layer.bias is None and list(layer.state_dict()) == ["weight"]
    with pytest.raises(NotImplementedError, match="no forward"):
        nn.ModuleList([])(graphc.input("x", (1,)))


def test_copies_are_independent() -> None:
    """By copy.deepcopy and by pickle."""
    net = Net()
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert twin.second.linear is twin.first.linear
        twin.first.scale.value[...] = 9
        assert net.first.scale.value[0] == 1
        assert twin.trace({"x": (1, 3)}).shape == (1, 2)


def test_apply_and_to() -> None:
    """apply reaches all, children first; double converts floats alone."""
    seen: list[str] = []
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    net.apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["Linear", "BatchNorm1d", "Sequential"]
    dtypes = {name: array.dtype.name for name, array in net.double().state_dict().items()}
    assert dtypes["0.weight"] == dtypes["1.running_var"] == "float64"
    assert dtypes["1.num_batches_tracked"] == "int64"
    assert net.trace({"x": ("batch", 2)}).dtype == "float64"


def test_lazy_layers_take_the_size_that_comes() -> None:
    """At the first trace, or from a state; the values depend on the seed alone."""
    graphc.seed(3)
    one = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(2))
    with pytest.raises(InputError, match="no shape before the first trace"):
        one[2].weight.value  # noqa: B018
    one.trace({"x": ("batch", 3, 5, 5)})
    assert one[0].weight.shape == (4, 3, 3, 3) and one[2].weight.shape == (2, 36)
    graphc.seed(3)
    two = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(2))
    nn.Linear(3, 3)
    two.trace({"x": (1, 3, 5, 5)})
    for name, value in one.state_dict().items():
        np.testing.assert_array_equal(two.state_dict()[name], value)
    three = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(2))
    three.load_state_dict(one.state_dict())
    assert three.trace({"x": (1, 3, 5, 5)}).shape == (1, 2)
    with pytest.raises(ShapeError, match=r"takes \[n, 3, h, w\]"):
        three.trace({"x": (1, 2, 5, 5)})


def test_misfits_name_layer_and_line() -> None:
    """The path of the layer, and the user's file."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(10, 2))
    with pytest.raises(ShapeError) as error:
        model.trace({"x": ("batch", 3, 4)})
    text = str(error.value)
    assert "takes 10 features" in text and "f32[batch,12]" in text
    assert "layer: 1" in text and "test_module.py" in text


def test_repr_shows_the_tree() -> None:
    """As torch does."""
    model = nn.Sequential(nn.Linear(2, 3), nn.ModuleDict({"a": nn.ReLU()}))
    assert repr(model).splitlines() == [
        "Sequential(",
        "  (0): Linear(in_features=2, out_features=3, bias=True)",
        "  (1): ModuleDict(",
        "    (a): ReLU()",
        "  )",
        ")",
    ]


def test_containers() -> None:
    """Indexing, slices, names, and the sum of a residual."""
    model = nn.Sequential({"a": nn.ReLU(), "b": nn.Tanh()}).append(nn.Sigmoid())
    assert len(model) == 3 and isinstance(model[1], nn.Tanh) and len(model[1:]) == 2
    assert isinstance(model.a, nn.ReLU)
    chosen = nn.ModuleDict({"x": nn.ReLU()})
    assert "x" in chosen and list(chosen) == ["x"]
    skip = nn.Residual(nn.Linear(3, 3))
    assert skip.trace({"x": (2, 3)}).shape == (2, 3)
    with pytest.raises(ShapeError, match="as shortcut"):
        nn.Residual(nn.Linear(3, 4)).trace({"x": (2, 3)})


def test_maxout_and_global_pool() -> None:
    """The maximum of neighbouring features; the mean over positions."""
    x = np.arange(12, dtype=np.float32).reshape(1, 4, 3)
    model = nn.Sequential(nn.Maxout(2), nn.GlobalAvgPool())
    (found,) = graphc.evaluate([model.trace({"x": x.shape})], {"x": x})
    np.testing.assert_allclose(found, [[4.0, 10.0]])
    with pytest.raises(ShapeError, match="do not divide"):
        nn.Maxout(3).trace({"x": x.shape})


def test_dropout_only_drops_in_training() -> None:
    """The kept elements are scaled; evaluation is the identity."""
    layer, x = nn.Dropout(0.5), np.ones((50, 50), np.float32)
    result, _ = nn.trace(layer, {"x": x.shape}, training=True)
    (found,) = graphc.evaluate([result], {"x": x})
    assert set(np.unique(found)) == {0.0, 2.0} and 0.4 < (found > 0).mean() < 0.6
    assert layer.trace({"x": x.shape}).op.name == "x"
    with pytest.raises(InputError, match="between 0 and 1"):
        nn.Dropout(1.5)


def test_summary() -> None:
    """Paths, shapes, parameters and FLOPs."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    lines = str(model.summary(("batch", 1, 8, 8))).splitlines()
    assert lines[0].split() == ["layer", "type", "output", "parameters", "FLOPs"]
    conv = next(line for line in lines if "Conv2d" in line)
    assert "(batch, 4, 6, 6)" in conv and " 40 " in conv
    assert "parameters: 1,490, 1,490 of them trainable" in lines[-2]
    linear = next(line for line in lines if "Linear" in line)
    assert linear.split()[-1] == f"{2 * 144 * 10 + 10:,}"


def test_losses_are_found_by_name() -> None:
    """And an unknown one lists them."""
    kinds = [target_dtype(loss_of(name), "float32") for name in ("cross_entropy", "mse")]
    assert kinds == ["int64", "float32"]
    assert repr(nn.HuberLoss(delta=2.0)) == "HuberLoss(reduction='mean', delta=2.0)"
    with pytest.raises(InputError, match="unknown loss 'ce'; known: mse"):
        loss_of("ce")


def test_losses_equal_torch(torch: Any) -> None:
    """As modules."""
    random = np.random.default_rng(0)
    logits, labels = random.standard_normal((5, 3)), random.integers(0, 3, 5)
    other = random.standard_normal((5, 3))
    cases: list[tuple[str, Any, dict[str, Any]]] = [
        ("MSELoss", other, {}),
        ("L1Loss", other, {"reduction": "sum"}),
        ("HuberLoss", other, {"delta": 0.5}),
        ("BCEWithLogitsLoss", (other > 0).astype(float), {}),
        ("CrossEntropyLoss", labels, {"label_smoothing": 0.1}),
        ("CrossEntropyLoss", labels, {"ignore_index": 1}),
        ("NLLLoss", labels, {}),
        ("MultiMarginLoss", labels, {}),
    ]
    for name, target, options in cases:
        x, y = graphc.constant(logits), graphc.constant(target)
        (found,) = graphc.evaluate([getattr(nn, name)(**options)(x, y)])
        theirs = getattr(torch.nn, name)(**options)
        wanted = theirs(torch.tensor(logits), torch.tensor(target)).item()
        np.testing.assert_allclose(found, wanted, rtol=1e-10, err_msg=name)


def test_ops_accept_parameters_in_forward() -> None:
    """Arithmetic on self.scale is that of its node; outside it is the Parameter."""
    block = Block()
    assert isinstance(block.scale, nn.Parameter)
    np.testing.assert_array_equal(np.asarray(block.scale), np.ones(3))
    assert ops.sum(block.scale.node).shape == ()
    assert ops.abs(block.scale) is ops.abs(block.scale.node)
    assert (graphc.input("x", (3,)) * block.scale).inputs[1] is block.scale.node


@pytest.mark.parametrize(
    ("work", "problem"),
    [
        (lambda: nn.GroupNorm(2, 4).trace({"x": ("batch", 6, 3)}), r"GroupNorm\(2, 4\) takes 4 ch"),
        (lambda: nn.GroupNorm(4, 6), "num_groups=4 must divide num_channels=6"),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), "groups=2 must divide in_channels=3 and out"),
        (lambda: nn.ConvTranspose3d(4, 3, 3, groups=2), "groups=2 must divide in_channels=4 and"),
        (lambda: nn.LazyConv2d(3, 3, groups=2), "groups=2 must divide out_channels=3"),
        (lambda: nn.Conv2d(3, 4, (3, 3, 3)), r"kernel_size=\(3, 3, 3\) must be a number or 2"),
        (lambda: nn.Flatten().trace({"x": ()}), "Flatten joins up to axis 1, its input is f32"),
        (lambda: nn.Unflatten(2, (3,)).trace({"x": (2,)}), "Unflatten splits axis 2"),
    ],
)
def test_refused_layers_say_where(work: Any, problem: str) -> None:
    with pytest.raises(ShapeError, match=problem) as caught:
        work()
    assert "test_module.py:" in str(caught.value)


@pytest.mark.parametrize(
    "make", [nn.Linear, lambda size, out: nn.Conv2d(size, out, 3), nn.Embedding]
)
def test_sizes_that_are_no_whole_numbers_are_refused(make: Any) -> None:
    """The quotient of two numbers is a float in Python, and a size below zero is no size."""
    with pytest.raises(
        ShapeError, match=r"extent 392\.0 in shape .* no whole number(.|\n)*test_mod"
    ):
        make(784 / 2, 10)
    with pytest.raises(ShapeError, match="negative extent -1"):
        make(-1, 10)
    assert 6 in make(np.int64(6), 10).weight.value.shape


@pytest.mark.parametrize("layer", [nn.LayerNorm, nn.RMSNorm])
@pytest.mark.parametrize("shape", [3.0, "3", (3, 4.5), -1, None])
def test_shapes_that_are_no_whole_numbers_are_refused(layer: Any, shape: Any) -> None:
    with pytest.raises(ShapeError, match=r"a whole number, or several, not (.|\n)*test_module"):
        layer(shape)
    assert layer(np.int64(3)).normalized_shape == (3,)


def test_the_summary_of_an_embedding_says_how_to_declare_its_input() -> None:
    with pytest.raises(DTypeError, match=r"'x' declared as \(\('batch',\), 'int64'\)"):
        nn.Embedding(3, 4).summary(("batch",))
    assert "Embedding" in str(nn.Embedding(3, 4).summary({"x": (("batch",), "int64")}))
