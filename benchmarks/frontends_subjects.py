"""What `benchmarks/frontends.py` lowers: the torch models of the zoo as functions, and a zoo of scikit-learn's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

TORCH = ("mobilenet_v3_small", "resnet18", "vit_tiny", "convnext_atto", "bert", "gpt2", "lstm")
"""The architectures of the zoo, by their names in `zoo_torch`."""


def __getattr__(name: str) -> Callable[[], Any]:
    """`frontends_subjects:bert` is a function that makes that model and its example inputs."""
    if name not in TORCH:
        raise AttributeError(name)
    return lambda: made(name)


def made(name: str) -> tuple[Any, Any]:
    """A model of torch with random weights, moved as if trained, and its example inputs."""
    import torch
    import zoo_torch

    export = next(one for one in zoo_torch.exports() if one.name == name)
    torch.manual_seed(0)
    return zoo_torch._as_if_trained(export.build()), tuple(make() for make in export.inputs.values())


def dynamic(name: str) -> list[str]:
    """The flags for its dynamic axes."""
    if name in ("bert", "gpt2"):
        axes = {"input_ids": "0:batch,1:sequence", "attention_mask": "0:batch,1:sequence"}
    else:
        axes = {"ids": "0:batch,1:sequence"} if name == "lstm" else {"x": "0:batch"}
    return [word for one, spec in axes.items() for word in ("--dynamic", f"{one}={spec}")]


@dataclass(frozen=True)
class Estimator:
    """One model of scikit-learn."""

    data: str
    make: Callable[[], Any]

    def fitted(self) -> tuple[Any, np.ndarray[Any, Any]]:
        """It, fitted to all rows, and the rows."""
        from sklearn import datasets

        rows, truth = getattr(datasets, f"load_{self.data}")(return_X_y=True)
        return self.make().fit(rows, truth), rows


def _of(module: str, name: str, *before: str, **options: Any) -> Callable[[], Any]:
    """An estimator, behind these steps of preprocessing."""

    def make() -> Any:
        from importlib import import_module

        from sklearn import decomposition, preprocessing
        from sklearn.pipeline import make_pipeline

        last = getattr(import_module(f"sklearn.{module}"), name)(**options)
        found = [decomposition.PCA(5) if step == "PCA" else getattr(preprocessing, step)() for step in before]
        return make_pipeline(*found, last) if found else last

    return make


_R = {"random_state": 0}
ESTIMATORS: Mapping[str, Estimator] = {
    "forest, iris": Estimator("iris", _of("ensemble", "RandomForestClassifier", **_R)),
    "forest, diabetes": Estimator("diabetes", _of("ensemble", "RandomForestRegressor", **_R)),
    "extra trees, digits": Estimator("digits", _of("ensemble", "ExtraTreesClassifier", **_R)),
    "boosting, wine": Estimator("wine", _of("ensemble", "GradientBoostingClassifier", **_R)),
    "histogram boosting, cancer": Estimator("breast_cancer", _of("ensemble", "HistGradientBoostingClassifier", **_R)),
    "histogram boosting, diabetes": Estimator("diabetes", _of("ensemble", "HistGradientBoostingRegressor", **_R)),
    "isolation forest, iris": Estimator("iris", _of("ensemble", "IsolationForest", **_R)),
    "scaler and SVC, iris": Estimator("iris", _of("svm", "SVC", "StandardScaler", **_R)),
    "scaler and SVR, diabetes": Estimator("diabetes", _of("svm", "SVR", "StandardScaler")),
    "scaler and LinearSVC, cancer": Estimator("breast_cancer", _of("svm", "LinearSVC", "StandardScaler", **_R)),
    "scaler and logistic regression, digits": Estimator(
        "digits", _of("linear_model", "LogisticRegression", "MinMaxScaler", max_iter=500)
    ),
    "ridge, diabetes": Estimator("diabetes", _of("linear_model", "Ridge")),
    "scaler and k nearest neighbours, wine": Estimator(
        "wine", _of("neighbors", "KNeighborsClassifier", "StandardScaler")
    ),
    "scaler, PCA and naive Bayes, wine": Estimator("wine", _of("naive_bayes", "GaussianNB", "StandardScaler", "PCA")),
    "scaler and perceptron, digits": Estimator(
        "digits", _of("neural_network", "MLPClassifier", "StandardScaler", max_iter=60, **_R)
    ),
}
