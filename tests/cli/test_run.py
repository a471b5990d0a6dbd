from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxopt import ir
from tests.cli.conftest import Command
from tests.pipeline import planted

DIGITS = Path(__file__).parents[2] / "fixtures" / "digits_mobilenet"


def test_the_main_job(onnxopt: Command, tmp_path: Path) -> None:
    """A real model, every pass proven, the model written, and the figures told on stderr only."""
    ended = onnxopt(
        *("run", DIGITS / "digits_mobilenet.onnx", "--passes", "fold-constants,fuse-conv-bn,eliminate-dead-nodes"),
        *("--data", DIGITS / "calibration.npz", "--verify-each", "--timing", "-o", "digits.onnx"),
    )
    assert (ended.code, ended.out) == (0, "")
    onnx.checker.check_model(str(tmp_path / "digits.onnx"), full_check=True)
    assert len(ir.load("digits.onnx").nodes) < 60
    for told in ("digits_mobilenet.onnx", "BatchNormalization", "parameters", "MACs", "largest output difference"):
        assert told in ended.err
    assert "wrote digits.onnx" in ended.err
    assert max(map(len, ended.err.splitlines())) <= 100
    assert "\x1b" not in ended.err and "\r" not in ended.err


def test_json_has_everything_that_the_tables_have(onnxopt: Command, model: Path, plugin: Path, samples: Path) -> None:
    ended = onnxopt(
        *("run", model, "--passes", "annotate,touch", "--plugin", plugin, "--json", "--timing", "--verify-each"),
        *("--data", samples, "--print-changed", "--print-after", "all", "--explain", "all", "-o", "out.onnx"),
    )
    assert ended.code == 0
    told = ended.json()
    assert told["pipeline"] == told["expanded"] == "annotate,touch"
    assert told["before"]["operators"] == {"Neg": 2, "Mul": 1, "Relu": 1, "Tanh": 1}
    assert {"nodes", "parameters", "weight_bytes", "macs", "peak_activation_bytes"} <= told["after"].keys()
    assert told["difference"] == "none: bit for bit the same"
    assert [(p["index"], p["pass"], p["changed"], p["rewrites"]) for p in told["passes"]] == [
        (1, "annotate", True, 1),
        (2, "touch", True, 5),
    ]
    assert all(p["seconds"] > 0 for p in told["passes"])
    assert [t["after"]["nodes"] for t in told["timing"]] == [5, 5]
    assert [v["after"] for v in told["verified"]] == [1, 2]
    assert told["rewrites"][0] == {"pass_name": "annotate", "what": "annotated", "where": "round 1"}
    assert told["written"] == ["out.onnx"]
    assert "// changed by 1 annotate" in ended.err and "// after 2 touch" in ended.err


def test_texts_go_to_stdout_and_the_rest_to_stderr(onnxopt: Command, model: Path, plugin: Path) -> None:
    ended = onnxopt("run", model, "-p", "annotate", "--plugin", plugin, "--print-before", "annotate", "--print-changed")
    assert ended.out.startswith("// before 1 annotate\n<")
    assert "// changed by 1 annotate\n@@ " in ended.out
    assert "largest output difference" not in ended.out


def test_explanations_are_results(onnxopt: Command, tmp_path: Path, model: Path) -> None:
    (tmp_path / "shy.py").write_text(
        "from dataclasses import dataclass\n"
        "from onnxopt import Pass\n"
        "@dataclass(frozen=True)\n"
        "class Shy(Pass):\n"
        "    '''Refuses.'''\n"
        "    def run(self, graph, ctx):\n"
        "        ctx.refuse('its input is [red]not[/red] known', graph.nodes[1])\n"
        "        return False\n"
    )
    ended = onnxopt("run", model, "-p", "shy", "--plugin", "shy.py", "--explain", "shy")
    assert ended.out == "shy: Relu second: its input is [red]not[/red] known\n"


