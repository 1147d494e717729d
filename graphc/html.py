"""Tables for notebooks: rows of text as escaped HTML that is light to show, in light and dark."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape

MOST = 90_000
"""Characters of a table: what goes beyond is left out, and said."""
TABLE = "border-collapse:collapse;font-variant-numeric:tabular-nums"
CELL = "padding:0.15em 0.8em;border-bottom:1px solid rgba(128,128,128,0.3);white-space:pre"
WIDE, HIGH = 160, 32


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    caption: str = "",
    right: Collection[int] = (),
    curves: Mapping[int, Sequence[float]] | None = None,
    everything: str = "",
) -> str:
    """Rows of plain text as a table; the columns in `right` are set to the right.

    Rows beyond MOST characters are left out; the last line says so, and how to see `everything`.
    `curves` are numbers to be drawn above the columns of some positions. Colours are those of the
    page. All text is escaped.
    """
    aligned = ["right" if i in right else "left" for i in range(len(header))]
    drawn = [curve((curves or {}).get(i, ()), name) for i, name in enumerate(header)]
    body, size, left = [], sum(map(len, drawn)), 0
    for row in rows:
        line = f"<tr>{cells('td', row, aligned)}</tr>"
        size += len(line)
        if size > MOST:
            left += 1
        else:
            body.append(line)
    return (
        f'<table style="{TABLE}">'
        + (f'<caption style="text-align:left">{escape(caption)}</caption>' if caption else "")
        + "<thead>"
        + (f"<tr>{''.join(f'<td>{svg}</td>' for svg in drawn)}</tr>" if any(drawn) else "")
        + f"<tr>{cells('th', header, aligned)}</tr></thead>"
        + f"<tbody>{''.join(body)}</tbody></table>"
        + (f"<div>{escape(cut(left, everything))}</div>" if left else "")
    )


def cells(kind: str, row: Sequence[str], aligned: Sequence[str]) -> str:
    """The cells of a row."""
    return "".join(
        f'<{kind} style="{CELL};text-align:{side}">{escape(cell)}</{kind}>'
        for cell, side in zip(row, aligned, strict=False)
    )


def text(lines: str, everything: str = "") -> str:
    """Lines of text as they are, in letters of one width; cut as a table is."""
    shown, size = [], 0
    found = lines.splitlines()
    for line in found:
        size += len(escape(line)) + 1
        if size > MOST:
            break
        shown.append(escape(line))
    left = len(found) - len(shown)
    said = f"<div>{escape(cut(left, everything))}</div>" if left else ""
    return f'<pre style="background:none">{chr(10).join(shown)}</pre>{said}'


def cut(left: int, everything: str) -> str:
    """What is said where something was left out."""
    return f"… {left:,} more" + (f"; {everything} shows all" if everything else "")


def curve(values: Sequence[float], name: str) -> str:
    """Finite numbers as a small line from left to right, an SVG picture of one stroke."""
    finite = [value for value in values if abs(value) < float("inf")]
    if len(finite) < 2:
        return ""
    low, span = min(finite), (max(finite) - min(finite)) or 1.0
    step = WIDE / (len(values) - 1)
    points = " ".join(
        f"{i * step:.1f},{2 + (HIGH - 4) * (1 - (value - low) / span):.1f}"
        for i, value in thinned(values)
        if abs(value) < float("inf")
    )
    return (
        f'<svg width="{WIDE}" height="{HIGH}" role="img" aria-label="{escape(name)}">'
        f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.5"/></svg>'
    )


def thinned(values: Sequence[float]) -> list[tuple[int, float]]:
    """At most two points for each pixel of a curve, the last one among them."""
    every = max(1, len(values) // WIDE)
    found = list(enumerate(values))
    return found[::every] + (found[-1:] if (len(found) - 1) % every else [])
