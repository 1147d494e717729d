"""The architecture, held by reading the source: layers, rooms of third parties, an op-free core.

Each rule is a function from a parsed file to the list of its violations. The rules are tried on
small made-up sources below, so that one which could not fail would be noticed.
"""

from __future__ import annotations

import ast
import math
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

PACKAGE = Path(__file__).parent.parent / "graphc"

LEVELS: tuple[tuple[str, ...], ...] = (
    (
        "errors",
        "debug",
        "types",
        "machine",
        "cache",
        "interpreter",
        "lazy",
        "files",
        "html",
        "plot",
    ),
    ("graph",),
    ("ops",),
    ("autodiff", "passes"),
    ("loops",),
    ("llvm",),
    ("runtime",),
    ("compiler",),
    ("nn", "optim", "train", "data", "metrics"),
    ("inspect", "tuning", "export", "explorer", "cli", "__main__"),
)
"""The rooms of graphc, lowest first. A room imports from lower levels and from itself."""

LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
NEIGHBOURS = (0, 8, 9)  # levels whose rooms may use each other
PUBLIC = 7.5  # the package's public names, seen from inside: everything up to `compiler`
INSIDE = ("passes", "loops", "llvm")  # what is above `compiler` reaches these through it
LOOKERS = (
    "inspect",
    "tuning",
    "export",
    "explorer",
    "cli",
)  # but for those whose work is to look inside

THIRD_PARTIES = {
    "numpy": ("",),
    "sympy": ("ops/", "llvm/"),
    "llvmlite": ("llvm/",),
    "elftools": ("llvm/objects.py",),
    "networkx": ("graph/order.py",),
    "click": ("cli/", "train/", "inspect/"),
    "rich": ("cli/", "train/", "inspect/"),
    "safetensors": ("train/",),
    "sklearn": ("data/",),
    "pygraphviz": ("graph/draw.py",),
    "matplotlib": ("plot.py",),
    "waitress": ("explorer/server.py",),
    "torch": ("cli/peers/torch.py",),
    "onnx": ("cli/peers/onnxruntime.py",),
    "onnxruntime": ("cli/peers/onnxruntime.py",),
    "jax": ("cli/peers/jax.py",),
}
"""Where each third party may be imported, as prefixes of paths below graphc/."""

CORE = ("graph", "autodiff", "passes", "loops", "llvm", "runtime", "compiler")


def given_to_users(text: str) -> dict[str, frozenset[str]]:
    """Each file of graphc/ops from which its __init__.py takes names, and those names."""
    froms = [node for node in ast.parse(text).body if isinstance(node, ast.ImportFrom)]
    return {
        str(node.module).removeprefix("graphc.ops."): frozenset(a.name for a in node.names)
        for node in froms
        if node.module != "graphc.ops"
    }


DICTIONARY = given_to_users((PACKAGE / "ops" / "__init__.py").read_text("utf-8"))
"""The files that hold ops. The others hold the language, and what is done with it."""

UNMISTAKABLE = frozenset(
    "conv matmul einsum softmax relu gelu sigmoid softplus pool dropout embedding attention lstm "
    "gru cross_entropy batch_norm layer_norm".split()
)
"""Never in the core, not even as a word inside a longer identifier or text (`lower_conv2d`)."""

ORDINARY = frozenset(
    # how an update combines; what cotangents do where they meet
    "add sum prod max min any all argmax argmin "
    # the numbers 1
    "ones "
    # Python's builtins
    "abs pow round slice "
    # Graphviz's program and language
    "dot "
    # the compiler's own trade, and plain English
    "along cast constant gather identity index log outer remainder repeat scan scatter select sign "
    "split stack step tile where".split()
)
"""Names of ops that mean something else in the core. Importing the op itself is still refused."""

MACHINE_WORDS = frozenset(
    [
        *["add", "sub", "mul", "div", "neg", "maximum", "minimum", "rsqrt", "floor_divide"],
        *["uniform", "normal", "iota", *vars(math)],
    ]
)
"""Instructions and elementary functions: in llvm/ these are scalars, not ops."""


ARRAY_METHODS = frozenset(dir(np.ndarray))


@dataclass(frozen=True)
class Source:
    """One file of the package: its path below graphc/ and its syntax tree."""

    path: str
    tree: ast.Module

    @property
    def module(self) -> str:
        """The dotted name, `graphc.ops.index`."""
        parts = ["graphc", *Path(self.path).with_suffix("").parts]
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def room(self) -> str:
        """The room that the file is or lies in; empty for graphc/__init__.py."""
        return [*self.module.split("."), ""][1]

    def at(self, node: ast.AST, problem: str) -> str:
        """A violation, with the place where an editor finds it."""
        return f"graphc/{self.path}:{getattr(node, 'lineno', 1)}: {problem}"


