from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.cli.conftest import Command
from tests.pipeline import planted


def save(name: str, change: dict[str, str] | None = None, text: str = planted.MODEL) -> Path:
    for old, new in (change or {}).items():
        assert old in text
        text = text.replace(old, new)
    onnx.save(planted.model(text), name)
    return Path(name)


def test_a_model_equals_itself(onnxopt: Command, model: Path) -> None:
    ended = onnxopt("verify", model, model)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.count("bit for bit") == 2 and "4 generated sets of inputs" in ended.out


def test_models_that_differ_end_in_1_with_the_table_and_the_worst_named(onnxopt: Command, model: Path) -> None:
    other = save("other.onnx", {"{1, 2, 3, 4}": "{1, 2, 3, 5}"})
    ended = onnxopt("verify", model, other)
    assert ended.code == 1
    assert ended.err.startswith(
        f"onnxopt: {other.name} differs from {model}: output 'y': differs by".replace(other.name, str(other))
    )
    assert "and 1 more" in ended.err and len(ended.err.splitlines()) == 1
    assert "allowed" in ended.out and " dB" in ended.out


def test_json_comes_even_when_they_differ(onnxopt: Command, model: Path, samples: Path) -> None:
    other = save("other.onnx", {"{1, 2, 3, 4}": "{1, 2, 3, 5}"})
    ended = onnxopt("verify", model, other, "--data", samples, "--json")
    told = ended.json()
    assert ended.code == 1 and told["equal"] is False
    assert (told["samples"], told["inputs"]) == (12, f"12 batches of {samples}")
    assert [output["output"] for output in told["outputs"]] == ["y", "z"]
    assert told["outputs"][0]["largest_absolute"] > 0 and told["outputs"][0]["where"][1] == 3


@pytest.mark.parametrize(("promise", "code"), [("bits", 1), ("values", 0), ("accuracy", 0)])
def test_what_must_hold_decides(onnxopt: Command, model: Path, promise: str, code: int) -> None:
    other = save("other.onnx", {"{1, 2, 3, 4}": "{1, 2, 3, 4.000001}"})
    assert onnxopt("verify", model, other, "--promise", promise).code == code


NAN = """
<ir_version: 8, opset_import: ["" : 17]>
roots (float[N] x) => (float[N] y) <float OFFSET = {VALUE}> { a = Add (x, OFFSET) y = Sqrt (a) }
"""


def test_nan_equals_nan_and_differs_from_a_number(onnxopt: Command, tmp_path: Path) -> None:
    one = save("one.onnx", {"VALUE": "0.0"}, NAN)
    same = save("same.onnx", {"VALUE": "0.0", "OFFSET": "zero"}, NAN)
    other = save("other.onnx", {"VALUE": "10.0"}, NAN)
    np.savez("negative.npz", x=np.array([[-1.0]], np.float32))
    ended = onnxopt("verify", one, same, "--data", "negative.npz", "--json")
    assert (ended.code, ended.json()["equal"]) == (0, True)
    ended = onnxopt("verify", one, other, "--data", "negative.npz", "--promise", "values", "--json")
    assert ended.code == 1 and ended.json()["outputs"][0]["reason"].startswith("expected nan, found 3")


def test_a_missing_output_counts_and_a_further_one_is_noted(onnxopt: Command, model: Path) -> None:
    less = save("less.onnx", {", float[N, 4] z": "", "    [fifth] z = Tanh (b)\n": ""})
    ended = onnxopt("verify", model, less, "--json")
    assert ended.code == 1 and ended.json()["outputs"][1]["reason"] == "is missing"
    ended = onnxopt("verify", less, model)
    assert ended.code == 0 and "output 'z' is in" in ended.err and "was not compared" in ended.err


def test_models_with_other_inputs_cannot_be_compared(onnxopt: Command, model: Path) -> None:
    renamed = save("renamed.onnx", {"[N, 4] x)": "[N, 4] v)", "Mul (x,": "Mul (v,"})
    ended = onnxopt("verify", model, renamed)
    assert ended.code == 2
    assert f"{model} takes x (tensor float32); renamed.onnx takes v (tensor float32)" in ended.err


def test_a_model_that_does_not_run_is_named(onnxopt: Command, model: Path) -> None:
    proto = planted.model()
    proto.graph.node[1].op_type, proto.graph.node[1].domain = "Rleu", "example"
    proto.opset_import.append(onnx.helper.make_opsetid("example", 1))
    onnx.save(proto, "custom.onnx")
    ended = onnxopt("verify", model, "custom.onnx")
    assert ended.code == 2 and "custom.onnx: onnxruntime cannot load the model" in ended.err


def test_random_outputs_are_noted(onnxopt: Command) -> None:
    noise = '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) { y = RandomNormalLike (x) }'
    save("noise.onnx", {}, noise)
    ended = onnxopt("verify", "noise.onnx", "noise.onnx")
    assert ended.code == 0 and "output 'y' depends on random operators" in ended.err


def test_samples_limits_what_is_run(onnxopt: Command, model: Path, samples: Path) -> None:
    assert onnxopt("verify", model, model, "--data", samples, "--samples", "5", "--json").json()["samples"] == 5
