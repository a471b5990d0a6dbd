"""External data: what a model may name, and that weights stay in their files until somebody reads them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnxopt import ir
from onnxopt.errors import BadModel, UnsafePath

FLOAT = TensorProto.FLOAT
WEIGHTS = np.arange(512, dtype=np.float32)


def reference(name: str, dims: list[int] | None = None, code: int = FLOAT, **entries: object) -> TensorProto:
    """A TensorProto whose data are elsewhere."""
    tensor = TensorProto(name=name, data_type=code, dims=[512] if dims is None else dims)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "w.bin", **entries}.items():
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    return tensor


def model_of(*tensors: TensorProto) -> ModelProto:
    """y = x + every tensor."""
    nodes, last = [], "x"
    for index, tensor in enumerate(tensors):
        nodes.append(helper.make_node("Add", [last, tensor.name], [f"y{index}"]))
        last = f"y{index}"
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [value("x", FLOAT, [512])], [value(last, FLOAT, [512])], list(tensors))
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def write(folder: Path, model: ModelProto, data: bytes = WEIGHTS.tobytes()) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "w.bin").write_bytes(data)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx"


def run(path: Path) -> np.ndarray:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, {"x": np.zeros(512, np.float32)})[0]
    return found


def test_values_are_read_where_they_lie(tmp_path: Path) -> None:
    graph = ir.load(write(tmp_path, model_of(reference("w", offset=0, length=2048), reference("part", [], offset=4))))
    whole, part = graph.constants
    assert whole.is_stored and part.is_stored and whole.nbytes == 2048
    np.testing.assert_array_equal(whole.read(), WEIGHTS)
    assert part.read() == WEIGHTS[1] and whole.is_stored
    with pytest.raises(ValueError, match="read-only"):
        whole.read()[0] = 1
    whole.values[0] = 9
    assert not whole.is_stored and whole.read()[0] == 9


def test_nothing_is_read_at_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, model_of(reference("w")))
    monkeypatch.setattr("mmap.mmap", None)
    graph = ir.load(path)
    ir.save(graph, tmp_path / "out.onnx")  # nor at save: it is copied from file to file


def test_sub_byte_and_empty_tensors(tmp_path: Path) -> None:
    tensors = [reference("four", [3], TensorProto.INT4, length=2), reference("none", [0, 7], offset=2048, length=0)]
    graph = ir.load(write(tmp_path, model_of(*tensors), bytes([0x21, 0x03]) + bytes(2046)))
    assert [constant.read().shape for constant in graph.constants] == [(3,), (0, 7)]
    assert graph.constants[0].read().tolist() == [1, 2, 3]
    ir.save(graph, tmp_path / "out.onnx")
    assert ir.load(tmp_path / "out.onnx").constants[0].read().tolist() == [1, 2, 3]


def test_a_location_in_a_folder_below(tmp_path: Path) -> None:
    path = write(tmp_path, model_of(reference("w", location="sub/./w.bin")))
    (tmp_path / "sub").mkdir()
    (tmp_path / "w.bin").rename(tmp_path / "sub" / "w.bin")
    np.testing.assert_array_equal(ir.load(path).constants[0].read(), WEIGHTS)


@pytest.mark.parametrize(
    "location",
    [
        "/etc/passwd", "/{folder}/w.bin", "../w.bin", "sub/../../w.bin", "..", "C:\\w.bin", "C:w.bin", "\\w.bin",
        "\\\\host\\share\\w.bin", "//host/share/w.bin", "sub\\..\\..\\w.bin",
    ],
)  # fmt: skip
def test_a_location_outside_the_models_folder_is_refused(location: str, tmp_path: Path) -> None:
    location = location.format(folder=str(tmp_path).lstrip("/"))
    path = write(tmp_path / "models", model_of(reference("the_weight", location=location)))
    (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
    with pytest.raises(UnsafePath) as error:
        ir.load(path)
    assert str(path) in str(error.value) and f"'the_weight' keeps its data in '{location}'" in str(error.value)
    assert error.value.exit_code == 2 and "\n" not in str(error.value)


def test_symbolic_links_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, model_of(reference("w", location="link.bin")))
    (tmp_path / "link.bin").symlink_to("w.bin")
    with pytest.raises(UnsafePath, match=r"'w' keeps its data in 'link.bin': a symbolic link is refused"):
        ir.load(path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "w.bin").write_bytes(WEIGHTS.tobytes())
    (tmp_path / "link").symlink_to("folder")
    write(tmp_path, model_of(reference("w", location="link/w.bin")))
    with pytest.raises(UnsafePath, match=r"'link/w.bin': a symbolic link is refused"):
        ir.load(path)


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        ({"location": None}, "in '', which names no file"),
        ({"location": ""}, "in '', which names no file"),
        ({"location": "."}, "in '.', which names no file"),
        ({"location": "w\0.bin"}, "which names no file"),
        ({"location": "missing.bin"}, "in 'missing.bin', which is not beside the model: No such file"),
        ({"location": "w.bin/more"}, "which is not beside the model: Not a directory"),
        ({"location": "x" * 300}, "which is not beside the model: File name too long"),
        ({"location": "folder"}, "in 'folder', which is no regular file"),
        ({"location": "pipe"}, "in 'pipe', which is no regular file"),
        ({"offset": 4}, "in 'w.bin' up to byte 2052, but that file has 2048: it is truncated"),
        ({"dims": [513]}, "up to byte 2052, but that file has 2048"),
        ({"dims": [2**62, 2**62]}, "up to byte 85070591730234615865843651857942052864, but"),
        ({"length": 2044}, "needs 2048 bytes, but has 2044 in w.bin"),
        ({"length": 0}, "needs 2048 bytes, but has 0 in w.bin"),
        ({"offset": -4}, "in 'w.bin' at the offset '-4', which is no number"),
        ({"offset": ""}, "at the offset '', which is no number"),
        ({"offset": "0x10"}, "at the offset '0x10', which is no number"),
        ({"offset": "1e3"}, "at the offset '1e3', which is no number"),
        ({"offset": "٣"}, "which is no number"),  # a digit, elsewhere
        ({"offset": "9" * 19}, "up to byte 1000000000000000204"),
        ({"offset": "9" * 5000}, "at the offset '99999"),
        ({"length": "1 "}, "at the length '1 ', which is no number"),
        ({"dims": [-512]}, "has a negative dimension"),
        ({"code": TensorProto.STRING, "length": 0}, "keeps strings as external data"),
        ({"code": 99}, "has element type 99"),
    ],
    ids=str,
)  # fmt: skip
def test_data_that_are_not_there_are_named(entries: dict[str, object], complaint: str, tmp_path: Path) -> None:
    path = write(tmp_path, model_of(reference("the_weight", **entries)))  # type: ignore[arg-type]
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadModel) as error:
        ir.load(path)
    assert type(error.value) is BadModel and complaint in str(error.value)
    assert str(error.value).startswith(f"{path}: tensor 'the_weight' ") and "\n" not in str(error.value)


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, model_of(reference("w")))

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("onnxopt.ir.external.MappedFile", refuse)
    with pytest.raises(BadModel, match=r"'w' keeps its data in 'w\.bin', which cannot be read: Permission denied"):
        ir.load(path)


def test_a_file_that_becomes_shorter_is_named_instead_of_crashing(tmp_path: Path) -> None:
    path = write(tmp_path, model_of(reference("w")))
    graph = ir.load(path)
    (tmp_path / "w.bin").write_bytes(b"short")
    with pytest.raises(BadModel, match=r"w\.bin: has become shorter"):
        graph.constants[0].read()
    with pytest.raises(BadModel, match=r"w\.bin: has become shorter"):
        ir.save(graph, tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists() and not list(tmp_path.glob("*.data"))


def test_more_files_than_a_process_may_have_open_at_first(tmp_path: Path) -> None:
    """Some exporters give each tensor a file of its own."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 400:
        pytest.skip("the system allows too few open files")
    for index in range(200):
        (tmp_path / f"{index}.bin").write_bytes(WEIGHTS.tobytes())
    model = model_of(*(reference(f"w{index}", location=f"{index}.bin") for index in range(200)))
    path = write(tmp_path, model)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    try:
        graph = ir.load(path)
        assert sum(constant.read()[1] for constant in graph.constants) == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_external_data_without_a_file_to_look_beside(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="'w' has external data; load the model from its file"):
        ir.from_proto(model_of(reference("w")))


