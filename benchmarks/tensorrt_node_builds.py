"""Many models through TensorRT's builder, as the backend does it, in processes that one failed build ends.

A process is forked off one that has loaded the libraries, which spares most of the second that a build takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import local
from typing import Any

BUILT, REFUSED, HAZARD, GARBAGE, CRASHED = "built", "refused", "hazard", "garbage", "crashed"
"""HAZARD: the backend refuses it, since it would build and be silently otherwise; GARBAGE: it is no model."""
UNBUILT = "parses, and does not build"
_PATIENCE = 120.0
"""Seconds for one model."""
_PRELOADED = ["__main__", "tensorrt_rtx", "onnxopt.backends.tensorrt.writing"]


@dataclass(frozen=True)
class Job:
    """A model to be built."""

    model: bytes
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """For a profile of inputs that have dimensions without a size."""
    checked: bool = True
    """Whether it goes through what the backend refuses by itself; else it is the parser and builder alone."""


@dataclass(frozen=True)
class Verdict:
    """What became of it."""

    what: str
    where: tuple[str, ...] = ()
    """The nodes, or tensors, that an error names."""
    why: str = ""
    is_spent: bool = False
    """Whether the process that found it is to build nothing more."""


def build_all(jobs: Iterable[Job], processes: int) -> Iterator[Verdict]:
    """In their order, so many at a time."""
    context = get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    each = local()
    workers: list[_Worker] = []

    def work(job: Job) -> Verdict:
        if not hasattr(each, "worker"):
            each.worker = _Worker(context)
            workers.append(each.worker)
        verdict: Verdict = each.worker.ask(job)
        return verdict

    with ThreadPoolExecutor(processes) as pool:
        yield from pool.map(work, jobs)
    for worker in workers:
        worker.stop()


class _Worker:
    """A process that builds one model after the other, and another one after each that failed."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._process: BaseProcess | None = None
        self._line: Connection | None = None

    def ask(self, job: Job) -> Verdict:
        if self._process is None:
            self._line, theirs = self._context.Pipe()
            self._process = self._context.Process(target=_serve, args=(theirs,), daemon=True)
            self._process.start()
            theirs.close()
        assert self._line is not None
        try:
            self._line.send(job)
            if not self._line.poll(_PATIENCE):
                self.stop()
                return Verdict(CRASHED, why=f"more than {_PATIENCE:g} s")
            verdict, is_spent = self._line.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            code = self._process.exitcode
            self.stop()
            return Verdict(CRASHED, why=f"it ended with {code}")
        if is_spent:
            self.stop()
        return verdict  # type: ignore[no-any-return]  # of a pipe

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None


def _serve(line: Connection) -> None:
    while True:
        job = line.recv()
        verdict = _checked(job) if job.checked else _alone(job)
        line.send((verdict, verdict.is_spent))


def _alone(job: Job) -> Verdict:
    """The parser and the builder alone."""
    import tensorrt_rtx as trt

    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(job.model):
        return Verdict(REFUSED, why="does not parse")
    config, profiles = builder.create_builder_config(), _wanted(job).profiles
    if profiles:
        profile = builder.create_optimization_profile()
        for name, shapes in profiles.items():
            profile.set_shape(name, shapes.min, shapes.opt, shapes.max)
        config.add_optimization_profile(profile)
    is_built = builder.build_serialized_network(network, config) is not None
    return Verdict(BUILT) if is_built else Verdict(REFUSED, why=UNBUILT, is_spent=True)


def _checked(job: Job) -> Verdict:
    """As the backend: what it refuses by itself, onnx's checker, the parser, the builder; each error with its nodes."""
    from onnxopt import ir
    from onnxopt.backends.tensorrt.building import Attempt, reason
    from onnxopt.backends.tensorrt.naming import with_names
    from onnxopt.backends.tensorrt.refused import builder_problem, parser_problems
    from onnxopt.backends.tensorrt.refusing import hazards
    from onnxopt.backends.tensorrt.vendor import build
    from onnxopt.backends.tensorrt.wanted import LOG, MODEL
    from onnxopt.errors import BadModel
    from onnxopt.runtime.executable import complaint

    with TemporaryDirectory(prefix="onnxopt-tensorrt-nodes-") as folder:
        path = Path(folder) / MODEL
        path.write_bytes(job.model)
        try:
            graph = with_names(ir.load(path).copy())
        except BadModel as error:
            return Verdict(GARBAGE, why=str(error))
        if problems := hazards(graph):
            return Verdict(HAZARD, tuple(each.node for each in problems), problems[0].reason)
        ir.save(graph, path, sync=False)
        if wrong := complaint(path):
            return Verdict(GARBAGE, why=wrong)
        built = build(folder, _wanted(job))
        if built.is_built:
            return Verdict(BUILT)
        if built.lacking:
            return Verdict(REFUSED, ("an option",), built.lacking)
        if built.errors:
            problems = parser_problems(built.errors, graph)
        else:  # it parses
            log = (Path(folder) / LOG).read_text(encoding="utf-8", errors="replace")
            problems = [builder_problem(Attempt("building", why=reason(log)), graph)]
        named = tuple(each.node for each in problems)
        return Verdict(REFUSED, named, problems[0].reason, is_spent=not built.errors)


def _wanted(job: Job) -> Any:
    """A profile of the sizes that the inputs have, for those that declare none."""
    from onnx import ModelProto

    from onnxopt.backends.tensorrt.wanted import Profile, Wanted

    found = {}
    for info in ModelProto.FromString(job.model).graph.input if job.shapes else ():
        dims = info.type.tensor_type.shape.dim
        if info.name in job.shapes and not all(dim.HasField("dim_value") for dim in dims):
            found[info.name] = Profile(*[job.shapes[info.name]] * 3)
    return Wanted(profiles=found)
