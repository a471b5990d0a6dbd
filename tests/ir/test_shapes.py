"""Shape inference: what follows comes first, what the file declares comes second, and nothing is invented."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from onnx.backend.test.loader import load_model_tests

from onnxopt import ir
from onnxopt.ir.shapes import Inference, infer, infer_shapes
from onnxopt.ir.skeleton import Facts
from onnxopt.ir.values import Values
from tests.conformance import model_of

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"


def parse(body: str, *, imports: str = '"" : 17', functions: str = "") -> ir.Graph:
    head = f"<ir_version: 8, opset_import: [{imports}]>\n"
    return ir.from_proto(onnx.parser.parse_model(head + body + functions))


def declared(graph: ir.Graph) -> dict[str, str]:
    """What the graph declares of its nodes' outputs, subgraphs included, in short."""
    scopes = [graph, *graph.subgraphs(recursive=True)]
    outs = [tensor for scope in scopes for node in scope.nodes for tensor in node.outputs if tensor.name]
    return {tensor.name: str(Facts(tensor.dtype, tensor.shape, tensor.type)) for tensor in outs}


def test_types_shapes_and_symbols_flow_from_the_inputs() -> None:
    graph = parse("""g (float[batch,3,H,16] x, float[8,3,3,3] w) => (y) {
        c = Conv<pads = [1, 1, 1, 1]>(x, w)
        h = Cast<to = 10>(c)
        y = Transpose<perm = [0, 2, 3, 1]>(h)
    }""")
    infer_shapes(graph)
    assert declared(graph) == {
        "c": "float32[batch,8,?,16]",
        "h": "float16[batch,8,?,16]",
        "y": "float16[batch,?,16,8]",
    }


def test_a_shape_computed_from_a_symbol_keeps_it() -> None:
    graph = parse("""g (float[batch,3,4] x) => (y) <int64[1] zero = {0}, int64[1] minus = {-1}> {
        s = Shape(x)
        n = Gather(s, zero)
        t = Concat<axis = 0>(n, minus)
        y = Reshape(x, t)
    }""")
    infer_shapes(graph)
    assert declared(graph)["y"] == "float32[batch,?]"


def test_names_that_onnx_invents_for_unknown_dimensions_are_not_taken_over() -> None:
    graph = parse("g (float[unk__0,4] x) => (y, n) { n = NonZero(x)  y = Relu(x) }")
    infer_shapes(graph)
    assert declared(graph) == {"n": "int64[2,?]", "y": "float32[unk__0,4]"}, "but the file's own are, whatever they are"


def test_declarations_fill_in_what_does_not_follow_and_flow_on() -> None:
    graph = parse(
        "g (float[batch,4] x) => (y, r, h) <float[2,K] u, int64[2,found] n> {"
        " u = c.Foo(x)  y = Relu(u)  n = NonZero(x)  r = Abs(n)  h = Relu(z)  z = c.Bar(y) }",
        imports='"" : 17, "c" : 1',
    )
    infer_shapes(graph)
    assert declared(graph) == {
        "u": "float32[2,K]",
        "y": "float32[2,K]",
        "n": "int64[2,found]",
        "r": "int64[2,found]",
        "h": "?",
        "z": "?",
    }


def test_what_an_output_declares_flows_on_too() -> None:
    graph = parse("g (float[N,4] x) => (int64[2,found] n, r) { n = NonZero(x)  r = Abs(n) }")
    infer_shapes(graph)
    assert declared(graph) == {"n": "int64[2,found]", "r": "int64[2,found]"}


def test_of_two_symbols_for_one_dimension_the_declared_one_stays() -> None:
    graph = parse("g (float[batch,4] x) => (y) <float[N,4] a> { a = Relu(x)  y = Relu(a) }")
    inference = infer_shapes(graph)
    assert declared(graph)["a"] == "float32[N,4]" and not inference.contradictions


@pytest.mark.parametrize("stale", ["float[1,4]", "float16[batch,4]", "float[batch,4,1]", "float[batch,5]"])
def test_a_value_whose_declaration_contradicts_what_follows_is_corrected(stale: str) -> None:
    graph = parse(f"g (float[batch,4] x) => (y) <{stale} a> {{ a = Relu(x)  y = Relu(a) }}")
    inference = infer_shapes(graph)
    assert declared(graph) == {"a": "float32[batch,4]", "y": "float32[batch,4]"}
    (found,) = inference.contradictions
    assert not found.is_interface
    assert str(found).startswith("value 'a' is declared float") and "but float32[batch,4] follows" in str(found)


def test_the_declaration_of_a_model_output_is_its_interface_and_stays() -> None:
    graph = parse("g (float[batch,4] x) => (float[1,?] y, z) { y = Relu(x)  z = Neg(y) }")
    inference = infer_shapes(graph)
    assert declared(graph) == {"y": "float32[1,4]", "z": "float32[batch,4]"}, "only what it leaves open is filled in"
    (found,) = inference.contradictions
    assert found.is_interface
    assert str(found) == "output 'y' is declared float32[1,?], but float32[batch,4] follows from the inputs"


