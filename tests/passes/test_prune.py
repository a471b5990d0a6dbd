"""`prune`: which weights go, which are left alone and why, and what is left to the passes that follow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxopt
from onnxopt import ir
from onnxopt.errors import BadData, BadOption
from onnxopt.passes.prune import Prune
from onnxopt.pruning.mask_file import save_masks
from onnxopt.pruning.masks import Mask, Masks
from onnxopt.pruning.teacher import Teacher
from tests.passes.checks import check_golden, check_pass, check_refusal, parse, run_pass
from tests.quantization.calibrated import samples_for

RNG = np.random.default_rng(3)
SHAPES = {
    "Conv": ([1, 8, 5, 5], [6, 8, 3, 3], "w", {}),
    "grouped Conv": ([1, 8, 5, 5], [6, 4, 3, 3], "w", {"group": 2}),
    "ConvTranspose": ([1, 8, 5, 5], [8, 6, 2, 2], "w", {}),
    "grouped ConvTranspose": ([1, 8, 5, 5], [8, 3, 2, 2], "w", {"group": 2}),
    "Gemm": ([2, 8], [8, 6], "w", {}),
    "transposed Gemm": ([2, 8], [6, 8], "w", {"transB": 1}),
    "MatMul": ([2, 3, 8], [8, 6], "w", {}),
    "stacked MatMul": ([4, 3, 8], [4, 8, 6], "w", {}),
}


def layer(case: str, dtype: type = np.float32, values: np.ndarray | None = None) -> ir.Graph:
    shape, weight, name, attrs = SHAPES[case]
    array = RNG.normal(size=weight) if values is None else values
    op = case.split()[-1]
    code = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(op, ["x", name], ["y"], "layer", None, None, None, **attrs)],
        "g",
        [onnx.helper.make_tensor_value_info("x", code, shape)],
        [onnx.helper.make_tensor_value_info("y", code, ["a", "b", "c", "d"][: len(shape)])],
        [onnx.numpy_helper.from_array(array.astype(dtype), name)],
    )
    return ir.from_proto(onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 17)]))


def weight(graph: ir.Graph, name: str = "w") -> np.ndarray:
    found: ir.Constant = next(t for node in ir.every_node(graph) for t in node.inputs if t.name == name)
    return found.read()


@pytest.mark.parametrize("case", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_smaller_half_of_a_weight_is_zero(case: str, dtype: type) -> None:
    graph = layer(case, dtype)
    before = weight(graph)
    ctx = check_pass(Prune(sparsity=0.5), graph) if (case, dtype) != ("ConvTranspose", np.float16) else None
    after = weight(graph)
    if ctx is None:
        return
    assert np.count_nonzero(after == 0) == round(before.size / 2) and after.dtype == dtype
    assert np.abs(before[after == 0]).max() <= np.abs(after[after != 0]).min()
    np.testing.assert_array_equal(after[after != 0], before[after != 0])
    masks = ctx.kept(Masks)
    assert masks is not None
    np.testing.assert_array_equal(masks.get("w").keep, after != 0)  # type: ignore[union-attr]


@pytest.mark.parametrize("case", SHAPES)
def test_two_of_four_inputs_along_the_axis_that_is_summed(case: str) -> None:
    graph = layer(case)
    check_pass(Prune(pattern="2:4"), graph)
    after = weight(graph)
    axis = {"Conv": 1, "ConvTranspose": 0}.get(case.split()[-1], -1 if case == "transposed Gemm" else -2)
    groups = np.moveaxis(after, axis, -1).reshape(-1, 4)
    assert (np.count_nonzero(groups, axis=1) == 2).all()


def test_blocks() -> None:
    graph = layer("transposed Gemm")
    check_pass(Prune(sparsity=0.5, pattern="2x4"), graph)
    blocks = (weight(graph) != 0).reshape(3, 2, 2, 4).sum(axis=(1, 3))
    assert set(blocks.ravel()) == {0, 8} and np.count_nonzero(blocks == 0) == 3


TWO = """<ir_version: 8, opset_import: ["": 17]> g (float[N, 4] x) => (float[N, 4] y)
  <float[4, 2] small = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8}, float[2, 4] large = {1, 2, 3, 4, 5, 6, 7, 8}> {
    [first] h = MatMul (x, small)
    [second] y = MatMul (h, large)
  }"""
LSTM = """<ir_version: 8, opset_import: ["": 17]> g (float[3, N, 2] x) => (float[3, 1, N, 2] y)
  <float[1, 8, 2] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
   float[1, 8, 2] r = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
   float[1, 16] b = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6}> {
    [lstm] y = LSTM <hidden_size = 2> (x, w, r, b)
  }"""


def test_golden() -> None:
    check_golden(Prune(sparsity=0.5), parse(TWO), "half of each weight")
    check_golden(Prune(sparsity=0.5, scope="global"), parse(TWO), "half of all weights together")
    check_golden(Prune(pattern="1:2"), parse(TWO), "one of two inputs")
    check_golden(Prune(), parse(LSTM), "weights of both kinds of a recurrent layer, and no bias")


def test_all_together_the_lowest_go() -> None:
    graph = parse(TWO)
    ctx = check_pass(Prune(sparsity=0.5, scope="global"), graph)
    assert not weight(graph, "small").any() and weight(graph, "large").all()
    assert ctx.warnings == ["prune: nothing is left of 'small', the weight of first"]


@pytest.mark.parametrize("pattern", ["unstructured", "1x2"])
@pytest.mark.parametrize("share", [0.1, 0.37, 0.5, 0.93])
def test_together_as_if_they_were_one(pattern: str, share: float) -> None:
    graph, other = layer("transposed Gemm"), layer("MatMul")
    values = np.concatenate([weight(graph).reshape(-1, 2), weight(other).T.reshape(-1, 2)])
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[N, 8] x) => (float[N, 6] y, float[N, 6] z)
      <float[6, 8] a = {0}, float[8, 6] b = {0}> {
        y = Gemm <transB = 1> (x, a) z = MatMul (x, b) }""".replace("{0}", "{" + ", ".join(["1"] * 48) + "}")
    both = parse(text)
    for node, array in zip(both.nodes, (weight(graph), weight(other)), strict=True):
        node.inputs[1].values = np.array(array)
    check_pass(Prune(sparsity=share, scope="global", pattern=pattern), both)
    scores = np.abs(values) if pattern == "unstructured" else np.abs(values).mean(axis=1, keepdims=True)
    gone = np.zeros(scores.size, bool)
    gone[np.argsort(scores.ravel(), kind="stable")[: round(share * scores.size)]] = True
    expected = np.broadcast_to(gone.reshape(scores.shape), values.shape)
    found = np.concatenate([weight(both, "a").reshape(-1, 2), weight(both, "b").T.reshape(-1, 2)]) == 0
    np.testing.assert_array_equal(found, expected)


