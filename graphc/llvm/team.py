"""The team of threads as LLVM text: one launch a call, barriers inside, waiting threads asleep.

A team is a block of words in memory. The calling thread is number 0; the others wait in `worker`
for the next job. Whoever waits first spins for a few microseconds and then sleeps in the kernel
(a futex), so that a busy machine is not kept busier. A launch that finds the team at work, as from
another thread of Python, runs its job alone: what is computed does not depend on it.
"""

from __future__ import annotations

BARRIER_NAME, LAUNCH_NAME = "@team.barrier(", "@team.launch("
DECLARED = {
    BARRIER_NAME: "declare hidden void @team.barrier(ptr, i64)",
    LAUNCH_NAME: "declare hidden i1 @team.launch(ptr, i64, ptr, ptr, ptr, ptr)",
    "@team.own(": "declare hidden { i64, i64 } @team.own(i64, i64, i64)",
    "@team.more(": "declare hidden { i64, i64 } @team.more(ptr, i64, i64, i64)",
}
"""What a part of a program declares whose text has these calls: of a kernel's, or of the entry."""
OWN, EIGHTHS = 5, 8
"""The part of its share of a loop that a thread does whatever the others do;"""
PIECES = 6
"""the rest of each share is cut into so many pieces, for whoever comes first."""
SPIN = 2000
"""Looks at a word, with a pause between, before a thread goes to sleep."""
FUTEX = {"x86_64": 202, "aarch64": 98}
"""The number of Linux's system call."""
PAUSE = {
    "x86_64": ("declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"),
    "aarch64": ("declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)"),
}
"""Intrinsics that give way to the core's other thread: a declaration and a call."""
JOB, ASLEEP, READY, BUSY, ARRIVED, TURN, WAITING = 0, 4, 8, 64, 128, 192, 196
"""Byte offsets in the block: the job's number, who sleeps for it, who waits for the first, whether
a launch is under way; who has come to the barrier, its number, who sleeps for it."""
WORK = 256
"""Offset of the job itself: function, table, extents, context, number of threads."""
TAKEN = 384
"""Offset of how many pieces of shared loops have been taken in this job."""
BLOCK, LINE = 512, 64
"""Bytes of the block. Behind it each thread has a line with how many pieces the loops had that it
has left behind."""
WORKER_NAME = "graphc_worker"

BARRIER = """
define internal void @team.wait(ptr %word, ptr %asleep, i32 %old) #0 {{
entry:
  br label %spin
spin:
  %k = phi i32 [ 0, %entry ], [ %k.next, %again ]
  %now = load atomic i32, ptr %word acquire, align 4
  %new = icmp ne i32 %now, %old
  br i1 %new, label %done, label %again
again:
  {pause}
  %k.next = add i32 %k, 1
  %more = icmp ult i32 %k.next, {spin}
  br i1 %more, label %spin, label %sleepy
sleepy:
  %a = atomicrmw add ptr %asleep, i32 1 seq_cst
  br label %look
look:
  %seen = load atomic i32, ptr %word seq_cst, align 4
  %come = icmp ne i32 %seen, %old
  br i1 %come, label %awake, label %sleep
sleep:
  %s = call i64 (i64, ...) @syscall(
      i64 {futex}, ptr %word, i64 128, i32 %old, i64 0, i64 0, i64 0)
  br label %look
awake:
  %b = atomicrmw sub ptr %asleep, i32 1 seq_cst
  br label %done
done:
  ret void
}}

define internal void @team.signal(ptr %word, ptr %asleep) #0 {{
entry:
  %a = atomicrmw add ptr %word, i32 1 seq_cst
  %n = load atomic i32, ptr %asleep seq_cst, align 4
  %any = icmp ne i32 %n, 0
  br i1 %any, label %wake, label %done
wake:
  %s = call i64 (i64, ...) @syscall(
      i64 {futex}, ptr %word, i64 129, i64 2147483647, i64 0, i64 0, i64 0)
  br label %done
done:
  ret void
}}

define hidden void @team.barrier(ptr %team, i64 %threads) #0 {{
entry:
  %alone = icmp ule i64 %threads, 1
  br i1 %alone, label %done, label %several
several:
  %arrived = getelementptr i8, ptr %team, i64 {arrived}
  %turn = getelementptr i8, ptr %team, i64 {turn}
  %waiting = getelementptr i8, ptr %team, i64 {waiting}
  %old = load atomic i32, ptr %turn acquire, align 4
  %before = atomicrmw add ptr %arrived, i32 1 acq_rel
  %count = add i32 %before, 1
  %all = trunc i64 %threads to i32
  %last = icmp eq i32 %count, %all
  br i1 %last, label %open, label %wait
open:
  store atomic i32 0, ptr %arrived monotonic, align 4
  call void @team.signal(ptr %turn, ptr %waiting)
  br label %done
wait:
  call void @team.wait(ptr %turn, ptr %waiting, i32 %old)
  br label %done
done:
  ret void
}}
"""

