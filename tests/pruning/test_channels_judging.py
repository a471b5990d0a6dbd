"""What units are judged by: covariances of few samples, and what a BatchNormalization knows of the training data."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.ir.proven import ProvenShapes
from onnxopt.linear.setting import Setting
from onnxopt.pipeline.base import Context
from onnxopt.pruning.channels.budget import Limits, MacCount, of_macs
from onnxopt.pruning.channels.importance import by_weights, curve_of
from onnxopt.pruning.channels.labels import united
from onnxopt.pruning.channels.output_error import error_curve
from onnxopt.pruning.channels.prior import clipped_variance, trained_variance
from onnxopt.pruning.channels.reader import Reader, readers_of
from onnxopt.pruning.channels.removal import kept_indices
from onnxopt.pruning.channels.second_moments import Moments, shrunk, spread
from onnxopt.pruning.channels.structure import Structure
from onnxopt.pruning.channels.unlike import set_apart
from tests.pruning.channel_models import CONV, FIRST, LAST, model
from tests.pruning.zeroed import pruned, some_units, structure_of
from tests.quantization.calibrated import samples_for

Y = "float[N, 5, p, q]"


def readers(graph: ir.Graph) -> tuple[Structure, list[Reader]]:
    structure = structure_of(graph)
    setting = Setting(ProvenShapes(graph), Context().dialect)
    return structure, list(readers_of(structure.links.edit, structure.groups, setting).values())


def test_what_is_joined_has_one_label() -> None:
    found = united(7, np.array([5, 1, 3]), np.array([6, 5, 2]))
    assert found.tolist() == [0, 1, 2, 2, 4, 1, 1]


def test_macs_without_making_the_model() -> None:
    weights = FIRST + "d 8 1 3 3; k 12 8 1 1; m 12 5"
    body = (
        CONV + "e = Conv <group = 8> (c, d) f = Conv (e, k) g = GlobalAveragePool (f) h = Flatten (g) y = Gemm (h, m)"
    )
    graph = model(weights, body, y="float[N, 5]")
    structure = structure_of(graph)
    count = MacCount.of(structure)
    assert count.total == ir.costs(graph).macs
    assert count.left(kept_indices(structure, some_units(structure, 0.4))) == ir.costs(pruned(graph, 0.4)).macs


def test_the_cheapest_for_what_they_save_go() -> None:
    graph = model(FIRST + "k 12 8 3 3; f 5 12 1 1", CONV + "d = Conv (c, k) y = Conv (d, f)", y=Y)
    structure = structure_of(graph)
    cheap, dear = structure.groups
    costs = np.ones(cheap.units) * 1e-3, np.ones(dear.units)
    curves = [curve_of(group, cost) for group, cost in zip(structure.groups, costs, strict=True)]
    assert len(of_macs(structure, curves, 0.9, Limits())) > 0


def test_the_error_is_that_of_the_least_squares_fit() -> None:
    graph = model(FIRST + LAST, CONV + "y = Conv (c, v)", y=Y)
    structure, (reader,) = readers(graph)
    rng = np.random.default_rng(0)
    data = rng.normal(size=(500, 8)) @ rng.normal(size=(8, 8))
    covariance = np.cov(data.T, bias=True)
    (group,) = structure.groups
    curve = error_curve(group, [(reader, Moments(data.mean(axis=0), covariance))], 3)
    output = data @ reader.matrix().T
    left = np.delete(data, curve.order[:1], axis=1)
    left = np.column_stack([left, np.ones(len(left))])
    missing = output - left @ np.linalg.lstsq(left, output, rcond=None)[0]
    total = np.sum(np.var(output, axis=0)) * len(output)
    assert curve.costs[0] == pytest.approx(np.sum(missing**2) / total, rel=1e-6)


def test_correlations_of_few_samples_are_taken_for_chance() -> None:
    rng = np.random.default_rng(0)
    data = rng.normal(size=(40, 30)) * np.arange(1, 31)
    found = shrunk(np.cov(data.T, bias=True), 40)
    assert np.linalg.cond(found / np.sqrt(np.outer(np.diag(found), np.diag(found)))) < 10
    many = rng.normal(size=(10_000, 3)) @ rng.normal(size=(3, 3))
    truth = np.cov(many.T, bias=True)
    np.testing.assert_allclose(shrunk(truth, 10_000), truth, rtol=0.01, atol=0.01 * np.abs(truth).max())


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (-2.0, 1.0), (5.0, 2.0), (1.0, 0.1)])
def test_the_variance_behind_a_clip(mean: float, deviation: float) -> None:
    seen = np.clip(np.random.default_rng(0).normal(mean, deviation, 200_000), 0, 6)
    found = clipped_variance(np.array([mean]), np.array([deviation]), 0, 6)
    assert found[0] == pytest.approx(seen.var(), rel=0.05)


def test_a_batch_normalization_tells_what_varied_in_training() -> None:
    weights = FIRST + "g 8; t 8; m 8; var 8; " + LAST
    body = CONV + "n = BatchNormalization (c, g, t, m, var) r = Relu (n) y = Conv (r, v)"
    graph = model(weights, body, y=Y)
    _, (reader,) = readers(graph)
    scale, shift = (np.asarray(tensor.read(), float) for tensor in graph.nodes[1].inputs[1:3])
    found = trained_variance(reader)
    assert found is not None
    np.testing.assert_allclose(found, clipped_variance(shift, np.abs(scale), 0, np.inf))
    raised = spread(np.diag([1.0, 1.0, 0.01, 1.0]), np.array([1.0, 1.0, 1.0, 1.0]))
    assert raised[2, 2] == pytest.approx(0.7525) and raised[0, 0] == 1.0


def test_norms_are_of_the_weights_that_make_a_unit() -> None:
    graph = model(FIRST + LAST, CONV + "y = Conv (c, v)", y=Y)
    (group,) = structure_of(graph).groups
    weight, bias = (tensor.read() for tensor in graph.nodes[0].inputs[1:])
    np.testing.assert_allclose(by_weights(group, 1), np.abs(weight).sum(axis=(1, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(by_weights(group, 2), np.sqrt((weight**2).sum(axis=(1, 2, 3))), rtol=1e-6)
    assert bias.shape == (8,)


def test_samples_that_are_unlike_the_others_are_set_apart() -> None:
    graph = model("w 4 16; b 4", "y = Gemm <transB = 1> (x, w, b)", x="float[N, 16]", y="float[N, 4]")
    rng = np.random.default_rng(0)
    kinds = [3.0 if place % 4 == 0 else 0.0 for place in range(64)]
    arrays = [np.asarray(rng.normal(size=16) + kind, np.float32) for kind in kinds]
    judged, tried = set_apart(graph, samples_for(graph, arrays))
    assert (judged.length, tried.length) == (48, 16)
    means = [float(feeds["x"].mean()) for feeds in tried.batches()]
    assert len(means) == 16 and min(means) > 1.5


def test_few_samples_stay_together() -> None:
    graph = model("w 4 16; b 4", "y = Gemm <transB = 1> (x, w, b)", x="float[N, 16]", y="float[N, 4]")
    data = samples_for(graph, [np.zeros(16, np.float32)] * 8)
    assert set_apart(graph, data) == (data, data)