def test_shares_by_pattern_of_names() -> None:
    graph = parse(TWO)
    check_pass(Prune(sparsity=0.25, layers={"fir*": 0.5, "MatMul": 0.75, "small": 0.9}), graph)
    assert np.count_nonzero(weight(graph, "small")) == 4 and np.count_nonzero(weight(graph, "large")) == 2


def test_layers_that_are_left_out() -> None:
    graph = parse(TWO)
    check_pass(Prune(sparsity=0.5, exclude=("sec*",)), graph)
    assert weight(graph, "large").all()
    graph = parse(TWO)
    check_pass(Prune(sparsity=0.5, layers={"large": 0}), graph)
    assert weight(graph, "large").all()


@pytest.mark.parametrize("options", [{"exclude": ("third",)}, {"layers": {"third": 0.5}}])
def test_a_pattern_that_matches_nothing(options: dict[str, object]) -> None:
    with pytest.raises(BadOption, match="prune: 'third' matches no layer, weight or operator"):
        run_pass(Prune(**options), parse(TWO))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"sparsity": 1.0}, "the share of zeros for sparsity is 1: give 0 or more, and less than 1"),
        ({"sparsity": -0.1}, "is -0.1"),
        ({"layers": {"fc": 2.0}}, "the share of zeros for fc is 2"),
        ({"pattern": "3"}, "the pattern '3' is none"),
        ({"pattern": "2:4", "sparsity": 0.5}, "pattern=2:4 says by itself how many zeros"),
        ({"pattern": "2:4", "scope": "global"}, "pattern=2:4 says by itself"),
        ({"steps": 0}, "steps is 0"),
        ({"steps": 2}, "steps is not for method=magnitude"),
        ({"samples": 0}, "samples is 0"),
        ({"masks": "m.npz", "sparsity": 0.5}, "masks says by itself what becomes zero: sparsity"),
        ({"masks": "m.npz", "layers": {"a": 0.5}}, "masks says by itself what becomes zero: layers"),
        ({"max_drop": 1.0}, "max-drop is for sparsity=auto"),
        ({"metric": "top1", "sparsity": 0.5}, "metric is for sparsity=auto"),
        ({"sparsity": "auto", "scope": "global"}, "sparsity=auto finds a share for each weight by itself"),
    ],
)
def test_options_that_contradict_each_other(options: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Prune(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"method": "wanda"}, {"method": "second-order"}, {"sparsity": "auto"}])
def test_data_are_needed(options: dict[str, object]) -> None:
    with pytest.raises(BadOption, match="needs calibration data: give --data"):
        run_pass(Prune(**options), parse(TWO))  # type: ignore[arg-type]


