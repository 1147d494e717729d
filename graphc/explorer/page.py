"""A report as one HTML file: the report as data, and the script that shows it, with nothing else.

The page may load nothing and run nothing but its own script, which it says to the browser itself
(its content security policy). All that the user named stands in the data, as text.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

SCRIPTS = (
    "base.js",
    "highlight.js",
    "source.js",
    "layout.js",
    "graph.js",
    "mathematics.js",
    "kernel.js",
    "passes.js",
    "memory.js",
    "chart.js",
    "roofline.js",
    "training.js",
    "main.js",
    "live.js",
)
"""The parts of the script, in order."""


def page(report: Mapping[str, Any], *, live: str = "") -> str:
    """The page of a report. `live`: an address on its own server that it asks for what is new."""
    style, script = asset("style.css"), program()
    places = {
        "policy": policy(style, script, live),
        "title": html.escape(f"{report['title']} · graphc"),
        "style": style,
        "data": data({**report, "live": live}),
        "script": script,
    }
    text = asset("page.html")
    for name, value in places.items():
        before, mark, after = text.partition(f"<!--{name}-->")
        assert mark, name
        text = before + value + after
    return text


@cache
def program() -> str:
    """The page's whole script."""
    parts = "\n".join(map(asset, SCRIPTS))
    return f'"use strict";\n(() => {{\n{parts}\n}})();'


def policy(style: str, script: str, live: str) -> str:
    """What the browser may do with the page."""
    rules = [
        "default-src 'none'",
        f"style-src '{fingerprint(style)}'",
        f"script-src '{fingerprint(script)}'",
        "base-uri 'none'",
        "form-action 'none'",
        *(["connect-src 'self'"] if live else []),
    ]
    return "; ".join(rules)


def fingerprint(text: str) -> str:
    """A text's hash as a policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def data(report: Mapping[str, Any]) -> str:
    """The report as JSON that ends no element of HTML."""
    text = json.dumps(report, separators=(",", ":"), allow_nan=False, default=str)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


@cache
def asset(name: str) -> str:
    """A file of the page."""
    return (files("graphc.explorer") / "static" / name).read_text(encoding="utf-8").strip()
