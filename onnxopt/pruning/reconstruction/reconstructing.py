"""Step by step through a model: what each gives out is brought back to what the original gives out there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from onnxopt import ir
from onnxopt.activations.streaming import batches
from onnxopt.data import DataSet
from onnxopt.ir.edit import Edit
from onnxopt.linear.match import NoMatch
from onnxopt.linear.setting import Setting
from onnxopt.pipeline.base import Context
from onnxopt.pruning.reconstruction.beside import beside, target_name
from onnxopt.pruning.reconstruction.steps import Step, runs, steps
from onnxopt.pruning.teacher import Teacher


def reconstruct(
    edit: Edit, teacher: Teacher, data: DataSet, setting: Setting, ctx: Context, *, layers: bool = True
) -> None:
    """Fit layers, or only correct normalizations, in the order of the graph.

    What a step reads is computed by the model as the steps before it have left it, so that it makes good what they
    could not. For each run of steps that do not depend on each other, both models are computed as far as need be.

    Raises:
        BadData: The data do not fit.
        NotRunnable: onnxruntime does not take a model.
    """
    found = steps(edit, teacher, setting, data.length, ctx, layers=layers)
    done = 0
    for run in runs(edit.main, found):
        if ctx.report_progress:
            ctx.report_progress("layers", done, len(found))
        done += len(run)
        for step in _gathered(edit.main, teacher, run, data, ctx):
            with _refusing(step, ctx):
                step.settle(edit, ctx)
    if ctx.report_progress and found:
        ctx.report_progress("layers", done, len(found))


def _gathered(graph: ir.Graph, teacher: Teacher, run: Sequence[Step], data: DataSet, ctx: Context) -> Iterator[Step]:
    """Steps that have seen all data; those that do not fit the original are refused."""
    names = {step.data for step in run}
    targets = {step.target: target_name(step.target) for step in run}
    both = beside(graph, names, teacher.graph, targets)
    left = list(run)
    for batch in batches(both, [*names, *targets.values()], data):
        fitting = []
        for step in left:
            target, kept = batch.values[targets[step.target]], teacher.channels.get(step.target)
            with _refusing(step, ctx):
                step.add(batch, target if kept is None else np.take(target, kept, axis=step.axis))
                fitting.append(step)
        left = fitting
    yield from left


@contextmanager
def _refusing(step: Step, ctx: Context) -> Iterator[None]:
    """A step that says NoMatch is left alone."""
    try:
        yield
    except NoMatch as no:
        ctx.refuse(str(no), step.node)
