from __future__ import annotations

from pathlib import Path

import pytest

from onnxopt.errors import BadPipeline
from onnxopt.pipeline.pipeline_file import load_pipeline_file
from onnxopt.pipeline.registry import Registry

PLUGIN = '''
from dataclasses import dataclass, field
from onnxopt.pipeline.base import Pass

@dataclass(frozen=True)
class Fold(Pass):
    """Folds."""
    max_bytes: int = 1024
    ops: tuple[str, ...] = ()
    seeds: dict[str, int] = field(default_factory=dict)
    eager: bool = False
    rate: float = 0.5
    note: str | None = "-"

    def run(self, graph, ctx):
        return False
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "fakes.py").write_text(PLUGIN)
    return tmp_path


def load(folder: Path, text: str) -> str:
    """The canonical text of the pipeline that a file with `text` describes, `fold` being known."""
    (folder / "p.toml").write_text('plugins = ["fakes.py"]\n' + text)
    return str(load_pipeline_file(folder / "p.toml", Registry(package=None)).pipeline)


def test_passes_as_a_text(folder: Path) -> None:
    assert load(folder, 'passes = "fold,repeat(fold{eager})"') == "fold,repeat(fold{eager=true})"
    assert load(folder, 'passes = """\n  fold,\n  fold{eager}\n"""') == "fold,fold{eager=true}"


def test_passes_as_a_list(folder: Path) -> None:
    assert load(folder, 'passes = ["fold,fold", {name = "fold", eager = true}]') == "fold,fold,fold{eager=true}"


def test_passes_as_tables(folder: Path) -> None:
    text = """
[[pass]]
name = "fold"

[[pass]]
name = "fold"
max-bytes = 1_048_576
ops = ["Conv", "a b, c", ""]
seeds = {"x:0" = 1, y = 2}
eager = true
rate = 1e-3
note = "none"

[[pass]]
name = "fold"
max_bytes = "64KiB"
note = 'say "hi"'
"""
    assert load(folder, text).split(",fold") == [
        "fold",
        '{max-bytes=1048576 ops=Conv,"a b, c","" seeds="x:0":1,y:2 eager=true rate=0.001 note=none}',
        r'{max-bytes=65536 note="say \"hi\""}',
    ]


def test_what_goes_with_the_pipeline(folder: Path) -> None:
    text = 'passes = "fold"\nplugins = ["fakes.py"]\ntarget = "qnn"\ndata = "{}"\n'
    path = folder / "p.toml"
    registry = Registry(package=None)
    path.write_text(text.format("calibration/set.npz"))
    file = load_pipeline_file(path, registry)
    assert (file.target, file.data) == ("qnn", str(folder / "calibration" / "set.npz"))
    assert file.plugins == (folder / "fakes.py",)
    assert "fold" in registry
    path.write_text(text.format("/abs/set.npz"))
    assert load_pipeline_file(path, registry).data == "/abs/set.npz"
    path.write_text(text.format("my_module.sub:samples"))
    assert load_pipeline_file(path, registry).data == "my_module.sub:samples"
    path.write_text('passes = "fold"')
    file = load_pipeline_file(path, registry)
    assert (file.target, file.data, file.plugins) == (None, None, ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('pases = "fold"', "unknown key 'pases'; did you mean passes?"),
        ("zzz = 1", "unknown key 'zzz'; known are passes, pass, target, data, plugins"),
        ("", "a pipeline file has either `passes` or [[pass]] tables"),
        ('passes = "fold"\n[[pass]]\nname = "fold"', "a pipeline file has either `passes` or [[pass]] tables"),
        ("passes = []", "passes: names no pass"),
        ('passes = ""', "passes: the name of a pass is missing here"),
        ("passes = 3", "passes: expected a list, found 3"),
        ('pass = "fold"', "pass: expected a list, found 'fold'"),
        ('passes = ["fold", 3]', "passes 2: expected a text, found 3"),
        ('passes = ["fold", "fodl"]', "passes 2: there is no pass 'fodl'; did you mean fold?\n    fodl\n    ^^^^"),
        ("[[pass]]\neager = true", "pass 1: name: expected a text, found nothing"),
        ('[[pass]]\nname = "fold,fold"', "pass 1: name: 'fold,fold' is not the name of a pass"),
        (
            '[[pass]]\nname = "fold"\nmax-byte = 3',
            "pass 1: fold has no option 'max-byte'; did you mean max-bytes?\n    fold{max-byte=3}\n         ^^^^^^^^",
        ),
        ('[[pass]]\nname = "fold"\n"eager rate" = 3', "pass 1: 'eager rate' is not the name of an option"),
        ('[[pass]]\nname = "fold"\nrate = nan', "pass 1: fold: rate takes a number, not nan"),
        ('[[pass]]\nname = "fold"\nrate = "a,b"', 'pass 1: fold: rate takes a number, not "a,b"'),
        ('[[pass]]\nname = "fold"\nops = [["a"]]', "pass 1: ops: ['a'] is no value of an option"),
        ('[[pass]]\nname = "fold"\nrate = 2020-01-01', "pass 1: rate: 2020-01-01 is no value of an option"),
        ('[[pass]]\nname = "repeat"', "pass 1: repeat needs a pipeline: repeat(...)"),
        ("target = 3", "target: expected a text, found 3"),
        ("data = []", "data: expected a text, found []"),
    ],
)
def test_an_error_names_the_file_and_the_key(folder: Path, text: str, message: str) -> None:
    with pytest.raises(BadPipeline) as caught:
        load(folder, text)
    assert str(caught.value).startswith(f"{folder / 'p.toml'}: {message}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("plugins = 'fakes.py'", "plugins: expected a list, found 'fakes.py'"),
        ("plugins = [1]", "plugins: expected a text, found 1"),
        ("plugins = ['none.py']", "plugins: "),
        ("passes = ", "is not TOML: "),
        ("a = " + "[" * 100_000, "is not TOML: "),
    ],
)
def test_a_file_that_does_not_load(folder: Path, content: str, message: str) -> None:
    (folder / "p.toml").write_text(content)
    with pytest.raises(BadPipeline) as caught:
        load_pipeline_file(folder / "p.toml", Registry(package=None))
    assert str(caught.value).startswith(f"{folder / 'p.toml'}: {message}")


def test_a_file_that_is_no_text_or_not_there(folder: Path) -> None:
    (folder / "p.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadPipeline, match=r"p\.toml: is not TOML: "):
        load_pipeline_file(folder / "p.toml", Registry(package=None))
    with pytest.raises(BadPipeline, match=r"none\.toml: the pipeline file cannot be read: No such file or directory$"):
        load_pipeline_file(folder / "none.toml", Registry(package=None))
