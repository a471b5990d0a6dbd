"""Estimators of scikit-learn: labels and scores equal to its own, from files that run no code or are trusted."""

# mypy: disable-error-code="import-untyped"

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import skops.io
from sklearn import cluster, datasets, ensemble, linear_model, preprocessing, svm
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline

import onnxopt
from onnxopt.errors import BadModel, BadOption, CheckFailed
from onnxopt.frontends.kinds import Kind
from onnxopt.frontends.lowering import lower, lower_object
from onnxopt.frontends.sklearn.answers import require_equal
from onnxopt.frontends.sklearn.reading import read
from onnxopt.frontends.wanted import Lowered, Wanted

IRIS, SPECIES = datasets.load_iris(return_X_y=True)
TARGETS = IRIS[:, 3]
SMALL = {"random_state": 0, "max_iter": 5}


def scaled(last: Any) -> Any:
    return make_pipeline(preprocessing.StandardScaler(), last)


ESTIMATORS: dict[str, Callable[[], Any]] = {
    "forest": lambda: ensemble.RandomForestClassifier(5, random_state=0),
    "boosting, regression": lambda: ensemble.GradientBoostingRegressor(n_estimators=5, random_state=0),
    "histogram boosting": lambda: ensemble.HistGradientBoostingClassifier(**SMALL),
    "histogram boosting, regression": lambda: ensemble.HistGradientBoostingRegressor(**SMALL),
    "scaler and LinearSVC": lambda: scaled(svm.LinearSVC(random_state=0)),
    "LinearSVC of two classes": lambda: svm.LinearSVC(random_state=0),
    "SVR": lambda: scaled(svm.SVR()),
    "logistic regression": lambda: scaled(linear_model.LogisticRegression()),
    "isolation forest": lambda: ensemble.IsolationForest(n_estimators=3, random_state=0),
    "k means": lambda: cluster.KMeans(3, n_init=1, random_state=0),
    "scaler alone": preprocessing.StandardScaler,
}


def fitted(name: str) -> Any:
    truth = TARGETS if ", regression" in name or name == "SVR" else SPECIES
    truth = SPECIES == 0 if "two classes" in name else truth
    return ESTIMATORS[name]().fit(IRIS, truth)


def lowered(estimator: Any, path: Path, rows: Any = IRIS, **options: Any) -> tuple[Lowered, onnx.ModelProto]:
    """In this process; a model that onnx's checker accepts."""
    found = lower_object(estimator, rows, Wanted(**options), path / "m.onnx", "it")
    model = onnx.load(path / "m.onnx")
    onnx.checker.check_model(model, full_check=True)
    return found, model


