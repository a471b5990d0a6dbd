"""Costs: against figures worked out by hand, published ones, and onnxruntime adding up the products itself."""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx.parser
import onnxruntime as ort
import pytest
from onnx import TensorProto, defs

from onnxopt import ir
from onnxopt.errors import BadOption
from onnxopt.ir.costs import Costs, costs
from onnxopt.ir.macs import RULES, WITHOUT_MACS, node_macs
from onnxopt.ir.shapes import infer_shapes
from onnxopt.ir.values import Values

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"


def parse(body: str, *, opset: int = 17, imports: str = "", functions: str = "") -> ir.Graph:
    head = f'<ir_version: 8, opset_import: ["" : {opset}{imports}]>\n'
    return ir.from_proto(onnx.parser.parse_model(head + body + functions))


def zeros(count: int) -> str:
    return "{" + ",".join("0" * count) + "}"


def sum_of_products(graph: ir.Graph) -> int:
    """With ones for data, weights and nothing else, an output element is the number of products summed up in it."""
    session = ort.InferenceSession(ir.to_proto(graph).SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {tensor.name: np.ones(tensor.shape, tensor.dtype) for tensor in graph.inputs}
    return int(sum(output.sum(dtype=np.float64) for output in session.run(None, feeds)))


@pytest.mark.parametrize(
    "body",
    [
        "g (float[2,6,9,8] x, float[4,3,3,2] w) => (float[a,b,c,d] y) { y = Conv<group = 2, strides = [2, 1]>(x, w) }",
        "g (float[2,6,9,8] x, float[6,1,3,3] w) => (float[a,b,c,d] y) { y = Conv<group = 6, dilations = [2,2]>(x, w) }",
        "g (float[1,3,20] x, float[5,3,4] w) => (float[a,b,c] y) { y = Conv(x, w) }",
        "g (float[1,2,5,6,7] x, float[3,2,2,2,2] w) => (float[a,b,c,d,e] y) { y = Conv(x, w) }",
        "g (float[2,4,5,6] x, float[4,3,3,2] w) => (float[a,b,c,d] y) {y = ConvTranspose<group=2,strides=[2,3]>(x, w)}",
        "g (uint8[1,2,5,5] x, uint8[3,2,2,2] w) => (int32[a,b,c,d] y) { y = ConvInteger(x, w) }",
        "g (float[7,3] x, float[5,7] w) => (float[a,b] y) { y = Gemm<transA = 1, transB = 1>(x, w) }",
        "g (float[2,1,4,7] x, float[3,7,5] w) => (float[a,b,c,d] y) { y = MatMul(x, w) }",
        "g (float[7] x, float[3,7,5] w) => (float[a,b] y) { y = MatMul(x, w) }",
        "g (float[4,7] x, float[7] w) => (float[a] y) { y = MatMul(x, w) }",
        "g (uint8[3,7] x, uint8[7,5] w) => (int32[a,b] y) { y = MatMulInteger(x, w) }",
        'g (float[2,3,7] x, float[2,7,5] w) => (float[a,b,c] y) { y = Einsum<equation = "bij,bjk->bik">(x, w) }',
        'g (float[3,1,7] x, float[7,2,5] w) => (float[a,b] y) { y = Einsum<equation = "i...j,j...k">(x, w) }',
        'g (float[3,7] x, float[3,7] w) => (float y) { y = Einsum<equation = "ij,ij->">(x, w) }',
        'g (float[4,7] x, float[5,7] w) => (float[a,b] y) { y = com.microsoft.FusedMatMul<transB = 1>(x, w) }',
        'g (float[2,3,4,4] x, float[5,3,3,3] w) => (float[a,b,c,d] y) { y = com.microsoft.FusedConv(x, w) }',
    ],
)  # fmt: skip
def test_macs_are_the_products_that_onnxruntime_sums_up(body: str) -> None:
    graph = parse(body, imports=', "com.microsoft" : 1')
    if "com.microsoft" in body:  # onnx does not know the shape: declare what onnxruntime gives
        session = ort.InferenceSession(ir.to_proto(graph).SerializeToString(), providers=["CPUExecutionProvider"])
        feeds = {tensor.name: np.ones(tensor.shape, tensor.dtype) for tensor in graph.inputs}
        graph.outputs[0].shape = list(session.run(None, feeds)[0].shape)
    found = costs(graph)
    assert found.macs == sum_of_products(graph) and not found.uncounted


@pytest.mark.parametrize(
    ("body", "macs"),
    [
        ("g (float[1,3,8,8] x, float[4,3,3,3] w) => (y) { y = Conv<pads = [1,1,1,1]>(x, w) }", 8 * 8 * 4 * 3 * 3 * 3),
        ("g (float[5,2,3] x, float[1,16,3] w, float[1,16,4] r) => (y) { y = LSTM<hidden_size = 4>(x, w, r) }",
         5 * 2 * (4 * 4 * 3 + 4 * 4 * 4)),
        ("g (float[5,2,3] x, float[2,12,3] w, float[2,12,4] r) => (y) "
         '{ y = GRU<hidden_size = 4, direction = "bidirectional">(x, w, r) }', 5 * 2 * 2 * (3 * 4 * 3 + 3 * 4 * 4)),
        ("g (float[2,5,3] x, float[1,4,3] w, float[1,4,4] r) => (y) { y = RNN<hidden_size = 4, layout = 1>(x, w, r) }",
         5 * 2 * (4 * 3 + 4 * 4)),
        ("g (float[2,8,5,16] q, float[2,4,7,16] k, float[2,4,7,32] v) => (y) { y = Attention(q, k, v) }",
         2 * 8 * 5 * 7 * (16 + 32)),
        ("g (float[2,5,128] q, float[2,7,64] k, float[2,7,128] v, float[2,4,3,16] pk, float[2,4,3,32] pv) => (y) "
         '{ y = Attention<q_num_heads = 8, kv_num_heads = 4>(q, k, v, "", pk, pv) }', 2 * 8 * 5 * (7 + 3) * (16 + 32)),
        ("g (float[9,3] x) => (y) { y = ai.onnx.ml.LinearRegressor<coefficients=[1.,2.,3.,4.,5.,6.], targets=2>(x) }",
         9 * 3 * 2),
        ('g (float[2,3] x) => (y) { y = Einsum<equation = "ij->ji">(x) }', 0),
        ('g (float[2,3] x) => (y) { y = Einsum<equation = "ij,ij->ij">(x, x) }', 0),
    ],
)  # fmt: skip
def test_macs_by_the_formula(body: str, macs: int) -> None:
    found = costs(parse(body, opset=23, imports=', "ai.onnx.ml" : 3'))
    assert found.macs == macs and not found.uncounted


@pytest.mark.parametrize(
    ("light", "billions"), [("resnet50", 4.09), ("vgg19", 19.63), ("densenet121", 2.83), ("squeezenet", 0.35)]
)
def test_macs_of_known_networks_are_the_published_ones(light: str, billions: float) -> None:
    """As torchvision's documentation of its weights gives them ("GFLOPS", which there are multiply-accumulates)."""
    found = costs(ir.load(LIGHT / f"light_{light}.onnx"))
    assert round(found.macs / 1e9, 2) == billions
    assert not found.uncounted and not found.assumptions


def test_macs_are_given_by_operator_and_by_node() -> None:
    graph = parse(
        "g (float[2,4] x, float[4,8] v, float[8,3] w) => (y) { h = MatMul(x, v)  r = Relu(h)  y = MatMul(r, w) }"
    )
    found = costs(graph)
    assert found.macs_by_operator == {"MatMul": 2 * 4 * 8 + 2 * 8 * 3}
    assert found.macs_by_node == {graph.nodes[0]: 64, graph.nodes[2]: 48}
    assert found.operators == {"MatMul": 2, "Relu": 1} and found.nodes == 3


def test_every_operator_is_known_to_have_a_formula_to_need_none_or_to_lack_one() -> None:
    """Up to opset 28; what comes later is uncounted, and never 0, until somebody says what it costs."""
    schemas = [schema for schema in defs.get_all_schemas_with_history() if schema.since_version <= 28]
    names = {f"{schema.domain}.{schema.name}".lstrip(".") for schema in schemas if "preview" not in schema.domain}
    lacking = {"DFT", "Det", "LinearAttention", "STFT", "ai.onnx.ml.SVMClassifier", "ai.onnx.ml.SVMRegressor"}
    assert names - RULES.keys() - WITHOUT_MACS <= lacking
    assert not RULES.keys() & WITHOUT_MACS
    assert node_macs(ir.Node("Det"), lambda tensor: ()) is None
    assert node_macs(ir.Node("NotYetInvented"), lambda tensor: ()) is None


def test_what_cannot_be_counted_is_listed_and_not_taken_for_nothing() -> None:
    graph = parse(
        "g (float[batch,time,4] x, float[4,4] w) => (y, z) { h = MatMul(x, w)  y = c.Mix(h)  z = Relu(y) }",
        imports=', "c" : 1',
    )
    found = costs(graph)
    assert found.uncounted == {"MatMul": 1, "c.Mix": 1} and found.macs == 0
    assert found.unsized == 4, "x, h, y, z"
    assert costs(graph, {"time": 10}).uncounted == {"c.Mix": 1}


def test_the_first_axis_of_an_input_counts_as_one_unless_told() -> None:
    graph = parse("g (float[batch,4] x, float[4,5] w) => (y) { y = MatMul(x, w) }")
    assert (costs(graph).macs, costs(graph).assumptions) == (20, ["dimension batch is 1"])
    assert (costs(graph, {"batch": 3}).macs, costs(graph, {"batch": 3}).assumptions) == (60, [])
    graph.inputs[0].shape = [None, 4]
    assert (costs(graph).macs, costs(graph).assumptions) == (20, ["dimension x[0] is 1"])
    assert costs(graph, {"x[0]": 3}).macs == 60


def test_sizes_of_symbols_go_through_computed_shapes() -> None:
    graph = parse("""g (float[batch,3,4] x, float[4,4] w) => (y) <int64[1] zero = {0}, int64[2] rest = {-1, 4}> {
        s = Shape(x)  n = Gather(s, zero)  t = Concat<axis = 0>(n, rest)
        r = Reshape(x, t)  y = MatMul(r, w)
    }""")
    assert costs(graph, {"batch": 5}).macs == 5 * 3 * 4 * 4


def test_a_dimension_that_the_model_does_not_have_is_an_error() -> None:
    graph = parse("g (float[batch,4] x) => (y) { y = Relu(x) }")
    with pytest.raises(BadOption, match="no dimension of the model is called 'bach'; those without a number: batch"):
        costs(graph, {"bach": 2})
    with pytest.raises(BadOption, match="dimension 'batch' cannot be -1"):
        costs(graph, {"batch": -1})


def test_of_an_if_the_branch_with_more_counts() -> None:
    found = costs(
        parse("""g (float[2,4] x, float[4,4] w, bool c) => (y) { y = If (c) <
        then_branch = t () => (a) { a = MatMul(x, w) },
        else_branch = e () => (b) { h = MatMul(x, w)  b = MatMul(h, w) }> }""")
    )
    assert found.macs == 2 * 32
    assert found.nodes == 4, "nodes count in all of them"


def test_a_loop_counts_as_often_as_it_runs() -> None:
    body = "<body = b (int64 i, bool go, float[2,4] v) => (go, v2) { v2 = MatMul(v, w) }>"
    counted = parse(
        f"g (float[2,4] x, float[4,4] w, bool c) => (y) <int64 n = {{5}}> {{ [l] y = Loop (n, c, x) {body} }}"
    )
    assert costs(counted).macs == 5 * 32
    assert costs(counted).assumptions == ["the body of Loop 'l' runs 5 times"]
    open_ = parse(f"g (float[2,4] x, float[4,4] w, bool c, int64 n) => (y) {{ [l] y = Loop (n, c, x) {body} }}")
    assert costs(open_).macs == 32
    assert costs(open_).assumptions == ["the body of Loop 'l' runs once"]


def test_a_scan_counts_once_for_each_slice() -> None:
    found = costs(
        parse("""g (float[4] s, float[2,7,4] x, float[4,4] w) => (f, y) {
        f, y = Scan <num_scan_inputs = 1, scan_input_axes = [1], body =
            b (float[4] a, float[2,4] v) => (float[4] a2, float[2,4] n) { a2 = Identity(a)  n = MatMul(v, w) }> (s, x)
    }""")
    )
    assert found.macs == 7 * 2 * 4 * 4


FUNCTIONS = """
    <domain: "local", opset_import: ["" : 17]>
    layer <alpha> (p, w) => (q) { a = MatMul(p, w)  q = LeakyRelu<alpha: float = @alpha>(a) }
    <domain: "local", opset_import: ["" : 17, "local" : 1]>
    two (p, w) => (q) { a = local.layer<alpha = 0.1>(p, w)  q = local.layer<alpha = 0.2>(a, w) }
"""


def test_the_body_of_a_function_counts_for_every_call() -> None:
    graph = parse(
        "g (float[2,4] x, float[4,4] w) => (y) { a = local.two(x, w)  y = local.layer<alpha = 0.3>(a, w) }",
        imports=', "local" : 1',
        functions=FUNCTIONS,
    )
    before = ir.to_proto(graph)
    found = costs(graph)
    assert found.macs == 3 * 32 and not found.uncounted and not found.unsized
    matmul = next(function for function in graph.functions if function.name == "layer").nodes[0]
    assert found.macs_by_node == {matmul: 3 * 32}, "on the node that the body has"
    assert found.operators == {"local.layer": 3, "local.two": 1, "MatMul": 1, "LeakyRelu": 1}
    assert ir.to_proto(graph) == before


def test_functions_that_cannot_be_inlined_are_uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(*args: object) -> None:
        raise RuntimeError("no luck")

    monkeypatch.setattr("onnx.inliner.inline_local_functions", give_up)
    graph = parse(
        "g (float[2,4] x, float[4,4] w) => (y) { y = local.two(x, w) }", imports=', "local" : 1', functions=FUNCTIONS
    )
    assert costs(graph).uncounted == {"local.two": 1}
    assert "no luck" in costs(graph).assumptions[0]


def test_parameters_and_bytes_are_those_of_all_tensors_in_the_file() -> None:
    graph = parse(f"""g (float[2,4] x, float[3] with_default = {{1, 2, 3}}) => (y)
        <float[4,5] w = {zeros(20)}, int8[2] unread = {{0, 0}}> {{
        h = MatMul(x, w)
        k = Constant<value = float16[7] {zeros(7)}>()
        y = Relu(h)
    }}""")
    found = costs(graph)
    assert found.parameters == 3 + 4 * 5 + 2 + 7
    assert found.weight_bytes == 3 * 4 + 20 * 4 + 2 + 7 * 2
    shared = parse(f"g (float[2,4] x) => (y) <float[4,4] w = {zeros(16)}> {{ h = MatMul(x, w)  y = MatMul(h, w) }}")
    assert costs(shared).parameters == 16, "once, however often it is read"


def test_four_bit_weights_take_half_a_byte() -> None:
    weight = ir.Constant("w", np.zeros((3, 3), ml_dtypes.int4))
    graph = ir.Graph([ir.Node("Identity", inputs=[weight], outputs=[ir.Variable("y")])], opset=21, ir_version=10)
    assert (costs(graph).parameters, costs(graph).weight_bytes) == (9, 5)


def peak(body: str) -> int:
    return costs(parse(body)).peak_activation_bytes


def test_the_peak_is_where_most_is_alive() -> None:
    assert peak("g (float[10] x) => (y) { a = Relu(x)  b = Relu(a)  c = Relu(b)  y = Relu(c) }") == 4 * 30, (
        "x, two more"
    )
    assert peak("g (float[10] x) => (y) { a = Relu(x)  b = Relu(a)  c = Relu(b)  y = Add(c, a) }") == 4 * 40, "a waits"
    assert peak("g (float[10] x) => (y, a) { a = Relu(x)  b = Relu(a)  c = Relu(b)  y = Relu(c) }") == 4 * 40, (
        "a is given out"
    )
    assert peak("g (float[10] x) => (y) { a = Relu(x)  dead = Relu(a)  y = Relu(a) }") == 4 * 30, "dead dies at once"
    assert peak("g (float[10] x) => (y) <float w = {0}> { k = Constant<value = float {1}>() y = Add(x, w) }") == 80


def test_the_peak_counts_a_subgraph_on_top_of_what_waits_outside() -> None:
    body = "{ [t] a = Relu(x)  b = Relu(x)  y = If (c) <then_branch = t () => (n) { m = Neg(a)  n = Neg(m) },"
    body += " else_branch = e () => (o) { o = Neg(a) }>  z = Add(y, b) }"
    outer, inner = 4 * 10 * 4 + 1, 4 * 10 * 2  # x, a (captured), b, y and the condition; m and n
    assert peak(f"g (float[10] x, bool c) => (z) {body}") == outer + inner


class Unreadable(Values):
    def __init__(self, *shape: int) -> None:
        self._describe(shape, TensorProto.FLOAT, "unreadable")

    def read(self) -> np.ndarray:
        raise AssertionError("costs have no need of weights")


@pytest.mark.parametrize("infer", [True, False])
def test_weights_are_not_read_and_the_graph_is_left_alone(infer: bool) -> None:
    x, y = ir.Variable("x", np.float32, ["N", 512]), ir.Variable("y")
    node = ir.Node("MatMul", inputs=[x, ir.Constant("w", Unreadable(512, 512))], outputs=[y])
    found = costs(ir.Graph([node], [x], [y], opset=17, ir_version=8), infer=infer)
    assert found.parameters == 512 * 512
    assert (found.macs, found.uncounted) == ((512 * 512, {}) if infer else (0, {"MatMul": 1}))
    assert y.shape is None


def test_declared_shapes_give_the_same_costs_as_inferred_ones() -> None:
    graph = ir.load(LIGHT / "light_shufflenet.onnx")
    undeclared = costs(graph)
    infer_shapes(graph)
    assert costs(graph) == undeclared == costs(graph, infer=False)


def test_they_can_be_written_as_json() -> None:
    found = costs(parse("g (float[batch,4] x, float[4,5] w) => (y) { y = MatMul(x, w) }"))
    assert isinstance(found, Costs)
    assert json.loads(json.dumps(found.to_json())) == {
        "nodes": 1,
        "operators": {"MatMul": 1},
        "parameters": 0,
        "weight_bytes": 0,
        "macs": 20,
        "macs_by_operator": {"MatMul": 20},
        "peak_activation_bytes": 4 * (4 + 20 + 5),
        "uncounted": {},
        "unsized": 0,
        "assumptions": ["dimension batch is 1"],
    }
