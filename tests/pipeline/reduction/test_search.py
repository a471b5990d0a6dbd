from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxopt import ir
from onnxopt.api import open_samples
from onnxopt.errors import BadOption, CheckFailed, PassFailed
from onnxopt.pipeline.base import Context, Pass
from onnxopt.pipeline.instruments.verify import Verify
from onnxopt.pipeline.manager import Manager
from onnxopt.pipeline.pipeline import Pipeline, Repeat
from onnxopt.pipeline.reduction.failure import Kind
from onnxopt.pipeline.reduction.search import Reduced, Reduction
from onnxopt.pipeline.source import Source
from onnxopt.runtime.session import Session
from tests.pipeline.reduction.faults import (
    OPS,
    Harmless,
    Kills,
    Leaves,
    RaisesAt,
    RaisesOnTheWay,
    RaisesTwice,
    Swaps,
    TripsOver,
    chain,
    parse,
    with_weights,
)


def reduced(model: object, *passes: Pass | Repeat, **options: object) -> Reduced:
    """Reduce, and hold what is left to being a valid model that onnxruntime runs."""
    found = Reduction(Source.of(model), Pipeline(passes) if passes else None, **options).run()
    proto = ir.to_proto(found.graph)
    onnx.checker.check_model(proto, full_check=True)
    Session(proto).run(found.feeds or {})
    return found


def names(found: Reduced) -> list[str]:
    return [node.name for node in ir.every_node(found.graph)]


# What is left


def test_of_many_nodes_the_one_that_fails_is_left() -> None:
    found = reduced(chain(100), RaisesAt(("n37",)))
    assert (names(found), found.nodes, found.is_minimal) == (["n37"], (100, 1), True)
    assert found.tried < 60


def test_nodes_far_apart_are_left() -> None:
    assert names(reduced(chain(60), RaisesAt(("n3", "n31", "n58")))) == ["n3", "n31", "n58"]


def test_nodes_between_are_bypassed_where_the_way_is_needed() -> None:
    found = reduced(chain(30), RaisesOnTheWay("n5", "n25"))
    assert names(found) == ["n5", "n25"]
    assert found.graph.nodes[1].inputs[0] is found.graph.nodes[0].outputs[0]


def test_inner_values_become_inputs_with_the_numbers_that_they_had() -> None:
    found = reduced(chain(8), RaisesAt(("n5",)), dims={"N": 2})
    (name,) = found.feeds
    (outer,) = Reduction(Source.of(chain(8)), Pipeline((RaisesAt(("n0",)),)), dims={"N": 2}).run().feeds.values()
    model = chain(5)
    assert np.array_equal(found.feeds[name], Session(model).run({"t0": outer})["t5"])


def test_symbolic_dimensions_stay() -> None:
    found = reduced(chain(8), RaisesAt(("n5",)))
    assert [tensor.shape for tensor in (*found.graph.inputs, *found.graph.outputs)] == [["N", 3], ["N", 3]]


def test_outputs_that_the_failure_does_not_need_are_hidden() -> None:
    found = reduced(chain(20, extra=2), RaisesAt(("n5", "e5_1")))
    assert sorted(names(found)) == ["e5_1", "n5"] and len(found.graph.outputs) == 1


def test_unread_initializers_and_inputs_are_gone() -> None:
    model = with_weights(chain(5), w=np.ones(3, np.float32), v=np.ones(2, np.float32))
    model.graph.input.append(helper.make_tensor_value_info("unread", 1, [2]))
    proto = ir.to_proto(reduced(model, RaisesAt(("n2",))).graph)
    assert [len(proto.graph.input), len(proto.graph.initializer)] == [1, 0]


