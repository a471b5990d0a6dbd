"""The difference of two graphs: what is reported, and what is not."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx.backend.test.loader import load_model_tests

from onnxopt import ir
from onnxopt.ir.diff import Change, Delta, GraphDiff, Kind, NodeDiff, ScopeDiff, WeightDiff
from tests.conformance import model_of

HEAD = '<ir_version: 8, opset_import: ["" : 17]>'
TEXT = """<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
g (bool c, float[2] x) => (float[2] y) <float[2] w = {3, 4}, float[2] v = {5, 6}> {
  [one] a = LeakyRelu <alpha = 0.1> (x)
  [two] b = Mul (a, w)
  [three] d = local.F (b)
  [four] y = If (c) <
    then_branch = yes () => (float[2] e) { [five] e = Add (d, v) },
    else_branch = no () => (float[2] h) <float[2] q = {5, 7}> { [six] h = Add (d, q) }
  >
}
<domain: "local", opset_import: ["" : 17]>
F <k = 1> (m) => (o) { [seven] p = Abs (m) [eight] o = Neg (p) }
"""


def parse(text: str = TEXT) -> ir.Graph:
    return ir.from_proto(onnx.parser.parse_model(text))


def difference(old: str, new: str, text: str = TEXT) -> GraphDiff:
    """What differs where one piece of the text is replaced."""
    assert old in text
    return ir.diff(parse(text), parse(text.replace(old, new)))


def only_scope(found: GraphDiff) -> ScopeDiff:
    assert not found.model and not found.is_unexplained and len(found.scopes) == 1, found.to_text()
    return found.scopes[0]


def only_node(found: GraphDiff) -> NodeDiff:
    scope = only_scope(found)
    assert len(scope.nodes) == 1 and scope == ScopeDiff(Kind.CHANGED, scope.path, nodes=scope.nodes), found.to_text()
    return scope.nodes[0]


def only_weight(found: GraphDiff) -> WeightDiff:
    scope = only_scope(found)
    assert len(scope.weights) == 1 and scope == ScopeDiff(Kind.CHANGED, scope.path, weights=scope.weights)
    return scope.weights[0]


def test_equal_graphs_have_no_difference() -> None:
    graph = parse()
    for other in (graph, graph.copy(), parse()):
        found = ir.diff(graph, other)
        assert found.is_empty and found == GraphDiff() and found.to_text() == ""


# Nodes


def test_an_attribute() -> None:
    node = only_node(difference("alpha = 0.1", "alpha = 0.2"))
    assert (node.kind, node.op, node.name) == (Kind.CHANGED, "LeakyRelu", "one")
    assert node.changes == (Change("attribute alpha", "0.1", "0.2"),)
    assert only_node(difference("<alpha = 0.1>", "")).changes == (Change("attribute alpha", "0.1", None),)


def test_a_tensor_in_an_attribute_says_by_how_much() -> None:
    text = TEXT.replace("<alpha = 0.1>", "<t = float[2] {1, 2}>")
    (change,) = only_node(difference("{1, 2}", "{1, 2.5}", text)).changes
    assert change == Change("attribute t", "float[2] {1, 2}", "float[2] {1, 2.5}", change.delta)
    assert change.delta == Delta(2, 1, 0.5, pytest.approx(0.5 / 5**0.5))


def test_an_operator() -> None:
    assert only_node(difference("Mul (a, w)", "Div (a, w)")).changes == (Change("operator", "Mul", "Div"),)
    assert only_node(difference("Mul (a, w)", "local.Mul (a, w)")).changes == (Change("operator", "Mul", "local.Mul"),)


def test_an_input() -> None:
    assert only_node(difference("Mul (a, w)", "Mul (x, w)")).changes == (Change("input 0", "a", "x"),)
    assert only_node(difference("Mul (a, w)", "Mul (a, w, x)")).changes == (Change("input 2", None, "x"),)
    assert only_node(difference("Mul (a, w)", 'Mul ("", w)')).changes == (Change("input 0", "a", '""'),)


def test_a_node_with_another_name_or_output_is_renamed_and_its_readers_are_as_they_were() -> None:
    found = difference(
        "[one] a = LeakyRelu <alpha = 0.1> (x)\n  [two] b = Mul (a,",
        "[uno] s = LeakyRelu <alpha = 0.1> (x)\n  [two] b = Mul (s,",
    )
    node = only_node(found)
    assert node.kind is Kind.RENAMED
    assert node.changes == (Change("name", "one", "uno"), Change("output 0", "a", "s"))


def test_a_node_removed_and_one_added_in_its_place() -> None:
    found = difference("[two] b = Mul (a, w)", "[zwei] n = Exp (a)\n [drei] b = Add (n, w)")
    nodes = only_scope(found).nodes
    assert [(node.kind, node.title) for node in nodes] == [
        (Kind.ADDED, "Exp zwei"),
        (Kind.CHANGED, "Add drei"),
    ]
    assert nodes[0].text == ("[zwei] n = Exp (a)",)
    assert Change("operator", "Mul", "Add") in nodes[1].changes, "it makes the same output"


def test_a_removed_node_stands_where_it_stood() -> None:
    before = parse(TEXT.replace("[three]", "[x1] r = Exp (b) [x2] s = Exp (r) [three]"))
    assert ir.diff(before, parse()).to_text() == "@@ graph\n- [x1] r = Exp (b)\n- [x2] s = Exp (r)\n"


def test_a_node_that_is_bypassed_changes_its_readers_only() -> None:
    found = ir.diff(
        parse(TEXT), parse(TEXT.replace("[one] a = LeakyRelu <alpha = 0.1> (x)\n", "").replace("Mul (a", "Mul (x"))
    )
    assert found.to_text() == "@@ graph\n- [one] a = LeakyRelu <alpha = 0.1> (x)\n~ Mul two: input 0: a -> x\n"


def test_an_added_node_with_a_subgraph_is_printed_in_full() -> None:
    found = difference("[two]", "[new] z = If (c) <then_branch = t () => (float e2) { e2 = Exp (x) }> [two]")
    assert found.to_text() == (
        "@@ graph\n+ [new] z = If (c) <\n+   then_branch = t () => (float e2) {\n+     e2 = Exp (x)\n+   }\n+ >\n"
    )


def renamed_everything(graph: ir.Graph) -> ir.Graph:
    graph = graph.copy()
    for number, scope in enumerate(ir.every_graph(graph)):
        tensors = {tensor for node in scope.nodes for tensor in node.outputs} | {*scope.inputs, *scope.constants}
        for node in scope.nodes:
            node.name = f"r_{number}_{node.name}"
        for tensor in tensors:
            tensor.name = f"r_{number}_{tensor.name}"
    return graph


def test_a_graph_in_which_every_name_is_another_is_renamed() -> None:
    found = ir.diff(parse(), renamed_everything(parse()))
    assert {node.kind for scope in found.scopes for node in scope.nodes} == {Kind.RENAMED}
    assert {weight.kind for scope in found.scopes for weight in scope.weights} == {Kind.RENAMED}
    assert all(fact.what.endswith("renamed") for scope in found.scopes for fact in scope.facts)
    assert [scope.path for scope in found.scopes] == [
        (), ("If r_0_four", "then_branch"), ("If r_0_four", "else_branch"), ("function local.F",),
    ]  # fmt: skip


def test_renamed_nodes_are_found_above_and_below_one_that_was_added() -> None:
    text = HEAD + "g (float x) => (float y) { a = Exp (x) b = Abs (a) d = Neg (b) y = Exp (d) }"
    other = text.replace(
        "a = Exp (x) b = Abs (a) d = Neg (b)", "k = Exp (x) l = Abs (k) new = Sin (l) m = Neg (new)"
    ).replace("(d)", "(m)")
    found = only_scope(ir.diff(parse(text), parse(other)))
    assert [(node.kind, node.op) for node in found.nodes] == [
        (Kind.RENAMED, "Exp"), (Kind.RENAMED, "Abs"), (Kind.ADDED, "Sin"), (Kind.CHANGED, "Neg"),
    ]  # fmt: skip
    assert found.nodes[-1].changes == (Change("output 0", "d", "m"), Change("input 0", "b", "new"))


def test_another_order_of_nodes_is_said_once() -> None:
    scope = only_scope(difference("[seven] p = Abs (m) [eight] o = Neg (p)", "[eight] o = Neg (p) [seven] p = Abs (m)"))
    assert scope == ScopeDiff(Kind.CHANGED, ("function local.F",), is_reordered=True)


def test_a_doc_string_and_metadata() -> None:
    after = parse()
    after.nodes[0].doc_string, after.nodes[0].metadata_props["k"] = "hello", "v"
    changes = only_node(ir.diff(parse(), after)).changes
    assert changes == (Change("doc_string", None, '"hello"'), Change('metadata_props "k"', None, '"v"'))


# Scopes


def test_a_subgraph_and_a_function_have_paths() -> None:
    assert only_scope(difference("Add (d, q)", "Sub (d, q)")).path == ("If four", "else_branch")
    assert only_scope(difference("Abs (m)", "Exp (m)")).path == ("function local.F",)


def test_a_function_added_or_removed() -> None:
    more = TEXT + '<domain: "local", opset_import: ["" : 17]> G (m) => (o) { o = Abs (m) }'
    added = only_scope(ir.diff(parse(), parse(more)))
    assert (added.kind, added.path) == (Kind.ADDED, ("function local.G",))
    assert added.text == ('<domain: "local", opset_import: ["" : 17]>', "G (m) => (o) {", "  o = Abs (m)", "}")
    assert only_scope(ir.diff(parse(more), parse())).kind is Kind.REMOVED


def test_facts_of_a_function() -> None:
    assert only_scope(difference("<k = 1>", "<k = 2>")).facts == (Change("attribute k", "1", "2"),)
    found = difference('<domain: "local", opset_import: ["" : 17]>', '<domain: "local", opset_import: ["" : 18]>')
    assert only_scope(found).facts == (Change('opset ""', "17", "18"),)


# Interface, model, types


def test_inputs_and_outputs() -> None:
    assert only_scope(difference("float[2] x)", "float[N] x)")).facts == (Change("input x", "float[2]", "float[N]"),)
    assert only_scope(difference("float[2] x)", "float[2] x, int64 n)")).facts == (Change("input n", None, "int64"),)
    assert only_scope(difference("(float[2] y)", "(float[2] y, float[2] d)")).facts == (
        Change("output d", None, "float[2]"),
    )
    assert only_scope(difference("(bool c, float[2] x)", "(float[2] x, bool c)")).facts == (
        Change("order of the inputs", "c, x", "x, c"),
    )


def test_a_renamed_input_is_one_change() -> None:
    found = ir.diff(parse(), parse(TEXT.replace("float[2] x)", "float[2] in)").replace("(x)", "(in)")))
    assert only_scope(found).facts == (Change("input renamed", "x: float[2]", "in: float[2]"),)


def test_the_model() -> None:
    before, after = (
        parse(),
        parse(TEXT.replace('"" : 17, "local"', '"" : 18, "local"').replace("version: 8", "version: 9")),
    )
    after.model.producer_name = "me"
    after.model.metadata_props.add(key="k", value="v")
    assert ir.diff(before, after).model == (
        Change("ir_version", "8", "9"),
        Change('opset ""', "17", "18"),
        Change("producer_name", None, '"me"'),
        Change('metadata_props "k"', None, '"v"'),
    )


def test_the_type_of_an_intermediate_value() -> None:
    after = parse()
    after.nodes[0].outputs[0].dtype, after.nodes[0].outputs[0].shape = np.dtype(np.float32), [2]
    scope = only_scope(ir.diff(parse(), after))
    assert scope == ScopeDiff(Kind.CHANGED, (), values=(Change("a", "of no type", "float[2]"),))


def test_what_the_listing_does_not_know_is_not_passed_over() -> None:
    after = parse()
    assert after.inputs[1].info is not None
    after.inputs[1].info.type.denotation = "IMAGE"
    found = ir.diff(parse(), after)
    assert found == GraphDiff(is_unexplained=True) and not found.is_empty and "does not know" in found.to_text()


# Weights


def test_a_weight_says_by_how_much_it_changed() -> None:
    weight = only_weight(difference("w = {3, 4}", "w = {3, 4.5}"))
    assert weight == WeightDiff(Kind.CHANGED, "w", "float[2] {3, 4}", "float[2] {3, 4.5}", None, Delta(2, 1, 0.5, 0.1))
    assert str(weight.delta) == "1 of 2 elements, largest difference 0.5, relative 0.1"


def test_a_weight_of_another_shape_has_no_difference_in_numbers() -> None:
    weight = only_weight(difference("float[2] w = {3, 4}", "float[1] w = {3}"))
    assert (weight.before, weight.after, weight.delta) == ("float[2] {3, 4}", "float[1] {3}", None)


def test_weights_added_removed_and_renamed() -> None:
    more = "w = {3, 4}, float[3] n = {1, 2, 3}"
    added = only_weight(difference("w = {3, 4}", more))
    assert (added.kind, added.name, added.before, added.after) == (Kind.ADDED, "n", None, "float[3] {1, 2, 3}")
    assert only_weight(difference(more, "w = {3, 4}", TEXT.replace("w = {3, 4}", more))).kind is Kind.REMOVED
    renamed = only_weight(ir.diff(parse(), parse(TEXT.replace("float[2] w", "float[2] k").replace("(a, w)", "(a, k)"))))
    assert (renamed.kind, renamed.was, renamed.name) == (Kind.RENAMED, "w", "k")


def test_a_weight_that_a_pass_wrote_anew_in_the_same_place() -> None:
    after = parse()
    after.nodes[1].inputs[1] = ir.Constant("w_folded", np.float32([6, 8]))
    weight = only_weight(ir.diff(parse(), after))
    assert (weight.kind, weight.was, weight.name) == (Kind.CHANGED, "w", "w_folded")
    assert weight.delta == Delta(2, 2, 4.0, 1.0)


def test_the_default_of_an_input_is_a_weight() -> None:
    text = TEXT.replace("float[2] x)", "float[2] x = {1, 2})")
    assert only_weight(difference("{1, 2}", "{1, 3}", text)).name == "x"


def weights_differ(a: np.ndarray, b: np.ndarray) -> Delta:
    graphs = [ir.Graph(outputs=[ir.Constant("w", array)], opset=17, ir_version=8) for array in (a, b)]
    found = only_scope(ir.diff(*graphs)).weights[0].delta
    assert found is not None
    return found


def test_numbers_that_are_not_finite() -> None:
    inf, nan = np.inf, np.nan
    assert weights_differ(np.array([inf, nan, 1.0]), np.array([inf, nan, 2.0])).max_abs == 1
    assert weights_differ(np.array([inf, 1.0]), np.array([-inf, 1.0])).max_abs == inf
    assert np.isnan(weights_differ(np.array([nan, 1.0]), np.array([0.0, 1.0])).max_abs)
    assert weights_differ(np.array([0.0, 0.0]), np.array([0.0, 1.0])).relative == inf
    assert weights_differ(np.array([0.0]), np.array([-0.0])) == Delta(1, 1, 0.0, 0.0), "bits, not numbers, differ"


def test_another_element_type_is_compared_by_value() -> None:
    assert weights_differ(np.float32([1, 0.1]), np.float16([1, 0.1])).changed == 1
    assert weights_differ(np.float32([1, 2]), np.int8([1, 4])) == Delta(2, 1, 2.0, pytest.approx(2 / 5**0.5))
    assert weights_differ(np.complex64([3 + 4j]), np.complex64([0])).max_abs == 5


def test_large_stored_weights_are_compared_in_pieces_and_not_mapped(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(size=(700, 1000)).astype(np.float32)
    two = one.copy()
    two[699, 999] += 0.25
    for name, array in (("one", one), ("two", two)):
        ir.save(ir.Graph(outputs=[ir.Constant("w", array)], opset=17, ir_version=8), tmp_path / name, external=True)
    a, b = ir.load(tmp_path / "one"), ir.load(tmp_path / "two")
    delta = ir.diff(a, b).scopes[0].weights[0].delta
    assert delta == weights_differ(one, two) == Delta(700_000, 1, pytest.approx(0.25), delta and delta.relative)
    assert delta.relative == pytest.approx(0.25 / np.linalg.norm(one), rel=1e-5)
    assert [graph.constants[0]._values.file._map for graph in (a, b)] == [None, None]  # type: ignore[union-attr]


def test_stored_weights_that_two_graphs_share_are_not_read(tmp_path: Path) -> None:
    ir.save(ir.Graph(outputs=[ir.Constant("w", np.zeros(4096))], opset=17, ir_version=8), tmp_path / "m", external=True)
    graph = ir.load(tmp_path / "m")
    other = graph.copy()
    other.name = "other"
    (tmp_path / "m.data").write_bytes(b"")
    assert [fact.what for fact in only_scope(ir.diff(graph, other)).facts] == ["name"]


# Forms


def test_json_holds_everything_and_is_strict() -> None:
    found = ir.diff(parse(), parse(TEXT.replace("{3, 4}", "{inf, nan}").replace("alpha = 0.1", "alpha = 0.2")))
    plain = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert plain == found.to_json()
    (scope,) = plain["scopes"]
    assert scope["nodes"][0]["kind"] == "changed" and scope["nodes"][0]["changes"][0]["what"] == "attribute alpha"
    assert scope["weights"][0]["delta"] == {"elements": 2, "changed": 2, "max_abs": "nan", "relative": "nan"}


@pytest.mark.parametrize("name", ["a\nb", "\u202e", "\x85", "a b"])
def test_no_name_breaks_a_line_of_the_listing(name: str) -> None:
    def lines(name: str) -> list[str]:
        graph = parse()
        graph.nodes[0].name = graph.nodes[3].name = graph.nodes[0].outputs[0].name = graph.name = name
        graph.nodes[1].attrs[name] = name
        graph.constants[0].name = graph.inputs[1].name = name
        branch = graph.nodes[3].attrs["then_branch"]
        branch.nodes[0].op = name
        graph.functions[0].name = name
        return ir.diff(parse(), graph).to_text().removesuffix("\n").split("\n")

    assert len(lines(name)) == len(lines("plain"))
    assert all(line.isprintable() and line[0] in "@+-~" for line in lines(name))


MUTATIONS: list[Callable[[ir.Graph, ir.Node], object]] = [
    lambda graph, node: node.attrs.update(new=1),
    lambda graph, node: setattr(node, "op", node.op + "X"),
    lambda graph, node: setattr(node, "name", node.name + "X"),
    lambda graph, node: setattr(node.outputs[0], "name", node.outputs[0].name + "X"),
    lambda graph, node: node.inputs.append(graph.inputs[0] if graph.inputs else ir.Variable("")),
    lambda graph, node: node.inputs.append(ir.Constant("new", np.float32([1]))),
    lambda graph, node: graph.nodes.append(ir.Node("New", "new", outputs=[ir.Variable("new_value")])),
    lambda graph, node: setattr(graph, "ir_version", 10),
]


def test_a_difference_is_empty_exactly_where_the_fingerprints_are_equal() -> None:
    cases = [
        case for kind in ("simple", "pytorch-converted", "pytorch-operator") for case in load_model_tests(kind=kind)
    ]
    rng = random.Random(0)
    for case in rng.sample(cases, 50):
        before = ir.from_proto(model_of(case))
        after = before.copy()
        assert ir.diff(before, after).is_empty
        mutate = rng.choice(MUTATIONS)
        mutate(after, rng.choice(after.nodes))
        found = ir.diff(before, after)
        assert not found.is_empty and not found.is_unexplained and ir.fingerprint(before) != ir.fingerprint(after)
        assert sum(len(scope.nodes) for scope in found.scopes) <= 1, f"{case.name}: {found.to_text()}"
        assert found.to_text() and json.dumps(found.to_json(), allow_nan=False)
