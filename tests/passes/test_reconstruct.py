"""`reconstruct`: what a lossy pass took from the outputs is given back, by the weights that it left."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.data.metrics import snr
from onnxopt.errors import BadModel, BadOption
from onnxopt.passes.reconstruct import Reconstruct
from onnxopt.pipeline.base import Context
from onnxopt.pruning.reconstruction.output_error import output_error
from onnxopt.pruning.teacher import Teacher, remember
from tests.passes.accuracy_models import IMAGE, TOKENS, arrays, filled
from tests.passes.checks import check_golden, parse, run, run_pass
from tests.quantization.calibrated import samples_for

NORMS = """<ir_version: 8, opset_import: ["": 17]> g (float[N, 4, 9, 9] x) => (float[N, 5, 9, 9] y)
  <float[8, 4, 3, 3] w1, float[8] s1 = {1, 2, 0.5, 1, -1, 2, 0, 1}, float[8] t1, float[8] m1,
   float[8] v1 = {1, 2, 3, 4, 5, 6, 7, 8}, float[5, 8, 1, 1] w2, float[5] s2 = {1, 1, 1, 1, 1}, float[5] t2,
   float[5] m2, float[5] v2 = {1, 1, 1, 1, 1}> {
    c1 = Conv <pads = [1, 1, 1, 1]> (x, w1)
    n1 = BatchNormalization (c1, s1, t1, m1, v1)
    r1 = Relu (n1)
    c2 = Conv (r1, w2)
    r2 = Relu (c2)
    y = BatchNormalization (r2, s2, t2, m2, v2)
  }"""
"""Behind a Conv that has no bias, and behind a Relu."""


def weights(graph: ir.Graph) -> dict[str, np.ndarray]:
    """Of all nodes, by name."""
    return {
        tensor.name: np.array(tensor.read())
        for node in graph.nodes
        for tensor in node.inputs
        if isinstance(tensor, ir.Constant)
    }


def seen_and_unseen(graph: ir.Graph) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Samples to calibrate on, and others."""
    everything = arrays(graph, 96)
    if len(graph.inputs[0].shape or []) < 4:  # else nothing that is left says what is gone
        mixed = np.random.default_rng(2).normal(size=(16, 16)) ** 3
        everything = [np.asarray(each @ mixed, np.float32) for each in everything]
    return everything[:64], everything[64:]


def prune(graph: ir.Graph, share: float = 0.4) -> None:
    """The lowest magnitudes of each matrix become zero."""
    for node in graph.nodes:
        for tensor in node.inputs[1:2]:
            if isinstance(tensor, ir.Constant) and len(tensor.shape or ()) > 1:
                old = tensor.read()
                tensor.values = np.where(np.abs(old) > np.quantile(np.abs(old), share), old, np.float32(0))


def recovered(text: str, **options: object) -> tuple[ir.Graph, ir.Graph, ir.Graph, Context]:
    """A model, the same pruned, and reconstructed."""
    graph = filled(text)
    pruned = graph.copy()
    ctx = Context(data=samples_for(graph, seen_and_unseen(graph)[0]), current="reconstruct")
    remember(pruned, ctx)
    prune(pruned)
    found = pruned.copy()
    assert Reconstruct(**options).run(found, ctx)  # type: ignore[arg-type]
    return graph, pruned, found, ctx


def noise(graph: ir.Graph, other: ir.Graph) -> float:
    """Signal to noise on data that no pass has seen, dB."""
    (name,) = (tensor.name for tensor in graph.inputs)
    feeds = {name: np.stack(seen_and_unseen(graph)[1])}
    one, two = run(ir.to_proto(graph), feeds), run(ir.to_proto(other), feeds)
    return min(snr(one[key], two[key]) for key in one)


