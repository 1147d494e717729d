"""The explorer page in a browser: a click on a convolution lights it in every pane."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.explorer import browser as browsers
from tests.explorer.browser import Opened, opened, seconds, written

DIGITS = "examples/digits.py:trainer"
PANELS = ("kernel", "passes", "memory", "roofline", "training")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    browsers.chromium()
    with browsers.browser() as found:
        yield found


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    browsers.chromium()
    return written(tmp_path_factory.mktemp("digits"), DIGITS, "--train")


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    browsers.chromium()
    place = "tests/explorer/deep.py:trainer"
    return written(tmp_path_factory.mktemp("deep"), place, "--train")


def quiet(found: Opened, path: Path) -> None:
    """Nothing on the console, and nothing asked for but the page itself."""
    assert found.said == []
    assert found.asked == [path.resolve().as_uri()]


def box(found: Opened, op: str) -> Any:
    """The first box of an operation in the graph."""
    return found.page.locator("#canvas g.box", has=found.page.locator(f"text='{op}'")).first


def test_a_click_on_a_convolution_lights_it_everywhere(browser: Any, digits: Path) -> None:
    found = opened(browser, digits)
    page = found.page
    assert "graphc 0." in page.inner_text("#about")
    page.click("#graph-tools >> text='open all'")
    box(found, "conv2d").click()
    # the line that made the layer
    (line,) = found.texts("#source .line.lit")
    assert "nn.Conv2d(1, 16, 3, padding=1)" in line
    # its formula and both derivatives, typeset
    words = page.inner_text("#mathematics")
    assert "conv2d(" in words
    for title in (
        "Definition",
        "Derivative by image",
        "Derivative by kernel",
        "As it is generated",
    ):
        page.wait_for_selector(f"#mathematics h3:has-text('{title}')")
    formula = page.locator("#mathematics math").first.bounding_box()
    assert formula["width"] > 100 and formula["height"] > 15
    assert found.count("#mathematics math munder") >= 2  # sums over indices
    # its loops and its machine code, each with the hot loop
    page.wait_for_selector(".stage-asm .line.lit")
    loops = found.texts(".stage-loops .line.lit")
    assert any("image*kernel" in line for line in loops)
    assert found.count(".stage-loops .line.lit.hot") > 0
    assert found.count(".stage-asm .line.lit.hot") > 0
    assert len(found.texts(".stage-asm .line")) > len(found.texts(".stage-asm .line.lit"))
    # the kernel, the reasons, the outline of what is fused
    assert "conv2d, bias, relu" in page.inner_text("#panel-kernel .row[aria-selected=true]")
    assert "relu follows conv2d" in page.inner_text("#panel-kernel")
    assert found.count("#canvas .fused.lit") == 1
    # a point below the roof, and a row of the table
    page.click("#tab-roofline")
    assert found.count("#panel-roofline circle.lit") == 1
    assert "conv2d, bias, relu" in found.texts("#panel-roofline tr.lit")[0]
    # the passes that changed it, and the histograms of its layer
    page.click("#tab-passes")
    passes = " ".join(found.texts("#panel-passes .row.lit"))
    assert "arrange" in passes and "winograd" not in passes
    page.click("#tab-training")
    assert found.texts("#panel-training .card.lit h3") == ["0.weight", "0.bias"]
    page.click("#tab-passes")
    page.click("#panel-passes .row:has-text('arrange')")
    assert any("conv2d" in line for line in found.texts("#panel-passes .line.lit"))
    page.click("#panel-passes .row:has-text('tile')")
    assert any("# vector" in line for line in found.texts("#panel-passes .line.plus"))
    quiet(found, digits)


def test_every_pane_selects(browser: Any, digits: Path) -> None:
    """A line of the source, a kernel, a row, a buffer, a point: each lights the others."""
    found = opened(browser, digits)
    page = found.page
    page.locator("#source .line.marked", has_text="nn.Conv2d(16, 32").click()
    lit = [page.locator(f"#panel-kernel [data-nodes].lit >> nth={n}") for n in (0, 1)]
    assert all(row.count() for row in lit)
    for panel, clicked in (
        ("kernel", ".row:has-text('k06')"),
        ("memory", ".slot >> nth=3"),
        ("roofline", "tr[data-nodes] >> nth=4"),
        ("roofline", "circle >> nth=-1"),  # drawn last: no other lies on it
        ("training", ".card >> nth=1"),
    ):
        page.keyboard.press("Escape")
        assert found.count(".lit") == 0
        page.click(f"#tab-{panel}")
        page.locator(f"#panel-{panel} {clicked}").click()
        assert found.count("#source .line.lit") > 0, panel
        assert found.count("#canvas .lit") > 0, panel
        assert page.inner_text("#mathematics h3 >> nth=0").strip()
    quiet(found, digits)


def test_nothing_waits_for_a_click(browser: Any, digits: Path) -> None:
    """Before anything is selected the kernel that takes longest is shown, and nothing is lit."""
    found = opened(browser, digits)
    found.page.wait_for_selector(".stage-asm .line.hot")
    kernels = json.loads(found.page.locator("#report").text_content())["kernels"]
    longest = max(kernels, key=lambda kernel: kernel["share"])
    assert found.page.inner_text("#panel-kernel h3 >> nth=0") == longest["name"]
    assert found.count(".lit") == 0
    quiet(found, digits)


def test_types_on_edges_are_not_covered(browser: Any, digits: Path) -> None:
    """No box lies on the type at an edge's beginning, the layers closed or open."""
    found = opened(browser, digits)
    for button in ("close", "open all"):
        found.page.click(f"#graph-tools >> text='{button}'")
        assert found.count("#canvas .edge-label") > 5
        assert found.page.evaluate(COVERED) == []
    quiet(found, digits)


