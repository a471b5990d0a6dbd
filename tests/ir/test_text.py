"""The text form: what it looks like, and that `onnx.parser` reads it back as the same model."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx.parser
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx.backend.test.loader import load_model_tests

from onnxopt import ir

HEAD = '<ir_version: 8, opset_import: ["" : 17]>\n'


def parse(text: str) -> ir.Graph:
    return ir.from_proto(onnx.parser.parse_model(text))


def constant_graph(*constants: ir.Constant) -> ir.Graph:
    """A graph whose outputs are its initializers."""
    return ir.Graph(outputs=list(constants), name="g", opset=17, ir_version=8)


def line_of(graph: ir.Graph, word: str) -> str:
    return next(line for line in ir.to_text(graph).splitlines() if word in line).strip()


def test_it_is_the_syntax_of_onnx_one_node_a_line() -> None:
    text = '<ir_version: 8, opset_import: ["" : 17, "com.example" : 1]>\n' + (
        "g (float[N,3] x) => (float[N,3] y) <\n"
        "  float[2] w = {1, 2.5}\n"
        "> {\n"
        "  [first] z = LeakyRelu <alpha = 0.1> (x)\n"
        '  y, "" = com.example.Foo <axes = [0, 1], empty: ints = [], how = "so"> (z, "", w)\n'
        "}\n"
    )
    assert ir.to_text(parse(text)) == text


def test_subgraphs_are_printed_in_full_and_indented() -> None:
    text = HEAD + (
        "g (bool c, float[N] x) => (float[N] y) {\n"
        "  y = If (c) <\n"
        "    then_branch = yes () => (float[N] a) {\n"
        "      a = Abs (x)\n"
        "    },\n"
        "    else_branch = no () => (float[N] b) <\n"
        "      float one = {1}\n"
        "    > {\n"
        "      b = Add (x, one)\n"
        "    }\n"
        "  >\n"
        "}\n"
    )
    assert ir.to_text(parse(text)) == text


def test_functions_follow_the_graph() -> None:
    text = '<ir_version: 8, opset_import: ["" : 17, "local" : 1]>\n' + (
        "g (float[N] x) => (float[N] y) {\n"
        "  y = local.Scale <by = 2.0> (x)\n"
        "}\n"
        "\n"
        '<domain: "local", opset_import: ["" : 17]>\n'
        "Scale <by, bias = 0.5> (a) => (b) {\n"
        "  c = Constant <value_float: float = @by> ()\n"
        "  b = Mul (a, c)\n"
        "}\n"
    )
    assert ir.to_text(parse(text)) == text


def test_a_tensor_of_more_than_8_elements_is_a_digest_in_a_comment() -> None:
    graph = constant_graph(ir.Constant("w", np.arange(9, dtype=np.float32)), ir.Constant("v", np.arange(8)))
    assert line_of(graph, "float[9] w =").startswith("float[9] w = {...},  # ")
    assert line_of(graph, "int64[8] v =") == "int64[8] v = {0, 1, 2, 3, 4, 5, 6, 7}"


def test_equal_tensors_have_equal_digests_and_other_content_type_or_shape_another() -> None:
    def digest(array: np.ndarray) -> str:
        return line_of(constant_graph(ir.Constant("w", array)), "{...}").partition("# ")[2]

    base = np.arange(12, dtype=np.float32)
    assert digest(base) == digest(base.copy())
    assert len({digest(a) for a in (base, base + 1, base.astype(np.float64), base.reshape(3, 4), -base)}) == 5


@pytest.mark.parametrize("inline", [True, False])
def test_the_digest_is_of_the_content_wherever_it_lies(tmp_path: Path, inline: bool) -> None:
    array = np.arange(4096, dtype=np.float32)
    graph = constant_graph(ir.Constant("w", array))
    ir.save(graph, tmp_path / "m.onnx", external=not inline)
    assert ir.to_text(ir.load(tmp_path / "m.onnx")) == ir.to_text(graph)


def test_reading_for_the_digest_maps_no_file_into_memory(tmp_path: Path) -> None:
    ir.save(constant_graph(ir.Constant("w", np.arange(4096.0))), tmp_path / "m.onnx", external=True)
    graph = ir.load(tmp_path / "m.onnx")
    text = ir.to_text(graph)
    values = graph.constants[0]._values
    assert values.file._map is None  # type: ignore[union-attr]
    (tmp_path / "m.onnx.data").write_bytes(b"")
    assert ir.to_text(graph.copy()) == text, "a stored weight is read once"


@pytest.mark.parametrize(
    ("array", "data", "readable"),
    [
        (np.array([1, -2], np.float16), "{15360, 49152}", "1.0, -2.0"),
        (np.array([1, 0.5], ml_dtypes.bfloat16), "{16256, 16128}", "1, 0.5"),
        (np.array([1, 2], ml_dtypes.float8_e4m3fn), "{56, 64}", "1, 2"),
        (np.array([1, -2, 3], ml_dtypes.int4), "{225, 3}", "1, -2, 3"),
    ],
)
def test_types_that_the_syntax_knows_as_bit_patterns_have_their_numbers_in_a_comment(
    array: np.ndarray, data: str, readable: str
) -> None:
    graph = constant_graph(ir.Constant("w", array))
    assert line_of(graph, "w = ").endswith(f"[{array.size}] w = {data}  # = {readable}")
    again = parse(ir.to_text(graph)).outputs[0]
    assert again.dtype == array.dtype and again.read().tobytes() == array.tobytes()


@pytest.mark.parametrize(
    "array",
    [
        np.array([0.1, 1e-30, np.inf, -np.inf, -0.0], np.float32),
        np.array([0.1, 1e300, np.nan]),
        np.array(7, np.int32),
        np.array([2**64 - 1, 0], np.uint64),
        np.array([True, False]),
        np.array([1 + 2j, 3 - 4j], np.complex64),
        np.array(["a b", 'q"\\', ""], object),
        np.zeros((0, 3), np.float32),
    ],
    ids=lambda array: str(array.dtype),
)
def test_small_tensors_are_read_back_exactly(array: np.ndarray) -> None:
    again = parse(ir.to_text(constant_graph(ir.Constant("w", array)))).outputs[0].read()
    assert again.dtype == array.dtype and again.shape == array.shape
    np.testing.assert_array_equal(again, array)


@given(st.floats(width=32))
def test_float_attributes_are_read_back_exactly(value: float) -> None:
    graph = parse(HEAD + "g (float x) => (float y) { y = LeakyRelu <alpha = 1.0> (x) }")
    graph.nodes[0].attrs["alpha"] = value
    assert np.array_equal(parse(ir.to_text(graph)).nodes[0].attrs["alpha"], value, equal_nan=True)


def test_types_of_intermediate_values_stand_in_a_comment() -> None:
    graph = parse(HEAD + "g (float[N] x) => (float[N] y) <float[N] z> { z, v = Foo (x) y = Abs (z) }")
    assert line_of(graph, "Foo") == "z, v = Foo (x)  # float[N], ?"
    assert line_of(graph, "Abs") == "y = Abs (z)", "the signature says it already"


@pytest.mark.parametrize("type_", ["float", "float[]", "int64[?,N]", "seq(float[N])", "optional(seq(int64[2]))"])
def test_types(type_: str) -> None:
    text = HEAD + f"g ({type_} x) => ({type_} y) {{\n  y = Identity (x)\n}}\n"
    assert ir.to_text(parse(text)) == text


def test_an_input_with_a_default_has_it_in_the_signature() -> None:
    graph = parse(HEAD + "g (float[2] x = {1, 2}) => (float[2] y) { y = Abs (x) }")
    assert line_of(graph, "=>") == "g (float[2] x = {1, 2}) => (float[2] y) {"


def test_a_long_signature_has_an_entry_a_line() -> None:
    inputs = ", ".join(f"float[batch,channels,height,width] input_{index}" for index in range(3))
    graph = parse(HEAD + f"g ({inputs}) => (float y) {{ y = Sum (input_0, input_1, input_2) }}")
    assert ir.to_text(graph).splitlines()[1:6] == [
        "g (",
        "  float[batch,channels,height,width] input_0,",
        "  float[batch,channels,height,width] input_1,",
        "  float[batch,channels,height,width] input_2",
        ") => (",
    ]
    assert ir.fingerprint(parse(ir.to_text(graph))) == ir.fingerprint(graph)


def test_metadata_of_the_model_are_in_its_header_and_the_rest_in_comments() -> None:
    graph = parse(HEAD.replace(">", ', producer_name: "me", metadata_props: ["k": "v"]>') + "g () => () { y = Foo () }")
    graph.doc_string, graph.metadata_props = "about the graph", {"a": "b"}
    node = graph.nodes[0]
    node.doc_string = "about the node, at some length: more than forty characters"
    node.metadata_props["from"] = "somewhere"
    text = ir.to_text(graph)
    assert text.startswith(
        HEAD.strip()[:-1] + ',\n producer_name: "me",\n metadata_props: ["k": "v"]>\n'
        'g () => () {\n  # doc_string: "about the graph"\n  # metadata_props: ["a": "b"]\n  y = Foo ()  # doc "about'
    )
    assert '..."' not in text and "... " in text, "what is cut off is marked outside the quotes"


def test_any_change_of_a_doc_string_or_of_metadata_shows() -> None:
    def text(doc: str, prop: str) -> str:
        graph = parse(HEAD + "g () => () { y = Foo () }")
        for holder in (graph.model, graph, graph.nodes[0]):
            holder.doc_string = doc
        graph.nodes[0].metadata_props["key"] = graph.metadata_props["key"] = prop
        return ir.to_text(graph)

    long = "x" * 500
    assert len({text("", ""), text(long, ""), text(long + "y", ""), text(long, "1"), text(long, long)}) == 5


def test_long_strings_and_lists_are_shortened_and_any_change_still_shows() -> None:
    def text(value: object) -> str:
        graph = parse(HEAD + "g () => () { y = Foo () }")
        graph.nodes[0].attrs["a"] = value
        return ir.to_text(graph)

    assert text([1] * 64).count("1,") == 63 and text(list(range(65))).count(",") < 20
    assert text(list(range(1000))) != text([*range(999), 0])
    assert len(text("x" * 100_000)) < 2000 and text("x" * 100_000) != text("x" * 99_999 + "y")
    with pytest.raises(onnx.parser.ParseError):  # no parser may take the part for the whole
        onnx.parser.parse_model(text("x" * 2000))


MODEL = HEAD + 'g (float[M] x) => (float y) <float[1] w = {1}> { [n] y = Foo <s = "v", a = 1> (x, w) }'
NAMES = ["a b", "a/b:0", 'a"b', "a\\", "float", "1st", "ünï", "日本"]


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_are_quoted_and_read_back(name: str) -> None:
    graph = parse(HEAD + "g (float[N] x) => (float[N] y) { [n] y = Abs (x) }")
    for holder in (graph, graph.nodes[0], graph.inputs[0], graph.outputs[0]):
        holder.name = name + "!" * (holder is graph.outputs[0])
    assert ir.fingerprint(parse(ir.to_text(graph))) == ir.fingerprint(graph)


@pytest.mark.parametrize("name", ["a\nb", "a\r\n}\n# b", "\u2028", "\x85", "\u202eabc", "\x00", "n" * 10_000])
def test_no_name_breaks_or_reorders_a_line(name: str) -> None:
    def text(name: str) -> str:
        graph = parse(MODEL)
        node = graph.nodes[0]
        node.name = node.doc_string = node.op = node.domain = node.overload = name
        node.attrs = {name: name, f"{name}b": [name, name.encode("utf-8", "surrogatepass")]}
        node.attrs["reference"] = ir.Node.AttributeRef(name, int)
        node.metadata_props[name] = graph.metadata_props[name] = graph.doc_string = graph.name = name
        graph.inputs[0].shape = [name]
        graph.inputs[0].name = graph.inputs[0].doc_string = graph.outputs[0].name = name
        return ir.to_text(graph)

    lines = text(name).removesuffix("\n").split("\n")
    assert len(lines) == len(text("n" * len(name)).splitlines())
    assert all(line.isprintable() for line in lines)


def test_different_names_look_different() -> None:
    names = ["a\nb", "a\\nb", "anb", "a\\\\nb", "a\x0ab ", "\u200b", "", "\\u200b", "\x85", "\\x85"]
    graph = parse(MODEL)
    texts = set()
    for name in names:
        graph.nodes[0].name = name
        texts.add(ir.to_text(graph))
    assert len(texts) == len(names)


def test_the_text_is_the_same_every_time_and_for_a_copy() -> None:
    graph = parse(MODEL)
    assert ir.to_text(graph) == ir.to_text(graph) == ir.to_text(graph.copy())


def test_a_function_alone() -> None:
    graph = parse(MODEL + '\n<domain: "d", opset_import: ["" : 17]> F (a) => (b) { b = Abs (a) }')
    assert (
        ir.to_text(graph.functions[0]) == '<domain: "d", opset_import: ["" : 17]>\nF (a) => (b) {\n  b = Abs (a)\n}\n'
    )


def test_a_weight_of_a_function_is_printed_as_the_node_that_it_is_written_as() -> None:
    graph = parse(MODEL + '\n<domain: "d", opset_import: ["" : 17]> F (a) => (b) { b = Abs (a) }')
    graph.functions[0].nodes[0].inputs.append(ir.Constant("k", np.float32([3])))
    assert line_of(graph, "Constant") == "k = Constant <value = float[1] {3}> ()"
    assert ir.to_text(ir.from_proto(ir.to_proto(graph))) == ir.to_text(graph)


def models(*kinds: str) -> Iterator[tuple[str, onnx.ModelProto]]:
    for kind in kinds:
        for case in load_model_tests(kind=kind):
            if case.model is not None:
                yield case.name, case.model
            elif case.model_dir is not None and (path := Path(case.model_dir) / "model.onnx").exists():
                yield case.name, onnx.load(path)


def check_read_back(*kinds: str) -> tuple[int, int]:
    """Every text without `{...}` parses to a model of that text; returns how many, and how many are wholly equal."""
    parsed = equal = 0
    for name, model in models(*kinds):
        graph = ir.from_proto(model)
        text = ir.to_text(graph)
        if "{...}" not in text:
            again = parse(text)
            assert ir.to_text(again) == text, "\n".join(difflib.ndiff([text], [ir.to_text(again)]))
            parsed += 1
            same = ir.fingerprint(again) == ir.fingerprint(graph)
            assert same or model.ir_version < 4, f"{name}: only these list initializers as inputs"
            equal += same
    return parsed, equal


def test_conformance_models_are_read_back_equal() -> None:
    parsed, equal = check_read_back("simple", "pytorch-converted", "pytorch-operator")
    assert parsed >= 100 and equal >= 90


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_all_node_models_are_read_back_equal() -> None:
    parsed, equal = check_read_back("node")
    assert parsed == equal >= 1860
