"""What is asked of TensorRT's builder and what it answers: plain data, for both sides of the child process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

WORKSPACE = 1 << 30
"""Bytes that a layer may use for itself while it runs."""
MODEL, ENGINE, LOG, STAGE, PROGRESS, TIMINGS = "model.onnx", "engine", "log", "stage", "progress", "timings"
"""Files of the working folder: the model, what was built of it, every line that the builder said, what it is at, how
far it is, and its timing cache."""


@dataclass(frozen=True)
class Profile:
    """The shapes that an input may have: the builder optimizes for `opt`, and takes all between `min` and `max`."""

    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]


@dataclass(frozen=True)
class Wanted:
    """How an engine is to be built."""

    module: str = "tensorrt_rtx"
    """The Python module of the bindings."""
    workspace: int = WORKSPACE
    """Bytes."""
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    """By input, for those of dynamic shape."""
    values: Mapping[str, Profile] = field(default_factory=dict)
    """By input, for those whose values decide shapes."""
    capabilities: tuple[str, ...] = ()
    """Of the devices that it is for, as `8.6`; none: what the builder takes by itself."""
    timing_cache: bool = False
    """Whether to read and write TIMINGS of the working folder."""
    builds: bool = True
    """Whether to go on once the model is parsed."""


@dataclass(frozen=True)
class ParserError:
    """One node that the parser does not take."""

    index: int
    """Its place among the nodes of its graph; -1 where the parser does not tell."""
    operator: str
    name: str
    reason: str

    @property
    def node(self) -> str:
        """As messages name it."""
        return f"{self.operator} '{self.name}'" if self.operator else "the model"


@dataclass(frozen=True)
class Port:
    """An input or output of the network."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    """-1 where a dimension is dynamic."""


@dataclass(frozen=True)
class Built:
    """The child's answer."""

    version: str = ""
    errors: tuple[ParserError, ...] = ()
    """All nodes that the parser does not take; nothing is built then."""
    is_built: bool = False
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()
    capabilities: tuple[str, ...] = ()
    """What the builder said it builds for, such as `CURRENT` or `SM86`; none where it does not tell."""
    has_gpu: bool = False
    """Whether there is one where it was built."""
    lacking: str = ""
    """What this version cannot do of what is wanted, in one line."""