SHARES = """
define hidden {{ i64, i64 }} @team.own(i64 %thread, i64 %threads, i64 %steps) #0 {{
entry:
  %next = add i64 %thread, 1
  %low = call i64 @team.edge(i64 %thread, i64 %threads, i64 %steps)
  %high = call i64 @team.edge(i64 %next, i64 %threads, i64 %steps)
  %share = sub i64 %high, %low
  %some = mul i64 %share, {own}
  %part = udiv i64 %some, {eighths}
  %alone = icmp ule i64 %threads, 1
  %own = select i1 %alone, i64 %share, i64 %part
  %end = add i64 %low, %own
  %a = insertvalue {{ i64, i64 }} poison, i64 %low, 0
  %b = insertvalue {{ i64, i64 }} %a, i64 %end, 1
  ret {{ i64, i64 }} %b
}}

define internal i64 @team.edge(i64 %number, i64 %threads, i64 %steps) #0 {{
entry:
  %product = mul i64 %number, %steps
  %edge = udiv i64 %product, %threads
  ret i64 %edge
}}

define internal ptr @team.mark(ptr %team, i64 %thread) #0 {{
entry:
  %line = mul i64 %thread, {line}
  %offset = add i64 %line, {block}
  %mark = getelementptr i8, ptr %team, i64 %offset
  ret ptr %mark
}}

define hidden {{ i64, i64 }} @team.more(
    ptr %team, i64 %thread, i64 %threads, i64 %steps) #0 {{
entry:
  %alone = icmp ule i64 %threads, 1
  br i1 %alone, label %none, label %several
several:
  %mark = call ptr @team.mark(ptr %team, i64 %thread)
  %before = load i64, ptr %mark, align 8
  %pieces = mul i64 %threads, {pieces}
  %all = add i64 %before, %pieces
  %taken = getelementptr i8, ptr %team, i64 {taken}
  %first = load atomic i64, ptr %taken monotonic, align 8
  br label %look
look:
  %now = phi i64 [ %first, %several ], [ %other, %take ]
  %left = icmp slt i64 %now, %all
  br i1 %left, label %take, label %over
take:
  %then = add i64 %now, 1
  %swap = cmpxchg ptr %taken, i64 %now, i64 %then monotonic monotonic
  %other = extractvalue {{ i64, i1 }} %swap, 0
  %mine = extractvalue {{ i64, i1 }} %swap, 1
  br i1 %mine, label %got, label %look
got:
  %piece = sub i64 %now, %before
  %whose = urem i64 %piece, %threads
  %at = udiv i64 %piece, %threads
  %to = add i64 %at, 1
  %own = call {{ i64, i64 }} @team.own(i64 %whose, i64 %threads, i64 %steps)
  %low = extractvalue {{ i64, i64 }} %own, 1
  %next = add i64 %whose, 1
  %high = call i64 @team.edge(i64 %next, i64 %threads, i64 %steps)
  %rest = sub i64 %high, %low
  %from.in = call i64 @team.edge(i64 %at, i64 {pieces}, i64 %rest)
  %to.in = call i64 @team.edge(i64 %to, i64 {pieces}, i64 %rest)
  %from = add i64 %low, %from.in
  %end = add i64 %low, %to.in
  %a = insertvalue {{ i64, i64 }} poison, i64 %from, 0
  %b = insertvalue {{ i64, i64 }} %a, i64 %end, 1
  ret {{ i64, i64 }} %b
over:
  store i64 %all, ptr %mark, align 8
  br label %none
none:
  ret {{ i64, i64 }} {{ i64 -1, i64 -1 }}
}}
"""