@pytest.mark.parametrize(("text", "gain"), [(IMAGE, 3.0), (TOKENS, 1.0), (NORMS, 0.5)])
def test_less_noise_on_data_never_seen(text: str, gain: float) -> None:
    graph, pruned, found, _ = recovered(text)
    assert noise(graph, found) > noise(graph, pruned) + gain


def test_zeros_and_shapes_stay() -> None:
    _, pruned, found, _ = recovered(IMAGE)
    after = weights(found)
    for name, before in weights(pruned).items():
        assert after[name].shape == before.shape and not after[name][before == 0].any()
    assert not np.array_equal(after["w1"], weights(pruned)["w1"])


def test_the_teacher_stays_as_it_was() -> None:
    graph, _, _, ctx = recovered(IMAGE)
    teacher = ctx.kept(Teacher)
    assert teacher is not None and ir.to_text(teacher.graph) == ir.to_text(graph)


def test_a_layer_is_what_lstsq_finds() -> None:
    graph = parse("""<ir_version: 8, opset_import: ["": 17]> g (float[N, 3] x) => (float[N, 2] y)
        <float[3, 2] w = {1, 2, 3, 4, 5, 6}, float[2] b = {1, -1}> { y = Gemm (x, w, b) }""")
    x = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    x[:, 2] = 2 * x[:, 0] + 1
    y = run(ir.to_proto(graph), {"x": x})["y"]
    ctx = Context(data=samples_for(graph, list(x)))
    remember(graph, ctx)
    graph.nodes[0].inputs[1].values = np.array([[1, 0], [3, 4], [0, 6]], np.float32)
    assert Reconstruct().run(graph, ctx)
    weight, bias = (tensor.read() for tensor in graph.nodes[0].inputs[1:])
    for row, support in enumerate(([0, 1], [1, 2])):
        one = np.column_stack([x[:, support], np.ones(64)])
        expected, *_ = np.linalg.lstsq(one.astype(np.float64), y[:, row], rcond=None)
        np.testing.assert_allclose([*weight[support, row], bias[row]], expected, rtol=1e-3, atol=1e-4)
    assert weight[2, 0] == weight[0, 1] == 0


def test_alpha_and_beta_of_a_gemm_are_kept_apart_from_its_numbers() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[N, 16] x) => (float[N, 8] y)
        <float[16, 8] w, float[8] b> { y = Gemm <alpha = 0.5, beta = 3.0> (x, w, b) }"""
    graph, pruned, found, _ = recovered(text)
    assert noise(graph, found) > noise(graph, pruned)


def test_a_bias_goes_into_the_mean_of_the_normalization_behind() -> None:
    _, pruned, found, _ = recovered(NORMS)
    before, after = weights(pruned), weights(found)
    assert [len(node.inputs) for node in found.nodes] == [2, 5, 1, 3, 1, 5]  # c2 has got a bias of its own
    assert not np.array_equal(before["m1"], after["m1"]) and np.array_equal(before["v1"], after["v1"])
    np.testing.assert_array_equal(before["w1"][6], after["w1"][6])  # of which the normalization makes nothing
    assert not np.array_equal(before["v2"], after["v2"])


def test_a_vector_added_behind_a_matmul_is_its_bias() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[N, 6, 16] x) => (float[N, 6, 8] y)
        <float[16, 8] w, float[8] b> { m = MatMul (x, w) y = Add (b, m) }"""
    graph, pruned, found, _ = recovered(text)
    assert noise(graph, found) > noise(graph, pruned)
    assert [node.op for node in found.nodes] == ["MatMul", "Add"]
    assert not np.array_equal(weights(pruned)["b"], weights(found)["b"])