def test_what_exporters_write_for_unknown_dimensions_is_no_fact() -> None:
    graph = parse("g (float[H,W] x, float[N,4] z) => (y, b) <float[N,4] b> { y = MatMul(x, x)  b = Relu(z) }")
    graph.inputs[0].shape = ["?", "?"]
    graph.nodes[1].outputs[0].shape = [-1, 4]
    inference = infer_shapes(graph)
    assert declared(graph) == {"y": "float32[?,?]", "b": "float32[N,4]"}
    assert graph.inputs[0].shape == ["?", "?"], "inputs are declared as they were"
    assert not inference.contradictions


def test_values_in_subgraphs_are_declared_too() -> None:
    graph = parse("""g (float[batch,4] x, bool c, int64 n) => (y, l, all) {
        y = If (c) <
            then_branch = t () => (a) { t1 = Neg(x)  a = Neg(t1) },
            else_branch = e () => (b) { b = Flatten(x) }
        >
        l, all = Loop (n, c, x) <body = body (int64 i, bool go, v) => (go, v2, s) { v2 = Relu(v)  s = Shape(x) }>
    }""")
    infer_shapes(graph)
    facts = declared(graph)
    assert (facts["t1"], facts["a"], facts["b"]) == ("float32[batch,4]",) * 3
    assert facts["v2"] == "float32", "the shape of a loop's state may change from one round to the next"
    assert (facts["s"], facts["all"]) == ("int64[2]", "int64[?,2]")
    assert str(graph.nodes[1].attrs["body"].inputs[2].dtype) == "float32"


def test_sequences_and_optionals_are_declared_in_full() -> None:
    graph = parse("g (float[N,4] x, int64 i) => (y) { s = SequenceConstruct(x, x)  o = Optional(s)  y = Relu(x) }")
    infer_shapes(graph)
    expected = "seq(float[N,4]) s, optional(seq(float[N,4])) o"
    assert expected in onnx.printer.to_text(ir.to_proto(graph))
    assert not infer(graph).found


def test_calls_of_local_functions_are_inferred_and_their_bodies_left_alone() -> None:
    graph = parse(
        "g (float[batch,4] x) => (y) { h = local.twice(x)  y = Neg(h) }",
        imports='"" : 17, "local" : 1',
        functions='<domain: "local", opset_import: ["" : 17]> twice (p) => (q) { a = Abs(p) q = Concat<axis=1>(a, a) }',
    )
    infer_shapes(graph)
    assert declared(graph) == {"h": "float32[batch,8]", "y": "float32[batch,8]"}
    assert all(tensor.dtype is None for node in graph.functions[0].nodes for tensor in node.outputs)


def test_the_default_of_an_input_that_a_caller_may_override_is_not_believed() -> None:
    shape = "int64[2] shape = {2, 2}"
    fixed = parse(f"g (float[4] x) => (y) <{shape}> {{ y = Reshape(x, shape) }}")
    infer_shapes(fixed)
    assert declared(fixed)["y"] == "float32[2,2]"
    free = parse(f"g (float[4] x, {shape}) => (y) {{ y = Reshape(x, shape) }}")
    infer_shapes(free)
    assert declared(free)["y"] == "float32[?,?]"


class Unreadable(Values):
    def __init__(self, *shape: int) -> None:
        self._describe(shape, TensorProto.FLOAT, "unreadable")

    def read(self) -> np.ndarray:
        raise AssertionError("inference has no need of weights")


def test_weights_are_not_read() -> None:
    x, y = ir.Variable("x", np.float32, ["N", 512]), ir.Variable("y")
    node = ir.Node("MatMul", inputs=[x, ir.Constant("w", Unreadable(512, 512))], outputs=[y])
    infer_shapes(ir.Graph([node], [x], [y], opset=17, ir_version=8))
    assert y.shape == ["N", 512]


def test_a_model_over_2_gb_can_be_inferred(tmp_path: Path) -> None:
    rows = 700_000_000
    with (tmp_path / "weights").open("wb") as file:
        os.truncate(file.fileno(), 4 * rows)  # a sparse file: it takes no disk
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[rows, 1], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="weights")
    node = helper.make_node("Gather", ["w", "i"], ["y"])
    index = helper.make_tensor_value_info("i", TensorProto.INT64, ["N"])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    model = helper.make_model(helper.make_graph([node], "g", [index], [output], [weight]), ir_version=8)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    graph = ir.load(tmp_path / "model.onnx")
    infer_shapes(graph)
    assert declared(graph) == {"y": "float32[N,1]"}


def test_what_cannot_be_inferred_is_said_of_the_node_and_the_rest_is_inferred() -> None:
    graph = parse("g (float[2,3] x) => (y, z) { [bad] y = MatMul(x, x)  m = MatMul(x, x)  z = Relu(x) }")
    inference = infer_shapes(graph)
    assert inference.problems == [
        "MatMul bad: Incompatible dimensions for matrix multiplication",
        "MatMul -> m: Incompatible dimensions for matrix multiplication",
    ]
    assert declared(graph)["z"] == "float32[2,3]"