def test_shapes_become_constants_and_not_inputs() -> None:
    model = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        m (float[N, 4] x) => (float[A, B] y) <int64[1] last = {-1}, int64 zero = {0}, int64[1] axis = {0}> {
            s = Shape(x) d = Gather(s, zero) u = Unsqueeze(d, axis) c = Concat<axis = 0>(u, last)
            [reshape] y = Reshape(x, c)
        }""")
    found = reduced(model, RaisesAt(("reshape",)))
    assert [tensor.name for tensor in found.graph.inputs] == ["x"]
    assert isinstance(found.graph.nodes[0].inputs[1], ir.Constant)


def test_values_that_are_not_finite_become_constants() -> None:
    """`--data` refuses them, as calibration data must."""
    text = """<ir_version: 8, opset_import: ["" : 17]> m (float[2] x) => (float[2] y) <float zero = {0}> {
        [divide] d = Div(x, zero) [last] y = Relu(d) }"""
    found = reduced(parse(text), RaisesAt(("last",)))
    assert found.graph.inputs == [] and isinstance(found.graph.nodes[0].inputs[0], ir.Constant)


# Subgraphs and functions

NESTED = """
<ir_version: 8, opset_import: ["" : 17]>
m (float[N, 3] x) => (float[N, 3] y) <float zero = {0}> {
    [a] a = Abs(x)
    [sum] s = ReduceSum<keepdims = 0>(a)
    [choice] c = Greater(s, zero)
    [outer] o = If(c) <
        then_branch = then () => (float[N, 3] t) {
            [t1] t1 = Neg(a) [t2] t2 = Tanh(t1) [inner] i = If(c) <
                then_branch = deep () => (float[N, 3] d) { [d1] d1 = Exp(t2) [d2] d2 = Neg(d1) [d3] d = Abs(d2) },
                else_branch = shallow () => (float[N, 3] e) { [e1] e1 = Neg(t2) [e2] e = Abs(e1) }
            > [t3] t = Sigmoid(i)
        },
        else_branch = otherwise () => (float[N, 3] u) { [u1] u1 = Neg(a) [u2] u2 = Neg(u1) [u3] u = Neg(u2) }
    >
    [last] y = Neg(o)
}"""


@pytest.mark.parametrize("node", ["d2", "e1", "t2", "u2"])
def test_a_node_of_a_branch_is_left_alone_where_the_branch_is_not_needed(node) -> None:
    found = reduced(parse(NESTED), RaisesAt((node,)))
    assert names(found) == [node]


@pytest.mark.parametrize("node", ["d2", "t2"])
def test_a_wrong_rewrite_in_a_branch_is_found(node) -> None:
    assert names(reduced(parse(NESTED), Swaps(node, "Sin"))) == [node]


@dataclass(frozen=True)
class RaisesDeep(Pass):
    """Raises at a node in an If in an If."""

    at: str = "d2"

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        for outer in graph.nodes:
            for branch in outer.subgraphs():
                for inner in branch.nodes:
                    for body in inner.subgraphs():
                        if any(node.name == self.at for node in body.nodes):
                            raise KeyError(self.at)
        return False


@pytest.mark.parametrize("node", ["d2", "e1"])
def test_branches_that_are_needed_are_cut_and_the_others_stubbed(node) -> None:
    found = reduced(parse(NESTED), RaisesDeep(node))
    assert found.nodes == (17, len(names(found))) and node in names(found)
    assert len(names(found)) <= 6, names(found)


LOOP = """
<ir_version: 8, opset_import: ["" : 17]>
m (float[3] x) => (float[3] y) <int64 trips = {3}, bool go = {1}> {
    [a] a = Abs(x) [b] b = Neg(a)
    [loop] l = Loop(trips, go, b) <
        body = body (int64 i, bool c, float[3] v) => (bool c2, float[3] v2) {
            [keep] c2 = Identity(c) [l1] l1 = Neg(v) [l2] l2 = Tanh(l1) [l3] l3 = Abs(l2) [l4] v2 = Exp(l3) }
    >
    [last] y = Neg(l)
}"""


def test_the_body_of_a_loop_is_cut() -> None:
    found = reduced(parse(LOOP), RaisesAt(("l2",)))
    assert set(names(found)) >= {"loop", "l2"} and len(names(found)) <= 4, names(found)


FUNCTIONS = """
<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
m (float[3] x) => (float[3] y) {
    [a] a = Abs(x)
    [call] b = own.f(a)
    [last] y = Neg(b)
}
<domain: "own", opset_import: ["" : 17]>
f (p) => (q) { [f1] f1 = Neg(p) [f2] f2 = Tanh(f1) [f3] q = Abs(f2) }
<domain: "own", opset_import: ["" : 17]>
unused (p) => (q) { q = Neg(p) }"""


def test_functions_are_inlined_where_the_failure_stays() -> None:
    found = reduced(parse(FUNCTIONS), RaisesAt(("f2",)))
    assert (names(found), found.graph.functions) == (["f2"], [])


def test_a_function_that_is_called_twice_is_inlined_twice() -> None:
    text = FUNCTIONS.replace("b = own.f(a)", "c = own.f(a) [again] b = own.f(c)")
    assert names(reduced(parse(text), Swaps("f2", "Sin"))) == ["f2"]


@dataclass(frozen=True)
class RaisesInFunction(Pass):
    """Raises at a call of a function with a certain node."""

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        there = {function.name for function in graph.functions if any(node.name == "f2" for node in function.nodes)}
        if any(node.op in there for node in graph.nodes):
            raise KeyError("f2")
        return False


def test_functions_that_are_needed_are_cut() -> None:
    found = reduced(parse(FUNCTIONS), RaisesInFunction())
    assert sorted(names(found)) == ["call", "f2"] and len(found.graph.functions) == 1


# The pipeline


def test_two_passes_that_only_together_crash() -> None:
    found = reduced(chain(30), Harmless(1), Leaves(), Harmless(2), TripsOver(), Harmless(3))
    assert (str(found.pipeline), found.passes, names(found)) == ("leaves,trips-over", (5, 2), ["n5"])
    assert found.failure.kind is Kind.RAISED


def test_a_repeat_is_opened_where_one_round_is_enough() -> None:
    found = reduced(chain(6), Repeat(Pipeline((Harmless(), Swaps()))), Harmless())
    assert str(found.pipeline) == "swaps"


# The kinds of failure


def test_a_wrong_output_keeps_its_inputs() -> None:
    found = reduced(chain(30), Harmless(), Swaps())
    assert (names(found), found.failure.kind, found.failure.what) == (["n5"], Kind.REFUSED, "broke output: differs")
    graph = found.graph.copy()
    with pytest.raises(CheckFailed, match="broke output"):
        Manager([Verify(dims={"N": 2})]).run(graph, found.pipeline, Context())


def test_a_model_that_onnxruntime_or_the_checker_refuses() -> None:
    found = reduced(chain(30), Swaps(to="NoSuchOperator"))
    assert (names(found), found.failure.what) == (["n5"], "made a model that onnx's checker refuses")


def test_a_crash_does_not_kill_the_search() -> None:
    found = reduced(chain(30), Kills())
    assert (names(found), found.failure.kind, found.failure.what) == (["n5"], Kind.CRASHED, "SIGABRT")
    assert found.failure.where == "kills"


def test_a_hang_is_a_failure_of_its_own() -> None:
    found = reduced(chain(2), Kills(at="n1", hang=True), timeout=0.7)
    assert (names(found), found.failure.kind) == (["n1"], Kind.TOO_LONG)


def test_another_exception_from_another_line_is_another_failure() -> None:
    assert names(reduced(chain(30), RaisesTwice())) == ["n5"]


def test_what_does_not_fail_cannot_be_reduced() -> None:
    with pytest.raises(CheckFailed, match=r"`harmless` does not fail on the model: there is nothing to reduce"):
        reduced(chain(3), Harmless())


def test_a_model_that_does_not_run_can_still_be_reduced_where_a_pass_raises() -> None:
    model = chain(30)
    for node in model.graph.node[::2]:
        node.domain = "somebody"
    model.opset_import.append(helper.make_opsetid("somebody", 1))
    found = Reduction(Source.of(model), Pipeline((RaisesAt(("n5",)),))).run()
    assert (found.feeds, "n5" in names(found)) == (None, True)


def test_a_model_that_does_not_run_cannot_be_verified() -> None:
    model = chain(3)
    model.graph.node[1].domain = "somebody"
    model.opset_import.append(helper.make_opsetid("somebody", 1))
    with pytest.raises(CheckFailed, match="no pass raises, and the outputs cannot be verified"):
        Reduction(Source.of(model), Pipeline((Harmless(),))).run()


def test_the_data_given_decide(tmp_path: Path) -> None:
    """Abs and Relu differ on negative numbers only; they are in the second sample."""
    np.savez(tmp_path / "data.npz", t0=np.array([[1, 2, 3], [-1, 2, 3], [4, 5, 6]], np.float32))
    model = parse('<ir_version: 8, opset_import: ["" : 17]> m (float[N, 3] t0) => (float[N, 3] y) { [n] y = Abs(t0) }')
    data = open_samples(Source.of(model), tmp_path / "data.npz")
    found = reduced(model, Swaps("n", "Relu"), data=data)
    assert found.feeds["t0"].tolist() == [[-1, 2, 3]]


@dataclass(frozen=True)
class RaisesEveryOtherTime(Pass):
    """Raises where a file is not there, and makes it."""

    path: str = ""

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        if Path(self.path).exists():
            return False
        Path(self.path).touch()
        raise KeyError("first")


def test_a_failure_that_comes_and_goes_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match="the failure comes and goes"):
        reduced(chain(3), RaisesEveryOtherTime(str(tmp_path / "there")))


def test_strings_and_sequences_can_be_cut() -> None:
    text = """<ir_version: 8, opset_import: ["" : 20]> m (string[2] x, float[2] v) => (string[2] z, float[2] w) {
        [a] a = StringConcat(x, x) [b] b = StringConcat(a, x) [c] z = StringConcat(b, x)
        [s] s = SequenceConstruct(v, v) [i] i = SequenceInsert(s, v) [w] w = SequenceAt(i, zero) }"""
    model = with_weights(parse(text), zero=np.array(0, np.int64))
    assert names(reduced(model, RaisesAt(("b",)))) == ["b"]
    assert "i" in names(reduced(model, RaisesAt(("i",))))


# A user's command


def test_a_command_decides_by_its_exit_status() -> None:
    found = reduced(chain(12), command="! grep -q n5 {model} || exit 3")
    assert (names(found), found.pipeline, found.failure.what) == (["n5"], None, "exit status 3")


def test_a_command_without_a_place_for_the_model_gets_it_at_its_end() -> None:
    assert names(reduced(chain(6), command="! grep -q n5")) == ["n5"]


def test_with_passes_the_command_gets_what_they_made() -> None:
    found = reduced(chain(12), Harmless(), Swaps(), command="! (grep -q Exp {model} && grep -q n5 {input})")
    assert (names(found), str(found.pipeline)) == (["n5"], "swaps")
    assert found.graph.nodes[0].op == OPS[1]


def test_another_status_is_another_failure_and_125_is_none() -> None:
    command = "if grep -q n5 {model}; then if grep -q n7 {model}; then exit 3; else exit 125; fi; else exit 1; fi"
    assert sorted(names(reduced(chain(10), command=command))) == ["n5", "n7"]


def test_the_data_are_there_for_the_command(tmp_path: Path) -> None:
    lines = """
