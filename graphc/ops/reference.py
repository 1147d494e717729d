"""A numpy evaluation of any graph, slow and obvious: the oracle that compiled code is held to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from graphc.errors import IndexError, InputError, InputShapeError, UnsupportedOpError
from graphc.graph import leaf
from graphc.graph.graph import postorder
from graphc.graph.node import Node
from graphc.ops import numeric, scalar
from graphc.ops.dtypes import dtype_of
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
    out-of-range label or index, InputError for a missing input or one of another shape.
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
            fit(node, values[node], known)
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


def fit(node: Node, array: Array, known: dict[str, int]) -> None:
    """Note the named extents of an input. Raises InputShapeError for an array of another shape."""
    for name, size in zip(node.shape, array.shape, strict=False):
        if isinstance(name, str):
            known.setdefault(name, size)
    if len(node.shape) != array.ndim or resolve(node.shape, known) != array.shape:
        where = f"  declared at {node.site.file}:{node.site.line}"
        raise InputShapeError(
            f"input {node.op.name!r} is {node.type}; the array has shape {array.shape}\n{where}"
        )


def scan(op: Scan, operands: list[Array], known: dict[str, int]) -> list[Array]:
    """Every result of a scan: its body evaluated step by step."""
    results: list[Array] = []
    for _ in scan_steps(op, operands, known, results):
        pass
    return results


def scan_steps(
    op: Scan, operands: list[Array], known: dict[str, int], results: list[Array]
) -> Iterator[tuple[int, dict[str, Array]]]:
    """Each step of a scan, and what its body is given by name; `results` are filled meanwhile."""
    names = [p.op.name for p in op.placeholders]
    carries, after = len(op.carries), len(op.carries) + len(op.slices)
    types = [op.result_type(j) for j in range(len(op.body.outputs))]
    results += [np.zeros(resolve(t.shape, known), t.dtype) for t in types]
    for result, start in zip(results, operands[:carries], strict=False):
        result[op.first] = start
    for step in op.steps:
        given = [result[op.before(step)] for result in results[:carries]]
        given += [sequence[step] for sequence in operands[carries:after]]
        values = dict(zip(names, [*given, *operands[after:]], strict=True))
        yield step, values
        try:
            found = evaluate(op.body.outputs, values, known)
        except IndexError as error:
            error.args = (f"{error}\n  in step {step} of a scan",)
            raise
        for j, value in enumerate(found):
            results[j][op.after(step) if j < carries else step] = value


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
    grid = points(op, known)
    valid = np.ones(sizes, bool)

    def at(place: Index, shape: tuple[int, ...]) -> tuple[Array, ...]:
        nonlocal valid
        found = []
        for e, size in zip(place, shape, strict=True):
            if isinstance(e, Lookup):
                where = at(op.reads[e.operand], operands[e.operand].shape)
                position = operands[e.operand][where]
            else:
                position = value(e, grid)
                valid = valid & (position >= 0) & (position < size)
            found.append(np.clip(position, 0, max(size - 1, 0)))
        return tuple(found)

    result_shape = resolve(node.shape, known)
    if 0 in (*sizes, *result_shape):
        return np.full(result_shape, start(op.how, node.dtype), node.dtype)
    if op.checks:
        check(node, dict(enumerate(operands)), known)
    values: dict[Any, Array] = {scalar.position(n): g for n, g in grid.items()}
    dtypes = {a: i.dtype for a, i in zip(op.args, node.inputs, strict=True)}
    for arg, read, operand in zip(op.args, op.reads, operands, strict=True):
        places = at(read, operand.shape)
        values[arg] = np.zeros((), operand.dtype) if 0 in operand.shape else operand[places]
    inner = node.dtype
    if op.how in ("argmax", "argmin"):
        inner = dtype_of(op.expr, dtypes)
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
        both = zip(reduced.shape, result_shape, strict=True)
        inside = tuple(slice(0, min(n, size)) for n, size in both)
        result[inside] = reduced[inside]
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


def points(op: Formula, known: Mapping[str, int]) -> dict[str, Array]:
    """Every index's values, each along an axis of its own, in the order of the domain."""
    rank = len(op.domain)
    sizes = resolve(tuple(extent for _, extent in op.domain), dict(known))
    return {
        name: np.arange(size).reshape([-1 if i == axis else 1 for i in range(rank)])
        for axis, ((name, _), size) in enumerate(zip(op.domain, sizes, strict=True))
    }