def test_sparse_tensors_keep_their_data_inline(tmp_path: Path) -> None:
    """onnx would read them relative to the working directory."""
    model = model_of(numpy_helper.from_array(WEIGHTS, "w"))
    sparse = helper.make_sparse_tensor(
        reference("s", [1], length=4), helper.make_tensor("", TensorProto.INT64, [1], [0]), [512]
    )
    model.graph.sparse_initializer.append(sparse)
    with pytest.raises(BadModel, match="sparse tensor 's' has external data, which is not supported"):
        ir.load(write(tmp_path, model))
    model = model_of(numpy_helper.from_array(WEIGHTS, "w"))
    model.graph.node[0].attribute.add(name="sparse_value", type=onnx.AttributeProto.SPARSE_TENSOR, sparse_tensor=sparse)
    with pytest.raises(BadModel, match="sparse tensor 's' has external data"):
        ir.load(write(tmp_path, model))


def nodes_with_tensors(path: Path) -> ModelProto:
    """Weights in a Constant node of the main graph, in one of a branch, and in one of a function."""
    constant = helper.make_node("Constant", [], ["c"])
    constant.attribute.add(name="value", type=onnx.AttributeProto.TENSOR, t=reference(""))
    value = helper.make_tensor_value_info
    branch = helper.make_graph([constant, helper.make_node("Neg", ["c"], ["n"])], "b", [], [value("n", FLOAT, [512])])
    yes = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("", TensorProto.BOOL, [], [True]))
    function = helper.make_function(
        "my", "F", ["a"], ["o"], [constant, helper.make_node("Add", ["a", "c"], ["o"])], [helper.make_opsetid("", 17)]
    )
    nodes = [
        constant, yes,
        helper.make_node("If", ["yes"], ["i"], then_branch=branch, else_branch=branch),
        helper.make_node("F", ["x"], ["f"], domain="my"),
        helper.make_node("Sum", ["c", "i", "f", "x"], ["y"]),
    ]  # fmt: skip
    branch.node[0].output[0] = "c"
    graph = helper.make_graph(nodes, "g", [value("x", FLOAT, [512])], [value("y", FLOAT, [512])])
    for attribute in graph.node[2].attribute:  # a branch may not hide an outer name
        attribute.g.node[0].output[0] = attribute.g.node[1].input[0] = f"c_{attribute.name}"
        attribute.g.node[1].output[0] = attribute.g.output[0].name = f"n_{attribute.name}"
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("my", 1)]
    model = helper.make_model(graph, functions=[function], ir_version=8, opset_imports=imports)
    write(path, model)
    return model


