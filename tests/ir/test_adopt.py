"""Passes written for graphsurgeon run unchanged, and what they make becomes ours.

The passes here are those of graphsurgeon's own examples. Each runs on graphsurgeon's graph of a model and on ours, and
both results compute the same in onnxruntime.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx_graphsurgeon as gs
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnxopt import ir
from onnxopt.errors import BadModel

HEAD = '<ir_version: 8, opset_import: ["" : 17]>'
MODEL = f"""{HEAD} g (float[2, 4] x) => (float[2, 4] y)
<float[4] w = {{1, 2, 3, 4}}, float[1] b = {{1}}, float[1] c = {{2}}> {{
    [fake] f = Identity(x)
    [first] a = Add(f, w)
    [bc] s = Add(b, c)
    [second] m = Mul(a, s)
    [min] lo = Min(m, w)
    [max] hi = Max(lo, b)
    [last] y = Identity(hi)
}}"""


def run(model: ModelProto) -> list[np.ndarray]:
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feeds = {
        info.name: np.random.default_rng(0).normal(size=[dim if isinstance(dim, int) else 2 for dim in info.shape])
        for info in session.get_inputs()
    }
    found: list[np.ndarray] = session.run(None, {name: array.astype(np.float32) for name, array in feeds.items()})
    return found


def remove_a_node(graph: gs.Graph) -> None:
    fake = next(node for node in graph.nodes if node.name == "fake")
    fake.o().inputs[0] = fake.inputs[0]
    fake.outputs.clear()
    last = next(node for node in graph.nodes if node.name == "last")
    before = last.i()
    before.outputs = last.outputs
    last.outputs.clear()
    graph.cleanup()


def modify_and_insert(graph: gs.Graph) -> None:
    first = [node for node in graph.nodes if node.op == "Add"][0]  # noqa: RUF015
    first.inputs = [tensor for tensor in first.inputs if tensor.name != "w"]
    first.op = "LeakyRelu"
    first.attrs["alpha"] = 0.02
    middle = gs.Variable("middle", dtype=np.float32)
    identity = gs.Node(op="Identity", inputs=first.outputs, outputs=[middle])
    graph.nodes.append(identity)
    user = next(node for node in graph.nodes if node.name == "second")
    user.inputs[0] = middle
    graph.cleanup().toposort()


def fold(graph: gs.Graph) -> None:
    graph.toposort().fold_constants().cleanup()
    assert "bc" not in [node.name for node in graph.nodes]


def isolate(graph: gs.Graph) -> None:
    tensors = graph.tensors()
    graph.inputs = [tensors["a"].to_variable(dtype=np.float32, shape=("batch", 4))]
    graph.outputs = [tensors["hi"].to_variable(dtype=np.float32, shape=("batch", 4))]
    graph.cleanup()
    assert [node.name for node in graph.nodes] == ["bc", "second", "min", "max"]


def replace_by_a_registered_operator(graph: gs.Graph) -> None:
    tensors = graph.tensors()
    bounds = [gs.Constant(name, np.array(value, np.float32)) for name, value in (("low", 1), ("high", 4))]
    graph.clip_between([tensors["m"], *bounds], [tensors["hi"]])
    graph.cleanup().toposort()
    assert "Min" not in [node.op for node in graph.nodes]


@gs.Graph.register()
def clip_between(self: gs.Graph, inputs: list[Any], outputs: list[Any]) -> Any:
    for tensor in inputs:
        tensor.outputs.clear()
    for tensor in outputs:
        tensor.inputs.clear()
    return self.layer(op="Clip", inputs=inputs, outputs=outputs)


def build_with_layers(graph: gs.Graph) -> None:
    out = graph.layer(op="Mul", inputs=[graph.outputs[0], [2.0]], outputs=["mul"])
    out = graph.layer(op="Reshape", inputs=[out[0], np.array([-1], np.int64)], outputs=["flat"])[0]
    picked = graph.layer(op="Gather", inputs=[out, 3], outputs=["picked"], attrs={"axis": 0})[0]
    picked.dtype = np.dtype(np.float32)
    picked.shape = []
    graph.outputs = [picked]


def make_the_batch_dynamic(graph: gs.Graph) -> None:
    for tensor in graph.inputs + graph.outputs:
        tensor.shape[0] = "N"
    for node in graph.nodes:
        for tensor in node.outputs:
            if tensor.shape is not None and tensor not in graph.outputs:
                tensor.shape = None
    weights = next(node for node in graph.nodes if node.name == "first").inputs[1]
    weights.values = weights.values * 2
    weights.values[0] = 7


def call_a_function(graph: gs.Graph) -> None:
    i, k, o = (gs.Variable(name) for name in "iko")
    body = [
        gs.Node("Exp", inputs=[i], outputs=[k]),
        gs.Node("Add", inputs=[k, gs.Constant("one", np.ones(1, np.float32))], outputs=[o]),
    ]
    function = gs.Function("ExpOne", domain="my", nodes=body, inputs=[i], outputs=[o], opset=17)
    graph.functions.append(function)
    out = function(graph, inputs=[graph.outputs[0]])[0]
    out.dtype, out.shape = np.dtype(np.float32), [2, 4]
    graph.outputs = [out]


def add_a_branch(graph: gs.Graph) -> None:
    hi = graph.tensors()["hi"]
    branches = {}
    for name, op in (("then_branch", "Neg"), ("else_branch", "Exp")):
        out = gs.Variable(f"{name}_out", np.float32, [2, 4])
        branches[name] = gs.Graph([gs.Node(op, inputs=[hi], outputs=[out])], [], [out], name=name)
    yes = gs.Constant("yes", np.array(True))
    result = gs.Variable("result", np.float32, [2, 4])
    graph.nodes.append(gs.Node("If", attrs=branches, inputs=[yes], outputs=[result]))
    graph.outputs = [result]
    graph.cleanup().toposort()


def set_attributes_in_any_form(graph: gs.Graph) -> None:
    y = graph.outputs[0]
    for op, attrs in (
        ("Transpose", {"perm": np.array([1, 0])}),
        ("Transpose", {"perm": (1, 0)}),
        ("Cast", {"to": np.float32}),
        ("Softmax", {"axis": np.int64(1)}),
        ("LeakyRelu", {"alpha": np.float32(0.5)}),
    ):
        out = gs.Variable(f"{op}{len(graph.nodes)}")
        graph.nodes.append(gs.Node(op, attrs=attrs, inputs=[y], outputs=[out]))
        y = out
    y.dtype, y.shape = np.dtype(np.float32), [2, 4]
    graph.outputs = [y]


PASSES = [
    remove_a_node, modify_and_insert, fold, isolate, replace_by_a_registered_operator, build_with_layers,
    make_the_batch_dynamic, call_a_function, add_a_branch, set_attributes_in_any_form,
]  # fmt: skip


@pytest.mark.parametrize("pass_", PASSES)
def test_a_pass_does_to_our_graph_what_it_does_to_graphsurgeons(pass_: Callable[[gs.Graph], None]) -> None:
    model = onnx.parser.parse_model(MODEL)
    theirs, ours = gs.import_onnx(model), ir.from_proto(onnx.parser.parse_model(MODEL))
    theirs.ir_version = 8
    pass_(theirs)
    pass_(ours)
    expected = run(gs.export_onnx(theirs))
    for found in (run(ir.to_proto(ours)), run(ir.to_proto(ours.copy())), run(gs.export_onnx(ours))):
        for one, other in zip(expected, found, strict=True):
            np.testing.assert_array_equal(one, other)
    assert all(isinstance(node, ir.Node) for node in ir.every_node(ours))


def test_every_plain_object_becomes_ours_and_links_stay() -> None:
    graph = ir.from_proto(onnx.parser.parse_model(MODEL))
    add_a_branch(graph)
    call_a_function(graph)
    hi = graph.tensors()["hi"]
    uses = len(hi.outputs)
    ir.adopt(graph)
    for scope in ir.every_graph(graph):
        assert isinstance(scope, ir.Graph) and scope.opset == 17 and scope._functions is graph._functions
        for node in scope.nodes:
            assert isinstance(node, ir.Node)
            assert all(isinstance(tensor, ir.Tensor) for tensor in (*node.inputs, *node.outputs))
            assert all(node in tensor.outputs for tensor in node.inputs)
    assert len(hi.outputs) == uses
    assert isinstance(graph.functions[0], ir.Function)


def test_a_graph_of_ours_is_left_alone() -> None:
    graph = ir.from_proto(onnx.parser.parse_model(MODEL))
    before = ir.to_proto(graph)
    tensors = dict(graph.tensors())
    ir.adopt(graph)
    assert graph.tensors() == tensors and ir.to_proto(graph) == before


def test_a_whole_graph_of_graphsurgeon_is_adopted_without_loss_of_element_types() -> None:
    weights = [np.ones(3, dtype) for dtype in (ml_dtypes.int4, ml_dtypes.bfloat16, ml_dtypes.float8_e5m2)]
    value = helper.make_tensor_value_info
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Identity", [f"w{i}"], [f"y{i}"]) for i in range(3)],
            "g",
            [],
            [value(f"y{i}", helper.np_dtype_to_tensor_dtype(array.dtype), [3]) for i, array in enumerate(weights)],
            [numpy_helper.from_array(array, f"w{i}") for i, array in enumerate(weights)],
        ),
        producer_name="maker",
    )
    graph = gs.import_onnx(model)
    ir.adopt(graph)
    assert isinstance(graph, ir.Graph) and graph.producer_name == "maker"
    assert ir.to_proto(graph).graph.initializer == model.graph.initializer


def test_plain_constants_whose_data_are_in_a_file_are_refused() -> None:
    model = onnx.parser.parse_model(MODEL)
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    with pytest.raises(BadModel, match="'w' has external data; load the model from its file"):
        ir.adopt(gs.import_onnx(model))


@pytest.mark.parametrize(
    ("op", "attrs", "expected"),
    [
        ("Unsqueeze", {"axes": np.array([0, 2])}, [0, 2]),
        ("Custom", {"axes": np.array([0.5])}, [0.5]),
        ("ConstantOfShape", {"value": np.array([2.0])}, "tensor"),
        ("Constant", {"value": np.array([1, 2])}, "tensor"),
        ("Custom", {"value": np.array([[1, 2]])}, "tensor"),
    ],
)
def test_an_array_as_attribute_becomes_what_the_operator_takes(
    op: str, attrs: dict[str, Any], expected: object
) -> None:
    graph = ir.Graph([gs.Node(op, attrs=attrs)], opset=11)
    ir.adopt(graph)
    value = next(iter(graph.nodes[0].attrs.values()))
    assert isinstance(value, ir.Constant) if expected == "tensor" else value == expected


def test_an_empty_list_gets_its_type_from_the_operator() -> None:
    graph = ir.Graph([ir.Node("Squeeze", attrs={"axes": []})], opset=11)
    assert ir.to_proto(graph).graph.node[0].attribute[0].type == onnx.AttributeProto.INTS
    graph = ir.Graph([ir.Node("Unknown", "n", {"axes": []}, domain="my")])
    with pytest.raises(BadModel, match=r"attribute 'axes' of node 'n' \(Unknown\): ONNX has no type for \[\]"):
        ir.to_proto(graph)


def test_graphsurgeons_patterns_match_our_nodes() -> None:
    pattern = gs.GraphPattern()
    x, w = pattern.variable(), pattern.variable()
    out = pattern.add("add", "Add", inputs=[x, w])
    pattern.set_output_tensors([pattern.add("mul", "Mul", inputs=[out, pattern.variable()])])
    graph = ir.from_proto(onnx.parser.parse_model(MODEL))
    matches = pattern.match_all(graph)
    assert [match["mul"].onnx_node.name for match in matches] == ["second"]


def test_an_opset_that_a_pass_sets_is_exported() -> None:
    graph = ir.from_proto(onnx.parser.parse_model(MODEL))
    graph.opset = 18
    assert ir.to_proto(graph).opset_import[0].version == 18


@pytest.mark.parametrize("opset", [7, 11, 17, 21])
def test_a_graph_made_from_nothing_runs(opset: int) -> None:
    """graphsurgeon writes the newest IR version, which onnxruntime may refuse."""
    x, y = ir.Variable("x", np.float32, [2]), ir.Variable("y", np.float32, [2])
    graph = ir.Graph([ir.Node("Neg", inputs=[x], outputs=[y])], [x], [y], opset=opset, producer_name="me")
    model = ir.to_proto(graph)
    assert model.producer_name == "me" and len(run(model)) == 1


def test_domains_that_came_with_new_nodes_are_imported() -> None:
    """As graphsurgeon does, at version 1."""
    graph = ir.from_proto(onnx.parser.parse_model(MODEL))
    graph.nodes.append(ir.Node("Gelu", inputs=[graph.outputs[0]], outputs=[ir.Variable("z")], domain="com.microsoft"))
    for _ in range(2):
        imports = {entry.domain: entry.version for entry in ir.to_proto(graph).opset_import}
        assert imports == {"": 17, "com.microsoft": 1}
    assert len(graph.import_domains or ()) == 1  # graphsurgeon's export appends to the list of the source


def test_a_layer_does_not_look_at_the_graph_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """graphsurgeon takes 55 ms a call at 20,000 nodes."""
    graph = ir.from_proto(onnx.parser.parse_model(MODEL))
    graph.layer(op="Neg", inputs=[graph.outputs[0]], outputs=["n"])
    monkeypatch.setattr(ir.Graph, "tensors", None)
    monkeypatch.setattr("onnxopt.ir.layer._Names", None)
    names = [graph.layer(op="Neg", inputs=[graph.outputs[0]], outputs=["n"])[0].name for _ in range(100)]
    assert len(set(names)) == 100
