"""`prune-channels`: targets, importances, compensation, what is refused, and what is left for later passes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxopt import ir
from onnxopt.data import DataSet
from onnxopt.errors import BadOption
from onnxopt.passes.prune_channels import PruneChannels
from onnxopt.passes.reconstruct import Reconstruct
from onnxopt.pipeline.base import Context
from onnxopt.pruning.channels import latency_budget
from onnxopt.pruning.channels.trial import Trials
from onnxopt.pruning.masks import Masks
from onnxopt.pruning.teacher import Teacher
from onnxopt.runtime.latency import Ratio
from tests.passes.accuracy_models import IMAGE, arrays, filled, pipeline
from tests.passes.checks import check_golden, parse, random_feeds, run, run_pass
from tests.pruning.channel_models import CONV, FIRST, LAST, model
from tests.pruning.zeroed import pruned, structure_of
from tests.quantization.calibrated import samples_for

DIGITS = Path(__file__).parent.parent.parent / "fixtures" / "digits_mobilenet"


def image() -> tuple[ir.Graph, DataSet]:
    graph = filled(IMAGE)
    return graph, samples_for(graph, arrays(graph, 32))


def error(graph: ir.Graph, found: ir.Graph, seed: int = 9) -> float:
    """The squared error of the outputs, as a part of their variance, on samples that nobody has seen."""
    feeds = {graph.inputs[0].name: np.stack(arrays(graph, 16, seed))}
    one, other = run(ir.to_proto(graph), feeds), run(ir.to_proto(found), feeds)
    return float(np.mean([np.mean((one[name] - other[name]) ** 2) / np.var(one[name]) for name in one]))


def channels(graph: ir.Graph) -> list[int]:
    return [node.inputs[1].shape[0] for node in graph.nodes if node.is_op("Conv")]


def test_golden() -> None:
    check_golden(PruneChannels(ratio=0.5), parse(_EXCITED), "squeeze and excitation")


_EXCITED = """<ir_version: 8, opset_import: ["": 17]> g (float[N, 2, 4, 4] x) => (float[N, 1, 4, 4] y)
  <float[4, 2, 1, 1] w = {5, 5, 1, 1, 4, 4, 2, 2}, float[4] b = {1, 2, 3, 4}, float[4, 1, 1, 1] d = {1, 2, 3, 4},
   float[4, 4, 1, 1] s = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
   float[1, 4, 1, 1] v = {1, 2, 3, 4}> {
    c = Conv (x, w, b)
    e = Conv <group = 4> (c, d)
    m = GlobalAveragePool (e)
    a = Conv (m, s)
    h = HardSigmoid (a)
    p = Mul (e, h)
    y = Conv (p, v)
  }"""


def test_ratio_of_each_group_rounded_down() -> None:
    graph, _ = image()
    run_pass(PruneChannels(ratio=0.3), graph)
    assert channels(graph) == [6, 6, 6, 5]
    onnx.checker.check_model(ir.to_proto(graph), full_check=True)


def test_what_stays_is_a_multiple() -> None:
    graph, _ = image()
    run_pass(PruneChannels(ratio=0.3, multiple=4), graph)
    assert channels(graph) == [8, 8, 8, 5]
    run_pass(PruneChannels(ratio=0.5, multiple=4), graph)
    assert channels(graph) == [4, 4, 4, 5]


def test_some_channels_stay() -> None:
    graph, _ = image()
    run_pass(PruneChannels(ratio=0.9, max_ratio=1, min_channels=3), graph)
    assert channels(graph) == [3, 3, 3, 5]
    graph, _ = image()
    run_pass(PruneChannels(ratio=0.9, max_ratio=0.25), graph)
    assert channels(graph) == [6, 6, 6, 5]


@pytest.mark.parametrize("share", [0.8, 0.5])
def test_macs(share: float) -> None:
    with_macs = model(FIRST + "k 12 8 3 3; f 5 12 1 1", CONV + "d = Conv (c, k) y = Conv (d, f)", y="float[N, 5, p, q]")
    before = ir.costs(with_macs).macs
    run_pass(PruneChannels(macs=share), with_macs)
    left = ir.costs(with_macs).macs / before
    assert share - 0.15 < left <= share


def test_global_takes_the_least_important_wherever_they_are() -> None:
    graph = model(FIRST + "k 12 8 3 3; f 5 12 1 1", CONV + "d = Conv (c, k) y = Conv (d, f)", y="float[N, 5, p, q]")
    weight = next(tensor for node in graph.nodes for tensor in node.inputs if tensor.name == "w")
    small = weight.read().copy()
    small[:6] *= 1e-3
    weight.values = small
    run_pass(PruneChannels(ratio=0.3, scope="global", max_ratio=0.75), graph)
    assert channels(graph) == [2, 12, 5]


@pytest.mark.parametrize("importance", ["l1", "l2"])
def test_small_weights_go(importance: str) -> None:
    graph = parse(_EXCITED)
    run_pass(PruneChannels(ratio=0.5, importance=importance), graph)  # type: ignore[arg-type]
    assert graph.nodes[1].inputs[1].read().ravel().tolist() == [3, 4] or channels(graph)[0] == 2


def test_channels_that_are_hardly_active_go() -> None:
    graph = model("w 8 3 3 3; " + LAST, CONV.replace(", b", "") + "r = Relu (c) y = Conv (r, v)", y="float[N, 5, p, q]")
    bias = ir.Constant("b", np.array([-99, 5, -99, 5, -99, 5, -99, 5], np.float32))
    graph.nodes[0].inputs.append(bias)
    data = samples_for(graph, arrays(graph))
    run_pass(PruneChannels(ratio=0.5, importance="activation", compensate="none"), graph, data=data)
    assert graph.nodes[0].inputs[2].read().tolist() == [5, 5, 5, 5]


def test_a_channel_that_others_can_tell_goes_without_loss() -> None:
    """Channel 7 is the sum of two others: neither its weights nor its activations are small."""
    weights = FIRST.replace("; b 8", "") + LAST
    graph = model(weights, CONV.replace(", b", "") + "y = Conv (c, v)", y="float[N, 5, p, q]")
    weight = graph.nodes[0].inputs[1]
    values = weight.read().copy()
    values[:2] *= 3
    values[7] = values[0] + values[1]
    weight.values = values
    by_norm, by_error, data = graph.copy(), graph.copy(), samples_for(graph, arrays(graph, 256))
    run_pass(PruneChannels(ratio=0.125, importance="l2"), by_norm, data=data)
    run_pass(PruneChannels(ratio=0.125), by_error, data=data)
    assert channels(by_error)[0] == 7 and 2 * error(graph, by_error) < error(graph, by_norm)


def test_compensation_helps_on_data_not_seen() -> None:
    graph, data = image()
    errors = {}
    for how in ("none", "bias", "weights"):
        found = graph.copy()
        run_pass(PruneChannels(ratio=0.25, importance="error", compensate=how), found, data=data)  # type: ignore[arg-type]
        errors[how] = error(graph, found)
    assert errors["weights"] < errors["bias"] < errors["none"]


def test_layers_without_bias_get_one() -> None:
    weights = "w 8 3 3 3; k 8 8 1 1; m 6 8 1 1; f 5 6 1 1"
    body = "c = Conv (x, w) r = Relu (c) d = Conv (r, k) s = Relu (d) e = Conv (s, m) t = Relu (e) y = Conv (t, f)"
    graph = model(weights, body, y="float[N, 5, p, q]")
    data = samples_for(graph, arrays(graph))
    run_pass(PruneChannels(ratio=0.25), graph, data=data)
    onnx.checker.check_model(ir.to_proto(graph), full_check=True)
    assert [len(node.inputs) for node in graph.nodes if node.is_op("Conv")] == [2, 3, 3, 3]
    assert run(ir.to_proto(graph), random_feeds(ir.to_proto(graph)))


def test_weights_that_are_zero_stay_zero() -> None:
    graph, data = image()
    last = graph.nodes[-1].inputs[1]
    last.values = np.where(np.abs(last.read()) < 0.3, np.float32(0), last.read())
    before = np.count_nonzero(last.read()) / last.read().size
    run_pass(PruneChannels(ratio=0.25), graph, data=data)
    assert np.count_nonzero(graph.nodes[-1].inputs[1].read()) / graph.nodes[-1].inputs[1].read().size == pytest.approx(
        before, abs=0.1
    )


def test_the_bias_behind_a_matmul() -> None:
    text = "g = MatMul (x, w) a = Add (g, b) r = Relu (a) m = MatMul (r, v) y = Add (m, e)"
    graph = model("w 16 12; b 12; v 12 5; e 5", text, x="float[N, 7, 16]", y="float[N, 7, 5]")
    rng = np.random.default_rng(0)
    data = samples_for(graph, [np.asarray(rng.normal(size=(7, 16)), np.float32) for _ in range(64)])
    before = graph.copy()
    run_pass(PruneChannels(ratio=0.25, compensate="bias", importance="l2"), graph, data=data)
    feeds = {"x": rng.normal(size=(64, 7, 16)).astype(np.float32)}
    one, other = (run(ir.to_proto(each), feeds)["y"] for each in (before, graph))
    assert np.abs((one - other).mean(axis=(0, 1))).max() < 0.2 * np.abs(one).std()


def test_patterns() -> None:
    graph = model(FIRST + "k 12 8 3 3; f 5 12 1 1", CONV + "d = Conv (c, k) y = Conv (d, f)", y="float[N, 5, p, q]")
    only, other = graph.copy(), graph.copy()
    run_pass(PruneChannels(ratio=0.5, include=("k",)), only)
    run_pass(PruneChannels(ratio=0.5, exclude=("k",)), other)
    assert (channels(only), channels(other)) == ([8, 6, 5], [4, 12, 5])
    with pytest.raises(BadOption, match="'nothing' matches no node"):
        run_pass(PruneChannels(include=("nothing",)), graph)


def test_the_teacher_knows_what_is_left_of_tensors() -> None:
    graph, data = image()
    _, ctx = run_pass(PruneChannels(ratio=0.5), graph, data=data)
    teacher = ctx.kept(Teacher)
    assert teacher is not None and channels(teacher.graph) == [8, 8, 8, 5]
    kept = teacher.channels["c1"]
    original = teacher.graph.nodes[0].inputs[1].read()
    np.testing.assert_array_equal(graph.nodes[0].inputs[1].read(), original[kept])


def test_masks_are_narrowed() -> None:
    graph, _ = image()
    weight = graph.nodes[0].inputs[1]
    weight.values = np.where(np.abs(weight.read()) < 0.3, np.float32(0), weight.read())
    masks = Masks.of(graph)
    ctx = Context(current="prune-channels")
    ctx.keep(masks)
    PruneChannels(ratio=0.5).run(graph, ctx)
    mask = ctx.kept(Masks).get("w1")  # type: ignore[union-attr]
    np.testing.assert_array_equal(mask.keep, graph.nodes[0].inputs[1].read() != 0)  # type: ignore[union-attr]


REFUSED = {
    "an output of the model": ("y = Conv (x, w)", "'y' is an output of the model"),
    "a mean over channels": (
        "c = Conv (x, w) let int64[1] at = [1] m = ReduceMean (c, at) y = Add (m, c)",
        "takes axis 1 of 'c' as a whole",
    ),
    "an operator that is not known": ("c = Conv (x, w) l = LRN <size = 3> (c) y = Conv (l, v)", "not known to keep"),
    "softmax over channels": ("c = Conv (x, w) l = Softmax <axis = 1> (c) y = Conv (l, v)", "Softmax"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str) -> None:
    body, reason = REFUSED[case]
    graph = model("w 8 3 3 3; " + LAST, body, y="float[N, a, p, q]")
    changed, ctx = run_pass(PruneChannels(ratio=0.5), graph)
    assert not changed and any(reason in refusal.what for refusal in ctx.refusals), ctx.refusals


def test_layer_normalization_keeps_the_stream_and_lets_the_neurons_go() -> None:
    body = "n = LayerNormalization (x, s, t) h = MatMul (n, w) g = Gelu (h) o = MatMul (g, v) y = Add (x, o)"
    graph = model("s 16; t 16; w 16 32; v 32 16", body, x="float[N, 7, 16]", y="float[N, 7, 16]")
    run_pass(PruneChannels(ratio=0.5), graph)
    weights = {node.inputs[1].name: node.inputs[1].shape for node in graph.nodes if node.is_op("MatMul")}
    assert weights == {"w": (16, 16), "v": (16, 16)}


def test_channels_that_a_subgraph_reads_stay() -> None:
    graph = parse(
        """<ir_version: 8, opset_import: ["": 17]> g (float[1, 3, 4, 4] x, bool k) => (float[1, 5, 4, 4] y)
      <float[8, 3, 1, 1] w, float[5, 8, 1, 1] v> {
        c = Conv (x, w)
        y = If (k) <then_branch = t () => (float[1, 5, 4, 4] a) { a = Conv (c, v) },
                    else_branch = e () => (float[1, 5, 4, 4] b) { d = Neg (c) b = Conv (d, v) }>
      }""".replace("w,", f"w = {{{', '.join(['1'] * 24)}}},").replace("v>", f"v = {{{', '.join(['1'] * 40)}}}>")
    )
    changed, ctx = run_pass(PruneChannels(ratio=0.5), graph)
    assert not changed and "read in a subgraph" in ctx.refusals[0].what


def test_data_are_asked_for() -> None:
    for options in ({"importance": "error"}, {"importance": "activation"}, {"compensate": "bias"}):
        with pytest.raises(BadOption, match="need calibration data"):
            run_pass(PruneChannels(**options), filled(IMAGE))  # type: ignore[arg-type]


def test_options_that_cannot_be() -> None:
    for options in ({"ratio": 0.3, "macs": 0.5}, {"ratio": 1.5}, {"multiple": 0}, {"samples": 0}):
        with pytest.raises(ValueError, match="give"):
            PruneChannels(**options)  # type: ignore[arg-type]


def test_macs_out_of_reach() -> None:
    with pytest.raises(BadOption, match="out of reach"):
        run_pass(PruneChannels(macs=0.05), filled(IMAGE))


def test_latency_is_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the time were that of the MACs."""
    graph = model(FIRST + "k 12 8 3 3; f 5 12 1 1", CONV + "d = Conv (c, k) y = Conv (d, f)", y="float[N, 5, p, q]")
    whole = ir.costs(graph).macs
    monkeypatch.setattr(Trials, "session", lambda self, plan: ir.costs(self.pruned(plan)).macs / whole)
    monkeypatch.setattr(latency_budget, "latency_ratios", lambda sessions, *_, **__: [None, Ratio((sessions[1],))])
    run_pass(PruneChannels(latency=0.7), graph)
    assert 0.5 < ir.costs(graph).macs / whole <= 0.7


def test_reconstruct_goes_on() -> None:
    graph, data = image()
    alone, _ = pipeline(graph, data, PruneChannels(ratio=0.25, compensate="none"))
    after, ctx = pipeline(graph, data, PruneChannels(ratio=0.25, compensate="none"), Reconstruct())
    assert channels(after) == channels(alone) and error(graph, after) < 0.7 * error(graph, alone), ctx.refusals


def test_a_limit_prunes_the_first_groups_only() -> None:
    graph = model(FIRST + "k 12 8 3 3; f 5 12 1 1", CONV + "d = Conv (c, k) y = Conv (d, f)", y="float[N, 5, p, q]")
    run_pass(PruneChannels(ratio=0.5), graph, limit=1)
    assert channels(graph) == [4, 12, 5]
    onnx.checker.check_model(ir.to_proto(graph), full_check=True)


def test_digits_mobilenet_without_some_channels() -> None:
    graph = ir.load(DIGITS / "digits_mobilenet.onnx")
    found = pruned(graph, 0.3)
    assert len(structure_of(graph).groups) > 3
    assert run(ir.to_proto(found), random_feeds(ir.to_proto(graph)))
    assert ir.costs(found).macs < 0.7 * ir.costs(graph).macs