def locations(message: object) -> list[tuple[str, str]]:
    """Location and offset of every tensor in a message, nested ones included."""
    found = []
    for field, value in message.ListFields():  # type: ignore[attr-defined]
        for item in value if field.is_repeated else (value,):
            if isinstance(item, TensorProto) and item.external_data:
                entries = {entry.key: entry.value for entry in item.external_data}
                found.append((entries["location"], entries["offset"]))
            elif field.message_type is not None:
                found += locations(item)
    return found


def test_tensors_in_attributes_are_external_too_and_written_once(tmp_path: Path) -> None:
    nodes_with_tensors(tmp_path)
    expected = run(tmp_path / "model.onnx")
    graph = ir.load(tmp_path / "model.onnx")
    ir.save(graph, tmp_path / "out.onnx")
    assert locations(ModelProto.FromString((tmp_path / "out.onnx").read_bytes())) == [("out.onnx.data", "0")] * 4
    assert (tmp_path / "out.onnx.data").read_bytes() == WEIGHTS.tobytes()
    np.testing.assert_array_equal(run(tmp_path / "out.onnx"), expected)


def test_new_values_are_written_beside_untouched_ones(tmp_path: Path) -> None:
    graph = ir.load(write(tmp_path, model_of(reference("w"), reference("v"))))
    graph.constants[1].values = graph.constants[1].values + 1
    graph.nodes[0].inputs[0] = ir.Constant("small", np.ones(3, np.float32))
    graph.nodes[1].inputs[0] = ir.Constant(
        "four_bits", np.ones(4096, helper.tensor_dtype_to_np_dtype(TensorProto.INT4))
    )
    ir.save(graph, tmp_path / "out.onnx")
    saved = ModelProto.FromString((tmp_path / "out.onnx").read_bytes())
    lengths = {t.name: {e.key: e.value for e in t.external_data}.get("length") for t in saved.graph.initializer}
    assert lengths == {"w": "2048", "v": "2048", "small": None, "four_bits": "2048"}
    again = {constant.name: constant.read() for constant in ir.load(tmp_path / "out.onnx").constants}
    np.testing.assert_array_equal(again["w"], WEIGHTS)
    np.testing.assert_array_equal(again["v"], WEIGHTS + 1)
    assert again["four_bits"].shape == (4096,) and all(again["four_bits"].astype(int) == 1)


def test_a_constant_that_two_scopes_read_is_written_once(tmp_path: Path) -> None:
    nodes_with_tensors(tmp_path)
    graph = ir.load(tmp_path / "model.onnx")
    shared = ir.Constant("shared", WEIGHTS + 1)
    twin = shared.copy()
    twin.name = "twin"
    for node, tensor in ((graph.nodes[-1], shared), (graph.functions[0].nodes[-1], shared), (graph.nodes[-1], twin)):
        node.inputs[1] = tensor
    graph.nodes[-1].inputs[2] = shared
    ir.save(graph, tmp_path / "out.onnx", external=True)
    assert (tmp_path / "out.onnx.data").stat().st_size == 2 * 2048
    np.testing.assert_array_equal(run(tmp_path / "out.onnx"), WEIGHTS + 2 * (WEIGHTS + 1))


