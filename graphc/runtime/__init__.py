"""The running program: binding of arrays, the arena, the call.

What looks inside a program is imported when it is first asked for: most programs only run.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphc.runtime import explain, kernels, measure, nans, picture, text

__all__ = ["explain", "kernels", "measure", "nans", "picture", "text"]


def __getattr__(name: str) -> Any:
    """Import one of these modules when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module 'graphc.runtime' has no attribute {name!r}")
    return importlib.import_module(f"graphc.runtime.{name}")
