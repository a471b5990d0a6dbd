"""What scikit-learn says to rows, in the order of skl2onnx's outputs; and whether labels that differ are ties."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from onnxopt.data.spec import Array, Feeds
from onnxopt.errors import BadModel, CheckFailed
from onnxopt.runtime.compare import Difference, Tolerance, bounds, compare, worst

_SCORES = ("predict_proba", "decision_function", "transform", "score_samples")
"""What goes with the label, by the first of these that an estimator has."""


def answers(estimator: Any, rows: Array) -> list[Array]:
    """What it predicts and its scores, or what it transforms the rows to.

    Raises:
        BadModel: It does neither, or does not take such rows.
    """
    methods = list(_methods(estimator))
    if not methods:
        raise BadModel(f"{type(estimator).__name__} neither predicts nor transforms")
    try:
        try:
            return [np.asarray(getattr(estimator, method)(rows)) for method in methods]
        except ValueError:  # KMeans takes no float32 rows where it was fitted to float64 ones
            return [np.asarray(getattr(estimator, method)(rows.astype(np.float64))) for method in methods]
    except Exception as error:  # of the estimator's own code
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise BadModel(
            f"scikit-learn's {type(estimator).__name__} does not take {rows.dtype} rows: {reason}"
        ) from error


def _methods(estimator: Any) -> Iterator[str]:
    if hasattr(estimator, "predict"):
        yield "predict"
        if scores := next((name for name in _SCORES if hasattr(estimator, name)), None):
            yield scores
    elif hasattr(estimator, "transform"):
        yield "transform"


def require_equal(expected: list[Array], found: Feeds, rounding: float) -> tuple[list[Difference], list[str]]:
    """Compare the lowered model's outputs with scikit-learn's, one after the other.

    A label may be another one only where scikit-learn's own two best scores are as near as rounding.

    Args:
        expected: `answers`.
        found: What the lowered model gave to the same rows.
        rounding: The eps of what the lowered model computes in.

    Returns:
        The difference of each output, and what the user should know.

    Raises:
        CheckFailed: An output differs.
    """
    differences, notes = [], []
    for index, (name, value) in enumerate(found.items()):
        if index >= len(expected):
            notes.append(f"output '{name}' is not compared: scikit-learn has no method for it")
            continue
        value, one = np.asarray(value), expected[index]
        if one.ndim == 1 and value.ndim == 2 and value.shape[1] == 2:  # the two sides of one decision
            one = np.stack([-one, one], axis=1) if np.allclose(value[:, 0], -value[:, 1]) else one
        if one.size == value.size:
            value = value.reshape(one.shape)
        if one.dtype.kind in "fc" or one.dtype.kind == "b":
            one = one.astype(value.dtype)
        elif one.dtype.kind in "iu" and value.dtype.kind in "iu":
            one = one.astype(np.int64)
        if index == 0 and one.dtype.kind not in "f" and one.shape == value.shape:
            value, ties = _without_ties(one, value, expected[1:], rounding)
            notes += [
                f"{ties} of {len(one)} labels are others, where scikit-learn's best two are equal within rounding"
            ] * (ties > 0)
        difference = worst(compare({name: one}, {name: value}, Tolerance.VALUES, rounding=rounding))
        assert difference is not None
        if not difference.ok:
            rows = np.flatnonzero(_rows_apart(one, value, rounding))
            raise CheckFailed(
                f"the lowered model differs from scikit-learn in {len(rows)} of {len(one)} rows: {difference}"
            )
        differences.append(difference)
    return differences, notes


def _without_ties(expected: Array, found: Array, scores: list[Array], rounding: float) -> tuple[Array, int]:
    apart = np.flatnonzero(expected != found)
    if not len(apart) or not scores or len(scores[0]) != len(expected):
        return found, 0
    share, floor = bounds(rounding)
    judged = scores[0].astype(np.float64)
    allowed = share * float(np.max(np.abs(judged), initial=0.0)) + floor
    if judged.ndim == 1:
        margins = np.abs(judged[apart])
    else:
        best = np.sort(judged[apart], axis=1)
        margins = best[:, -1] - best[:, -2]
    ties = apart[margins <= allowed]
    found = found.copy()
    found[ties] = expected[ties]
    return found, len(ties)


def _rows_apart(expected: Array, found: Array, rounding: float) -> Array:
    if expected.shape != found.shape:
        return np.ones(len(expected), bool)
    if expected.dtype.kind != "f":
        apart = np.asarray(expected != found)
    else:
        scale = float(np.max(np.abs(expected), initial=0.0))
        share, floor = bounds(rounding)
        apart = ~(np.abs(expected - found) <= share * scale + floor)
    return np.asarray(apart.reshape(len(expected), -1).any(axis=1))