def value(e: Affine, grid: Mapping[str, Array]) -> Array:
    """An index expression at every point."""
    total: Any = np.asarray(e.constant)
    for name, factor in e.terms:
        total = total + factor * grid[name]
    return np.asarray(total)


# --- indices that are data ------------------------------------------------------------------


def indices(op: Formula) -> list[int]:
    """The operands whose values are indices, and may be refused."""
    places = (*op.reads, op.writes)
    found = {e.operand for place in places for e in place if isinstance(e, Lookup)}
    read = {s for part in op.expr.atoms(scalar.bounded) for s in part.args[0].free_symbols}
    return sorted(found | {i for i, arg in enumerate(op.args) if arg in read})


def refuse(nodes: Iterable[Node], inputs: Mapping[str, Any], known: Mapping[str, int]) -> None:
    """Raise the IndexError of the first node that has an index out of bounds, if one has.

    Of what a node reads only its indices are evaluated.
    """
    for node in nodes:
        if isinstance(node.op, Scan):
            evaluate([node], inputs, known)
        elif isinstance(node.op, Formula) and node.op.checks:
            numbers = indices(node.op)
            found = evaluate([node.inputs[i] for i in numbers], inputs, known)
            check(node, dict(zip(numbers, found, strict=True)), known)


def check(node: Node, values: Mapping[int, Array], known: Mapping[str, int]) -> None:
    """Raise IndexError for the first index of a node that is out of bounds.

    `values` are those of its operands by number, of the indices at least.
    """
    op = node.op
    assert isinstance(op, Formula)
    grid = points(op, known)
    shapes = [node.shape, *(operand.shape for operand in node.inputs)]
    for place, shape in zip((op.writes, *op.reads), shapes, strict=True):
        for e, size in zip(place, resolve(shape, dict(known)), strict=True):
            if isinstance(e, Lookup):
                where = read_at(op, e.operand, grid)
                inside(node, e.operand, values[e.operand][where], size, where)
    dtypes = {a: i.dtype for a, i in zip(op.args, node.inputs, strict=True)}
    for part in op.expr.atoms(scalar.bounded):
        read = [i for i, arg in enumerate(op.args) if arg in part.args[0].free_symbols]
        at = {i: read_at(op, i, grid) for i in read}
        given: dict[Any, Array] = {scalar.position(n): g for n, g in grid.items()}
        given |= {op.args[i]: values[i][at[i]] for i in read}
        kind = dtype_of(part.args[0], dtypes)
        found = numeric.evaluate(part.args[0], given, dtypes, kind)
        if read:
            inside(node, read[0], found, int(part.args[1]), at[read[0]])


def read_at(op: Formula, number: int, grid: Mapping[str, Array]) -> tuple[Array, ...]:
    """Where an operand of indices is read at every point: at plain indices, never beyond it."""
    return tuple(value(e, grid) for e in op.reads[number] if isinstance(e, Affine))


def inside(node: Node, number: int, positions: Array, bound: int, where: tuple[Array, ...]) -> None:
    """Raise IndexError for the first position outside [0, bound), read at `where`."""
    bad = np.argwhere((positions < 0) | (positions >= bound))
    if not len(bad):
        return
    first = tuple(bad[0])
    place = tuple(int(np.broadcast_to(w, positions.shape)[first]) for w in where)
    operand, site = node.inputs[number], node.site
    below = [n for n in postorder([operand]) if isinstance(n.op, leaf.Input)]
    given = [n.op.name for n in below if leaf.declared(n)]  # none that stand for a scan's operands
    lines = [
        f"{node.op.name.partition('.')[0]}: index {int(positions[first])} at position {place} "
        f"is not in [0, {bound})",
        f"inputs: {', '.join(given)}" if given else "",
        f"layer: {site.path}" if site.path else "",
        f"at {site.file}:{site.line}",
    ]
    error = IndexError("\n  ".join(filter(None, lines)))
    error.position, error.inputs = place, tuple(given)
    error.axis = next((e for e in operand.shape[:1] if isinstance(e, str)), None)
    raise error
