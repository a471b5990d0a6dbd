"""benchmarks/quantization.py and its data, on what needs no download."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    for folder in ("benchmarks", "fixtures"):
        monkeypatch.syspath_prepend(str(ROOT / folder))


def subject(name):
    subjects = importlib.import_module("quantization_subjects").subjects()
    return next(one for one in subjects if one.name == name)


def variant(tmp_path, name, rows, size=10, violations=()):
    """A model of `size` bytes whose samples are worth `rows`."""
    runs = importlib.import_module("quantization_runs")
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.onnx"
    path.write_bytes(bytes(size))
    made = runs.Variant("someone", subject(name), path, violations=list(violations))
    made.plain = made.deployed = runs.Worth(np.asarray(rows, np.float64) + 1, np.asarray(rows, np.float64))
    return made


def measured(tmp_path, name, before, after, theirs=10, ours=10, violations=()):
    runs = importlib.import_module("quantization_runs")
    original, peer = variant(tmp_path, name, before), variant(tmp_path, name, before, theirs)
    return runs.Measured(
        subject(name), original, peer, original, {"onnx": variant(tmp_path, name, after, ours, violations)}
    )


def judge(point, *arguments):
    return getattr(importlib.import_module("quantization_verdicts"), point)(*arguments)


def test_digits_mobilenet_from_end_to_end():
    script = ROOT / "benchmarks" / "quantization.py"
    command = [sys.executable, str(script), "--json", "--only", "accuracy,targets", "--models", "digits"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.stdout, finished.stderr
    found = json.loads(finished.stdout)
    assert (finished.returncode, found["verdicts"]) == (0, {"1": True, "2": True}), found["notes"]
    models = found["models"]["digits_mobilenet"]
    assert models["float"]["optimizations on"] == 98.5
    assert models["onnxopt for onnx"]["bytes"] <= models["onnxruntime"]["bytes"] < models["float"]["bytes"]


@pytest.mark.parametrize(
    ("name", "before", "after", "holds"),
    [
        ("tinybeauty", [37.0, 38.0], [36.9, 37.81], True),  # 0.145 dB
        ("tinybeauty", [37.0, 38.0], [36.9, 37.79], False),  # 0.155 dB
        ("digits_mobilenet", [100.0] * 1000, [0.0] * 2 + [100.0] * 998, True),
        ("digits_mobilenet", [100.0] * 1000, [0.0] * 3 + [100.0] * 997, False),
        ("efficientnet_lite0", [100.0, 0.0], [0.0, 100.0], False),  # as many right, but one of them lost
    ],
)
def test_accuracy_may_be_lost_within_the_limits(tmp_path, name, before, after, holds):
    assert judge("accurate", [measured(tmp_path, name, before, after)]).holds is holds


@pytest.mark.parametrize(("theirs", "ours", "holds"), [(10, 10, True), (10, 11, False)])
def test_a_file_is_at_most_as_large_as_theirs(tmp_path, theirs, ours, holds):
    found = measured(tmp_path, "tinybeauty", [37.0], [37.0], theirs, ours)
    assert judge("accurate", [found]).holds is holds


@pytest.mark.parametrize(("is_wrong", "holds"), [(True, False), (False, True)])
def test_a_broken_rule_counts_and_a_slow_node_does_not(tmp_path, is_wrong, holds):
    from onnxopt.quantization.legality import Violation

    found = measured(tmp_path, "tinybeauty", [37.0], [37.0], violations=[Violation("'a' (Conv)", "why", is_wrong)])
    report = judge("lawful", [found])
    assert report.holds is holds
    assert any("'a' (Conv): why" in note for note in report.notes) is is_wrong


@pytest.mark.parametrize(("ours", "holds"), [(0.8, True), (0.9, True), (0.95, False)])
def test_ours_takes_at_most_the_time_of_theirs_round_by_round(tmp_path, ours, holds):
    times = importlib.import_module("quantization_latency")
    from onnxopt.runtime.latency import Ratio

    ratios = {"onnxruntime": 0.9, "onnxopt": ours, times.AGAIN: 1.0}
    took = times.Latency(1.0, {who: Ratio((value, value, value * 7)) for who, value in ratios.items()})
    found = measured(tmp_path, "tinybeauty", [37.0], [37.0])
    assert judge("fast", [found], {"tinybeauty": took}).holds is holds


@pytest.mark.parametrize("name", ["digits_mobilenet", "tinybeauty"])
def test_nothing_is_tested_on_that_was_calibrated_on(name):
    one = subject(name)
    calibrated = np.concatenate([feeds[one.input] for feeds in one.calibration_batches()])
    tested = np.concatenate([feeds[one.input] for feeds in one.test_batches()])
    assert len(calibrated) <= importlib.import_module("quantization_subjects").MOST_SAMPLES
    assert not {sample.tobytes() for sample in calibrated} & {sample.tobytes() for sample in tested}


def test_lines_to_calibrate_on_share_nothing_with_those_to_test_on():
    lines = importlib.import_module("text_lines")
    one, other = lines.TEST, lines.CALIBRATION
    assert other.count <= 256
    assert not set(one.fonts) & set(other.fonts)
    assert not set(one.sizes) & set(other.sizes)
    assert not set(one.words.lower().split()) & set(other.words.lower().split())


def test_what_is_stored_is_made_once_and_whole(tmp_path):
    stored, real = importlib.import_module("stored").stored, importlib.import_module("real_models")
    path = tmp_path / "folder" / "a.npz"

    def needs_more():
        raise ModuleNotFoundError("No module named 'PIL'")

    with pytest.raises(real.RealModelUnavailable, match="pip install pillow"):
        stored(path, needs_more)
    assert not path.exists()
    assert stored(path, lambda: {"x": np.arange(3)}) == path
    assert stored(path, needs_more) == path
    assert list(path.parent.iterdir()) == [path]
