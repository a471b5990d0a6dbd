from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from onnxopt.errors import BadPipeline
from onnxopt.pipeline import grammar
from onnxopt.pipeline.options import options_of
from onnxopt.pipeline.presets import PRESETS
from onnxopt.pipeline.registry import BUILT_IN, Registry

HEAD = """\
from __future__ import annotations
from dataclasses import dataclass
from onnxopt.pipeline.base import Pass
"""


def source(name: str, doc: str = '"""Leaves the graph as it is."""', fields: str = "") -> str:
    return f"""
@dataclass(frozen=True)
class {name}(Pass):
    {doc}
    {fields}
    def run(self, graph, ctx):
        return False
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An importable, empty package `fake_passes`."""
    folder = tmp_path / "fake_passes"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "fake_passes"]:
        del sys.modules[name]


def test_a_file_of_the_package_is_a_pass(package: Path) -> None:
    (package / "fold_constants.py").write_text(HEAD + source("_Shared") + source("FoldConstants"))
    (package / "drop_identity.py").write_text(HEAD + source("DropIdentity"))
    (package / "_shared.py").touch()
    registry = Registry("fake_passes")
    assert registry.names() == ("drop-identity", "fold-constants")
    assert "fold-constants" in registry and "shared" not in registry
    assert registry.get("fold-constants").pass_name() == "fold-constants"
    assert registry.where("fold-constants") == "fake_passes.fold_constants"
    assert registry.summary("fold-constants") == "Leaves the graph as it is."


def test_only_the_pass_asked_for_is_imported(package: Path) -> None:
    (package / "one.py").write_text(HEAD + source("One"))
    (package / "other.py").write_text("raise SystemExit('imported')")
    registry = Registry("fake_passes")
    registry.get("one")
    assert "fake_passes.other" not in sys.modules


def test_a_docstring_that_nobody_wrote_is_no_summary(package: Path) -> None:
    (package / "one.py").write_text(HEAD + source("One", doc=""))
    assert Registry("fake_passes").summary("one") == ""


def test_an_unknown_pass_is_an_error(package: Path) -> None:
    (package / "fold_constants.py").touch()
    registry = Registry("fake_passes")
    with pytest.raises(BadPipeline, match=r"^there is no pass 'fold_constant'; did you mean fold-constants\?$"):
        registry.get("fold_constant")
    with pytest.raises(BadPipeline, match=r"^there is no pass 'zz'; `onnxopt passes` lists them$"):
        registry.get("zz")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEAD, "fake_passes.one: expected one pass, one, found none"),
        (HEAD + source("Two"), "fake_passes.one: expected one pass, one, found two"),
        (HEAD + source("One") + source("Two"), "fake_passes.one: expected one pass, one, found one, two"),
        ("import no_such_package", "fake_passes.one cannot be imported: No module named 'no_such_package'"),
        (
            HEAD + source("One", fields="x: list[int]"),
            "fake_passes.one: one: option x: list[int] is no type for an option; use bool",
        ),
    ],
)
def test_a_file_must_define_the_pass_that_it_is_named_for(package: Path, content: str, message: str) -> None:
    (package / "one.py").write_text(content)
    with pytest.raises(BadPipeline, match="^" + re.escape(message)):
        Registry("fake_passes").get("one")


# Plug-ins


def test_every_public_concrete_pass_of_a_plugin_is_registered(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        HEAD
        + "from onnxopt.pipeline.options import options_of\n"
        + source("DropRelu", fields='level: int = 1\n    """How much."""\n')
        + source("_Hidden")
        + source("DropTanh")
        + "class Base(Pass):\n    pass\n"
        + "Alias = DropRelu\n"
    )
    registry = Registry(package=None)
    assert registry.load_plugin(plugin) == ("drop-relu", "drop-tanh")
    assert registry.names() == ("drop-relu", "drop-tanh")
    assert registry.where("drop-relu") == str(plugin)
    (option,) = options_of(registry.get("drop-relu"))
    assert (option.name, option.doc) == ("level", "How much.")
    assert not (tmp_path / "__pycache__").exists()


