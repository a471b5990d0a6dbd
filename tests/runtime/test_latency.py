from __future__ import annotations

import numpy as np
import onnx.parser
import pytest

from onnxopt.runtime.latency import Ratio, latency_ratios
from onnxopt.runtime.session import NotRunnable, Session


def test_the_interval_of_a_median_is_two_order_statistics() -> None:
    ratio = Ratio(tuple(float(value) for value in range(25, 0, -1)))
    assert ratio.median == 13
    assert ratio.interval == (8, 19)  # ranks 8 and 18 of 25, rounded outwards (Conover, table A3: 8 and 18)


def test_few_values_give_no_more_than_their_range() -> None:
    assert Ratio((1.0, 3.0, 2.0)).interval == (1.0, 3.0)


def model(layers: int) -> onnx.ModelProto:
    nodes = "\n".join(f"x{n + 1} = MatMul(x{n}, x{n})" for n in range(layers))
    return onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g (float[96,96] x0) => (float[96,96] x{layers}) {{ {nodes} }}'
    )


def test_a_model_of_many_times_the_work_takes_longer() -> None:
    feeds = {"x0": np.full((96, 96), 0.01, np.float32)}
    itself, longer = latency_ratios([Session(model(2)), Session(model(30))], [feeds], rounds=7)
    assert set(itself.values) == {1.0}
    assert longer.median > 2  # fifteen times the multiplications; a round that something else disturbs may say less


def test_inputs_that_do_not_suit_are_the_models_fault() -> None:
    session = Session(model(1))
    with pytest.raises(NotRunnable, match="x0"):
        latency_ratios([session, session], [{"x0": np.zeros((2, 2), np.float32)}])
