"""What the parser would refuse behind the first node that it refuses; its part is played by a list of operators."""

from pathlib import Path

import onnx

from onnxopt.backends.tensorrt.cutting import all_errors
from onnxopt.backends.tensorrt.wanted import ParserError
from tests.backends.tensorrt.engines import model


class Parser:
    """Stops at the first node of an operator that it does not take, in subgraphs too."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.times = 0

    def __call__(self, path: Path) -> tuple[ParserError, ...]:
        self.times += 1
        return self._first(onnx.load(path).graph)

    def _first(self, graph: onnx.GraphProto) -> tuple[ParserError, ...]:
        for index, node in enumerate(graph.node):
            for attribute in node.attribute:
                if attribute.HasField("g") and (found := self._first(attribute.g)):
                    return found
            if node.op_type in self.refused:
                return (ParserError(index, node.op_type, node.name, "refused"),)
        return ()


def refused(text: str, parser: Parser, folder: Path) -> list[tuple[int, str]]:
    onnx.save(model(text), folder / "model.onnx")
    found = all_errors(folder / "model.onnx", parser(folder / "model.onnx"), parser)
    return [(error.index, error.name) for error in found]


def test_all_of_them_with_their_places(tmp_path):
    text = """g (float[4] x) => (float[4] y) {
        [a] a = Sin(x)
        [b] b = Relu(a)
        [c] c = Cos(b)
        [d] d = Sin(b)
        [e] y = Add(c, d)
    }"""
    assert refused(text, Parser("Sin", "Cos"), tmp_path) == [(0, "a"), (2, "c"), (3, "d")]


def test_what_reads_a_value_that_was_cut_is_not_told_of(tmp_path):
    """The value became an input, and it may be refused for that alone."""
    text = "g (float[4] x) => (float[4] y) { [a] a = Sin(x) [b] b = Cos(a) [c] c = Relu(b) [d] y = Cos(c) }"
    assert refused(text, Parser("Sin", "Cos"), tmp_path) == [(0, "a"), (3, "d")]


def test_a_node_inside_of_another_takes_that_with_it(tmp_path):
    text = """g (bool p, float[4] x) => (float[4] y) {
        [if] a = If (p) <
            then_branch = t () => (float[4] u) { [inner] u = Sin(x) },
            else_branch = e () => (float[4] v) { [other] v = Relu(x) }
        >
        [last] b = Relu(a)
        [late] y = Sin(b)
    }"""
    assert refused(text, Parser("Sin"), tmp_path) == [(0, "inner"), (2, "late")]


def test_it_ends_where_the_type_of_a_value_is_not_known(tmp_path):
    parser = Parser("Foo", "Sin")
    assert refused("g (float[4] x) => (float[N] y) { [a] a = Foo(x) [b] y = Sin(a) }", parser, tmp_path) == [(0, "a")]
    assert parser.times == 1
