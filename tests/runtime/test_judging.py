"""Many models beside one reference: as each beside it alone, and the reference runs once."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.api import open_samples
from onnxopt.data import DataSet
from onnxopt.data.scoring import Metric
from onnxopt.errors import BadOption
from onnxopt.pipeline.source import Source
from onnxopt.runtime.evaluation import Accuracy, Subject, evaluate
from onnxopt.runtime.judging import Judge, allowed_drop, is_good
from tests.passes.accuracy_models import IMAGE, arrays, filled
from tests.quantization.calibrated import samples_for

DIGITS = Path(__file__).parent.parent.parent / "fixtures" / "digits_mobilenet"


def subject(graph: ir.Graph) -> Subject:
    return Subject("the model", ir.to_proto(graph))


def worse(graph: ir.Graph) -> ir.Graph:
    """A copy of which the weights are rounded."""
    copy = graph.copy()
    for node in copy.nodes:
        if node.is_op("Conv"):
            node.inputs[1].values = np.round(node.inputs[1].read(), 1)
    return copy


class Counted(Subject):
    runs = 0

    def run(self, feeds: dict[str, object]) -> dict[str, object]:
        self.runs += 1
        return super().run(feeds)


def image() -> tuple[ir.Graph, DataSet]:
    graph = filled(IMAGE)
    return graph, samples_for(graph, arrays(graph))


def test_samples_together_are_judged_as_one_by_one() -> None:
    graph = ir.load(DIGITS / "digits_mobilenet.onnx")
    data = open_samples(Source.of(DIGITS / "digits_mobilenet.onnx"), DIGITS / "test.npz").spread(40)
    one, other = subject(graph), subject(worse(graph))
    for name in ("top1", "agreement", "snr"):
        metric = Metric.of(name, data)
        together, apart = Judge(one, data, metric).accuracy(other), evaluate(one, other, data, metric)
        assert together.samples == apart.samples == 40
        assert together.model == pytest.approx(apart.model, rel=1e-5)
        assert together.outputs["logits"] == pytest.approx(apart.outputs["logits"], rel=1e-5)


def test_a_batch_that_is_written_into_the_model_is_run_one_by_one() -> None:
    text = IMAGE.replace("float[N, 5, 9, 9] y", "float[1, 405] z").replace(
        "(a, w4, b4)\n", "(a, w4, b4)\n s = Constant <value_ints = [1, 405]> ()\n z = Reshape (y, s)\n"
    )
    graph = filled(text)
    data = samples_for(graph, arrays(graph))
    reference = Counted("the model", ir.to_proto(graph))
    assert Judge(reference, data, Metric.of("snr", data)).accuracy(subject(graph)).model == math.inf
    assert reference.runs >= 16


def test_samples_that_a_model_mixes_are_run_one_by_one() -> None:
    text = IMAGE.replace(" y = Conv <pads", " m = ReduceMean <axes = [0]> (a)\n n = Add (a, m)\n y = Conv <pads")
    graph = filled(text.replace("(a, w4, b4)", "(n, w4, b4)"))
    data = samples_for(graph, arrays(graph))
    metric = Metric.of("snr", data)
    found = Judge(subject(graph), data, metric).accuracy(subject(worse(graph)))
    assert found == evaluate(subject(graph), subject(worse(graph)), data, metric)


def test_the_reference_runs_once_as_long_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, data = image()
    metric, found = Metric.of("snr", data), []
    for room, runs in ((1 << 30, 1), (0, 2)):
        monkeypatch.setattr("onnxopt.runtime.judging._HELD", room)
        reference = Counted("the model", ir.to_proto(graph))
        judge = Judge(reference, data, metric)
        reference.runs = 0
        found += [judge.accuracy(subject(worse(graph))) for _ in range(2)]
        assert reference.runs == runs
    assert len({each.model for each in found}) == 1


def test_a_users_function_sees_one_sample_at_a_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mine_to_judge.py").write_text("def first(outputs, extras):\n    return len(outputs['y'])\n")
    monkeypatch.chdir(tmp_path)
    graph, data = image()
    assert Judge(subject(graph), data, Metric.of("mine_to_judge:first", data)).accuracy(subject(graph)).model == 1


def test_what_is_broken_is_not_good_whatever_may_be_lost() -> None:
    graph, data = image()
    metric = Metric.of("cosine", data)
    broken = graph.copy()
    weight = broken.nodes[0].inputs[1]
    weight.values = np.full(weight.shape, np.nan, np.float32)
    found = Judge(subject(graph), data, metric).accuracy(subject(broken))
    assert "holds NaN or infinity in sample 0" in found.broken and not is_good(found, 1.0)
    assert is_good(Accuracy(metric, 1.0, 0.75, 1, "none", {}), 0.25)
    assert not is_good(Accuracy(metric, 1.0, 0.75, 1, "none", {}), 0.24)


def test_a_drop_may_be_left_to_the_metric_or_has_to_be_given() -> None:
    _, data = image()
    assert allowed_drop(Metric.of("agreement", data), None, "prune") == 0.5
    assert allowed_drop(Metric.of("cosine", data), 0.25, "prune") == 0.25
    with pytest.raises(BadOption, match="prune: give max-drop: how much math:hypot may lose"):
        allowed_drop(Metric.of("math:hypot", data), None, "prune")
    with pytest.raises(BadOption, match="a drop of snr needs a target"):
        allowed_drop(Metric.of("snr", data), 1.0, "prune")
