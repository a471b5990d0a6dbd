"""`prune`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import ClassVar, Literal

from onnxopt import ir
from onnxopt.data.scoring import Metric
from onnxopt.errors import BadOption
from onnxopt.linear.layer_weights import Selection
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.pruning.by_second_order import by_second_order
from onnxopt.pruning.magnitude import by_magnitude, by_magnitude_together
from onnxopt.pruning.mask_file import load_masks
from onnxopt.pruning.masks import PRUNED, Mask, Masks, layer_name
from onnxopt.pruning.on_data import Pruned, Wanted
from onnxopt.pruning.patterns import Pattern
from onnxopt.pruning.prunable import Prunable, prunable
from onnxopt.pruning.schedule import steps_to
from onnxopt.pruning.sensitivity import search, usual_metric
from onnxopt.pruning.wanda import by_wanda
from onnxopt.pruning.writing import write_pruned
from onnxopt.runtime.evaluation import Subject
from onnxopt.runtime.executable import executable
from onnxopt.runtime.judging import Judge, allowed_drop

_USUAL = 0.3


@dataclass(frozen=True)
class Prune(Pass):
    """Set the weights that matter least to zero, and leave masks of them to the passes that follow.

    Every weight of Conv, ConvTranspose, Gemm, MatMul, LSTM and GRU (W and R; no biases), in every scope, float32 and
    float16. `prune{sparsity=0.5}` makes half of each weight zero; zeros that are there already count. With --data,
    `method=second-order` loses far less: the weights that are left make good what the others gave.

    Nothing becomes smaller or faster by that alone: `--emit onnx{sparse=true}`, Core ML's sparse encodings, TensorRT's
    2:4 and any compressed archive make something of it. Passes that follow keep a zero a zero, and a second `prune`
    adds to the zeros of the first. Masks may be kept beside the model (`--save-masks m.npz`) and applied again
    (`prune{masks=m.npz}`): bool arrays by the weights' names.

    `wanda` and `second-order` look at what the layers of the main graph are given on the calibration data; memory does
    not grow with the samples. Of convolutions in groups, and in blocks, `wanda` compares all outputs, else each output
    loses the same share; R of an LSTM or GRU meets the hidden states, Y. `second-order` prunes small layers exactly
    (Frantar and Alistarh 2022), larger ones in rounds, the largest in one sweep, and takes the mean of what is lost
    into the bias; with `scope=global` it measures on a few samples what an error of each layer does to the model, which
    loses far less. What they cannot see is pruned by magnitude, with a warning: layers of subgraphs and functions,
    shared weights, first factors; for `second-order` also ConvTranspose, LSTM and GRU.

    `sparsity=auto` finds a share for each weight: all layers are pruned alone to some shares, the model is judged each
    time on the calibration data, and the shares with the most zeros are taken that lose at most `max-drop` together.

    Left alone, with the reason: weights that a node reads which is no layer, that are outputs, stored as integers or
    otherwise typed, and layers whose inputs are too few for a pattern, or no multiple of it: depthwise convolutions
    and those upon an image, for 2:4.
    """

    preserves: ClassVar[Preserves] = Preserves.ACCURACY
    needs: ClassVar[tuple[str, ...]] = PRUNED

    method: Literal["magnitude", "wanda", "second-order"] = "magnitude"
    """What tells which weights matter: their magnitude; that times the norm of the data it meets (Sun et al. 2023); or
    what their removal does to the outputs of the layer, the others being updated (Frantar and Alistarh 2023)."""
    sparsity: float | Literal["auto"] | None = None
    """The share of each weight that is zero afterwards, 0 to 1; `auto`: as much as `max-drop` allows, a share for each
    weight; none: 0.3, or what an N:M pattern says."""
    scope: Literal["layer", "global"] = "layer"
    """Whether every weight loses that share, or all of them together: then the least important of the model go."""
    pattern: str = "unstructured"
    """Where zeros may lie: `unstructured`; `2:4`, at most 2 of 4 neighbouring inputs being other than zero; `4x1`,
    blocks of 4 outputs and 1 input."""
    layers: dict[str, float] = field(default_factory=dict)
    """Other shares for layers, weights or operators by pattern, `conv*:0.5,fc:0.2`; the first that matches counts."""
    exclude: tuple[str, ...] = ()
    """Patterns of layers, weights or operators to leave alone. One that matches nothing is an error."""
    steps: int = 1
    """In how many steps the zeros come, most of them first: what is left is judged anew in between. Not for
    magnitudes, which do not change."""
    samples: int | None = 256
    """How many samples to look at, and to judge on by `auto`; none: all."""
    max_drop: float | None = None
    """What `auto` may lose, in the metric's unit; none: 0.2 % of top1, 0.5 % of agreement, 0.15 dB, 0.001 of cosine.
    It is measured on the calibration data; unseen data lose more."""
    metric: str | None = None
    """What `auto` judges by: top1, psnr, psnr:PEAK, snr, cosine, agreement or module:function; none: top1 where the
    calibration data have integer labels; where they have none, agreement with the original's classes, if its only
    output is [samples, classes], else the cosine of the outputs."""
    labels: str | None = None
    """The array of the calibration data that holds the labels, or the target of psnr, snr or cosine."""
    masks: str | None = None
    """A file of masks to apply, and nothing else."""

    def __post_init__(self) -> None:
        pattern = Pattern.parse(self.pattern)
        for where, share in [("sparsity", self.sparsity), *self.layers.items()]:
            if isinstance(share, (int, float)) and not 0 <= share < 1:
                raise ValueError(f"the share of zeros for {where} is {share:g}: give 0 or more, and less than 1")
        if pattern.of and (isinstance(self.sparsity, (int, float)) or self.layers or self.scope == "global"):
            raise ValueError(f"pattern={pattern} says by itself how many zeros there are, everywhere")
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}: give at least 1")
        if self.steps > 1 and self.method == "magnitude":
            raise ValueError("steps is not for method=magnitude: magnitudes do not change in between")
        if self.samples is not None and self.samples < 1:
            raise ValueError(f"samples is {self.samples}: give at least 1")
        if self.masks is not None and (others := _given(self) - {"masks"}):
            raise ValueError(f"masks says by itself what becomes zero: {min(others)} is for a run without it")
        if self.sparsity == "auto" and (self.layers or self.scope == "global"):
            raise ValueError("sparsity=auto finds a share for each weight by itself: give no layers, and no scope")
        if self.sparsity != "auto" and (others := _given(self) & {"max-drop", "metric", "labels"}):
            raise ValueError(f"{min(others)} is for sparsity=auto")

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Choose, set to zero, leave the masks.

        Raises:
            BadOption: A pattern matches nothing, or there are no calibration data where they are needed.
            BadData: The file of masks cannot be read, or does not fit; or the data do not.
        """
        if self.masks is not None:
            return self._write(graph, _from_file(Path(self.masks), prunable(graph, ctx.refuse)), ctx)
        if self.sparsity == "auto":
            return self.prune_to(graph, self._searched(graph, ctx), ctx)
        pattern = Pattern.parse(self.pattern)
        shares = ((target, self._share(target, pattern)) for target in self.targets(graph, ctx))
        return self._prune(graph, [(target, share) for target, share in shares if share], ctx)

    def targets(self, graph: ir.Graph, ctx: Context) -> Sequence[Prunable]:
        """The weights that can be pruned in this pattern; the reasons for others are told."""
        Selection(tuple(self.layers), self.exclude).require_matches(graph, "prune", PRUNED)
        taken = Selection(("*",), self.exclude)
        pattern = Pattern.parse(self.pattern)
        found = []
        for target in prunable(graph, ctx.refuse):
            if not taken.takes(target.weight):
                continue
            if reason := target.obstacle(pattern):
                ctx.refuse(f"no zeros in {pattern}: {reason}", target.node)
            else:
                found.append(target)
        return found

    def prune_to(self, graph: ir.Graph, shares: Mapping[str, float], ctx: Context) -> bool:
        """Prune some weights, by name, to a share of zeros."""
        wanted = [(target, shares[target.name]) for target in self.targets(graph, ctx) if shares.get(target.name)]
        return self._prune(graph, wanted, ctx)

    @property
    def levels(self) -> Sequence[float]:
        """The shares of zeros that a weight can have: of N:M one; none where there are any."""
        share = Pattern.parse(self.pattern).sparsity
        return () if share is None else (share,)

    def _share(self, target: Prunable, pattern: Pattern) -> float:
        for one, share in self.layers.items():
            if Selection((one,), ()).takes(target.weight):
                return share
        usual = _USUAL if pattern.sparsity is None else pattern.sparsity
        return self.sparsity if isinstance(self.sparsity, (int, float)) else usual

    def _searched(self, graph: ir.Graph, ctx: Context) -> Mapping[str, float]:
        """The share of each weight, by name, that `max-drop` allows."""
        if ctx.data is None:
            raise BadOption("prune{sparsity=auto} needs calibration data: give --data")
        data = ctx.data if self.samples is None else ctx.data.take(self.samples)
        aside = Context(ctx.target, ctx.data, report_progress=ctx.report_progress, current=ctx.current)
        with executable(graph) as model:
            reference = Subject("the model", model)
            metric = Metric.of(self.metric, data, self.labels) if self.metric is not None else None
            metric = metric or usual_metric(reference, data, self.labels, self.max_drop)
            max_drop = allowed_drop(metric, self.max_drop, "prune")
            found = search(graph, self, aside, Judge(reference, data, metric), max_drop)
        ctx.keep(found)
        if not found.shares:
            ctx.warn(f"nothing is pruned: {metric.name} would lose more than {max_drop:g} {metric.unit}".rstrip())
        return found.shares

    def _prune(self, graph: ir.Graph, wanted: Sequence[Wanted], ctx: Context) -> bool:
        return self._write(graph, self._pruned(graph, wanted, ctx), ctx)

    def _write(self, graph: ir.Graph, made: Iterable[Pruned], ctx: Context) -> bool:
        masks: dict[str, Mask] = {}
        with ir.edit(graph) as edit:
            for pruned in made:
                if (mask := write_pruned(edit, pruned, ctx)) is not None:
                    masks[mask.weight] = mask
        if masks:
            ctx.keep((ctx.kept(Masks) or Masks()).merged(Masks(masks.values())))
            ctx.count("weights masked", sum(mask.zeros for mask in masks.values()))
            ctx.count("weights looked at", sum(mask.keep.size for mask in masks.values()))
        return edit.changed

    def _pruned(self, graph: ir.Graph, wanted: Sequence[Wanted], ctx: Context) -> Iterator[Pruned]:
        """What becomes of each weight; it may be written before the next is asked for."""
        for part, pattern in steps_to(Pattern.parse(self.pattern), self.steps):
            now = []
            for target, share in wanted:
                if self.scope == "layer" and target.is_pruned(part * share, pattern):
                    yield Pruned(target, target.weight.constant.read() != 0)
                else:
                    now.append((target, part * share))
            if now:
                yield from self._chosen(graph, now, pattern, ctx)
                ctx.forget()

    def _chosen(self, graph: ir.Graph, wanted: Sequence[Wanted], pattern: Pattern, ctx: Context) -> Iterator[Pruned]:
        together = self.scope == "global"
        if self.method == "magnitude":
            chosen = (by_magnitude_together if together else by_magnitude)(wanted, pattern)
            return (Pruned(target, keep) for target, keep in chosen)
        choose = by_wanda if self.method == "wanda" else by_second_order
        return choose(graph, wanted, pattern, ctx, together=together, samples=self.samples)


def _given(options: Prune) -> set[str]:
    """The options that are not as they are by default."""
    usual = {each.name: {} if each.default is MISSING else each.default for each in fields(options)}
    return {name.replace("_", "-") for name, value in usual.items() if getattr(options, name) != value}


def _from_file(path: Path, found: Iterable[Prunable]) -> Iterator[Pruned]:
    targets = {target.name: target for target in found}
    masks = load_masks(path, {name: (layer_name(each.node), each.shape) for name, each in targets.items()})
    for mask in masks:
        yield Pruned(targets[mask.weight], mask.keep)
