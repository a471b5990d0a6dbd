"""`onnxopt bench`: what is measured of models side by side, what is called a difference, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from onnxopt.pipeline.sidecar import write_sidecar
from tests.cli.conftest import Command

DIGITS = Path(__file__).parent.parent.parent / "fixtures" / "digits_mobilenet"
QUICK = ("--seconds", "0.3", "--threads", "1")


def chain(name: str, layers: int, batch: str = "N") -> Path:
    """Matrices of 64 x 64, so many after one another."""
    nodes = "\n".join(f"x{n + 1} = MatMul(x{n}, w)" for n in range(layers))
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 17]> g (float[{batch}, 64] x0) => (float[{batch}, 64] x{layers})'
        f"{{ {nodes} }}"
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.eye(64, dtype=np.float32), "w"))
    onnx.save(model, name)
    return Path(name)


def few_of(data: Path) -> Path:
    """A hundred of its samples."""
    with np.load(data) as arrays:
        np.savez("few.npz", **{name: array[:100] for name, array in arrays.items()})
    return Path("few.npz")


def test_ten_times_the_work_is_slower_and_the_same_work_is_not(onnxopt: Command) -> None:
    one, same, ten = chain("one.onnx", 6), chain("same.onnx", 6), chain("ten.onnx", 60)
    told = onnxopt("bench", one, ten, same, "--batch", "16", *QUICK, "--json").json()
    (batch,) = told["batches"]
    first, slower, equal = batch["latency"]
    assert [each["name"] for each in batch["latency"]] == ["one.onnx", "ten.onnx", "same.onnx"]
    assert first["verdict"] is None and first["of_first"] is None
    assert slower["verdict"] == "slower" and slower["of_first"]["median"] > 2
    assert equal["verdict"] == "no difference beyond the noise"
    assert len(batch["noise"]["by_session"]) == told["conditions"]["sessions"] == 3
    assert batch["noise"]["interval"][0] <= batch["noise"]["median"] <= batch["noise"]["interval"][1]


def test_the_figures_belong_together(onnxopt: Command) -> None:
    model = chain("model.onnx", 4)
    told = onnxopt("bench", model, "--batch", "1,8", *QUICK, "--json").json()
    assert [batch["batch"] for batch in told["batches"]] == [1, 8]
    assert told["batches"][1]["inputs"] == "x0 float32[8, 64]"
    for batch in told["batches"]:
        (found,) = batch["latency"]
        assert 0 < found["min"] <= found["p50"] <= found["p90"] <= found["p99"]
        assert found["min"] <= found["mean"] and found["std"] >= 0 and found["spread"] >= 0
        assert found["fps"] == pytest.approx(1000 / found["mean"])
        assert found["samples_per_second"] == pytest.approx(batch["batch"] * found["fps"])
        assert len(found["rounds"]) >= 15 and found["runs"] >= len(found["rounds"])
    (figures,) = told["models"]
    assert (figures["bytes"], figures["nodes"], figures["kind"]) == (model.stat().st_size, 4, "model")
    memory = figures["memory"]
    assert memory["peak"] == memory["before"] + memory["added"] > 1 << 20
    assert told["conditions"] == {
        "engine": told["conditions"]["engine"], "optimizations": True, "threads": 1, "sessions": 3,
    }  # fmt: skip


def test_the_table(onnxopt: Command) -> None:
    one, two = chain("one.onnx", 2), chain("two.onnx", 2)
    ended = onnxopt("bench", one, two, *QUICK, "--no-optimize")
    assert (ended.code, ended.err) == (0, "") and max(map(len, ended.out.splitlines())) <= 100
    heading = next(line for line in ended.out.splitlines() if line.startswith("batch 1, ms"))
    assert heading.split()[3:] == ["mean", "std", "min", "p50", "p90", "p99", "spread", "samples/s", "FPS"]
    lines = [line for line in ended.out.splitlines() if line.startswith("two.onnx")]
    assert len(lines) == 3 and lines[0].split()[8] == "%"
    assert "no difference beyond the noise" in lines[1]
    assert "itself again" in ended.out and "the noise" in ended.out
    assert "its optimizations off, 1 thread" in ended.out and "ran on generated inputs: x0 float32[1, 64]" in ended.out


def test_accuracy_and_the_picture(onnxopt: Command) -> None:
    pytest.importorskip("matplotlib")
    model, test = DIGITS / "digits_mobilenet.onnx", few_of(DIGITS / "test.npz")
    onnxopt("run", model, "--passes", "O1,quantize-weights", "-o", "small.onnx")
    options = ("--data", DIGITS / "calibration.npz", "--metric", "top1", "--eval", test, "--plot", "bench.png")
    ended = onnxopt("bench", model, "small.onnx", *options, *QUICK)
    assert ended.code == 0 and ended.err.startswith("wrote bench.png, ")
    assert Path("bench.png").read_bytes().startswith(b"\x89PNG")
    first, small = [line for line in ended.out.splitlines() if " MiB " in line]
    assert first.split()[0] == model.name and first.rstrip().endswith("100.00 %")
    assert small.split()[0] == "small.onnx" and small.rstrip().endswith(" %") and "-" in small
    assert "top1 on 100 samples of few.npz, against 'label'" in ended.out


def test_a_profile_tells_of_nodes_and_of_the_passes_that_made_them(onnxopt: Command) -> None:
    model = DIGITS / "digits_mobilenet.onnx"
    onnxopt("run", model, "--passes", "fold-constants,fuse-conv-bn", "-o", "fused.onnx")
    ended = onnxopt("bench", "fused.onnx", *QUICK, "--profile")
    assert max(map(len, ended.out.splitlines())) <= 100
    assert "in kernels with nodes that this pass made or changed" in ended.out and "fuse-conv-bn" in ended.out
    told = onnxopt("bench", "fused.onnx", *QUICK, "--profile", "--no-optimize", "--json").json()["profile"][
        "fused.onnx"
    ]
    assert told["in_kernels"] > 0 and set(told["operators"]) >= {"Conv", "Clip", "Gemm"}
    conv = next(kernel for kernel in told["kernels"] if kernel["op"] == "Conv")
    (node,) = conv["nodes"]
    assert node["op"] == "Conv" and any("BatchNormalization" in name for name in node["made_of"])
    assert any(rewrite.startswith("fuse-conv-bn: ") for rewrite in node["rewrites"])
    assert sum(told["operators"].values()) == pytest.approx(told["in_kernels"])


def test_what_an_artifact_takes_is_not_made_up(onnxopt: Command) -> None:
    model = chain("model.onnx", 2)
    Path("model.dlc").write_bytes(b"PK" + bytes(1000))
    write_sidecar(Path("model.dlc"), {"backend": "qnn{soc=SM8450}"})
    ended = onnxopt("bench", model, "model.dlc", *QUICK)
    assert ended.code == 0
    assert ["model.dlc", "not", "measured"] in [line.split() for line in ended.out.splitlines()]
    assert "model.dlc: qnn: not measured: no device of this target is here" in ended.out
    told = onnxopt("bench", model, "model.dlc", *QUICK, "--json").json()
    assert told["models"][1] == {
        "name": "model.dlc", "path": "model.dlc", "kind": "qnn", "bytes": 1002,
        "bytes_of_first": 1002 / model.stat().st_size, "nodes": None, "memory": None, "accuracy": None,
        "device": {"qnn": "not measured: no device of this target is here"}, "remark": None,
    }  # fmt: skip
    assert len(told["batches"][0]["latency"]) == 1


def test_what_a_kit_measured_is_read(onnxopt: Command) -> None:
    from onnxopt.backends.coreml.folder import digest

    model, package = chain("model.onnx", 2), Path("kit/model.mlpackage")
    package.mkdir(parents=True)
    (package / "weights").write_bytes(bytes(64))
    write_sidecar(Path("kit"), {"backend": "coreml-kit"})
    latency = {
        "kind": "latency", "schema": 1, "package": {"hash": digest(package)},
        "device": {"model": "Mac15,3", "system": "macOS 26.0"},
        "runs": [{"units": "all", "load_seconds": 1.0, "milliseconds": {"median": 0.91, "p90": 0.97}},
                 {"units": "cpu-only", "error": "no such units"}],
    }  # fmt: skip
    assert "run measure.py of the kit on a Mac" in onnxopt("bench", model, "kit", *QUICK).out
    Path("kit/latency.json").write_text(json.dumps(latency))
    ended = onnxopt("bench", model, "kit", *QUICK)
    assert "kit: Mac15,3, all: 0.910 ms, measured there" in ended.out
    assert "kit: Mac15,3, cpu-only: not measured: no such units" in ended.out
    (package / "weights").write_bytes(bytes(65))
    ended = onnxopt("bench", model, "kit", *QUICK)
    assert ended.code == 2 and "was measured of another package" in ended.err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["fixed.onnx", "--batch", "4"], "--batch 4: the first axis of fixed.onnx is static: input 'x0' is [2, 64]"),
        (["model.onnx", "fixed.onnx", "--batch", "4"], "the first axis of fixed.onnx is static"),
        (["model.onnx", "--batch", "0"], "--batch 0: give sizes of at least 1, as in --batch 1,2,4,8"),
        (["model.onnx", "--batch", "1,two"], "--batch 1,two: give sizes of at least 1"),
        (["model.onnx", "--batch", "2,2"], "--batch 2,2: a size is given twice"),
        (["model.onnx", "model.onnx"], "model.onnx is given twice; the first model is measured beside itself anyway"),
        (["nowhere.onnx"], "nowhere.onnx: there is no such file"),
        (["model.dlc", "model.onnx"], "model.dlc is an artifact: name the model that it was made of before it"),
        (["model.onnx", "--metric", "top1"], "--metric top1 needs samples to judge on: give --eval D or --data D"),
        (["model.onnx", "--plot", "nowhere/a.png"], "there is no folder nowhere"),
        (["model.onnx", "--dim", "T=3"], "no input has a dimension 'T'"),
    ],
)  # fmt: skip
def test_what_is_refused(onnxopt: Command, arguments: list[str], reason: str) -> None:
    chain("model.onnx", 2)
    chain("fixed.onnx", 2, "2")
    Path("model.dlc").write_bytes(b"PK")
    ended = onnxopt("bench", *arguments, *QUICK)
    assert (ended.code, ended.out) == (2, "") and reason in ended.err and len(ended.err.splitlines()) == 1


@pytest.mark.parametrize("external", [False, True])
def test_bytes_are_those_on_the_disk(onnxopt: Command, external: bool) -> None:
    model = onnx.load(chain("one.onnx", 2))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((400, 400), np.float32), "unread"))
    onnx.save(model, "m.onnx", save_as_external_data=external, location="m.data", size_threshold=0)
    told = onnxopt("bench", "m.onnx", *QUICK, "--json").json()
    files = [path.stat().st_size for path in (Path("m.onnx"), Path("m.data")) if path.exists()]
    assert len(files) == 1 + external
    assert told["models"][0]["bytes"] == sum(files)