COVERED = """() => {
  const area = (element) => element.getBoundingClientRect();
  const boxes = [...document.querySelectorAll("#canvas .box > rect, #canvas .closed > rect")];
  const labels = [...document.querySelectorAll("#canvas .edge-label")];
  return labels.filter((label) => {
    const a = area(label);
    return boxes.map(area).some((b) => a.left < b.right && b.left < a.right
      && a.top < b.bottom && b.top < a.bottom);
  }).map((label) => label.textContent);
}"""


@pytest.mark.parametrize("width", [390, 700, 1100])
def test_narrow_windows(browser: Any, digits: Path, width: int) -> None:
    """No pane is wider than the window, no title lies under a button."""
    found = opened(browser, digits)
    page = found.page
    page.set_viewport_size({"width": width, "height": 800})
    for name in PANELS:
        page.click(f"#tab-{name}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    for pane in ("source", "graph"):
        title = page.evaluate(TITLE, f"{pane}-title")
        tools = page.locator(f"#{pane} .tools button").first.bounding_box()
        apart = tools["y"] >= title["bottom"] or tools["x"] >= title["right"]
        assert apart, (pane, title, tools)
    quiet(found, digits)


TITLE = """(id) => {
  const range = document.createRange();
  range.selectNodeContents(document.getElementById(id));
  const { right, bottom } = range.getBoundingClientRect();
  return { right, bottom };
}"""


def test_the_keyboard_is_enough(browser: Any, digits: Path) -> None:
    found = opened(browser, digits)
    page, press = found.page, found.page.keyboard.press
    press("/")
    page.keyboard.type("conv2d 0")
    press("Enter")
    assert "conv2d" in page.inner_text("#mathematics h3 >> nth=0")
    press("2")  # the graph
    before = page.inner_text("#mathematics h3 >> nth=0")
    press("ArrowRight")
    assert page.inner_text("#mathematics h3 >> nth=0") != before
    press("e")
    opened_all = found.count("#canvas g.box")
    press("c")
    assert found.count("#canvas g.box") < opened_all
    for number, name in enumerate(PANELS, 4):
        press(str(number))
        assert page.locator(f"#panel-{name}").is_visible()
        assert page.evaluate("document.activeElement.id") == f"tab-{name}"
    press("ArrowRight")
    assert page.locator("#panel-kernel").is_visible()
    press("Tab")
    press("ArrowDown")
    press("ArrowDown")
    assert found.count("#panel-kernel .row[aria-selected=true]") == 1
    press("?")
    assert page.locator("#keys").is_visible()
    press("Escape")
    assert not page.locator("#keys").is_visible()
    press("Escape")
    assert found.count(".lit") == 0
    quiet(found, digits)


def test_a_pane_is_one_stop_of_tab(browser: Any, digits: Path) -> None:
    """Tab enters and leaves a list as one, however long; the arrows select in every pane."""
    found = opened(browser, digits)
    page, press = found.page, found.page.keyboard.press
    for number, name in enumerate(PANELS, 4):
        press(str(number))
        press("Tab")
        first = page.evaluate("document.activeElement.ariaLabel")
        press("Tab")
        assert page.evaluate("document.activeElement.ariaLabel") != first, name
        walked = {"memory": 2, "roofline": 2, "training": 1}.get(name, 0)
        for pane in range(walked):  # those whose things can be clicked
            press("Escape")
            page.locator(f"#panel-{name} > [tabindex='0']").nth(-1 - pane).focus()
            press("ArrowDown")
            assert found.count(f"#panel-{name} .lit") > 0, (name, pane)
            assert found.count("#source .line.lit") > 0, (name, pane)
    quiet(found, digits)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_can_be_read(browser: Any, digits: Path, scheme: str) -> None:
    """Text stands out from what is behind it by 4.5 at least (WCAG 2.2, 1.4.3), in both themes."""
    found = opened(browser, digits, scheme=scheme)
    page = found.page
    for _ in range(2):  # as the system has it, then the other one
        ratios = page.evaluate(CONTRAST)
        assert min(ratios.values()) >= 4.5, ratios
        page.keyboard.press("t")
    quiet(found, digits)


CONTRAST = """() => {
  const style = getComputedStyle(document.documentElement);
  const light = (name) => {
    const probe = document.createElement("i");
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    const [r, g, b] = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map(Number);
    probe.remove();
    const part = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const pairs = [["--ink", "--pane"], ["--ink", "--raised"], ["--ink", "--lit-back"],
    ["--ink", "--hot-back"], ["--quiet", "--pane"], ["--quiet", "--page"], ["--forward", "--pane"],
    ["--backward", "--pane"], ["--update", "--pane"], ["--lit", "--pane"], ["--hot", "--pane"],
    ["--word", "--pane"], ["--number", "--pane"], ["--string", "--pane"],
    ["--word", "--lit-back"], ["--number", "--lit-back"], ["--quiet", "--lit-back"]];
  return Object.fromEntries(pairs.map(([a, b]) => {
    const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
    return [`${a} on ${b}`, (x + 0.05) / (y + 0.05)];
  }));
}"""


def test_names_are_text(browser: Any, tmp_path: Path) -> None:
    """A layer called <script> shows as text."""
    path = written(tmp_path, "tests/explorer/hostile.py:model")
    found = opened(browser, path)
    found.page.click("#graph-tools >> text='open all'")
    box(found, "linear").click()
    assert "<script>window.broken" in found.page.inner_text("#mathematics")
    assert found.page.evaluate("window.broken") is None
    quiet(found, path)


def test_two_thousand_nodes_open_collapsed(browser: Any, deep: Path) -> None:
    found = opened(browser, deep)
    total = int(found.page.inner_text("#about").split(" · ")[1].split()[0])
    assert total >= 2000
    assert found.count("#canvas g.box") + found.count("#canvas g.closed") < 200
    found.page.keyboard.press("/")
    found.page.keyboard.type("linear 17")
    found.page.keyboard.press("Enter")
    (line,) = found.texts("#source .line.lit")
    assert "nn.Linear(width, width)" in line
    assert box(found, "linear").is_visible()
    found.page.wait_for_selector(".stage-asm .line.lit.hot")
    found.page.click("#graph-tools >> text='open all'")
    assert found.count("#canvas g.box") > 2000
    quiet(found, deep)


def test_pages_open_at_once(browser: Any, digits: Path, deep: Path) -> None:
    """An example within a second, 2,000 nodes within three: the best of three openings."""
    for path, most in ((digits, 1.0), (deep, 3.0)):
        assert min(seconds(opened(browser, path)) for _ in range(3)) < most
