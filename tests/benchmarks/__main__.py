"""`python -m tests.benchmarks`: time the workloads in every peer and write the report."""

from __future__ import annotations

import argparse
import json
import pkgutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks import driver, machine, peers, report
from tests.benchmarks.process import PeerFailedError, PeerMissingError, Process
from tests.benchmarks.workloads import WORKLOADS, named

PEERS = sorted(found.name for found in pkgutil.iter_modules(peers.__path__))


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    names = [workload.name for workload in WORKLOADS]
    parser.add_argument("--workloads", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument(
        "--peers",
        nargs="+",
        choices=PEERS,
        metavar="NAME",
        help=f"of {', '.join(PEERS)}; without it all that can be imported here",
    )
    parser.add_argument("--threads", type=int, choices=(1, 2), default=1)
    parser.add_argument("--rounds", type=int, default=driver.Rounds.count)
    parser.add_argument("--seconds", type=float, default=driver.Rounds.seconds, help="a round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the report")
    return parser.parse_args(argv)


def available(cores: Sequence[int]) -> list[str]:
    """The peers that can be imported here; the others are named on standard error."""
    found = []
    for peer in PEERS:
        try:
            Process(peer, cores).close()
        except PeerMissingError as error:
            print(f"left out: {error}", file=sys.stderr)
        else:
            found.append(peer)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, write. The exit status is 1 if a peer fails or the peers disagree."""
    options = arguments(argv)
    rounds = driver.Rounds(options.rounds, options.seconds)
    cores = machine.idlest_cores(options.threads)
    host = machine.describe()
    when = time.strftime("%Y-%m-%d")
    try:
        chosen = options.peers or available(cores)
        results = []
        for name in options.workloads:
            entries = driver.run(named(name), chosen, cores, rounds)
            difference = driver.agree(named(name), entries)
            results.append(report.Result(named(name), entries, difference))
            print(report.table(results[-1]), end="\n\n", flush=True)
    except (PeerMissingError, PeerFailedError, driver.DisagreementError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    if options.markdown:
        page = report.markdown(results, host, options.threads, rounds, when)
        options.markdown.write_text(page, "utf-8")
    if options.json:
        found = report.as_json(results, host, options.threads, when)
        options.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
