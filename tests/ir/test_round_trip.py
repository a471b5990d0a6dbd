"""Load and save lose nothing: a model comes back field for field, empty fields included."""

from __future__ import annotations

import warnings
from importlib import import_module
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import AttributeProto as A
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, helper, numpy_helper
from onnx.backend.test.loader import load_model_tests

from benchmarks.same_model import difference
from onnxopt import ir
from tests.conformance import model_of

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
FLOAT = TensorProto.FLOAT


LOAD = import_module("onnxopt.ir.load")


def assert_round_trip(model: ModelProto, tmp_path: Path) -> ir.Graph:
    """Through files, with the weights parsed and with the weights left in the file, and as a copy in memory."""
    given, saved = tmp_path / "given.onnx", tmp_path / "saved.onnx"
    given.write_bytes(model.SerializeToString())
    for least in (0, LOAD._IN_PLACE):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LOAD, "_IN_PLACE", least)
            patch.setattr(LOAD, "_LARGE", 1)
            graph = ir.load(given)
        ir.save(graph, saved, sync=False)
        assert difference(model, ModelProto.FromString(saved.read_bytes())) == ""
        assert difference(model, ir.to_proto(graph.copy())) == ""
    return graph


def small_model(**fields: object) -> ModelProto:
    """y = x + w."""
    return helper.make_model(
        helper.make_graph(
            [helper.make_node("Add", ["x", "w"], ["y"], name="add")],
            "graph",
            [helper.make_tensor_value_info("x", FLOAT, ["N", 2])],
            [helper.make_tensor_value_info("y", FLOAT, ["N", 2])],
            [numpy_helper.from_array(np.ones(2, np.float32), "w")],
        ),
        **fields,
    )


@pytest.fixture(scope="module")
def node_models() -> list[tuple[str, ModelProto]]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return [(case.name, model_of(case)) for case in load_model_tests(kind="node")]


def test_every_tenth_conformance_model(node_models: list[tuple[str, ModelProto]], tmp_path: Path) -> None:
    """benchmarks/round_trip.py takes them all."""
    for _, model in node_models[::10]:
        assert_round_trip(model, tmp_path)


@pytest.mark.parametrize("path", sorted(DATA.rglob("*.onnx"))[::8], ids=lambda path: path.parent.name)
def test_every_eighth_model_file_of_the_onnx_wheel(path: Path, tmp_path: Path) -> None:
    assert_round_trip(ModelProto.FromString(path.read_bytes()), tmp_path)


def test_what_a_model_says_of_itself(tmp_path: Path) -> None:
    model = small_model(
        producer_name="maker", producer_version="1.2", domain="org.example", model_version=7, doc_string="a model",
        ir_version=11,
    )  # fmt: skip
    helper.set_model_props(model, {"author": "someone", "empty": ""})
    model.opset_import.add(domain="unused.domain", version=3)
    model.graph.doc_string = ""  # there, and empty
    model.graph.metadata_props.add(key="of", value="graph")
    model.graph.node[0].metadata_props.add(key="of", value="node")
    model.graph.node[0].doc_string = "adds"
    model.graph.node[0].overload = ""
    model.graph.initializer[0].doc_string = "weights"
    model.graph.initializer[0].metadata_props.add(key="of", value="initializer")
    model.graph.input[0].doc_string = "an input"
    model.graph.input[0].metadata_props.add(key="of", value="input")
    model.graph.input[0].type.denotation = "TENSOR"
    model.graph.input[0].type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    graph = assert_round_trip(model, tmp_path)
    assert graph.producer_name == "maker" and graph.nodes[0].metadata_props == {"of": "node"}


@pytest.mark.parametrize("presence", ["none", "empty"])
def test_a_text_that_is_not_there_is_not_an_empty_one(presence: str, tmp_path: Path) -> None:
    model = small_model()
    for message, field in (
        (model, "producer_name"), (model, "doc_string"), (model.graph, "name"), (model.graph, "doc_string"),
        (model.graph.node[0], "name"), (model.graph.node[0], "domain"), (model.graph.node[0], "doc_string"),
        (model.graph.node[0], "overload"), (model.graph.input[0], "doc_string"),
        (model.graph.initializer[0], "doc_string"),
    ):  # fmt: skip
        message.ClearField(field)
        if presence == "empty":
            setattr(message, field, "")
    assert_round_trip(model, tmp_path)


