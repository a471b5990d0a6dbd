"""One candidate on trial: in a fork, so that neither a crash nor the edits of the passes outlive it."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from onnxopt.atomic import replacing
from onnxopt.errors import BadData, BadOption, CheckFailed, OnnxoptError, PassFailed
from onnxopt.ir.exporter import WITHHELD
from onnxopt.pipeline.base import Context
from onnxopt.pipeline.instruments.verify import Verify
from onnxopt.pipeline.manager import Instrument, Manager, PassRun
from onnxopt.pipeline.pipeline import Pipeline
from onnxopt.pipeline.reduction.cuts import Change
from onnxopt.pipeline.reduction.failure import Failure, of_end, of_error, of_status
from onnxopt.pipeline.reduction.known import Known
from onnxopt.runtime.child import ChildFailed
from onnxopt.runtime.forked import Say, run_forked

if TYPE_CHECKING:
    from onnxopt import ir
    from onnxopt.data import DataSet, Feeds

_SKIP = 125
"""The exit status by which a command says that it cannot tell, as for `git bisect run`."""
_NOT_STARTED = (126, 127)
"""What a shell says of a command that cannot be run, or is not there."""
_ITSELF = "the model itself"


@dataclass
class _Marks(Instrument):
    """Says what a run is at."""

    say: Say

    def start(self, graph: ir.Graph, ctx: Context) -> None:
        self.say(_ITSELF)

    def before(self, run: PassRun, graph: ir.Graph, ctx: Context) -> None:
        self.say(run.name)

    def after(self, run: PassRun, graph: ir.Graph, ctx: Context) -> None:
        self.say(f"the model that {run.name} made")


@dataclass
class Trial:
    """How candidates are judged."""

    target: str | None
    calibrates: bool
    """Whether the passes are given the inputs as data."""
    seconds: float
    """The time limit of one candidate."""
    folder: Path
    """For files of candidates; temporary."""
    verifies: bool = False
    """Whether every pass is verified; else only that it neither raises nor crashes."""
    command: str = ""
    """What a user checks with; empty for none."""
    accepts_faults: bool = False
    """Whether onnx's checker refuses the input model itself, so that it may refuse a candidate too."""
    count: int = field(default=0, init=False)
    """Candidates so far."""

    def failure(
        self,
        graph: ir.Graph,
        pipeline: Pipeline | None,
        feeds: Sequence[Feeds] | None = None,
        change: Change | None = None,
        known: Known | None = None,
    ) -> Failure | None:
        """How a candidate, `graph` with a change made to it, fails; None where it does not, or is no candidate.

        Raises:
            OnnxoptError: Of a graph without a change: what the user did wrong.
        """
        self.count += 1
        known = known or Known()

        def work(say: Say) -> Failure | None:
            say(_ITSELF)
            fed = feeds
            if change is not None:
                change.apply(graph, known)
                one = known.feeds(graph)
                fed = None if one is None else [one]
            if self.command:
                return self._commanded(graph, pipeline, fed, say)
            assert pipeline is not None
            return self._run(graph, pipeline, fed, say)

        ended = run_forked(work, self.seconds)
        if isinstance(ended.error, ChildFailed):
            found: Failure | None = of_end(ended.error, ended.said)
        elif ended.error is not None:
            if change is None:
                raise ended.error
            return None
        else:
            found = ended.value
        if found is None or change is None or self.verifies:
            return found
        return found if self._is_valid(graph, change, known) else None

    def _is_valid(self, graph: ir.Graph, change: Change, known: Known) -> bool:
        """Whether onnx's checker takes the candidate itself. Verify has looked at that already, others have not."""

        def work(say: Say) -> str:
            change.apply(graph, known)
            return complaint_of(graph)

        ended = run_forked(work, self.seconds)
        return ended.error is None and (self.accepts_faults or not ended.value)

    def _run(self, graph: ir.Graph, pipeline: Pipeline, feeds: Sequence[Feeds] | None, say: Say) -> Failure | None:
        data = None if feeds is None else held(graph, feeds)
        verify = [Verify(data, samples=len(feeds or ()), fixed=pipeline.fixed_dims())] if self.verifies else []
        manager = Manager([_Marks(say), *verify])
        try:
            manager.run(graph, pipeline, Context(target=self.target, data=data if self.calibrates else None))
        except (CheckFailed, PassFailed) as error:
            if manager.current is None:  # the candidate itself cannot be run
                raise
            if verify and verify[0].reference and verify[0].reference.complaint and not self.accepts_faults:
                return None
            return of_error(error, manager.current)
        return None

    def _commanded(
        self, graph: ir.Graph, pipeline: Pipeline | None, feeds: Sequence[Feeds] | None, say: Say
    ) -> Failure | None:
        from onnxopt import ir

        files = {name: self.folder / file for name, file in _FILES.items()}
        if "{input}" in self.command or (pipeline is None):
            ir.save(graph, files["input"], sync=False)
        if "{data}" in self.command:
            if feeds is None:
                raise BadOption("--check asks for {data}, but the model has no inputs that it runs on; give --data")
            save_feeds(files["data"], feeds)
        if pipeline is not None:
            data = None if feeds is None else held(graph, feeds)
            Manager([_Marks(say)]).run(
                graph, pipeline, Context(target=self.target, data=data if self.calibrates else None)
            )
            ir.save(graph, files["model"], sync=False)
        else:
            files["model"] = files["input"]
        say("the command")
        ended = subprocess.run(filled_in(self.command, files), shell=True, check=False)
        if ended.returncode in (0, _SKIP):
            return None
        if ended.returncode in _NOT_STARTED:
            raise BadOption(f"--check {self.command!r} cannot be run: the shell ended with {ended.returncode}")
        return of_status(ended.returncode, self.command)


