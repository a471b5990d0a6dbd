"""Edit sessions: what they may do, what they refuse, and that they cost the uses they touch."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxopt import ir
from onnxopt.ir.edit import Edit

HEAD = '<ir_version: 10, opset_import: ["" : 17, "local" : 1]>'
CHAIN = "g (float[2] x) => (float[2] y) { a = Exp(x) b = Identity(a) c = Neg(b) d = Abs(b) y = Add(c, d) }"


def parse(text: str) -> ir.Graph:
    return ir.from_proto(onnx.parser.parse_model(f"{HEAD} {text}"))


def by_op(graph: ir.Graph, op: str) -> ir.Node:
    return next(node for node in ir.every_node(graph) if node.op == op)


def lines(graph: ir.Graph) -> list[str]:
    """One line a node, with the names that it would be written with."""
    return [f"{','.join(node.output)}={node.op_type}({','.join(node.input)})" for node in ir.to_proto(graph).graph.node]


def test_all_readers_of_a_tensor_read_another() -> None:
    graph = parse(CHAIN)
    identity = by_op(graph, "Identity")
    with ir.edit(graph) as edit:
        assert edit.replace_all_uses(identity.outputs[0], identity.inputs[0])
        assert not edit.is_used(identity.outputs[0]) and edit.uses(identity.inputs[0]) == 3
        edit.remove(identity)
        assert edit.was_removed(identity) and identity in graph.nodes  # the list changes at the end
        assert edit.changed
    assert lines(graph) == ["a=Exp(x)", "c=Neg(a)", "d=Abs(a)", "y=Add(c,d)"]
    assert len(graph.nodes[0].outputs[0].outputs) == 2


def test_a_reader_of_two_uses_is_rewired_in_both() -> None:
    graph = parse("g (float[2] x) => (float[2] y) { a = Exp(x) b = Neg(x) y = Add(a, a) }")
    a, b = graph.nodes[0].outputs[0], graph.nodes[1].outputs[0]
    with ir.edit(graph) as edit:
        assert edit.replace_all_uses(a, b) and edit.uses(b) == 2
    assert lines(graph)[2] == "y=Add(b,b)"


def test_replacing_a_tensor_by_itself_is_no_edit() -> None:
    graph = parse(CHAIN)
    a = graph.nodes[0].outputs[0]
    with ir.edit(graph) as edit:
        assert not edit.replace_all_uses(a, a) and not edit.changed
    assert len(a.outputs) == 1


def test_the_name_and_declaration_of_a_graph_output_stay() -> None:
    graph = parse("g (float[2] x) => (float[N] y) { a = Exp(x) y = Identity(a) z = Neg(a) }")
    a, y = graph.nodes[0].outputs[0], graph.nodes[1].outputs[0]
    y.doc_string, y.metadata_props["k"] = "the answer", "v"
    with ir.edit(graph) as edit:
        assert edit.is_output(y) and not edit.is_output(a)
        assert edit.replace_all_uses(y, a)
        edit.remove(graph.nodes[1])
        assert edit.is_output(a)
    assert lines(graph) == ["y=Exp(x)", "z=Neg(y)"]
    output = ir.to_proto(graph).graph.output[0]
    assert output.type.tensor_type.shape.dim[0].dim_param == "N"
    assert output.doc_string == "the answer" and output.metadata_props[0].value == "v"


def test_an_output_declared_twice_keeps_both_declarations() -> None:
    model = onnx.parser.parse_model(f"{HEAD} g (float[2] x) => (float[N] y) {{ a = Exp(x) y = Identity(a) }}")
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("y", 1, [2]))
    graph = ir.from_proto(model)
    with ir.edit(graph) as edit:
        edit.replace_all_uses(graph.outputs[0], graph.nodes[0].outputs[0])
        edit.remove(graph.nodes[1])
    saved = ir.to_proto(graph).graph
    assert (saved.output[0], saved.value_info[0]) == (model.graph.output[0], model.graph.value_info[0])


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("g (float[2] x) => (float[2] y) { y = Identity(x) }", "x"),  # an input cannot take an output's name
        ("g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { y = Identity(w) }", "w"),
        ("g (float[2] x) => (float[2] a, float[2] y) { a = Exp(x) y = Identity(a) }", "a"),  # nor be two outputs
    ],
    ids=["input", "constant", "another output"],
)
def test_outputs_that_nothing_can_take_over(text: str, new: str) -> None:
    graph = parse(text)
    before = lines(graph)
    identity = by_op(graph, "Identity")
    assert identity.inputs[0].name == new
    with ir.edit(graph) as edit:
        assert not edit.replace_all_uses(identity.outputs[0], identity.inputs[0])
        assert not edit.changed
    assert lines(graph) == before


BRANCHES = """g (float[2] x, bool c) => (float[2] y) {
    a = Exp(x)
    y = If (c) <then_branch = t () => (float[2] p) { q = Neg(a) p = Identity(q) },
                else_branch = e () => (float[2] r) { r = Identity(a) }>
}"""


def test_the_output_of_a_subgraph_moves_within_it() -> None:
    graph = parse(BRANCHES)
    then_branch = graph.nodes[1].attrs["then_branch"]
    q, p = (node.outputs[0] for node in then_branch.nodes)
    with ir.edit(graph) as edit:
        assert edit.replace_all_uses(p, q)
        edit.remove(then_branch.nodes[1])
    assert [node.op for node in then_branch.nodes] == ["Neg"] and then_branch.outputs == [q] and q.name == "p"


def test_the_output_of_a_subgraph_is_no_outer_value() -> None:
    graph = parse(BRANCHES)
    else_branch = graph.nodes[1].attrs["else_branch"]
    with ir.edit(graph) as edit:
        assert not edit.replace_all_uses(else_branch.outputs[0], graph.nodes[0].outputs[0])


def test_readers_in_subgraphs_are_readers() -> None:
    graph = parse(BRANCHES)
    a = graph.nodes[0].outputs[0]
    with ir.edit(graph) as edit:
        assert edit.uses(a) == 2
        assert edit.replace_all_uses(a, graph.inputs[0])
        edit.remove(graph.nodes[0])
    assert [len(graph.inputs[0].outputs), graph.nodes[0].op] == [2, "If"]


def test_the_output_of_a_function_keeps_its_name() -> None:
    graph = parse("""g (float[2] x) => (float[2] y) { y = local.F(x) }
        <domain: "local", opset_import: ["" : 17]> F (i) => (o) { k = Exp(i) o = Identity(k) }""")
    function = graph.functions[0]
    with ir.edit(graph) as edit:
        assert edit.is_output(function.outputs[0])
        assert edit.replace_all_uses(function.outputs[0], function.nodes[0].outputs[0])
        edit.remove(function.nodes[1])
    saved = ir.to_proto(graph).functions[0]
    assert [node.op_type for node in saved.node] == ["Exp"] and saved.node[0].output == saved.output == ["o"]


def test_removing_a_node_that_is_needed_is_refused() -> None:
    graph = parse(CHAIN)
    with (
        ir.edit(graph) as edit,
        pytest.raises(ValueError, match=r"node \(Exp\) of 'a' cannot be removed: 'a' is still"),
    ):
        edit.remove(graph.nodes[0])
    with ir.edit(graph) as edit, pytest.raises(ValueError, match="'y' is still used"):
        edit.remove(graph.nodes[-1])


def test_removing_an_if_takes_the_reads_of_its_branches_with_it() -> None:
    graph = parse(BRANCHES.replace("=> (float[2] y)", "=> (float[2] a)"))
    a = graph.nodes[0].outputs[0]
    with ir.edit(graph) as edit:
        edit.remove(graph.nodes[1])
        assert edit.uses(a) == 0
    assert [node.op for node in graph.nodes] == ["Exp"]


def test_one_input_of_a_node_is_replaced_or_omitted() -> None:
    graph = parse(CHAIN)
    x, add = graph.inputs[0], graph.nodes[-1]
    with ir.edit(graph) as edit:
        edit.replace_input(add, 0, x)
        edit.replace_input(add, 1, ir.Variable.empty())
        assert [edit.uses(node.outputs[0]) for node in graph.nodes[2:4]] == [0, 0]
    assert lines(graph)[-1] == "y=Add(x,)" and x.outputs == [graph.nodes[0], add]


def test_the_sole_reader_is_one_that_reads_once_and_is_no_output() -> None:
    graph = parse("""g (float[2] x) => (float[2] b) {
        a = Exp(x) b = Neg(a) c = Add(a, a) d = Abs(b) e = Neg(d) f = Mul(c, c)
    }""")
    a, b, c, d, *_ = (node.outputs[0] for node in graph.nodes)
    with ir.edit(graph) as edit:
        assert [edit.sole_reader(tensor) for tensor in (a, b, c)] == [None] * 3
        assert edit.sole_reader(d) is graph.nodes[4]


def test_nodes_are_inserted_around_anchors_in_any_scope() -> None:
    graph = parse(BRANCHES)
    then_branch = graph.nodes[1].attrs["then_branch"]
    with ir.edit(graph) as edit:
        first, second, third, inner = (ir.Node(op) for op in ("First", "Second", "Third", "Inner"))
        edit.insert_before(graph.nodes[0], first, second)
        edit.insert_after(first, third)  # next to one that is itself new
        edit.insert_after(then_branch.nodes[0], inner)
        assert edit.scope_of(then_branch.nodes[0]) is then_branch and edit.scope_of(first) is None
    assert [node.op for node in graph.nodes] == ["First", "Third", "Second", "Exp", "If"]
    assert [node.op for node in then_branch.nodes] == ["Neg", "Inner", "Identity"]


def test_a_node_can_be_inserted_in_place_of_one_that_goes() -> None:
    graph = parse(CHAIN)
    identity = by_op(graph, "Identity")
    with ir.edit(graph) as edit:
        new = ir.Node("Ceil", inputs=[identity.inputs[0]], outputs=[ir.Variable(edit.fresh("b"))])
        edit.insert_before(identity, new)
        edit.replace_all_uses(identity.outputs[0], new.outputs[0])
        edit.remove(identity)
    assert lines(graph)[1:3] == ["b_1=Ceil(a)", "c=Neg(b_1)"]


def test_inserting_next_to_a_node_of_no_graph_is_an_error() -> None:
    graph = parse(CHAIN)
    with pytest.raises(ValueError, match="next to node 'stranger' \\(Neg\\), which no graph of the model holds"):  # noqa: SIM117
        with ir.edit(graph) as edit:
            edit.insert_after(ir.Node("Neg", "stranger"), ir.Node("Abs"))


def test_an_edit_that_fails_half_way_leaves_a_graph() -> None:
    graph = parse(CHAIN)
    identity = by_op(graph, "Identity")
    with pytest.raises(ZeroDivisionError), ir.edit(graph) as edit:
        edit.replace_all_uses(identity.outputs[0], identity.inputs[0])
        edit.remove(identity)
        raise ZeroDivisionError
    assert lines(graph) == ["a=Exp(x)", "c=Neg(a)", "d=Abs(a)", "y=Add(c,d)"]


def test_fresh_names_are_used_nowhere_in_the_model() -> None:
    graph = parse(BRANCHES)
    graph.nodes[0].name = "n"
    with ir.edit(graph) as edit:
        assert [edit.fresh(name) for name in ("q", "n", "new", "new", "")] == ["q_1", "n_1", "new", "new_1", "_1"]


def wide(readers: int) -> tuple[ir.Graph, ir.Variable, ir.Variable]:
    """Two inputs, of which `readers` nodes read the first."""
    a, b = ir.Variable("a", np.float32, [1]), ir.Variable("b", np.float32, [1])
    nodes = [ir.Node("Neg", inputs=[a], outputs=[ir.Variable(f"n{index}")]) for index in range(readers)]
    return ir.Graph(nodes, [a, b], [node.outputs[0] for node in nodes[:1]]), a, b


def test_many_uses_are_rewired_one_by_one_without_searching(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each removal from a list of thousands would search it; the session drops them in one sweep."""
    searched = 0

    def count(self: Edit, tensor: ir.Tensor, reader: ir.Node) -> None:
        nonlocal searched
        before = len(tensor.outputs)
        take_off(self, tensor, reader)
        searched += before if len(tensor.outputs) < before else 0

    take_off = Edit._take_off
    monkeypatch.setattr(Edit, "_take_off", count)
    graph, a, b = wide(2000)
    with ir.edit(graph) as edit:
        for node in reversed(graph.nodes):
            edit.replace_input(node, 0, b)
        assert (edit.uses(a), edit.uses(b)) == (0, 2000)
    assert (len(a.outputs), len(b.outputs)) == (0, 2000)
    assert searched < 64 * 2000