def test_an_initializer_that_is_an_input_is_constant_up_to_ir_version_3(tmp_path: Path) -> None:
    model = small_model(ir_version=3)
    listed = helper.make_tensor_value_info("w", FLOAT, ["K"])
    listed.doc_string = "listed"
    model.graph.input.insert(0, listed)
    graph = assert_round_trip(model, tmp_path)
    assert [tensor.name for tensor in graph.inputs] == ["x"]
    assert isinstance(graph.nodes[0].inputs[1], ir.Constant)


def test_an_initializer_that_is_an_input_is_a_default_from_ir_version_4_on(tmp_path: Path) -> None:
    model = small_model(ir_version=8)
    model.graph.input.insert(0, helper.make_tensor_value_info("w", FLOAT, [2]))
    graph = assert_round_trip(model, tmp_path)
    default = graph.inputs[0]
    assert isinstance(default, ir.Variable) and default.default is not None
    default.name = "renamed"
    saved = ir.to_proto(graph).graph
    assert [tensor.name for tensor in saved.initializer] == [saved.input[0].name] == ["renamed"]


def test_initializers_that_nobody_reads_are_kept(tmp_path: Path) -> None:
    model = small_model()
    model.graph.initializer.append(numpy_helper.from_array(np.arange(3), "spare"))
    assert len(assert_round_trip(model, tmp_path).unused) == 1


def test_value_infos_that_are_stale_or_doubled(tmp_path: Path) -> None:
    model = small_model()
    for name, shape in (("gone", [1]), ("w", [2]), ("w", [9]), ("x", [3]), ("y", [4]), ("y", [5]), ("gone", [2])):
        model.graph.value_info.append(helper.make_tensor_value_info(name, FLOAT, shape))
    assert_round_trip(model, tmp_path)


def test_types_that_are_no_tensors(tmp_path: Path) -> None:
    tensor = helper.make_tensor_type_proto(FLOAT, ["N", None, 3])
    key_value = TypeProto()
    key_value.map_type.key_type = TensorProto.STRING
    key_value.map_type.value_type.CopyFrom(tensor)
    opaque = TypeProto(opaque_type=TypeProto.Opaque(domain="d", name="n"))
    types = [
        helper.make_sequence_type_proto(tensor),
        helper.make_sequence_type_proto(helper.make_sequence_type_proto(tensor)),
        helper.make_optional_type_proto(tensor),
        helper.make_optional_type_proto(helper.make_sequence_type_proto(tensor)),
        helper.make_sparse_tensor_type_proto(FLOAT, [2, "M"]),
        helper.make_sequence_type_proto(key_value),
        key_value,
        opaque,
        helper.make_tensor_type_proto(FLOAT, None),
        TypeProto(),
    ]
    names = [f"v{index}" for index in range(len(types))]
    infos = [helper.make_value_info(name, type_) for name, type_ in zip(names, types, strict=True)]
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in names]
    outputs = [helper.make_value_info(f"{info.name}_out", info.type) for info in infos]
    assert_round_trip(helper.make_model(helper.make_graph(nodes, "g", infos, outputs)), tmp_path)


def test_a_value_info_without_a_type(tmp_path: Path) -> None:
    model = small_model()
    model.graph.output[0].ClearField("type")
    model.graph.input[0].type.tensor_type.ClearField("elem_type")
    assert_round_trip(model, tmp_path)


@pytest.mark.parametrize("code", sorted(set(TensorProto.DataType.values()) - {TensorProto.UNDEFINED}))
@pytest.mark.parametrize("raw", [True, False], ids=["raw_data", "typed_field"])
def test_every_element_type_in_either_field(code: int, raw: bool, tmp_path: Path) -> None:
    dtype = helper.tensor_dtype_to_np_dtype(code)
    if code == TensorProto.STRING:
        tensor = helper.make_tensor("w", code, [3], [b"a", "ü".encode(), b"\xff\xfe not UTF-8"])
    else:
        array = np.array([1, 0, 1], np.float32).astype(dtype)
        tensor = numpy_helper.from_array(array, "w")
        if not raw:
            tensor = _in_typed_field(tensor)
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Identity", ["w"], ["y"])],
            "g",
            [],
            [helper.make_tensor_value_info("y", code, [3])],
            [tensor],
        )
    )
    graph = assert_round_trip(model, tmp_path)
    constant = graph.nodes[0].inputs[0]
    assert constant.dtype == dtype and constant.shape == (3,)
    before = constant.read().tolist()
    constant.values = constant.values.copy()  # touched: written anew, and still the same
    saved = ir.from_proto(ir.to_proto(graph)).nodes[0].inputs[0]
    assert saved.dtype == dtype and str(saved.read().tolist()) == str(before)  # as text: NaN is not NaN


