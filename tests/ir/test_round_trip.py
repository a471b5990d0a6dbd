"""Load and save lose nothing: a model comes back field for field, empty fields included."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import GraphProto, ModelProto, TensorProto, TypeProto, helper, numpy_helper
from onnx.backend.test.loader import load_model_tests

from benchmarks.same_model import difference
from onnxopt import ir
from tests.conformance import model_of
from tests.ir.round_trip import FLOAT, assert_round_trip, small_model

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"


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
