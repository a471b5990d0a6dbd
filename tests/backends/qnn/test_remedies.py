"""What is said to help against a refusal is there."""

import pytest

from onnxopt.backends.qnn.remedies import BY_OPERATOR, BY_REASON, LEGALIZE, remedy
from onnxopt.backends.qnn.trace import Refusal
from onnxopt.pipeline.registry import Registry


def test_the_passes_that_are_named_are_passes():
    names = {LEGALIZE, *(helps.partition(",")[0] for helps in BY_OPERATOR.values())}
    assert names <= set(Registry().names())
    assert {"freeze-shapes", "fold-constants"} <= set(Registry().names()) and len(BY_REASON) == 3


@pytest.mark.parametrize(
    ("op", "reason", "helps"),
    [
        ("Acos", "Operators of type `Acos` are not supported by QNN", "legalize-qnn"),
        ("Gemm", "QNN FullyConnected Op only support alpha=1.0", "legalize-qnn, in some forms"),
        ("Loop", "Operators of type `Loop` are not supported by QNN", "unroll-loops"),
        ("Relu", "Cannot get shape", "give every dimension a size: freeze-shapes{NAME=SIZE}, then O3"),
        ("Unheard", "Operators of type `Unheard` are not supported by QNN", ""),
    ],
)
def test_by_operator_and_reason(op, reason, helps):
    assert remedy(Refusal("n", op, reason)) == helps
