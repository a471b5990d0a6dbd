"""Models of torch: both exporters, names, dynamic axes, equal outputs or none."""

# mypy: disable-error-code="import-untyped, import-not-found, no-untyped-call"

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")  # of the extra `test`

from onnxopt.errors import BadModel, BadOption, CheckFailed  # noqa: E402
from onnxopt.frontends.kinds import Kind  # noqa: E402
from onnxopt.frontends.lowering import lower, lower_object  # noqa: E402
from onnxopt.frontends.torch.lowering import lower as lower_subject  # noqa: E402
from onnxopt.frontends.torch.safe_archive import require_no_code  # noqa: E402
from onnxopt.frontends.torch.subject import read  # noqa: E402
from onnxopt.frontends.wanted import Example, Lowered, Wanted  # noqa: E402
from tests.frontends import modules  # noqa: E402
from tests.frontends.test_kinds import Marking  # noqa: E402

BATCH = {"x": {0: "batch"}}


def lowered(name: str, path: Path, **options: Any) -> tuple[Lowered, onnx.ModelProto]:
    """A model of `modules`, in this process, which saves importing torch again."""
    found = lower_object(*getattr(modules, name)(), Wanted(**options), path / "m.onnx", name)
    model = onnx.load(path / "m.onnx")
    onnx.checker.check_model(model, full_check=True)
    return found, model


