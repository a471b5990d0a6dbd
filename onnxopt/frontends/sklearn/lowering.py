"""An estimator converted, compared with scikit-learn, and written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import skl2onnx
import sklearn
from sklearn.base import BaseEstimator

from onnxopt.data.spec import Array
from onnxopt.errors import BadModel, CheckFailed
from onnxopt.frontends.comparing import samples
from onnxopt.frontends.finishing import NotFinished, finish
from onnxopt.frontends.sklearn.answers import answers, require_equal
from onnxopt.frontends.sklearn.converting import INPUT, NotConverted, behind_cast, convert, generated_rows
from onnxopt.frontends.wanted import COMMON, Lowered, Wanted
from onnxopt.runtime.precision import coarsest_rounding
from onnxopt.runtime.session import NotRunnable, Session

OPTIONS = COMMON | {"dtype"}
_SINGLE = 2.0**-23


def lower(estimator: Any, rows: Any, wanted: Wanted, path: Path, name: str) -> Lowered:
    """Convert, compare labels and scores with scikit-learn, and write to `path`.

    A float64 model that skl2onnx or onnxruntime does not have, or that gives other answers, is the float32 one behind a
    Cast, where that gives the same: scikit-learn's trees round rows to float32 themselves.

    Args:
        estimator: A fitted estimator or pipeline.
        rows: Rows [N, features] to compare on, or None.
        wanted: Options.
        path: The ONNX file.
        name: Of the source, for messages.

    Raises:
        BadModel: It is no fitted estimator of numbers, or skl2onnx has no converter for it.
        CheckFailed: The lowered model gives other answers.
    """
    features = _features(estimator, name)
    try:
        if wanted.dtype != "float64":
            return _lowered(estimator, features, rows, wanted, path, "float32")
        try:
            return _lowered(estimator, features, rows, wanted, path, "float64")
        except (NotConverted, NotFinished, CheckFailed) as error:
            found = _lowered(estimator, features, rows, wanted, path, "float64", is_cast=True)
            return replace(found, notes=(f"computed in float32, behind a Cast: in float64, {error}", *found.notes))
    except (NotConverted, NotFinished) as error:
        raise BadModel(f"{name}: {error}") from error
    except CheckFailed as error:
        hint = "" if wanted.dtype == "float64" else "; --dtype float64 computes as scikit-learn does"
        raise CheckFailed(f"{name}: {error}{hint}") from error


def _lowered(
    estimator: Any, features: int, rows: Any, wanted: Wanted, path: Path, dtype: str, *, is_cast: bool = False
) -> Lowered:
    convert(estimator, features, "float32" if is_cast else dtype, wanted.opset, path, is_cast=is_cast)
    if is_cast:
        behind_cast(path)
    notes = finish(path, wanted.opset)
    compared = _compared(estimator, rows, wanted, path, features, dtype, is_cast)
    return replace(compared, notes=(*notes, *compared.notes))


def _compared(
    estimator: Any, rows: Any, wanted: Wanted, path: Path, features: int, dtype: str, is_cast: bool
) -> Lowered:
    if wanted.data is not None:
        taken: Array = np.concatenate([feeds[INPUT] for feeds in samples(path, wanted.data)])
        what = f"{len(taken)} rows of {wanted.data}"
    elif rows is not None:
        taken = np.asarray(rows, dtype)
        what = f"the {len(taken)} rows given with it"
    else:
        taken = generated_rows(features, dtype)
        what = f"{len(taken)} generated rows"
    rounding = _SINGLE if is_cast else coarsest_rounding(onnx.load(path))
    try:
        found = Session(path).run({INPUT: taken})
    except NotRunnable as error:
        raise CheckFailed(f"the lowered model does not run: {error}") from error
    differences, notes = require_equal(answers(estimator, taken), found, rounding)
    by = f"skl2onnx {skl2onnx.__version__}, scikit-learn {sklearn.__version__}"
    return Lowered(by, what, tuple(differences), tuple(notes))


def _features(estimator: Any, name: str) -> int:
    if not isinstance(estimator, BaseEstimator):
        raise BadModel(f"{name} holds {type(estimator).__name__}, and no estimator of scikit-learn")
    features = getattr(estimator, "n_features_in_", None)
    if features is None:
        raise BadModel(
            f"{name}: {type(estimator).__name__} is not fitted, or takes something else than a table of numbers"
        )
    return int(features)
