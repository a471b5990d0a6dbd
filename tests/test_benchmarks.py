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
    assert report["table"][-1]["models"] == "all" and int(report["table"][-1]["ok"]) > 25


@pytest.fixture
def sign_model(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import conformance_cases

    (case,) = conformance_cases.cases({("simple", "test_sign_model")})
    return case


def test_conformance_tells_a_fault_of_ours_from_one_of_the_model(sign_model, monkeypatch):
    import conformance_check

    right = onnxopt.run

    def wrong(model, passes):
        result = right(model, passes)
        result.graph.nodes[0].op = "Neg"
        return result

    def crash(model, passes):
        raise IndexError("out of range")

    def verdict(run=right):
        monkeypatch.setattr(onnxopt, "run", run)
        return conformance_check.check(sign_model, "O2").verdict

    assert [verdict(), verdict(wrong), verdict(crash)] == ["ok", "WRONG", "CRASH"]
    ((_, given),) = sign_model.data
    given["y"] = given["y"] + 1
    assert [verdict(), verdict(wrong)] == ["already wrong", "WRONG"]


def test_planted_faults_are_found_and_killed_saves_leave_whole_files():
    status, report = run("planted_fault", "--rounds", "3")
    assert (status, report["holds"]) == (0, True), report["notes"]


@pytest.mark.parametrize("nodes", [200, 3000])
def test_the_synthetic_model_is_valid_and_has_the_nodes_asked_for(nodes, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from synthetic import count_nodes, large_model

    model = large_model(nodes)
    onnx.checker.check_model(model, full_check=True)
    assert count_nodes(model.graph) == nodes
