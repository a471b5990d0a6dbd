"""How rules are applied: what becomes of the nodes, in which order, and how long it takes."""

from __future__ import annotations

import inspect
import re
import textwrap

import numpy as np
import onnx
import pytest

import onnxopt.ir.pattern
from onnxopt import ir
from onnxopt.ir.pattern import Maker, Match, NoMatch, Rule, any_, op, rewrite
from tests.ir.pattern.gates import Recorder, apply, ops, rule
from tests.passes.checks import parse

X = any_("x")
SWISH = rule(op.Mul(X, op.Sigmoid(X)), lambda match, make: make.Swish(match[X]))


def graph(body: str, opset: int = 17, outputs: str = "float[2,3] y", weights: str = "") -> ir.Graph:
    return parse(f"""
        <ir_version: 10, opset_import: ["" : {opset}]> g (float[2,3] x) => ({outputs}) <{weights}> {{ {body} }}
    """)


def test_the_example_of_the_docstring() -> None:
    text = inspect.getdoc(onnxopt.ir.pattern) or ""
    code = textwrap.dedent(
        "\n".join(re.findall(r"^(?:    .*|)$", text.split(":\n\n", 1)[1].split("\nand `rew")[0], re.M))
    )
    names: dict[str, object] = {}
    exec("from onnxopt.ir.pattern import *\nfrom onnxopt.ir import Tensor\n" + code, names)
    assert len(code.strip().splitlines()) <= 15
    negation = names["DoubleNegation"]()  # type: ignore[operator]
    found = graph("a = Neg (x) b = Neg (a) y = Exp (b)")
    apply(found, negation)
    assert ops(found) == ["Exp"]
    integers = parse("""
        <ir_version: 8, opset_import: ["" : 17]> g (int32[2] x) => (int32[2] y) { a = Neg (x) b = Neg (a) y = Abs (b) }
    """)
    gate, _ = apply(integers, negation)
    assert "'x' is not floating-point" in gate.refused[0]


def test_name_output_metadata_and_documentation_carry_on() -> None:
    found = graph("s = Sigmoid (x) y = Mul (x, s)")
    inner, root = found.nodes
    root.name, root.doc_string = "act", "the activation"
    inner.metadata_props.update(layer="sigmoid", source="a.py")
    root.metadata_props.update(layer="mul")
    apply(found, SWISH)
    (node,) = found.nodes
    assert (node.op, node.name, node.doc_string) == ("Swish", "act", "the activation")
    assert node.metadata_props == {"layer": "mul", "source": "a.py"}
    assert node.outputs[0] is found.outputs[0]


def test_several_new_nodes_and_constants() -> None:
    def make(match: Match, new: Maker) -> ir.Node:
        return new.Mul(new.Neg(match[X]), np.array(-1, np.float32))

    found = graph("e = Exp (x) y = Sin (e)")
    apply(found, rule(op.Sin(op.Exp(X)), make))
    assert ops(found) == ["Neg", "Mul"]
    assert len({node.name for node in found.nodes}) == 2
    assert ir.from_proto(ir.to_proto(found))


def test_constants_of_a_branch_are_nodes_where_initializers_are_inputs() -> None:
    found = parse("""
        <ir_version: 3, opset_import: ["" : 11]> g (float[2,3] x, bool c) => (float[2,3] y) {
            y = If (c) <
                then_branch = t () => (float[2,3] p) { s = Sigmoid (x) p = Mul (x, s) },
                else_branch = e () => (float[2,3] q) { q = Neg (x) }
            >
        }
    """)
    make = rule(op.Mul(X, op.Sigmoid(X)), lambda match, new: new.Add(match[X], np.ones(3, np.float32)))
    apply(found, make)
    (then_branch, _) = found.nodes[0].subgraphs()
    assert ops(then_branch) == ["Constant", "Add"]
    onnx.checker.check_model(ir.to_proto(found), full_check=True)


def test_constants_that_nobody_reads_any_more_go() -> None:
    found = graph("k = Constant <value = float {2}> () e = Exp (x) y = Mul (e, k)")
    apply(found, rule(op.Mul(op.Exp(X), 2), lambda match, make: make.Neg(match[X])))
    assert ops(found) == ["Neg"]


def test_a_tensor_takes_the_place_of_the_root_and_an_output_keeps_its_node() -> None:
    cancel = rule(op.Neg(op.Neg(X)), lambda match, make: match[X])
    found = graph("a = Neg (x) b = Neg (a) y = Exp (b)")
    _, outcome = apply(found, cancel)
    assert ops(found) == ["Exp"] and outcome.applied == 1
    found = graph("a = Neg (x) y = Neg (a)")
    apply(found, cancel)
    assert ops(found) == ["Identity"] and found.outputs[0].name == "y"


def test_in_subgraphs_and_functions() -> None:
    found = parse("""
        <ir_version: 10, opset_import: ["" : 17, "local" : 1]> g (float[2,3] x, bool c) => (float[2,3] y) {
            z = local.f (x)
            y = If (c) <
                then_branch = t () => (float[2,3] p) { s = Sigmoid (z) p = Mul (z, s) },
                else_branch = e () => (float[2,3] q) { q = Neg (z) }
            >
        }
        <domain: "local", opset_import: ["" : 17]> f (a) => (b) { s = Sigmoid (a) b = Mul (s, a) }
    """)
    gate, _ = apply(found, SWISH)
    assert len(gate.allowed) == 2
    assert [node.op for node in ir.every_node(found)] == ["f", "If", "Swish", "Neg", "Swish"]


