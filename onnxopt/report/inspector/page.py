"""One HTML file that has everything in it: no server, no network."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from onnxopt import strict_json
from onnxopt.atomic import replacing
from onnxopt.report.inspector.story import Story

_LAYOUT = ("vendor/dagre.min.js", "layout.js")
"""What the page's worker runs too."""
_SCRIPTS = (
    "elements.js", "story.js", "order.js", "blocks.js", "scene.js", "states.js", "routes.js", "boxes.js", "drawing.js",
    "minimap.js", "timeline.js", "panels.js", "tables.js", "search.js", "controls.js", "walking.js",
    "keys.js", "app.js",
)  # fmt: skip
"""In the order in which they are run; all see one another's names."""
_PLAIN = 1 << 16
"""Characters of the document from which on it is compressed."""


def write_page(story: Story, path: Path) -> None:
    """Write the page, atomically.

    Raises:
        OnnxoptError: It cannot be written.
    """
    with replacing(path) as file:
        file.write(page(story).encode())


def page(story: Story) -> str:
    """The page as text.

    Names of models are data from strangers: they stand in the document as JSON in which no `<` is left, and the scripts
    put them into the page as text only. The content security policy allows the page's own script and style, by hash,
    and no connection at all.
    """
    layout, script = ("\n".join(map(_asset, names)) for names in (_LAYOUT, _SCRIPTS))
    style = _asset("style.css")
    policy = (
        f"default-src 'none'; script-src '{_hash(layout)}' '{_hash(script)}'; style-src '{_hash(style)}'; "
        "img-src data: blob:; worker-src blob:; base-uri 'none'; form-action 'none'"
    )
    return _PAGE.format(
        policy=policy,
        title=html.escape(story.title),
        version=html.escape(version("onnxopt")),
        style=style,
        document=_document(story),
        layout=layout,
        script=script,
    )


def _document(story: Story) -> str:
    """A script element that holds the story, compressed where it is long."""
    text = strict_json.dumps(story.to_json(), compact=True).replace("<", "\\u003c")
    if len(text) < _PLAIN:
        return f'<script type="application/json" id="story">{text}</script>'
    packed = base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()
    return f'<script type="application/gzip" id="story">{packed}</script>'


def _asset(name: str) -> str:
    return files("onnxopt.report.inspector").joinpath("assets").joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="onnxopt {version}">
<title>{title} · onnxopt</title>
<style>{style}</style>
</head>
<body>
<div id="app"><noscript>This page draws the graph with a script of its own: allow it to run.</noscript></div>
{document}
<script id="layout-source">{layout}</script>
<script>{script}</script>
</body>
</html>
"""
