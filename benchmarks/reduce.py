"""`onnxopt reduce` finds the few nodes of 500 that a failure needs, and the few passes.

    python benchmarks/reduce.py [--only TEXT] [--json]

Five kinds of failure are planted by plug-ins (benchmarks/plugins/) into models of 500 nodes: two passes that only
together crash, a wrong rewrite that the verification finds, a fault that needs its node to be in an If within an If (in
the branch that is not taken), a result that an external command refuses, and a pass that kills its process. At most 10
nodes may be left, none too many passes, and the files that are left, read again, must fail in the same way.
"""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from measuring import ONNXOPT, run_measured
from onnx import ModelProto, NodeProto, helper, numpy_helper
from reporting import Report, arguments, tick
from synthetic import WIDTH, count_nodes, large_model

PLUGINS = Path(__file__).parent / "plugins"
NODES = 500
MOST_LEFT = 10
_ENGINE = Path(__file__).with_name("strict_engine.py")


@dataclass(frozen=True)
class Case:
    """One planted failure."""

    name: str
    passes: str
    needed: str
    """The passes that must be left."""
    plugin: str
    is_nested: bool = False
    check: str = ""


CASES = (
    Case(
        "two passes that only together crash",
        "eliminate-dead-nodes,share-twins,fold-constants,measure-spans,infer-shapes",
        "share-twins,measure-spans",
        "crash_together.py",
    ),
    Case(
        "a wrong rewrite", "fold-constants,matmul-to-gemm,eliminate-dead-nodes", "matmul-to-gemm", "wrong_everywhere.py"
    ),
    Case(
        "a fault in an If within an If",
        "fold-constants,eliminate-dead-nodes,trips-deep-inside{at=inner_then_Tanh_21}",
        "trips-deep-inside{at=inner_then_Tanh_21}",
        "wrong_everywhere.py",
        is_nested=True,
    ),
    Case(
        "an external command",
        "eliminate-dead-nodes,matmul-to-gemm",
        "matmul-to-gemm",
        "wrong_everywhere.py",
        check=f"{shlex.join([sys.executable, str(_ENGINE)])} {{model}}",
    ),
    Case("a pass that kills its process", "eliminate-dead-nodes,aborts", "aborts", "wrong_everywhere.py"),
)


def main() -> None:
    """Reduce all and report."""
    parser = arguments(__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="failures whose name contains this")
    given = parser.parse_args()
    report = Report(8, f"onnxopt reduce leaves at most {MOST_LEFT} of {NODES} nodes")
    report.rows = [("failure", "nodes", "left", "passes", "left", "candidates", "seconds")]
    left = []
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            if given.only in case.name:
                tick(case.name)
                found = _reduce(case, Path(folder))
                left.append(found["nodes_left"])
                report.rows.append(_row(case.name, found))
                _require(report, case, found)
                report.figures[case.name] = found
    report.headline = f"of {NODES} nodes {', '.join(map(str, left))} are left"
    report.print_and_exit(as_json=given.json)


def _reduce(case: Case, folder: Path) -> dict[str, Any]:
    model = nested_model(NODES) if case.is_nested else large_model(NODES)
    assert count_nodes(model.graph) == NODES
    path, output = folder / "model.onnx", folder / "reduced.onnx"
    onnx.save(model, path)
    command: list[object] = [*ONNXOPT, "reduce", path, "-p", case.passes, "--plugin", PLUGINS / case.plugin]
    command += ["-o", output, "--json", *(["--check", case.check] if case.check else [])]
    found: dict[str, Any] = json.loads(run_measured(command).require_success().stdout)
    onnx.checker.check_model(output, full_check=True)
    assert count_nodes(onnx.load(output).graph) == found["nodes_left"]
    return found


def _require(report: Report, case: Case, found: dict[str, Any]) -> None:
    report.require(f"{case.name}: {found['nodes_left']} nodes are left", found["nodes_left"] <= MOST_LEFT)
    report.require(f"{case.name}: the passes {found['passes']} are left", found["passes"] == case.needed)
    report.require(f"{case.name}: the files do not fail", found["confirmed"])
    report.require(f"{case.name}: the search was not done", found["minimal"])


def _row(name: str, found: dict[str, Any]) -> tuple[str, ...]:
    counts = (found[key] for key in ("nodes_before", "nodes_left", "passes_before", "passes_left", "tried"))
    return (name, *map(str, counts), f"{found['seconds']:.1f}")


def nested_model(nodes: int) -> ModelProto:
    """A model of exactly `nodes` nodes, 150 of them in an If and in the If in its first branch."""
    model = large_model(nodes - 155)
    graph = model.graph
    graph.node[-1].output[0] = "value"
    graph.initializer.append(numpy_helper.from_array(np.zeros((), np.float32), "nothing"))
    inner = _if("inner", _branch("inner_then", 50), _branch("inner_else", 30), "Less")
    then = _branch("outer_then", 35)
    then.node.extend(inner)
    then.node.append(helper.make_node("Add", ["outer_then_out", "inner_out"], ["outer_sum"], "outer_sum"))
    then.output[0].name = "outer_sum"
    graph.node.extend(_if("outer", then, _branch("outer_else", 33), "Greater"))
    graph.node[-1].output[0] = "y"
    return model


def _if(name: str, then: onnx.GraphProto, other: onnx.GraphProto, compare: str) -> list[NodeProto]:
    """Whether the sum of all values is greater, or less, than nothing, decides."""
    return [
        helper.make_node("ReduceSum", ["value"], [f"{name}_total"], f"{name}_ReduceSum", keepdims=0),
        helper.make_node(compare, [f"{name}_total", "nothing"], [f"{name}_choice"], f"{name}_{compare}"),
        helper.make_node("If", [f"{name}_choice"], [f"{name}_out"], name, then_branch=then, else_branch=other),
    ]


def _branch(name: str, length: int) -> onnx.GraphProto:
    """A chain of nodes that begins at a value from outside."""
    nodes, value = [], "value"
    for number in range(length):
        op = ("Identity", "Tanh", "Neg", "Sigmoid")[number % 4]
        output = f"{name}_out" if number == length - 1 else f"{name}_{number}"
        nodes.append(helper.make_node(op, [value], [output], f"{name}_{op}_{number}"))
        value = output
    info = helper.make_tensor_value_info(value, onnx.TensorProto.FLOAT, ["batch", WIDTH])
    return helper.make_graph(nodes, name, [], [info])


if __name__ == "__main__":
    main()
