"""`compact-trees`: ensembles of decision trees in fewer bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from onnxopt import ir
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.trees.compacting import Found, compact, find
from onnxopt.trees.raising import raise_opset
from onnxopt.trees.thinning import thin


@dataclass(frozen=True)
class CompactTrees(Pass):
    """Store ensembles of decision trees in fewer bytes: TreeEnsembleClassifier, TreeEnsembleRegressor, TreeEnsemble.

    Labels stay the same, and scores bit by bit on one thread, but for the last bits of SOFTMAX and LOGISTIC of a
    classifier that becomes a TreeEnsemble. In any scope:

    - splits go that decide nothing: their feature was told by those above them, or both sides are the same;
    - votes of zero go where they add nothing; so do base values of zero, hit rates, tracks of missing values that
      nobody follows, and values of leaves; nodes are numbered anew; equal leaves of a tree are one;
    - with `encoding=smallest`, for onnxruntime, all ensembles of the main graph become TreeEnsemble of ai.onnx.ml 5,
      where that takes fewer bytes: about 17 for an inner node instead of 34, and leaves and subtrees that trees have in
      common stand once. Base values become a last tree; a classifier gets an ArgMax or a LinearClassifier after it (and
      one of two classes by probability both, with a Gather for other labels than 0, 1, 2, ...), which take about half a
      microsecond each in every run. It is one rewrite, since the older operators are no part of that opset.

    What stays in its older form, as `--explain` tells: leaves with several weights (probabilities of impure leaves,
    several outputs), integer features, two classes that trees vote for both, MIN and MAX with base values, transforms
    that no other operator has, functions, LabelEncoder of opset 1 beside it. Left alone: malformed ensembles (lengths,
    ids, cycles) and those whose inner nodes have several parents. A second run finds nothing.
    """

    preserves: ClassVar[Preserves] = Preserves.VALUES
    needs: ClassVar[tuple[str, ...]] = ("TreeEnsembleClassifier", "TreeEnsembleRegressor", "TreeEnsemble")

    encoding: Literal["smallest", "same"] = "smallest"
    """Whether operators may become others that take fewer bytes, or stay the same."""
    max_trees: int | None = None
    """At most so many trees in each ensemble that adds them up, which changes what it says: those go that vary least,
    on the calibration data or, without, on rows between the thresholds; what remains is scaled, and the others' mean
    added. None: all."""

    def __post_init__(self) -> None:
        """Promise less where trees may go."""
        if self.max_trees is not None:
            if self.max_trees < 1:
                raise ValueError(f"max-trees is {self.max_trees}: give at least 1")
            object.__setattr__(self, "preserves", Preserves.ACCURACY)

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        found = find(graph, ctx)
        if not found:
            return False
        if self.max_trees is not None:
            found = [thin(graph, each, self.max_trees, ctx) for each in found]
        with ir.edit(graph) as edit:
            done = set[Found]()
            if self.encoding == "smallest" and ctx.target in (None, "onnx"):
                done = raise_opset(edit, found, ctx)
            for each in found:
                if each not in done:
                    compact(edit, each, ctx)
        return edit.changed
