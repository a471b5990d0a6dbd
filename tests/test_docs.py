"""The documentation says what is there."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from typer.main import get_command

from onnxopt.cli.app import app
from onnxopt.pipeline.registry import Registry
from onnxopt.pipeline.target import target_names

ROOT = Path(__file__).parent.parent
WRITTEN = sorted((ROOT / "docs").glob("*.md"))


@pytest.fixture(scope="module")
def catalogue() -> ModuleType:
    spec = importlib.util.spec_from_file_location("catalogue", ROOT / "docs" / "catalogue.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(catalogue: ModuleType) -> dict[str, str]:
    found: dict[str, str] = catalogue.pages()
    return found


def test_every_pass_and_target_has_a_page_with_its_options(pages: dict[str, str]) -> None:
    for name in Registry().names():
        assert f"[{name}]({name}.md)" in pages["passes/index.md"]
        assert pages[f"passes/{name}.md"].startswith(f"# {name}\n")
    assert "| `per-channel` | `true` |" in pages["passes/quantize.md"]
    assert {f"backends/{name}.md" for name in target_names()} < set(pages)


def test_the_pass_is_the_one_in_the_readme() -> None:
    code = re.compile(r"```python\n(# fold_double_negation\.py\n.*?)```", re.DOTALL)
    one, other = (code.search(path.read_text()) for path in (ROOT / "README.md", ROOT / "docs" / "writing_a_pass.md"))
    assert one is not None and other is not None
    assert one[1] == other[1]


@pytest.mark.parametrize("path", WRITTEN, ids=[path.name for path in WRITTEN])
def test_every_command_and_option_is_there(path: Path) -> None:
    commands = getattr(get_command(app), "commands")  # noqa: B009  click's Group, which typer does not declare
    options = {option for command in commands.values() for each in command.params for option in each.opts}
    text = path.read_text()
    assert set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", text)) <= options
    assert set(re.findall(r"(?:^|`)onnxopt ([a-z]+) ", text, re.MULTILINE)) <= set(commands)


@pytest.mark.parametrize("path", WRITTEN, ids=[path.name for path in WRITTEN])
def test_every_file_that_is_linked_is_there(path: Path, pages: dict[str, str]) -> None:
    linked = {target for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()) if "://" not in target}
    assert not {target for target in linked if not (path.parent / target).exists()} - set(pages)
