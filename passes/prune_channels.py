"""`prune-channels`: output channels, neurons and attention heads removed, with all that depends on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from onnxopt import ir
from onnxopt.errors import BadOption
from onnxopt.ir.edit import Edit
from onnxopt.ir.proven import ProvenShapes, ProvenShapesNonempty
from onnxopt.linear.setting import Setting
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.pruning.channels.budget import Limits, of_all, of_each, of_macs
from onnxopt.pruning.channels.compensation import Compensation
from onnxopt.pruning.channels.importance import Curve, Importance
from onnxopt.pruning.channels.latency_budget import of_latency
from onnxopt.pruning.channels.links import Axis, Hidden, Index
from onnxopt.pruning.channels.reader import readers_of
from onnxopt.pruning.channels.removal import Plan, kept_indices
from onnxopt.pruning.channels.second_moments import moments_of
from onnxopt.pruning.channels.selection import curves_of, selected
from onnxopt.pruning.channels.structure import Structure, find_structure
from onnxopt.pruning.channels.trial import Trials
from onnxopt.pruning.channels.unlike import set_apart
from onnxopt.pruning.masks import Mask, Masks
from onnxopt.pruning.teacher import Teacher, remember

_RATIO, _MOST = 0.3, 0.5


@dataclass(frozen=True)
class PruneChannels(Pass):
    """Remove whole output channels, neurons and attention heads, and everything that depends on them.

    Every operator says which indices of its tensors' axes go together: through depthwise and grouped Conv, residual
    Adds, Concat, Split, Slice, Gather, Reshape, Flatten, Transpose, squeeze and excitation, normalizations that keep
    channels apart, pooling, Resize, and all arithmetic. What goes together is a unit; units of the same axes are a
    group, and lose some of their number. The model gets smaller and stays dense; its inputs and outputs, and all names,
    stay. Without compensation its outputs are those of the model with the removed channels 0 where they are summed.

    A group stays as it is, with a reason, where it reaches an input or output of the model, a subgraph, an operator
    that works on the channels as a whole (LayerNormalization, Softmax or ReduceMean over them), one that is not known,
    or a size that is computed: `fold-constants` and `fold-shapes` before it help. Only the main graph is looked at.
    Axes whose size is open are never pruned.

    Where groups are compared by error (macs, latency, scope=global), each is tried: what a quarter of it, gone alone,
    does to the outputs, on samples unlike those it is judged by, says what its errors are worth. A BatchNormalization
    that is still there tells how much channels varied in training, so that those of which the samples show little do
    not seem superfluous: `fuse-conv-bn` comes after this pass then, and before it for l1 and l2.

    With data, what removed channels gave to the Conv, Gemm or MatMul that reads them is fitted by the channels that
    stay, by least squares, and the mean of what is missing goes into the bias; a weight of 0 stays 0. `reconstruct`
    after it goes on from there: which channels tensors kept is left with the teacher. A second run prunes again.
    """

    preserves: ClassVar[Preserves] = Preserves.ACCURACY
    needs: ClassVar[tuple[str, ...]] = ("Conv", "ConvTranspose", "Einsum", "Gather", "Gemm", "MatMul")

    ratio: float | None = None
    """The part of the units that goes; 0.3 where no target is given."""
    scope: Literal["group", "global"] = "group"
    """Whether `ratio` is of each group, or of all units together, the least important first."""
    macs: float | None = None
    """The share of the model's MACs that is left, instead of `ratio`; those units go that cost least for what they
    save."""
    latency: float | None = None
    """The share of the time in onnxruntime that is left, instead of `ratio`: MACs go until it is measured."""
    importance: Importance | None = None
    """What is thought of a unit: the norm of its weights, `l1` or `l2`; its mean absolute `activation`; or the `error`
    of the layers that read it, once the others do their best for it. None: error with data, l2 without."""
    compensate: Compensation | None = None
    """What readers do for what they miss: `none`, its mean into their `bias`, or new `weights` too. None: weights with
    data."""
    multiple: int = 1
    """The units that stay in a group are a multiple of this, rounded up. onnxruntime's fast convolutions take 8 or 16
    channels at once: with other numbers a smaller model can take longer than the original."""
    min_channels: int = 1
    """Units that stay in every group."""
    max_ratio: float | None = None
    """The part of any group that may go at most; none: 0.5 where groups are compared, else as `ratio` says."""
    include: tuple[str, ...] = ("*",)
    """Layers that may lose outputs: globs of names of nodes, weights, or operators."""
    exclude: tuple[str, ...] = ()
    """Layers that may not, nor those that have to go along with them."""
    samples: int | None = 256
    """How many samples to look at; none: all."""

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in ("ratio", "macs", "latency", "max_ratio")}
        for name, value in given.items():
            if value is not None and not (0 < value < 1 or (name == "max_ratio" and value == 1)):
                raise ValueError(f"{name.replace('_', '-')} is {value:g}: give a number between 0 and 1")
        if sum(given[name] is not None for name in ("ratio", "macs", "latency")) > 1:
            raise ValueError("ratio, macs and latency are different targets: give one of them")
        for name in ("multiple", "min_channels", "samples"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name.replace('_', '-')} is {value}: give at least 1")

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Find the groups, judge their units, remove.

        Raises:
            BadOption: A pattern matches nothing, data are needed and not there, or a latency is out of reach.
            BadData: The data do not fit.
        """
        if ctx.data is None and (self.importance in ("activation", "error") or self.compensate in ("bias", "weights")):
            raise BadOption("importance by activation or error, and compensation, need calibration data: give --data")
        with ir.edit(graph) as edit:
            structure = find_structure(edit, ProvenShapesNonempty(graph))
            for node, reason in structure.refused:
                ctx.refuse(f"keeps all its outputs: {reason}", node)
            structure.groups[:] = selected(edit, structure.groups, self.include, self.exclude)
            if structure.groups:
                self._prune(edit, structure, ctx)
        return edit.changed

    def _prune(self, edit: Edit, structure: Structure, ctx: Context) -> None:
        data = ctx.data if self.samples is None or ctx.data is None else ctx.data.take(self.samples)
        importance = self.importance or ("l2" if data is None else "error")
        how = self.compensate or ("none" if data is None else "weights")
        groups, limits = structure.groups, Limits(self.min_channels, self.multiple, self._most)
        setting = Setting(ctx.analysis(ProvenShapes, edit.main), ctx.dialect)
        readers = readers_of(edit, groups, setting)
        compares = data is not None and importance == "error" and not self._is_of_each
        judged, tried = (data, data) if data is None or not compares else set_apart(edit.main, data)
        needs_moments = judged is not None and (importance == "error" or how != "none")
        moments = moments_of(edit, readers, judged, ctx.report_progress) if judged and needs_moments else {}
        curves = curves_of(edit, groups, importance, judged, (readers, moments), limits, ctx.report_progress)
        if tried is not None and compares:
            curves = Trials(structure, setting, moments, how).weighed(curves, tried)
            if data is not None and judged is not data and how != "none":
                moments = moments_of(edit, readers, data, ctx.report_progress)
        trials = Trials(structure, setting, moments, how)
        plan = self._plan(trials, curves, limits, ctx)
        if plan:
            teacher = remember(edit.main, ctx)
            kept = kept_indices(structure, plan)
            trials.apply(edit, structure, plan, moments)
            _hand_on(teacher, kept, ctx)

    @property
    def _most(self) -> float:
        return self.max_ratio or (1.0 if self._is_of_each else _MOST)

    @property
    def _is_of_each(self) -> bool:
        """Whether groups are not compared."""
        return self.macs is None and self.latency is None and self.scope == "group"

    def _plan(self, trials: Trials, curves: list[Curve], limits: Limits, ctx: Context) -> Plan:
        if self.macs is not None:
            plan = of_macs(trials.structure, curves, self.macs, limits)
        elif self.latency is not None:
            plan = of_latency(trials, curves, self.latency, limits, ctx.data)
        else:
            of = of_each if self.scope == "group" else of_all
            plan = of(curves, _RATIO if self.ratio is None else self.ratio, limits)
        allowed = {}
        for group, units in plan.items():
            if ctx.allow(f"{len(units)} of {group.units} units removed", group.node):
                allowed[group] = units
                ctx.count("groups")
                ctx.count("units removed", len(units))
        return allowed


def _hand_on(teacher: Teacher, kept: dict[Axis, Index], ctx: Context) -> None:
    """Tell those that follow what is left of tensors and of masks."""
    by_name: dict[str, dict[int, Index]] = {}
    for axis, indices in kept.items():
        if not isinstance(axis.of, Hidden):
            by_name.setdefault(axis.of.name, {})[axis.number] = indices
    teacher.narrow({name: next(iter(axes.values())) for name, axes in by_name.items() if len(axes) == 1})
    masks = ctx.kept(Masks)
    if masks is not None:
        ctx.keep(Masks(_narrowed(mask, by_name.get(mask.weight, {})) for mask in masks))


def _narrowed(mask: Mask, axes: dict[int, Index]) -> Mask:
    keep = mask.keep
    for axis, indices in axes.items():
        keep = np.take(keep, indices, axis)
    return Mask(mask.weight, mask.layer, keep)