REFUSED = {
    "read by no layer": (
        "<float[4, 4] w = {1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4}> { a = MatMul (x, w) y = Add (a, w) }",
        "Add 'y' reads its weight 'w' too, and is no layer",
    ),
    "double": (
        "{ w = Constant <value = double[4, 4] {1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4}> ()"
        " d = Cast <to = 11> (x) a = MatMul (d, w) y = Cast <to = 1> (a) }",
        "its weight 'w' is float64: float32 and float16 are pruned",
    ),
    "quantized": (
        "<int8[4, 4] q = {1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4}, float s = {0.1}>"
        " { w = DequantizeLinear (q, s) y = MatMul (x, w) }",
        "its weight 'w' is stored as integers: prune before it is quantized",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str) -> None:
    body, reason = REFUSED[case]
    head = '<ir_version: 8, opset_import: ["": 17]> g (float[4, 4] x) => (float[4, 4] y) '
    check_refusal(Prune(), parse(head + body), reason)


def test_a_weight_that_is_an_output_is_left_alone() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[2, 2] x) => (float[2, 2] y, float[2, 2] w) {
      w = Constant <value = float[2, 2] {1, 2, 3, 4}> () y = MatMul (x, w) }"""
    check_refusal(Prune(), parse(text), "its weight 'w' is an output")


@pytest.mark.parametrize(
    ("case", "pattern", "reason"),
    [
        ("Conv", "1:16", "no zeros in 1:16: its 8 inputs a group are no multiple of 16"),
        ("Gemm", "1x16", "no zeros in 1x16: its 6 outputs and 8 inputs a group are less than a block of 1x16"),
    ],
)
def test_layers_that_cannot_have_the_pattern(case: str, pattern: str, reason: str) -> None:
    check_refusal(Prune(pattern=pattern), layer(case), reason)


def test_a_shared_weight_has_one_mask() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[2, 2] x) => (float[2, 2] y)
      <float[2, 2] w = {1, 2, 3, 4}> { a = MatMul (x, w) [b] y = Gemm <transB = 1> (a, w) }"""
    graph = parse(text)
    ctx = check_pass(Prune(sparsity=0.5), graph)
    assert weight(graph).tolist() == [[0, 0], [3, 4]] and len(ctx.kept(Masks) or ()) == 1
    check_refusal(Prune(pattern="1:2"), parse(text), "its layers sum over different axes of it")
    check_pass(Prune(sparsity=0.5, exclude=("b",)), parse(text), expect_change=False)


def test_in_subgraphs_functions_and_constant_nodes() -> None:
    text = """<ir_version: 10, opset_import: ["": 21, "f": 1]> g (bool c, float[2, 2] x) => (float[2, 2] y)
      <float[2, 2] v = {4, 3, 2, 1}> {
        a = f.layer (x)
        y = If (c) <then_branch = t () => (float[2, 2] p) { p = MatMul (a, v) },
                    else_branch = e () => (float[2, 2] q) { q = Identity (a) }>
      }
      <domain: "f", opset_import: ["": 21]> layer (x) => (y) {
        w = Constant <value = float[2, 2] {1, 2, 3, 4}> ()
        y = MatMul (x, w)
      }"""
    graph = parse(text)
    changed, ctx = run_pass(Prune(sparsity=0.5), graph)
    assert changed
    assert {mask.weight: mask.keep.ravel().tolist() for mask in ctx.kept(Masks) or ()} == {
        "v": [True, True, False, False], "w": [False, False, True, True],
    }  # fmt: skip
    model = ir.to_proto(graph)
    onnx.checker.check_model(model, full_check=True)
    assert Masks.of(ir.from_proto(model)).get("w") is not None