def test_without_an_output_the_figures_are_told_and_so_is_that(onnxopt: Command, model: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    ended = onnxopt("run", model, "-p", "eliminate-dead-nodes")
    assert ended.code == 0
    assert "not measured" in ended.err
    assert ended.err.endswith("nothing was written: give -o FILE or --emit\n")
    assert sorted(tmp_path.iterdir()) == before


def test_the_output_may_be_the_input(onnxopt: Command, model: Path, plugin: Path) -> None:
    ended = onnxopt("run", model, "-p", "annotate", "--plugin", plugin, "-o", model, "--emit", "onnx=copy.onnx")
    assert ended.code == 0
    assert ir.load(model).metadata_props == {"rounds": "1"}
    assert not list(model.parent.glob(".*"))


def test_the_sidecar_has_the_hash_of_the_input_even_when_that_is_replaced(
    onnxopt: Command, model: Path, plugin: Path
) -> None:
    import hashlib

    expected = hashlib.sha256(model.read_bytes()).hexdigest()
    onnxopt("run", model, "-p", "annotate", "--plugin", plugin, "-o", model, "--emit", "onnx=copy.onnx")
    assert json.loads(Path("copy.onnx.json").read_text())["input"] == {"model": str(model), "sha256": expected}


def test_a_model_with_external_data_is_replaced_in_place(onnxopt: Command, tmp_path: Path, plugin: Path) -> None:
    proto = planted.model()
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.ones((1024, 4), np.float32), "w"))
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1024
    for output in proto.graph.output:
        output.type.tensor_type.shape.dim[0].dim_value = 1024
    onnx.save(proto, "model.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    for _ in range(2):
        assert (
            onnxopt("run", "model.onnx", "-p", "annotate{rounds=9}", "--plugin", plugin, "-o", "model.onnx").code == 0
        )
        np.testing.assert_array_equal(ir.load("model.onnx").constants[0].read(), 1.0)
    assert ir.load("model.onnx").metadata_props == {"rounds": "2"}
    onnx.checker.check_model("model.onnx")


def test_emit_writes_an_artifact_with_options_and_a_sidecar(onnxopt: Command, model: Path) -> None:
    ended = onnxopt("run", model, "-p", "O1", "--verify", "--emit", "onnx{external-data=true}=a.onnx", "--json")
    assert ended.code == 0 and ended.json()["written"] == ["a.onnx"]
    facts = json.loads(Path("a.onnx.json").read_text())
    assert facts["backend"] == "onnx{external-data=true}"
    assert facts["pipeline"].startswith("fold-constants,")
    assert facts["verified"]["worst"]["bit_equal"] is True


@pytest.mark.parametrize("level", [["-O", "2"], ["-O2"], ["--passes", "O2"]])
def test_a_preset_is_asked_for_in_three_ways(onnxopt: Command, model: Path, level: list[str]) -> None:
    ended = onnxopt("run", model, *level, "--json")
    assert (ended.code, ended.json()["pipeline"]) == (0, "O2")


def test_a_pipeline_file_names_passes_data_target_and_plugins(
    onnxopt: Command, model: Path, samples: Path, plugin: Path, tmp_path: Path
) -> None:
    (tmp_path / "job.toml").write_text(
        f'passes = "annotate,raises"\ntarget = "onnx"\ndata = "samples.npz"\nplugins = ["{plugin}"]\n'
    )
    ended = onnxopt("run", model, "--passes", "job.toml")
    assert ended.code == 3
    command = Path("onnxopt-reproducer/command.txt").read_text()
    for repeated in (f"--plugin {plugin}", "--data samples.npz", "--target onnx"):
        assert repeated in command


def test_the_reproducer_s_command_fails_in_the_same_way(onnxopt: Command, model: Path, plugin: Path) -> None:
    import shlex

    ended = onnxopt("run", model, "-p", "annotate,touch,raises{at=second}", "--plugin", plugin, "-o", "out.onnx")
    assert ended.code == 3
    first, second = ended.err.splitlines()[-2:]
    assert first.startswith("onnxopt: pass 3, raises{at=second}, failed: KeyError")
    command = second.removeprefix("reproduce it with: ")
    again = onnxopt(*shlex.split(command)[1:])
    assert again.code == 3 and "raises{at=second}, failed: KeyError" in again.err
    assert not Path("out.onnx").exists()


def test_a_reproducer_of_a_failed_verification_fails_the_same_check(
    onnxopt: Command, model: Path, plugin: Path, samples: Path
) -> None:
    import shlex

    ended = onnxopt(
        *("run", model, "-p", "annotate,touch{bad=first}", "--plugin", plugin, "--data", samples, "--verify-each"),
    )
    assert ended.code == 1 and "pass 2, touch{bad=first}, broke output 'y'" in ended.err
    again = onnxopt(*shlex.split(ended.err.splitlines()[-1].removeprefix("reproduce it with: "))[1:])
    assert again.code == 1 and "touch{bad=first}, broke output 'y'" in again.err


def test_a_reproducer_that_cannot_be_written_does_not_hide_the_failure(
    onnxopt: Command, model: Path, plugin: Path
) -> None:
    ended = onnxopt("run", model, "-p", "raises", "--plugin", plugin, "--reproducer", model)
    assert ended.code == 3
    assert "raises, failed: KeyError" in ended.err
    assert f"no reproducer: cannot write the reproducer into {model}" in ended.err


def test_a_break_found_at_the_end_proposes_to_bisect(
    onnxopt: Command, model: Path, plugin: Path, samples: Path
) -> None:
    import shlex

    ended = onnxopt("run", model, "-p", "touch{bad=first}", "--plugin", plugin, "--data", samples)
    assert ended.code == 1 and not Path("onnxopt-reproducer").exists()
    assert "the pipeline broke output" in ended.err
    again = onnxopt(*shlex.split(ended.err.splitlines()[-1].removeprefix("find the pass with: "))[1:])
    assert again.code == 0 and "rewrite  1, touched: Mul first" in again.out


def test_the_limit_holds_back_rewrites(onnxopt: Command, model: Path, plugin: Path) -> None:
    ended = onnxopt("run", model, "-p", "touch{bad=third}", "--plugin", plugin, "--verify", "--limit", "2", "--json")
    assert ended.code == 0 and len(ended.json()["rewrites"]) == 2
    assert onnxopt("run", model, "-p", "touch{bad=third}", "--plugin", plugin, "--verify", "--limit", "3").code == 1


def test_snapshots_and_claims(onnxopt: Command, model: Path, plugin: Path) -> None:
    ended = onnxopt("run", model, "-p", "annotate", "--plugin", plugin, "--snapshots", "snaps", "--check-claims")
    assert ended.code == 0 and Path("snaps/001-annotate.onnx").exists()
    ended = onnxopt("run", model, "-p", "denies", "--plugin", plugin, "--check-claims")
    assert ended.code == 1 and "denies, changed the graph, but returned False" in ended.err
    assert "--check-claims" in Path("onnxopt-reproducer/command.txt").read_text()


def test_sizes_of_symbols_are_taken_for_the_figures(onnxopt: Command, model: Path) -> None:
    one, ten = (onnxopt("run", model, "-p", "O1", "--json", *dims).json()["before"] for dims in ([], ["--dim", "N=10"]))
    assert ten["peak_activation_bytes"] == 10 * one["peak_activation_bytes"]


def test_warnings_go_to_stderr_and_into_the_json(onnxopt: Command, tmp_path: Path, plugin: Path) -> None:
    onnx.save(
        onnx.parser.parse_model(
            '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) { y = RandomNormalLike (x) }'
        ),
        "random.onnx",
    )
    ended = onnxopt("run", "random.onnx", "-p", "annotate", "--plugin", plugin, "--verify", "--json")
    assert ended.json()["warnings"] == ["not compared, since they depend on random operators: y"]
    assert ended.json()["difference"] == "no output can be compared"
    assert "warning: not compared" in ended.err