def opsets(model: onnx.ModelProto) -> list[int]:
    return [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_answers_are_those_of_scikit_learn(name: str, dtype: str, tmp_path: Path) -> None:
    estimator = fitted(name)
    found, model = lowered(estimator, tmp_path, dtype=dtype)
    assert found.compared == "the 150 rows given with it"
    assert len(opsets(model)) == 1 and "ZipMap" not in {node.op_type for node in model.graph.node}
    assert len(found.differences) == len(model.graph.output)
    rows = IRIS.astype(dtype)
    first = ort.InferenceSession(model.SerializeToString()).run(None, {"X": rows})[0]
    expected = estimator.predict(rows.astype(float)) if hasattr(estimator, "predict") else estimator.transform(rows)
    np.testing.assert_allclose(np.asarray(first).reshape(np.shape(expected)), expected, rtol=1e-4, atol=1e-5)


def test_the_python_interface(tmp_path: Path) -> None:
    estimator, path = fitted("forest"), tmp_path / "m.onnx"
    found = onnxopt.lower(estimator, path, IRIS, dtype="float64")
    assert found.compared == "the 150 rows given with it" and path.exists()
    with pytest.raises(BadOption, match="lower: got an unexpected keyword argument 'dtpe'"):
        onnxopt.lower(estimator, path, dtpe="float64")
    with pytest.raises(BadOption, match="has inputs of its own"):
        onnxopt.lower("m.skops", path, IRIS)


def test_rows_are_generated_where_none_are_given(tmp_path: Path) -> None:
    found, _ = lowered(fitted("forest"), tmp_path, rows=None)
    assert found.compared == "192 generated rows"


def test_what_float64_cannot_be_is_told(tmp_path: Path) -> None:
    found, model = lowered(fitted("SVR"), tmp_path, dtype="float64")
    assert model.graph.node[0].op_type == "Cast"
    assert found.notes[0].startswith("computed in float32, behind a Cast: in float64, the lowered model does not run")
    found, model = lowered(fitted("logistic regression"), tmp_path, dtype="float64")
    assert not found.notes and found.differences[1].largest_relative < 1e-14


@pytest.mark.parametrize("opset", [13, 18])
def test_the_opset_asked_for(opset: int, tmp_path: Path) -> None:
    _, model = lowered(fitted("logistic regression"), tmp_path, opset=opset)
    assert opsets(model) == [opset]


def test_a_skops_file_and_data(tmp_path: Path) -> None:
    skops.io.dump(fitted("scaler and LinearSVC"), tmp_path / "m.skops")
    np.savez(tmp_path / "rows.npz", X=IRIS.astype(np.float32))
    found = lower(tmp_path / "m.skops", tmp_path / "m.onnx", Wanted(data=str(tmp_path / "rows.npz")))
    assert found.compared.startswith("150 rows of ") and found.by.startswith("skl2onnx ")


class Doubling(preprocessing.FunctionTransformer):  # type: ignore[misc]
    """Of another package than scikit-learn."""


def test_a_skops_file_with_types_of_others_is_refused(tmp_path: Path) -> None:
    skops.io.dump(Doubling().fit(IRIS), tmp_path / "m.skops")
    with pytest.raises(BadOption, match=r"has objects of .*Doubling, which skops does not know to be safe: give --"):
        read(tmp_path / "m.skops", Kind.SKOPS, False)
    found, _ = read(tmp_path / "m.skops", Kind.SKOPS, True)
    assert isinstance(found, Doubling)


@pytest.mark.parametrize("compress", [0, 3])
def test_a_pickle_is_opened_when_trusted(compress: int, tmp_path: Path) -> None:
    joblib.dump(fitted("forest"), tmp_path / "m.joblib", compress=compress)
    found, _ = read(tmp_path / "m.joblib", Kind.PICKLE, True)
    assert isinstance(found, ensemble.RandomForestClassifier)
    (tmp_path / "m.joblib").write_bytes((tmp_path / "m.joblib").read_bytes()[:500])
    with pytest.raises(BadModel, match="cannot be read"):
        read(tmp_path / "m.joblib", Kind.PICKLE, True)


@pytest.mark.parametrize(
    ("made", "options", "said"),
    [
        (ensemble.RandomForestClassifier, {}, "it: RandomForestClassifier is not fitted"),
        (lambda: fitted("forest"), {"exporter": "dynamo"}, "--exporter does nothing for an estimator"),
        (lambda: fitted("forest"), {"keep_batchnorm": True}, "--keep-batchnorm does nothing for an estimator"),
        (lambda: Unknown().fit(IRIS), {}, "it: skl2onnx .*: .*Unknown"),
    ],
)
def test_what_is_refused(made: Callable[[], Any], options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises((BadModel, BadOption), match=said):
        lowered(made(), tmp_path, **options)


class Unknown(BaseEstimator):  # type: ignore[misc]
    """An estimator that skl2onnx does not know."""

    def fit(self, rows: Any) -> Unknown:
        self.n_features_in_ = rows.shape[1]
        return self

    def predict(self, rows: Any) -> Any:
        return rows[:, 0]


def test_other_answers_stop_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    estimator = fitted("forest")
    right = type(estimator).predict_proba
    monkeypatch.setattr(type(estimator), "predict_proba", lambda self, rows: right(self, rows)[:, ::-1])
    with pytest.raises(CheckFailed, match=r"it: the lowered model differs from scikit-learn in \d+ of 150 rows"):
        lowered(estimator, tmp_path)


def test_a_label_may_be_another_only_where_scores_are_equal_within_rounding() -> None:
    scores = np.array([[0.5, 0.5], [0.9, 0.1]])
    found = {"label": np.array([1, 0]), "probabilities": scores.astype(np.float32)}
    _, notes = require_equal([np.array([0, 0]), scores], found, 2.0**-23)
    assert notes == ["1 of 2 labels are others, where scikit-learn's best two are equal within rounding"]
    with pytest.raises(CheckFailed, match="in 1 of 2 rows: output 'label': "):
        require_equal([np.array([1, 1]), scores], found, 2.0**-23)
