"""Shapes and elements of shapes in symbols: what exporters compute with them is followed."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest

from onnxopt import ir
from onnxopt.ir.proven import ProvenShapes, ProvenShapesNonempty
from onnxopt.ir.proven.rules import SHAPE_RULES
from onnxopt.ir.proven.vectors import VECTOR_RULES
from tests.ir.proven_truth import check_claims
from tests.passes.checks import parse, random_feeds

HEAD = '<ir_version: 8, opset_import: ["" : {}]>'


def claims(
    body: str, weights: str = "", *, inputs: str = "float[n,3,m,8] x", opset: int = 17, nonempty: bool = False
) -> tuple[str, str]:
    """The dimensions and the elements of `y`, which hold in runs of two sizes."""
    text = f"{HEAD.format(opset)} g ({inputs}) => (float y) <{weights}> {{ {body} }}"
    model = onnx.parser.parse_model(text)
    model.graph.output[0].ClearField("type")
    graph = ir.from_proto(model)
    ran = check_claims(model, [_feeds(model, n, m) for n, m in ((2, 5), (1, 4))])
    assert ran["shapes"], "onnxruntime does not run it"
    proven = (ProvenShapesNonempty if nonempty else ProvenShapes)(graph)
    dims, elements = proven.dims(graph.outputs[0]), proven.elements(graph.outputs[0])
    return tuple("?" if found is None else " ".join(map(str, found)) for found in (dims, elements))  # type: ignore[return-value]


def _feeds(model: onnx.ModelProto, n: int, m: int) -> dict[str, np.ndarray]:
    bound = onnx.ModelProto()
    bound.CopyFrom(model)
    for info in bound.graph.input:
        for dim in info.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_value = {"n": n, "m": m}[dim.dim_param]
    return random_feeds(bound)


@pytest.mark.parametrize(
    ("body", "weights", "dims"),
    [
        ("y = Concat <axis = 2> (x, x)", "", "n 3 2*m 8"),
        ("y = Flatten (x)", "", "n 24*m"),
        ("y = Reshape (x, s)", "int64[3] s = {0, 3, -1}", "n 3 8*m"),
        ("y = Reshape (x, s)", "int64[2] s = {-1, 24}", "m*n 24"),
        ("s = Shape (x) y = Reshape (x, s)", "", "n 3 m 8"),
        ("y = Slice (x, a, b, c)", "int64[1] a = {0}, int64[1] b = {2}, int64[1] c = {2}", "n 3 min(2, m) 8"),
        ("y = Slice (x, a, b, c)", "int64[1] a = {1}, int64[1] b = {9223372036854775807}, int64[1] c = {2}",
         "n 3 max(0, m - 1) 8"),
        ("y = Slice (x, a, b, c, d)",
         "int64[1] a = {-1}, int64[1] b = {-9223372036854775808}, int64[1] c = {2}, int64[1] d = {-1}", "n 3 m 8"),
        ("y = Pad (x, p)", "int64[8] p = {0, 0, 1, 0, 0, 0, 2, 0}", "n 3 m + 3 8"),
        ("y = Tile (x, r)", "int64[4] r = {1, 2, 3, 1}", "n 6 3*m 8"),
        ("a = Split <axis = 3> (x) y = Identity (a)", "", "n 3 m 8"),
        ("y, z = Split <axis = 3> (x)", "", "n 3 m 4"),
        ("y, z = Split <axis = 3> (x, s)", "int64[2] s = {5, 3}", "n 3 m 5"),
        ("z, y = Split <axis = 3> (x, s)", "int64[2] s = {5, 3}", "n 3 m 3"),
        ("y = MaxPool <kernel_shape = [2, 2], pads = [0, 0, 1, 0], strides = [2, 1]> (x)", "",
         "n 3 trunc(m - 1, 2) + 1 7"),
        ("y = AveragePool <kernel_shape = [3, 1], strides = [2, 1]> (x)", "", "n 3 trunc(m - 3, 2) + 1 8"),
        ("y = GlobalAveragePool (x)", "", "n 3 1 1"),
        ("y = SpaceToDepth <blocksize = 2> (x)", "", "n 12 floor(m, 2) 4"),
        ("y = Resize (x, , scales)", "float[4] scales = {1, 1, 2, 0.5}", "n 3 2*m 4"),
        ("y = Resize (x, , , sizes)", "int64[4] sizes = {1, 3, 7, 9}", "1 3 7 9"),
        ("y = ReduceMean <axes = [2], keepdims = 0> (x)", "", "n 3 8"),
        ("y = ReduceSum (x, axes)", "int64[1] axes = {-1}", "n 3 m 1"),
        ("y = ReduceMax <keepdims = 0> (x)", "", ""),
        ("y = ArgMax <axis = 2> (x)", "", "n 3 1 8"),
        ("y, i = TopK (x, k)", "int64[1] k = {2}", "n 3 m 2"),
        ("y = Gather <axis = 3> (x, i)", "int64[2,1] i = {0, 1}", "n 3 m 2 1"),
        ("y = Gather <axis = 2> (x, i)", "int64 i = {0}", "n 3 8"),
        ("y = NonZero (x)", "", "4 y[1]"),
        ("y = Unsqueeze (x, axes)", "int64[2] axes = {0, -1}", "1 n 3 m 8 1"),
        ("t = Transpose <perm = [0, 1, 3, 2]> (x) y = MatMul (x, t)", "", "n 3 m m"),
        ('y = Einsum <equation = "abcd,ebcd->ace"> (x, x)', "", "n m n"),
        ('y = Einsum <equation = "abcd,abcd"> (x, x)', "", ""),
        ("y = Add (x, w)", "float[4,8] w = {" + ", ".join(["1"] * 32) + "}", "n 3 4 8"),
        ("c = Greater (x, x) y = Where (c, x, x)", "", "n 3 m 8"),
        ("i = Cast <to = 7> (x) y = OneHot (i, d, v)", "int64 d = {5}, float[2] v = {0, 1}", "n 3 m 8 5"),
        ("q = QuantizeLinear (x, s) y = DequantizeLinear (q, s)", "float s = {0.1}", "n 3 m 8"),
        ("y = CumSum (x, a)", "int64 a = {2}", "n 3 m 8"),
    ],
)  # fmt: skip
def test_dimensions(body: str, weights: str, dims: str) -> None:
    assert claims(body, weights)[0] == dims


@pytest.mark.parametrize(
    ("body", "weights", "elements"),
    [
        ("y = Shape (x)", "", "n 3 m 8"),
        ("y = Shape <start = 1, end = -1> (x)", "", "3 m"),
        ("y = Size (x)", "", "24*m*n"),
        ("s = Shape (x) y = Gather (s, i)", "int64 i = {2}", "m"),
        ("s = Shape (x) y = Gather (s, i)", "int64[2] i = {-1, 0}", "8 n"),
        ("s = Shape (x) y = Slice (s, a, b)", "int64[1] a = {1}, int64[1] b = {-1}", "3 m"),
        ("s = Shape (x) t = Cast <to = 6> (s) y = Cast <to = 7> (t)", "", "n 3 m 8"),
        ("s = Shape (x) y = Mul (s, c)", "int64 c = {2}", "2*n 6 2*m 16"),
        ("s = Shape (x) t = Neg (s) y = Sub (c, t)", "int64 c = {1}", "n + 1 4 m + 1 9"),
        ("s = Shape (x) y = Div (s, c)", "int64 c = {2}", "floor(n, 2) 1 floor(m, 2) 4"),
        ("s = Shape (x) y = Mod (s, c)", "int64 c = {3}", "-3*floor(n, 3) + n 0 -3*floor(m, 3) + m 2"),
        ("s = Shape (x) y = Max (s, c)", "int64 c = {0}", "n 3 m 8"),
        ("s = Shape (x) y = Min (s, c)", "int64 c = {5}", "min(5, n) 3 min(5, m) 5"),
        ("s = Shape (x) y = Equal (s, c)", "int64 c = {-1}", "0 0 0 0"),
        ("s = Shape (x) e = Equal (s, c) y = Where (e, d, s)", "int64 c = {-1}, int64 d = {1}", "n 3 m 8"),
        ("s = Shape (x) y = Concat <axis = 0> (s, c)", "int64[1] c = {7}", "n 3 m 8 7"),
        ("s = Shape (x) y, z = Split <axis = 0> (s)", "", "n 3"),
        ("s = Shape (x) y = ReduceProd <keepdims = 0> (s)", "", "24*m*n"),
        ("s = Size (x) t = Unsqueeze (s, a) y = Squeeze (t, a)", "int64[1] a = {0}", "24*m*n"),
        ("s = Shape <start = 1, end = 2> (x) f = Cast <to = 1> (s) h = Div (f, two) u = Ceil (h) y = Cast <to = 7> (u)",
         "float two = {2}", "2"),
        ("s = Shape (x) f = Cast <to = 1> (s) y = Cast <to = 7> (f)", "", "None 3 None 8"),
        ("y = ConstantOfShape <value = int64[1] {7}> (k)", "int64[1] k = {3}", "7 7 7"),
        ("y = Range (a, b, c)", "int64 a = {1}, int64 b = {8}, int64 c = {3}", "1 4 7"),
        ("y = Expand (v, k)", "int64[1] v = {4}, int64[1] k = {2}", "4 4"),
        ("y = ConstantOfShape (k)", "int64[1] k = {3}", "?"),
        ("y = Cast <to = 7> (x)", "", "?"),
    ],
)  # fmt: skip
def test_elements(body: str, weights: str, elements: str) -> None:
    assert claims(body, weights)[1] == elements


def test_the_dimension_that_a_reshape_is_given() -> None:
    heads = """s = Shape (x) b = Gather (s, zero) l = Gather (s, two) b1 = Unsqueeze (b, axis) l1 = Unsqueeze (l, axis)
        k = Concat <axis = 0> (b1, l1, h) y = Reshape (x, k)"""
    weights = "int64 zero = {0}, int64 two = {2}, int64[1] axis = {0}, int64[2] h = {4, 6}"
    # An empty input is another matter: a target of 0 copies the 3 that stands at the place of m.
    assert claims(heads, weights)[0] == "n y[1] 4 6"
    assert claims(heads, weights, nonempty=True)[0] == "n m 4 6"


@pytest.mark.parametrize("nonempty", [False, True])
@pytest.mark.parametrize(
    ("body", "weights", "dims", "elements"),
    [
        ("y = Slice (x, a, b, c)", "int64[1] a = {-1}, int64[1] b = {9223372036854775807}, int64[1] c = {2}",
         "n 3 min(1, m) 8", "?"),
        ("y = Slice (x, a, b, c)", "int64[1] a = {0}, int64[1] b = {1}, int64[1] c = {2}", "n 3 min(1, m) 8", "?"),
        ("y = Slice (x, a, b, c, a1)", "int64[1] a = {0}, int64[1] b = {-1}, int64[1] c = {2}, int64[1] a1 = {1}",
         "n 3 max(0, m - 1) 8", "?"),
        ("s = Shape (x) y = Cast <to = 9> (s)", "", "4", "None 1 None 1"),
        ("s = Shape (x) y = Equal (s, c)", "int64 c = {0}", "4", "None 0 None 0"),
        ("s = Shape (x) y = Greater (s, c)", "int64 c = {0}", "4", "None 1 None 1"),
        ("s = Shape (x) b = Cast <to = 9> (s) n = Not (b) o = Or (b, n) y = And (b, o)", "", "4", "None 1 None 1"),
        ("s = Shape (x) b = Cast <to = 9> (s) y = Where (b, s, c)", "int64 c = {7}", "4", "None 3 None 8"),
        ("s = Shape (x) t = Sub (s, c) y = Mod (t, d)", "int64 c = {1}, int64 d = {2}", "4", "None 0 None 1"),
    ],
)  # fmt: skip
def test_a_dimension_may_be_0(body: str, weights: str, dims: str, elements: str, nonempty: bool) -> None:
    """Whatever is assumed of the targets of Reshapes: what an empty axis holds is nothing, and it is no truth value."""
    assert claims(body, weights, nonempty=nonempty) == (dims, elements)


def test_zeros_in_a_target_do_not_mislead() -> None:
    """With m = 0, the 0 in the target copies the 4 of x."""
    model = onnx.parser.parse_model(f"""
        {HEAD.format(17)}
        g (float[4,2] x, float[m] z) => (float[p,q] y) <int64[1] two = {{2}}> {{
            s = Shape (z) t = Concat <axis = 0> (s, two) y = Reshape (x, t)
        }}""")
    feeds = [{"x": np.ones((4, 2), np.float32), "z": np.ones(size, np.float32)} for size in (0, 4)]
    assert check_claims(model, feeds)["shapes"] == 3 * 3


def test_one_name_has_one_value_and_no_name_has_its_own() -> None:
    graph = parse(f"""{HEAD.format(17)} g (float[n,4] a, float[n,4] b, float[?,4] c, float[?,4] d) => (float[p,4] y) {{
        e = Add (a, b) f = Add (c, d) g = Concat <axis = 0> (e, f) h = Concat <axis = 0> (f, e) y = Add (g, h)
    }}""")
    proven = ProvenShapes(graph)
    assert [str(proven.dims(node.outputs[0])[0]) for node in graph.nodes] == [  # type: ignore[index]
        "n", "joined(c[0], d[0])", "joined(c[0], d[0]) + n", "joined(c[0], d[0]) + n", "joined(c[0], d[0]) + n",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["?", "None", "-1"])
def test_what_stands_for_any_size_is_no_name(name: str) -> None:
    graph = parse(f"{HEAD.format(17)} g (float[n,m] a) => (float[p,q] y) {{ y = Neg (a) }}")
    graph.inputs[0].shape = [name, name]
    rows, columns = ProvenShapes(graph).dims(graph.outputs[0]) or ()
    assert rows != columns


def test_what_data_decide_is_only_like_itself() -> None:
    graph = parse(f"""{HEAD.format(17)} g (float[n] x) => (int64[1,k] y) {{
        a = NonZero (x) b = NonZero (x) c = Neg (a) y = Add (a, b)
    }}""")
    proven = ProvenShapes(graph)
    first, second, third = (proven.dims(node.outputs[0])[1] for node in graph.nodes[:3])  # type: ignore[index]
    assert first == third != second
    assert first.of_data  # type: ignore[union-attr]


def test_old_operators_that_take_attributes() -> None:
    assert claims("y = Slice <starts = [1], ends = [3], axes = [3]> (x)", opset=9)[0] == "n 3 m 2"
    assert claims("y = Pad <pads = [0, 0, 0, 0, 0, 0, 1, 0]> (x)", opset=9)[0] == "n 3 m + 1 8"
    assert claims("y = Squeeze <axes = [1]> (z) z = Unsqueeze <axes = [1]> (x)", opset=9)[0] == "?"  # not in order
    assert claims("z = Unsqueeze <axes = [1]> (x) y = Squeeze <axes = [1]> (z)", opset=9)[0] == "n 3 m 8"
    assert claims("y, z = TopK <k = 2> (x)", opset=9)[0] == "n 3 m 2"
    assert claims("y = Upsample (x, s)", "float[4] s = {1, 1, 2, 2}", opset=9)[0] == "n 3 2*m 16"


def test_split_into_parts_of_which_the_last_is_smaller() -> None:
    assert claims("y, z = Split <axis = 3, num_outputs = 2> (x)", opset=18)[0] == "n 3 m 4"
    assert claims("a, b, y = Split <axis = 3, num_outputs = 3> (x)", opset=18)[0] == "n 3 m 2"


def test_recurrent_layers() -> None:
    weights = "float[1,16,3] w, float[1,16,4] r"
    body = "y, h, c = LSTM <hidden_size = 4> (x, w, r)"
    assert claims(body, inputs=f"float[n,m,3] x, {weights}")[0] == "n 1 m 4"
    assert claims("z, y, c = LSTM <hidden_size = 4> (x, w, r)", inputs=f"float[n,m,3] x, {weights}")[0] == "1 m 4"


def test_branches_that_agree() -> None:
    graph = parse(f"""{HEAD.format(17)} g (float[n,3] x, bool c) => (float[n,p] y) <int64[2] two = {{0, 2}}> {{
        y = If (c) <
            then_branch = t () => (float[a,b] u) {{ u = Neg (x) }},
            else_branch = e () => (float[a,b] v) {{ w = Concat <axis = 1> (x, x) v = Exp (w) }}
        >
    }}""")
    assert list(map(str, ProvenShapes(graph).dims(graph.outputs[0]) or ())) == ["n", "y[1]"]


def test_functions_and_overridden_operators_prove_nothing_of_their_inputs() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17, "local" : 1]>
        g (float[n,3] x) => (float[n,3] y) { y = local.f (x) }
        <domain: "local", opset_import: ["" : 17]> f (a) => (c) { s = Shape (a) b = Neg (a) c = Reshape (b, s) }
    """)
    proven = ProvenShapes(graph)
    assert all(proven.dims(node.outputs[0]) is None for node in graph.functions[0].nodes[1:2])
    assert proven.dims(graph.outputs[0]) is None


