"""What TreeEnsemble of ai.onnx.ml 5 needs beside it to stand for the classifiers and regressors of older opsets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from onnx import TensorProto

from onnxopt.trees.attributes import stored_size
from onnxopt.trees.forest import Array, Ensemble, Leaf, Malformed
from onnxopt.trees.voting import (
    all_vote,
    presence_is_sure,
    targets_of,
    weights_of,
    with_base_as_trees,
    with_one_vote,
    without_any_zero,
)
from onnxopt.trees.writing_newer import write_newer

ML = "ai.onnx.ml"
RAW, LABEL, SCORES = "raw", "label", "scores"
"""What the TreeEnsemble gives out, and the outputs of the operator that it stands for; a regressor has SCORES only."""
_LARGEST = 1e38
"""Sums of float32 that stay below are finite, whatever their order."""
_FOLLOWER = 40
"""Bytes that a node takes beside its attributes, with short names."""


@dataclass(frozen=True)
class Follower:
    """A node after the TreeEnsemble."""

    op: str
    domain: str
    attrs: dict[str, Any]
    inputs: tuple[str | Array, ...]
    """What is named above, or constants."""
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Respelling:
    """A TreeEnsemble and the nodes after it."""

    attrs: dict[str, Any]
    output: str
    """RAW where others read it, or SCORES."""
    followers: tuple[Follower, ...]

    def size(self) -> int:
        """About the bytes that it takes in a file."""
        constants = sum(64 for each in self.followers for source in each.inputs if not isinstance(source, str))
        return stored_size(self.attrs) + constants + sum(_FOLLOWER + stored_size(f.attrs) for f in self.followers)


def respell(ensemble: Ensemble, feature: np.dtype[Any] | None) -> Respelling:
    """The ensemble with TreeEnsemble: the same labels; the same scores but for what a Softmax rounds.

    Args:
        ensemble: of a TreeEnsembleClassifier or TreeEnsembleRegressor.
        feature: the element type of the input.

    Raises:
        Malformed: It has no such form, or a larger one; the text says why.
    """
    if feature not in (np.float32, np.float64):
        raise Malformed(f"TreeEnsemble takes float32 or float64, and its input is {feature or 'of a type not known'}")
    if np.dtype(feature).itemsize < ensemble.forest.dtype.itemsize:
        raise Malformed("its thresholds or weights are float64, and its input is float32")
    is_double = feature == np.float64
    if is_double and ensemble.post_transform != "NONE":
        raise Malformed(f"{ensemble.post_transform} of float64 scores has no equal")
    if any(np.signbit(ensemble.forest.values(ensemble.base)) & (ensemble.forest.values(ensemble.base) == 0)):
        raise Malformed("a base value is -0.0")
    if ensemble.labels is None:
        output, followers, ensemble = _regressor(ensemble, is_double)
    elif ensemble.targets > 2:
        output, followers, ensemble = _classifier(ensemble, is_double)
    else:
        output, followers, ensemble = _binary(ensemble, is_double)
    single = with_one_vote(without_any_zero(ensemble))
    if single is None:
        raise Malformed("a leaf has several weights, and those of TreeEnsemble have one")
    return Respelling(write_newer(single, np.dtype(feature)), output, tuple(followers))


_Parts = tuple[str, list[Follower], Ensemble]


def _regressor(ensemble: Ensemble, is_double: bool) -> _Parts:
    if ensemble.base and ensemble.aggregate != "SUM":
        raise Malformed(f"base values are added to the {ensemble.aggregate} of the trees")
    if ensemble.base and ensemble.targets > 1 and not all_vote(ensemble):
        raise Malformed("a target may be without a vote, and onnxruntime does not add the base value of such a one")
    if ensemble.post_transform in ("SOFTMAX", "LOGISTIC"):  # onnxruntime 1.31 numbers them the other way round
        raise Malformed(f"onnxruntime and the specification do not agree which transform is {ensemble.post_transform}")
    summed = with_base_as_trees(ensemble)
    return (RAW, [_cast()], summed) if is_double else (SCORES, [], summed)


def _classifier(ensemble: Ensemble, is_double: bool) -> _Parts:
    if not presence_is_sure(ensemble):
        raise Malformed("a class may be without a vote, and onnxruntime does not take such a one for the label")
    _require_finite(ensemble)
    plain = replace(ensemble, post_transform="NONE", base=())
    labels, base = ensemble.labels or (), ensemble.forest.values(ensemble.base)
    if ensemble.post_transform == "NONE" and not ensemble.base and (is_double or _counts(labels)):
        raw = RAW if is_double else SCORES
        return raw, [*_label(raw, labels), *([_cast()] if is_double else [])], plain
    if is_double or ensemble.post_transform not in ("NONE", "SOFTMAX", "LOGISTIC"):
        raise Malformed(f"base values, or {ensemble.post_transform}, have no equal")
    identity = np.eye(ensemble.targets).ravel().tolist()
    intercepts = base.tolist() or [0.0] * ensemble.targets
    return RAW, [_linear(identity, intercepts, labels, ensemble.post_transform, LABEL)], plain


def _binary(ensemble: Ensemble, is_double: bool) -> _Parts:
    """Two classes of which the trees vote for the first alone, and mean the second: what converters write."""
    if ensemble.targets != 2 or targets_of(ensemble) != {0} or len(ensemble.base) > 1 or is_double:
        raise Malformed("it has two classes with votes for both, or one, or more base values, or float64 scores")
    _require_finite(ensemble)
    labels, base = ensemble.labels or (), ensemble.forest.values(ensemble.base).tolist() or [0.0]
    plain = replace(ensemble, targets=1, post_transform="NONE", base=())
    positive = bool(np.all(ensemble.forest.values(weights_of(ensemble)) >= 0))
    if positive and ensemble.post_transform == "NONE":  # probabilities: the second class above 0.5
        scores = _linear([1.0], base, labels, "NONE", "sign")
        return RAW, [scores, *_label(SCORES, labels)], plain
    if positive or ensemble.post_transform != "LOGISTIC":
        by = "a score above 0.5" if positive else "the sign of a score"
        raise Malformed(f"two classes by {by}, with {ensemble.post_transform}, have no equal")
    return RAW, [_linear([1.0], base, labels, "LOGISTIC", LABEL)], plain


def _linear(
    coefficients: list[float], base: list[float], labels: tuple[int, ...] | tuple[str, ...], transform: str, label: str
) -> Follower:
    """A LinearClassifier: the label by the largest score or its sign, base values, and the transform, in one node."""
    kind = "ints" if isinstance(labels[0], int) else "strings"
    attrs: dict[str, Any] = {f"classlabels_{kind}": list(labels), "coefficients": coefficients, "intercepts": base}
    if transform != "NONE":
        attrs["post_transform"] = transform
    return Follower("LinearClassifier", ML, attrs, (RAW,), (label, SCORES))


def _label(scores: str, labels: tuple[int, ...] | tuple[str, ...]) -> Iterator[Follower]:
    """The label of the largest score, the first of equal ones."""
    is_number = _counts(labels)
    yield Follower("ArgMax", "", {"axis": 1, "keepdims": 0}, (scores,), (LABEL if is_number else "number",))
    if not is_number:
        kind = np.int64 if isinstance(labels[0], int) else object
        yield Follower("Gather", "", {}, (np.array(labels, kind), "number"), (LABEL,))


def _counts(labels: tuple[int, ...] | tuple[str, ...]) -> bool:
    return tuple(labels) == tuple(range(len(labels)))


def _cast() -> Follower:
    return Follower("Cast", "", {"to": TensorProto.FLOAT}, (RAW,), (SCORES,))


def _require_finite(ensemble: Ensemble) -> None:
    """What is compared and multiplied must be numbers."""
    forest, most = ensemble.forest, list[float]()
    for node in forest.nodes:
        if isinstance(node, Leaf):
            weights = forest.values(weight for _, weight in node.votes).astype(np.float64)
            most.append(float(np.max(np.abs(weights), initial=0.0)))
        else:
            most.append(float(np.maximum(most[node.true], most[node.false])))  # NaN stays NaN
    total = sum(most[root] for root in ensemble.roots)
    total += float(np.sum(np.abs(forest.values(ensemble.base).astype(np.float64))))
    if not total < _LARGEST:
        raise Malformed("its scores may be infinite or NaN")
