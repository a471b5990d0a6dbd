"""Where the time of a model goes in onnxruntime, kernel by kernel, and which nodes of the model a kernel stands for."""

from __future__ import annotations

import json
import re
import tempfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import onnx
import onnxruntime as ort
from onnx import GraphProto, NodeProto

from onnxopt.data.spec import Feeds
from onnxopt.runtime.session import NotRunnable, session_options, to_ort

_KERNEL = "_kernel_time"
_MICRO = 1e-6
_SUFFIX = re.compile(r"(_nchwc|_token_\d+|_quant)$")
"""What onnxruntime appends to the name of a node, or of its output, where it puts another in its place."""
_LAYOUT = ("ReorderInput", "ReorderOutput")
"""Its operators that bring a tensor into a blocked layout and back."""
_TAKEN_OVER = ("Add", "Clip", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Tanh")
"""What its blocked Conv also computes of what follows, under the name of its own output."""
_WARM_UP, _RUNS = 3, 20


@dataclass(frozen=True)
class Kernel:
    """A node as onnxruntime runs it."""

    name: str
    op: str
    """Its operator: onnxruntime's own for a fused one."""
    seconds: float
    """Of the median run of the model; all of them together where it is in the body of a loop."""
    calls: float
    """In one run of the model."""
    stands_for: tuple[str, ...]
    """The nodes of the model that it computes, by name or else by their first output; empty for what onnxruntime added
    itself, such as a change of layout."""


@dataclass(frozen=True)
class Profile:
    """All kernels of a model, the slowest first."""

    kernels: tuple[Kernel, ...]
    run: float
    """Seconds of the median run, while it was profiled."""

    @property
    def inside(self) -> float:
        """Seconds of one run that kernels take; the rest is onnxruntime's own work between them."""
        return sum(each.seconds for each in self.kernels)


def profile(model: Path, feeds: Sequence[Feeds], *, optimize: bool = True, threads: int = 1) -> Profile:
    """Run a model under onnxruntime's profiler; the runs after the first few count.

    Args:
        model: Its file.
        feeds: What to run it on.
        optimize: Whether onnxruntime may rewrite the graph, as for `Session`.
        threads: As for `Session`.

    Raises:
        NotRunnable: onnxruntime refuses the model or the inputs.
    """
    with tempfile.TemporaryDirectory(prefix="onnxopt-") as folder:
        options = session_options(optimize=optimize, threads=threads)
        options.enable_profiling = True
        options.profile_file_prefix = f"{folder}/profile"
        options.optimized_model_filepath = f"{folder}/optimized.onnx"
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "weights")
        try:
            session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
            for _ in range(_WARM_UP + _RUNS):
                for fed in feeds:
                    session.run(None, {name: to_ort(value) for name, value in fed.items()})
            trace = Path(session.end_profiling()).read_text()
        except Exception as error:  # its classes have no common base
            raise NotRunnable(f"{model}: onnxruntime cannot profile it: {' '.join(str(error).split())}") from error
        optimized = onnx.load(f"{folder}/optimized.onnx", load_external_data=False)
    origins = _Origins(onnx.load(model, load_external_data=False).graph)
    return _read(json.loads(trace), origins.of(optimized.graph), _WARM_UP * len(feeds))


def key_of(node: NodeProto) -> str:
    """What a node is called here: its name, or else its first output."""
    return node.name or next((name for name in node.output if name), node.op_type)


def every_node(graph: GraphProto) -> Iterator[NodeProto]:
    """The nodes of a graph and of those inside its nodes."""
    pending = [graph]
    while pending:
        for node in pending.pop().node:
            yield node
            for attribute in node.attribute:
                pending += [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]


class _Origins:
    """Finds the nodes of a model behind those of the graph that onnxruntime made of it."""

    def __init__(self, graph: GraphProto) -> None:
        self._makers = {name: node for node in every_node(graph) for name in node.output if name}
        self._named = {node.name: node for node in every_node(graph) if node.name}
        self._readers: dict[str, list[NodeProto]] = {}
        for node in every_node(graph):
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def of(self, optimized: GraphProto) -> dict[str, tuple[str, ...]]:
        """By the name of each kernel: the nodes from what it makes back to what any other kernel makes."""
        kernels = {node.name or node.op_type: node for node in every_node(optimized)}
        made = {name: self._made(node) for name, node in kernels.items()}
        ends = {tensor for tensors in made.values() for tensor in tensors}
        for name, node in kernels.items():
            if not any(tensor in self._makers for tensor in node.output):
                made[name] = [self._followed(tensor, ends) for tensor in made[name]]
        ends = {tensor for tensors in made.values() for tensor in tensors}
        return {name: self._behind(tensors, ends - set(tensors)) for name, tensors in made.items()}

    def _made(self, node: NodeProto) -> list[str]:
        """The tensors of the model that a kernel makes: onnxruntime leaves tensors the names that they have.

        Where it made new ones, as for its blocked layout, the name of the node tells of which; what only takes the
        layout back makes none.
        """
        if node.op_type.startswith(_LAYOUT):
            return []
        made = [name for name in node.output if name in self._makers]
        name = node.name
        while not made and name:
            if name in self._makers:
                made = [name]
            elif name in self._named:
                made = [output for output in self._named[name].output if output]
            before, name = name, _SUFFIX.sub("", name)
            if name == before:
                break
        return made

    def _followed(self, tensor: str, ends: set[str]) -> str:
        """The tensor behind the nodes that a kernel took over: they alone read it, and no kernel has their output."""
        while len(readers := self._readers.get(tensor, [])) == 1 and readers[0].op_type in _TAKEN_OVER:
            if readers[0].output[0] in ends:
                break
            tensor = readers[0].output[0]
        return tensor

    def _behind(self, made: Sequence[str], ends: set[str]) -> tuple[str, ...]:
        found: dict[int, NodeProto] = {}
        pending = [self._makers[name] for name in made]
        while pending:
            one = pending.pop()
            if id(one) not in found:
                found[id(one)] = one
                pending += [self._makers[name] for name in one.input if name in self._makers and name not in ends]
        return tuple(reversed([key_of(each) for each in found.values() if each.op_type != "Constant"]))


def _read(events: list[dict[str, Any]], origins: dict[str, tuple[str, ...]], skipped: int) -> Profile:
    """The kernels of all runs but the first ones, which warmed up: the median run of each."""
    runs = sorted((event for event in events if event.get("name") == "model_run"), key=lambda event: event["ts"])[
        skipped:
    ]
    starts = [event["ts"] for event in runs]
    spent: dict[tuple[str, str], list[list[int]]] = {}
    for event in events:
        number = bisect_right(starts, event.get("ts", -1)) - 1
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL) and number >= 0:
            key = (event["name"].removesuffix(_KERNEL), event["args"]["op_name"])
            spent.setdefault(key, [[] for _ in runs])[number].append(event["dur"])
    kernels = [
        Kernel(name, op, median(map(sum, times)) * _MICRO, fmean(map(len, times)), origins.get(name, ()))
        for (name, op), times in spent.items()
    ]
    kernels.sort(key=lambda kernel: -kernel.seconds)
    return Profile(tuple(kernels), median(event["dur"] for event in runs) * _MICRO)
