"""Ranges of activations: against onnxruntime's calibrators, per channel, in bounded memory, with errors that name."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
from onnxruntime.quantization.calibrate import create_calibrator

from onnxopt import ir
from onnxopt.data import inputs_of
from onnxopt.data.dataset import data_set
from onnxopt.errors import BadData, BadOption
from onnxopt.quantization.collecting import collect
from onnxopt.quantization.observers import METHODS
from onnxopt.quantization.request import Request
from tests.passes.checks import parse, run
from tests.quantization.calibrated import CONVOLUTION, UINT8, convolution, images, requests, samples_for


class Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, arrays: list[np.ndarray]) -> None:
        self._arrays = iter(arrays)

    def get_next(self) -> dict[str, np.ndarray] | None:
        array = next(self._arrays, None)
        return None if array is None else {"x": array[None]}


def theirs(folder: Path, method: CalibrationMethod, arrays: list[np.ndarray]) -> dict[str, tuple[float, float]]:
    path = folder / "model.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(onnx.parser.parse_model(CONVOLUTION)), path)
    calibrator = create_calibrator(
        str(path), ["Conv", "Relu"], augmented_model_path=str(folder / "augmented.onnx"), calibrate_method=method
    )
    calibrator.collect_data(Reader(arrays))
    found = calibrator.compute_data()
    return {name: tuple(float(np.ravel(end)[0]) for end in found[name].range_value) for name in ("x", "c", "y")}


def test_minmax_is_onnxruntimes(tmp_path: Path) -> None:
    arrays, graph = images(), convolution()
    found = collect(graph, requests("x", "c", "y"), samples_for(graph, arrays)).by_name
    for name, (low, high) in theirs(tmp_path, CalibrationMethod.MinMax, arrays).items():
        np.testing.assert_allclose((found[name].low, found[name].high), (low, high), rtol=1e-6, err_msg=name)


def test_percentile_is_close_to_onnxruntimes(tmp_path: Path) -> None:
    arrays, graph = images(40), convolution()
    ours = collect(graph, requests("x", "c"), samples_for(graph, arrays), method="percentile", percentile=99.999)
    expected = theirs(tmp_path, CalibrationMethod.Percentile, arrays)
    for name, found in ours.by_name.items():
        width = expected[name][1] - expected[name][0]
        np.testing.assert_allclose((found.low, found.high), expected[name], atol=0.01 * width, err_msg=name)


@pytest.mark.parametrize("batch", [None, 1, 5])
@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy", "mse"])
def test_it_does_not_matter_how_samples_are_batched(method: str, batch: int | None) -> None:
    graph, arrays = convolution(), images()
    one, other = (
        collect(graph, requests("x", "y"), samples_for(graph, arrays), method=method, batch=b).by_name  # type: ignore[arg-type]
        for b in (12, batch)
    )
    for name in one:
        np.testing.assert_allclose((one[name].low, one[name].high), (other[name].low, other[name].high), rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_ranges_of_channels(method: str) -> None:
    graph, arrays = convolution(), images()
    found = collect(graph, requests("c", axis=1), samples_for(graph, arrays), method=method).by_name["c"]  # type: ignore[arg-type]
    expected = run(ir.to_proto(_with_output(graph, "c")), {"x": np.stack(arrays)})["c"]
    np.testing.assert_allclose(found.seen_low, expected.min((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(found.seen_high, expected.max((0, 2, 3)), rtol=1e-5)
    assert found.axis == 1 and (found.seen_low <= found.low).all() and (found.high <= found.seen_high).all()


def _with_output(graph: ir.Graph, name: str) -> ir.Graph:
    other = graph.copy()
    other.outputs.append(next(out for node in other.nodes for out in node.outputs if out.name == name))
    return other


def test_the_graph_stays_as_it_is() -> None:
    graph = convolution()
    before = ir.fingerprint(graph)
    found = collect(graph, requests("x", "c"), samples_for(graph, images()))
    assert ir.fingerprint(graph) == before == found.fingerprint
    assert found.samples == 12 and found.method == "minmax"


def test_at_most_so_many_samples() -> None:
    graph = convolution()
    seen: list[tuple[str, int, int]] = []
    found = collect(
        graph, requests("x"), samples_for(graph, images()), samples=7, batch=3, report=lambda *said: seen.append(said)
    )
    assert found.samples == 7
    assert seen == [("samples", 3, 7), ("samples", 6, 7), ("samples", 7, 7)]


@pytest.mark.parametrize("method", METHODS)
def test_memory_does_not_grow_with_the_samples(method: str) -> None:
    graph = convolution()
    (spec,) = inputs_of(ir.to_proto(graph, max_inline=0))

    def peak(count: int) -> int:
        def samples() -> Iterator[dict[str, np.ndarray]]:
            rng = np.random.default_rng(0)
            return ({"x": rng.random((2, 8, 8), np.float32)} for _ in range(count))

        tracemalloc.start()
        collect(graph, requests("x", "c", "y"), data_set("samples", [spec], samples), method=method, batch=1)  # type: ignore[arg-type]
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(1)  # what is only made once
    kept = 2048 * (400 - 40)  # bytes, if the values of every batch were
    assert peak(400) < peak(40) + kept / 3, "more than what the bins need that fill later"


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize(("number", "what"), [(-1.0, "NaN"), (0.0, "infinity")])
def test_what_is_not_finite_is_named(number: float, what: str, batch: int) -> None:
    graph = parse("""<ir_version: 8, opset_import: ["": 17]> g (float[N, 4] x) => (float[N, 4] y)
      { l = Log(x) y = Relu(l) }""")
    arrays = [np.ones(4, np.float32) for _ in range(8)]
    arrays[5][2] = number
    with pytest.raises(BadData, match=f"^samples: tensor 'l' holds {what} in sample 5: leave the sample out"):
        collect(graph, requests("l", "y"), samples_for(graph, arrays), batch=batch)


def test_remarks_name_dead_channels_and_constants() -> None:
    graph = parse("""<ir_version: 8, opset_import: ["": 17]>
      g (float[N, 2, 8, 8] x) => (float[N, 3, 8, 8] y, float[N, 2, 8, 8] z)
      <float[3, 2, 1, 1] w = {1, 2, -1, 0.5, -1, -1}, float three = {3}>
      { c = Conv(x, w) y = Relu(c) s = Sub(x, x) z = Add(s, three) }""")
    remarks = collect(graph, requests("c", "y", "z"), samples_for(graph, images())).remarks
    assert remarks == ("'y': 1 of 3 channels are always 0: 2", "'z' is always 3")


def test_channels_without_weights_are_dead_without_a_word() -> None:
    text = CONVOLUTION.replace("-1, -1}", "0, 0}")
    graph = parse(text)
    found = collect(graph, requests("c", "y"), samples_for(graph, images()))
    assert found.remarks == ()
    graph = parse(text.replace("}>", "}, float[3] b = {0, 0, -1}>").replace("Conv(x, w)", "Conv(x, w, b)"))
    assert collect(graph, requests("y"), samples_for(graph, images())).remarks == (
        "'y': 1 of 3 channels are always 0: 2",
    )


def test_remarks_name_what_saturates() -> None:
    graph = convolution()
    found = collect(graph, requests("x"), samples_for(graph, images()), method="percentile", percentile=90)
    (remark,) = found.remarks
    assert remark == "'x': 10.0% of its values saturate"
    assert found.by_name["x"].saturated == pytest.approx(0.1, abs=0.01)


def test_remarks_name_masks() -> None:
    graph = parse("""<ir_version: 8, opset_import: ["": 17]> g (float[N, 4] x) => (float[N, 4] y)
      <float[4] mask = {0, 0, 0, -3e38}> { y = Add(x, mask) }""")
    (remark,) = collect(graph, requests("y"), samples_for(graph, [np.ones(4, np.float32)])).remarks
    assert remark == "'y' reaches from -3e+38 to 1, as a mask does: quantize cuts it off"


def test_float16_and_integers() -> None:
    graph = parse("""<ir_version: 8, opset_import: ["": 17]> g (float16[N, 4] x) => (int64[N, 4] y)
      { h = Neg(x) y = Cast<to = 7>(h) }""")
    data = samples_for(graph, [np.array([0, 1, 2, 3], np.float16)])
    found = collect(graph, requests("x", "h", "y"), data, method="percentile", percentile=100).by_name
    assert (found["h"].low, found["h"].high, found["y"].low, found["x"].high) == (-3, 0, -3, 3)


def test_a_batch_of_one_that_is_written_into_the_graph() -> None:
    """Two samples at a time do not fit the Reshape: they are run one by one."""
    graph = parse("""<ir_version: 8, opset_import: ["": 17]> g (float[N, 4] x) => (float[1, 2, 2] y)
      <int64[3] shape = {1, 2, 2}> { y = Reshape(x, shape) }""")
    arrays = [np.full(4, i, np.float32) for i in range(5)]
    assert collect(graph, requests("y"), samples_for(graph, arrays)).by_name["y"].high == 4


def test_samples_that_are_mixed_in_a_batch() -> None:
    graph = parse("""<ir_version: 8, opset_import: ["": 17]> g (float[N, 4] x) => (float[1, M] y)
      <int64[2] shape = {1, -1}> { r = Reshape(x, shape) y = Softmax<axis = 1>(r) }""")
    arrays = [np.zeros(4, np.float32) for i in range(5)]
    assert collect(graph, requests("y"), samples_for(graph, arrays)).by_name["y"].high == 0.25


def test_unknown_tensors_and_contradictions_are_refused() -> None:
    graph, data = convolution(), samples_for(convolution(), images(1))
    with pytest.raises(BadOption, match="computes a tensor 'w'"):
        collect(graph, requests("w"), data)
    with pytest.raises(BadOption, match="'x' is asked for in two ways"):
        collect(graph, [Request("x", UINT8), Request("x", UINT8, 1)], data)
    with pytest.raises(BadOption, match="there is no observer 'minimax'; there are minmax"):
        collect(graph, requests("x"), data, method="minimax")  # type: ignore[arg-type]
    with pytest.raises(BadOption, match=r"a percentile of 0\.999 keeps too little"):
        collect(graph, requests("x"), data, method="percentile", percentile=0.999)


def test_the_moving_average_takes_a_step_each_sample() -> None:
    graph = parse(
        """<ir_version: 8, opset_import: ["": 17]> g (float[N, 2] x) => (float[N, 2] y) { y = Identity(x) }"""
    )
    arrays = [np.array([-a, a], np.float32) for a in (1, 2, 4)]
    found = collect(graph, requests("y"), samples_for(graph, arrays), method="moving-average", momentum=0.5)
    assert (found.by_name["y"].low, found.by_name["y"].high) == (-2.75, 2.75)
    assert found.by_name["y"].seen_high == 4
