"""Smallest and largest values found inside onnxruntime: the same ranges, remarks and errors as outside."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.errors import BadData
from onnxopt.quantization import extremes
from onnxopt.quantization.collecting import collect
from onnxopt.quantization.ranges import Ranges
from tests.passes.checks import parse
from tests.quantization.calibrated import images, requests, samples_for

MODEL = """<ir_version: 8, opset_import: ["": OPSET]> g (float[N, 2, 8, 8] x) => (float[N, 4] z)
  <float[3, 2, 1, 1] w = {1, 2, -1, 0.5, -1, -1}, float[3, 4] v = {1, -1, 0, 2, 1, -1, 0, 2, 1, -1, 0, 2}>
  { c = Conv(x, w) y = Relu(c) p = GlobalAveragePool(y) f = Flatten(p) m = MatMul(f, v) z = Relu(m) }"""
"""The last channel of y is always 0, and so are columns 1 and 2 of z."""
NAMES = ("x", "c", "y", "p", "m", "z")


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(extremes, "_FEW", 0)
    return monkeypatch


def ranges(graph: ir.Graph, *, batch: int | None = None) -> Ranges:
    return collect(graph, requests(*NAMES), samples_for(graph, images()), batch=batch)


@pytest.mark.parametrize("batch", [None, 5])
@pytest.mark.parametrize("opset", [9, 13, 18])
def test_ranges_and_remarks_are_the_same(inside: pytest.MonkeyPatch, opset: int, batch: int | None) -> None:
    graph = parse(MODEL.replace("OPSET", str(opset)))
    found = ranges(graph, batch=batch)
    inside.setattr(extremes, "_FEW", 10**9)
    expected = ranges(graph, batch=batch)
    assert found.samples == expected.samples == 12
    for name in NAMES:
        one, other = found.by_name[name], expected.by_name[name]
        np.testing.assert_allclose((one.low, one.high), (other.low, other.high), rtol=1e-5, err_msg=name)
    if opset > 9:  # where Flatten does not count from the end, products with weights have no channels
        assert found.remarks == expected.remarks
    assert "'y': 1 of 3 channels are always 0: 2" in found.remarks


@pytest.mark.parametrize("batch", [None, 1, 4])
@pytest.mark.parametrize(("number", "what"), [(-1.0, "NaN"), (0.0, "infinity")])
def test_what_is_not_finite_is_named(inside: pytest.MonkeyPatch, number: float, what: str, batch: int | None) -> None:
    graph = parse("""<ir_version: 8, opset_import: ["": 17]> g (float[N, 100] x) => (float[N, 100] y)
      { l = Log(x) y = Relu(l) }""")
    arrays = [np.ones(100, np.float32) for _ in range(8)]
    arrays[5][-1] = number
    with pytest.raises(BadData, match=f"^samples: tensor 'l' holds {what} in sample 5: leave"):
        collect(graph, requests("l", "y"), samples_for(graph, arrays), batch=batch)


def test_types_that_onnxruntime_does_not_reduce(inside: pytest.MonkeyPatch) -> None:
    graph = parse("""<ir_version: 8, opset_import: ["": 17]> g (float16[N, 4] x) => (float16[N, 4] y) { y = Neg(x) }""")
    found = collect(graph, requests("y"), samples_for(graph, [np.array([0, 1, 2, 3], np.float16)]))
    assert (found.by_name["y"].low, found.by_name["y"].high) == (-3, 0)


def test_samples_are_run_together_where_that_changes_nothing(inside: pytest.MonkeyPatch) -> None:
    graph, seen = parse(MODEL.replace("OPSET", "17")), []
    collect(graph, requests("y"), samples_for(graph, images(6)), report=lambda *said: seen.append(said[1]))
    mixing = parse("""<ir_version: 8, opset_import: ["": 17]> g (float[N, 4] x) => (float[1, M] y)
      <int64[2] shape = {1, -1}> { r = Reshape(x, shape) y = Softmax<axis = 1>(r) }""")
    data = samples_for(mixing, [np.zeros(4, np.float32)] * 3)
    found = collect(mixing, requests("y"), data, report=lambda *said: seen.append(said[1]))
    assert seen == [6, 1, 2, 3]
    assert found.by_name["y"].high == 0.25


def test_a_tensor_that_is_empty_for_a_later_sample(inside: pytest.MonkeyPatch) -> None:
    """onnxruntime has infinities as its extremes."""
    graph = parse("""<ir_version: 8, opset_import: ["": 17]> g (float[4] x) => (float[N] y)
      { i = NonZero(x) t = Transpose(i) v = GatherND(x, t) y = Neg(v) }""")
    arrays = [np.array(row, np.float32) for row in ([0, 1, 2, 0], [0, 0, 0, 0], [5, 0, 0, 0])]
    found = collect(graph, requests("y"), samples_for(graph, arrays))
    one = found.by_name["y"]
    assert (float(one.low), float(one.high), found.samples) == (-5, -1, 3)


@pytest.mark.parametrize("op", ["Relu(c)", "LeakyRelu<alpha = 0.5>(c)", "LeakyRelu<alpha = -0.5>(c)", "Clip(c, l, h)"])
def test_what_keeps_the_order_of_numbers_has_the_ends_of_what_it_reads(inside: pytest.MonkeyPatch, op: str) -> None:
    graph = parse(f"""<ir_version: 8, opset_import: ["": 17]> g (float[N, 2, 8, 8] x) => (float[N, 3, 8, 8] y)
      <float[3, 2, 1, 1] w = {{1, 2, -1, 0.5, -1, -1}}, float l = {{-0.25}}, float h = {{0.5}}>
      {{ c = Conv(x, w) y = {op} }}""")
    found = collect(graph, requests("c", "y"), samples_for(graph, images()))
    inside.setattr(extremes, "_FEW", 10**9)
    expected = collect(graph, requests("c", "y"), samples_for(graph, images()))
    for name in ("c", "y"):
        one, other = found.by_name[name], expected.by_name[name]
        np.testing.assert_allclose((one.low, one.high), (other.low, other.high), rtol=1e-6, err_msg=name)
    assert found.remarks == expected.remarks


def test_an_empty_tensor_behind_a_relu(inside: pytest.MonkeyPatch) -> None:
    graph = parse("""<ir_version: 8, opset_import: ["": 17]> g (float[4] x) => (float[N] y)
      { i = NonZero(x) t = Transpose(i) v = GatherND(x, t) n = Neg(v) y = Relu(n) }""")
    arrays = [np.full(4, -2, np.float32), np.zeros(4, np.float32), np.full(4, -3, np.float32)]
    found = collect(graph, requests("n", "y"), samples_for(graph, arrays)).by_name
    assert (found["n"].low, found["n"].high, found["y"].low, found["y"].high) == (2, 3, 2, 3)
