from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import pytest

from onnxopt.errors import BadOption
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.pipeline.options import OptionError, build, format_options, options_of

if TYPE_CHECKING:
    import numpy as np

    from onnxopt import ir


@dataclass(frozen=True)
class Nothing(Pass):
    """Leaves the graph as it is."""

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        return False


@dataclass(frozen=True)
class Prune(Nothing):
    """Zeroes small weights."""

    preserves: ClassVar[Preserves] = Preserves.ACCURACY

    sparsity: float = 0.5
    """Share of the weights to zero.

    Between 0 and 1.
    """
    per_channel: bool = False
    """Whether each output channel is pruned alike."""
    ops: tuple[str, ...] = ("Conv", "Gemm")
    """Operators to prune."""
    undocumented: int | None = None
    seeds: dict[str, int] = field(default_factory=dict)
    """Seeds by name."""
    hidden: int = field(default=1, init=False)

    def __post_init__(self) -> None:
        if not 0 <= self.sparsity <= 1:
            raise ValueError(f"sparsity is between 0 and 1, not {self.sparsity}")


@dataclass(frozen=True)
class PruneMore(Prune):
    """The same with other defaults."""

    sparsity: float = 0.9
    merge: Literal["auto", "always", "never"] = "auto"
    """When to merge."""


@dataclass(frozen=True)
class Cast(Nothing):
    """A pass with an option that has no default."""

    to: Literal["fp16", "bf16"]
    """The type to cast to."""


def test_the_fields_are_the_options() -> None:
    options = {option.name: option for option in options_of(Prune)}
    assert list(options) == ["sparsity", "per-channel", "ops", "undocumented", "seeds"]
    assert options["ops"].default == ("Conv", "Gemm")
    assert options["ops"].default_text == "Conv,Gemm"
    assert options["seeds"].default == {}
    assert options["undocumented"].default_text == "none"
    assert options["per-channel"].kind.expected == "one of true|false"
    assert options["per-channel"].doc == "Whether each output channel is pruned alike."
    assert options["sparsity"].doc == "Share of the weights to zero.\n\nBetween 0 and 1."
    assert options["undocumented"].doc == ""


def test_options_and_their_docs_are_inherited() -> None:
    options = {option.name: option for option in options_of(PruneMore)}
    assert list(options) == ["sparsity", "per-channel", "ops", "undocumented", "seeds", "merge"]
    assert options["sparsity"].default == 0.9
    assert options["sparsity"].doc.startswith("Share of the weights")
    assert options["merge"].doc == "When to merge."


def test_an_option_without_default_is_required() -> None:
    (option,) = options_of(Cast)
    assert option.required
    assert option.default_text == ""
    assert build(Cast, {"to": "bf16"}) == Cast("bf16")
    with pytest.raises(OptionError, match=r"^cast needs to, one of fp16\|bf16$"):
        build(Cast, {})


def test_build_from_text() -> None:
    built = build(Prune, {"sparsity": "0.3", "per_channel": None, "ops": "MatMul", "seeds": "a:1"})
    assert built == Prune(sparsity=0.3, per_channel=True, ops=("MatMul",), seeds={"a": 1})
    assert build(Prune, {"per-channel": "false"}) == Prune()


@pytest.mark.parametrize(
    ("texts", "message", "key", "in_value"),
    [
        ({"sparsty": "0.3"}, "prune has no option 'sparsty'; did you mean sparsity?", "sparsty", False),
        (
            {"zzz": None},
            "prune has no option 'zzz'; it has sparsity, per-channel, ops, undocumented, seeds",
            "zzz",
            False,
        ),
        ({"sparsity": "half"}, "prune: sparsity takes a number, not half", "sparsity", True),
        ({"per_channel": "maybe"}, "prune: per-channel takes one of true|false, not maybe", "per_channel", True),
        ({"sparsity": ""}, "prune: sparsity takes a number, not nothing", "sparsity", True),
        ({"sparsity": None}, "prune: sparsity needs a value, a number", "sparsity", False),
        ({"per-channel": None, "per_channel": None}, "prune: per-channel is given twice", "per_channel", False),
        ({"sparsity": "1.5"}, "prune: sparsity is between 0 and 1, not 1.5", None, False),
    ],
)
def test_what_cannot_be_set(texts: dict[str, str | None], message: str, key: str | None, in_value: bool) -> None:
    with pytest.raises(OptionError) as caught:
        build(Prune, texts)
    assert isinstance(caught.value, BadOption)
    assert (str(caught.value), caught.value.key, caught.value.in_value) == (message, key, in_value)


def test_a_pass_without_options() -> None:
    assert options_of(Nothing) == ()
    with pytest.raises(OptionError, match="nothing has no option 'x'; it has none"):
        build(Nothing, {"x": None})


def test_only_what_is_not_default_is_written() -> None:
    assert format_options(Prune()) == ""
    assert format_options(Prune(ops=("a b",), sparsity=0.1)) == '{sparsity=0.1 ops="a b"}'
    assert format_options(Prune(ops=())) == "{ops=}"
    assert format_options(Cast("fp16")) == "{to=fp16}"


class Forgotten(Nothing):
    size: int = 3


@dataclass(frozen=True)
class Unresolved(Nothing):
    values: np.ndarray | None = None


@dataclass(frozen=True)
class Unsupported(Nothing):
    sizes: list[int] = dataclasses.field(default_factory=list)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Forgotten, r"^forgotten: the class Forgotten needs @dataclass\(frozen=True\)$"),
        (Unresolved, "^unresolved: the type of an option cannot be resolved: name 'np' is not defined"),
        (Unsupported, r"^unsupported: option sizes: list\[int\] is no type for an option; use bool, int"),
    ],
)
def test_a_class_whose_options_cannot_be_text_says_so(wrong: type[Pass], message: str) -> None:
    with pytest.raises(BadOption, match=message):
        options_of(wrong)