def ops(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def shapes(values: Any) -> dict[str, list[Any]]:
    return {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_both_exporters_with_names_and_dynamic_axes(exporter: str, tmp_path: Path) -> None:
    options = {"input_names": ("image",), "output_names": ("logits",), "dynamic": {"image": {0: "batch"}}}
    found, model = lowered("image", tmp_path, exporter=exporter, **options)
    assert found.by.endswith(f"{exporter} exporter") and found.compared == "the example inputs and 3 random ones"
    assert [difference.output for difference in found.differences] == ["logits"] and not found.notes
    assert shapes(model.graph.input) == {"image": ["batch", 3, 6, 6]}
    assert shapes(model.graph.output) == {"logits": ["batch", 2]}
    assert "BatchNormalization" not in ops(model)
    text = model.SerializeToString()
    assert b".py" not in text, "traces of the exporter name files of the machine"


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_batch_normalization_is_kept_at_the_opset_asked_for(exporter: str, tmp_path: Path) -> None:
    _, model = lowered("image", tmp_path, exporter=exporter, keep_batchnorm=True, opset=17)
    assert "BatchNormalization" in ops(model)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]


def test_an_output_called_as_a_value_inside_is_repaired_and_told(tmp_path: Path) -> None:
    found, model = lowered("collision", tmp_path, output_names=("add",))
    assert "dynamo" in found.by and ops(model) == ["Add", "Mul", "Sub"]
    assert found.notes == ("the exporter gave the name 'add' to several values: those inside have another now",)


def test_inputs_by_name_in_any_order_and_outputs_of_a_dict(tmp_path: Path) -> None:
    _, model = lowered("named", tmp_path, dynamic={"ids": {0: "batch", 1: "length"}})
    assert shapes(model.graph.input) == {"ids": ["batch", "length"], "scale": []}
    assert shapes(model.graph.output) == {"found": ["batch", "length"], "most": ["batch"]}


def test_where_dynamo_fails_torchscript_does_it_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export = torch.onnx.export

    def failing(*given: Any, **options: Any) -> Any:
        if options["dynamo"]:
            raise RuntimeError("advice") from KeyError("no such operator")
        return export(*given, **options)

    monkeypatch.setattr(torch.onnx, "export", failing)
    found, _ = lowered("image", tmp_path)
    assert "torchscript exporter" in found.by
    assert found.notes[0].startswith("not by torch's dynamo exporter: KeyError: ")
    with pytest.raises(BadModel, match="image: torch's dynamo exporter: KeyError"):
        lowered("image", tmp_path, exporter="dynamo")


def test_other_outputs_stop_it(tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match="random: torch's dynamo exporter: the lowered model differs from torch") as e:
        lowered("random", tmp_path, exporter="dynamo")
    assert e.value.exit_code == 1


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("training", {}, "training is in training mode"),
        ("image", {"dynamic": {"y": {0: "n"}}}, "--dynamic y: there is no such input; there are: x"),
        ("image", {"dynamic": {"x": {4: "n"}}}, "--dynamic x: it has 4 axes, and none of number 4"),
        ("image", {"input_names": ("a", "b")}, "--input-names has 2 names, and image takes 1 tensors"),
        ("image", {"output_names": ("a", "b")}, "--output-names has 2 names, and image gives 1 tensors"),
        ("image", {"output_names": ("x",)}, "'x' would be an input and an output"),
        ("image", {"dtype": "float64"}, "--dtype does nothing for a module of torch"),
        ("image", {"examples": (Example("x", "float32", (1,)),)}, "--input does nothing for a module of torch"),
    ],
)
def test_wrong_use(name: str, options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises((BadModel, BadOption), match=said):
        lowered(name, tmp_path, **options)


def test_a_module_without_inputs_and_what_is_no_module(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="alone gives a module alone: return it with its example inputs"):
        lower_object(modules.alone(), None, Wanted(), tmp_path / "m.onnx", "alone")
    with pytest.raises(BadModel, match=r"no gives int: it has to give an nn.Module"):
        lower_object(1, None, Wanted(), tmp_path / "m.onnx", "no")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported program with a dynamic batch."""
    module, given = modules.image()
    path = tmp_path_factory.mktemp("program") / "m.pt2"
    example = given.repeat(2, 1, 1, 1)
    torch.export.save(torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},)), path)
    return path


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_an_exported_program_keeps_its_dynamic_axes(exporter: str, program: Path, tmp_path: Path) -> None:
    subject = read(program, Kind.PROGRAM, Wanted())
    lower_subject(subject, Wanted(exporter=exporter), tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    assert isinstance(shapes(model.graph.input)["x"][0], str) and shapes(model.graph.input)["x"][1:] == [3, 6, 6]
    with pytest.raises(BadOption, match=r"--dynamic does nothing for .*: an exported program has its inputs"):
        read(program, Kind.PROGRAM, Wanted(dynamic=BATCH))


def with_entry(program: Path, path: Path, name: str, data: bytes) -> Path:
    """A copy of an exported program with one entry more, or in the place of the one of that name."""
    with zipfile.ZipFile(program) as one, zipfile.ZipFile(path, "w") as other:
        for entry in one.namelist():
            if not entry.endswith(name):
                other.writestr(entry, one.read(entry))
        other.writestr(f"m/{name}", data)
    return path


@pytest.mark.parametrize("name", ["data/constants/opaque_obj_0", "data/constants/custom_obj_0", "data/a.so"])
def test_a_program_with_code_in_it_is_refused(name: str, program: Path, tmp_path: Path) -> None:
    with pytest.raises(BadOption, match=f"has an entry 'm/{name}', which torch reads by running code"):
        require_no_code(with_entry(program, tmp_path / "m.pt2", name, b""))


def test_expressions_that_are_none_of_sizes_are_refused(program: Path, tmp_path: Path) -> None:
    require_no_code(program)
    with zipfile.ZipFile(program) as archive:
        text = archive.read("m/models/model.json").decode()
    assert "Symbol(" in text
    for bad in ("__import__('os').getpid()", "Lambda('x', 'x.y')", "[x for x in Integer]", "Symbol.mro()"):
        changed = text.replace('"expr_str": "', f'"expr_str": "{bad}+', 1)
        assert changed != text
        with pytest.raises(BadOption, match="has an expression"):
            require_no_code(with_entry(program, tmp_path / "m.pt2", "models/model.json", changed.encode()))


def test_inputs_with_code_in_them_are_not_unpickled(program: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    data = io.BytesIO()
    torch.save(Marking(mark), data)
    path = with_entry(program, tmp_path / "m.pt2", "data/sample_inputs/model.pt", data.getvalue())
    with pytest.raises(BadModel, match="cannot read it"):
        read(path, Kind.PROGRAM, Wanted())
    assert not mark.exists()


def test_torchscript_and_pickles_in_a_child_when_trusted(tmp_path: Path) -> None:
    module, given = modules.image()
    torch.jit.save(torch.jit.trace(module, given), tmp_path / "script.pt")
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    example = (Example("x", "float32", (2, 3, 6, 6)),)
    found = lower(tmp_path / "script.pt", tmp_path / "m.onnx", Wanted(trust_pickle=True, examples=example))
    assert "torchscript exporter" in found.by and ops(onnx.load(tmp_path / "m.onnx"))[0] == "Conv"
    with pytest.raises(BadOption, match=r"script.pt is a TorchScript file: to open it runs whatever code is in it"):
        lower(tmp_path / "script.pt", tmp_path / "m.onnx", Wanted(examples=example))
    with pytest.raises(BadOption, match=r"does not tell what it takes: .*--input"):
        read(tmp_path / "script.pt", Kind.TORCHSCRIPT, Wanted(trust_pickle=True))
    with pytest.raises(BadModel, match="holds weights and no model"):
        read(tmp_path / "weights.pt", Kind.TORCH_PICKLE, Wanted(trust_pickle=True))


def test_data_are_compared_too(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(0).standard_normal((3, 3, 6, 6)).astype(np.float32))
    found, _ = lowered("image", tmp_path, dynamic=BATCH, data=str(tmp_path / "d.npz"))
    assert "1 batch of" in found.compared