def source(path: str, text: str) -> Source:
    """Parse the text of a file."""
    return Source(path, ast.parse(text))


@cache
def sources() -> tuple[Source, ...]:
    """Every file of the package, in order of its path."""
    return tuple(
        source(path.relative_to(PACKAGE).as_posix(), path.read_text("utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
    )


@cache
def modules() -> frozenset[str]:
    """The dotted names of the package's modules and packages, with those that rules speak of."""
    known = [f"graphc.{room}" for room in LEVEL] + [f"graphc.ops.{room}" for room in DICTIONARY]
    return frozenset(["graphc", *known, *(s.module for s in sources())])


@dataclass(frozen=True)
class Import:
    """One imported name: the module it comes from, the name there ('' for all), the name here."""

    node: ast.stmt
    module: str
    name: str
    bound: str


def imports(file: Source, inside: ast.AST | None = None) -> Iterator[Import]:
    """All imports of a file, or of a part of it, conditional ones included."""
    package = file.module if file.path.endswith("__init__.py") else file.module.rpartition(".")[0]
    for node in ast.walk(inside or file.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.split(".")[0]
                yield Import(node, alias.name, "", bound)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1]
            start = ".".join([*base, *filter(None, [node.module])]) if node.level else node.module
            for alias in node.names:
                inner = f"{start}.{alias.name}"
                module, name = (inner, "") if inner in modules() else (str(start), alias.name)
                yield Import(node, module, name, alias.asname or alias.name)


def is_ours(module: str) -> bool:
    """Whether a module is graphc or lies in it."""
    return module.split(".")[0] == "graphc"


def imports_point_down(file: Source) -> Iterator[str]:
    """A room imports from lower levels and from itself; neighbours only where a level allows it."""
    if file.module == "graphc":
        return
    if file.room not in LEVEL:
        yield file.at(file.tree, f"room {file.room!r} has no level; give it one in LEVELS")
        return
    here = LEVEL[file.room]
    for found in imports(file):
        if not is_ours(found.module):
            continue
        room = [*found.module.split("."), ""][1]
        if room == file.room:
            continue
        there = LEVEL.get(room, len(LEVELS)) if room else PUBLIC
        if there > here or (there == here and here not in NEIGHBOURS):
            yield file.at(found.node, f"{file.room} (L{here}) may not import {found.module}")
        elif here >= PUBLIC and room in INSIDE and file.room not in LOOKERS:
            yield file.at(found.node, f"{file.room} is built from public names, not {found.module}")


def third_parties_keep_to_their_rooms(file: Source) -> Iterator[str]:
    """Each third party is imported in its rooms only, and no other third party is."""
    for found in imports(file):
        name = found.module.split(".")[0]
        if is_ours(name) or name in sys.stdlib_module_names:
            continue
        rooms = THIRD_PARTIES.get(name, ())
        if not file.path.startswith(rooms or "\0"):
            place = " or ".join(f"graphc/{room}" for room in rooms) or "nowhere in graphc"
            yield file.at(found.node, f"{name} may be imported in {place}")


def no_import_hides_in_a_function(file: Source) -> Iterator[str]:
    """A cycle is not dodged by importing graphc late; a package may load its modules on demand."""
    if file.module == "graphc":
        return
    for function in ast.walk(file.tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for found in imports(file, function):
            if is_ours(found.module):
                yield file.at(found.node, f"{found.module} is imported inside a function")


def has_docstring(file: Source) -> Iterator[str]:
    """Every file says in its module docstring what lives there."""
    if not ast.get_docstring(file.tree):
        yield file.at(file.tree, "a module docstring says what lives in a file")


def ops_of(files: tuple[Source, ...]) -> frozenset[str]:
    """The names of the dictionary: @op functions, and what users are given that returns nodes."""
    found = set()
    for file in files:
        if file.room != "ops":
            continue
        public = DICTIONARY.get(file.module.removeprefix("graphc.ops."), frozenset())
        for node in file.tree.body:
            if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
                continue
            called = [d.func if isinstance(d, ast.Call) else d for d in node.decorator_list]
            gives_nodes = node.returns is not None and "Node" in ast.unparse(node.returns)
            if (node.name in public and gives_nodes) or any(
                isinstance(d, ast.Name) and d.id == "op" for d in called
            ):
                found.add(node.name)
    return frozenset(found)


@cache
def ops() -> frozenset[str]:
    """The names of graphc's own dictionary."""
    return ops_of(sources())


def words(text: str) -> str:
    """The words of an identifier or text, `_lower_Conv2dKernel` -> `_lower_conv_kernel_`."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text)
    parts = [re.sub(r"\d+d?$", "", word) for word in re.split(r"[\W_]+", apart.lower())]
    return f"_{'_'.join(filter(None, parts))}_"


def docstrings(tree: ast.Module) -> set[ast.AST]:
    """The constants that document a module, class, function or, below it, an assignment."""
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def spoken(file: Source) -> Iterator[tuple[ast.AST, str]]:
    """The texts and identifiers of a file by which it could tell one op from another.

    Not among them: docstrings, what other libraries name (`np.maximum`, `from math import floor`,
    an array's methods: a node has none of those), and the scalar functions of formulas.
    """
    foreign = {
        found.bound
        for found in imports(file)
        if not is_ours(found.module) or found.module == "graphc.ops.scalar"
    }
    said = docstrings(file.tree)
    for node in ast.walk(file.tree):
        match node:
            case ast.Constant(value=str(text)) if node not in said:
                yield node, text
            case ast.Name(id=name) if name not in foreign:
                yield node, name
            case ast.Attribute(attr=name) if not (
                name in ARRAY_METHODS or _rooted_in(node, foreign)
            ):
                yield node, name
            case ast.arg(arg=name) | ast.keyword(arg=str(name)):
                yield node, name
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield node, name


def _rooted_in(node: ast.Attribute, names: set[str]) -> bool:
    """Whether `a.b.c` starts at one of the names."""
    value: ast.expr = node
    while isinstance(value, ast.Attribute):
        value = value.value
    return isinstance(value, ast.Name) and value.id in names


def core_names_no_op(file: Source) -> Iterator[str]:
    """No file of the core imports an op, nor says the name of one; `add` alone is excepted."""
    if file.room not in CORE:
        return
    for found in imports(file):
        parts = found.module.split(".")
        if parts[:2] != ["graphc", "ops"]:
            continue
        room = [*parts, ""][2]
        if not found.name and room in ("", *DICTIONARY):
            yield file.at(found.node, f"the core imports the ops in {found.module}")
        elif found.name == "add" or room == "scalar":
            continue
        elif found.name in ops() or (room in ("", *DICTIONARY) and found.name[:1].islower()):
            yield file.at(found.node, f"the core imports the op {found.name}")

    allowed = ORDINARY | (MACHINE_WORDS if file.room == "llvm" else frozenset())
    for node, text in spoken(file):
        if file.path == "graph/node.py" and re.fullmatch(r"__\w+__", text):
            continue  # the slots that Python calls for `a @ b` and its like
        if text in ops() and text not in allowed:
            yield file.at(node, f"the core names the op {text!r}")
        elif word := next((w for w in sorted(UNMISTAKABLE) if f"_{w}_" in words(text)), None):
            yield file.at(node, f"the core speaks of {word!r}: {text!r}")


Rule = Callable[[Source], Iterator[str]]
RULES: tuple[Rule, ...] = (
    imports_point_down,
    third_parties_keep_to_their_rooms,
    no_import_hides_in_a_function,
    has_docstring,
    core_names_no_op,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_architecture(rule: Rule) -> None:
    """The package keeps the rule."""
    violations = [violation for file in sources() for violation in rule(file)]
    assert not violations, f"{rule.__doc__}\n" + "\n".join(violations)


def test_the_dictionary_is_found() -> None:
    """The rule about the core is about something: it knows the names of the ops."""
    assert {"add", "matmul", "conv2d", "relu", "softmax", "embedding", "cross_entropy"} <= ops()
    assert set().union(*DICTIONARY.values()) - ops() == {"Generator", "scan", "seed", "streams"}


REFUSED = [
    (imports_point_down, "graph/node.py", "from graphc.ops import index"),
    (imports_point_down, "graph/node.py", "from ..ops.index import Affine"),
    (imports_point_down, "graph/node.py", "import graphc"),
    (imports_point_down, "passes/fold.py", "from graphc import autodiff"),
    (imports_point_down, "autodiff.py", "import graphc.passes.fold"),
    (imports_point_down, "compiler.py", "if TYPE_CHECKING:\n    from graphc.nn import Module"),
    (imports_point_down, "train/step.py", "from graphc.cli import main"),
    (imports_point_down, "nn/layers.py", "from graphc.loops.ir import Kernel"),
    (imports_point_down, "attic/old.py", ""),
    (third_parties_keep_to_their_rooms, "graph/show.py", "import networkx"),
    (third_parties_keep_to_their_rooms, "loops/ir.py", "from sympy import Symbol"),
    (third_parties_keep_to_their_rooms, "runtime/program.py", "import llvmlite.binding as llvm"),
    (third_parties_keep_to_their_rooms, "nn/module.py", "def f():\n    import torch"),
    (no_import_hides_in_a_function, "nn/module.py", "def f():\n    from graphc import ops"),
    (no_import_hides_in_a_function, "ops/linear.py", "def f():\n    from .shape import pad"),
    (has_docstring, "errors.py", "x = 1"),
    (core_names_no_op, "autodiff.py", "from graphc.ops.linear import matmul as product"),
    (core_names_no_op, "passes/fuse.py", "from graphc.ops import linear"),
    (core_names_no_op, "passes/fuse.py", "from graphc import ops"),
    (core_names_no_op, "passes/fold.py", "operators['__matmul__'](a, b)"),
    (core_names_no_op, "passes/fuse.py", "if node.op.name == 'conv2d': pass"),
    (core_names_no_op, "passes/fuse.py", "if node.op.name.startswith('softmax.'): pass"),
    (core_names_no_op, "passes/fuse.py", "if node.op.name == 'concat': pass"),
    (core_names_no_op, "passes/fuse.py", "if node.op.name in ('full', 'flip'): pass"),
    (core_names_no_op, "passes/fuse.py", "from graphc.ops.join import concat"),
    (core_names_no_op, "passes/fuse.py", "from graphc.ops import pool"),
    (core_names_no_op, "loops/tile.py", "def tile_matmul(kernel): pass"),
    (core_names_no_op, "loops/tile.py", "class ConvKernel: pass"),
    (core_names_no_op, "runtime/program.py", "x.relu()"),
    (core_names_no_op, "llvm/scalar.py", "def emit_Relu(self, x): pass"),
    (core_names_no_op, "loops/lower.py", "kind = f'max_pool {x}'"),
]

ACCEPTED = [
    (imports_point_down, "loops/lower.py", "from graphc.ops.index import Affine"),
    (imports_point_down, "train/trainer.py", "from graphc import optim, compile"),
    (imports_point_down, "types.py", "from graphc.errors import DTypeError"),
    (imports_point_down, "inspect/kernels.py", "from graphc.loops import show"),
    (third_parties_keep_to_their_rooms, "graph/order.py", "import json, numpy, networkx"),
    (no_import_hides_in_a_function, "ops/scalar.py", "def f():\n    import sympy"),
    (no_import_hides_in_a_function, "__init__.py", "def f():\n    from graphc import nn"),
    (core_names_no_op, "graph/node.py", "operators['__matmul__'](self, other)"),
    (core_names_no_op, "autodiff.py", "from graphc.ops.arithmetic import add"),
    (core_names_no_op, "loops/order.py", "how = 'max' if step else 'sum'"),
    (core_names_no_op, "loops/tile.py", "'''The tile of a matmul.'''\nconvert = padded"),
    (core_names_no_op, "llvm/functions.py", "table = {'tanh': tanh}"),
    (core_names_no_op, "runtime/binding.py", "import numpy as np\nx = np.maximum(a, b)"),
    (core_names_no_op, "graph/leaf.py", "np.frombuffer(data).reshape(shape)"),
    (core_names_no_op, "nn/layers.py", "from graphc.ops import matmul"),
]


@pytest.mark.parametrize(("rule", "path", "text"), REFUSED)
def test_rule_refuses(rule: Rule, path: str, text: str) -> None:
    """Each rule finds what it forbids."""
    assert list(rule(source(path, text)))


@pytest.mark.parametrize(("rule", "path", "text"), ACCEPTED)
def test_rule_accepts(rule: Rule, path: str, text: str) -> None:
    """No rule forbids ordinary code."""
    assert list(rule(source(path, text))) == []


def test_ops_are_recognised() -> None:
    """Decorated anywhere in graphc/ops, or given to users and giving nodes."""
    made = (
        source(
            "ops/extra.py", "@op\ndef one(x): ...\n@op('n -> n')\ndef two(x): ...\ndef no(x): ..."
        ),
        source(
            "ops/shape.py",
            "def reshape(x) -> Node: ...\ndef no(x) -> Node: ...\ndef flatten(x) -> int: ...",
        ),
        source("nn/layers.py", "@op\ndef elsewhere(x): ..."),
    )
    assert ops_of(made) == {"one", "two", "reshape"}
