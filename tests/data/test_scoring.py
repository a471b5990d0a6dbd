"""Metrics: what they add up to, how they are named, and what they refuse."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxopt.data import ValueSpec
from onnxopt.data.dataset import DataSet, data_set
from onnxopt.data.metrics import cosine, psnr, snr, top1
from onnxopt.data.scores import Score
from onnxopt.data.scoring import Metric, default_metric
from onnxopt.errors import BadData, BadOption

RNG = np.random.default_rng(0)


def data(**extras: Any) -> DataSet:
    """Two samples of x, and further arrays."""
    spec = ValueSpec("x", "tensor", np.dtype(np.float32), ("N", 4))
    samples = [{"x": np.zeros(4, np.float32), **{k: np.asarray(v)[i] for k, v in extras.items()}} for i in range(2)]
    return data_set("d.npz", [spec], lambda: iter(samples), 2)


def score(metric: Metric, *batches: tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]) -> float:
    running: Score = metric.start()
    for outputs, expected, extras in batches:
        running.add(dict(outputs), dict(expected), dict(extras), 1)
    return running.value


def test_top1_of_single_rows_is_that_of_all() -> None:
    rows, labels = RNG.standard_normal((50, 3)).astype(np.float32), RNG.integers(0, 3, 50)
    metric = Metric.of("top1", data(label=[0, 1]))
    found = score(metric, *(({"y": r[None]}, {}, {"label": n[None]}) for r, n in zip(rows, labels, strict=True)))
    assert found == pytest.approx(100 * top1(rows, labels)) and metric.show(found) == f"{found:.2f} %"


@pytest.mark.parametrize(("name", "whole"), [("snr", snr), ("psnr", None), ("cosine", None)])
def test_how_near_outputs_are_to_the_reference(name: str, whole: Any) -> None:
    one = RNG.random((6, 1, 8)).astype(np.float32)
    other = one + RNG.normal(0, 0.1, one.shape).astype(np.float32)
    metric = Metric.of(name, data())
    found = score(metric, *(({"y": b}, {"y": a}, {}) for a, b in zip(one, other, strict=True)))
    each = {"psnr": psnr, "cosine": cosine}.get(name)
    wanted = whole(one, other) if whole else np.mean([each(a, b) for a, b in zip(one, other, strict=True)])
    assert found == pytest.approx(wanted)
    assert metric.perfect == (1.0 if name == "cosine" else math.inf)


def test_the_worst_output_counts() -> None:
    one = {"y": np.ones((1, 4), np.float32), "z": np.ones((1, 4), np.float32)}
    other = {"y": one["y"] * 1.1, "z": one["z"] * 1.01}
    assert score(Metric.of("snr", data()), (other, one, {})) == pytest.approx(20, abs=0.01)


def test_psnr_has_a_peak() -> None:
    target, image = np.full((1, 4), 200.0, np.float32), np.full((1, 4), 199.0, np.float32)
    metric = Metric.of("psnr:255", data(t=[[200.0] * 4] * 2), "t")
    assert score(metric, ({"y": image}, {}, {"t": target})) == pytest.approx(20 * math.log10(255))
    with pytest.raises(BadData, match="images go up to 200, over the peak of 1: give psnr:PEAK"):
        score(Metric.of("psnr", data(t=[[200.0] * 4] * 2), "t"), ({"y": image}, {}, {"t": target}))


def test_a_target_goes_with_the_output_of_its_name_or_else_of_its_shape() -> None:
    t = np.ones((1, 4), np.float32)
    metric = Metric.of("snr", data(y=[[1.0] * 4] * 2), "y")
    assert score(metric, ({"z": t * 2, "y": t}, {}, {"y": t})) == math.inf
    with pytest.raises(BadData, match=r"several outputs have the shape \[1, 4\] of 'y'; there are 'a' \[1, 4\], 'b'"):
        score(metric, ({"a": t, "b": t}, {}, {"y": t}))
    with pytest.raises(BadData, match="no output has"):
        score(metric, ({"a": t[:, :3]}, {}, {"y": t}))
    with pytest.raises(BadData, match="'y' holds what is no finite number"):
        score(metric, ({"y": t}, {}, {"y": t * np.nan}))


def test_agreement_is_with_the_largest_score_of_the_reference() -> None:
    metric = Metric.of("agreement", data())
    one, other = np.array([[0.1, 0.9], [0.6, 0.4]]), np.array([[3.0, 4.0], [-1.0, 0.0]])
    broken = np.array([[np.nan, 1.0], [1.0, 0.0]])
    assert (metric.unit, metric.perfect, metric.extras) == ("%", 100.0, ())
    for each, expected in ((one, 100.0), (other, 50.0), (broken, 50.0)):
        running = metric.start()
        running.add({"y": each}, {"y": one}, {}, 2)
        assert running.value == expected
    with pytest.raises(BadData, match=r"agreement: no output is \[samples, classes\]"):
        score(metric, ({"y": np.ones((1, 3, 2))}, {"y": np.ones((1, 3, 2))}, {}))


def test_nan_is_never_right_and_never_near() -> None:
    broken = np.array([[np.nan, 1.0]], np.float32)
    label = {"label": np.array([0])}
    assert score(Metric.of("top1", data(label=[0, 0])), ({"y": broken}, {}, label)) == 0
    assert math.isnan(score(Metric.of("snr", data()), ({"y": broken}, {"y": np.ones((1, 2), np.float32)}, {})))
    both = {"y": np.array([[-np.inf, 1.0]], np.float32)}
    assert score(Metric.of("snr", data()), (both, both, {})) == math.inf


@pytest.mark.parametrize(
    ("text", "extras", "labels", "reason"),
    [
        ("top5", {}, None, "there is no metric 'top5': give top1, psnr, psnr:PEAK, snr, cosine, agreement or module:"),
        ("agreement", {"t": [0, 1]}, "t", "agreement is with the reference model: leave the labels out, or take top1"),
        ("psnr:0", {}, None, "there is no metric 'psnr:0'"),
        ("top1", {}, None, "top1 needs labels, the number of a class for each sample, and d.npz has inputs only"),
        ("top1", {"a": [0, 1], "b": [0, 1]}, None, "d.npz has several arrays, a, b: name them"),
        ("top1", {"a": [0, 1]}, "b", "d.npz has no array 'b'; it has: a"),
        ("snr", {}, "t", "d.npz has no array 't'; it has: inputs only"),
        ("no_such_module:f", {}, None, "cannot be imported: ModuleNotFoundError"),
        ("math:pi", {}, None, "is a float, which cannot be called"),
        ("math:sqrt", {"a": [0, 1]}, "a", "is given all arrays of the data: leave the labels out"),
    ],
)
def test_what_is_no_metric(text: str, extras: dict[str, Any], labels: str | None, reason: str) -> None:
    with pytest.raises((BadOption, BadData)) as error:
        Metric.of(text, data(**extras), labels)
    assert reason in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("outputs", "label", "reason"),
    [
        ({"y": np.ones((1, 3))}, np.array([3]), "'label' has the class 3, and the model tells 0 to 2"),
        ({"y": np.ones((1, 3))}, np.array([0.5]), r"'label' is float64[] a sample; it needs one integer"),
        ({"y": np.ones((1, 3))}, np.array([[1, 0, 0]]), r"'label' is int64[3] a sample"),
        ({"y": np.ones((1, 3, 2))}, np.array([1]), "no output is [samples, classes]; there are 'y' [1, 3, 2]"),
        ({"y": np.ones((1, 3)), "z": np.ones((1, 2))}, np.array([1]), "several outputs are [samples, classes]"),
    ],
)
def test_what_top1_cannot_judge(outputs: dict[str, Any], label: np.ndarray, reason: str) -> None:
    with pytest.raises(BadData) as error:
        score(Metric.of("top1", data(label=[0, 1])), (outputs, {}, {"label": label}))
    assert reason in str(error.value)


FUNCTIONS = """
def mean(outputs, extras):
    return (outputs["y"] + extras["offset"]).mean()