_FILES = {"model": "passed.onnx", "input": "candidate.onnx", "data": "inputs.npz"}


def filled_in(command: str, files: dict[str, Path]) -> str:
    """A command with the files in the place of {model}, {input} and {data}; the model at its end where it has none."""
    if "{model}" not in command and "{input}" not in command:
        command += " {model}"
    for name, path in files.items():
        command = command.replace(f"{{{name}}}", shlex.quote(str(path)))
    return command


def complaint_of(graph: ir.Graph) -> str:
    """What onnx's checker holds against a graph; empty for nothing.

    The checker has nothing to say of the numbers in large weights, so it is shown inputs in the place of these.
    """
    from onnx import TensorProto, helper

    from onnxopt import ir
    from onnxopt.ir.skeleton import SMALL
    from onnxopt.runtime.executable import complaint, executable

    try:
        model = ir.to_proto(graph, max_inline=SMALL)
        given = {value.name for value in model.graph.input}
        for index, tensor in reversed(list(enumerate(model.graph.initializer))):
            if tensor.data_location == TensorProto.EXTERNAL:
                if tensor.name not in given:
                    model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
                del model.graph.initializer[index]
        found = complaint(model)
        if WITHHELD not in found:
            return found
        with executable(graph) as whole:  # some are in subgraphs or attributes
            return complaint(whole)
    except OnnxoptError as error:
        return str(error)


def held(graph: ir.Graph, feeds: Sequence[Feeds]) -> DataSet:
    """Feeds as the data set that hands out these very feeds."""
    from onnxopt import ir
    from onnxopt.data import DataSet, inputs_of
    from onnxopt.data.layout import Layout

    specs = tuple(inputs_of(ir.to_proto(graph, max_inline=0)))
    layout = Layout("the inputs", specs, frozenset(spec.name for spec in specs), 1)
    return DataSet("the inputs", layout, lambda: iter(feeds), len(feeds))


def save_feeds(path: Path, feeds: Sequence[Feeds]) -> None:
    """Write feeds as an `.npz` that `--data` takes: one sample is what a whole input takes.

    Raises:
        BadData: An input is no tensor.
    """
    import numpy as np

    for name, value in feeds[0].items():
        if not isinstance(value, np.ndarray):
            raise BadData(f"input '{name}' is no tensor, and an .npz holds only these")

    def plain(value: object) -> np.ndarray:
        array = np.asarray(value)
        return array.astype(np.str_) if array.dtype.kind == "O" else array

    arrays = {name: np.stack([plain(one[name]) for one in feeds]) for name in feeds[0]}
    with replacing(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stubs: an array may be named allow_pickle
