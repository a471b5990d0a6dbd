"""No call of ours is missing in TensorRT 10, in TensorRT 11, or in the TensorRT-RTX that is installed."""

import ast
import json

import pytest

from tests.backends.tensorrt.api_use import BACKEND, GUARDED, RECEIVERS, has, importers, used
from tests.backends.tensorrt.make_api import API, VERSIONS

FACTS = json.loads(API.read_text())


@pytest.mark.parametrize("version", VERSIONS)
def test_every_name_that_we_use_is_in_that_version_or_is_asked_for_before(version):
    """api.json is what the bindings themselves said (make_api.py)."""
    assert used() - set(FACTS[version]) == GUARDED & used(), "if the name is a new one, run make_api.py"


def test_every_name_that_we_use_is_in_the_installed_tensorrt_rtx():
    trt = pytest.importorskip("tensorrt_rtx")
    assert not {name for name in used() if not has(trt, name)}


def test_what_only_rtx_has_is_asked_for():
    asked = {
        node.args[1].value
        for node in ast.walk(ast.parse((BACKEND / "vendor.py").read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "hasattr"
    }
    assert {"ComputeCapability", "num_compute_capabilities", "Builder"} <= asked


def test_no_other_module_imports_bindings():
    assert importers() == set(RECEIVERS)


def test_what_was_removed_in_11_is_not_used():
    """The precision is in the graph: flags and calibrators are gone."""
    gone = {"IBuilderConfig.int8_calibrator", "NetworkDefinitionCreationFlag.EXPLICIT_BATCH"}
    assert not gone & used() and "NetworkDefinitionCreationFlag.STRONGLY_TYPED" in used()
    assert len(used()) > 40
