"""A comparison as one HTML file that needs nothing else: data, script, style and the plotting library are within it."""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

from fmlab.comparison.groups import Comparison
from fmlab.comparison.payload import payload
from fmlab.records import atomic_write_text

_SCRIPTS = ("unpack", "choices", "tooltip", "results", "charts", "more", "start")


def write_page(comparison: Comparison, file: Path, title: str) -> None:
    """Writes the page with a title.

    Names and configurations never become markup: they are in compressed data, and the script makes text of them.
    """
    atomic_write_text(file, page(payload(comparison), title))


def page(content: dict[str, Any], title: str) -> str:
    """Fills the page's text with plain values."""
    from plotly.offline import get_plotlyjs

    parts = {
        "title": html.escape(title),
        "style": _source("style.css"),
        "data": _packed(json.dumps(content, separators=(",", ":"), allow_nan=False)),
        "plotly": _packed(get_plotlyjs()),
        "script": "\n".join(_source(f"{name}.js") for name in _SCRIPTS),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _source("page.html"))


def _source(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _packed(text: str) -> str:
    """Gzip in base64, which a browser unpacks in a fraction of a second; a third of the size."""
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()
