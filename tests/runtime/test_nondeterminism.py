"""Which outputs are found to be random."""

import pytest
from onnx import helper, parser

from onnxopt.runtime.nondeterminism import nondeterministic_outputs

HEAD = '<ir_version: 10, opset_import: ["" : 21, "local" : 1]>'


def random_outputs(text, head=HEAD):
    return nondeterministic_outputs(parser.parse_model(f"{head} {text}"))


@pytest.mark.parametrize(
    "node",
    [
        "RandomNormal<shape=[2]>()",
        "RandomUniform<shape=[2], seed=1.0>()",
        "RandomNormalLike(x)",
        "RandomUniformLike(x)",
        "Bernoulli(x)",
        "Multinomial(x)",
    ],
)
def test_random_operators_and_what_depends_on_them(node):
    graph = f"g (float[2] x) => (float[2] y, float[2] z) {{ r = {node} c = Cast<to=1>(r) y = Add(c, x) z = Neg(x) }}"
    assert random_outputs(graph) == {"y"}


def test_a_random_value_nobody_returns_does_no_harm():
    assert random_outputs("g (float[2] x) => (float[2] y) { r = RandomNormalLike(x) y = Neg(x) }") == set()


def test_operators_of_other_domains_are_not_meant():
    assert random_outputs("g (float[2] x) => (float[2] y) { y = local.RandomNormalLike(x) }") == set()


@pytest.mark.parametrize(
    ("training", "ratio", "random"),
    [
        ("yes", "half", True),
        ("yes", "", True),
        ("flag", "half", True),
        ("no", "half", False),
        ("made", "half", False),
        ("", "half", False),
        ("yes", "none", False),
    ],
)
def test_dropout_is_random_when_it_may_be_training(training, ratio, random):
    text = f"""g (float[2] x, bool flag) => (float[2] y)
        <bool yes = {{1}}, bool no = {{0}}, float half = {{0.5}}, float none = {{0}}>
        {{ made = Constant<value = bool {{0}}>() y = Dropout(x, {ratio or '""'}, {training or '""'}) }}"""
    assert bool(random_outputs(text)) == random


def test_an_old_dropout_trains_unless_told_otherwise():
    old = '<ir_version: 3, opset_import: ["" : 6]>'
    assert random_outputs("g (float[2] x) => (float[2] y) { y = Dropout(x) }", old) == {"y"}
    assert random_outputs("g (float[2] x) => (float[2] y) { y = Dropout<is_test=1>(x) }", old) == set()


IF = """g (bool c, float[2] x) => (float[2] y, float[2] z) {{ r = RandomNormalLike(x) y, z = If (c) <
    then_branch = t () => (float[2] a, float[2] b) {{ a = {then} b = Neg(x) }},
    else_branch = e () => (float[2] a, float[2] b) {{ a = Abs(x) b = Neg(x) }}> }}"""


@pytest.mark.parametrize(("then", "random"), [("Neg(x)", set()), ("RandomNormalLike(x)", {"y"}), ("Neg(r)", {"y"})])
def test_branches_hand_on_randomness_by_output(then, random):
    assert random_outputs(IF.format(then=then)) == random


def test_a_random_condition_makes_all_outputs_of_an_if_random():
    text = """g (float p) => (float y) { q = Bernoulli(p) c = Cast<to=9>(q) y = If (c) <
        then_branch = t () => (float a) { a = Neg(p) }, else_branch = e () => (float b) { b = Abs(p) }> }"""
    assert random_outputs(text) == {"y"}


def test_loops_are_random_as_a_whole():
    text = """g (int64 n, bool c, float[2] x) => (float[2] y, float[2] z) { y, z = Loop (n, c, x, x) <
        body = b (int64 i, bool k, float[2] u, float[2] v) => (bool k2, float[2] u2, float[2] v2)
        { k2 = Identity(k) u2 = Add(u, v) v2 = BODY(v) }> }"""
    assert random_outputs(text.replace("BODY", "RandomNormalLike")) == {"y", "z"}
    assert random_outputs(text.replace("BODY", "Neg")) == set()


def test_functions_hand_on_randomness():
    function = """<opset_import: ["" : 21], domain: "local">
        noise (x) => (y, z) { r = RandomNormalLike(x) y = Add(x, r) z = Neg(x) }"""
    calling = "g (float[2] x) => (float[2] y, float[2] z) { y, z = local.noise(x) }"
    assert random_outputs(f"{calling} {function}") == {"y"}
    fed = "g (float[2] x) => (float[2] y, float[2] z) { r = Bernoulli(x) y, z = local.noise(r) }"
    assert random_outputs(f"{fed} {function}") == {"y", "z"}


def test_long_chains_are_followed():
    nodes = [helper.make_node("Neg", [f"v{i}"], [f"v{i + 1}"]) for i in range(50_000)]
    ends = [helper.make_tensor_value_info(name, 1, [2]) for name in ("v0", "v50000")]
    assert nondeterministic_outputs(helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:]))) == set()