def _in_typed_field(tensor: TensorProto) -> TensorProto:
    """The same tensor with its numbers in `float_data`, `int32_data`, ...: as onnx.proto lays them out."""
    raw = tensor.raw_data
    tensor.ClearField("raw_data")
    code = tensor.data_type
    if code in (TensorProto.FLOAT, TensorProto.COMPLEX64):
        tensor.float_data.extend(np.frombuffer(raw, np.float32))
    elif code in (TensorProto.DOUBLE, TensorProto.COMPLEX128):
        tensor.double_data.extend(np.frombuffer(raw, np.float64))
    elif code == TensorProto.INT64:
        tensor.int64_data.extend(np.frombuffer(raw, np.int64))
    elif code in (TensorProto.UINT32, TensorProto.UINT64):
        tensor.uint64_data.extend(np.frombuffer(raw, helper.tensor_dtype_to_np_dtype(code)))
    else:
        width = {TensorProto.INT32: np.int32, TensorProto.INT16: np.int16, TensorProto.UINT16: np.uint16}
        two_bytes = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
        tensor.int32_data.extend(np.frombuffer(raw, width.get(code, np.uint16 if code in two_bytes else np.uint8)))
    return tensor


@pytest.mark.parametrize("linear", [True, False], ids=["linear_indices", "coordinates"])
def test_sparse_initializers(linear: bool, tmp_path: Path) -> None:
    values = helper.make_tensor("w", FLOAT, [2], [1.5, 2.5])
    indices = helper.make_tensor("i", TensorProto.INT64, [2] if linear else [2, 2], [1, 5] if linear else [0, 1, 1, 2])
    model = small_model()
    del model.graph.initializer[:]
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2, 3]))
    graph = assert_round_trip(model, tmp_path)
    np.testing.assert_array_equal(graph.nodes[0].inputs[1].read(), [[0, 1.5, 0], [0, 0, 2.5]])


def test_quantization_annotations_and_training_info(tmp_path: Path) -> None:
    model = small_model()
    annotation = model.graph.quantization_annotation.add(tensor_name="y")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="w")
    training = model.training_info.add()
    training.algorithm.node.append(helper.make_node("Add", ["w", "w"], ["w2"]))
    training.update_binding.add(key="w", value="w2")
    assert_round_trip(model, tmp_path)


def test_device_configurations(tmp_path: Path) -> None:
    model = small_model(ir_version=11)
    model.configuration.add(name="two", num_devices=2)
    model.graph.node[0].device_configurations.add(configuration_id="two", pipeline_stage=1)
    assert_round_trip(model, tmp_path)


def every_kind_of_attribute() -> list[A]:
    tensor = numpy_helper.from_array(np.arange(4.0, dtype=np.float32), "inside")
    tensor.doc_string = "of the tensor"
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("s", FLOAT, [1], [1.0]), helper.make_tensor("", TensorProto.INT64, [1], [7]), [3, 3]
    )
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["inner"], doc_string="reads an outer value")],
        "body",
        [],
        [helper.make_empty_tensor_value_info("inner")],
    )
    type_ = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, [2]))
    values = [3, 0, -(2**63), 1.5, 0.0, float("nan"), "text", b"\xff\xfe", "", tensor, graph, sparse, type_]
    values += [[1, 2], [1.0, -0.0, float("inf")], ["a", b"\xff"], [tensor] * 2, [graph] * 2, [sparse] * 2, [type_] * 2]
    attributes = [helper.make_attribute(f"a{index}", value) for index, value in enumerate(values)]
    lists = (A.FLOATS, A.INTS, A.STRINGS, A.TENSORS, A.GRAPHS, A.SPARSE_TENSORS, A.TYPE_PROTOS)
    attributes += [A(name=f"no{code}", type=code) for code in lists]
    attributes += [A(name=f"unset{code}", type=code) for code in (A.INT, A.FLOAT, A.STRING)]  # proto3 writers skip 0
    attributes += [A(name="old", i=3), A(name="old_list", floats=[1.0])]  # files before IR version 2 give no type
    attributes[0].doc_string = "documented"
    attributes[-3].doc_string = ""
    return attributes