import sys, numpy, onnx
model, data = onnx.load(sys.argv[1]), numpy.load(sys.argv[2])
assert sorted(data) == sorted(value.name for value in model.graph.input)
sys.exit(3 * any(node.name == 'n2' for node in model.graph.node))"""
    (tmp_path / "check.py").write_text(lines)
    found = reduced(chain(3), command=f"{sys.executable} {tmp_path / 'check.py'} {{input}} {{data}}")
    assert (names(found), found.failure.what) == (["n2"], "exit status 3")


def test_a_command_that_is_not_there_is_the_users_mistake() -> None:
    with pytest.raises(BadOption, match="cannot be run: the shell ended with 127"):
        reduced(chain(3), command="no-such-command-anywhere {model}")


def test_passes_that_fail_before_the_command_are_told() -> None:
    with pytest.raises(PassFailed, match="raises-at"):
        reduced(chain(3), RaisesAt(("n1",)), command="false")


# The search itself


def test_the_same_search_again_gives_the_same() -> None:
    def told() -> tuple[str, int]:
        found = reduced(chain(12, extra=1), RaisesOnTheWay("n3", "n8"))
        return ir.to_text(found.graph), found.tried

    assert told() == told()


def test_when_the_time_is_up_what_there_is_is_kept() -> None:
    found = reduced(chain(40), RaisesAt(("n5",)), max_seconds=0.0)
    assert (found.is_minimal, found.nodes) == (False, (40, 40))


def test_the_source_is_not_touched() -> None:
    graph = ir.from_proto(chain(20))
    before = ir.fingerprint(graph)
    reduced(graph, Swaps())
    assert ir.fingerprint(graph) == before


def test_every_candidate_is_told() -> None:
    told: list[str] = []
    reduced(chain(20), RaisesAt(("n5",)), tick=told.append)
    assert told[0] == "the model as it is" and told[-1].endswith("1 of 20 nodes left")
