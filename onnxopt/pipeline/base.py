"""What a pass is, and what it is given while it runs."""

from __future__ import annotations

import enum
import functools
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, runtime_checkable

from onnxopt.pipeline.target import target_class

if TYPE_CHECKING:
    from onnxopt import ir
    from onnxopt.data import DataSet
    from onnxopt.pipeline.dialect import Dialect

T = TypeVar("T")

_ANY = "onnx"
"""The target of a graph for none in particular."""


class Preserves(enum.Enum):
    """What a pass promises about the outputs; `--verify-each` and the tests hold it to that."""

    BITS = "bits"
    """The same outputs, bit for bit."""
    VALUES = "values"
    """The same outputs within floating-point reassociation."""
    ACCURACY = "accuracy"
    """Approximate by design: pruning, quantization."""


@dataclass(frozen=True)
class Pass(ABC):
    """One transformation of a graph.

    A subclass is a frozen dataclass: its fields are its options, documented by the string below each field; its
    docstring is its help; its name is the class's in kebab case, and the file's: `FoldConstants` in `fold_constants.py`
    is `fold-constants`.
    """

    preserves: ClassVar[Preserves] = Preserves.BITS
    needs: ClassVar[tuple[str, ...]] = ()
    """Operators of which one at least has to be there, or the pass would find nothing and is not run; none: any."""

    @abstractmethod
    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""

    def fixed_dims(self) -> Mapping[str, int]:
        """Sizes that the pass gives to symbolic dimensions of the inputs, and so to the interface of the model."""
        return {}

    @classmethod
    def pass_name(cls) -> str:
        """`FoldConstants` is `fold-constants`."""
        return _kebab(cls.__name__)


@functools.cache
def _kebab(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()


@dataclass(frozen=True)
class Rewrite:
    """One rewrite that a pass made, or would have made."""

    pass_name: str
    what: str
    where: str


@runtime_checkable
class Resuming(Protocol):
    """An analysis that can take over from earlier ones, its own kind or others, what has not changed since."""

    def resume(self, earlier: Iterable[object]) -> None:
        """Look at earlier analyses, the latest last, and find the same as without them."""


@dataclass
class Context:
    """Everything a pass may ask of its surroundings."""

    target: str | None = None
    """The target that the graph is being prepared for (`onnx`, `qnn`, `tensorrt`, `coreml`); None is any."""
    data: DataSet | None = None
    """Calibration data, streamed; never evaluation data."""
    limit: int | None = None
    """Allow only the first `limit` rewrites of the whole run; None is no limit."""
    report_progress: Callable[[str, int, int], None] | None = None
    """Called as (what, done, total) by long steps."""
    current: str = ""
    """The name of the pass that is running."""
    rewrites: list[Rewrite] = field(default_factory=list)
    """Every rewrite so far, in order."""
    touched: dict[ir.Node, list[str]] = field(default_factory=dict, repr=False)
    """The nodes that the running pass was allowed to rewrite, and what; the manager clears it before each pass."""
    refusals: list[Rewrite] = field(default_factory=list)
    """Every near match that a pass refused, with its reason as `what`."""
    statistics: Counter[str] = field(default_factory=Counter)
    """Figures by `pass: what`."""
    warnings: list[str] = field(default_factory=list)
    """What the user should know though nothing failed, one line each."""
    _analyses: dict[Any, tuple[ir.Graph, Any]] = field(default_factory=dict, repr=False)
    _outdated: dict[Any, tuple[ir.Graph, Any]] = field(default_factory=dict, repr=False)
    _kept: dict[type, Any] = field(default_factory=dict, repr=False)

    @property
    def dialect(self) -> Dialect:
        """How the target likes things to be spelled; onnxruntime where there is none.

        Raises:
            BadOption: There is no such target.
        """
        return target_class(self.target or _ANY).dialect()

    def allow(self, what: str, node: ir.Node | str = "") -> bool:
        """Ask before each single rewrite of `node`; an allowed one is recorded.

        This one gate gives `--limit`, bisecting to the rewrite, and the list of what was done where. A pass that is
        refused leaves the node as it is and goes on.
        """
        if self.limit is not None and len(self.rewrites) >= self.limit:
            return False
        self.rewrites.append(Rewrite(self.current, what, describe(node)))
        if not isinstance(node, str):
            self.touched.setdefault(node, []).append(what)
        return True

    def refuse(self, reason: str, node: ir.Node | str) -> None:
        """Record why a near match of `node` was left alone; `--explain` prints it."""
        self.refusals.append(Rewrite(self.current, reason, describe(node)))

    def count(self, what: str, amount: int = 1) -> None:
        """Add to a figure of the running pass, printed by `--timing` and in the JSON."""
        self.statistics[f"{self.current}: {what}"] += amount

    def warn(self, message: str) -> None:
        """Tell the user one line, named after the running pass; once, however often the pass says it."""
        line = f"{self.current}: {message}" if self.current else message
        if line not in self.warnings:
            self.warnings.append(line)

    def analysis(self, kind: Callable[[ir.Graph], T], graph: ir.Graph) -> T:
        """What `kind(graph)` finds, worked out once for as long as the graph stays as it is.

        The manager forgets it after a pass that changed something; a pass that goes on working after a change of its
        own says `forget` first.
        """
        known = self._analyses.get(kind)
        if known is None or known[0] is not graph:
            made = kind(graph)
            if isinstance(made, Resuming):
                made.resume([earlier for _, earlier in (*self._outdated.values(), *self._analyses.values())])
                self._outdated.pop(kind, None)
            known = self._analyses[kind] = (graph, made)
        found: T = known[1]
        return found

    def keep(self, found: object) -> None:
        """Leave something for the passes that follow, by its class; unlike an analysis it outlives changes."""
        self._kept[type(found)] = found

    def kept(self, kind: type[T]) -> T | None:
        """What a pass before this one left, or None: calibrated ranges, say."""
        found: T | None = self._kept.get(kind)
        return found

    def forget(self) -> None:
        """Drop every analysis: the graph has changed. Those that can go on from an earlier one will."""
        for kind, known in self._analyses.items():
            if isinstance(known[1], Resuming):
                self._outdated.pop(kind, None)  # the latest stands last
                self._outdated[kind] = known
        self._analyses.clear()

    def close(self) -> None:
        """Drop every analysis for good: the run is over."""
        self._analyses.clear()
        self._outdated.clear()

    def progress(self, items: Iterable[T], what: str, total: int) -> Iterable[T]:
        """Yield `items`, reporting how many of `total` are done."""
        for done, item in enumerate(items):
            if self.report_progress:
                self.report_progress(what, done, total)
            yield item
        if self.report_progress:
            self.report_progress(what, total, total)


def describe(node: ir.Node | str) -> str:
    """A node as messages name it: operator and name, or its first output where it has no name."""
    if isinstance(node, str):
        return node
    name = node.name or next((f"-> {out.name}" for out in node.outputs if out.name), "unnamed")
    return f"{node.op} {name}"
