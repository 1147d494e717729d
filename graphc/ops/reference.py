"""A numpy evaluation of any graph, slow and obvious: the oracle that compiled code is held to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from graphc.errors import IndexError, InputError, UnsupportedOpError
from graphc.graph import leaf
from graphc.graph.graph import postorder
from graphc.graph.node import Node
from graphc.ops import numeric, scalar
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, Index, Lookup
from graphc.ops.scan import Scan
from graphc.types import is_float, resolve

Array = np.ndarray[Any, Any]


def evaluate(
    outputs: Iterable[Node],
    inputs: Mapping[str, Any] | None = None,
    extents: Mapping[str, int] | None = None,
) -> tuple[Array, ...]:
    """The value of every output, given the inputs by name. Variables are read from their cells.

    Named extents are taken from the inputs' shapes (or `extents`). Raises IndexError for an
    out-of-range label or index, InputError for a missing input.
    """
    outputs = tuple(outputs)
    given = dict(inputs or {})
    nodes = list(postorder(outputs))
    known = dict(extents or {})
    values: dict[Node, Array] = {}
    runs: dict[object, list[Array]] = {}
    for node in nodes:
        if isinstance(node.op, leaf.Input):
            if node.op.name not in given:
                raise InputError(f"input {node.op.name!r} : {node.type} is missing")
            values[node] = np.asarray(given[node.op.name]).astype(node.dtype)
            for name, size in zip(node.shape, values[node].shape, strict=True):
                if isinstance(name, str):
                    known[name] = size
    for node in nodes:
        if node in values:
            continue
        operands = [values[i] for i in node.inputs]
        match node.op:
            case leaf.Variable(cell=cell):
                values[node] = cell.value.copy()
            case leaf.Constant():
                values[node] = node.op.array
            case leaf.Extent(name=name):
                values[node] = np.asarray(known[name], np.int64)
            case Formula():
                values[node] = formula(node.op, node, operands, known)
            case Scan():
                run = node.op.family(node)
                if run not in runs:
                    runs[run] = scan(node.op, operands, known)
                values[node] = runs[run][node.op.output]
            case _ if hasattr(node.op, "reference"):
                values[node] = node.op.reference(operands, known)
            case _:
                raise UnsupportedOpError(f"no reference for {node.op}")
    return tuple(values[o] for o in outputs)


def scan(op: Scan, operands: list[Array], known: dict[str, int]) -> list[Array]:
    """Every result of a scan: its body evaluated step by step."""
    names = [p.op.name for p in op.placeholders]
    carries, after = len(op.carries), len(op.carries) + len(op.slices)
    types = [op.result_type(j) for j in range(len(op.body.outputs))]
    results = [np.zeros(resolve(t.shape, known), t.dtype) for t in types]
    for result, start in zip(results, operands[:carries], strict=False):
        result[op.first] = start
    for step in op.steps:
        given = [result[op.before(step)] for result in results[:carries]]
        given += [sequence[step] for sequence in operands[carries:after]]
        values = dict(zip(names, [*given, *operands[after:]], strict=True))
        for j, value in enumerate(evaluate(op.body.outputs, values, known)):
            results[j][op.after(step) if j < carries else step] = value
    return results


IDENTITY = {"sum": 0, "prod": 1, "any": False, "all": True}
UFUNC = {
    "sum": np.add,
    "prod": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
    "any": np.logical_or,
    "all": np.logical_and,
}


def lowest(dtype: str) -> Any:
    """The identity of max."""
    return -np.inf if is_float(dtype) else (False if dtype == "bool" else np.iinfo(dtype).min)


def highest(dtype: str) -> Any:
    """The identity of min."""
    return np.inf if is_float(dtype) else (True if dtype == "bool" else np.iinfo(dtype).max)


def formula(op: Formula, node: Node, operands: list[Array], known: dict[str, int]) -> Array:
    """Visit every point of the domain at once, then reduce into the result."""
    names = [name for name, _ in op.domain]
    sizes = resolve(tuple(extent for _, extent in op.domain), known)
    grid = {
        name: np.arange(size).reshape([-1 if i == axis else 1 for i in range(len(names))])
        for axis, (name, size) in enumerate(zip(names, sizes, strict=True))
    }
    valid = np.ones(sizes, bool)

    def at(place: Index, shape: tuple[int, ...]) -> tuple[Array, ...]:
        nonlocal valid
        found = []
        for e, size in zip(place, shape, strict=True):
            if isinstance(e, Lookup):
                where = at(op.reads[e.operand], operands[e.operand].shape)
                position = operands[e.operand][where]
                check(position, size, op.name, where)
            else:
                position = value(e)
                valid = valid & (position >= 0) & (position < size)
            found.append(np.clip(position, 0, max(size - 1, 0)))
        return tuple(found)

    def value(e: Affine) -> Array:
        total: Any = np.asarray(e.constant)
        for name, factor in e.terms:
            total = total + factor * grid[name]
        return np.asarray(total)

    result_shape = resolve(node.shape, known)
    if any(not size for size in sizes):
        return np.full(result_shape, start(op.how, node.dtype), node.dtype)
    values: dict[Any, Array] = {scalar.position(n): g for n, g in grid.items()}
    dtypes = {a: i.dtype for a, i in zip(op.args, node.inputs, strict=True)}
    visited: dict[Any, tuple[Array, ...]] = {}
    for arg, read, operand in zip(op.args, op.reads, operands, strict=True):
        visited[arg] = places = at(read, operand.shape)
        values[arg] = np.zeros((), operand.dtype) if 0 in operand.shape else operand[places]
    inner = node.dtype
    if op.how in ("argmax", "argmin"):
        inner = scalar.dtype_of(op.expr, dtypes)
    for part in op.expr.atoms(scalar.bounded):
        kind = scalar.dtype_of(part.args[0], dtypes)
        label = next((visited[a] for a in op.args if a in part.args[0].free_symbols), ())
        found = numeric.evaluate(part.args[0], values, dtypes, kind)
        check(found, int(part.args[1]), op.name, label)
    point = np.broadcast_to(numeric.evaluate(op.expr, values, dtypes, inner), sizes)
    target = at(op.writes, result_shape)
    if op.how in ("argmax", "argmin"):
        return arg_reduce(op, point, sizes, valid, node)
    result = np.full(result_shape, start(op.how, node.dtype), node.dtype)
    empty = start(op.how, node.dtype)
    point = np.where(valid, point, np.asarray(empty, node.dtype))
    if op.plain:
        axes = tuple(i for i, n in enumerate(names) if n in op.summed)
        order = [e.plain for e in op.writes if isinstance(e, Affine)]
        rest = [n for n in names if n not in op.summed]
        if op.pointwise:
            reduced = point
        else:
            reduced = UFUNC[op.how].reduce(point, axis=axes, dtype=node.dtype)
        reduced = np.transpose(reduced, [rest.index(str(n)) for n in order])
        result[tuple(slice(0, n) for n in reduced.shape)] = reduced
        return result
    UFUNC[op.how].at(result, tuple(np.broadcast_to(t, sizes) for t in target), point)
    return result


def start(how: str, dtype: str) -> Any:
    """The identity of a reduction: what an element that nothing is written to holds."""
    if how in ("max", "min"):
        return lowest(dtype) if how == "max" else highest(dtype)
    return IDENTITY.get(how, 0)


def arg_reduce(
    op: Formula, point: Array, sizes: tuple[int, ...], valid: Array, node: Node
) -> Array:
    """The row-major position, among the summed indices, of the first extreme value."""
    names = [name for name, _ in op.domain]
    kept = [n for n in names if n not in op.summed]
    order = [names.index(n) for n in (*kept, *op.summed)]
    dtype = str(point.dtype)
    worst = lowest(dtype) if op.how == "argmax" else highest(dtype)
    flat = np.where(valid, point, worst).transpose(order)
    flat = flat.reshape([*(sizes[names.index(n)] for n in kept), -1])
    inside = np.broadcast_to(valid, sizes).transpose(order).reshape(flat.shape)
    best = flat.max(-1, keepdims=True) if op.how == "argmax" else flat.min(-1, keepdims=True)
    found = (inside & ((flat == best) | (flat != flat))).argmax(-1)
    written = [e.plain for e in op.writes if isinstance(e, Affine)]
    return np.asarray(found.transpose([kept.index(str(n)) for n in written]).astype(node.dtype))


def check(position: Array, bound: int, name: str, where: tuple[Array, ...]) -> None:
    """Raise IndexError for the first position outside [0, bound), read at `where`."""
    bad = np.argwhere((position < 0) | (position >= bound))
    if len(bad):
        first = tuple(bad[0])
        wrong = int(position[first])
        place = tuple(int(np.broadcast_to(w, position.shape)[first]) for w in where)
        raise IndexError(f"{name}: index {wrong} at position {place} is not in [0, {bound})")
