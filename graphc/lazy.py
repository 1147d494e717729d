"""Properties that are computed once, without a lock: as functools has them from Python 3.12 on.

Before, a property has one lock for all objects of its class. Threads wait for each other, and in a
child of fork() it stays taken where another thread held it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

if sys.version_info >= (3, 12):
    from functools import cached_property as cached_property
else:
    Value = TypeVar("Value", covariant=True)

    class cached_property(Generic[Value]):  # noqa: N801  # the name that it stands in for
        """What a method of no arguments returns, kept in the object; the last of several wins."""

        def __init__(self, method: Callable[[Any], Value]) -> None:
            self.method = method
            self.__doc__ = method.__doc__

        def __set_name__(self, owner: type[Any], name: str) -> None:
            self.name = name

        @overload
        def __get__(self, instance: None, owner: type[Any] | None = None) -> Self: ...

        @overload
        def __get__(self, instance: object, owner: type[Any] | None = None) -> Value: ...

        def __get__(self, instance: object, owner: type[Any] | None = None) -> Self | Value:
            if instance is None:
                return self
            value = self.method(instance)
            vars(instance)[self.name] = value
            return value
