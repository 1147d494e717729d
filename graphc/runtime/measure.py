"""What takes the time of a program's kernels: in a profile, a roofline, a watch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from graphc.errors import CompileError
from graphc.llvm import timed
from graphc.runtime.limits import limits
from graphc.runtime.profile import Profile
from graphc.runtime.profile import profile as profile_of
from graphc.runtime.roofline import Roofline
from graphc.runtime.roofline import roofline as roofline_of
from graphc.runtime.times import Records, Timed, timed_entry
from graphc.runtime.watch import Watch

if TYPE_CHECKING:
    from graphc.runtime.program import Program


def with_times(program: Program) -> Timed:
    """The entry with time stamps. Raises CompileError as `Program.timed` does."""
    if program.loaded is None:
        raise CompileError("the program has no native code here that could be timed")
    if program.stages.key != program.image.key:
        raise CompileError(
            "kernels were tuned, or settings changed, since the program was compiled: compile "
            "it again to take its time"
        )
    return timed_entry(program.stages, program.loaded)


def profile(
    program: Program, inputs: Mapping[str, Any] | Sequence[Any], repeats: int = 50
) -> Profile:
    """The time that each kernel takes inside the step: what `Program.profile` gives."""
    code = program.timed
    by_name = dict(inputs) if isinstance(inputs, Mapping) else {}
    extents = program.signature.extents(by_name)
    given = program.signature.collect(() if isinstance(inputs, Mapping) else tuple(inputs), by_name)
    arrays = program.signature.arrays(given, extents)
    with program.turn() as free:
        free.fit(extents)
        frame = free.frame
        made = frame.point(arrays, extents)
        call = (frame.table, frame.sizes, frame.context)
        threads = int(frame.context[2]) or 1
        found = profile_of(program.stages, code, call, extents, threads, repeats)
        outcome = frame.context[0]
        del made
    if found is None:
        program.refuse(outcome, arrays, extents)
    return found


def roofline(
    program: Program,
    inputs: Mapping[str, Any] | Sequence[Any],
    repeats: int = 50,
    measure: bool = False,
) -> Roofline:
    """The same beside what this machine can do at most: what `Program.roofline` gives."""
    found = profile(program, inputs, repeats)
    return roofline_of(program.stages, found, limits(found.threads, measure=measure))


def watch(program: Program) -> Watch:
    """Have all calls take their kernels' time until the watch is stopped."""
    stages, code = program.stages, program.timed
    with program.lock:
        if program.records is None:
            program.records = Records(code.parts, program.threads)
        program.watches += 1
        if program.watches == 1:
            program.frame.context[timed.TIMES] = program.records.address
            program.connect(code.loaded)
        records = program.records
    return Watch(stages, code, records, lambda: program.known or {}, lambda: unwatch(program))


def unwatch(program: Program) -> None:
    """Calls take no time any more, once the last watch is stopped.

    The records stay: a call from another thread may be on its way to them.
    """
    with program.lock:
        program.watches -= 1
        if not program.watches:
            program.connect(program.loaded)