def test_the_gate_is_asked_for_each_and_may_end_it() -> None:
    body = "a = Sigmoid (x) b = Mul (a, x) c = Sigmoid (b) y = Mul (b, c)"
    found = graph(body)
    gate, outcome = apply(found, SWISH, limit=1)
    assert ops(found) == ["Swish", "Sigmoid", "Mul"] and outcome.applied == len(gate.allowed) == 1
    before = ir.to_text(found := graph(body))
    gate, outcome = apply(found, SWISH, limit=0)
    assert ir.to_text(found) == before and not outcome.applied and not gate.refused


def test_what_a_rule_makes_is_seen_by_the_others() -> None:
    relu6 = rule(op.Relu(op.Neg(X)), lambda match, make: make.Sin(match[X]))
    upper = rule(op.Exp(op.Sin(X)), lambda match, make: make.Cos(match[X]))
    again = rule(op.Cos(X), lambda match, make: make.Tan(match[X]))
    found = graph("a = Neg (x) b = Relu (a) y = Exp (b)")
    apply(found, again, upper, relu6)
    assert ops(found) == ["Tan"]


def test_a_match_refused_for_another_reader_is_tried_again_when_that_is_gone() -> None:
    """`s` is read by the later match, whose rewrite reads `x` instead."""
    body = "s = Sigmoid (x) p = Mul (x, s) e = Exp (s) y = Add (p, e)"
    drop = rule(op.Exp(any_()), lambda match, make: make.Neg(match.scope.inputs[0]))
    found = graph(body)
    gate, _ = apply(found, SWISH, drop)
    assert ops(found) == ["Swish", "Neg", "Add"] and not gate.refused


def test_the_check_has_the_last_word_and_other_ways_to_match_are_tried() -> None:
    a, b = any_("a"), any_("b")

    def check(match: Match) -> None:
        if match[a].name != "s":
            raise NoMatch(f"'{match[a].name}' is not s")

    seen = rule(op.Add(a, b), lambda match, make: make.Sub(match[a], match[b]), check)
    found = graph("s = Sigmoid (x) y = Add (x, s)")
    apply(found, seen)
    assert [tensor.name for tensor in found.nodes[-1].inputs] == ["s", "x"]
    gate, _ = apply(graph("t = Sigmoid (x) y = Add (x, t)"), seen)
    assert gate.refused == ["not done: test: 'x' is not s"]


def test_rules_are_tried_in_their_order_and_from_their_opset() -> None:
    class Newer(Rule):
        """Since opset 20."""

        pattern = op.Exp(X)
        what = "newer"
        since = 20

        def rewrite(self, match: Match, op: Maker) -> ir.Node:
            return op.Sin(match[X])

    older = rule(op.Exp(X), lambda match, make: make.Cos(match[X]))
    for opset, made in ((19, "Cos"), (20, "Sin")):
        found = graph("y = Exp (x)", opset)
        apply(found, Newer(), older)
        assert ops(found) == [made]


def test_a_quantization_annotation_is_kept() -> None:
    from onnx import TensorAnnotation

    found = graph("s = Sigmoid (x) y = Mul (x, s)")
    found.quantization_annotation = [TensorAnnotation(tensor_name="s")]
    gate, _ = apply(found, SWISH)
    assert "'s' has a quantization annotation" in gate.refused[0]


def blocks(count: int) -> ir.Graph:
    """A chain in which each block has a match, a near match and a far miss."""
    body = []
    value = "x"
    for k in range(count):
        body.append(f"s{k} = Sigmoid ({value}) m{k} = Mul ({value}, s{k}) t{k} = Sigmoid (m{k})")
        body.append(f"n{k} = Mul (x, t{k}) e{k} = Exp (n{k}) v{k} = Mul (e{k}, n{k})")
        value = f"v{k}"
    return graph(" ".join(body) + f" y = Neg ({value})")


def test_two_thousand_blocks_cost_ten_times_two_hundred() -> None:
    small, large = (apply(blocks(count), SWISH) for count in (200, 2000))
    for (gate, outcome), count in ((small, 200), (large, 2000)):
        assert outcome.applied == count and len(gate.refused) == count
    assert large[1].steps <= 10 * small[1].steps + 100
    assert large[1].candidates <= 10 * small[1].candidates + 100


def test_a_sweep_without_candidates_takes_no_step() -> None:
    outcome = rewrite(blocks(50), [rule(op.Erf(op.Exp(X)), lambda match, make: make.Neg(match[X]))], Recorder())
    assert (outcome.candidates, outcome.steps) == (0, 0)


def test_a_pattern_ends_in_an_operator() -> None:
    with pytest.raises(TypeError, match="ends in an operator"):
        apply(graph("y = Neg (x)"), rule(X, lambda match, make: match[X]))
