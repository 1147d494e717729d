"""The entry with time stamps, as LLVM text: the same kernels, called at their addresses.

The word TIMES of the context holds the address of a block of words: the bytes of a thread's record,
how many steps a record keeps, and from HEAD on a record for each thread. A record's words are the
steps that were made; for each part of a step the ticks that it took in all; and for each of the
last steps a row: when each part began, when the step was done, when each shared part ended. A part
is a kernel, or the copies that follow the kernels. It lasts until the next one begins, so that the
first thread's wait for the others belongs to the part that it waits for.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.llvm.engine import module_text
from graphc.llvm.module import ENTRY_NAME, TOGETHER, around, shares
from graphc.llvm.steps import Call, Ending, Steps
from graphc.llvm.targets import Target

TIMES = 4
"""The word of the context that holds the block's address."""
HEAD = 8
"""Words of the block before the records."""
ROUNDS_NAME, TICKS_NAME, STAMPS_NAME = "entry_rounds", "entry_ticks", "entry_stamps"
COUNTERS = ("x86_64", "i686", "amd64")
"""Processors whose cycle counter runs at one rate and can be read by any program."""
STEADY = """define i64 @entry_ticks() #0 {
entry:
  %time = alloca [2 x i64], align 8
  %outcome = call i32 @clock_gettime(i32 1, ptr %time)
  %whole = load i64, ptr %time, align 8
  %rest.at = getelementptr i64, ptr %time, i64 1
  %rest = load i64, ptr %rest.at, align 8
  %nanoseconds = mul i64 %whole, 1000000000
  %ticks = add i64 %nanoseconds, %rest
  ret i64 %ticks
}"""
CYCLES = """define i64 @entry_ticks() #0 {
entry:
  %ticks = call i64 @llvm.readcyclecounter()
  ret i64 %ticks
}"""
ROUNDS = """define i64 @entry_rounds(
    ptr %plain, ptr %table, ptr %extents, ptr %context, i64 %rounds, ptr %out) #0 {
entry:
  br label %round
round:
  %k = phi i64 [ 0, %entry ], [ %k.next, %kept ]
  %more = icmp slt i64 %k, %rounds
  br i1 %more, label %run, label %done
run:
  %t0 = call i64 @entry_ticks()
  %code = call i64 %plain(ptr %table, ptr %extents, ptr %context)
  %t1 = call i64 @entry_ticks()
  %refused = icmp ne i64 %code, 0
  br i1 %refused, label %done, label %timed
timed:
  %same = call i64 @entry(ptr %table, ptr %extents, ptr %context)
  %t2 = call i64 @entry_ticks()
  %first = shl i64 %k, 1
  %plain.at = getelementptr i64, ptr %out, i64 %first
  %timed.at = getelementptr i64, ptr %plain.at, i64 1
  %took = sub i64 %t1, %t0
  %took.timed = sub i64 %t2, %t1
  store i64 %took, ptr %plain.at, align 8
  store i64 %took.timed, ptr %timed.at, align 8
  %failed = icmp ne i64 %same, 0
  br i1 %failed, label %done, label %kept
kept:
  %k.next = add i64 %k, 1
  br label %round
done:
  ret i64 %k
}"""
"""Rounds of a step without stamps and one with them: how long each took, and how many were made."""
STAMPS = """define void @entry_stamps(i64 %count, ptr %place) #0 {
entry:
  br label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %k.next, %loop ]
  %now = call i64 COUNTER
  store volatile i64 %now, ptr %place, align 8
  %k.next = add i64 %k, 1
  %more = icmp slt i64 %k.next, %count
  br i1 %more, label %loop, label %done
done:
  ret void
}"""
"""Time stamps and nothing between them: the most that one makes a part of a step longer."""
ALONE = """define i64 @entry(ptr %table, ptr %extents, ptr %context) #0 {
entry:
  call void @steps.alone(ptr %table, ptr %extents, ptr %context, i64 0, i64 1, ptr null)
  %code = load i64, ptr %context, align 8
  ret i64 %code
}"""


def parts(calls: Sequence[Call], ending: Ending) -> int:
    """How many parts of a step are timed."""
    return len(calls) + bool(ending.copies)


def row_words(count: int) -> int:
    """Words of a row of so many parts."""
    return 2 * count + 1


def record_words(count: int, depth: int) -> int:
    """Words of a thread's record that keeps `depth` steps of so many parts."""
    return 1 + count + depth * row_words(count)


