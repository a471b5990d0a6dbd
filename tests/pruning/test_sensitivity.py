"""Each layer pruned alone, and the shares that follow for all of them together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.data import DataSet
from onnxopt.data.scoring import Metric
from onnxopt.errors import BadOption
from onnxopt.passes.prune import Prune
from onnxopt.pipeline.base import Context
from onnxopt.pruning.magnitude import by_magnitude
from onnxopt.pruning.patterns import Pattern
from onnxopt.pruning.prunable import Prunable, prunable
from onnxopt.pruning.sensitivity import Allocation, Curve, Sweep, search, shares_at, sweep, usual_metric
from onnxopt.runtime.evaluation import Subject
from onnxopt.runtime.judging import Judge
from tests.passes.accuracy_models import IMAGE, arrays, filled
from tests.passes.checks import run, run_pass
from tests.quantization.calibrated import samples_for


@dataclass(frozen=True)
class Magnitude:
    """The smallest weights go."""

    pattern: str = "unstructured"

    @property
    def levels(self) -> Sequence[float]:
        share = Pattern.parse(self.pattern).sparsity
        return () if share is None else (share,)

    def targets(self, graph: ir.Graph, ctx: Context) -> list[Prunable]:
        pattern = Pattern.parse(self.pattern)
        return [target for target in prunable(graph, ctx.refuse) if not target.obstacle(pattern)]

    def prune_to(self, graph: ir.Graph, shares: Mapping[str, float], ctx: Context) -> None:
        wanted = [(target, shares[target.name]) for target in prunable(graph, ctx.refuse) if target.name in shares]
        for target, keep in by_magnitude(wanted, Pattern.parse(self.pattern)):
            target.weight.constant.values = np.where(keep, target.weight.constant.read(), np.float32(0))


def judging(graph: ir.Graph, data: DataSet, metric: str) -> Judge:
    return Judge(Subject("the model", ir.to_proto(graph)), data, Metric.of(metric, data))


def curve(name: str, size: int, *snrs: float) -> Curve:
    return Curve(name, name, size, snrs, snrs)


def alone(*curves: Curve, levels: tuple[float, ...] = (0.25, 0.5, 0.75)) -> Sweep:
    data = samples_for(filled(IMAGE), [np.zeros((4, 9, 9), np.float32)])
    return Sweep(levels, curves, Metric.of("snr", data), math.inf, 1, "none")


def test_every_layer_alone_at_every_sparsity() -> None:
    graph = filled(IMAGE)
    samples = arrays(graph)
    data = samples_for(graph, samples)
    before = ir.to_text(graph)
    found = sweep(graph, Magnitude(), Context(data=data), judging(graph, data, "snr"), (0.5, 0.9))
    assert ir.to_text(graph) == before
    assert [curve.weight for curve in found.curves] == ["w1", "w2", "w3", "w4"]
    assert (found.levels, found.samples, found.reference) == ((0.5, 0.9), 16, math.inf)
    feeds = {"x": np.stack(samples)}
    expected = run(ir.to_proto(graph), feeds)["y"].astype(np.float64)
    for each, level in ((found.curves[2], 0.5), (found.curves[3], 0.9)):
        copy = graph.copy()
        Magnitude().prune_to(copy, {each.weight: level}, Context())
        actual = run(ir.to_proto(copy), feeds)["y"]
        snr = 10 * math.log10(np.sum(expected**2) / np.sum((expected - actual) ** 2))
        assert each.values[found.levels.index(level)] == pytest.approx(snr, abs=0.01)
        assert each.values == each.snrs and each.values[0] > each.values[1]


def test_a_pattern_says_its_own_sparsity() -> None:
    graph = filled(IMAGE)
    data = samples_for(graph, arrays(graph))
    found = sweep(graph, Magnitude("2:4"), Context(data=data), judging(graph, data, "cosine"))
    assert found.levels == (0.5,) and [curve.weight for curve in found.curves] == ["w1", "w3", "w4"]
    assert found.reference == 1.0 and all(0 < curve.values[0] < 1 for curve in found.curves)


def test_where_a_zero_costs_the_same_everywhere() -> None:
    robust, frail = curve("robust", 100, 40, 35, 30), curve("frail", 100, 30, 20, 10)
    assert shares_at(alone(robust, frail), 1e-9) == {}
    assert shares_at(alone(robust, frail), 1e9) == {"robust": 0.75, "frail": 0.75}
    between = shares_at(alone(robust, frail), 1e-4)
    assert between == {"robust": 0.75, "frail": 0.25}


def test_a_large_layer_is_worth_more_noise() -> None:
    assert shares_at(alone(curve("large", 1000, 30, 20, 10), curve("small", 10, 30, 20, 10)), 1e-3) == {
        "large": 0.75, "small": 0.25
    }  # fmt: skip


def test_shares_between_those_that_were_measured() -> None:
    fine = tuple(np.arange(1, 76) / 100)
    found = shares_at(alone(curve("one", 100, 40, 30, 20)), 2e-5, fine)
    assert 0.25 < found["one"] < 0.5 and found["one"] * 100 == round(found["one"] * 100)
    little = shares_at(alone(curve("one", 100, 10, 5, 0)), 1e-3, fine)
    assert 0 < little["one"] < 0.25


def test_what_is_broken_is_never_chosen_and_what_does_nothing_always() -> None:
    broken, dead = curve("broken", 100, math.nan, math.nan, math.nan), curve("dead", 100, math.inf, math.inf, math.inf)
    assert shares_at(alone(broken, dead), 1e9) == {"dead": 0.75}
    assert shares_at(alone(broken, dead), 1e-9) == {"dead": 0.75}


@pytest.mark.parametrize("allowed", [0.0005, 0.01, 0.1])
def test_the_shares_that_are_found_hold_what_was_asked_for(allowed: float) -> None:
    graph = filled(IMAGE)
    data = samples_for(graph, arrays(graph))
    judge = judging(graph, data, "cosine")
    found = search(graph, Magnitude(), Context(data=data), judge, allowed)
    copy = graph.copy()
    Magnitude().prune_to(copy, found.shares, Context())
    assert found.shares and 0 < found.sparsity < 0.95
    again = judge.accuracy(Subject("the pruned model", ir.to_proto(copy)))
    assert again.drop <= allowed and again.model == found.chosen.model
    even = graph.copy()  # as many zeros, and the same share of each
    Magnitude().prune_to(even, {curve.weight: found.sparsity for curve in found.sweep.curves}, Context())
    assert judge.accuracy(Subject("even", ir.to_proto(even))).drop >= again.drop


def test_the_more_may_be_lost_the_sparser() -> None:
    graph = filled(IMAGE)
    data = samples_for(graph, arrays(graph))
    judge = judging(graph, data, "cosine")
    found = [search(graph, Magnitude(), Context(data=data), judge, most).sparsity for most in (0, 0.01, 1.0)]
    assert found == sorted(found) and found[0] < 0.1 and found[-1] == pytest.approx(0.9)


CLASSES = (
    '<ir_version: 8, opset_import: ["": 17]> g (float[N, 4] x) => (float[N, 3] y) <float[4, 3] w> { y = MatMul (x, w) }'
)


def test_the_usual_metric() -> None:
    classes, image = filled(CLASSES), filled(IMAGE)
    rows = samples_for(classes, [np.ones(4, np.float32)] * 3)
    labelled = replace(rows, samples=lambda: ({"x": np.ones(4, np.float32), "label": np.array(1)} for _ in range(3)))
    labelled = replace(labelled, extras=("label",))
    one, other = (Subject("the model", ir.to_proto(graph)) for graph in (classes, image))
    assert usual_metric(one, rows, None, 0.5).name == "agreement"
    assert usual_metric(one, labelled, None, 0.5).name == "top1"
    images = samples_for(image, arrays(image, 2))
    assert usual_metric(other, images, None, 0.001).name == usual_metric(other, images, None, None).name == "cosine"
    with pytest.raises(BadOption, match=r"max-drop=0\.5 of the cosine would leave nothing of the outputs"):
        usual_metric(other, images, None, 0.5)


def test_the_pass_prunes_by_what_is_found() -> None:
    graph = filled(CLASSES.replace("[4, 3]", "[16, 8]").replace("[N, 4]", "[N, 16]").replace("[N, 3]", "[N, 8]"))
    samples = [np.random.default_rng(seed).normal(size=16).astype(np.float32) for seed in range(64)]
    data = samples_for(graph, samples)
    before = graph.copy()
    changed, ctx = run_pass(Prune(sparsity="auto", max_drop=10), graph, data=data)
    found = ctx.kept(Allocation)
    assert changed and found is not None and found.chosen.metric.name == "agreement" and found.max_drop == 10
    weight = graph.nodes[0].inputs[1].read()
    assert np.mean(weight == 0) == pytest.approx(found.shares["w"], abs=1 / 128) and found.shares["w"] > 0.1
    one, other = (run(ir.to_proto(each), {"x": np.stack(samples)})["y"].argmax(axis=1) for each in (before, graph))
    assert 90 <= 100 * np.mean(one == other) == found.chosen.model < 100
