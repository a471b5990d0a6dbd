"""Small samples of benchmarks/, so that the scripts themselves stay right."""

import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

import onnxopt

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def run(script, *arguments):
    command = [sys.executable, str(BENCHMARKS / f"{script}.py"), "--json", *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.stdout, finished.stderr
    return finished.returncode, json.loads(finished.stdout)


def test_conformance_of_every_fiftieth_model():
    status, report = run("conformance", "--sample", "50")
    assert (status, report["holds"]) == (0, True), report["notes"]
    runs = ["O1", "O2", "O3 for coreml", "O3 for onnx", "O3 for qnn", "O3 for tensorrt"]
    assert [row["run"] for row in report["table"]] == runs
    assert all(int(row["ok"]) > 25 for row in report["table"])


@pytest.mark.parametrize("naming", ["each", "size"])
def test_conformance_of_every_eightieth_model_without_sizes(naming):
    status, report = run("conformance", "--sample", "80", "--passes", "O3", "--symbolic", naming)
    assert (status, report["holds"]) == (0, True), report["notes"]
    assert int(report["table"][0]["ok"]) > 15


@pytest.fixture
def sign_model(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import conformance_cases

    (case,) = conformance_cases.cases({("simple", "test_sign_model")})
    return case


def test_conformance_tells_a_fault_of_ours_from_one_of_the_model(sign_model, monkeypatch):
    import conformance_check

    right = onnxopt.run

    def wrong(model, passes, target):
        result = right(model, passes, target=target)
        if target == "qnn":
            result.graph.nodes[0].op = "Neg"
        return result

    def crash(model, passes, target):
        raise IndexError("out of range")

    def verdict(run=right):
        monkeypatch.setattr(onnxopt, "run", run)
        runs = [conformance_check.Run("O2", target) for target in ("onnx", "qnn")]
        other, found = conformance_check.check(sign_model, runs)
        assert run is crash or other.verdict in ("ok", "already wrong")
        return found.verdict

    assert [verdict(), verdict(wrong), verdict(crash)] == ["ok", "WRONG", "CRASH"]
    ((_, given),) = sign_model.data
    given["y"] = given["y"] + 1
    assert [verdict(), verdict(wrong)] == ["already wrong", "WRONG"]


def test_a_conformance_model_without_sizes_runs_at_other_ones_too(sign_model):
    from conformance_symbolic import symbolic

    opened = symbolic(sign_model, "each")
    (info,) = opened.model.graph.input
    assert [dim.dim_param for dim in info.type.tensor_type.shape.dim] == ["x_0"]
    assert [len(feeds["x"]) for feeds, _ in opened.data] == [7, 14, 1]
    assert [(given["y"] == 1).sum() for _, given in opened.data] == [3, 6, 0]


def test_planted_faults_are_found_and_killed_saves_leave_whole_files():
    status, report = run("planted_fault", "--rounds", "3")
    assert (status, report["holds"]) == (0, True), report["notes"]


def test_of_a_model_of_500_nodes_few_are_left():
    status, report = run("reduce", "--only", "within an If")
    assert (status, report["holds"]) == (0, True), report["notes"]


@pytest.mark.parametrize("nodes", [200, 3000])
def test_the_synthetic_model_is_valid_and_has_the_nodes_asked_for(nodes, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from synthetic import count_nodes, large_model

    model = large_model(nodes)
    onnx.checker.check_model(model, full_check=True)
    assert count_nodes(model.graph) == nodes


def test_optimizers_judges_ours_on_a_small_model():
    status, report = run("optimizers", "--only", "nodes,check", "--models", "digits", "--tools", "onnxopt")
    assert (status, report["verdicts"]["1"]) == (0, True), report["notes"]
    assert (
        report["models"]["digits_mobilenet"]["onnxopt"]["nodes"]
        < report["models"]["digits_mobilenet"]["original"]["nodes"]
    )