def test_loading_a_plugin_again_changes_nothing(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(HEAD + source("DropRelu"))
    registry = Registry(package=None)
    registry.load_plugin(plugin)
    loaded = registry.get("drop-relu")
    assert registry.load_plugin(tmp_path / "." / "mine.py") == ()
    assert registry.get("drop-relu") is loaded


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x = 1\n", "mine.py: defines no pass, a public subclass of onnxopt.pipeline.base.Pass"),
        ("x = 1\nimport no_such\n", "mine.py:2: ModuleNotFoundError: No module named 'no_such'"),
        ("def f():\n    return 1 / 0\n\nf()\n", "mine.py:2: ZeroDivisionError: division by zero"),
        ("x = 1\nif x\n", "mine.py:2: SyntaxError: expected ':'"),
        ("raise ValueError('two\\nlines')", "mine.py:1: ValueError: two"),
        ("exit(3)", "mine.py:1: SystemExit: 3"),
        ("assert False", "mine.py:1: AssertionError: no message"),
        ("\0", "mine.py:1: "),
        (HEAD + source("Repeat"), "mine.py: the pass name repeat is reserved; rename the class"),
        (
            HEAD + source("Mine").replace("@dataclass(frozen=True)", ""),
            "mine.py: mine: the class Mine needs @dataclass(frozen=True)",
        ),
    ],
)
def test_a_plugin_that_does_not_load(tmp_path: Path, content: str, message: str) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(content)
    with pytest.raises(BadPipeline) as caught:
        Registry(package=None).load_plugin(plugin)
    assert str(caught.value).startswith(f"{tmp_path}/{message}")
    assert "\n" not in str(caught.value)


def test_a_plugin_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadPipeline, match=r"none\.py: the plug-in cannot be read: No such file or directory$"):
        Registry(package=None).load_plugin(tmp_path / "none.py")
    with pytest.raises(BadPipeline, match=r"the plug-in cannot be read: .*embedded null"):
        Registry(package=None).load_plugin(tmp_path / "no\0ne.py")


def test_a_plugin_is_compiled_without_our_own_future_imports(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        HEAD.partition("\n")[2] + source("Mine") + "def f(x: int): ...\nassert f.__annotations__['x'] is int"
    )
    assert Registry(package=None).load_plugin(plugin) == ("mine",)


def test_a_file_that_a_plugin_misses_is_the_fault_of_its_line(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("x = 1\nopen('/no/such/file')\n")
    with pytest.raises(BadPipeline, match=r"mine\.py:2: FileNotFoundError: "):
        Registry(package=None).load_plugin(tmp_path / "mine.py")


def test_two_passes_of_one_name_are_an_error_that_names_both(package: Path, tmp_path: Path) -> None:
    (package / "drop_relu.py").write_text(HEAD + source("DropRelu"))
    plugin = tmp_path / "mine.py"
    plugin.write_text(HEAD + source("DropRelu"))
    with pytest.raises(BadPipeline) as caught:
        Registry("fake_passes").load_plugin(plugin)
    assert str(caught.value) == f"two passes are called drop-relu: fake_passes.drop_relu and {plugin}; rename one"


# Entry points


def test_an_entry_point_is_a_pass(package: Path) -> None:
    (package / "elsewhere.py").write_text(HEAD + source("DropRelu"))
    registry = Registry(None, [EntryPoint("drop-relu", "fake_passes.elsewhere:DropRelu", BUILT_IN)])
    assert registry.names() == ("drop-relu",)
    assert "fake_passes.elsewhere" not in sys.modules
    assert registry.get("drop-relu").pass_name() == "drop-relu"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("drop-relu", "fake_passes.none:X", "ModuleNotFoundError: No module named 'fake_passes.none'"),
        ("drop-relu", "fake_passes.elsewhere:X", "AttributeError: module 'fake_passes.elsewhere' has no attribute 'X'"),
        ("drop-tanh", "fake_passes.elsewhere:DropRelu", "is not a Pass subclass of that name, drop-tanh"),
        ("drop-relu", "fake_passes.elsewhere:dataclass", "is not a Pass subclass of that name, drop-relu"),
    ],
)
def test_an_entry_point_that_leads_nowhere(package: Path, name: str, value: str, message: str) -> None:
    (package / "elsewhere.py").write_text(HEAD + source("DropRelu"))
    with pytest.raises(BadPipeline) as caught:
        Registry(None, [EntryPoint(name, value, BUILT_IN)]).get(name)
    assert str(caught.value) == f"{value}, an entry point of an unknown package: {message}"


# What is installed


def test_every_installed_pass_is_documented() -> None:
    registry = Registry.installed()
    for name in registry.names():
        assert registry.get(name).pass_name() == name
        assert registry.summary(name), f"{name} has no docstring"
        for option in options_of(registry.get(name)):
            assert option.doc, f"{name}: option {option.name} has no docstring below its field"


def test_presets_name_only_what_is_installed() -> None:
    def names(elements: tuple[grammar.Element, ...]) -> set[str]:
        inner = [names(element.body or ()) for element in elements]
        return {element.name for element in elements}.union(*inner)

    used = set().union(*(names(grammar.parse(text)) for text in PRESETS.values()))
    assert used - {"repeat", *PRESETS} <= set(Registry.installed().names())