def test_a_tensor_rewired_to_and_fro_is_counted_right() -> None:
    graph, a, b = wide(100)
    with ir.edit(graph) as edit:
        for target in (b, a, b, a):
            for node in graph.nodes[:70]:
                edit.replace_input(node, 0, target)
            assert edit.uses(a) + edit.uses(b) == 100
        assert edit.replace_all_uses(a, b) and edit.uses(b) == 100 and edit.sole_reader(a) is None
        edit.replace_input(graph.nodes[0], 0, a)
        assert edit.sole_reader(a) is graph.nodes[0]
    assert len(a.outputs) == 1 and len(b.outputs) == 99
    assert sorted(map(id, b.outputs)) == sorted(map(id, graph.nodes[1:]))


def test_thousands_of_nodes_inserted_one_after_the_other_do_not_recurse() -> None:
    graph = parse(CHAIN)
    with ir.edit(graph) as edit:
        anchor = graph.nodes[0]
        for _ in range(5000):
            new = ir.Node("Neg")
            edit.insert_after(anchor, new)
            anchor = new
    assert len(graph.nodes) == 5005


def test_five_thousand_fresh_names_of_one_prefix_each_take_one_look() -> None:
    graph = parse(CHAIN)

    class Counted(set):  # type: ignore[type-arg]
        looks = 0

        def __contains__(self, name: object) -> bool:
            Counted.looks += 1
            return super().__contains__(name)

    with ir.edit(graph) as edit:
        edit.fresh("n")
        edit._names = Counted(edit._names or ())
        for _ in range(5000):
            edit.fresh("n")
    assert Counted.looks <= 3 * 5000


def test_the_sole_reader_of_a_tensor_that_many_read_before() -> None:
    wide = ir.Variable("wide")
    first = ir.Node("Add", "first", inputs=[wide, wide], outputs=[ir.Variable("kept")])
    others = [
        ir.Node("Relu", f"r{number}", inputs=[wide], outputs=[ir.Variable(f"o{number}")]) for number in range(100)
    ]
    graph = ir.Graph([*others, first], [wide], [first.outputs[0]])
    with ir.edit(graph) as edit:
        edit.replace_input(first, 1, ir.Variable("other"))  # read twice, and once no longer
        for node in others:
            edit.remove(node)
        assert edit.uses(wide) == 1 and edit.sole_reader(wide) is first
    assert list(wide.outputs) == [first]