def failing(outputs, extras):
    raise KeyError("one\\ntwo")
def wordy(outputs, extras):
    return "good"
"""


def test_a_function_is_given_outputs_and_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_metrics.py").write_text(FUNCTIONS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "my_metrics", raising=False)
    samples = data(offset=[1.0, 3.0])
    batches = [({"y": np.ones((1, 2))}, {}, {"offset": np.array([offset])}) for offset in (1.0, 3.0)]
    assert score(Metric.of("my_metrics:mean", samples), *batches) == 3.0
    for name, reason in (
        ("failing", "metric my_metrics:failing raised KeyError: 'one\\ntwo'"),
        ("wordy", "metric my_metrics:wordy must return a number, it returned str"),
    ):
        with pytest.raises(BadData) as error:
            score(Metric.of(f"my_metrics:{name}", samples), *batches)
        assert str(error.value) == reason


def test_what_is_judged_by_where_nobody_says() -> None:
    assert default_metric(data(label=[0, 1])).name == "top1"
    assert default_metric(data(target=[[1.0], [2.0]])).name == "cosine"
    assert default_metric(data()).perfect == 1.0
    aimed = default_metric(data(target=[[1.0], [2.0]]), "target")
    assert (aimed.name, aimed.extras, aimed.perfect) == ("cosine", ("target",), None)