def test_a_second_run_adds_to_the_zeros_of_the_first() -> None:
    result = onnxopt.run(parse(TWO), "prune{sparsity=0.25 exclude=small},prune{sparsity=0.5}", verify=False)
    masks = result.context.kept(Masks)
    assert masks is not None
    assert {mask.weight: mask.zeros for mask in masks} == {"large": 4, "small": 4}
    assert result.context.statistics["prune: weights masked"] == 2 + 8


def test_the_model_before_is_remembered() -> None:
    result = onnxopt.run(parse(TWO), "prune{sparsity=0.25},prune{sparsity=0.5}", verify=False)
    teacher = result.context.kept(Teacher)
    assert teacher is not None and weight(teacher.graph, "large").all()


def test_what_is_not_allowed_has_no_mask() -> None:
    result = onnxopt.run(parse(TWO), "prune{sparsity=0.5}", limit=1, verify=False)
    assert [mask.weight for mask in result.context.kept(Masks) or ()] == ["small"]
    assert weight(result.graph, "large").all()


def test_masks_from_a_file(tmp_path: Path) -> None:
    keep = np.arange(8).reshape(4, 2) % 3 > 0
    save_masks(Masks([Mask("small", "", keep)]), tmp_path / "m.npz")
    graph = parse(TWO)
    ctx = check_pass(Prune(masks=str(tmp_path / "m.npz")), graph)
    np.testing.assert_array_equal(weight(graph, "small") != 0, keep)
    assert weight(graph, "large").all() and [mask.layer for mask in ctx.kept(Masks) or ()] == ["first"]


def test_masks_of_another_model(tmp_path: Path) -> None:
    save_masks(Masks([Mask("other", "", np.ones(3, bool))]), tmp_path / "m.npz")
    with pytest.raises(BadData, match="has a mask for 'other', and no weight of that name can be pruned here"):
        run_pass(Prune(masks=str(tmp_path / "m.npz")), parse(TWO))


def test_nan_and_infinity_stay() -> None:
    values = np.arange(48, dtype=np.float32).reshape(8, 6)
    values[0, 0], values[1, 1] = np.nan, -np.inf
    graph = layer("MatMul", values=values)
    run_pass(Prune(sparsity=0.5), graph)
    assert np.isnan(weight(graph)[0, 0]) and weight(graph)[1, 1] == -np.inf
    assert np.count_nonzero(weight(graph) == 0) == 24


@pytest.mark.parametrize("method", ["wanda", "second-order"])
@pytest.mark.parametrize("steps", [1, 3])
def test_the_other_methods_make_as_many_zeros(method: str, steps: int) -> None:
    graph = layer("MatMul")
    data = samples_for(graph, [RNG.normal(size=(3, 8)).astype(np.float32) for _ in range(8)])
    options = Prune(method=method, sparsity=0.5, steps=steps)  # type: ignore[arg-type]
    changed, ctx = run_pass(options, graph, data=data)
    assert changed and np.count_nonzero(weight(graph) == 0) == 24
    masks = ctx.kept(Masks)
    assert masks is not None and masks.get("w").zeros == 24  # type: ignore[union-attr]
    again, _ = run_pass(options, graph, data=data)
    assert not again


@pytest.mark.parametrize("method", ["wanda", "second-order"])
def test_the_other_methods_in_a_pattern(method: str) -> None:
    graph = layer("MatMul")
    data = samples_for(graph, [RNG.normal(size=(3, 8)).astype(np.float32) for _ in range(8)])
    run_pass(Prune(method=method, pattern="2:4", steps=2), graph, data=data)  # type: ignore[arg-type]
    assert (np.count_nonzero(weight(graph).T.reshape(-1, 4), axis=1) == 2).all()


def test_as_much_as_may_be_lost() -> None:
    graph = layer("MatMul", values=np.where(np.arange(48).reshape(8, 6) % 2, 1.0, 1e-4))
    data = samples_for(graph, [RNG.normal(size=(3, 8)).astype(np.float32) for _ in range(8)])
    changed, ctx = run_pass(Prune(sparsity="auto", metric="cosine", max_drop=2), graph.copy(), data=data)
    (mask,) = ctx.kept(Masks) or Masks()
    assert changed and mask.sparsity > 0.85
    options = Prune(sparsity="auto", metric="cosine", max_drop=1e-6)
    changed, ctx = run_pass(options, graph, data=data)
    zeros = np.count_nonzero(weight(graph) == 0)
    assert changed and 20 <= zeros <= 24
