"""One node model: lowered, written, read back, evaluated, compared. Runs in a worker process."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from conformance_cases import disagreement
from onnx import ModelProto

EQUAL, REFUSED, NOT_EVALUABLE, WRONG, CRASHED = "equal", "refused", "not evaluable", "WRONG", "CRASHED"
_RTOL, _ATOL = 1e-3, 1e-5


@dataclass(frozen=True)
class Job:
    """A model with its inputs and what it must give."""

    name: str
    op: str
    model: ModelProto
    feeds: dict[str, Any]
    expected: dict[str, Any]
    rtol: float
    atol: float
    target: str
    plain: bool
    """Whether it is one of those that the peer was measured on."""


@dataclass(frozen=True)
class Outcome:
    """What became of a model."""

    name: str
    op: str
    verdict: str
    why: str = ""
    blamed: str = ""
    """The operator that was refused, or the operation that cannot be evaluated."""


def prepare() -> None:
    """Coremltools is loud."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  for as long as the process lives
    import coremltools  # noqa: F401


def work(jobs: list[Job]) -> list[Outcome]:
    """Every model of a chunk."""
    return [_outcome(job) for job in jobs]


def _outcome(job: Job) -> Outcome:
    from onnxopt.backends.coreml.evaluator import NotEvaluable

    try:
        return _evaluated(job)
    except NotEvaluable as error:
        text = str(error)
        operation = text.split("the operation ")[-1].split(" ")[0]
        return Outcome(job.name, job.op, NOT_EVALUABLE, text.split("evaluated here: ")[-1], operation)
    except Exception as error:  # noqa: BLE001  any is a fault of ours, to be listed
        return Outcome(job.name, job.op, CRASHED, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


def _evaluated(job: Job) -> Outcome:
    from onnxopt.backends.coreml.compiling import Asked
    from onnxopt.backends.coreml.evaluating import compile_and_run
    from onnxopt.data import outputs_of

    with tempfile.TemporaryDirectory(prefix="onnxopt-coreml-nodes-") as folder:
        model = Path(folder) / "model.onnx"
        model.write_bytes(job.model.SerializeToString())
        package = Path(folder) / "model.mlpackage"
        compiled, given = compile_and_run(
            model, Asked(job.target, "float32"), package, [job.feeds], outputs_of(job.model)
        )
    if compiled.problems:
        problem = compiled.problems[0]
        return Outcome(job.name, job.op, REFUSED, problem.reason, problem.node.split(" ")[0])
    for name, value in job.expected.items():
        why = disagreement(value, given[0][name], *_tolerance(job, np.asarray(value).dtype))
        if why:
            return Outcome(job.name, job.op, WRONG, f"'{name}': {why}")
    return Outcome(job.name, job.op, EQUAL)


def _tolerance(job: Job, dtype: np.dtype[Any]) -> tuple[float, float]:
    """Relative and absolute: of float16 four units in the last place, for every operation rounds."""
    if dtype == np.float16:
        return max(job.rtol, 2**-8), 1e-3
    return max(job.rtol, _RTOL), max(job.atol, _ATOL)
