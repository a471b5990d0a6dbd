"""Every node that a pass made or changed tells what it was made of, and by which rewrites."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.parser

import onnxopt
from onnxopt import ir
from onnxopt.pipeline.instruments.provenance import BY, FROM

MODEL = """<ir_version: 8, opset_import: ["" : 17]>
main (float[1,2,4,4] x) => (float[1,2,4,4] y)
<float[2,2,1,1] w = {1,2,3,4}, float[2] s = {1,2}, float[2] b = {0,1}, float[2] m = {0,0}, float[2] v = {1,1}> {
  [conv] c = Conv(x, w)
  [bn] n = BatchNormalization(c, s, b, m, v)
  [same] i = Identity(n)
  [relu] y = Relu(i)
}"""


def told(graph: ir.Graph) -> dict[str, dict[str, list[str]]]:
    return {
        node.name: {key: node.metadata_props[key].splitlines() for key in (FROM, BY) if key in node.metadata_props}
        for node in ir.every_node(graph)
    }


def test_a_node_tells_its_ancestors_and_the_rewrites_that_made_it() -> None:
    found = told(onnxopt.run(onnx.parser.parse_model(MODEL), "eliminate-identities,fuse-conv-bn").graph)
    assert found["conv"][FROM] == ["conv", "bn"] or found["conv"][FROM] == ["bn", "conv"]
    assert found["conv"][BY][0].startswith("fuse-conv-bn: fold BatchNormalization")
    assert found["relu"] == {FROM: ["relu", "same"], BY: ["eliminate-identities: removed: it gives out 'n'"]}


def test_ancestors_add_up_over_passes_and_each_is_of_the_input_model() -> None:
    graph = onnxopt.run(onnx.parser.parse_model(MODEL), "fuse-conv-bn,eliminate-identities").graph
    again = onnxopt.run(graph, "fuse-conv-bn").graph
    assert told(again) == told(graph)
    assert set(told(graph)["conv"][FROM]) == {"conv", "bn"}


def test_untouched_nodes_have_nothing_to_tell() -> None:
    model = onnx.parser.parse_model(MODEL)
    assert not any(told(onnxopt.run(model, "eliminate-dead-nodes").graph).values())
    assert not any(told(onnxopt.run(model, "fuse-conv-bn", provenance=False).graph).values())


def test_it_survives_saving_and_can_be_stripped(tmp_path: Path) -> None:
    result = onnxopt.run(onnx.parser.parse_model(MODEL), "fuse-conv-bn")
    result.save(tmp_path / "m.onnx")
    onnx.checker.check_model(tmp_path / "m.onnx", full_check=True)
    loaded = ir.load(tmp_path / "m.onnx")
    assert told(loaded) == told(result.graph) and any(told(loaded).values())
    assert not any(told(onnxopt.run(loaded, "strip-provenance").graph).values())
