"""An estimator through skl2onnx."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import skl2onnx
from onnx import TensorProto, helper
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
from sklearn.base import is_classifier

from onnxopt.errors import OnnxoptError
from onnxopt.frontends.sklearn.faults import work_round

INPUT = "X"
_ML = 3
"""The opset of `ai.onnx.ml`: the last that all converters write, with trees of float64."""
_TYPES = {"float32": FloatTensorType, "float64": DoubleTensorType}


class NotConverted(OnnxoptError):
    """skl2onnx has no converter, or it failed."""


def convert(estimator: Any, features: int, dtype: str, opset: int | None, path: Path, *, is_cast: bool = False) -> None:
    """Write an estimator for rows [N, features] to `path`, without ZipMap: probabilities are a tensor.

    Args:
        estimator: A fitted one.
        features: Columns of its rows.
        dtype: Of the rows.
        opset: The newest version of the default domain to use.
        path: The ONNX file.
        is_cast: Whether the rows are rounded from float64 before they come.

    Raises:
        NotConverted: skl2onnx cannot.
    """
    work_round(round_down=dtype == "float32" and not is_cast)
    newest = int(skl2onnx.get_latest_tested_opset_version())
    target = {"": newest if opset is None else min(opset, newest), "ai.onnx.ml": _ML}
    options = {id(estimator): {"zipmap": False}} if is_classifier(estimator) else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = skl2onnx.to_onnx(
                estimator,
                initial_types=[(INPUT, _TYPES[dtype]([None, features]))],
                options=options,
                target_opset=target,
            )
    except Exception as error:  # whatever a converter raises
        reason = " ".join(str(error).split())[:300]
        raise NotConverted(f"skl2onnx {skl2onnx.__version__}: {type(error).__name__}: {reason}") from error
    path.write_bytes(_without_names(model).SerializeToString())


def behind_cast(path: Path) -> None:
    """Let a model of float32 rows take float64 ones, which it rounds."""
    model = onnx.load(path)
    info = model.graph.input[0]
    inner = f"{INPUT}_float32"
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == INPUT:
                node.input[index] = inner
    model.graph.node.insert(0, helper.make_node("Cast", [INPUT], [inner], name="to_float32", to=TensorProto.FLOAT))
    info.type.tensor_type.elem_type = TensorProto.DOUBLE
    if not any(entry.domain == "" for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid("", 13))
    path.write_bytes(model.SerializeToString())


def generated_rows(features: int, dtype: str) -> np.ndarray[Any, Any]:
    """Rows [192, features]: of the size of standardized data, of measurements, and of counts."""
    random = np.random.default_rng(0)
    rows = [random.standard_normal((64, features)), random.uniform(0, 10, (64, features))]
    return np.concatenate([*rows, random.integers(0, 17, (64, features)).astype(float)]).astype(dtype)


def _without_names(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph's name is random, and a build is to be the same twice."""
    model.graph.name = "sklearn"
    return model