def emit(
    calls: Sequence[Call],
    places: Sequence[int],
    ending: Ending,
    extents: tuple[str, ...],
    target: Target,
) -> str:
    """The module's text. `places` are the kernels' addresses."""
    together, count = shares(calls, target), parts(calls, ending)
    names = [f"inttoptr (i64 {place} to ptr)" for place in places]
    entry = {}
    for several, name in [(False, "steps.alone"), *([(True, "steps")] if together else [])]:
        steps = Steps(extents, several, name=name, stamps=TimeStamps(count, several, target))
        steps.all(calls, names, ending)
        entry[name] = steps.text()
    entry[ENTRY_NAME] = (
        TOGETHER.replace("void @steps(", "void @steps.alone(") if together else ALONE
    )
    needs = around(entry, together, ending, extents, target)
    entry |= {TICKS_NAME: CYCLES if cycles(target) else STEADY, ROUNDS_NAME: ROUNDS}
    entry[STAMPS_NAME] = STAMPS.replace("COUNTER", counter(target))
    needs.add(
        "declare i64 @llvm.readcyclecounter()"
        if cycles(target)
        else "declare i32 @clock_gettime(i32, ptr)"
    )
    return module_text(target, ["\n".join(sorted(needs)), *entry.values()])


def cycles(target: Target) -> bool:
    """Whether the processor's own counter is read; else the system's steady clock, nanoseconds."""
    return target.triple.partition("-")[0] in COUNTERS


def counter(target: Target) -> str:
    """The function that tells the time, as it is called."""
    return "@llvm.readcyclecounter()" if cycles(target) else f"@{TICKS_NAME}()"


class TimeStamps:
    """The lines that a step with time stamps has beside its calls."""

    def __init__(self, count: int, together: bool, target: Target) -> None:
        self.count, self.together = count, together
        self.counter = counter(target)

    def start(self) -> list[str]:
        """Find the thread's record, and its row for this step."""
        return [
            f"  %times.at = getelementptr i64, ptr %context, i64 {TIMES}",
            "  %times = load ptr, ptr %times.at, align 8",
            "  %stride = load i64, ptr %times, align 8",
            "  %depth.at = getelementptr i64, ptr %times, i64 1",
            "  %depth = load i64, ptr %depth.at, align 8",
            f"  %records = getelementptr i64, ptr %times, i64 {HEAD}",
            "  %skipped = mul i64 %thread, %stride",
            "  %record = getelementptr i8, ptr %records, i64 %skipped",
            "  %made = load i64, ptr %record, align 8",
            "  %turn = urem i64 %made, %depth",
            f"  %row.words = mul i64 %turn, {row_words(self.count)}",
            f"  %row.first = add i64 %row.words, {1 + self.count}",
            "  %row = getelementptr i64, ptr %record, i64 %row.first",
        ]

    def begin(self, number: int) -> list[str]:
        """A part begins."""
        return self.stamp(f"begin{number}", number)

    def end(self, number: int) -> list[str]:
        """A shared part ends for this thread, where there may be several."""
        return self.stamp(f"end{number}", self.count + 1 + number) if self.together else []

    def stamp(self, name: str, word: int) -> list[str]:
        """The counter, in a word of the row."""
        return [
            f"  %{name} = call i64 {self.counter}",
            f"  %{name}.at = getelementptr i64, ptr %row, i64 {word}",
            f"  store i64 %{name}, ptr %{name}.at, align 8",
        ]

    def stop(self) -> list[str]:
        """The step is done: the first thread adds up what its parts took."""
        lines = [
            "  %made.now = add i64 %made, 1",
            "  store i64 %made.now, ptr %record, align 8",
        ]
        if self.together:
            lines += ["  br i1 %first, label %sums, label %over", "sums:"]
        lines += self.stamp("finish", self.count)
        for number in range(self.count):
            for word, place in (("from", number), ("to", number + 1)):
                lines.append(f"  %{word}{number}.at = getelementptr i64, ptr %row, i64 {place}")
                lines.append(f"  %{word}{number} = load i64, ptr %{word}{number}.at, align 8")
            lines += [
                f"  %took{number} = sub i64 %to{number}, %from{number}",
                f"  %sum{number}.at = getelementptr i64, ptr %record, i64 {1 + number}",
                f"  %sum{number} = load i64, ptr %sum{number}.at, align 8",
                f"  %sum{number}.now = add i64 %sum{number}, %took{number}",
                f"  store i64 %sum{number}.now, ptr %sum{number}.at, align 8",
            ]
        return [*lines, *(["  br label %over", "over:"] if self.together else [])]
