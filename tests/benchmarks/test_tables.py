"""What the commands make of their figures: command lines, tables, and their parts of pages."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("psutil")

from tests.benchmarks import compile, page, report, scaling
from tests.benchmarks.driver import Entry, Measured, Rounds
from tests.benchmarks.workloads import named


def test_a_command_writes_its_part_of_a_page_and_no_other(tmp_path: Path) -> None:
    begin, end = page.marks("scaling")
    path = tmp_path / "page.md"
    path.write_text(f"# Title\n\n{begin}\nold\n{end}\n\nby hand\n", "utf-8")
    page.write(path, "scaling", "| new |\n")
    written = path.read_text("utf-8")
    assert written == f"# Title\n\n{begin}\n\n| new |\n\n{end}\n\nby hand\n"
    page.write(path, "scaling", "| new |")
    assert path.read_text("utf-8") == written
    with pytest.raises(
        LookupError, match=r"no lines '<!-- written by tests.benchmarks.compile -->'"
    ):
        page.write(path, "compile", "")


@pytest.mark.parametrize("command, name", [("compile", "compile_time.md")])
def test_the_pages_have_the_parts_that_commands_write(command: str, name: str) -> None:
    docs = Path(__file__).parents[2] / "docs"
    assert page.placed((docs / name).read_text("utf-8"), command, "new")


def test_the_line_through_compile_times() -> None:
    rows = [
        compile.Row(net, 0, distinct, 0, 0, ready, 0, 0, 0)
        for net, distinct, ready in (("a", 20, 0.5), ("b", 60, 1.3), ("c", 300, 6.1))
    ]
    assert compile.line(rows).startswith(
        "Line of best fit over the nets: 0.10 s and 20.0 ms a distinct kernel;"
    )
    row = compile.Row("mlp", 21, 20, 1.0, 0.62, 0.6, 0.045, 0.04, 0.006)
    cells = dict(zip(compile.HEAD, row.cells(), strict=True))
    assert cells["ms a distinct kernel"] == "30.0" and cells["before it"] == "40 ms"


def test_two_threads_beside_one() -> None:
    pair = scaling.Pair("train-mlp")
    pair.times[0].extend([4e-3, 2e-3, 3e-3])
    pair.times[1].extend([1e-3, 2e-3, 4e-3])
    pair.peaks[0].extend([90.0, 100.0])
    pair.peaks[1].extend([150.0, 160.0])
    cells = dict(zip(scaling.HEAD, pair.cells(), strict=True))
    assert (cells["one thread"], cells["two"]) == ("2 ms", "1 ms")
    assert (cells["faster"], cells["by the medians"]) == ("2.00x", "1.50x")
    assert (cells["peak of one core"], cells["of that ratio"]) == ("100 GFLOP/s", "125%")
    text = scaling.report([pair], Rounds(3, 0.1), "A machine.")
    assert text.count("\n| ") == 3 and "3 rounds of 0.1 s" in text


def test_the_command_line_of_two_threads_beside_one(capsys: pytest.CaptureFixture[str]) -> None:
    options = scaling.arguments(["--workloads", "train-mlp", "infer-*", "--rounds", "4"])
    assert options.workloads == ["train-mlp", "infer-*"] and options.rounds == 4
    assert scaling.arguments([]).workloads == ["train-*"]
    assert scaling.main(["--workloads", "no-such"]) == 2
    assert "no workload 'no-such'" in capsys.readouterr().err


def test_memory_beside_torchs() -> None:
    entries = [
        Entry(peer, variant, {}, times=[1.0], memory_bytes=size)
        for peer, variant, size in (
            ("graphc", "step", 100),
            ("torch_eager", "contiguous", 300),
            ("torch_eager", "channels_last", 250),
        )
    ]
    measured = Measured(entries, 0.0, [1.0], [1.0], [], False)
    result = report.Result(named("train-seednet"), measured)
    assert result.share_of_torch(entries[0]) == 0.4
    assert "| 0.40x |" in report.table(result)
    alone = report.Result(
        named("train-seednet"), Measured(entries[:1], 0.0, [1.0], [1.0], [], False)
    )
    assert alone.share_of_torch(entries[0]) is None


def test_fewer_digits_stand_in_a_column_of_their_own() -> None:
    times = {("graphc", "step"): 2.0, ("graphc", "fast"): 1.0, ("torch_eager", "contiguous"): 3.0}
    entries = [Entry(peer, variant, {}, times=[t]) for (peer, variant), t in times.items()]
    result = report.Result(named("train-convnet"), Measured(entries, 0.0, [1.0], [1.0], [], False))
    head, _, line, means = report.summary([result]).splitlines()[2:]
    cells = dict(zip(head.split(" | "), line.split(" | "), strict=True))
    assert (cells["speed"], cells["call a step"], cells["fast |"]) == ("1.50x", "1.50x", "3.00x |")
    assert "| 1.50x | 1.50x |" in means
    assert result.speed(entries[2]) == 2.0 / 3.0
    exact = report.Result(named("train-mlp"), Measured(entries[::2], 0.0, [1.0], [1.0], [], False))
    assert "fast |" not in report.summary([exact])
