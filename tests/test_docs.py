"""The README and the pages of docs/: every block of Python in them runs, and prints what it says.

The ```python blocks of a page run in order in one namespace, as if they were one file. A block with
`>>>` is a doctest, in which `...` stands for any text; any other block is executed. Commands in
console blocks are run, and what they print is compared in the same way.
"""

from __future__ import annotations

import doctest
import gc
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from graphc import ops
from graphc.cli import main
from tests import cases, test_contract

ROOT = Path(__file__).parent.parent
PAGES = (
    "README.md",
    "docs/architecture.md",
    "docs/adding_an_op.md",
    "docs/performance.md",
    "docs/profiles.md",
    "docs/profiling.md",
    "docs/tuning.md",
    "docs/command_line.md",
    "docs/lecture.md",
    "docs/looking_inside.md",
    "docs/live.md",
)
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.FAIL_FAST


@dataclass(frozen=True)
class Block:
    """One fenced block of Python: its text, and the number of the line before it."""

    text: str
    above: int


def blocks(text: str) -> Iterator[Block]:
    """The blocks of a page, in order."""
    for found in FENCE.finditer(text):
        yield Block(found[1], text.count("\n", 0, found.start(1)))


def run(block: Block, name: str, space: dict[str, Any]) -> None:
    """Run a block in a namespace. Raises AssertionError with the lines that printed otherwise."""
    if ">>>" not in block.text:
        exec(compile("\n" * block.above + block.text, name, "exec"), space)
        return
    test = doctest.DocTestParser().get_doctest(block.text, space, name, name, block.above)
    report: list[str] = []
    failed, _ = doctest.DocTestRunner(optionflags=OPTIONS).run(
        test, out=report.append, clear_globs=False
    )
    assert not failed, "".join(report)
    space.update(test.globs)


def executed(page: str) -> dict[str, Any]:
    """The namespace that a page's blocks leave behind."""
    space: dict[str, Any] = {"__name__": "__page__"}
    for block in blocks((ROOT / page).read_text("utf-8")):
        run(block, Path(page).name, space)
    return space


@pytest.mark.parametrize("page", PAGES)
def test_every_block_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert executed(page).keys() - {"__name__", "__builtins__"}, f"{page} has no block of Python"


def commands(text: str) -> list[tuple[str, str]]:
    """The commands of a page's console blocks, each a line after "$ ", and what they print."""
    found = []
    for block in CONSOLE.findall(text):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, _, output = part.partition("\n")
            found.append((line, output))
    return found


@pytest.mark.parametrize(
    ("line", "output"),
    [
        pair
        for page in ("docs/command_line.md", "docs/looking_inside.md")
        for pair in commands((ROOT / page).read_text("utf-8"))
    ],
)
def test_commands_print_what_the_page_says(
    line: str, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run from the root of the repository, settings before the command; `...` is any text."""
    monkeypatch.chdir(ROOT)
    words = shlex.split(line)
    while "=" in words[0]:
        monkeypatch.setenv(*words.pop(0).split("=", 1))
    assert words[0] == "graphc"
    gc.collect()  # equal nodes are one node: of a page's, should they linger, the lines would show
    result = CliRunner().invoke(main, words[1:])
    assert result.exit_code in (0, 1), result.stderr
    checker = doctest.OutputChecker()
    assert checker.check_output(output, result.stdout, OPTIONS), result.stdout


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    here = ROOT / page
    links = [link for link in LINK.findall(here.read_text("utf-8")) if "://" not in link]
    missing = [link for link in links if not (here.parent / link).exists()]
    assert not missing


def test_readme_is_about_one_screen() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 80


def test_decisions_have_the_form() -> None:
    pages = sorted((ROOT / "docs/decisions").glob("*.md"))
    numbers = [page.name[:4] for page in pages]
    assert len(set(numbers)) == len(numbers) and all(n.isdigit() for n in numbers)
    for page in pages:
        headings = re.findall(r"^#+ .*$", page.read_text("utf-8"), re.MULTILINE)
        assert headings[0].startswith(f"# {page.name[:4]}: "), page.name
        assert headings[1:] == ["## Context", "## Decision", "## Consequence"], page.name


# --- the op that docs/adding_an_op.md adds --------------------------------------------------


@pytest.fixture
def page_op(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """The op of the page as one of the dictionary, its cases as the only ones."""
    monkeypatch.chdir(tmp_path)
    op = executed("docs/adding_an_op.md")["snake"]
    monkeypatch.setattr(ops, op.name, op, raising=False)
    monkeypatch.setattr(cases, "CASES", [])
    cases.unary(op.name)
    cases.unary(op.name, attributes={"a": 3})
    return SimpleNamespace(name=op.name, page=op.__doc__)


def test_the_op_of_the_page_keeps_the_contract(page_op: SimpleNamespace) -> None:
    """The very functions that every op of the dictionary goes through."""
    assert page_op.page
    with np.errstate(all="ignore"):
        for dtype in ("float32", "float64"):
            test_contract.test_native_equals_the_oracle(page_op.name, dtype)
        test_contract.test_derivatives_are_the_central_differences(page_op.name)
        for value in (-80.0, 0.0, 80.0):
            test_contract.test_values_and_gradients_are_finite_at_extremes(page_op.name, value)
        test_contract.test_nan_propagates(page_op.name)
        test_contract.test_fused_equals_unfused_bit_for_bit(page_op.name)


# --- the checks themselves ------------------------------------------------------------------


def test_a_wrong_block_is_noticed() -> None:
    page = "```python\nx = 1\n```\ntext\n```python\n>>> x + 1\n3\n```\n"
    first, second = blocks(page)
    space: dict[str, Any] = {}
    run(first, "page", space)
    assert (first.above, second.above, space["x"]) == (1, 5, 1)
    with pytest.raises(AssertionError, match="Expected"):
        run(second, "page", space)
