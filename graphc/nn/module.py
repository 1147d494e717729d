"""Module: a layer or model, with parameters, buffers and children registered as attributes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graphc.errors import InputError
from graphc.graph.graph import make_graph
from graphc.graph.leaf import Cell, aligned
from graphc.graph.node import Node
from graphc.graph.site import Site, current_site
from graphc.nn import state
from graphc.nn.parameter import Parameter
from graphc.nn.summary import Summary, layers, named, summary
from graphc.nn.trace import apply, current, nodes_of, trace
from graphc.types import dtype_name

Array = NDArray[Any]


class Module:
    """Base of all layers and models: override `forward`, which takes and returns nodes.

    What is assigned to an attribute is registered: a Parameter, a Module, and by
    `register_buffer` an array that is state but not trained. In forward, parameters and buffers
    read as nodes, and a node assigned to a buffer becomes its value after the step:

        class Scale(nn.Module):
            def __init__(self, features):
                self.factor = nn.Parameter(np.ones(features))

            def forward(self, x):
                return x * self.factor
    """

    training: bool
    made_at: Site
    """The line that made it, where its nodes come from unless its forward is the user's own."""
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Cell | None]
    _modules: dict[str, Module | None]
    _transient: set[str]
    _reserved: set[str]

    def __new__(cls, *args: Any, **named: Any) -> Self:
        module = super().__new__(cls)
        module.__dict__.update(_parameters={}, _buffers={}, _modules={}, training=True)
        module.__dict__.update(_transient=set(), _reserved=set(), made_at=current_site())
        return module

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The computation, from nodes to nodes."""
        raise NotImplementedError(f"{type(self).__name__} has no forward(self, ...)")

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """Apply forward; every node made in it carries the path of this module."""
        return apply(self, inputs, named)

    def trace(self, inputs: Mapping[str, Any] | None) -> Any:
        """What forward returns, in evaluation mode, for inputs declared by name -> shape."""
        return trace(self, inputs)[0]

    # --- registration -----------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        stores: tuple[dict[str, Any], ...] = (self._parameters, self._buffers, self._modules)
        if name in self._buffers and not isinstance(value, Parameter | Module):
            self._assign_buffer(name, value)
            return
        if value is None and any(name in store for store in stores):
            next(store for store in stores if name in store)[name] = None
            return
        if isinstance(value, Parameter | Module):
            self.__dict__.pop(name, None)
            for store in stores:
                store.pop(name, None)
            stores[0 if isinstance(value, Parameter) else 2][name] = value
            return
        if any(name in store for store in stores):
            raise InputError(
                f"{type(self).__name__}.{name} is registered and can become a Parameter, a Module "
                f"or None, not {type(value).__name__}; to overwrite a value use .{name}.assign(...)"
            )
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        running = current()
        if name in self._parameters:
            parameter = self._parameters[name]
            if parameter is None or running is None:
                return parameter
            return running.read(parameter.cell)
        if name in self._buffers:
            cell = self._buffers[name]
            if cell is None:
                return None
            return cell.value if running is None else running.read(cell)
        if name in self._modules:
            return self._modules[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        for store in (self._parameters, self._buffers, self._modules):
            if name in store:
                del store[name]
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._buffers, *self._modules})

    def register_buffer(
        self, name: str, value: ArrayLike | None, *, persistent: bool = True
    ) -> None:
        """Add state that is not trained, such as a running mean; None reserves the name.

        Outside forward it reads as its array. A buffer that is not persistent stands in no
        state_dict.
        """
        self.__dict__.pop(name, None)
        self._reserved.discard(name)
        array = None if value is None else aligned(np.asarray(value))
        self._buffers[name] = None if array is None else Cell(name, array, trainable=False)
        if not persistent:
            self._transient.add(name)

    def reserve_buffer(self, name: str) -> None:
        """Add state whose shape is not known yet: register_buffer, or loading a state, gives it."""
        self.register_buffer(name, None)
        self._reserved.add(name)

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Add a parameter, or None: a name that the layer has, but without one."""
        self._parameters[name] = parameter

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child under a name."""
        self._modules[name] = module

    def _assign_buffer(self, name: str, value: Any) -> None:
        cell, running = self._buffers[name], current()
        if value is None or cell is None:
            self.register_buffer(name, value, persistent=name not in self._transient)
        elif isinstance(value, Node):
            if running is None:
                raise InputError(f"a node was assigned to the buffer {name!r} outside of forward")
            running.assign(cell, value)
        else:
            cell.assign(value)

    # --- walking ----------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly below, with their names."""
        for name, module in self._modules.items():
            if module is not None:
                yield name, module

    def children(self) -> Iterator[Module]:
        """The modules directly below."""
        for _, module in self.named_children():
            yield module

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """This module ("") and all below it with their paths, each once, parents first."""
        seen: set[int] = set()
        for path, module in self._paths(""):
            if id(module) not in seen:
                seen.add(id(module))
                yield path, module

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        for _, module in self.named_modules():
            yield module

    def _paths(self, prefix: str) -> Iterator[tuple[str, Module]]:
        """As named_modules, a shared module once for each of its paths."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child._paths(f"{prefix}.{name}" if prefix else name)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter once, with the first of its paths, such as "encoder.0.weight"."""
        seen: set[int] = set()
        for path, parameter in state.parameters_of(self):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield path, parameter

    def parameters(self) -> Iterator[Parameter]:
        """Every parameter once."""
        for _, parameter in self.named_parameters():
            yield parameter

    def named_buffers(self) -> Iterator[tuple[str, Array]]:
        """Every buffer's array once, with its path."""
        for path, cell in state.buffers_of(self):
            yield path, cell.value

    def named_cells(self) -> Iterator[tuple[str, Cell]]:
        """The storage of every parameter that has a shape, and of every buffer, each once."""
        for path, parameter in self.named_parameters():
            if parameter.ready:
                yield path, parameter.cell
        yield from state.buffers_of(self)

    # --- state and modes --------------------------------------------------------------------

    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters and persistent buffers, by path, as torch names them."""
        return state.state_dict(self)

    def load_state_dict(self, values: Mapping[str, Any], *, strict: bool = True) -> None:
        """Overwrite parameters and buffers from arrays by path; tensors of torch serve as well.

        Nothing is changed unless all fits. Raises InputError that lists every missing and
        unexpected name and every shape that differs; with strict=False names may be missing or
        unexpected. Raises DTypeError where a float would become an integer.
        """
        state.load_state_dict(self, values, strict=strict)

    def train(self, mode: bool = True) -> Self:
        """Put this module and all below it in training mode: dropout drops, statistics move."""
        for module in self.modules():
            object.__setattr__(module, "training", mode)
        return self

    def eval(self) -> Self:
        """Put this module and all below it in evaluation mode."""
        return self.train(False)

    def apply(self, function: Callable[[Module], object]) -> Self:
        """Call a function on every module below, children first, and on this one."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def to(self, dtype: object) -> Self:
        """Convert floating-point parameters and buffers to float32 or float64.

        Programs compiled before keep the old storage: convert first, then compile.
        """
        for module in self.modules():
            for parameter in module._parameters.values():
                if parameter is not None:
                    parameter.to(dtype)
            for name, cell in module._buffers.items():
                if cell is not None and cell.value.dtype.kind == "f":
                    value = aligned(cell.value.astype(dtype_name(dtype)))
                    module._buffers[name] = Cell(cell.name, value, trainable=False)
            if "dtype" in module.__dict__:
                object.__setattr__(module, "dtype", dtype_name(dtype))
        return self

    def double(self) -> Self:
        """Convert to float64."""
        return self.to("float64")

    def float(self) -> Self:
        """Convert to float32."""
        return self.to("float32")

    def summary(self, inputs: Any, dtype: str = "float32") -> Summary:
        """Every layer: path, type, output shape, parameters, FLOPs of a forward pass; as a table.

        inputs is the shape of the one input, or a dict of shapes by name; see nn.summary.
        """
        return summary(self, inputs, dtype)

    def draw(self, path: str | os.PathLike[str], inputs: Any, *, detail: str | None = None) -> None:
        """Draw the graph of a forward pass, as Graph.draw does; `inputs` are as in summary."""
        make_graph(nodes_of(self.trace(named(inputs)))).draw(path, detail=detail)

    # --- text -------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands between the parentheses for a layer without children."""
        return ""

    def __repr__(self) -> str:
        """The tree of modules, as torch shows it."""
        name, extra = type(self).__name__, self.extra_repr()
        lines = [
            f"({child}): " + repr(module).replace("\n", "\n  ")
            for child, module in self._modules.items()
        ]
        if not lines:
            return f"{name}({extra})"
        body = "\n  ".join(([extra] if extra else []) + lines)
        return f"{name}(\n  {body}\n)"

    def _repr_html_(self) -> str:
        """The layers as a table, for notebooks."""
        return layers(self)
