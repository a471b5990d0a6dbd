"""What skl2onnx 1.20 cannot do by itself, worked round by its own means: converters registered anew.

LinearSVC is converted as a classifier, which asks for the option `zipmap`, and is registered without it: every
conversion ends in "NameError: Option 'zipmap' not in ...". HistGradientBoosting gives booleans where ONNX has integers
(`nodes_missing_value_tracks_true`), which onnx refuses since 1.21: "Expected an int, got a boolean"; and its float64
thresholds, many of which are values of the training data, are rounded to the nearest float32, which may be less.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from skl2onnx import update_registered_converter
from skl2onnx._parse import _parse_sklearn_classifier
from skl2onnx._supported_operators import sklearn_operator_name_map
from skl2onnx.common._registration import get_converter, get_shape_calculator
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.svm import LinearSVC

from onnxopt.data.spec import Array

_ZIPMAP = {"zipmap": [True, False, "columns"]}

Converter: TypeAlias = Callable[[Any], Any]
"""What makes one converter of another."""


def work_round(*, round_down: bool) -> None:
    """Register the converters that the faults are in anew. Harmless where there are none, and when done twice.

    Args:
        round_down: Round thresholds t of HistGradientBoosting to the largest float32 that is not above t: x <= t is
            then the same for every float32 x. Not for rows that are themselves rounded to the nearest.
    """
    _register(LinearSVC, {"zipmap": [True, False, "columns"]}, parser=_parse_sklearn_classifier)
    for boosting in (HistGradientBoostingClassifier, HistGradientBoostingRegressor):
        _register(boosting, {}, wrap=partial(_corrected, round_down=round_down))


def _register(model: type, more: dict[str, Any], parser: Any = None, wrap: Converter = lambda convert: convert) -> None:
    alias = sklearn_operator_name_map[model]
    known = get_converter(alias)
    options = {**(known.get_allowed_options() or {}), **more}
    update_registered_converter(
        model, alias, get_shape_calculator(alias), wrap(known._fct), parser=parser, options=options or None
    )


def _corrected(convert: Any, round_down: bool) -> Any:
    """A converter whose nodes have integers for booleans, and thresholds that float32 rows may be compared with."""
    original = getattr(convert, "original", convert)

    def converted(scope: Any, operator: Any, container: Any) -> Any:
        thresholds = _thresholds(operator.raw_operator) if round_down else None
        return original(scope, operator, _Container(container, thresholds))

    converted.original = original  # type: ignore[attr-defined]  # for the next registration
    return converted


class _Container:
    """A container of skl2onnx's that corrects the attributes of nodes."""

    def __init__(self, container: Any, thresholds: Array | None) -> None:
        self._container, self._thresholds = container, thresholds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def add_node(self, *positional: Any, **attributes: Any) -> Any:
        """As skl2onnx's, with corrected attributes."""
        if "nodes_missing_value_tracks_true" in attributes:
            attributes["nodes_missing_value_tracks_true"] = [
                int(b) for b in attributes["nodes_missing_value_tracks_true"]
            ]
        if self._thresholds is not None and "nodes_values" in attributes:
            attributes["nodes_values"] = _not_above(
                self._thresholds, np.asarray(attributes["nodes_values"], np.float32)
            )
        return self._container.add_node(*positional, **attributes)


def _thresholds(boosting: Any) -> Array:
    """Of all nodes of all trees, in skl2onnx's order; 0 in leaves."""
    nodes = np.concatenate([tree.nodes for trees in boosting._predictors for tree in trees])
    return np.where(nodes["is_leaf"], 0.0, nodes["num_threshold"])


def _not_above(exact: Array, written: Array) -> Array:
    """The largest float32 that is not above each threshold; what is written where these are not of those thresholds."""
    nearest = exact.astype(np.float32)
    if nearest.shape != written.shape or (nearest != written).any():
        return written
    return np.where(nearest > exact, np.nextafter(nearest, np.float32(-np.inf)), nearest)