def test_tensors_that_exist_only_while_they_are_written_are_told_apart(tmp_path: Path) -> None:
    """A TensorProto as an attribute becomes an array for a moment; the next may get its place in memory."""
    nodes = [
        ir.Node("Constant", attrs={"value": numpy_helper.from_array(np.full(512, index, np.float32))},
                outputs=[ir.Variable(f"y{index}", np.float32, [512])])
        for index in range(20)
    ]  # fmt: skip
    graph = ir.Graph(nodes, [], [node.outputs[0] for node in nodes], opset=17)
    ir.save(graph, tmp_path / "out.onnx", external=True)
    assert [node.attrs["value"].read()[0] for node in ir.load(tmp_path / "out.onnx").nodes] == list(range(20))


def test_a_relative_path_is_one_beside_the_model_and_not_beside_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With graphsurgeon external data resolve against the working directory."""
    write(tmp_path / "models", model_of(reference("w")))
    monkeypatch.chdir(tmp_path)
    graph = ir.load("models/model.onnx")
    ir.save(graph, "out.onnx")
    monkeypatch.chdir(tmp_path / "models")
    np.testing.assert_array_equal(graph.constants[0].read(), WEIGHTS)
    np.testing.assert_array_equal(ir.load("../out.onnx").constants[0].read(), WEIGHTS)


def test_large_tensors_start_at_a_page(tmp_path: Path) -> None:
    data = np.arange(5000, dtype=np.float32)
    tensors = [reference(f"w{i}", [n], offset=4 * i, length=4 * n) for i, n in enumerate((300, 4000, 500))]
    ir.save(ir.load(write(tmp_path, model_of(*tensors), data.tobytes())), tmp_path / "out.onnx")
    saved = ModelProto.FromString((tmp_path / "out.onnx").read_bytes())
    assert [int(offset) for _, offset in locations(saved)] == [0, 4096, 4096 + 16000]  # a multiple of 64
    for index, constant in enumerate(ir.load(tmp_path / "out.onnx").constants):
        np.testing.assert_array_equal(constant.read(), data[index : index + constant.shape[0]])


def test_external_data_on_request_and_inline_on_request(tmp_path: Path) -> None:
    graph = ir.from_proto(model_of(numpy_helper.from_array(WEIGHTS, "w")))
    ir.save(graph, tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx.data").exists()
    ir.save(graph, tmp_path / "out.onnx", external=True)
    assert (tmp_path / "out.onnx.data").read_bytes() == WEIGHTS.tobytes()
    ir.save(ir.load(tmp_path / "out.onnx"), tmp_path / "out.onnx", external=False)
    assert not (tmp_path / "out.onnx.data").exists()
    np.testing.assert_array_equal(run(tmp_path / "out.onnx"), WEIGHTS)


def test_a_huge_sparse_tensor_is_no_reason_for_a_file_of_data(tmp_path: Path) -> None:
    model = model_of(numpy_helper.from_array(WEIGHTS, "w"))
    values = helper.make_tensor("s", FLOAT, [1], [1.0])
    indices = helper.make_tensor("", TensorProto.INT64, [1], [5])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [10**6, 10**6]))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    ir.save(ir.load(tmp_path / "m.onnx"), tmp_path / "out.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "out.onnx"]


@pytest.mark.parametrize("failure", ["no system call", "another file system", "nothing copied"])
def test_where_the_kernel_cannot_copy_we_do(failure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: int) -> int:
        if failure == "nothing copied":
            return 0
        raise OSError(18, "Invalid cross-device link")

    if failure == "no system call":
        monkeypatch.delattr(os, "copy_file_range", raising=False)
    else:
        monkeypatch.setattr(os, "copy_file_range", refuse, raising=False)
    monkeypatch.setattr("onnxopt.ir.data_file._CHUNK", 500)
    ir.save(ir.load(write(tmp_path, model_of(reference("w")))), tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx.data").read_bytes() == WEIGHTS.tobytes()


def test_graphsurgeons_exporter_finds_the_data(tmp_path: Path) -> None:
    graph = ir.load(write(tmp_path, model_of(reference("w"))))
    tensor = gs.export_onnx(graph).graph.initializer[0]
    np.testing.assert_array_equal(numpy_helper.to_array(tensor), WEIGHTS)


def test_a_skeleton_leaves_large_data_out(tmp_path: Path) -> None:
    graph = ir.load(write(tmp_path, model_of(reference("w"))))
    skeleton = ir.to_proto(graph, max_inline=100)
    tensor = skeleton.graph.initializer[0]
    assert tensor.data_location == TensorProto.EXTERNAL and not tensor.raw_data and list(tensor.dims) == [512]
    onnx.shape_inference.infer_shapes(skeleton, strict_mode=True)
