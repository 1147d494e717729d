"""Text on a terminal: coloured by what language it is in, plain where it goes into a pipe."""

from __future__ import annotations

from rich.console import Console
from rich.syntax import Syntax

LANGUAGES = {
    "graph": "python",
    "backward": "python",
    "simplified": "python",
    "fused": "python",
    "lowered": "python",
    "loops": "python",
    "llvm": "llvm",
    "asm": "nasm",
}
"""The highlighter for each stage; the others are tables."""


def write(text: str, stage: str = "", *, console: Console | None = None) -> None:
    """Print text; in colour on a terminal, unless NO_COLOR is set. Lines are never broken."""
    console = console or Console()
    language = LANGUAGES.get(stage)
    if language is None or not console.is_terminal or console.no_color:
        print(text, file=console.file)
        return
    highlighter = Syntax("", language, theme="ansi_dark", background_color="default")
    console.print(highlighter.highlight(text), soft_wrap=True, end="")
