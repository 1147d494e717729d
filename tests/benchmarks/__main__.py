"""`python -m tests.benchmarks`: time the workloads in every peer and write the report."""

from __future__ import annotations

import argparse
import json
import pkgutil
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.benchmarks import driver, environment, machine, peers, report
from tests.benchmarks.clock import CLOCKS
from tests.benchmarks.process import PeerFailedError, PeerMissingError, Place, Process
from tests.benchmarks.workloads import WORKLOADS, Workload, matching

PEERS = sorted(found.name for found in pkgutil.iter_modules(peers.__path__))


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "--workloads",
        nargs="+",
        default=["*"],
        metavar="NAME",
        help="names or patterns, such as 'train-*'; without it all",
    )
    parser.add_argument(
        "--peers",
        nargs="+",
        choices=PEERS,
        metavar="NAME",
        help=f"of {', '.join(PEERS)}; without it all that can be imported here",
    )
    parser.add_argument("--threads", type=int, choices=(1, 2), default=1)
    parser.add_argument("--isa", choices=sorted(environment.ISA), default="host")
    parser.add_argument("--rounds", type=int, default=driver.Rounds.count)
    parser.add_argument("--seconds", type=float, default=driver.Rounds.seconds, help="a round")
    parser.add_argument(
        "--clock",
        choices=tuple(CLOCKS),
        default=driver.Rounds.clock,
        help="the processor's, for one thread on a machine that others use too",
    )
    parser.add_argument("--list", action="store_true", help="name the workloads and stop")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the report")
    return parser.parse_args(argv)


def selected(patterns: Sequence[str]) -> list[Workload]:
    """The workloads that fit any pattern, in their order. Raises LookupError."""
    names = {workload.name for pattern in patterns for workload in matching(pattern)}
    return [workload for workload in WORKLOADS if workload.name in names]


def available(
    place: Place, asked: Sequence[str] | None, stack: ExitStack
) -> tuple[dict[str, Process], list[str]]:
    """A process for each peer that runs here, and for the others why not.

    A peer that cannot be held to the instruction set is one of the others. Raises
    PeerMissingError for one that was asked for by name.
    """
    found: dict[str, Process] = {}
    missing: list[str] = []
    for peer in asked or PEERS:
        if place.isa != "host" and peer in environment.UNLIMITED:
            missing.append(f"{peer}: no setting limits its instruction set to {place.isa}")
            continue
        try:
            process = Process(peer, place)
        except PeerMissingError as error:
            if asked:
                raise
            missing.append(str(error))
        else:
            found[peer] = stack.enter_context(process)
    return found, missing


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, write. The exit status is 1 if a peer fails or the peers disagree."""
    options = arguments(argv)
    try:
        workloads = selected(options.workloads)
    except LookupError as error:
        print(error, file=sys.stderr)
        return 2
    if options.list:
        print("\n".join(f"{work.name:24} {work.title}" for work in workloads))
        return 0
    if options.clock == "processor" and options.threads > 1:
        print("the processor's clock adds the threads' times up: use it with one", file=sys.stderr)
        return 2
    place = Place(machine.idlest_cores(options.threads), options.isa)
    with ExitStack() as stack:
        try:
            scouts, missing = available(place, options.peers, stack)
        except (PeerMissingError, PeerFailedError) as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
        for reason in missing:
            print(f"left out: {reason}", file=sys.stderr)
        conditions = report.Run(
            threads=options.threads,
            isa=options.isa,
            rounds=driver.Rounds(options.rounds, options.seconds, options.clock),
            machine=machine.describe(),
            when=time.strftime("%Y-%m-%d"),
            command=shlex.join(["python", "-m", "tests.benchmarks", *(argv or sys.argv[1:])]),
            missing=missing,
        )
        results, failed = measure(workloads, scouts, place, conditions, options)
    print(report.summary(results))
    return int(failed)


def measure(
    workloads: Sequence[Workload],
    scouts: Mapping[str, Process],
    place: Place,
    conditions: report.Run,
    options: argparse.Namespace,
) -> tuple[list[report.Result], bool]:
    """Every workload's result, printed and written as soon as it is there; whether one failed."""
    results: list[report.Result] = []
    failed = False
    for workload in workloads:
        try:
            measured = driver.run(workload, scouts, place, conditions.rounds)
        except (driver.DisagreementError, PeerFailedError) as error:
            print(f"FAILED: {error}", file=sys.stderr)
            failed = True
            continue
        failed = failed or measured.failed
        for reason in measured.left_out:
            print(f"left out: {reason}", file=sys.stderr)
        results.append(report.Result(workload, measured))
        print(report.table(results[-1]), end="\n\n", flush=True)
        if options.markdown:
            options.markdown.write_text(report.markdown(results, conditions), "utf-8")
        if options.json:
            found = report.as_json(results, conditions)
            options.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    return results, failed


if __name__ == "__main__":
    sys.exit(main())