def test_a_table_that_the_skeleton_leaves_out_is_no_problem() -> None:
    table = ir.Constant("table", np.arange(1000))
    i, y = ir.Variable("i", np.int64, ["N"]), ir.Variable("y")
    graph = ir.Graph([ir.Node("Gather", inputs=[table, i], outputs=[y])], [i], [y], opset=17, ir_version=8)
    assert infer_shapes(graph).problems == []
    assert declared(graph) == {"y": "int64[N]"}


def test_a_node_without_a_required_input_is_a_problem_and_no_crash_of_onnx() -> None:
    graph = parse('g (float[2,3] x) => (y, z) { y = EyeLike("")  m = Concat<axis = 0>()  z = Relu(x) }')
    inference = infer_shapes(graph)
    assert inference.problems[0] == "EyeLike -> y: a required input is missing"
    assert declared(graph) == {"y": "?", "m": "?", "z": "float32[2,3]"}


@pytest.mark.parametrize(("trips", "condition"), [("m", ""), ("", "c"), ("m", "c"), ("", "")])
def test_what_a_loop_without_trip_count_or_condition_gives_out_is_inferred(trips: str, condition: str) -> None:
    graph = parse(f"""g (float[N,4] x, int64 m, bool c) => (y, z) {{
        y, z = Loop<body = body (int64 i, bool again, float[N,4] v) => (bool again_out, float[N,4] w, float[N,4] s) {{
            again_out = Identity(again)  w = Neg(v)  s = Abs(v)
        }}>({trips or '""'}, {condition or '""'}, x)
    }}""")
    assert infer_shapes(graph).problems == []
    assert [declared(graph)[name] for name in "yz"] == ["float32", "float32[?,N,4]"]


def test_large_one_dimensional_values_do_not_cost_memory() -> None:
    graph = parse("g (float[1000000000000] x) => (y, n) { y = Mul(x, x)  n = NonZero(x) }")
    inference = infer_shapes(graph)
    assert inference.problems == ["computed shapes are not followed: 1-D values of 1000000000000 elements in all"]
    assert declared(graph)["y"] == "float32[1000000000000]"


def test_a_model_that_onnx_gives_up_on_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(*args: object, **options: object) -> None:
        raise RuntimeError("out of\nluck")

    monkeypatch.setattr("onnx.shape_inference.infer_shapes", give_up)
    graph = parse("g (float[2,3] x) => (y) { y = Relu(x) }")
    inference = infer_shapes(graph)
    assert inference.problems == ["onnx's shape inference gave up on the model: out of luck"]
    assert not inference.found and declared(graph) == {"y": "?"}


def test_infer_tells_without_touching_the_graph() -> None:
    graph = parse("g (float[2,3] x) => (y) { y = Relu(x) }")
    before = ir.to_proto(graph)
    inference = infer(graph)
    assert isinstance(inference, Inference) and [str(facts) for facts in inference.found.values()] == ["float32[2,3]"]
    assert ir.to_proto(graph) == before


def small_models() -> list[onnx.ModelProto]:
    return [model_of(case) for case in load_model_tests(kind="simple")]


def untyped(graph: onnx.GraphProto) -> None:
    del graph.value_info[:]
    for output in graph.output:
        output.ClearField("type")
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                for info in attribute.g.input:
                    info.ClearField("type")
                untyped(attribute.g)


@pytest.mark.parametrize("light", ["squeezenet", "shufflenet", "inception_v1"])
def test_shapes_are_those_that_onnxruntime_computes(light: str) -> None:
    graph = ir.load(LIGHT / f"light_{light}.onnx")
    infer_shapes(graph)
    model = ir.to_proto(graph)
    given = {output.name for output in model.graph.output}
    for info in model.graph.value_info:
        if info.name not in given:
            model.graph.output.add(name=info.name).type.tensor_type.elem_type = info.type.tensor_type.elem_type
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options)
    feeds = {tensor.name: np.zeros(tensor.shape, tensor.dtype) for tensor in graph.inputs}
    names = [output.name for output in session.get_outputs()]
    computed = dict(zip(names, session.run(names, feeds), strict=True))
    facts = declared(graph)
    assert len(computed) > 60
    for name, value in computed.items():
        assert facts[name] == str(Facts(value.dtype, list(value.shape)))


def test_nothing_but_declarations_changes_and_a_second_time_nothing_at_all() -> None:
    for model in [*small_models(), *(onnx.load(path) for path in sorted(LIGHT.glob("*.onnx")))]:
        graph = ir.from_proto(model)
        infer_shapes(graph)
        once = ir.to_proto(graph)
        infer_shapes(graph)
        assert ir.to_proto(graph) == once
        before = onnx.ModelProto.FromString(model.SerializeToString())
        untyped(before.graph)
        untyped(once.graph)
        assert before == once
