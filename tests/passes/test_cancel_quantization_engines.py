"""`cancel-quantization`: pairs stay where an engine looks for them."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxopt import ir
from onnxopt.pipeline.base import Context
from tests.passes.checks import check_refusal, ops, run_pass
from tests.passes.quantization_models import CANCEL, model, pair, quantized


def test_refuses_to_move_int8_which_onnxruntime_turns_into_uint8_pair_by_pair() -> None:
    graph = model("""
        q = QuantizeLinear (x, s, i) d = DequantizeLinear (q, s, i) m = Transpose (d)
        p = QuantizeLinear (m, s2, i) y = DequantizeLinear (p, s2, i)
    """)
    check_refusal(CANCEL, graph, "onnxruntime knows int8 values to be quantized by the pair")


def test_four_bits_are_cancelled_but_not_moved() -> None:
    graph = pair(np.array(0.1, np.float32), np.array(3, ml_dtypes.int4))
    changed, _ = run_pass(CANCEL, graph)
    assert changed and ops(graph) == ["Transpose"]
    graph = pair(np.array(0.1, np.float32), np.array(3, ml_dtypes.int4))
    with ir.edit(graph) as edit:
        moved = ir.Variable("t", np.float32)
        transpose = ir.Node("Transpose", "t", {}, [graph.nodes[0].outputs[0]], [moved])
        edit.insert_after(graph.nodes[0], transpose)
        edit.replace_input(graph.nodes[1], 0, moved)
    changed, ctx = run_pass(CANCEL, graph)
    assert not changed and "onnxruntime knows int4 values" in ctx.refusals[0].what


@pytest.mark.parametrize("target", ["qnn", "tensorrt", "coreml"])
def test_targets_that_know_a_quantized_value_by_its_pair(target: str) -> None:
    graph = quantized("m = Transpose (d)")
    changed, ctx = run_pass(CANCEL, graph, target=target)
    assert not changed and f"{target} knows a value to be quantized by the pair" in ctx.refusals[0].what
    changed, _ = run_pass(
        CANCEL,
        model("""
        q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) p = QuantizeLinear (d, s, z)
        y = DequantizeLinear (p, s, z)
    """),
        target=target,
    )
    assert changed


def fused(graph: ir.Graph, path: Path) -> list[str]:
    """The operators that onnxruntime runs, its optimizations on."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 4
    ort.InferenceSession(ir.to_proto(graph).SerializeToString(), options, providers=["CPUExecutionProvider"])
    return sorted(node.op_type for node in onnx.load(path).graph.node)


@pytest.mark.parametrize(("kind", "rewrites"), [(np.uint8, 9), (np.int8, 3)])
def test_onnxruntime_finds_as_many_fusions_afterwards(kind: type, rewrites: int, tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.random.default_rng(0).integers(0, 9, (8, 8, 3, 3)).astype(kind), "w")

    def qdq(value: str, name: str) -> list[onnx.NodeProto]:
        return [
            helper.make_node("QuantizeLinear", [value, "s", "z"], [f"{name}_q"]),
            helper.make_node("DequantizeLinear", [f"{name}_q", "s", "z"], [name]),
        ]

    nodes = [*qdq("x", "a"), helper.make_node("DequantizeLinear", ["w", "s", "z"], ["wd"])]
    value = "a"
    for index in range(3):
        nodes.append(helper.make_node("Conv", [value, "wd"], [f"conv{index}"], pads=[1, 1, 1, 1]))
        nodes += qdq(f"conv{index}", f"c{index}")
        nodes.append(helper.make_node("MaxPool", [f"c{index}"], [f"pool{index}"], kernel_shape=[2, 2]))
        nodes += qdq(f"pool{index}", f"p{index}")
        nodes.append(helper.make_node("Transpose", [f"p{index}"], [f"t{index}"], perm=[0, 1, 3, 2]))
        nodes += qdq(f"t{index}", f"v{index}") + qdq(f"v{index}", f"w{index}")
        value = f"w{index}"
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 32, 32])],
        [helper.make_empty_tensor_value_info(value)],
        [weight, numpy_helper.from_array(np.float32(0.1), "s"), numpy_helper.from_array(kind(0), "z")],
    )
    graph.output[0].CopyFrom(helper.make_tensor_value_info(value, TensorProto.FLOAT, None))
    model = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    before = fused(model.copy(), tmp_path / "before.onnx")
    ctx = Context(current="cancel-quantization")
    assert CANCEL.run(model, ctx) and len(ctx.rewrites) == rewrites
    after = fused(model, tmp_path / "after.onnx")
    assert before.count("QLinearConv") == 3
    assert after == before
