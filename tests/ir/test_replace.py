"""Taking over another tool's result: nothing that the file said is lost, and no weight moves without need."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxopt import ir
from onnxopt.errors import BadModel
from onnxopt.ir.replace import inherit, replace_content

BEFORE = """
    <ir_version: 8, opset_import: ["" : 17]>
    g (float[n,3] x) => (float[n,3] y) <float[3] w = {1, 2, 3}> {
        [first] a = Add (x, w) b = Exp (a) c = Exp (x) y = Mul (b, c)
    }
"""
AFTER = """
    <ir_version: 9, opset_import: ["" : 18]>
    h (float[N,M] x) => (float[N,M] y) <float[3] w = {1, 2, 3}, float[3] new = {4, 5, 6}> {
        [made_1] c = Exp (x) [made_2] a = Add (x, w) [made_3] d = Neg (c) [made_4] y = Mul (a, d)
    }
"""


def pair(after: str = AFTER) -> tuple[ir.Graph, ir.Graph]:
    return tuple(ir.from_proto(onnx.parser.parse_model(text)) for text in (BEFORE, after))  # type: ignore[return-value]


def test_nodes_stand_where_they_stood_and_keep_their_names() -> None:
    graph, other = pair()
    inherit(other, graph)
    assert [(node.op, node.name) for node in other.nodes] == [
        ("Add", "first"), ("Exp", ""), ("Neg", "made_3"), ("Mul", ""),
    ]  # fmt: skip


def test_inputs_and_outputs_stay_declared_as_they_were() -> None:
    graph, other = pair()
    inherit(other, graph)
    assert other.inputs[0].shape == ["n", 3] and other.outputs[0].shape == ["n", 3]


def test_the_graph_object_stays_and_shares_its_functions_with_its_subgraphs() -> None:
    graph, _ = pair()
    other = ir.from_proto(
        onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 18, "local" : 1]>
        g (float[n,3] x) => (float[n,3] y) <bool c = {1}> {
            y = If (c) <
                then_branch = t () => (float[n,3] p) { p = local.f (x) },
                else_branch = e () => (float[n,3] q) { q = Neg (x) }
            >
        }
        <opset_import: ["" : 18], domain: "local"> f (a) => (b) { b = Abs (a) }
    """)
    )
    inherit(other, graph)
    replace_content(graph, other)
    assert graph.opset == 18 and graph.ir_version == 10 and graph.name == "g"
    assert all(scope.functions is graph.functions for scope in ir.every_graph(graph))
    onnx.checker.check_model(ir.to_proto(graph), full_check=True)


def test_unchanged_weights_stay_in_their_file(tmp_path: Path) -> None:
    proto = onnx.parser.parse_model(BEFORE)
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array([1, 2, 3], np.float32), "w"))
    path = tmp_path / "model.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="weights", size_threshold=0)
    graph = ir.load(path)
    other = pair()[1]
    inherit(other, graph)
    assert {constant.name: constant.is_stored for constant in other.constants} == {"w": True, "new": False}
    np.testing.assert_array_equal(other.constants[0].read(), [1, 2, 3])


def test_changed_weights_are_taken() -> None:
    graph, other = pair(AFTER.replace("{1, 2, 3}", "{1, 2, 4}"))
    inherit(other, graph)
    np.testing.assert_array_equal(other.constants[0].read(), [1, 2, 4])


def test_the_scale_of_an_annotation_comes_along() -> None:
    proto = onnx.parser.parse_model(BEFORE)
    proto.graph.initializer.append(numpy_helper.from_array(np.float32(0.5), "scale"))
    for name in ("a", "b"):  # the second is gone afterwards
        entry = proto.graph.quantization_annotation.add(tensor_name=name)
        entry.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="scale")
    graph, other = ir.from_proto(proto), pair()[1]
    inherit(other, graph)
    model = ir.to_proto(other)
    assert [note.tensor_name for note in model.graph.quantization_annotation] == ["a"]
    assert [tensor.name for tensor in model.graph.initializer] == ["w", "new", "scale"]


def test_an_old_model_stays_old_and_lists_its_initializers() -> None:
    before = BEFORE.replace("version: 8", "version: 3").replace("float[n,3] x)", "float[n,3] x, float[3] w)")
    graph = ir.from_proto(onnx.parser.parse_model(before))
    other = pair(AFTER.replace("version: 9", "version: 4"))[1]
    inherit(other, graph)
    model = ir.to_proto(other)
    assert model.ir_version == 3 and [info.name for info in model.graph.input] == ["x", "w", "new"]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("float[N,M] x", "float[N,M] x, float[3] more", r"other inputs now: without \[\], with \['more'\]"),
        ("(float[N,M] y)", "(double[N,M] y)", "'y' is float64 now and was float32"),
        ('"" : 18', '"" : 13', "opset went down, from 17 to 13"),
    ],
)
def test_another_interface_is_refused(old: str, new: str, reason: str) -> None:
    graph, other = pair(AFTER.replace(old, new))
    with pytest.raises(BadModel, match=reason):
        inherit(other, graph)


def test_training_information_is_refused() -> None:
    graph, other = pair()
    graph.model.training_info.add()
    with pytest.raises(BadModel, match="training information"):
        inherit(other, graph)
