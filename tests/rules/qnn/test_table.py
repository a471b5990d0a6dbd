"""The table for HTP: whole, asked in order, and right on Qualcomm's emulator where that is installed."""

from __future__ import annotations

import numpy as np
import pytest

import onnxopt
from onnxopt import ir
from onnxopt.backends.qnn.htp import attempt
from onnxopt.backends.qnn.installed import missing
from onnxopt.ir.schema import find_schema
from onnxopt.rules.qnn.table import TABLE
from tests.passes.checks import random_feeds, run
from tests.rules.spelling_out.spelled import check, kept, model

SM8450 = 36


@pytest.mark.parametrize("op", TABLE)
def test_every_operator_is_one(op: str) -> None:
    assert any(find_schema(op, "", opset) for opset in (9, 18, 25)) and TABLE[op]
    assert all(spelling.what and spelling.since >= 7 for spelling in TABLE[op])


@pytest.mark.skipif(bool(missing()), reason=missing() or "")
@pytest.mark.parametrize(
    ("interface", "body", "constants"),
    [
        (
            "(float[1,3,6,6] x) => (float[1,3,6,6] y)",
            'y = AveragePool <kernel_shape=[2,2], auto_pad="SAME_UPPER"> (x)',
            "",
        ),
        ("(float[1,1,6,6] x) => (float[1,1,7,7] y)", 'y = Resize <mode = "cubic"> (x,,,s)', "int64[4] s = {1,1,7,7}"),
        ("(float[2,3,4] x) => (float[2,3,4] y)", "y = Hardmax <axis = 1> (x)", ""),
        ("(float[4,5] x) => (float[4,1] y)", "y = ReduceL1 (x, axes)", "int64[1] axes = {1}"),
    ],
)
def test_what_crashed_or_was_refused_is_right_on_the_emulator(interface: str, body: str, constants: str) -> None:
    graph = model(interface, body, constants)
    before = ir.to_proto(graph.copy())
    feeds = random_feeds(before)
    done = attempt(ir.to_proto(onnxopt.run(graph, "legalize-qnn", target="qnn").graph), SM8450, feeds, 120)
    assert done.ok, done.why
    wanted, found = run(before, feeds)["y"], done.outputs[0]["y"]
    noise = float(np.sum((wanted - found) ** 2))
    assert noise <= 1e-4 * float(np.sum(wanted**2))  # 40 dB


GELUS = [
    "d = Div (x, r) e = Erf (d) a = Add (e, one) m = Mul (x, a) y = Mul (m, half)",
    "d = Mul (q, x) e = Erf (d) a = Add (one, e) m = Mul (a, half) y = Mul (x, m)",
]
NUMBERS = "float r = {1.4142135}, float q = {0.7071}, float one = {1}, float half = {0.5}"


@pytest.mark.parametrize("body", GELUS)
def test_erf_in_a_gelu_stays(body: str) -> None:
    kept(model("(float[2,8] x) => (float[2,8] y)", body, NUMBERS, opset=17))


@pytest.mark.parametrize(
    "body",
    [
        "d = Mul (x, r) y = Erf (d)",
        "d = Div (x, half) e = Erf (d) y = Add (e, one)",
        "d = Div (x, r) e = Erf (d) a = Add (e, one) y = Mul (a, e)",
    ],
)
def test_other_erf_goes(body: str) -> None:
    check(model("(float[2,8] x) => (float[2,8] y)", body, NUMBERS, opset=17), gone="Erf")