LAUNCH = """
define hidden i1 @team.launch(
    ptr %team, i64 %threads, ptr %steps, ptr %table, ptr %extents, ptr %context) #0 {{
entry:
  %busy = getelementptr i8, ptr %team, i64 {busy}
  %taken = cmpxchg ptr %busy, i32 0, i32 1 acq_rel monotonic
  %free = extractvalue {{ i32, i1 }} %taken, 1
  br i1 %free, label %go, label %refused
go:
  %work = getelementptr i8, ptr %team, i64 {work}
  store ptr %steps, ptr %work, align 8
  %w1 = getelementptr ptr, ptr %work, i64 1
  store ptr %table, ptr %w1, align 8
  %w2 = getelementptr ptr, ptr %work, i64 2
  store ptr %extents, ptr %w2, align 8
  %w3 = getelementptr ptr, ptr %work, i64 3
  store ptr %context, ptr %w3, align 8
  %w4 = getelementptr ptr, ptr %work, i64 4
  store i64 %threads, ptr %w4, align 8
  %pieces = getelementptr i8, ptr %team, i64 {taken}
  store atomic i64 0, ptr %pieces monotonic, align 8
  %mark = getelementptr i8, ptr %team, i64 {block}
  store i64 0, ptr %mark, align 8
  %asleep = getelementptr i8, ptr %team, i64 {asleep}
  call void @team.signal(ptr %team, ptr %asleep)
  call void %steps(ptr %table, ptr %extents, ptr %context, i64 0, i64 %threads, ptr %team)
  call void @team.barrier(ptr %team, i64 %threads)
  store atomic i32 0, ptr %busy release, align 4
  ret i1 true
refused:
  ret i1 false
}}
"""

WORKER = """
define void @{worker}(ptr %team, i64 %number) #0 {{
entry:
  %asleep = getelementptr i8, ptr %team, i64 {asleep}
  %work = getelementptr i8, ptr %team, i64 {work}
  %w1 = getelementptr ptr, ptr %work, i64 1
  %w2 = getelementptr ptr, ptr %work, i64 2
  %w3 = getelementptr ptr, ptr %work, i64 3
  %w4 = getelementptr ptr, ptr %work, i64 4
  %ready = getelementptr i8, ptr %team, i64 {ready}
  %r = atomicrmw add ptr %ready, i32 1 seq_cst
  br label %next
next:
  %seen = phi i32 [ 0, %entry ], [ %job, %run ]
  call void @team.wait(ptr %team, ptr %asleep, i32 %seen)
  %job = load atomic i32, ptr %team acquire, align 4
  %steps = load ptr, ptr %work, align 8
  %stop = icmp eq ptr %steps, null
  br i1 %stop, label %done, label %run
run:
  %table = load ptr, ptr %w1, align 8
  %extents = load ptr, ptr %w2, align 8
  %context = load ptr, ptr %w3, align 8
  %threads = load i64, ptr %w4, align 8
  %mark = call ptr @team.mark(ptr %team, i64 %number)
  store i64 0, ptr %mark, align 8
  call void %steps(ptr %table, ptr %extents, ptr %context, i64 %number, i64 %threads, ptr %team)
  call void @team.barrier(ptr %team, i64 %threads)
  br label %next
done:
  ret void
}}
"""


def architecture(triple: str) -> str | None:
    """The processor's family in a triple of Linux; None where there is no team."""
    family = triple.partition("-")[0]
    return family if "linux" in triple and family in FUTEX else None


def declarations(triple: str) -> list[str]:
    """What a module that has the functions below must declare."""
    family = architecture(triple)
    assert family is not None
    return [PAUSE[family][0], "declare i64 @syscall(i64, ...)"]


def functions(triple: str) -> str:
    """Barrier, shares and launch, for a module whose kernels share their work."""
    return filled(BARRIER + SHARES + LAUNCH, triple)


def worker(triple: str) -> str:
    """What every thread of a team but the first runs, once for all."""
    return filled(BARRIER + SHARES + WORKER, triple)


def filled(text: str, triple: str) -> str:
    """A text with its numbers."""
    family = architecture(triple)
    assert family is not None
    return text.format(
        pause=PAUSE[family][1],
        futex=FUTEX[family],
        spin=SPIN,
        arrived=ARRIVED,
        turn=TURN,
        waiting=WAITING,
        busy=BUSY,
        work=WORK,
        asleep=ASLEEP,
        ready=READY,
        taken=TAKEN,
        block=BLOCK,
        line=LINE,
        own=OWN,
        eighths=EIGHTHS,
        pieces=PIECES,
        worker=WORKER_NAME,
    ).strip()
