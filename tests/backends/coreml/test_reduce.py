"""Reductions over every form of axes; the first and the last of equals; ties of TopK."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("coremltools", reason="packages are written by coremltools")

from tests.backends.coreml.single_nodes import case, floats, reasons, require_equal, together

X = np.abs(floats(2, 3, 4)) + 0.1
TIES = np.array([[2, 1, 2, 0, 1, 2], [0, 0, 0, 0, 0, 0], [1, 2, 3, 3, 2, 1]], np.float32)
INTEGERS = np.array([[-7, 2, 2], [4, -2, 1]], np.int32)
REDUCTIONS = ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
              "ReduceProd", "ReduceSumSquare")  # fmt: skip
FEW = np.array([3], np.int64)
CASES = {
    **{f"{op}_attribute": case(op, X, opset=11, axes=[0, -1], keepdims=0) for op in (*REDUCTIONS, "ReduceSum")},
    **{f"{op}_all": case(op, X) for op in REDUCTIONS},
    **{
        f"{op}_none": case(op, X, np.zeros(0, np.int64), constant=[1], noop_with_empty_axes=1)
        for op in (*REDUCTIONS, "ReduceSum")
    },
    "sum_input": case("ReduceSum", X, np.array([-2], np.int64), constant=[1]),
    "sum_of_bytes_wraps": case("ReduceMax", np.array([[1, 255]], np.uint8), np.array([1], np.int64), constant=[1]),
    "mean_of_integers_truncates": case("ReduceMean", INTEGERS, np.array([1], np.int64), constant=[1]),
    "max_of_truth": case("ReduceMax", TIES > 1, np.array([1], np.int64), constant=[1], opset=20),
    **{
        f"{op}_{last}_{kind}": case(op, value, opset=13, axis=1, select_last_index=last, keepdims=keep)
        for op, kind, value, keep in (
            ("ArgMax", "floats", TIES, 1),
            ("ArgMin", "floats", TIES, 0),
            ("ArgMax", "integers", INTEGERS, 0),
        )
        for last in (0, 1)
    },
    "topk": case("TopK", TIES, FEW, constant=[1], outputs=2),
    "topk_smallest": case("TopK", TIES, FEW, constant=[1], outputs=2, largest=0),
    "topk_other_axis": case("TopK", TIES, FEW, constant=[1], outputs=2, axis=0),
    "topk_one": case("TopK", TIES, np.array([1], np.int64), constant=[1], outputs=2),
    "topk_integers": case("TopK", TIES.astype(np.int32), FEW, constant=[1], outputs=2),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return together(CASES, tmp_path_factory.mktemp("reduce"))


@pytest.mark.parametrize("name", CASES)
def test_gives_what_onnxruntime_gives(name: str, found: Any) -> None:
    require_equal(*found[name])


def test_the_order_of_equals_does_not_hang_on_mil() -> None:
    """MIL's `topk` may give the places of equal numbers in any order: the program takes only its numbers."""
    from coremltools import target

    from onnxopt import ir
    from onnxopt.backends.coreml.lowering.program import lower
    from tests.backends.coreml.single_nodes import model_of

    program = lower(ir.from_proto(model_of([("n", CASES["topk"])], 18)[0]), target.iOS17).program
    assert program is not None
    (topk,) = program.functions["main"].find_ops(op_type="topk")
    assert topk.outputs[0].child_ops and not topk.outputs[1].child_ops


def test_what_cannot_be_said_is_refused() -> None:
    assert "axes" in reasons(case("ReduceSum", X, FEW - 2))
    assert "ReduceL2 of integers" in reasons(case("ReduceL2", INTEGERS))
    assert "k" in reasons(case("TopK", TIES, FEW, outputs=2))
    assert "the size of axis 1 has to be fixed" in reasons(case("ArgMax", TIES, axis=1), d1="width")
    assert not reasons(case("ArgMax", TIES, axis=1), d0="batch")