def test_statistics_are_exactly_those_of_the_data() -> None:
    graph = parse("""<ir_version: 8, opset_import: ["": 17]> g (float[N, 2] x) => (float[N, 2] y)
        <float[2] s = {2, -1}, float[2] t = {1, 0}, float[2] m = {0, 0}, float[2] v = {1, 1}> {
          a = Abs (x)
          y = BatchNormalization <epsilon = 1e-6> (a, s, t, m, v)
        }""")
    x = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    node = graph.nodes[1]
    node.inputs[3].values, node.inputs[4].values = np.abs(x).mean(axis=0), np.abs(x).var(axis=0)
    ctx = Context(data=samples_for(graph, list(x)))
    remember(graph, ctx)
    graph.nodes[0].op = "Exp"
    assert Reconstruct(method="statistics").run(graph, ctx)
    np.testing.assert_allclose(node.inputs[3].read(), np.exp(x).mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(
        node.inputs[4].read(), np.exp(x).var(axis=0), rtol=1e-2
    )  # epsilon is part of what counts


def test_statistics_alone_change_no_weight() -> None:
    graph, pruned, found, _ = recovered(NORMS, method="statistics")
    before, after = weights(pruned), weights(found)
    assert {name for name in before if not np.array_equal(before[name], after[name])} == {"m1", "v1", "m2", "v2"}
    assert noise(graph, found) > noise(graph, pruned)


def test_channels_that_were_removed_are_not_asked_for() -> None:
    graph = filled(IMAGE)
    ctx = Context(data=samples_for(graph, seen_and_unseen(graph)[0]))
    kept = [0, 1, 2, 4, 5, 6, 7]
    remember(graph, ctx).narrow(dict.fromkeys(("c1", "r1", "c2", "r2", "c3", "a"), kept))
    for node, axes in zip((node for node in graph.nodes if node.op == "Conv"), ((0,), (0,), (0, 1), (1,)), strict=True):
        for axis in axes:
            node.inputs[1].values = np.take(node.inputs[1].read(), kept, axis)
        if node.outputs[0].name != "y":
            node.inputs[2].values = node.inputs[2].read()[kept]
    graph.nodes[2].attrs["group"] = len(kept)
    for node in graph.nodes:
        node.outputs[0].shape = None
    before = graph.copy()
    original = filled(IMAGE)
    assert Reconstruct().run(graph, ctx) and not [refusal for refusal in ctx.refusals if "shape" in refusal.what]
    assert noise(original, graph) > noise(original, before) + 1


def test_a_second_run_changes_nothing() -> None:
    _, _, found, ctx = recovered(IMAGE)
    before = ir.to_text(found)
    assert not Reconstruct().run(found, ctx)
    assert ir.to_text(found) == before and ctx.refusals


def test_an_unchanged_model_stays_as_it_is() -> None:
    for text in (IMAGE, NORMS):
        graph = filled(text)
        ctx = Context(data=samples_for(graph, arrays(graph)))
        remember(graph, ctx)
        assert not Reconstruct().run(graph, ctx) and not ctx.refusals


def test_layers_before_what_was_changed_are_left() -> None:
    graph = filled(IMAGE)
    ctx = Context(data=samples_for(graph, arrays(graph)))
    remember(graph, ctx)
    before = weights(graph)
    graph.nodes[4].inputs[1].values = np.where(np.abs(before["w3"]) > 0.3, before["w3"], 0)
    assert Reconstruct().run(graph, ctx)
    after = weights(graph)
    assert [name for name in before if name[0] == "w" and not np.array_equal(before[name], after[name])] == ["w3", "w4"]


def test_a_limit_of_rewrites_holds() -> None:
    graph = filled(IMAGE)
    ctx = Context(data=samples_for(graph, arrays(graph)), limit=1)
    remember(graph, ctx)
    prune(graph)
    before = weights(graph)
    assert Reconstruct().run(graph, ctx)
    assert [name for name in before if not np.array_equal(before[name], weights(graph)[name])] == ["w1", "b1"]


def test_memory_does_not_grow_with_samples() -> None:
    def peak(count: int) -> int:
        graph = filled(IMAGE)
        sample = arrays(graph, 1)[0]
        data = samples_for(graph, [sample] * count)
        ctx = Context(data=data)
        remember(graph, ctx)
        prune(graph)
        tracemalloc.start()
        Reconstruct(samples=None).run(graph, ctx)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(64)
    assert peak(256) < 1.2 * peak(64)


def test_weights_that_layers_share_are_left() -> None:
    graph = filled(TOKENS.replace("z = MatMul (n, wk)", "z = MatMul (n, wq)"))
    ctx = Context(data=samples_for(graph, arrays(graph)))
    remember(graph, ctx)
    prune(graph)
    assert not Reconstruct().run(graph, ctx)
    assert {refusal.what for refusal in ctx.refusals} == {"its weight 'wq' is read by others too"}


def test_outputs_that_the_original_has_not_are_left() -> None:
    graph = filled(IMAGE)
    ctx = Context(data=samples_for(graph, arrays(graph)))
    remember(graph, ctx)
    prune(graph)
    graph.nodes[0].outputs[0].name = "other"
    Reconstruct().run(graph, ctx)
    assert "the original has no tensor 'other' to compare with" in {refusal.what for refusal in ctx.refusals}


def test_no_original_and_no_data_say_what_to_do() -> None:
    graph = filled(IMAGE)
    data = samples_for(graph, arrays(graph))
    with pytest.raises(BadOption, match="reconstruct needs calibration data: give --data"):
        run_pass(Reconstruct(), graph)
    with pytest.raises(BadOption, match="reconstruct needs the original model: put it behind a lossy pass"):
        run_pass(Reconstruct(), graph, data=data)
    with pytest.raises(BadModel):
        run_pass(Reconstruct(original="none.onnx"), graph, data=data)
    with pytest.raises(ValueError, match="samples is 1: give at least 2"):
        Reconstruct(samples=1)


def test_outputs_that_come_no_closer_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, pruned, found, ctx = recovered(IMAGE)
    data = samples_for(graph, seen_and_unseen(graph)[0])
    assert 0 < output_error(found, graph, data) < output_error(pruned, graph, data) and not ctx.warnings
    assert output_error(graph, graph, data) == 0
    errors = iter((0.1, 0.2))
    monkeypatch.setattr("onnxopt.passes.reconstruct.output_error", lambda *_: next(errors))
    _, _, _, ctx = recovered(IMAGE)
    assert "error was 10.00% of their power and is 20.00%" in ctx.warnings[0]


def test_the_original_from_a_file(tmp_path: Path) -> None:
    graph, pruned, found, _ = recovered(IMAGE)
    ir.save(graph, tmp_path / "original.onnx")
    data = samples_for(graph, seen_and_unseen(graph)[0])
    assert run_pass(Reconstruct(original=str(tmp_path / "original.onnx")), pruned, data=data)[0]
    assert ir.to_text(pruned) == ir.to_text(found)


def test_text() -> None:
    class Behind(Reconstruct):
        """As in a run, with numbers that do not depend on who computed them."""

        def run(self, graph: ir.Graph, ctx: Context) -> bool:
            numbers = np.random.default_rng(0).normal(size=(16, 2)).astype(np.float32)
            ctx.data = samples_for(graph, [np.tile(pair, 2) for pair in numbers])
            remember(graph, ctx)
            graph.nodes[0].inputs[1].values = np.array([[1, 0], [3, 4], [0, 6], [0, 8]], np.float32)
            changed = super().run(graph, ctx)
            for tensor in graph.nodes[0].inputs[1:]:
                tensor.values = np.round(tensor.read(), 3) + np.float32(0)
            return changed

    Behind.__name__ = "Reconstruct"
    graph = parse("""<ir_version: 8, opset_import: ["": 17]> g (float[N, 4] x) => (float[N, 2] y)
        <float[4, 2] w = {1, 2, 3, 4, 5, 6, 7, 8}, float[2] b = {1, -1}> { y = Gemm (x, w, b) }""")
    check_golden(Behind(), graph, "gemm")
