from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxopt import ir
from tests.cli.conftest import Command

DIGITS = Path(__file__).parents[2] / "fixtures" / "digits_mobilenet" / "digits_mobilenet.onnx"
NESTED = """
<ir_version: 8, opset_import: ["" : 17, "local" : 1], producer_name: "hand">
outer (bool c, float[N] x) => (float[N] y)
{
    [choice] y = If (c) <
        then_branch = yes () => (float[N] t) { [inner] t = local.twice (x) },
        else_branch = no () => (float[N] e) { e = Neg (x) }
    >
}
<domain: "local", opset_import: ["" : 17]>
twice (a) => (b) { [within] b = Add (a, a) }
"""


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    path = tmp_path / "nested.onnx"
    onnx.save(onnx.parser.parse_model(NESTED), path)
    return path


def test_the_view_of_a_real_model(onnxopt: Command) -> None:
    ended = onnxopt("inspect", DIGITS)
    assert (ended.code, ended.err) == (0, "")
    for told in ("float32[batch, 1, 28, 28]", "pytorch", "opset ai.onnx 17", "Conv", "82.8 K in 323.5 KiB", "MACs"):
        assert told in ended.out
    assert max(map(len, ended.out.splitlines())) <= 100


def test_json_has_what_the_view_has(onnxopt: Command, nested: Path) -> None:
    facts = onnxopt("inspect", nested, "--json").json()
    assert facts["model"] == str(nested)
    assert facts["inputs"] == [
        {"name": "c", "dtype": "bool", "shape": []},
        {"name": "x", "dtype": "float32", "shape": ["N"]},
    ]
    assert facts["functions"] == ["local::twice"] and facts["subgraphs"] == 2
    assert facts["opsets"] == {"ai.onnx": 17, "local": 1}
    assert facts["costs"]["operators"]["If"] == 1


def test_sizes_of_symbols_change_the_figures(onnxopt: Command) -> None:
    one, four = (onnxopt("inspect", DIGITS, "--json", *dim).json()["costs"] for dim in ([], ["--dim", "batch=4"]))
    assert four["macs"] == 4 * one["macs"]


def test_text_is_the_text_form(onnxopt: Command, nested: Path) -> None:
    assert onnxopt("inspect", nested, "--text").out == ir.to_text(ir.load(nested))


@pytest.mark.parametrize(
    ("asked", "operator", "where"),
    [("inner", "twice", "yes"), ("within", "Add", "twice"), ("e", "Neg", "no"), ("choice", "If", "outer")],
)
def test_a_node_is_found_in_every_scope_by_name_or_output(
    onnxopt: Command, nested: Path, asked: str, operator: str, where: str
) -> None:
    (facts,) = onnxopt("inspect", nested, "--node", asked, "--json").json()
    assert (facts["operator"], facts["in"]) == (operator, where)


def test_a_node_shows_its_attributes_inputs_outputs_and_readers(onnxopt: Command) -> None:
    out = onnxopt("inspect", DIGITS, "--node", ir.load(DIGITS).nodes[-1].name).out
    assert out.startswith("Gemm ")
    assert "attribute  transB = 1" in out and "output     logits: float32[batch, 10]" in out


def test_attributes_that_json_cannot_say_are_said_otherwise(onnxopt: Command) -> None:
    node = onnx.helper.make_node("Elu", ["x"], ["y"], name="elu", alpha=float("inf"))
    tensors = [onnx.helper.make_tensor_value_info(name, 1, [2]) for name in "xy"]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", tensors[:1], tensors[1:])), "m.onnx")
    assert onnxopt("inspect", "m.onnx", "--node", "elu", "--json").json()[0]["attributes"] == {"alpha": "inf"}


def hostile_model(path: Path) -> str:
    """Names with markup, line ends, escape sequences and 10,000 characters."""
    names = ["[red]", "[/]", "a\nb\x1b[31m", "x" * 10_000, "[/not-a-style]é☃"]
    nodes = [
        onnx.helper.make_node("Relu", [one], [other], name=f"[bold]{other}") for one, other in itertools.pairwise(names)
    ]
    nodes.append(onnx.helper.make_node("Add", [names[-1], "[link=x]w"], ["[/y]"]))
    ends = [onnx.helper.make_tensor_value_info(name, 1, [1024]) for name in ("[red]", "[/y]")]
    weight = onnx.numpy_helper.from_array(np.ones(1024, np.float32), "[link=x]w")
    graph = onnx.helper.make_graph(nodes, "[blink]graph", ends[:1], ends[1:], [weight])
    model = onnx.helper.make_model(
        graph, producer_name="[/]", ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 17)]
    )
    entry = model.metadata_props.add()
    entry.key, entry.value = "[red]key", "[/]" * 1000
    onnx.save(model, path)
    return names[3]


@pytest.mark.parametrize(
    "words",
    [
        ["inspect", "[red].onnx"],
        ["inspect", "[red].onnx", "--node", "[/]"],
        ["inspect", "[red].onnx", "--text"],
        ["run", "[red].onnx", "-O", "1", "--verify-each", "--timing", "-o", "[x].onnx"],
        ["verify", "[red].onnx", "[red].onnx"],
        ["diff", "[red].onnx", "plain.onnx"],
    ],
    ids=" ".join,
)
def test_no_name_breaks_a_table(onnxopt: Command, model: Path, words: list[str]) -> None:
    long = hostile_model(Path("[red].onnx"))
    model.rename("plain.onnx")
    ended = onnxopt(*words)
    assert ended.code == 0, ended.err
    tables = ended.err if words[0] == "run" else ended.out
    assert "[" in tables and "\x1b" not in tables
    if "--text" not in words and words[0] != "diff":
        assert max(map(len, tables.splitlines())) <= 100 and long not in tables


def test_names_are_whole_in_json(onnxopt: Command) -> None:
    hostile_model(Path("m.onnx"))
    assert onnxopt("inspect", "m.onnx", "--json").json()["inputs"][0]["name"] == "[red]"
    assert onnxopt("run", "m.onnx", "-O1", "--verify", "--json").json()["verified"][-1]["worst"]["output"] == "[/y]"


def test_a_quantized_model_tells_its_encodings_and_who_made_its_nodes(onnxopt: Command, tmp_path: Path) -> None:
    folder = Path(__file__).parents[2] / "fixtures" / "digits_mobilenet"
    quantized = ("--passes", "fuse-conv-bn,quantize", "--data", folder / "calibration.npz", "--no-verify")
    assert onnxopt("run", folder / "digits_mobilenet.onnx", *quantized, "-o", "q.onnx").code == 0
    facts = onnxopt("inspect", "q.onnx", "--json").json()
    assert {row["dtype"] for row in facts["quantization"]} == {"uint8", "int8", "int32"}
    assert facts["provenance"]["passes"]["fuse-conv-bn"] == 26
    shown = onnxopt("inspect", "q.onnx").out
    assert "made or changed by" in shown
    assert "per channel, axis 0" in shown
