"""`freeze-shapes`: the model says numbers where it said symbols, and computes what it computed at those."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxopt
from onnxopt import ir
from onnxopt.errors import BadOption, BadPipeline, CheckFailed
from onnxopt.passes.freeze_shapes import FreezeShapes
from onnxopt.pipeline.base import Context
from onnxopt.pipeline.pipeline import parse_pipeline
from onnxopt.pipeline.registry import Registry
from tests.passes.checks import check_golden, parse, run, run_pass

HEAD = '<ir_version: 10, opset_import: ["" : 17, "local" : 1]>'
MASKED = f"""
    {HEAD} g (float[batch, seq] x, float[batch, "past + seq"] mask) => (float[batch, "past + seq"] y, float[N] z) {{
        zeros = Constant <value = float[1] {{0}}> ()
        y = Add (mask, zeros)
        flat = Constant <value = int64[1] {{-1}}> ()
        z = Reshape (x, flat)
    }}
"""


def shapes(graph: ir.Graph) -> dict[str, list[object]]:
    return {tensor.name: list(tensor.shape) for tensor in (*graph.inputs, *graph.outputs)}


def registry() -> Registry:
    return Registry.installed()


def test_golden() -> None:
    graph = parse(f"""
        {HEAD} g (float[batch, 3, seq] x, bool c) => (float[batch, seq, 3] y) <float[batch, 3, seq] a> {{
            a = Abs (x)
            b = If (c) <
                then_branch = t () => (float[batch, 3, seq] t1) {{ t1 = Exp (a) }},
                else_branch = e () => (float[batch, 3, seq] e1) {{ e1 = Neg (a) }}
            >
            y = Transpose <perm = [0, 2, 1]> (b)
        }}
    """)
    check_golden(FreezeShapes({"batch": 1, "seq": 128}), graph, "inputs, outputs, values inside and in branches")


def test_the_frozen_model_computes_what_the_other_did_at_these_sizes() -> None:
    for sizes in ({"batch": 2, "seq": 3, "past": 1}, {"batch": 1, "seq": 4, "past": 0}):
        graph = parse(MASKED)
        before = ir.to_proto(graph.copy())
        changed, _ = run_pass(FreezeShapes(sizes), graph)
        assert changed
        total = sizes["past"] + sizes["seq"]
        feeds = {
            "x": np.ones((sizes["batch"], sizes["seq"]), np.float32),
            "mask": np.ones((sizes["batch"], total), np.float32),
        }
        after = ir.to_proto(graph)
        onnx.checker.check_model(after, full_check=True)
        for one, other in zip(run(before, feeds).values(), run(after, feeds).values(), strict=True):
            np.testing.assert_array_equal(one, other)
        assert shapes(graph)["mask"] == [sizes["batch"], total]


def test_an_output_that_follows_has_its_number_too() -> None:
    graph = parse(MASKED)
    run_pass(FreezeShapes({"batch": 2, "seq": 3}), graph)
    assert shapes(graph) == {"x": [2, 3], "mask": [2, "past + 3"], "y": [2, "past + 3"], "z": [6]}


def test_one_of_many() -> None:
    graph = parse(MASKED)
    _, ctx = run_pass(FreezeShapes({"batch": 1}), graph)
    assert shapes(graph)["x"] == [1, "seq"] and shapes(graph)["mask"] == [1, "past + seq"]
    assert [(rewrite.what, rewrite.where) for rewrite in ctx.rewrites] == [("frozen to 1", "batch")]


def test_an_expression_by_its_text() -> None:
    graph = parse(MASKED)
    run_pass(FreezeShapes({"past + seq": 7}), graph)
    assert shapes(graph)["mask"] == ["batch", 7]


def test_an_expression_that_is_not_understood_is_told() -> None:
    graph = parse(f'{HEAD} g (float[n] x, float["Max(n, m)"] z) => (float[n] y) {{ y = Abs (x) }}')
    _, ctx = run_pass(FreezeShapes({"n": 4, "m": 2}), graph)
    assert shapes(graph)["z"] == ["Max(4, 2)"]
    assert "'Max(4, 2)' is no number that can be worked out: give 'Max(n, m)' one" in ctx.refusals[0].what


def test_dimensions_without_a_name() -> None:
    graph = parse(f"{HEAD} g (float[?, 3, ?] x) => (float[?, 3, ?] y) {{ y = Abs (x) }}")
    run_pass(FreezeShapes({"x[0]": 1, "x[2]": 5}), graph)
    assert shapes(graph) == {"x": [1, 3, 5], "y": [1, 3, 5]}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("btach", r"no input has a dimension 'btach'; did you mean batch\?"),
        ("zzz", "'zzz'; there are: batch, seq, past . seq, past"),
        ("N", "no input has a dimension 'N'"),
        ("x[0]", "no input has a dimension"),
    ],
)
def test_an_unknown_dimension_is_an_error(name: str, message: str) -> None:
    with pytest.raises(BadOption, match=message):
        run_pass(FreezeShapes({name: 1}), parse(MASKED))


def test_a_negative_size_is_an_error() -> None:
    with pytest.raises(BadPipeline, match="the size of batch is 0 or more, not -1"):
        parse_pipeline("freeze-shapes{batch=-1}", registry())


def test_again_in_one_run_nothing_is_left_to_do() -> None:
    graph = parse(MASKED)
    ctx = Context(current="freeze-shapes")
    assert FreezeShapes({"batch": 1}).run(graph, ctx)
    text = ir.to_text(graph)
    assert not FreezeShapes({"batch": 1}).run(graph, ctx)
    assert ir.to_text(graph) == text
    with pytest.raises(BadOption, match="no input has a dimension 'batch'"):
        FreezeShapes({"batch": 2}).run(graph, ctx)


def test_a_value_info_that_is_wrong_becomes_what_follows() -> None:
    graph = parse(f"""
        {HEAD} g (float[n] x) => (float[m] y) <float[n] a> {{ a = Concat <axis = 0> (x, x) y = Abs (a) }}
    """)
    _, ctx = run_pass(FreezeShapes({"n": 3}), graph)
    onnx.checker.check_model(ir.to_proto(graph), full_check=True)
    assert graph.nodes[0].outputs[0].shape == [6] and shapes(graph)["y"] == [6]
    assert any("'a' was declared n on axis 0, but 6 follows" in line for line in ctx.warnings)


def test_a_number_that_the_file_declares_stays() -> None:
    graph = parse(f"{HEAD} g (float[n, 2] x) => (float[k, 2] y) {{ y = Abs (x) }}")
    run_pass(FreezeShapes({"n": 3}), graph)
    assert shapes(graph) == {"x": [3, 2], "y": [3, 2]}


def test_functions_stay() -> None:
    graph = parse(f"""
        {HEAD} g (float[n] x) => (float[n] y) {{ y = local.f (x) }}
        <opset_import: ["" : 17], domain: "local"> f (x) => (y) {{ y = Abs (x) }}
    """)
    before = ir.to_text(graph.functions[0])
    run_pass(FreezeShapes({"n": 3}), graph)
    assert ir.to_text(graph.functions[0]) == before and shapes(graph) == {"x": [3], "y": [3]}


def test_an_input_that_is_an_output() -> None:
    graph = parse(f"{HEAD} g (float[n] x) => (float[n] x, float[n] y) {{ y = Abs (x) }}")
    run_pass(FreezeShapes({"n": 3}), graph)
    model = ir.to_proto(graph)
    assert [info.type.tensor_type.shape.dim[0].dim_value for info in (*model.graph.input, *model.graph.output)] == [
        3
    ] * 3


def test_ir_version_3() -> None:
    graph = parse("""
        <ir_version: 3, opset_import: ["" : 8]>
        g (float[n, 2] x, float[2] w) => (float[n, 2] y) <float[2] w = {1, 2}> { y = Add (x, w) }
    """)
    run_pass(FreezeShapes({"n": 3}), graph)
    onnx.checker.check_model(ir.to_proto(graph), full_check=True)
    assert shapes(graph) == {"x": [3, 2], "y": [3, 2]}


def test_a_limit_freezes_the_first_alone() -> None:
    graph = parse(MASKED)
    run_pass(FreezeShapes({"batch": 1, "seq": 3}), graph, limit=1)
    assert shapes(graph)["x"] == [1, "seq"]


def test_text_of_the_pipeline() -> None:
    text = "freeze-shapes{batch=1 past_len=3 dims=x[0]:2}"
    pipeline = parse_pipeline(text, registry())
    assert pipeline.elements == (FreezeShapes({"batch": 1, "past_len": 3, "x[0]": 2}),)
    assert str(pipeline) == text
    assert pipeline.fixed_dims() == {"batch": 1, "past_len": 3, "x[0]": 2}


def save(tmp_path: Path, text: str) -> Path:
    ir.save(parse(text), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_a_run_verifies_the_frozen_model_at_its_sizes(tmp_path: Path) -> None:
    path = save(tmp_path, MASKED)
    result = onnxopt.run(path, "freeze-shapes{batch=1 seq=3 past=2},fold-constants", verify_each=True)
    assert result.verified and shapes(result.graph)["mask"] == [1, 5]


def test_a_run_verifies_dimensions_without_a_name(tmp_path: Path) -> None:
    path = save(tmp_path, f"{HEAD} g (float[?, 3] x) => (float[?, 3] y) {{ y = Abs (x) }}")
    result = onnxopt.run(path, "freeze-shapes{dims=x[0]:7}", verify_each=True)
    assert result.verified and shapes(result.graph)["y"] == [7, 3]


def test_other_passes_are_still_held_to_the_interface(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text(
        "from dataclasses import dataclass\n"
        "from onnxopt.pipeline.base import Pass\n"
        "@dataclass(frozen=True)\n"
        "class ShrinkInput(Pass):\n"
        '    """Declare another size."""\n'
        "    def run(self, graph, ctx):\n"
        "        graph.inputs[0].shape = [1, 9]\n"
        "        return ctx.allow('shrunk', 'x')\n"
    )
    path = save(tmp_path, MASKED)
    with pytest.raises(CheckFailed, match="changed the input 'x'"):
        onnxopt.run(path, "freeze-shapes{batch=1},shrink-input", verify_each=True, plugins=[plugin])


def test_samples_come_in_batches_of_the_frozen_size(tmp_path: Path) -> None:
    path = save(tmp_path, f"{HEAD} g (float[n, 3] x) => (float[n, 3] y) {{ y = Abs (x) }}")
    np.savez(tmp_path / "data.npz", x=np.ones((8, 3), np.float32))
    result = onnxopt.run(path, "freeze-shapes{n=4}", data=tmp_path / "data.npz")
    assert result.compared_on == "2 batches of data.npz" and shapes(result.graph)["y"] == [4, 3]


def test_bisect_knows_the_frozen_sizes(tmp_path: Path) -> None:
    from onnxopt.pipeline.bisect import bisect
    from onnxopt.pipeline.source import Source

    path = save(tmp_path, MASKED)
    pipeline = parse_pipeline("freeze-shapes{batch=1 seq=3 past=2},fold-constants", registry())
    assert bisect(Source.of(path), pipeline) is None
