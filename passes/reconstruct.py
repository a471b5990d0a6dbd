"""`reconstruct`: the weights that a lossy pass left, fitted to what the original model gives out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from onnxopt import ir
from onnxopt.errors import BadOption
from onnxopt.ir.edit import inner_nodes
from onnxopt.ir.proven import ProvenShapes
from onnxopt.linear.layer import LAYERS, is_layer
from onnxopt.linear.setting import Setting
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.pruning.reconstruction.output_error import output_error
from onnxopt.pruning.reconstruction.reconstructing import reconstruct
from onnxopt.pruning.teacher import Teacher


@dataclass(frozen=True)
class Reconstruct(Pass):
    """Bring back accuracy after lossy passes (prune, prune-channels, factorize-depthwise, decompose): no training.

    The original model is the teacher, no labels are needed. Layer by layer, in the order of the graph, the weights
    that are left and the bias are fitted to what the original's layer of the same output gives out on the calibration
    data, while the layer reads what the reconstructed layers before it give out: least squares in closed form, each
    output by itself. Zeros stay zeros and shapes stay. Weights are drawn to what they were, how much is chosen on one
    sample of four that is held out; an output for which nothing makes less error there stays as it was. A layer without
    a bias gets one: the mean of a BatchNormalization behind it, the vector added behind a MatMul, else one of its own.

    A BatchNormalization behind anything else, or with method=statistics every one and nothing else, gets the mean and
    the variance with which its output has the mean and the variance that the original's has.

    Layers that come closer one by one do not always bring the outputs closer, after a method that has fitted them
    already: then a warning says so, with the errors on the samples held out.

    Both models are run as far as each layer, so a network of n layers in a row takes about n runs of it over the data.
    Memory does not grow with the samples. Main graph only. Left alone, with a reason: weights that several layers
    share, that are computed, first factors or no matrix, outputs that the original has not, and what the lossy passes
    did not touch. A second run finds little or nothing.
    """

    preserves: ClassVar[Preserves] = Preserves.ACCURACY
    needs: ClassVar[tuple[str, ...]] = (*LAYERS, "BatchNormalization")

    method: Literal["least-squares", "statistics"] = "least-squares"
    """What is changed: weights and biases, or only the statistics of BatchNormalizations."""
    samples: int | None = 256
    """How many samples to look at; none: all. More take longer and hardly tell more."""
    original: str | None = None
    """The file of the original model, where the lossy pass was not in this run."""

    def __post_init__(self) -> None:
        if self.samples is not None and self.samples < 2:
            raise ValueError(f"samples is {self.samples}: give at least 2, since some are held out")

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Fit, step by step.

        Raises:
            BadOption: There are no calibration data, or no original.
            BadModel: The file of the original cannot be read.
            BadData: The data do not fit.
        """
        if ctx.data is None:
            raise BadOption("reconstruct needs calibration data: give --data")
        teacher = ctx.kept(Teacher) if self.original is None else Teacher(ir.load(Path(self.original)))
        if teacher is None:
            raise BadOption(
                "reconstruct needs the original model: put it behind a lossy pass, in the same run, or give original="
            )
        if inner := sum(map(is_layer, (each for node in graph.nodes for each in inner_nodes(node)))):
            ctx.warn(f"{inner} layers in subgraphs are left as they are")
        data = ctx.data if self.samples is None else ctx.data.take(self.samples)
        setting = Setting(ctx.analysis(ProvenShapes, graph), ctx.dialect)
        before = graph.copy()
        with ir.edit(graph) as edit:
            reconstruct(edit, teacher, data, setting, ctx, layers=self.method == "least-squares")
        if edit.changed:
            old, new = (output_error(each, teacher.graph, data) for each in (before, graph))
            if new > old:
                ctx.warn(
                    f"the model's outputs have come no closer to the original's: on data held out their error was "
                    f"{old:.2%} of their power and is {new:.2%}; leave reconstruct out, or give more data"
                )
        return edit.changed
