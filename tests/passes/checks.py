"""What every pass is held to: its golden text, equal outputs, its own claim of a change, idempotence."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime as ort

from onnxopt import ir
from onnxopt.pipeline.base import Context, Pass, Preserves

GOLDEN = Path(__file__).parent / "golden"


def parse(text: str) -> ir.Graph:
    """A graph from ONNX's textual syntax (`onnx.parser`)."""
    return ir.from_proto(onnx.parser.parse_model(text))


def ops(graph: ir.Graph) -> list[str]:
    """The operators of a graph itself, in order."""
    return [node.op for node in graph.nodes]


def count_ops(graph: ir.Graph) -> Counter[str]:
    """How often each operator stands in a graph and all that is in it."""
    return Counter(node.op for node in ir.every_node(graph))


def run_pass(pass_: Pass, graph: ir.Graph, **context: object) -> tuple[bool, Context]:
    """Run one pass as the manager would; return its claim and the context."""
    ctx = Context(current=type(pass_).pass_name(), **context)  # type: ignore[arg-type]
    changed = pass_.run(graph, ctx)
    ir.sort(graph)
    return changed, ctx


def check_pass(
    pass_: Pass,
    graph: ir.Graph,
    feeds: dict[str, np.ndarray] | None = None,
    *,
    seed: int = 0,
    expect_change: bool = True,
) -> Context:
    """Run a pass on `graph`, in place, and hold it to everything it promises."""
    before_model, before_text = ir.to_proto(graph.copy()), ir.to_text(graph)
    changed, ctx = run_pass(pass_, graph)
    after_text = ir.to_text(graph)
    assert changed == (before_text != after_text), f"claims changed={changed}"
    assert changed == expect_change, f"changed={changed}; refusals: {ctx.refusals}"
    assert changed or not ctx.rewrites
    after_model = ir.to_proto(graph)
    onnx.checker.check_model(after_model, full_check=True)
    feeds = feeds or random_feeds(before_model, seed)
    assert_equal_outputs(run(before_model, feeds), run(after_model, feeds), pass_.preserves)
    again, _ = run_pass(pass_, graph)
    assert not again and ir.to_text(graph) == after_text, "not idempotent"
    return ctx


def check_refusal(pass_: Pass, graph: ir.Graph, reason: str) -> None:
    """The pass leaves the graph alone and says why."""
    ctx = check_pass(pass_, graph, expect_change=False)
    reasons = [refusal.what for refusal in ctx.refusals]
    assert any(re.search(reason, said) for said in reasons), f"expected a refusal for '{reason}', got {reasons}"


def check_golden(pass_: Pass, graph: ir.Graph, case: str) -> None:
    """Compare the text before and after with `golden/PASS.txt`; ONNXOPT_UPDATE_GOLDEN=1 writes it instead."""
    path = GOLDEN / f"{type(pass_).pass_name()}.txt"
    before = ir.to_text(graph)
    run_pass(pass_, graph)
    found = f"--- before\n{before.strip()}\n--- after\n{ir.to_text(graph).strip()}\n"
    cases = _read_cases(path)
    if os.environ.get("ONNXOPT_UPDATE_GOLDEN"):
        cases[case] = found
        path.write_text("".join(f"=== {name}\n{text}" for name, text in sorted(cases.items())))
    assert case in cases, f"no golden text for '{case}' in {path.name}: set ONNXOPT_UPDATE_GOLDEN=1 once and read it"
    assert found == cases[case]


def _read_cases(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    parts = re.split(r"^=== (.*)\n", path.read_text(), flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def run(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs by name, with onnxruntime's own optimizations off: it would do the same rewrite on the reference."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def random_feeds(model: onnx.ModelProto, seed: int = 0) -> dict[str, np.ndarray]:
    """Normally distributed inputs; symbolic dimensions are 2."""
    rng = np.random.default_rng(seed)
    feeds = {}
    optional = {tensor.name for tensor in model.graph.initializer}
    for info in model.graph.input:
        if info.name in optional:
            continue
        tensor = info.type.tensor_type
        shape = [dim.dim_value if dim.HasField("dim_value") else 2 for dim in tensor.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        feeds[info.name] = np.asarray(rng.normal(size=shape) * (1 if np.dtype(dtype).kind == "f" else 3)).astype(dtype)
    return feeds


def assert_equal_outputs(expected: dict[str, np.ndarray], found: dict[str, np.ndarray], promise: Preserves) -> None:
    """Same names, dtypes, shapes; values as the pass promises."""
    assert list(expected) == list(found)
    for name, one in expected.items():
        other = found[name]
        assert np.asarray(one).dtype == np.asarray(other).dtype and np.shape(one) == np.shape(other), name
        if promise is Preserves.BITS:
            np.testing.assert_array_equal(one, other, err_msg=name)
        elif promise is Preserves.VALUES:
            scale = max(float(np.max(np.abs(one), initial=0.0)), 1e-6)
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * scale, err_msg=name)
