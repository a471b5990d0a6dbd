"""What a failure is told by: the messages of the verification as they are, and the places that raise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.errors import CheckFailed, PassFailed
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.pipeline.instruments.verify import Verify
from onnxopt.pipeline.manager import Manager
from onnxopt.pipeline.pipeline import Pipeline
from onnxopt.pipeline.reduction.failure import Failure, Kind, of_end, of_error, of_status
from onnxopt.runtime.child import ChildFailed
from tests.pipeline import planted


def failure(*passes: Pass, text: str = planted.MODEL) -> Failure:
    manager = Manager([Verify()])
    with pytest.raises((CheckFailed, PassFailed)) as raised:
        manager.run(planted.graph(text), Pipeline(passes), Context())
    return of_error(raised.value, manager.current)


def rename_input(graph: ir.Graph) -> None:
    graph.inputs[0].name = "other"


def wrong_operator(graph: ir.Graph) -> None:
    graph.nodes[1].op = "Rleu"


def wrong_shape(graph: ir.Graph) -> None:
    graph.outputs[0].shape = [1, 4]


def not_a_number(graph: ir.Graph) -> None:
    graph.constants[0].values = np.full(4, np.nan, np.float32)


def doubled(graph: ir.Graph) -> None:
    planted.scale_weights(graph, 2.0)


@pytest.mark.parametrize(
    ("edit", "what"),
    [
        (doubled, "broke output: differs"),
        (not_a_number, "broke output: expected"),
        (rename_input, "changed the inputs"),
        (wrong_shape, "changed the output"),
        (wrong_operator, "made a model that onnx's checker refuses"),
    ],
)
def test_the_verification_is_told_by_its_first_words(edit: Callable[[ir.Graph], None], what: str) -> None:
    found = failure(planted.editing(edit))
    assert (found.kind, found.where, found.what) == (Kind.REFUSED, "edited", what)


def test_a_denied_change_and_a_missing_answer() -> None:
    assert failure(planted.Denies()).what == "changed the graph, but returned that it did not"
    forgot = failure(planted.SaysNothing())
    assert (forgot.kind, forgot.what) == (Kind.RAISED, "returned None")


def test_neither_the_number_of_a_pass_nor_the_output_counts() -> None:
    one = failure(planted.BreakUngated())
    other = failure(planted.Nothing(), planted.BreakUngated(), text=planted.MODEL.replace(" y", " why"))
    assert one == other and one.message != other.message


def test_an_exception_is_told_by_its_class_and_its_line() -> None:
    one, other = failure(planted.Raises("third")), failure(planted.Raises("fifth"))
    assert one == other and one.what.startswith("KeyError at ")

    def divide(graph: ir.Graph) -> None:
        _ = 1 / 0 if len(graph.nodes) == 5 else 2 / 0

    def raise_elsewhere(graph: ir.Graph) -> None:
        int("none")

    assert failure(planted.editing(divide)) != failure(planted.editing(raise_elsewhere))


def test_a_stack_that_is_full_is_full_anywhere() -> None:
    def deeper(graph: ir.Graph) -> None:
        deeper(graph)

    assert failure(planted.editing(deeper)).what == "RecursionError"


def test_ends_without_an_answer() -> None:
    crash = of_end(ChildFailed("the process was killed by SIGSEGV", signal_name="SIGSEGV"), "quantize")
    assert crash == Failure(Kind.CRASHED, "quantize", "SIGSEGV", "")
    late = of_end(ChildFailed("it took longer than 3 s", timed_out=True), "quantize")
    assert (late.kind, late.message) == (Kind.TOO_LONG, "quantize: it took longer than 3 s")
    assert of_status(3, "a") == of_status(3, "b") != of_status(-11, "a")


def test_what_a_pass_promises_does_not_matter() -> None:
    assert failure(planted.editing(not_a_number, Preserves.ACCURACY)).what == "broke output: expected"
