"""Tracing: running a model's forward once on symbolic inputs, to have its graph."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from graphc.errors import InputError, near
from graphc.graph import leaf
from graphc.graph.graph import postorder
from graphc.graph.node import Node
from graphc.graph.site import Site, layer, on_behalf_of
from graphc.ops.random import streams
from graphc.types import TensorType, dtype_name

Result = TypeVar("Result")


class Traceable(Protocol):
    """What tracing needs of a model: nn.Module has it."""

    @property
    def training(self) -> bool:
        """The mode that the model is in."""

    @property
    def made_at(self) -> Site:
        """The line that made it."""

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """Nodes in, nodes out."""

    @property
    def forward(self) -> Callable[..., Any]:
        """The function whose parameters name the inputs."""

    def named_modules(self) -> Iterator[tuple[str, Any]]:
        """The model and every module below it, each once, with its path."""

    def named_cells(self) -> Iterator[tuple[str, leaf.Cell]]:
        """Every cell of a parameter or buffer, each once, with its path."""


@dataclass(frozen=True)
class Call:
    """A layer that was applied: its path, the module, what it took, and what came out."""

    path: str
    module: Any
    inputs: tuple[Any, ...]
    result: Any


@dataclass(eq=False)
class Trace:
    """One run of a model: the paths of its modules, and what its buffers are to become."""

    paths: dict[int, str]
    values: dict[leaf.Cell, Node] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    def read(self, cell: leaf.Cell) -> Node:
        """A cell's node; where the trace has assigned to it, what it assigned last."""
        return self.values[cell] if cell in self.values else leaf.variable(cell)

    def assign(self, cell: leaf.Cell, value: Node) -> None:
        """Have the step overwrite a cell. Raises InputError where the type does not fit."""
        wanted = leaf.variable(cell).type
        if value.type != wanted:
            raise InputError(f"buffer {cell.name!r} is {wanted}, the value assigned {value.type}")
        self.values[cell] = value

    @property
    def updates(self) -> dict[Node, Node]:
        """For each buffer assigned to: its variable and its next value."""
        return {leaf.variable(cell): value for cell, value in self.values.items()}


_current: ContextVar[Trace | None] = ContextVar("graphc_trace", default=None)


def current() -> Trace | None:
    """The trace that is running, or None."""
    return _current.get()


@contextmanager
def tracing(model: Traceable) -> Iterator[Trace]:
    """Run what is inside as a trace of the model, whose cells are named by their paths."""
    for path, cell in model.named_cells():
        cell.name = path
    found = Trace({id(module): path for path, module in model.named_modules()})
    token = _current.set(found)
    try:
        yield found
    finally:
        _current.reset(token)


