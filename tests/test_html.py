"""Tables for notebooks: what is in them, that all of it is escaped, and that none is too large."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

import graphc
from graphc import html, nn
from graphc.graph.graph import Graph
from graphc.train.history import History

HOSTILE = "<script>alert('&')</script>"


def parsed(text: str) -> ElementTree.Element:
    """HTML that is XML as well, as ours is."""
    return ElementTree.fromstring(f"<div>{text}</div>")


def cells(text: str) -> list[str]:
    """What stands in the cells of a table."""
    return ["".join(cell.itertext()) for cell in parsed(text).iter() if cell.tag in ("td", "th")]


def test_table_holds_what_it_is_given() -> None:
    """Headings, cells and caption, with nothing in them a mark of HTML's."""
    text = html.table(["a", HOSTILE], [["1", HOSTILE], ["2"]], caption=HOSTILE, right=(1,))
    assert cells(text) == ["a", HOSTILE, "1", HOSTILE, "2"]
    assert "<script" not in text and parsed(text).find(".//caption") is not None
    assert "text-align:right" in text and "more" not in text


def test_what_is_long_is_cut_and_said() -> None:
    """Under 100 KB, and how to see the rest."""
    text = html.table(["n"], [[str(i)] for i in range(5000)], everything="print(it)")
    shown = len(cells(text)) - 1
    assert len(text) < 100_000 and 100 < shown < 5000
    assert f"{5000 - shown:,} more; print(it) shows all" in text
    text = html.text("x" * 99 + "\n" + "<b>\n" * 50_000, "print(it)")
    assert len(text) < 100_000 and "&lt;b&gt;" in text and "more; print(it) shows all" in text
    assert html.text("one\ntwo <").startswith("<pre") and "more" not in html.text("one\ntwo <")


def test_curve() -> None:
    """Falls where the numbers do; one number, or what is not finite, is no curve."""
    svg = parsed(html.curve([4.0, 2.0, float("nan"), 1.0], HOSTILE))
    line = svg.find(".//polyline")
    assert line is not None
    points = [tuple(map(float, p.split(","))) for p in line.attrib["points"].split()]
    assert [x for x, _ in points] == [0.0, pytest.approx(53.3), 160.0]
    assert [y for _, y in points] == sorted(y for _, y in points)
    assert html.curve([1.0], "a") == html.curve([float("inf")] * 3, "a") == ""
    assert len(html.curve([float(i % 7) for i in range(100_000)], "a")) < 10_000


def test_a_graph_is_its_text() -> None:
    """Every node's name, call, type, formula and line; str() is the mathematics."""
    with graphc.layer(HOSTILE):
        y = graphc.input("x", ("n", 3)) @ graphc.parameter("w", (3, 2))
    graph = Graph((y,), (HOSTILE,))
    found = cells(graph._repr_html_())
    for part in ("%0 = matmul(x, w)", "f32[n,2]", "[m, n] += a*b  where a[m, k], b[k, n]"):
        assert part in found and part in str(graph)
    assert f"{HOSTILE} = %0" in found and "<script" not in graph._repr_html_()
    assert any(f"test_html.py:{y.site.line} ({HOSTILE})" in cell for cell in found)


def test_a_large_graph_is_light() -> None:
    """Under 100 KB, and how to see all of it."""
    x = graphc.input("x", (3,))
    for i in range(2000):
        x = x * float(i + 2)
    text = Graph((x,))._repr_html_()
    assert len(text) < 100_000 and "print(graph) shows all" in text


def test_models_programs_and_profiles() -> None:
    """Layers with their options and sizes; kernels with their work; what is timed."""
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    found = cells(model._repr_html_())
    assert found[8:12] == ["0", "Linear", "in_features=4, out_features=3, bias=True", "15"]
    assert "15" in cells(model.summary(("n", 4))._repr_html_())
    program = graphc.compile(model, inputs={"x": ("n", 4)})
    text = program._repr_html_()
    assert "work for n = 1" in text and "k00" in cells(text) and "&lt;Program" in text
    profile = program.profile({"x": [[1, 2, 3, 4]]}, repeats=2)
    assert "".join(parsed(profile._repr_html_()).itertext()).rstrip() == str(profile).rstrip()


def test_history() -> None:
    """The table of str(), and a curve for each name."""
    history = History()
    for epoch in range(1, 4):
        history.append(epoch, {"loss": 1 / epoch, HOSTILE: 1.0})
    text = history._repr_html_()
    assert cells(text)[3:] == str(history).replace("\n", " ").split()
    assert len(list(parsed(text).iter("svg"))) == 2 and "<script" not in text
    assert parsed(History()._repr_html_()).find(".//table") is not None
