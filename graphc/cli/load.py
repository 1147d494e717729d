"""FILE.py:NAME -> the object of that name, the file imported without running its main part."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from graphc.errors import GraphcError, InputError, near
from graphc.graph.node import Node
from graphc.inspect.subject import program_of
from graphc.nn import Module
from graphc.train.trainer import Trainer

KINDS = "a model, trainer, program, node, or function that returns one"

OWN = str(Path(__file__).resolve().parent.parent) + os.sep

PASSING = {OWN + os.path.join("nn", name) for name in ("module.py", "trace.py")}
"""Files that pass a user's call on to code of the user's."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Found:
    """An object, its name, and the module it was found in."""

    name: str
    value: Any
    module: ModuleType

    def beside(self, *names: str) -> Any:
        """What the file calls by the first of these names that it has; None without any."""
        return next((getattr(self.module, n) for n in names if hasattr(self.module, n)), None)

    def at_definition(self, work: Callable[[], Result]) -> Result:
        """Call a function as if from the line that defines the object.

        Nodes remember the nearest line outside of graphc; without this it would be click's. Raises
        InputError where code of the user's fails, such as a forward, with the frames that are his.
        """
        path = str(self.module.__file__)
        frame = "\n" * (defined(path, self.name.split(".")[0]) - 1) + "result = work()"
        space: dict[str, Any] = {"work": work}
        try:
            exec(compile(frame, path, "exec"), space)
        except GraphcError:
            raise
        except (Exception, SystemExit) as error:
            below = error.__traceback__ and error.__traceback__.tb_next
            inner = error.with_traceback(below and below.tb_next)  # without the line made here
            if not is_theirs(inner, str(Path(path).resolve().parent)):
                raise
            raise InputError(f"{self.name} of {path} failed\n{blame(inner)}") from None
        result: Result = space["result"]
        return result


def load(place: str) -> Found:
    """The object at FILE.py:NAME; where it is a function, what it returns.

    Raises InputError where the file or the name is missing, or where the file fails, with the
    frames of the traceback that are the user's.
    """
    file, colon, name = place.rpartition(":")
    if not colon or not file:
        file, name = place, ""
    path = Path(file)
    if not path.is_file():
        raise InputError(f"no file {file!r}; give FILE.py:NAME")
    module = imported(path)
    if not name:
        raise InputError(f"{file} needs a name: {file}:NAME. {offered(module)}")
    value: Any = module
    for part in name.split("."):
        if not hasattr(value, part):
            known = [n for n in vars(module) if not n.startswith("_")]
            raise InputError(
                f"{file} has no name {name!r}{near(name, known) or '.'} {offered(module)}"
            )
        value = getattr(value, part)
    if is_function(value):
        value = called(value, name, path)
    return Found(name, value, module)


def imported(path: Path) -> ModuleType:
    """The file as a module that is not `__main__`; what it prints goes to stderr."""
    name = f"graphc_inspected_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        with contextlib.redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise InputError(f"{path} failed when it was imported\n{blame(error)}") from None
    finally:
        sys.path.pop(0)
    return module


def called(function: Any, name: str, path: Path) -> Any:
    """What a function without arguments returns."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return function()
    except (Exception, SystemExit) as error:
        raise InputError(f"{name}() of {path} failed\n{blame(error)}") from None


def is_theirs(error: BaseException, folder: str) -> bool:
    """Whether an error comes from a file in a folder of the user's, rather than from graphc.

    A module passes on what its caller asked for: an attribute that is missing, or an argument, is
    the caller's error.
    """
    files = [os.path.realpath(f.filename) for f in traceback.extract_tb(error.__traceback__)]
    files = [file for file in files if file not in PASSING]
    last = [file for file in files if file.startswith((OWN, folder + os.sep))][-1:]
    return bool(last) and not last[0].startswith(OWN)


def blame(error: BaseException) -> str:
    """An error with the frames of its traceback that are not graphc's or Python's own."""
    own = (OWN, "<frozen ")
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(own)
    ]
    if isinstance(error, SyntaxError):
        frames = []
    lines = traceback.format_list(frames) + traceback.format_exception_only(error)
    if isinstance(error, GraphcError):
        lines[-1] = f"{type(error).__name__}: {error}"
    return "".join(lines).rstrip()


def defined(path: str, name: str) -> int:
    """The line of a file that first binds a name at its top level; 1 where none is found."""
    for statement in ast.parse(Path(path).read_bytes()).body:
        bound = [n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and is_stored(n)]
        if name in bound or getattr(statement, "name", None) == name:
            return statement.lineno
    return 1


def is_stored(name: ast.Name) -> bool:
    """Whether a name is assigned to."""
    return isinstance(name.ctx, ast.Store)


def is_function(value: Any) -> bool:
    """Whether a value is to be called for the object that is meant."""
    if isinstance(value, type):
        return issubclass(value, Module)
    known = isinstance(value, Module | Trainer | Node) or program_of(value) is not None
    return callable(value) and not known


def offered(module: ModuleType) -> str:
    """The names of a file that can be inspected, as a sentence."""
    found = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (isinstance(value, Module | Trainer | Node) or program_of(value) is not None)
    ]
    return f"It has: {', '.join(found)}" if found else f"It has no variable that is {KINDS}"
