"""What the builder alone takes without a word is refused by name, with what helps; what it computes right is not."""

from __future__ import annotations

import importlib.util
import re

import onnx
import pytest

from onnxopt import ir
from onnxopt.backends.tensorrt import Tensorrt, precisions
from onnxopt.backends.tensorrt.layers import LayerReport, layers_of
from onnxopt.backends.tensorrt.naming import with_names
from onnxopt.backends.tensorrt.refusing import hazards
from onnxopt.pipeline.backend import Problem, Refused
from onnxopt.runtime.child import run_in_child
from tests.backends.tensorrt.hazards import FINE, HAZARDS, IN_FLOAT, IN_NOTES, MISREAD, TAKEN_FOR, Hazard

needs_builder = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="TensorRT-RTX is not installed: pip install onnxopt[test]"
)
FLOAT_IN_NOTES = [name for name in IN_NOTES if IN_NOTES[name].names == "Conv -> y"]
"""Those of a Conv. The kernel that the builder makes of a MatMul reads int8, and dequantizes it before it sums up."""


def engines(several: dict[str, Hazard]) -> dict[str, tuple[ir.Graph, LayerReport, str]]:
    """The layers and the digests of the engines that the parser and the builder alone make, in one child for all."""
    graphs = {name: with_names(ir.from_proto(each.model)) for name, each in several.items()}
    models = {name: ir.to_proto(graph).SerializeToString() for name, graph in graphs.items()}
    found = run_in_child("tests.backends.tensorrt.child_work:build_all", models, timeout=300)
    errors = {name: built.errors for name, (built, _, _) in found.items() if not built.is_built}
    assert not errors and found.keys() == several.keys()
    return {name: (graphs[name], layers_of(log), digest) for name, (_, log, digest) in found.items()}


def computed_in(made: dict[str, tuple[ir.Graph, LayerReport, str]]) -> dict[str, set[str]]:
    """The precisions of the nodes that multiply, by model."""
    return {name: set(precisions.of(graph, report.layers)["by_precision"]) for name, (graph, report, _) in made.items()}


def refuses(found: list[Problem], hazard: Hazard) -> bool:
    return any(each.node == hazard.names and re.search(hazard.why, each.reason) for each in found)


@pytest.mark.parametrize("name", HAZARDS)
def test_a_hazard_is_refused_by_the_name_of_its_node(name: str) -> None:
    hazard = HAZARDS[name]
    found = hazards(ir.from_proto(hazard.model))
    assert refuses(found, hazard), found
    assert len({each.node for each in found}) == len(found)  # each node once
    assert all(";" in each.reason or "(" in each.reason for each in found)  # with what helps


@pytest.mark.parametrize("name", FINE)
def test_what_the_builder_does_right_is_not_refused(name: str) -> None:
    assert hazards(ir.from_proto(FINE[name].model)) == []


@needs_builder
@pytest.mark.parametrize("several", [IN_NOTES, IN_FLOAT, MISREAD], ids=["in the notes", "in float", "misread"])
def test_the_builder_alone_takes_every_hazard_and_check_takes_none(several: dict[str, Hazard]) -> None:
    found = computed_in(engines(several))
    silent = FLOAT_IN_NOTES if several is IN_NOTES else several if several is IN_FLOAT else ()
    assert {name: found[name] for name in silent} == {name: {"fp32"} for name in silent}
    for hazard in several.values():
        assert refuses(Tensorrt(flavor="rtx").check(ir.from_proto(hazard.model)), hazard), hazard


@needs_builder
def test_the_builder_computes_in_integers_what_is_not_refused() -> None:
    found = computed_in(engines(FINE))
    quantized = [name for name in FINE if "alone" not in name and "Gelu" not in name]
    assert {name: found[name] for name in quantized} == {name: {"int8"} for name in quantized}


@needs_builder
def test_of_what_is_misread_the_engine_is_that_of_another_model() -> None:
    said = {name: digest for name, (_, _, digest) in engines({name: HAZARDS[name] for name in TAKEN_FOR}).items()}
    meant = {name: digest for name, (_, _, digest) in engines(TAKEN_FOR).items()}
    assert said == meant


@needs_builder
def test_nothing_is_written_of_a_hazard(tmp_path) -> None:
    path = tmp_path / "m.engine"
    with pytest.raises(Refused, match=r"QuantizeLinear -> xq: .*uint8"):
        Tensorrt(flavor="rtx").write(ir.from_proto(IN_NOTES["uint8 with zero point 0"].model), path)
    assert not list(tmp_path.iterdir())


def test_the_full_tensorrt_has_integer_deconvolutions() -> None:
    graph = ir.from_proto(IN_FLOAT["ConvTranspose"].model)
    assert hazards(graph, "enterprise") == []
    assert [each.node for each in hazards(graph)] == ["ConvTranspose -> y"]


def test_float_models_are_not_refused() -> None:
    body = "c = Conv (x, f) r = Relu (c) y = Add (r, r)"
    model = Hazard(body, "", "", {"f": IN_NOTES["data alone"].weights["f"]}).model
    onnx.checker.check_model(model)
    assert hazards(ir.from_proto(model)) == []
