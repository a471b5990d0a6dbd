"""Magnitudes times the norms of the data."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxopt import ir
from onnxopt.errors import BadOption
from onnxopt.pipeline.base import Context
from onnxopt.pruning.on_data import Pruned
from onnxopt.pruning.patterns import Pattern
from onnxopt.pruning.prunable import Prunable, prunable
from onnxopt.pruning.wanda import Norms, by_wanda, data_of, wanda_scores
from tests.passes.accuracy_models import arrays, filled
from tests.passes.checks import run
from tests.quantization.calibrated import samples_for

ANY = Pattern()
HEAD = '<ir_version: 8, opset_import: ["": 17]> g'
CONV = f"{HEAD} (float[N, 4, 9, 9] x) => (float[N, 6, A, B] y) <float[6, 4, 3, 3] w1> {{ y = Conv (x, w1) }}"
DEPTHWISE = f"{HEAD} (float[N, 4, 9, 9] x) => (float[N, 4, A, B] y) <float[4, 1, 3, 3] w1> {{ y = Conv <group=4> (x, w1) }}"  # fmt: skip  # noqa: E501
UP = f"{HEAD} (float[N, 4, 9, 9] x) => (float[N, 6, A, B] y) <float[4, 6, 2, 2] w1> {{ y = ConvTranspose (x, w1) }}"
GROUPED_UP = f"{HEAD} (float[N, 4, 9, 9] x) => (float[N, 6, A, B] y) <float[4, 3, 2, 2] w1> {{ y = ConvTranspose <group=2> (x, w1) }}"  # fmt: skip  # noqa: E501
GEMM = f"{HEAD} (float[N, 12] x) => (float[N, 8] y) <float[8, 12] w1> {{ y = Gemm <transB=1> (x, w1) }}"
MATMUL = f"{HEAD} (float[N, 5, 12] x) => (float[N, 5, 8] y) <float[12, 8] w1> {{ y = MatMul (x, w1) }}"
FIRST = f"{HEAD} (float[N, 12, 5] x) => (float[N, 8, 5] y) <float[8, 12] w1> {{ y = MatMul (w1, x) }}"
LSTM = f"""{HEAD} (float[N, 3, 4] x) => (float[S, 2, N, 5] y) <float[2, 20, 4] w1, float[2, 20, 5] r> {{
  t = Transpose <perm=[1, 0, 2]> (x)
  y = LSTM <hidden_size=5, direction="bidirectional"> (t, w1, r)
}}"""
LAST_STATE = f"""{HEAD} (float[N, 3, 4] x) => (float[1, N, 5] h) <float[1, 15, 4] w1, float[1, 15, 5] r> {{
  t = Transpose <perm=[1, 0, 2]> (x)
  y, h = GRU <hidden_size=5> (t, w1, r)
}}"""


def data_for(graph: ir.Graph) -> list[np.ndarray]:
    """Samples whose features differ in size."""
    shape = [size for size in graph.inputs[0].shape or [] if isinstance(size, int)]
    if len(shape) == 3:
        return arrays(graph)
    rng = np.random.default_rng(1)
    return [np.asarray(rng.normal(size=shape) * np.exp(rng.normal(size=shape[-1])), np.float32) for _ in range(16)]


def context(graph: ir.Graph) -> Context:
    """With data."""
    return Context(None, samples_for(graph, data_for(graph)))


def targets(graph: ir.Graph) -> list[Prunable]:
    """All of a graph."""
    return list(prunable(graph, Context().refuse))


def pruned(text: str, share: float = 0.5, pattern: Pattern = ANY, *, together: bool = False) -> tuple[list[Pruned], Context]:  # fmt: skip  # noqa: E501
    """What becomes of the weights of a model."""
    graph = filled(text)
    ctx = context(graph)
    wanted = [(target, share) for target in targets(graph)]
    return list(by_wanda(graph, wanted, pattern, ctx, together=together, samples=None)), ctx


def values_of(graph: ir.Graph, tensor: ir.Tensor) -> np.ndarray:
    """Of a tensor, on all samples one by one, by onnxruntime."""
    if tensor in graph.inputs:
        return np.stack(data_for(graph))
    model = ir.to_proto(graph)
    del model.graph.output[:]
    model.graph.output.append(onnx.ValueInfoProto(name=tensor.name))
    return np.stack([run(model, {"x": one[np.newaxis]})[tensor.name] for one in data_for(graph)])


@pytest.mark.parametrize("text", [CONV, DEPTHWISE, UP, GROUPED_UP, GEMM, MATMUL])
def test_scores_are_what_a_weight_and_its_data_make(text: str) -> None:
    graph = filled(text)
    (target,) = targets(graph)
    data = values_of(graph, graph.inputs[0])
    norms = Norms(target, graph.inputs[0])
    for one in data:
        norms.add(one[np.newaxis])
    scores = np.empty(target.weight.constant.shape)
    view = target.view(scores)
    view[...] = wanda_scores(target, target.weight.constant.read(), norms.of_weights()).reshape(view.shape)
    weight = np.abs(target.weight.constant.read())
    channel = 1 if data.ndim == 4 else data.ndim - 1
    size = np.sqrt(
        np.square(data, dtype=np.float64).mean(axis=tuple(axis for axis in range(data.ndim) if axis != channel))
    )
    shapes = {CONV: (4, 1, 1), GEMM: (12,), MATMUL: (12, 1)}
    wanted = weight * size.reshape(shapes.get(text, (4, 1, 1, 1)))
    np.testing.assert_allclose(scores, wanted, rtol=1e-5)


def test_recurrent_weights_meet_the_data_and_the_hidden_states() -> None:
    graph = filled(LSTM)
    for target in targets(graph):
        tensor = data_of(target)
        assert tensor is not None
        assert tensor.name == {"w1": "t", "r": "y"}[target.name]
        norms = Norms(target, tensor)
        found = values_of(graph, tensor)
        for one in found:
            norms.add(one)
        squares = np.square(found, dtype=np.float64)
        size = squares.mean(axis=(0, 1, 2)) if target.name == "w1" else squares.mean(axis=(0, 1, 3))
        weight = np.abs(target.weight.constant.read())
        scores = wanda_scores(target, weight, norms.of_weights()).reshape(weight.shape)
        factor = np.sqrt(size) if target.name == "w1" else np.sqrt(size)[:, np.newaxis]
        np.testing.assert_allclose(scores, weight * factor, rtol=1e-4)


def test_hidden_states_that_are_no_tensor_leave_magnitudes_and_are_said() -> None:
    text = LAST_STATE.replace("y, h =", ", h =")
    found, ctx = pruned(text)
    assert sorted(each.target.name for each in found) == ["r", "w1"]
    (recurrence,) = (each for each in found if each.target.name == "r")
    weight = np.abs(recurrence.target.weight.constant.read())
    assert weight[recurrence.keep].min() > weight[~recurrence.keep].max()
    assert "the hidden states are no tensor, as nothing reads Y" in str(ctx.__dict__)


@pytest.mark.parametrize("text", [CONV, GEMM, MATMUL, UP])
def test_every_output_loses_the_share(text: str) -> None:
    (found,), _ = pruned(text)
    zeros = (~found.target.matrix(found.keep)).mean(axis=1)
    np.testing.assert_allclose(zeros, 0.5)


def test_outputs_of_a_depthwise_convolution_are_compared() -> None:
    (found,), _ = pruned(DEPTHWISE)
    zeros = (~found.target.matrix(found.keep)).sum(axis=1)
    assert zeros.sum() == 18
    assert len(set(zeros.tolist())) > 1


def test_data_decide() -> None:
    graph = filled(GEMM)
    (target,) = targets(graph)
    samples = [np.asarray([1e-3] * 6 + [1e3] * 6, np.float32)] * 4
    ctx = Context(None, samples_for(graph, samples))
    (found,) = by_wanda(graph, [(target, 0.5)], ANY, ctx, together=False, samples=None)
    assert not found.keep[:, :6].any()


@pytest.mark.parametrize("together", [False, True])
def test_patterns(together: bool) -> None:
    (found,), _ = pruned(CONV, 0.5, Pattern.parse("2x2"), together=together)
    blocks = found.keep.reshape(3, 2, 2, 2, 9)
    assert (blocks == blocks[:, :1, :, :1]).all()
    if not together:
        (found,), _ = pruned(CONV, 0.5, Pattern.parse("2:4"))
        assert (found.keep.reshape(6, 4, 9).sum(axis=1) == 2).all()


def test_together_they_lose_the_share() -> None:
    found, _ = pruned(LSTM, 0.4, together=True)
    size = sum(each.keep.size for each in found)
    assert sum(int((~each.keep).sum()) for each in found) == round(0.4 * size)


def test_zeros_that_are_there_count() -> None:
    graph = filled(GEMM)
    (target,) = targets(graph)
    constant = target.weight.constant
    before = np.random.default_rng(0).random(constant.shape) < 0.75
    constant.values = np.where(before, constant.read(), np.float32(0))
    (found,) = by_wanda(graph, [(target, 0.5)], ANY, context(graph), together=False, samples=None)
    assert not (found.keep & ~before).any()
    assert (~found.keep).sum() == pytest.approx(48, abs=2)


def test_a_weight_that_is_the_first_factor_is_pruned_by_magnitude() -> None:
    (found,), ctx = pruned(FIRST)
    assert (~found.keep).sum() == 48
    assert "pruned by magnitude: y: the weight is the first factor" in str(ctx.__dict__)


def test_data_are_needed() -> None:
    graph = filled(GEMM)
    with pytest.raises(BadOption, match=r"prune\{method=wanda\} needs calibration data: give --data"):
        list(by_wanda(graph, [(targets(graph)[0], 0.5)], ANY, Context(), together=False, samples=None))
