"""Modules made of modules: in sequence, in a list, by name, or around a skip connection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from graphc.errors import ShapeError
from graphc.nn.module import Module


class Sequential(Module):
    """Each module applied to the result of the one before; also given as one dict of names."""

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named: Iterable[tuple[str, Any]] = modules[0].items()
        else:
            named = ((str(i), module) for i, module in enumerate(modules))
        for name, module in named:
            if not isinstance(module, Module):
                raise TypeError(f"Sequential takes modules, argument {name} is {module!r}")
            self.add_module(name, module)

    def forward(self, x: Any) -> Any:
        """The result of the last module."""
        for module in self:
            x = module(x)
        return x

    def append(self, module: Module) -> Sequential:
        """Add a module at the end."""
        self.add_module(str(len(self)), module)
        return self

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return Sequential(dict(list(self.named_children())[index]))
        return list(self.children())[index]


class ModuleList(Module):
    """A list whose modules are registered under their positions. It has no forward."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> ModuleList:
        """Add a module at the end."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        """Add modules at the end."""
        for module in modules:
            self.append(module)
        return self

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, index: int | slice) -> Any:
        found = list(self.children())[index]
        return ModuleList(found) if isinstance(found, list) else found


class ModuleDict(Module):
    """A dict whose modules are registered under their names. It has no forward."""

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        for name, module in (modules or {}).items():
            self.add_module(name, module)

    def __getitem__(self, name: str) -> Module:
        module = self._modules[name]
        assert module is not None
        return module

    def __setitem__(self, name: str, module: Module) -> None:
        self.add_module(name, module)

    def __contains__(self, name: str) -> bool:
        return name in self._modules

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._modules.keys()

    def values(self) -> Iterable[Module]:
        """The modules."""
        return list(self.children())

    def items(self) -> Iterable[tuple[str, Module]]:
        """Names and modules."""
        return list(self.named_children())


class Residual(Module):
    """x + body(x), or shortcut(x) + body(x): He et al., arXiv:1512.03385, equations 1 and 2."""

    def __init__(self, body: Module, shortcut: Module | None = None) -> None:
        self.body = body
        self.add_module("shortcut", shortcut)

    def forward(self, x: Any) -> Any:
        """The sum, of the shape of both."""
        aside, result = self.shortcut(x) if self.shortcut is not None else x, self.body(x)
        if aside.shape != result.shape:
            raise ShapeError(
                f"Residual: the body gives {result.type}, the shortcut {aside.type}; a 1x1 "
                "convolution or a Linear as shortcut changes channels or size"
            )
        return aside + result
