"""The pictures of the explorer page in docs/: every pane, light and dark.

python -m tests.explorer.pictures
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.explorer.browser import ROOT, browser, opened

TARGET = ROOT / "docs" / "pictures" / "explorer"
PANELS = ("kernel", "passes", "memory", "roofline", "training")


def main() -> int:
    """Train the digits for some epochs, write their page, and photograph it."""
    sys.path.insert(0, str(ROOT / "examples"))
    import digits

    import graphc

    found = graphc.data.digits()
    held_out = (found.x_test, found.y_test)
    digits.trainer.fit(found.x_train, found.y_train, epochs=8, validation_data=held_out, verbose=0)
    batch = {"x": found.x_train[:32], "y": found.y_train[:32]}
    with tempfile.TemporaryDirectory() as folder, browser() as chromium:
        page = Path(folder) / "digits.html"
        graphc.explore(digits.trainer, page, inputs=batch, title="digits.py:trainer")
        TARGET.mkdir(parents=True, exist_ok=True)
        for scheme in ("light", "dark"):
            photograph(opened(chromium, page, scheme=scheme).page, scheme)
    return 0


def photograph(page: Any, scheme: str) -> None:
    """Every pane, the first convolution selected."""

    def shot(selector: str, name: str) -> None:
        page.wait_for_timeout(300)
        page.locator(selector).screenshot(path=TARGET / f"{name}-{scheme}.png")

    page.keyboard.press("/")
    page.keyboard.type("conv2d 0")
    page.keyboard.press("Enter")
    page.wait_for_selector(".stage-asm .line.lit.hot")
    shot("body", "page")
    for panel in PANELS:
        page.click(f"#tab-{panel}")
        if panel == "passes":
            page.click("#panel-passes .row:has-text('arrange')")
        shot("#dock", panel)
    for pane in ("source", "mathematics"):
        shot(f"#{pane}", pane)
    page.click("#graph-tools >> text='open all'")
    shot("#graph", "graph")


if __name__ == "__main__":
    raise SystemExit(main())