@pytest.mark.parametrize("opset", [1, 9, 13, 21])
def test_no_rule_stumbles_over_nodes_that_no_checker_would_pass(opset: int) -> None:
    """Files in the wild have nodes with too few inputs, or inputs of the wrong rank and type."""
    for op in {*SHAPE_RULES, *VECTOR_RULES}:
        for dims, count, through in itertools.product((["n", 3, 4, 5], [], [2], ["n", 3]), range(4), (False, True)):
            x, vector, y = ir.Variable("x", np.float32, dims), ir.Variable("s"), ir.Variable("y")
            nodes = [ir.Node("Shape", "", {}, [x], [vector])] if through else []
            nodes.append(ir.Node(op, "", {"axis": 1}, [vector if through else x] * count, [y]))
            ProvenShapes(ir.Graph(nodes, [x], [y], opset=opset)).elements(y)


def test_a_long_chain_of_symbolic_shapes() -> None:
    """Each link makes an expression of the last: nothing recurses, nothing grows."""
    nodes = "".join(
        f"a{i + 1} = MaxPool <kernel_shape = [2], strides = [2], pads = [1, 0]> (a{i})\n" for i in range(3000)
    )
    graph = parse(f"{HEAD.format(17)} g (float[1,1,n] a0) => (float[1,1,p] a3000) {{ {nodes} }}")
    assert len(ProvenShapes(graph).dims(graph.outputs[0]) or ()) == 3
