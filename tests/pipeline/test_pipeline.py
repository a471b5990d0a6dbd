from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxopt.errors import BadPipeline
from onnxopt.pipeline.base import Pass
from onnxopt.pipeline.pipeline import Pipeline, Preset, Repeat, parse_pipeline
from onnxopt.pipeline.presets import PRESETS
from onnxopt.pipeline.registry import Registry

PLUGIN = '''
from dataclasses import dataclass
from typing import Literal
from onnxopt.pipeline.base import Pass

@dataclass(frozen=True)
class Fold(Pass):
    """Folds."""
    max_bytes: int = 1024
    ops: tuple[str, ...] = ()
    merge: Literal["auto", "never"] = "auto"
    eager: bool = False

    def __post_init__(self):
        if self.max_bytes < 0:
            raise ValueError("max-bytes is not negative")

    def run(self, graph, ctx):
        return False

@dataclass(frozen=True)
class DropRelu(Pass):
    """Drops."""
    def run(self, graph, ctx):
        return False
'''


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    plugin: Path = tmp_path_factory.mktemp("plugin") / "fakes.py"
    plugin.write_text(PLUGIN)
    registry = Registry(package=None)
    registry.load_plugin(plugin)
    return registry


@pytest.fixture(autouse=True)
def presets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Presets of the fake passes, under the names of the real ones."""
    monkeypatch.setitem(PRESETS, "O1", "fold,drop-relu")
    monkeypatch.setitem(PRESETS, "O2", "repeat{max=4}(O1,fold{eager=true})")


def test_a_text_becomes_passes_with_their_options(registry: Registry) -> None:
    fold, drop = registry.get("fold"), registry.get("drop-relu")
    pipeline = parse_pipeline("fold{max_bytes=2KiB eager ops=Conv,Gemm},drop-relu", registry)
    assert pipeline == Pipeline((fold(max_bytes=2048, eager=True, ops=("Conv", "Gemm")), drop()))  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("fold , drop-relu", "fold,drop-relu"),
        ("fold{}", "fold"),
        ("fold{merge=auto max-bytes=1KiB}", "fold"),
        ("fold{eager merge=never max_bytes=2KiB}", "fold{max-bytes=2048 merge=never eager=true}"),
        ('fold{ops="Conv","a b"}', 'fold{ops=Conv,"a b"}'),
        ("repeat(fold)", "repeat(fold)"),
        ("repeat{max=8}(fold)", "repeat(fold)"),
        ("repeat{max=2}(fold,repeat(O1))", "repeat{max=2}(fold,repeat(O1))"),
        ("O2,drop-relu", "O2,drop-relu"),
    ],
)
def test_the_text_of_a_pipeline_is_canonical_and_parses_back(registry: Registry, text: str, canonical: str) -> None:
    pipeline = parse_pipeline(text, registry)
    assert str(pipeline) == canonical
    assert parse_pipeline(canonical, registry) == pipeline


def test_presets_expand(registry: Registry) -> None:
    pipeline = parse_pipeline("O2,drop-relu", registry)
    assert isinstance(pipeline.elements[0], Preset)
    assert str(pipeline.expand()) == "repeat{max=4}(fold,drop-relu,fold{eager=true}),drop-relu"
    assert pipeline.expand().expand() == pipeline.expand()


def test_every_pass_in_order(registry: Registry) -> None:
    names = [step.pass_name() for step in parse_pipeline("O2,drop-relu", registry).passes()]
    assert names == ["fold", "drop-relu", "fold", "drop-relu"]


def test_repeat_runs_eight_rounds_unless_told(registry: Registry) -> None:
    (repeat,) = parse_pipeline("repeat(fold)", registry).elements
    assert isinstance(repeat, Repeat)
    assert repeat.max == 8
    assert all(isinstance(step, Pass) for step in repeat.pipeline.elements)


ERRORS = """
there is no pass 'fodl'; did you mean fold?
    O1,fodl{eager}
       ^^^^

there is no pass 'o1'; did you mean O1?
    o1
    ^^

there is no pass 'Repeat'; did you mean repeat?
    Repeat(fold)
    ^^^^^^

there is no pass 'quantize'; `onnxopt passes` lists them
    repeat(fold,quantize)
                ^^^^^^^^

fold has no option 'marge'; did you mean merge?
    fold{eager marge=never}
               ^^^^^

fold: merge takes one of auto|never, not always
    fold{eager merge=always}
                     ^^^^^^

fold: max-bytes takes an integer (10, 64KiB, 2MB), not 1,5
    fold{max_bytes=1,5}
                   ^^^

fold: max-bytes takes an integer (10, 64KiB, 2MB), not nothing
    fold{max-bytes=}
                   ^

fold: max-bytes needs a value, an integer (10, 64KiB, 2MB)
    fold{max-bytes}
         ^^^^^^^^^

fold: max-bytes is not negative
    drop-relu,fold{max-bytes=-1}
              ^^^^

drop-relu has no option 'x'; it has none
    drop-relu{x}
              ^

the preset O1 has no options
    O1{max=1}
       ^^^

fold takes no pipeline in parentheses, only repeat does
    fold(drop-relu)
        ^^^^^^^^^^^

O1 takes no pipeline in parentheses, only repeat does
    O1(fold)
      ^^^^^^

repeat needs a pipeline: repeat(...)
    fold,repeat{max=2}
         ^^^^^^

repeat has no option 'rounds'; it has max
    repeat{rounds=2}(fold)
           ^^^^^^

repeat: max is at least 1, not 0
    repeat{max=0}(fold)
    ^^^^^^
"""


@pytest.mark.parametrize("expected", ERRORS.strip("\n").split("\n\n"))
def test_an_error_points_at_the_place(registry: Registry, expected: str) -> None:
    with pytest.raises(BadPipeline) as caught:
        parse_pipeline(expected.splitlines()[1].strip(), registry)
    assert str(caught.value) == expected


WORDS = ["fold", "drop-relu", "repeat", "O1", "O2", "(", ")", "{", "}", ",", "=", " ", "max", "ops", "eager", "1", '"']


@settings(max_examples=500, deadline=None)
@given(words=st.lists(st.sampled_from(WORDS)))
def test_any_text_is_a_pipeline_or_an_error(words: list[str], registry: Registry) -> None:
    try:
        pipeline = parse_pipeline("".join(words), registry)
    except BadPipeline:
        return
    assert parse_pipeline(str(pipeline), registry) == pipeline
