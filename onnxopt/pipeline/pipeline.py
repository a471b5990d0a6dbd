"""An ordered pipeline of passes, and the way from its text to objects and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn, TypeAlias

from onnxopt.errors import BadOption
from onnxopt.pipeline import grammar
from onnxopt.pipeline.base import Pass
from onnxopt.pipeline.options import OptionError, build, format_options
from onnxopt.pipeline.presets import PRESETS, REPEAT
from onnxopt.pipeline.registry import Registry
from onnxopt.pipeline.suggest import did_you_mean


@dataclass(frozen=True)
class Pipeline:
    """Passes, repeats and presets, to be run in order. Its text, `str(pipeline)`, is canonical and parses back."""

    elements: tuple[Step, ...]

    def __str__(self) -> str:
        return ",".join(map(_to_text, self.elements))

    def expand(self) -> Pipeline:
        """The same with every preset replaced by what it stands for: only passes and repeats are left."""
        steps: list[Step] = []
        for step in self.elements:
            if isinstance(step, Preset):
                steps += step.pipeline.expand().elements
            elif isinstance(step, Repeat):
                steps.append(Repeat(step.pipeline.expand(), step.max))
            else:
                steps.append(step)
        return Pipeline(tuple(steps))

    def fixed_dims(self) -> dict[str, int]:
        """The dimensions of the inputs that its passes fix, and their sizes."""
        return {name: size for pass_ in self.passes() for name, size in pass_.fixed_dims().items()}

    def passes(self) -> Iterator[Pass]:
        """Every pass in order, those in presets and repeats included, repeated ones once."""
        for step in self.elements:
            if isinstance(step, Pass):
                yield step
            else:
                yield from step.pipeline.passes()


@dataclass(frozen=True)
class Repeat:
    """Run a pipeline again and again until it changes nothing."""

    pipeline: Pipeline = field(metadata={"option": False})
    max: int = 8
    """Stop after this many rounds even if the last still changed something."""

    def __post_init__(self) -> None:
        if self.max < 1:
            raise ValueError(f"max is at least 1, not {self.max}")


@dataclass(frozen=True)
class Preset:
    """A pipeline that has a name, and prints as such."""

    name: str
    pipeline: Pipeline


Step: TypeAlias = Pass | Repeat | Preset
"""One element of a pipeline."""


def parse_pipeline(text: str, registry: Registry) -> Pipeline:
    """The pipeline that `text` describes, in the grammar of `onnxopt.pipeline.grammar`.

    BadPipeline for a text that is none, and for an unknown pass, option or value; three lines with carets under the
    place. No pass is ever skipped: an empty text is an error too.
    """
    return _Resolver(text, registry).pipeline(grammar.parse(text))


def _to_text(step: Step) -> str:
    if isinstance(step, Preset):
        return step.name
    if isinstance(step, Repeat):
        return f"{REPEAT}{format_options(step)}({step.pipeline})"
    return step.pass_name() + format_options(step)


class _Resolver:
    """Turns parsed elements into steps, knowing the text to point at."""

    def __init__(self, text: str, registry: Registry) -> None:
        self.text = text
        self.registry = registry

    def pipeline(self, elements: tuple[grammar.Element, ...]) -> Pipeline:
        return Pipeline(tuple(map(self.step, elements)))

    def step(self, element: grammar.Element) -> Step:
        name = element.name
        if name == REPEAT:
            if element.body is None:
                self.fail(f"{REPEAT} needs a pipeline: {REPEAT}(...)", element.name_at)
            return self.build(Repeat, element, pipeline=self.pipeline(element.body))
        if name not in PRESETS and name not in self.registry:
            known = (*self.registry.names(), *PRESETS, REPEAT)
            hint = did_you_mean(name, known, "; `onnxopt passes` lists them")
            self.fail(f"there is no pass {name!r}{hint}", element.name_at)
        if element.body is not None:
            self.fail(f"{name} takes no pipeline in parentheses, only {REPEAT} does", element.body_at)
        if name not in PRESETS:
            return self.build(self.registry.get(name), element)
        if element.options:
            self.fail(f"the preset {name} has no options", element.options[0].key_at)
        return Preset(name, parse_pipeline(PRESETS[name], self.registry))

    def build(self, owner: type[Step], element: grammar.Element, **given: Pipeline) -> Step:
        try:
            return build(owner, {option.key: option.value for option in element.options}, **given)
        except BadOption as error:
            at = element.name_at
            for option in element.options:
                if isinstance(error, OptionError) and option.key == error.key:
                    at = option.value_at if error.in_value else option.key_at
            raise grammar.bad_pipeline(str(error), self.text, at) from error

    def fail(self, message: str, at: grammar.Span) -> NoReturn:
        raise grammar.bad_pipeline(message, self.text, at)
