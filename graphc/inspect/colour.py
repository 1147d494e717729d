"""Text on a terminal: coloured by what language it is in, plain where it goes into a pipe."""

from __future__ import annotations

from rich.console import Console
from rich.syntax import Syntax
from rich.text import Text

LANGUAGES = {
    "graph": "python",
    "backward": "python",
    "simplified": "python",
    "fused": "python",
    "lowered": "python",
    "loops": "python",
    "llvm": "llvm",
    "asm": "nasm",
    "diff": "diff",
}
"""The highlighter for each stage, and for differences."""


TABLES = frozenset(["memory", "cost", "summary", "diff stages", "bench", "cache"])
"""What has a line of headings above its columns."""


def write(text: str, stage: str = "", *, console: Console | None = None) -> None:
    """Print text; in colour on a terminal, unless NO_COLOR is set. Lines are never broken."""
    console = console or Console()
    language = LANGUAGES.get(stage)
    if not console.is_terminal or console.no_color or not (language or stage in TABLES):
        print(text, file=console.file)
        return
    if language is None:
        console.print(headed(text), soft_wrap=True)
        return
    highlighter = Syntax("", language, theme="ansi_dark", background_color="default")
    console.print(highlighter.highlight(text), soft_wrap=True, end="")


def headed(text: str) -> Text:
    """A table whose headings are bold, and whose remarks are dim."""
    found = Text()
    lines = text.splitlines()
    heading = next((i for i, line in enumerate(lines) if not line.startswith("#")), None)
    for number, line in enumerate(lines):
        style = "bold" if number == heading else "dim" if line.startswith("#") else ""
        found.append(line + ("\n" if number < len(lines) - 1 else ""), style)
    return found
