"""`graphc cache`: what lies in the object cache, how large it is, and clearing it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from typing import Any

import click

from graphc import cache as kept
from graphc.errors import InputError, WriteError
from graphc.graph.show import aligned
from graphc.inspect.colour import write
from graphc.inspect.host import kind_of

HEADER = ("kind", "bytes", "age", "name")
NAME = 12
"""Letters of a name that are shown; with --json it is whole."""

JSON = click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")


@click.group(invoke_without_command=True, short_help="List, size up or clear what is kept on disk.")
@click.pass_context
def cache(context: click.Context) -> None:
    """Look at the cache of compiled code, or clear it. Without a verb, list it.

    Object code, the images of programs, what was derived, and what tuning has found are kept in
    GRAPHC_CACHE_DIR, else in $XDG_CACHE_HOME/graphc, else in ~/.cache/graphc.

    \b
    Examples:
      graphc cache list
      graphc cache size --json
      graphc cache clear --yes
    """
    if context.invoked_subcommand is None:
        context.invoke(listing)


@cache.command("list", short_help="Every entry, the newest first.")
@JSON
def listing(as_json: bool = False) -> None:
    """List every entry, the newest first: its kind, size, age and name.

    \b
    Example:
      graphc cache list --json
    """
    found = entries()
    if as_json:
        click.echo(json.dumps(found, indent=2))
    elif not found:
        write("the cache is empty")
    else:
        rows = [(e["kind"], f"{e['bytes']:,}", age(e["age"]), e["key"][:NAME]) for e in found]
        write("\n".join(aligned([HEADER, *rows], right=(1, 2))), "cache")


@cache.command(short_help="How much there is of each kind.")
@JSON
def size(as_json: bool) -> None:
    """Sum up the entries of each kind.

    \b
    Example:
      graphc cache size
    """
    found = entries()
    kinds = {kind: summed(found, kind) for kind in dict.fromkeys(e["kind"] for e in found)}
    total = {"entries": len(found), "bytes": sum(e["bytes"] for e in found)}
    if as_json:
        click.echo(json.dumps({"folder": folder(), "kinds": kinds, "total": total}, indent=2))
        return
    rows = [(k, f"{v['entries']:,}", f"{v['bytes']:,}") for k, v in {**kinds, "all": total}.items()]
    write("\n".join([folder(), *aligned([("kind", "entries", "bytes"), *rows], right=(1, 2))]))


@cache.command(short_help="Delete every entry.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@JSON
def clear(yes: bool, as_json: bool) -> None:
    """Delete every entry, what tuning has found among them. Other files are left alone.

    Programs that run go on; what is compiled afterwards is compiled anew. Without --yes it asks,
    and where nobody can answer it refuses.

    \b
    Example:
      graphc cache clear --yes
    """
    found = entries()
    if found and not yes:
        if not sys.stdin.isatty():
            raise InputError(f"this deletes {len(found)} entries: say so with --yes")
        whole = sum(entry["bytes"] for entry in found)
        click.confirm(f"Delete {len(found)} entries, {whole:,} bytes, of {folder()}?", abort=True)
    gone = kept.clear()
    left = len(found) - len(gone)
    if left > 0:
        raise WriteError(f"{left} of {len(found)} entries of {folder()} cannot be deleted")
    done = {"deleted": len(gone), "bytes": sum(entry.size for entry in gone)}
    if as_json:
        click.echo(json.dumps(done, indent=2))
    else:
        write(f"deleted {done['deleted']} entries, {done['bytes']:,} bytes")


def folder() -> str:
    """The cache's folder. Raises InputError where there is none, or it is not ours alone."""
    found = kept.folder()
    if found is None:
        raise InputError('the cache is off: GRAPHC_CACHE_DIR is "off"')
    if found.exists() and not kept.trusted(found):
        raise InputError(f"{found} is not used: others may write there, or it is not yours")
    return str(found)


def entries() -> list[dict[str, Any]]:
    """The entries as plain data. Raises InputError as `folder` does."""
    folder()
    now = time.time()
    return [
        {
            "kind": kind_of(entry),
            "bytes": entry.size,
            "age": round(max(now - entry.written, 0.0), 1),
            "key": entry.path.name.removesuffix(".o"),
            "path": str(entry.path),
        }
        for entry in kept.entries()
    ]


def summed(found: Iterable[dict[str, Any]], kind: str) -> dict[str, int]:
    """The number of entries of a kind, and their bytes."""
    sizes = [entry["bytes"] for entry in found if entry["kind"] == kind]
    return {"entries": len(sizes), "bytes": sum(sizes)}


def age(seconds: float) -> str:
    """Seconds in the largest unit that leaves a whole number."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"
