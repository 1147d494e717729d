"""Tile, promote and vectorise: loops become tiles whose values live in registers, lanes of vectors.

    for k, j: r = 0; for s: r += a[k, s]*b[s, j]; c[k, j] = r
    -->
    for k by 6, j by 64:
      r[6, 64] = 0
      for s: for k' unrolled, j' vector: r[k', j'] += a[k + k', s]*b[s, j + j']
      for k' unrolled, j' vector: c[k + k', j + j'] = r[k', j']

Splitting, sinking the tile loops into every part of the body, and giving each register one place
for each point of the tile are one rewrite here; reductions along the lanes get a register of lanes
that is combined at the end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from graphc.loops.choose import Plan, choose
from graphc.loops.ir import (
    Access,
    Alloc,
    Buffer,
    Check,
    For,
    Kernel,
    Let,
    Load,
    Stmt,
    Transpose,
    Update,
    rename,
    walk,
)
from graphc.loops.machine import Machine
from graphc.loops.nest import Nest, accesses, chain, extent, needed, parse
from graphc.ops import scalar
from graphc.ops.index import Affine, Bound, Runtime, affine, index
from graphc.types import SIZE

UNROLL = 8
PANEL_REUSE = 24
"""How often a panel must be read for packing it to pay,"""
PANEL_SPAN = 256 << 10
"""and how much memory it must be spread over."""
SCRATCH = 1 << 18
"""Bytes of partial sums that a kernel may keep on its stack."""


def tile(kernel: Kernel, machine: Machine) -> Kernel:
    """Schedule every nest of a kernel."""
    writer = Writer(machine)
    body = writer.body(kernel.body)
    return replace(kernel, body=body, notes=(*kernel.notes, *writer.notes))


@dataclass(frozen=True)
class Range:
    """One piece of a loop: index = base + 0, 1, ... size-1 for base in start, start + size, ..."""

    start: Bound
    stop: Bound
    size: int

    @property
    def single(self) -> int | None:
        """Where it starts, if it is one step of a known size."""
        if isinstance(self.start, int) and isinstance(self.stop, int):
            return self.start if self.stop - self.start == self.size else None
        return None


class Writer:
    """Rewrites the nests of one kernel."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.notes: list[str] = []
        self.serial = 0

    def body(self, stmts: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        """Schedule the nests in a list of statements; what is no nest keeps its loops."""
        result: list[Stmt] = []
        for stmt in stmts:
            if not isinstance(stmt, For):
                result.append(stmt)
                continue
            nest = parse(stmt)
            if nest is not None and nest.reduces:
                result += self.reduction(nest)
            elif nest is not None and self.open_reduction(nest):
                result += self.lanes_only(nest)
            elif nest is not None:
                result += self.map(nest)
            else:
                result.append(replace(stmt, body=self.body(stmt.body)))
        return tuple(result)

    # --- maps ------------------------------------------------------------------------------

    def map(self, nest: Nest) -> tuple[Stmt, ...]:
        """A map: one loop becomes lanes, innermost."""
        turned = self.transposed(nest)
        if turned is not None:
            return turned
        return self.mapped(nest)

    def mapped(self, nest: Nest) -> tuple[Stmt, ...]:
        """A map by whole vectors."""
        plan = choose(nest, self.machine)
        self.notes.append(plan.why)
        if plan.vector is None:
            return chain(nest.kept, nest.inner)
        vector = nest.loop(plan.vector)
        others = [f for f in nest.kept if f is not vector]
        outside = tuple(f for f in others)
        pieces: list[Stmt] = []
        for piece in split(vector, plan.lanes, plan.lanes, self.machine.masked):
            pieces += self.strip(vector.index, piece, plan.lanes, nest.inner)
        return chain(outside, tuple(pieces))

    def transposed(self, nest: Nest) -> tuple[Stmt, ...] | None:
        """A copy whose two sides are contiguous along different indices: block by block.

        for j: for i: t[J*i + j] = s[I*j + i]   -->   blocks turned over in registers
        """
        if len(nest.inner) != 2:
            return None
        load, store = nest.inner
        if not isinstance(load, Load) or not isinstance(store, Update) or load.guards:
            return None
        if store.how != "=" or store.guards or store.expr != store.args[0][0]:
            return None
        source, target = load.access, store.target
        if source.buffer.dtype != target.buffer.dtype or source.buffer.dtype == "bool":
            return None
        lanes = self.machine.lanes(SIZE[source.buffer.dtype])
        ends = []
        for access in (source, target):
            unit = [f for f in nest.kept if access.offset.coefficient(f.index) == 1]
            if len(unit) != 1 or unit[0].extent is None or unit[0].extent < lanes:
                return None
            ends.append(unit[0])
        along, across = ends
        if along is across or lanes & (lanes - 1) or source.lookups or target.lookups:
            return None
        self.notes.append(f"copied in {lanes}x{lanes} blocks turned over in registers")
        others = tuple(f for f in nest.kept if f not in (along, across))
        assert along.extent is not None and across.extent is not None
        rows, columns = across.extent // lanes * lanes, along.extent // lanes * lanes
        block = Transpose(
            target,
            source,
            source.offset.coefficient(across.index),
            target.offset.coefficient(along.index),
            lanes,
        )
        body: list[Stmt] = list(
            chain(
                [replace(across, stop=rows, step=lanes), replace(along, stop=columns, step=lanes)],
                (block,),
            )
        )
        for j, i in (
            (replace(across, start=rows), along),
            (replace(across, stop=rows), replace(along, start=columns)),
        ):
            if j.extent and i.extent:
                values = {
                    f.index: index(f.index) + f.start for f in (j, i) if isinstance(f.start, int)
                }
                loops = [replace(f, start=0, stop=f.extent or 0) for f in (j, i)]
                rest = Nest(tuple(loops), (), (), moved(nest.inner, values), ())
                body += self.mapped(rest)
        return chain(others, tuple(body))

    def strip(
        self, name: str, piece: Range, lanes: int, stmts: tuple[Stmt, ...]
    ) -> tuple[Stmt, ...]:
        """A piece of the vector loop: whole vectors in a loop, or one masked or short vector."""
        single = piece.single
        if single is not None:
            body = moved(stmts, {name: affine([(f"{name}.v", 1)], single)})
            count = piece.size
            return (For(f"{name}.v", 0, count, self.step(count, lanes), "vector", body),)
        if tail(piece):
            return (For(name, piece.start, piece.stop, lanes, "vector", stmts),)
        body = moved(stmts, {name: affine([(f"{name}.o", 1), (f"{name}.v", 1)])})
        inner = For(f"{name}.v", 0, piece.size, piece.size, "vector", body)
        return (For(f"{name}.o", piece.start, piece.stop, piece.size, "serial", (inner,)),)

    def step(self, count: int, lanes: int) -> int:
        """The width of a short vector: masked to full width where masks are cheap."""
        return lanes if self.machine.masked and count > 1 else count

    # --- reductions without kept loops ------------------------------------------------------

    def open_reduction(self, nest: Nest) -> bool:
        """Whether a nest adds into registers that live outside of it."""
        inside = {s.buffer.name for s in walk(nest.inner) if isinstance(s, Alloc)}
        return any(
            isinstance(s, Update)
            and s.target.buffer.space == "register"
            and s.target.buffer.name not in inside
            for s in nest.inner
        )

    def lanes_only(self, nest: Nest) -> tuple[Stmt, ...]:
        """Sum along the innermost loop in lanes, then across the lanes."""
        updates = [s for s in nest.inner if isinstance(s, Update)]
        lanes = self.machine.lanes(max(SIZE[u.target.buffer.dtype] for u in updates))
        loop = nest.kept[-1]
        registers = all(u.target.buffer.space == "register" for u in updates)
        if not registers or loop.kind != "lanes" or loop.extent == 1:
            return chain(nest.kept, nest.inner)
        self.notes.append(f"lanes along summed {loop.index}, combined across lanes at the end")
        opening, inner, closing = self.spread(nest.inner, lanes, {}, loop.index, [])
        body: list[Stmt] = []
        for piece in split(loop, lanes, lanes, True):
            body += self.strip_tiled(loop.index, piece, lanes, [], inner)
        return (*opening, *chain(nest.kept[:-1], tuple(body)), *closing)

    def spread(
        self,
        inner: tuple[Stmt, ...],
        lanes: int,
        strides: dict[str, int],
        vector: str,
        loops: list[For],
    ) -> tuple[tuple[Stmt, ...], tuple[Stmt, ...], tuple[Stmt, ...]]:
        """Give each register of a reduction one place a lane.

        Returns what opens the lanes, the inner statements over them, and what combines them.
        """
        opening: list[Stmt] = []
        closing: list[Stmt] = []
        rewritten: list[Stmt] = []
        symbol = scalar.argument("lane")
        for stmt in inner:
            if not isinstance(stmt, Update):
                rewritten.append(stmt)
                continue
            old = stmt.target.buffer
            size = old.size
            assert isinstance(size, int)
            self.serial += 1
            wide = Buffer(f"{old.name}.w{self.serial}", old.dtype, size * lanes, "register")
            lane = "lane"
            place = stmt.target.offset * lanes
            opening.append(Alloc(wide))
            start = Update(
                Access(wide, place + index(lane)), scalar.identity(stmt.how, old.dtype), ()
            )
            opening += chain([*loops, For(lane, 0, lanes, lanes, "vector", ())], (start,))
            value = f"{old.name}.l{self.serial}"
            combine: tuple[Stmt, ...] = (
                Load(value, Access(wide, place + index(lane))),
                Update(stmt.target, symbol, ((symbol, value),), stmt.how),
            )
            closing += chain([*loops, For(lane, 0, lanes, lanes, "vector", ())], combine)
            rewritten.append(replace(stmt, target=Access(wide, place + index(vector + "#"))))
        return tuple(opening), tuple(rewritten), tuple(closing)

    # --- reductions over a tile -------------------------------------------------------------

    def reduction(self, nest: Nest) -> tuple[Stmt, ...]:
        """A reduction with kept loops: split them into tiles, sink the tile into the body."""
        streamed = self.streamed(nest)
        if streamed is not None:
            return streamed
        return self.tiled(nest)

    def streamed(self, nest: Nest) -> tuple[Stmt, ...] | None:
        """Where all that is summed leaves the second cache level: one outer step at a time.

        for k: r = 0; for n, s: r += f; c[k] = r
        -->
        t[...] = 0; for n: for k: r = 0; for s: r += f; t[k] += r
        for k: c[k] = t[k]
        """
        outer, starts = nest.summed[0], [s for s in nest.before if isinstance(s, Update)]
        total = 1
        for loop in nest.kept:
            if loop.extent is None:
                return None
            total *= loop.extent
        if len(nest.summed) < 2 or len(starts) != 1 or nest.summed[-1].kind != "serial":
            return None
        register = starts[0].target.buffer
        ends = [s for s in nest.after if isinstance(s, Load) and s.access.buffer == register]
        updates = [s for s in nest.inner if isinstance(s, Update)]
        size = SIZE[register.dtype]
        step = {
            **{f.index: extent(f) for f in nest.kept},
            **{f.index: extent(f) for f in nest.summed[1:]},
        }
        near = sum(footprint(a, step) for a in accesses(nest.inner))
        far = near * extent(outer)
        if len(ends) != 1 or len(updates) != 1 or total * size > SCRATCH:
            return None
        if far < self.machine.level2 // 2 or near > self.machine.level2 // 4 or extent(outer) < 4:
            return None
        self.serial += 1
        scratch = Buffer(f"t{self.serial}", register.dtype, total, "stack")
        place, factor = Affine(), 1
        for loop in reversed(nest.kept):
            place = place + index(loop.index) * factor
            factor *= loop.extent or 1
        target = Access(scratch, place)
        symbol = scalar.argument("part")
        self.notes.append(
            f"summed over {outer.index} step by step: "
            f"{far >> 10} KiB in all, {near >> 10} KiB a step"
        )
        clear = (Update(target, starts[0].expr, ()),)
        part = (ends[0], Update(target, symbol, ((symbol, ends[0].name),), updates[0].how))
        inner = Nest(nest.kept, nest.before, nest.summed[1:], nest.inner, part)
        rest = tuple(s for s in nest.after if s is not ends[0])
        shared = tuple(s for s in nest.before if isinstance(s, Load | Let | Check))
        last = (*needed(shared, rest), Load(ends[0].name, target), *rest)
        return (
            Alloc(scratch),
            *self.mapped(Nest(nest.kept, (), (), clear, ())),
            replace(outer, body=self.tiled(inner)),
            *self.mapped(Nest(nest.kept, (), (), last, ())),
        )

    def tiled(self, nest: Nest) -> tuple[Stmt, ...]:
        """A reduction nest in register tiles."""
        plan = choose(nest, self.machine)
        self.notes.append(plan.why)
        tiles = dict(plan.tiles)
        kept_vector = plan.vector in {f.index for f in nest.kept}
        pieces: list[tuple[For, list[Range]]] = []
        for loop in nest.kept:
            if loop.index == plan.vector:
                size = plan.lanes * plan.vectors
                pieces.append((loop, split(loop, size, plan.lanes, self.machine.masked)))
            elif loop.index in tiles:
                pieces.append((loop, balanced(loop, tiles[loop.index])))
            else:
                pieces.append((loop, []))
        ordered = self.outer_order(pieces, plan)
        vector = plan.vector if kept_vector else None
        return self.nested(nest, plan, ordered, vector, {}, {})

    def outer_order(
        self, pieces: list[tuple[For, list[Range]]], plan: Plan
    ) -> list[tuple[For, list[Range]]]:
        """Loops that are not tiled outermost, then the vector index, then the other tiles."""
        plain = [p for p in pieces if not p[1]]
        panel = [p for p in pieces if p[1] and p[0].index == plan.vector]
        rest = [p for p in pieces if p[1] and p[0].index != plan.vector]
        return [*plain, *panel, *rest]

    def nested(
        self,
        nest: Nest,
        plan: Plan,
        pieces: list[tuple[For, list[Range]]],
        vector: str | None,
        sizes: dict[str, int],
        values: dict[str, Affine],
    ) -> tuple[Stmt, ...]:
        """Emit the loops around the tile, one version of the tile for each size of its sides."""
        if not pieces:
            return self.block(nest, plan, vector, sizes, values)
        (loop, ranges), rest = pieces[0], pieces[1:]
        if not ranges:
            body = self.nested(nest, plan, rest, vector, sizes, values)
            return (replace(loop, body=body),)
        result: list[Stmt] = []
        inner, outside = f"{loop.index}.t", f"{loop.index}.o"
        for piece in ranges:
            single = piece.single
            at = affine([(inner, 1)], single) if single is not None else index(outside)
            at = at if single is not None else at + index(inner)
            copies: tuple[Stmt, ...] = ()
            here = nest
            if loop.index == vector:
                copies, here = self.packed(nest, loop, piece.size, plan.lanes, at)
            sizes = {**sizes, loop.index: piece.size}
            body = (
                *copies,
                *self.nested(here, plan, rest, vector, sizes, {**values, loop.index: at}),
            )
            if single is not None:
                result += body
            else:
                result.append(For(outside, piece.start, piece.stop, piece.size, "serial", body))
        return tuple(result)

    def packed(
        self, nest: Nest, loop: For, size: int, lanes: int, at: Affine
    ) -> tuple[tuple[Stmt, ...], Nest]:
        """Copy what a panel of vectors reads into contiguous memory, where its rows lie far apart.

        for j by 64: for i: for k: c[i, j] += a[i, k]*b[N*k + j]
        -->
        for j by 64: p[64*k + j'] = b[N*k + j + j']; for i: for k: c += a[i, k]*p[64*k + j']
        """
        points = 1
        for other in nest.summed:
            points *= other.extent or 0
        again = 1
        for other in nest.kept:
            again *= 1 if other is loop else extent(other)
        copies: list[Stmt] = []
        inner: list[Stmt] = []
        for stmt in nest.inner:
            if not isinstance(stmt, Load) or not points or again < PANEL_REUSE:
                inner.append(stmt)
                continue
            access = stmt.access
            step = (
                min((abs(access.offset.coefficient(f.index)) for f in nest.summed), default=0)
                * SIZE[access.buffer.dtype]
            )
            moves = access.offset.coefficient(loop.index) == 1 and not access.lookups
            alone = not any(f is not loop and access.offset.coefficient(f.index) for f in nest.kept)
            bytes_ = points * size * SIZE[access.buffer.dtype]
            far = step * points > PANEL_SPAN and step % 1024 == 0
            if not (moves and alone and far) or stmt.guards or bytes_ > SCRATCH:
                inner.append(stmt)
                continue
            self.serial += 1
            panel = Buffer(f"p{self.serial}", access.buffer.dtype, points * size, "stack")
            place, factor = index(f"{loop.index}.t"), size
            for other in reversed(nest.summed):
                place = place + index(other.index) * factor
                factor *= other.extent or 1
            symbol = scalar.argument("packed")
            target = Access(panel, place)
            copy = (Load(stmt.name, access), Update(target, symbol, ((symbol, stmt.name),)))
            body = self.vectors(f"{loop.index}.t", size, lanes, moved(copy, {loop.index: at}))
            self.notes.append(f"{access.buffer.name} packed: its rows lie {step} bytes apart")
            copies += [Alloc(panel), *chain(nest.summed, body)]
            inner.append(Load(stmt.name, target))
        return tuple(copies), replace(nest, inner=tuple(inner))

    def block(
        self,
        nest: Nest,
        plan: Plan,
        vector: str | None,
        sizes: dict[str, int],
        values: dict[str, Affine],
    ) -> tuple[Stmt, ...]:
        """One tile: registers opened, summed into, and handed to what follows."""
        lanes = plan.lanes
        inside: list[For] = []
        places: dict[str, int] = {}
        total = 1
        order = [n for n in sizes if n != vector] + ([vector] if vector else [])
        for name in reversed(order):
            places[name] = total
            total *= sizes[name]
        for name in order:
            if name != vector:
                inside.append(For(f"{name}.t", 0, sizes[name], 1, "unrolled", ()))
        offset = affine([(f"{name}.t", place) for name, place in places.items()])

        def widened(buffer: Buffer) -> Buffer:
            assert isinstance(buffer.size, int)
            return replace(buffer, size=buffer.size * total)

        own = {s.buffer.name for s in nest.before if isinstance(s, Alloc)}

        def placed(stmt: Stmt) -> Stmt:
            def access(a: Access) -> Access:
                if a.buffer.name not in own:
                    return a
                return Access(widened(a.buffer), a.offset + offset, a.lookups)

            match stmt:
                case Load():
                    return replace(stmt, access=access(stmt.access))
                case Update():
                    companion = access(stmt.companion) if stmt.companion else None
                    return replace(stmt, target=access(stmt.target), companion=companion)
            return stmt

        def sunk(stmts: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
            """The tile's loops around statements, the vector index as lanes."""
            body = tuple(placed(s) for s in moved(stmts, values))
            if vector is None:
                return chain(inside, body)
            return chain(inside, self.vectors(f"{vector}.t", sizes[vector], lanes, body))

        allocs = tuple(Alloc(widened(s.buffer)) for s in nest.before if isinstance(s, Alloc))
        starts = tuple(s for s in nest.before if isinstance(s, Update))
        shared = tuple(s for s in nest.before if isinstance(s, Load | Let | Check))
        inner = (*needed(shared, nest.inner), *nest.inner)
        opening: tuple[Stmt, ...] = sunk((*needed(shared, starts), *starts))
        closing: tuple[Stmt, ...] = ()
        loops = list(nest.summed)
        if plan.vector is not None and vector is None:
            loop = nest.loop(plan.vector)
            body = tuple(placed(s) for s in moved(inner, values))
            more, spread, closing = self.spread(body, lanes, {}, loop.index, inside)
            opening = (*opening, *more)
            pieces: list[Stmt] = []
            for piece in split(loop, lanes, lanes, True):
                pieces += self.strip_tiled(loop.index, piece, lanes, inside, spread)
            summed = chain(loops[:-1], tuple(pieces))
        else:
            if small(loops[-1], total // lanes if vector else total):
                loops[-1] = replace(loops[-1], kind="unrolled")
            summed = chain(loops, sunk(inner))
        after = sunk((*needed(shared, nest.after), *nest.after))
        return (*allocs, *opening, *summed, *closing, *after)

    def strip_tiled(
        self, name: str, piece: Range, lanes: int, inside: list[For], stmts: tuple[Stmt, ...]
    ) -> tuple[Stmt, ...]:
        """A piece of a summed vector loop around the tile's unrolled loops."""
        lane = f"{name}.v"

        def wrapped(at: Affine, start: Bound, stop: Bound) -> tuple[Stmt, ...]:
            body = moved(stmts, {name: at, f"{name}#": index(lane)})
            return chain([*inside, For(lane, start, stop, lanes, "vector", ())], body)

        single = piece.single
        if single is not None:
            return wrapped(affine([(lane, 1)], single), 0, piece.size)
        if tail(piece):
            return wrapped(index(lane), piece.start, piece.stop)
        outside = f"{name}.o"
        body = wrapped(affine([(outside, 1), (lane, 1)]), 0, lanes)
        return (For(outside, piece.start, piece.stop, lanes, "serial", body),)

    def vectors(
        self, name: str, size: int, lanes: int, stmts: tuple[Stmt, ...]
    ) -> tuple[Stmt, ...]:
        """`size` elements as whole vectors, unrolled, and a short or masked one."""
        whole, rest = divmod(size, lanes)
        result: list[Stmt] = []
        if whole:
            at = affine([(f"{name}.u", lanes), (f"{name}.v", 1)])
            inner = For(f"{name}.v", 0, lanes, lanes, "vector", moved(stmts, {name: at}))
            result.append(For(f"{name}.u", 0, whole, 1, "unrolled", (inner,)))
        if rest:
            at = affine([(f"{name}.v", 1)], whole * lanes)
            step = self.step(rest, lanes)
            result.append(For(f"{name}.v", 0, rest, step, "vector", moved(stmts, {name: at})))
        return tuple(result)


def footprint(access: Access, extents: dict[str, int]) -> int:
    """Bytes that an access touches while some indices run."""
    reach = 1 + sum(abs(c) * (extents[n] - 1) for n, c in access.offset.terms if n in extents)
    points = 1
    for name in access.offset.names:
        points *= extents.get(name, 1)
    return min(reach, points) * SIZE[access.buffer.dtype]


def small(loop: For, accumulators: int) -> bool:
    """Whether an inner loop is short enough to be written out."""
    count = loop.extent
    return count is not None and count <= UNROLL and count * accumulators <= 120


def tail(piece: Range) -> bool:
    """Whether a piece starts where a run-time number of whole tiles ends."""
    return isinstance(piece.start, Runtime)


def moved(stmts: tuple[Stmt, ...], values: dict[str, Affine]) -> tuple[Stmt, ...]:
    """Statements with indices replaced."""
    return tuple(rename(s, values) for s in stmts)


def split(loop: For, size: int, lanes: int, masked: bool) -> list[Range]:
    """Whole tiles of `size`, and what remains."""
    stop = loop.stop
    if isinstance(stop, int):
        whole = stop // size * size
        pieces = []
        if whole:
            pieces.append(Range(0, whole, size))
        if stop > whole:
            pieces.append(Range(whole, stop, stop - whole))
        return pieces
    whole_part = Runtime(stop.name, stop.scale, size)
    return [Range(0, whole_part, size), Range(whole_part, stop, lanes)]


def balanced(loop: For, size: int) -> list[Range]:
    """Tiles of at most `size`, of two neighbouring sizes; one by one at a run-time end."""
    stop = loop.stop
    if not isinstance(stop, int):
        whole = Runtime(stop.name, stop.scale, size)
        return [Range(0, whole, size), Range(whole, stop, 1)]
    count = -(-stop // size)
    small_size, larger = divmod(stop, count)
    pieces = []
    if larger:
        pieces.append(Range(0, larger * (small_size + 1), small_size + 1))
    if larger < count:
        pieces.append(Range(larger * (small_size + 1), stop, small_size))
    return pieces
