"""What is no good model is refused in one line, quickly, and at no cost in memory."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, ModelProto, TensorProto, helper, numpy_helper

from onnxopt import ir
from onnxopt.errors import BadModel, OnnxoptError
from onnxopt.ir import wire

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
FLOAT = TensorProto.FLOAT


def small_model() -> ModelProto:
    """y = x + w, then an If that negates."""
    value = helper.make_tensor_value_info
    branch = helper.make_graph([helper.make_node("Neg", ["y"], ["n"])], "b", [], [value("n", FLOAT, [2])])
    other = helper.make_graph([helper.make_node("Abs", ["y"], ["m"])], "o", [], [value("m", FLOAT, [2])])
    nodes = [
        helper.make_node("Add", ["x", "w"], ["y"], name="add"),
        helper.make_node("If", ["c"], ["z"], name="choose", then_branch=branch, else_branch=other),
    ]
    weights = numpy_helper.from_array(np.ones(2, np.float32), "w")
    inputs = [value("x", FLOAT, ["N", 2]), value("c", TensorProto.BOOL, [])]
    return helper.make_model(helper.make_graph(nodes, "g", inputs, [value("z", FLOAT, ["N", 2])], [weights]))


def refusal(content: bytes | ModelProto, tmp_path: Path) -> str:
    """The message that a file of this content gets."""
    path = tmp_path / "bad.onnx"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    with pytest.raises(BadModel) as error:
        ir.load(path)
    assert error.value.exit_code == 2 and "\n" not in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
    return str(error.value).removeprefix(f"{path}: ")


def test_files_that_are_no_models(tmp_path: Path) -> None:
    assert refusal(b"", tmp_path) == "the file is empty"
    assert refusal(b"%PDF-1.7 not a model", tmp_path) == "truncated, or not an ONNX file"
    assert refusal(b"\x08\x07", tmp_path) == "not an ONNX file, or a truncated one: it has no graph"
    assert refusal(small_model().graph, tmp_path)  # type: ignore[arg-type]
    whole = small_model().SerializeToString()
    assert refusal(whole[: len(whole) // 2], tmp_path) == "truncated, or not an ONNX file"


@pytest.mark.parametrize("name", ["missing.onnx", "nul\0.onnx", "folder", "x" * 300])
def test_paths_that_are_no_files(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(BadModel, match=r"no such file|not a file|cannot be read"):
        ir.load(tmp_path / name)


def test_a_file_over_protobufs_limit_is_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)  # a hole
    with pytest.raises(BadModel, match=r"2\.1 GB, but an ONNX file holds at most 2 GB; weights go into external data"):
        ir.load(path)


def spoil_input_twice(model: ModelProto) -> None:
    model.graph.input.append(model.graph.input[0])


def spoil_output_twice(model: ModelProto) -> None:
    model.graph.output.add().CopyFrom(helper.make_tensor_value_info("z", FLOAT, [3]))


def spoil_value_twice(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("Neg", ["x"], ["y"], name="again"))


def spoil_initializer_twice(model: ModelProto) -> None:
    model.graph.initializer.append(model.graph.initializer[0])


def spoil_name_of_initializer(model: ModelProto) -> None:
    model.graph.node[0].output[0] = "w"


def spoil_missing_value(model: ModelProto) -> None:
    model.graph.node[0].input[1] = "nowhere"


def spoil_missing_output(model: ModelProto) -> None:
    model.graph.output[0].name = "nowhere"


def spoil_inner_value(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("Neg", ["n"], ["k"]))  # `n` is the branch's


def spoil_attribute_twice(model: ModelProto) -> None:
    model.graph.node[0].attribute.extend([helper.make_attribute("k", 1), helper.make_attribute("k", 2)])


def spoil_attribute_type(model: ModelProto) -> None:
    model.graph.node[0].attribute.add(name="k", type=AttributeProto.INT, f=1.0)


def spoil_attribute_two_values(model: ModelProto) -> None:
    model.graph.node[0].attribute.add(name="k", type=AttributeProto.INT, i=1, ints=[2])


def spoil_attribute_empty(model: ModelProto) -> None:
    model.graph.node[0].attribute.add(name="k")


def spoil_attribute_without_graph(model: ModelProto) -> None:
    model.graph.node[0].attribute.add(name="k", type=AttributeProto.GRAPH)


def spoil_negative_dim(model: ModelProto) -> None:
    model.graph.initializer[0].dims[0] = -2


def spoil_short_data(model: ModelProto) -> None:
    model.graph.initializer[0].raw_data = b"123"


def spoil_field(model: ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.int64_data.extend([1, 2])


def spoil_element_type(model: ModelProto) -> None:
    model.graph.initializer[0].data_type = 1000


def spoil_no_element_type(model: ModelProto) -> None:
    model.graph.initializer[0].ClearField("data_type")


def spoil_segments(model: ModelProto) -> None:
    model.graph.initializer[0].segment.end = 1


def spoil_opset(model: ModelProto) -> None:
    model.opset_import[0].version = 2**40


def spoil_metadata(model: ModelProto) -> None:
    for value in "ab":
        model.graph.node[0].metadata_props.add(key="k", value=value)


SPOILT: dict[Callable[[ModelProto], None], str] = {
    spoil_input_twice: "input 'x' is listed twice",
    spoil_output_twice: "output 'z' is listed twice, and declared in two ways",
    spoil_value_twice: "value 'y' is produced twice, the second time by node 'again' (Neg)",
    spoil_initializer_twice: "initializer 'w' is given twice",
    spoil_name_of_initializer: "value 'w' is produced twice, the second time by node 'add' (Add)",
    spoil_missing_value: "node 'add' (Add) reads 'nowhere', which nothing produces",
    spoil_missing_output: "output 'nowhere' of graph 'g' is produced by no node",
    spoil_inner_value: "node (Neg) of 'k' reads 'n', which nothing produces",
    spoil_attribute_twice: "attribute 'k' of node 'add' (Add) is given twice",
    spoil_attribute_type: "attribute 'k' of node 'add' (Add) has a value that is not of its type",
    spoil_attribute_two_values: "attribute 'k' of node 'add' (Add) has a value that is not of its type",
    spoil_attribute_empty: "attribute 'k' of node 'add' (Add) has no value of its type",
    spoil_attribute_without_graph: "attribute 'k' of node 'add' (Add) has no value of its type",
    spoil_negative_dim: "tensor 'w' has a negative dimension: [-2]",
    spoil_short_data: "tensor 'w' of shape [2] needs 8 bytes, but it has 3",
    spoil_field: "tensor 'w' of shape [2] needs 2 float_data, but it has 0",
    spoil_element_type: "tensor 'w' has element type 1000, which this installation of onnx lacks",
    spoil_no_element_type: "tensor 'w' has element type 0, which this installation of onnx lacks",
    spoil_segments: "tensor 'w' is split into segments, which no version of ONNX has defined",
    spoil_opset: "the model imports opset 1099511627776 of domain ''",
    spoil_metadata: "NodeProto 'add' has two metadata entries of one key: ['k']",
}


@pytest.mark.parametrize(("spoil", "message"), SPOILT.items(), ids=lambda item: getattr(item, "__name__", ""))
def test_a_model_that_contradicts_itself(spoil: Callable[[ModelProto], None], message: str, tmp_path: Path) -> None:
    model = small_model()
    spoil(model)
    assert refusal(model, tmp_path) == message


@pytest.mark.parametrize("where", [b"add", b"branch", b"z", b"Neg", b"k", b"doc", b"dim", b"prop", b"maker"])
def test_texts_that_are_not_utf_8(where: bytes, tmp_path: Path) -> None:
    """protobuf hands them out as bytes, and takes none back."""
    model = small_model()
    model.producer_name = "maker"
    model.graph.node[0].attribute.append(helper.make_attribute("k", 1, doc_string="doc"))
    model.graph.node[1].attribute[0].g.name = "branch"
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "dim"
    model.graph.node[0].metadata_props.add(key="prop", value="v")
    content = model.SerializeToString()
    at = bytes([len(where)]) + where
    assert at in content
    assert "not UTF-8" in refusal(content.replace(at, bytes([len(where)]) + b"\xff" * len(where)), tmp_path)


def test_line_breaks_in_names_do_not_break_the_line(tmp_path: Path) -> None:
    model = small_model()
    model.graph.node[0].input[0] = "two\nlines\u2028\x07"
    assert refusal(model, tmp_path) == "node 'add' (Add) reads 'two\\nlines\\u2028\\x07', which nothing produces"


def test_a_small_file_cannot_ask_for_much_memory(tmp_path: Path) -> None:
    dense = small_model()
    dense.graph.initializer[0].dims[:] = [2**40, 2**40]
    sparse = small_model()
    values = helper.make_tensor("s", FLOAT, [1], [1.0])
    indices = helper.make_tensor("", TensorProto.INT64, [1], [7])
    sparse.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [10**6, 10**6]))
    path = tmp_path / "sparse.onnx"
    path.write_bytes(sparse.SerializeToString())
    tracemalloc.start()
    try:
        assert "needs 4835703278458516698824704 bytes" in refusal(dense, tmp_path)
        graph = ir.load(path)
        assert ir.to_proto(graph.copy()) == sparse
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


def test_dimensions_that_no_array_has_are_named_when_the_values_are_read(tmp_path: Path) -> None:
    model = small_model()
    model.graph.initializer.append(TensorProto(name="none", data_type=FLOAT, dims=[2**62, 2**62, 0]))
    model.graph.initializer.append(TensorProto(name="deep", data_type=FLOAT, dims=[1] * 70, float_data=[1]))
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    graph = ir.load(path)  # carried through
    assert ir.to_proto(graph) == model
    for constant in graph.constants[1:]:
        with pytest.raises(BadModel, match=f"tensor '{constant.name}' of shape .* makes no array"):
            constant.read()


def test_a_tensor_without_a_name_is_not_what_an_omitted_input_reads(tmp_path: Path) -> None:
    model = small_model()
    model.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), ""))
    model.graph.node[0].input.append("")
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    graph = ir.load(path)
    assert isinstance(graph.nodes[0].inputs[2], ir.Variable)
    assert ir.to_proto(graph) == model


def sized(number: int, content: bytes) -> bytes:
    """A field of protobuf's encoding that holds a message or bytes."""
    length = len(content)
    return bytes([number << 3 | 2, length & 127 | 128, length >> 7 & 127 | 128, length >> 14]) + content