def test_attributes_of_every_kind(tmp_path: Path) -> None:
    model = small_model()
    model.graph.node[0].attribute.extend(every_kind_of_attribute())
    node = assert_round_trip(model, tmp_path).nodes[0]
    assert node.attrs["a6"] == "text" and node.attrs["a7"] == b"\xff\xfe" and node.attrs["unset2"] == 0
    node.attrs["unset2"] = 5
    saved = {attribute.name: attribute for attribute in ir.to_proto(node_graph(node, model)).graph.node[0].attribute}
    assert saved["unset2"].i == 5


def node_graph(node: ir.Node, model: ModelProto) -> ir.Graph:
    """A graph around one node that was taken out of a model."""
    graph = ir.from_proto(model)
    graph.nodes[:] = [node]
    graph.outputs = list(node.outputs)
    return graph


def model_with_functions() -> ModelProto:
    opset = [helper.make_opsetid("", 13), helper.make_opsetid("my", 2)]
    reference = A(name="alpha", type=A.FLOAT, ref_attr_name="slope")
    tensor_reference = A(name="value", type=A.TENSOR, ref_attr_name="table")
    tensor_reference.t.CopyFrom(helper.make_tensor("", FLOAT, [1], [0.0]))  # as graphsurgeon writes it, for viewers
    leaky, table = NodeProto(op_type="LeakyRelu"), NodeProto(op_type="Constant")
    leaky.input.append("a"), leaky.output.append("b"), leaky.attribute.append(reference)
    table.output.append("c"), table.attribute.append(tensor_reference)
    functions = []
    for overload in ("", "second"):
        function = helper.make_function(
            "my", "Scaled", ["a", "unread"], ["b", "c", "a"], [leaky, table], opset, ["table"],
            [helper.make_attribute("slope", 0.5)], doc_string="a function",
        )  # fmt: skip
        function.overload = overload
        function.metadata_props.add(key="of", value="function")
        for name, shape in (("a", ["N"]), ("b", ["N"]), ("c", [1]), ("stale", [7])):
            function.value_info.append(helper.make_tensor_value_info(name, FLOAT, shape))
        functions.append(function)
    bare = onnx.FunctionProto(name="Bare", node=[helper.make_node("Identity", ["a"], ["b"])], opset_import=opset[:1])
    bare.input.append("a"), bare.output.append("b")
    calls = [
        helper.make_node("Scaled", ["x", ""], ["y", "", ""], domain="my", overload="second", name="call"),
        helper.make_node("Scaled", ["x"], ["z"], domain="my"),
    ]
    calls[0].attribute.append(helper.make_attribute("table", numpy_helper.from_array(np.ones(1, np.float32))))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(calls, "g", [value("x", FLOAT, [2])], [value("y", FLOAT, [2]), value("z", FLOAT, [2])])
    return helper.make_model(graph, functions=[*functions, bare], opset_imports=opset, ir_version=10)


def test_functions_with_overloads_references_and_value_infos(tmp_path: Path) -> None:
    graph = assert_round_trip(model_with_functions(), tmp_path)
    assert [function.overload for function in graph.functions] == ["", "second", ""]
    assert graph.functions[0].opset_of("my") == 2 and graph.functions[0].inputs[0].shape == ["N"]
    assert isinstance(graph.functions[0].nodes[0].attrs["alpha"], ir.Node.AttributeRef)


def test_a_subgraph_in_a_function_has_the_functions_opsets() -> None:
    model = model_with_functions()
    branch = helper.make_graph([], "branch", [], [helper.make_empty_tensor_value_info("a")])
    model.functions[0].node.append(helper.make_node("If", ["a"], ["d"], then_branch=branch, else_branch=branch))
    model.opset_import[0].version = 17
    graph = ir.from_proto(model)
    assert graph.opset == 17
    assert [subgraph.opset for subgraph in graph.functions[0].subgraphs()] == [13, 13]


