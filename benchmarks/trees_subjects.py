"""Ensembles of trees trained on the data sets that come with scikit-learn, as ONNX models of float32 rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

OPSETS = {"": 18, "ai.onnx.ml": 3}


@dataclass(frozen=True)
class Subject:
    """One model."""

    data: str
    """`iris`, `breast_cancer` or `diabetes`."""
    make: Callable[[], Any]
    """An estimator that is not trained yet."""
    convert: Callable[[Any, np.ndarray], onnx.ModelProto]
    is_judged: bool = False
    """Whether the issue's figure is asked of it."""

    def build(self) -> tuple[onnx.ModelProto, np.ndarray]:
        """Train it on all rows; return the model and the rows."""
        rows, truth = load(self.data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trained = self.make().fit(rows, truth)
            return self.convert(trained, rows), rows


def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows and truth."""
    from sklearn import datasets

    rows, truth = getattr(datasets, f"load_{name}")(return_X_y=True)
    return rows.astype(np.float32), truth


def _sklearn(trained: Any, rows: np.ndarray) -> onnx.ModelProto:
    from skl2onnx import to_onnx

    options = {id(trained): {"zipmap": False}} if hasattr(trained, "classes_") else None
    model: onnx.ModelProto = to_onnx(trained, rows[:1], options=options, target_opset=OPSETS)
    return model


def _boosted(package: str) -> Callable[[Any, np.ndarray], onnx.ModelProto]:
    def convert(trained: Any, rows: np.ndarray) -> onnx.ModelProto:
        import onnxmltools
        from onnxmltools.convert.common.data_types import FloatTensorType

        inputs = [("X", FloatTensorType([None, rows.shape[1]]))]
        more = {"zipmap": False} if package == "lightgbm" and hasattr(trained, "classes_") else {}
        made = getattr(onnxmltools, f"convert_{package}")
        model: onnx.ModelProto = made(trained, initial_types=inputs, target_opset=15, **more)
        return model

    return convert


def _ensemble(name: str, **options: Any) -> Callable[[], Any]:
    def make() -> Any:
        from sklearn import ensemble, tree

        return getattr(ensemble if hasattr(ensemble, name) else tree, name)(random_state=0, **options)

    return make


def _pipeline() -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), _ensemble("GradientBoostingClassifier")())


def _lightgbm(kind: str) -> Callable[[], Any]:
    def make() -> Any:
        import lightgbm

        return getattr(lightgbm, kind)(n_estimators=100, random_state=0, verbose=-1, n_jobs=1)

    return make


def _xgboost(kind: str) -> Callable[[], Any]:
    def make() -> Any:
        import xgboost

        return getattr(xgboost, kind)(n_estimators=100, random_state=0, n_jobs=1)

    return make


SUBJECTS: Mapping[str, Subject] = {
    "forest of 100, iris": Subject("iris", _ensemble("RandomForestClassifier"), _sklearn, True),
    "boosting, iris": Subject("iris", _ensemble("GradientBoostingClassifier"), _sklearn, True),
    "boosting, breast cancer": Subject("breast_cancer", _ensemble("GradientBoostingClassifier"), _sklearn, True),
    "forest of 100, diabetes": Subject("diabetes", _ensemble("RandomForestRegressor"), _sklearn, True),
    "boosting, diabetes": Subject("diabetes", _ensemble("GradientBoostingRegressor"), _sklearn, True),
    "forest of 100, breast cancer": Subject("breast_cancer", _ensemble("RandomForestClassifier"), _sklearn),
    "shallow forest, iris": Subject("iris", _ensemble("RandomForestClassifier", max_depth=3), _sklearn),
    "extra trees, iris": Subject("iris", _ensemble("ExtraTreesClassifier"), _sklearn),
    "extra trees, diabetes": Subject("diabetes", _ensemble("ExtraTreesRegressor"), _sklearn),
    "one tree, iris": Subject("iris", _ensemble("DecisionTreeClassifier"), _sklearn),
    "scaler and boosting, iris": Subject("iris", _pipeline, _sklearn),
    "isolation forest, iris": Subject("iris", _ensemble("IsolationForest", n_estimators=20), _sklearn),
    "histogram boosting, diabetes": Subject("diabetes", _ensemble("HistGradientBoostingRegressor"), _sklearn),
    "lightgbm, breast cancer": Subject("breast_cancer", _lightgbm("LGBMClassifier"), _boosted("lightgbm")),
    "lightgbm, diabetes": Subject("diabetes", _lightgbm("LGBMRegressor"), _boosted("lightgbm")),
    "xgboost, iris": Subject("iris", _xgboost("XGBClassifier"), _boosted("xgboost")),
    "xgboost, breast cancer": Subject("breast_cancer", _xgboost("XGBClassifier"), _boosted("xgboost")),
    "xgboost, diabetes": Subject("diabetes", _xgboost("XGBRegressor"), _boosted("xgboost")),
}