def apply(module: Traceable, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """A module's forward, its nodes marked with its path; a trace of its own where none runs."""
    found = current()
    if found is None:
        with tracing(module):
            return apply(module, inputs, named)
    path = found.paths.get(id(module), type(module).__name__)
    with layer(path), on_behalf_of(module.made_at):
        result = module.forward(*inputs, **named)
    found.calls.append(Call(path, module, (*inputs, *named.values()), result))
    return result


def tensor_type(spec: Any, dtype: str = "float32") -> TensorType:
    """The type that a specification of an input means. Raises InputError where it means none."""
    if isinstance(spec, TensorType):
        return spec
    if isinstance(spec, Node):
        return spec.type
    if not isinstance(spec, Sequence) or isinstance(spec, str):
        raise InputError(f"expected a shape, (shape, dtype) or a TensorType, got {spec!r}")
    if len(spec) == 2 and isinstance(spec[0], Sequence) and not isinstance(spec[0], str):
        return TensorType(dtype_name(spec[1]), tuple(spec[0]))
    return TensorType(dtype, tuple(spec))


def declare(specs: Mapping[str, Any], dtype: str = "float32") -> dict[str, Node]:
    """Input nodes by their names."""
    nodes = {}
    for name, spec in specs.items():
        type = tensor_type(spec, dtype)
        nodes[name] = spec if isinstance(spec, Node) else leaf.input(name, type.shape, type.dtype)
    return nodes


def trace(
    model: Traceable, inputs: Mapping[str, Any] | None, training: bool = False
) -> tuple[Any, dict[Node, Node]]:
    """Apply a model to inputs declared by name -> (what forward returned, updates of buffers).

    A specification is a shape such as ("batch", 784), a pair (shape, dtype), a TensorType or a
    node; dtype defaults to that of the model's parameters. Inputs are handed over by the names of
    forward's parameters; a single one may have any name. With training, running statistics are
    updated and dropout drops, except in layers put in eval mode by themselves; without, every
    layer is in eval mode.

    Raises InputError for names that forward does not have or that it misses, and where the result
    depends on a trainable parameter that is none of the model's.
    """
    result, found = traced(model, inputs, training=training)
    return result, found.updates


def traced(
    model: Traceable, inputs: Mapping[str, Any] | None, *, training: bool = False
) -> tuple[Any, Trace]:
    """As `trace`, giving the whole Trace."""
    if inputs is None:
        wanted = ", ".join(f"{p.name!r}: shape" for p in parameters(model))
        raise InputError(
            f"{type(model).__name__} needs its inputs declared, inputs={{{wanted}}}, such as "
            "('batch', 3) for a shape"
        )
    nodes = declare(inputs, float_dtype(model))
    given, named = handed(model, nodes)
    with modes(model, training), streams(), tracing(model) as found:
        result = model(*given, **named)
    check_owned(model, [*nodes_of(result), *found.updates.values()])
    return result, found


def parameters(model: Traceable) -> list[inspect.Parameter]:
    """What forward takes."""
    return list(inspect.signature(model.forward).parameters.values())


def handed(model: Traceable, nodes: Mapping[str, Node]) -> tuple[list[Node], dict[str, Node]]:
    """Inputs by name as forward takes them: in order, and by keyword. Raises InputError."""
    taken = parameters(model)
    kinds = {p.kind for p in taken}
    plain = [p for p in taken if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    known = {p.name for p in plain if p.kind is not p.POSITIONAL_ONLY}
    needed = [p.name for p in plain if p.default is p.empty]
    unknown = [] if inspect.Parameter.VAR_KEYWORD in kinds else [n for n in nodes if n not in known]
    if unknown and len(nodes) == 1 and len(needed) <= 1:
        return list(nodes.values()), {}
    if unknown == list(nodes) and inspect.Parameter.VAR_POSITIONAL in kinds and not plain:
        return list(nodes.values()), {}
    missing = [name for name in needed if name not in nodes and name in known]
    takes = f"{type(model).__name__}.forward takes {', '.join(map(str, taken)) or 'nothing'}"
    if unknown:
        hint = near(unknown[0], missing or known)
        raise InputError(f"no input {unknown[0]!r}; {takes}{hint}")
    if missing:
        raise InputError(f"missing input {', '.join(map(repr, missing))}; {takes}")
    return [], dict(nodes)


def nodes_of(result: Any) -> list[Node]:
    """The nodes in what a forward returned: alone, in a sequence or a dict."""
    if isinstance(result, Node):
        return [result]
    parts = result.values() if isinstance(result, Mapping) else result
    if isinstance(result, Mapping | list | tuple):
        return [node for value in parts for node in nodes_of(value)]
    return []


def check_owned(model: Traceable, results: Sequence[Node]) -> None:
    """Refuse a trainable parameter that would be neither trained nor saved with the model."""
    own = {id(cell) for _, cell in model.named_cells()}
    for node in postorder(results):
        match node.op:
            case leaf.Variable(cell=cell) if cell.trainable and id(cell) not in own:
                raise InputError(
                    f"{type(model).__name__} reads a parameter {cell.name!r} : {node.type} that is "
                    "not its own, and so would neither be trained nor saved. Modules in a plain "
                    "list or dict are not registered: use nn.ModuleList or nn.ModuleDict, and "
                    "assign a Parameter to an attribute of its own\n"
                    f"  layer: {node.site.path or '(the model itself)'}\n"
                    f"  at {node.site.file}:{node.site.line}"
                )


def float_dtype(model: Traceable) -> str:
    """The dtype of a model's first floating-point parameter; float32 where it has none."""
    for _, cell in model.named_cells():
        if cell.trainable and cell.value.dtype.kind == "f":
            return dtype_name(cell.value.dtype)
    return "float32"


@contextmanager
def modes(model: Traceable, training: bool) -> Iterator[None]:
    """Every module in eval mode; or in training mode, but those whose eval mode is their own."""
    modules = [module for _, module in model.named_modules()]
    before = [module.training for module in modules]
    if not training or not model.training:
        for module in modules:
            object.__setattr__(module, "training", training)
    try:
        yield
    finally:
        for module, mode in zip(modules, before, strict=True):
            object.__setattr__(module, "training", mode)