def test_a_tensor_that_spells_out_each_number_is_left_to_protobuf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A walk over a hundred million fields in Python would take minutes."""
    model = small_model()
    tensor = model.graph.initializer.pop().SerializeToString() + b"\x25\x00\x00\x00\x00" * 10_000  # float_data
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString() + sized(7, sized(5, tensor)))  # a second graph: protobuf merges them
    looks = 0
    look = wire._varint

    def counted(*args: Any) -> tuple[int, int]:
        nonlocal looks
        looks += 1
        return look(*args)

    monkeypatch.setattr(wire, "_varint", counted)
    monkeypatch.setattr(import_module("onnxopt.ir.load"), "_IN_PLACE", 0)
    monkeypatch.setattr(import_module("onnxopt.ir.load"), "_LARGE", 1)
    assert ir.load(path).constants[0].read().tolist() == [1, 1]
    assert looks < 500


def test_subgraphs_nested_too_deeply_for_protobuf(tmp_path: Path) -> None:
    graph = b""
    for _ in range(50):
        graph = sized(1, sized(5, b"\xa0\x01\x05" + sized(6, graph)))  # GraphProto.node, .attribute, .type and .g
    assert refusal(b"\x08\x08" + sized(7, graph), tmp_path) == "nested too deeply"


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Cut off, with bits flipped, bytes missing, or bytes put in between."""
    data = bytearray(content)
    at = rng.randrange(len(data))
    match rng.randrange(4):
        case 0:
            del data[at:]
        case 1:
            for _ in range(rng.choice([1, 1, 3, 20])):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case 2:
            del data[at : at + rng.randrange(1, 9)]
        case _:
            data[at:at] = rng.randbytes(rng.randrange(1, 9))
    return bytes(data)


def test_damaged_files_load_or_are_refused(tmp_path: Path) -> None:
    rng = random.Random(20)
    contents = [path.read_bytes() for path in sorted(DATA.rglob("*.onnx")) if path.stat().st_size < 5000]
    contents += [small_model().SerializeToString()] * 20
    path = tmp_path / "damaged.onnx"
    outcomes = {True: 0, False: 0}
    for _ in range(2000):
        path.write_bytes(damaged(rng.choice(contents), rng))
        try:
            graph = ir.load(path)
            for scope in ir.every_graph(graph):
                for constant in scope.constants:
                    constant.read()
            ir.to_proto(graph.copy())
            ir.sort(graph)
            outcomes[True] += 1
        except OnnxoptError as error:
            assert "\n" not in str(error)
            outcomes[False] += 1
    assert min(outcomes.values()) > 100
