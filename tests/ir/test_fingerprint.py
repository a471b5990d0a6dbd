"""The fingerprint: what it is blind to, and that it sees everything else."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import helper, numpy_helper
from onnx.backend.test.loader import load_model_tests

from onnxopt import ir
from onnxopt.errors import BadModel
from tests.conformance import model_of

TEXT = """<ir_version: 8, opset_import: ["" : 17, "local" : 1], metadata_props: ["a": "1", "b": "2"],
 producer_name: "p">
g (bool c, float[2] x = {1, 2}) => (float[2] y) <float[2] w = {1, 2}, float[2] v = {3, 4}, float[2] z, float[2] u> {
  [one] z = LeakyRelu <alpha = 0.1> (x)
  [two] u = local.F <k = 3, l = 4> (z, w)
  [three] y = If (c) <
    then_branch = yes () => (float[2] a) { a = Add (u, v) },
    else_branch = no () => (float[2] b) <float[2] q = {5, 6}> { b = Add (u, q) }
  >
}
<domain: "local", opset_import: ["" : 17]>
F <k, l = 1> (m, n) => (o) { o = Concat <axis: int = @k> (m, n) }
"""


def model() -> onnx.ModelProto:
    return onnx.parser.parse_model(TEXT)


def fingerprint(proto: onnx.ModelProto) -> str:
    return ir.fingerprint(ir.from_proto(proto))


def test_it_is_the_same_every_time_and_for_a_copy() -> None:
    graph = ir.from_proto(model())
    assert ir.fingerprint(graph) == ir.fingerprint(graph) == ir.fingerprint(graph.copy()) == fingerprint(model())
    assert len(ir.fingerprint(graph)) == 32


def test_the_graph_is_left_as_it_is() -> None:
    graph = ir.from_proto(model())
    ir.fingerprint(graph)
    assert ir.to_proto(graph) == model()


@pytest.mark.parametrize("external", [True, False])
def test_it_does_not_depend_on_where_the_weights_are(tmp_path: Path, external: bool) -> None:
    graph = ir.from_proto(model())
    graph.nodes[0].inputs[0] = ir.Constant("big", np.arange(2000, dtype=np.float32))
    expected = ir.fingerprint(graph)
    ir.save(graph, tmp_path / "m.onnx", external=external)
    assert ir.fingerprint(ir.load(tmp_path / "m.onnx")) == expected


@pytest.mark.parametrize("array", [np.float32([1, 2, 3]), np.int8([1, -2, 3]), np.array(["a", "bc"], object)])
def test_it_does_not_depend_on_the_field_that_holds_a_weight(array: np.ndarray) -> None:
    kinds = []
    for raw in (True, False):
        proto = model()
        tensor = proto.graph.initializer.add()
        if raw:
            tensor.CopyFrom(numpy_helper.from_array(array, "new"))
        else:
            values = [item.encode() if isinstance(item, str) else item for item in array]
            tensor.CopyFrom(
                helper.make_tensor("new", helper.np_dtype_to_tensor_dtype(array.dtype), array.shape, values)
            )
        kinds.append(fingerprint(proto))
    graph = ir.from_proto(model())
    graph.constants.append(ir.Constant("new", array))
    graph.unused.add(graph.constants[-1])
    assert {*kinds, ir.fingerprint(graph)} == {kinds[0]}


def test_it_does_not_depend_on_the_order_of_what_has_none() -> None:
    proto = model()
    for field in (
        proto.graph.initializer, proto.graph.value_info, proto.graph.node[1].attribute, proto.opset_import,
        proto.metadata_props, proto.functions[0].attribute, proto.graph.node[2].attribute,
    ):  # fmt: skip
        items = [
            type(item).FromString(item.SerializeToString()) if not isinstance(item, str) else item for item in field
        ]
        del field[:]
        field.extend(items[::-1])
    assert proto != model() and fingerprint(proto) == fingerprint(model())


def test_empty_fields_and_the_two_names_of_the_default_domain_say_nothing() -> None:
    proto = model()
    node = proto.graph.node[0]
    node.doc_string = proto.doc_string = proto.graph.doc_string = ""
    node.ClearField("domain")
    proto.opset_import[0].domain = "ai.onnx"
    assert fingerprint(proto) == fingerprint(model())


def change(proto: onnx.ModelProto, what: str) -> None:
    graph, node, function = proto.graph, proto.graph.node[0], proto.functions[0]
    inner = graph.node[2].attribute[1].g
    changes: dict[str, Callable[[], object]] = {
        "weight": lambda: graph.initializer[1].float_data.__setitem__(0, 1.5),
        "weight of a subgraph": lambda: inner.initializer[0].float_data.__setitem__(0, 1.5),
        "default of an input": lambda: graph.initializer[0].float_data.__setitem__(0, 1.5),
        "name of a weight": lambda: setattr(
            inner.initializer[0], "name", inner.node[0].input.__setitem__(1, "r") or "r"
        ),
        "attribute": lambda: setattr(node.attribute[0], "f", 0.2),
        "attribute in a function": lambda: setattr(function.node[0].attribute[0], "ref_attr_name", "l"),
        "default of a function": lambda: setattr(function.attribute_proto[0], "i", 2),
        "operator": lambda: setattr(node, "op_type", "Elu"),
        "operator in a subgraph": lambda: setattr(inner.node[0], "op_type", "Sub"),
        "domain": lambda: setattr(node, "domain", "other"),
        "node name": lambda: setattr(node, "name", "other"),
        "doc string": lambda: setattr(node, "doc_string", "other"),
        "input type": lambda: setattr(graph.input[1].type.tensor_type, "elem_type", 10),
        "value type": lambda: setattr(graph.value_info[0].type.tensor_type.shape.dim[0], "dim_param", "N"),
        "output": lambda: graph.output.append(graph.value_info[0]),
        "opset": lambda: setattr(proto.opset_import[0], "version", 18),
        "opset of a function": lambda: setattr(function.opset_import[0], "version", 18),
        "IR version": lambda: setattr(proto, "ir_version", 9),
        "metadata": lambda: setattr(proto.metadata_props[0], "value", "3"),
        "metadata of a node": lambda: node.metadata_props.add(key="k", value="v"),
        "producer": lambda: setattr(proto, "producer_name", "q"),
        "graph name": lambda: setattr(graph, "name", "h"),
        "order of nodes": lambda: graph.node.append(graph.node.pop(0)),
        "quantization annotation": lambda: graph.quantization_annotation.add(tensor_name="x"),
        "denotation": lambda: setattr(graph.input[0].type, "denotation", "IMAGE"),
        "sparse weight": lambda: graph.sparse_initializer.add(
            dims=[3],
            values=numpy_helper.from_array(np.float32([1]), "s"),
            indices=numpy_helper.from_array(np.int64([2])),
        ),
    }
    changes[what]()


WHATS = [
    "weight", "weight of a subgraph", "default of an input", "name of a weight", "attribute", "attribute in a function",
    "default of a function", "operator", "operator in a subgraph", "domain", "node name", "doc string", "input type",
    "value type", "output", "opset", "opset of a function", "IR version", "metadata", "metadata of a node", "producer",
    "graph name", "order of nodes", "quantization annotation", "denotation", "sparse weight",
]  # fmt: skip


@pytest.mark.parametrize("what", WHATS)
def test_it_sees(what: str) -> None:
    proto = model()
    change(proto, what)
    assert fingerprint(proto) != fingerprint(model())


def test_no_two_changes_look_alike() -> None:
    found = set()
    for what in WHATS:
        proto = model()
        change(proto, what)
        found.add(fingerprint(proto))
    assert len(found) == len(WHATS)


def test_it_sees_one_bit_of_a_large_stored_weight_and_maps_no_file(tmp_path: Path) -> None:
    array = np.zeros(600_000, np.float32)  # more than one piece of a megabyte
    prints = set()
    for position in (0, 299_999, 599_999):
        array[:] = 0
        array[position] = 1e-45
        graph = ir.Graph(outputs=[ir.Constant("w", array)], ir_version=8, opset=17)
        ir.save(graph, tmp_path / f"{position}.onnx", external=True)
        stored = ir.load(tmp_path / f"{position}.onnx")
        assert ir.fingerprint(stored) == ir.fingerprint(graph)
        assert stored.constants[0]._values.file._map is None  # type: ignore[union-attr]
        prints.add(ir.fingerprint(stored))
    assert len(prints) == 3


def test_a_weight_that_is_written_to_in_place_is_read_again() -> None:
    graph = ir.from_proto(model())
    before = ir.fingerprint(graph)
    weight = next(constant for constant in graph.constants if constant.name == "w")
    weight.values[0] = 7
    changed = ir.fingerprint(graph)
    weight.values[0] = 1
    assert before != changed and ir.fingerprint(graph) == before


def test_a_file_of_weights_that_became_shorter_is_an_error(tmp_path: Path) -> None:
    graph = ir.Graph(outputs=[ir.Constant("w", np.zeros(4096))], ir_version=8, opset=17)
    ir.save(graph, tmp_path / "m.onnx", external=True)
    stored = ir.load(tmp_path / "m.onnx")
    (tmp_path / "m.onnx.data").write_bytes(b"short")
    with pytest.raises(BadModel, match=r"m\.onnx\.data: ended while 'w' was read"):
        ir.fingerprint(stored)


def test_a_sparse_weight_that_claims_to_be_huge_costs_nothing() -> None:
    proto = model()
    proto.graph.sparse_initializer.add(
        dims=[1 << 20, 1 << 20],
        values=numpy_helper.from_array(np.float32([1]), "s"),
        indices=numpy_helper.from_array(np.int64([5])),
    )
    graph = ir.from_proto(proto)
    assert ir.fingerprint(graph) and "sparse" in ir.to_text(graph)


def test_conformance_models_have_the_fingerprint_of_their_round_trip() -> None:
    cases = [
        case for kind in ("simple", "pytorch-converted", "pytorch-operator") for case in load_model_tests(kind=kind)
    ]
    seen: dict[str, str] = {}
    for case in random.Random(0).sample(cases, 60):
        proto = model_of(case)
        found = fingerprint(proto)
        assert fingerprint(ir.to_proto(ir.from_proto(proto))) == found
        seen[case.name] = found
    assert len(set(seen.values())) > 50