def nested(depth: int) -> GraphProto:
    """Subgraphs in subgraphs, each with an initializer of its own; the innermost reads the outermost values."""
    name = f"level{depth}"
    nodes = [helper.make_node("Add", ["x", f"{name}_w"], [name])]
    if depth:
        branches = {"then_branch": nested(depth - 1), "else_branch": nested(depth - 1)}
        nodes = [helper.make_node("If", ["c"], [f"{name}_if"], **branches), *nodes]
    weight = numpy_helper.from_array(np.ones(2, np.float32), f"{name}_w")
    return helper.make_graph(nodes, name, [], [helper.make_empty_tensor_value_info(name)], [weight])


def test_subgraphs_that_read_outer_values(tmp_path: Path) -> None:
    graph = nested(3)
    graph.input.append(helper.make_tensor_value_info("x", FLOAT, [2]))
    graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    assert_round_trip(helper.make_model(graph), tmp_path)


def test_a_graph_output_that_is_an_input_an_initializer_or_given_out_by_a_subgraph(tmp_path: Path) -> None:
    model = small_model()
    model.graph.output.append(helper.make_tensor_value_info("x", FLOAT, ["M", 2]))
    model.graph.output.append(helper.make_tensor_value_info("w", FLOAT, ["K"]))
    model.graph.value_info.append(helper.make_tensor_value_info("w", FLOAT, [2]))
    branch = helper.make_graph([], "branch", [], [helper.make_tensor_value_info("h", FLOAT, ["B", 2])])
    model.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch))
    model.graph.node.append(helper.make_node("Relu", ["y"], ["h"]))
    model.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    assert_round_trip(model, tmp_path)


def test_an_empty_graph(tmp_path: Path) -> None:
    assert_round_trip(ModelProto(ir_version=8, graph=GraphProto()), tmp_path)


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4)
attributes = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(width=32),
    st.text(max_size=4),
    st.binary(max_size=4),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=3),
    st.lists(st.floats(width=32), min_size=1, max_size=3),
    st.lists(st.text(max_size=3), min_size=1, max_size=3),
)


@st.composite
def models(draw: st.DrawFn) -> ModelProto:
    """Random graphs: any names, omitted inputs and outputs, any attributes, any order of nodes."""
    values = draw(st.lists(names.filter(bool), min_size=3, max_size=12, unique=True))
    cut = draw(st.integers(1, len(values) - 1))
    sources, made = values[:cut], values[cut:]
    nodes = []
    for name in made:
        inputs = draw(st.lists(st.sampled_from([*values, ""]), max_size=4))
        outputs = draw(st.permutations([name, *draw(st.sampled_from([[], [""], ["", ""]]))]))
        node = helper.make_node(
            draw(names), inputs, outputs, name=draw(names), domain=draw(st.sampled_from([None, "", "d"]))
        )
        for key, value in draw(st.dictionaries(names, attributes, max_size=3)).items():
            node.attribute.append(helper.make_attribute(key, value))
        nodes.append(node)
    given_out = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True))
    shapes = st.one_of(st.none(), st.lists(st.one_of(st.none(), names, st.integers(-1, 9)), max_size=3))
    info = helper.make_tensor_value_info
    initializers = draw(st.lists(st.sampled_from(sources), unique=True))
    return helper.make_model(
        helper.make_graph(
            nodes,
            draw(names),
            [info(name, FLOAT, draw(shapes)) for name in sources if name not in initializers or draw(st.booleans())],
            [info(name, FLOAT, draw(shapes)) for name in given_out],
            [helper.make_tensor(name, TensorProto.INT64, [1], [draw(st.integers(0, 9))]) for name in initializers],
            draw(names),
            [info(draw(st.sampled_from(values)), FLOAT, draw(shapes)) for _ in range(draw(st.integers(0, 3)))],
        ),
        ir_version=draw(st.sampled_from([3, 4, 8])),
        opset_imports=[helper.make_opsetid("", 13), helper.make_opsetid("d", 1)],
    )


@settings(max_examples=150, deadline=None)
@given(models())
def test_random_models(model: ModelProto) -> None:
    graph = ir.from_proto(ModelProto.FromString(model.SerializeToString()))
    assert difference(model, ir.to_proto(graph)) == ""
    assert difference(model, ir.to_proto(graph.copy())) == ""
