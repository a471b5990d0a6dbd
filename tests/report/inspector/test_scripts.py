"""The page's scripts: each is whole by itself, and small."""

from __future__ import annotations

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from onnxopt.report.inspector import page

ASSETS = Path(page.__file__).parent / "assets"
SCRIPTS = sorted(ASSETS.glob("*.js"))
_PARSE = """
const { Script } = require("vm"), { readFileSync } = require("fs");
for (const filename of process.argv.slice(1)) new Script(readFileSync(filename, "utf8"), { filename });
"""
"""What `node --check` does, of all scripts at once."""


def _node() -> str | None:
    """node of the machine, or the one that playwright brings."""
    found = find_spec("playwright")
    brought = Path(found.origin).parent / "driver" / "node" if found and found.origin else None
    return shutil.which("node") or (str(brought) if brought and brought.exists() else None)


def test_every_script_parses() -> None:
    node = _node()
    if node is None:
        pytest.skip("no node to parse scripts with: Chromium's own errors, in test_browser.py, are the check")
    ended = subprocess.run([node, "-e", _PARSE, *map(str, SCRIPTS)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_every_script_is_in_the_page_and_small() -> None:
    assert {script.name for script in SCRIPTS} == {Path(name).name for name in (*page._SCRIPTS, *page._LAYOUT[1:])}
    assert max(len(script.read_text("utf-8").splitlines()) for script in SCRIPTS) < 300
