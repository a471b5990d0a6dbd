"""`calibrate`: the tensors that the target wants, into ranges that `quantize` and --save-ranges find."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.errors import BadData, BadOption, BadPipeline
from onnxopt.passes.calibrate import Calibrate
from onnxopt.pipeline.base import Context
from onnxopt.pipeline.pipeline import parse_pipeline
from onnxopt.pipeline.registry import Registry
from onnxopt.pipeline.target import quantization_rules
from onnxopt.quantization.plan import Choices, plan
from onnxopt.quantization.range_file import save_ranges
from onnxopt.quantization.ranges import Ranges
from tests.passes.checks import parse, run_pass
from tests.quantization.calibrated import convolution, images, samples_for


@pytest.mark.parametrize("target", [None, "onnx", "qnn", "tensorrt", "coreml"])
def test_exactly_what_the_target_will_quantize(target: str | None) -> None:
    graph = convolution()
    changed, ctx = run_pass(Calibrate(), graph, data=samples_for(graph, images()), target=target)
    found = ctx.kept(Ranges)
    assert not changed and found is not None
    requests = plan(graph, quantization_rules(target), Choices(), Context(target)).requests
    assert list(found.by_name) == [request.tensor for request in requests]
    assert found.by_name or target == "tensorrt", "which leaves a first Conv of few channels in float"


def test_the_graph_stays_as_it_is() -> None:
    graph = convolution()
    before = ir.fingerprint(graph)
    run_pass(Calibrate("entropy"), graph, data=samples_for(graph, images()))
    assert ir.fingerprint(graph) == before


def test_samples_and_progress() -> None:
    graph, seen = convolution(), []
    _, ctx = run_pass(
        Calibrate(samples=5, batch=2),
        graph,
        data=samples_for(graph, images()),
        report_progress=lambda *said: seen.append(said),
    )
    assert ctx.kept(Ranges).samples == 5  # type: ignore[union-attr]
    assert seen[-1] == ("samples", 5, 5)


def test_remarks_are_warnings_of_the_pass() -> None:
    graph = convolution()
    _, ctx = run_pass(Calibrate(), graph, data=samples_for(graph, images()))
    assert ctx.warnings == ["calibrate: 'y': 1 of 3 channels are always 0: 2"]


def test_nothing_to_quantize_is_told() -> None:
    graph = parse("""<ir_version: 8, opset_import: ["": 17]> g (float[N] x) => (float[N] y) { y = Relu(x) }""")
    _, ctx = run_pass(Calibrate(), graph, data=samples_for(graph, [np.ones((), np.float32)]))
    assert any("nothing in the main graph is to be quantized" in line for line in ctx.warnings)


def test_it_needs_data() -> None:
    with pytest.raises(BadOption, match="calibrate needs calibration data: give --data"):
        run_pass(Calibrate(), convolution())


def test_ranges_of_a_file(tmp_path: Path) -> None:
    graph, path = convolution(), tmp_path / "r.json"
    _, ctx = run_pass(Calibrate("mse"), graph, data=samples_for(graph, images()))
    made = ctx.kept(Ranges)
    assert made is not None
    save_ranges(made, path)
    _, ctx = run_pass(Calibrate(ranges=str(path)), graph)
    read = ctx.kept(Ranges)
    assert read is not None and read.method == "mse" and list(read.by_name) == list(made.by_name)
    graph.nodes[0].name = "another"
    with pytest.raises(BadData, match="was calibrated on another graph"):
        run_pass(Calibrate(ranges=str(path)), graph)


def test_ranges_of_another_target(tmp_path: Path) -> None:
    graph, path = convolution(), tmp_path / "r.json"
    save_ranges(Ranges({}, "minmax", 1, ir.fingerprint(graph)), path)
    with pytest.raises(BadOption, match=r"r\.json has no range for '.*calibrated for another target"):
        run_pass(Calibrate(ranges=str(path)), graph)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("percentile=40", "a percentile of 40 keeps too little"),
        ("momentum=1", "never moves"),
        ("samples=0", "samples is 0: give at least 1"),
        ("batch=-2", "batch is -2"),
        ("method=kl", "one of minmax|moving-average|percentile|entropy|mse"),
    ],
)
def test_options_that_make_no_sense(options: str, reason: str) -> None:
    with pytest.raises((BadPipeline, BadOption), match=re.escape(reason)):
        parse_pipeline(f"calibrate{{{options}}}", Registry())
