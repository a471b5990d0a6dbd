"""Models lowered and evaluated in this process, without a package: as the program has it, in float32."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnx.backend.test.loader import load_model_tests

from onnxopt import ir
from onnxopt.ir import dtypes

Array = npt.NDArray[Any]


def model_of(
    nodes: Sequence[onnx.NodeProto],
    feeds: dict[str, Array],
    outputs: dict[str, Any],
    opset: int = 17,
    flexible: dict[str, list[Any]] | None = None,
    **constants: Array,
) -> onnx.ModelProto:
    """A model of the inputs that it is fed; `outputs` by name: their element type, as numpy has it."""
    inputs = []
    for name, value in feeds.items():
        shape = (flexible or {}).get(name, list(value.shape))
        inputs.append(helper.make_tensor_value_info(name, dtypes.to_onnx(value.dtype), shape))
    given = [
        helper.make_tensor_value_info(name, dtypes.to_onnx(np.dtype(dtype)), None) for name, dtype in outputs.items()
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(list(nodes), "g", inputs, given, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def problems(model: onnx.ModelProto, target: str = "iOS17") -> list[str]:
    """Why a model cannot be lowered, one line for each node."""
    return [f"{each.node}: {each.reason}" for each in _lowered(model, target).problems]


def operations(model: onnx.ModelProto) -> list[str]:
    """The operations that a model becomes, without constants."""
    return [op.op_type for op in _function(model, "iOS17").operations if op.op_type != "const"]


def evaluated(model: onnx.ModelProto, feeds: dict[str, Array], target: str = "iOS17") -> list[Array]:
    """What the MIL program of a model gives."""
    from onnxopt.backends.coreml.evaluator import Evaluator

    evaluator = Evaluator("program", _function(model, target))
    given = [value.astype(np.int32) if value.dtype.kind in "iub" else value for value in feeds.values()]
    names = [feature.name for feature in evaluator.inputs]
    return list(evaluator.run({n: v if v.ndim else v.reshape(1) for n, v in zip(names, given, strict=True)}).values())


def _function(model: onnx.ModelProto, target: str) -> Any:
    lowered = _lowered(model, target)
    assert lowered.program is not None, lowered.problems
    return lowered.program.functions["main"]


def _lowered(model: onnx.ModelProto, target: str) -> Any:
    """As the backend does it: what has no lowering is said otherwise first."""
    import coremltools as ct

    from onnxopt.backends.coreml.lowering.program import lower
    from onnxopt.backends.coreml.spelling import spell

    graph = ir.from_proto(model)
    spelled = spell(graph)
    found = lower(graph, getattr(ct.target, target))
    found.problems = spelled.explained(found.problems)
    return found


def assert_equal(found: Sequence[Array], expected: Sequence[Any], rtol: float = 1e-5) -> None:
    """Outputs are ONNX's: scalars are vectors of one, and integers and truth values are int32."""
    for got, want in zip(found, expected, strict=True):
        wanted = np.asarray(want)
        wanted = wanted if wanted.ndim else wanted.reshape(1)
        assert got.shape == wanted.shape
        if wanted.dtype.kind in "iub":
            np.testing.assert_array_equal(got, wanted.astype(np.int64).astype(np.int32))
        else:
            np.testing.assert_allclose(got, wanted, rtol=rtol, atol=rtol / 10)


def assert_agrees(model: onnx.ModelProto, feeds: dict[str, Array], target: str = "iOS17") -> None:
    """The program gives what onnxruntime gives."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    expected = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, feeds)
    assert_equal(evaluated(model, feeds, target), expected)


@functools.cache
def _cases() -> list[Any]:
    return [case for case in load_model_tests(kind="node") if case.model is not None]


def node_models(*ops: str, every: int = 1) -> Iterator[tuple[str, onnx.ModelProto, dict[str, Array], list[Array]]]:
    """The conformance models of operators, with inputs and outputs: name, model, feeds, outputs.

    A model that is refused comes again with all inputs but one as constants, as models have them.

    Args:
        ops: The operators.
        every: Only one of so many models, of operators that have many.
    """
    of_ops = [case for case in _cases() if {node.op_type for node in case.model.graph.node} & set(ops)]
    for case in [case for case in of_ops if "_expanded" not in case.name][::every]:
        inputs, outputs = ([_array(value) for value in values] for values in case.data_sets[0])
        if not all(isinstance(value, np.ndarray) for value in [*inputs, *outputs]):
            continue  # sequences, optional values
        names = [value.name for value in case.model.graph.input]
        whole = dict(zip(names, inputs, strict=True))
        model, feeds = case.model, whole
        for name in names if problems(case.model) else ():
            fewer = _frozen(case.model, whole, name)
            if not problems(fewer):
                model, feeds = fewer, {name: whole[name]}
                break
        yield case.name, model, feeds, outputs


def _array(value: Any) -> Any:
    value = numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
    return np.asarray(value) if isinstance(value, np.generic) else value


def _frozen(model: onnx.ModelProto, feeds: dict[str, Array], kept: str) -> onnx.ModelProto:
    found = onnx.ModelProto.FromString(model.SerializeToString())
    inputs = [value for value in found.graph.input if value.name == kept]
    del found.graph.input[:]
    found.graph.input.extend(inputs)
    found.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in feeds.items() if name != kept
    )
    return found


def conforms(*ops: str, every: int = 1, rtol: float = 1e-5) -> tuple[int, dict[str, str]]:
    """Evaluate the conformance models of operators (`node_models`), each of which has to give what it is to give.

    Some have their outputs with a few digits only, and want a greater tolerance.

    Returns:
        How many did; the others by name, refused, with the reason.
    """
    equal, refused = 0, {}
    for name, model, feeds, outputs in node_models(*ops, every=every):
        reasons = problems(model)
        if reasons:
            refused[name] = reasons[0]
            continue
        try:
            assert_equal(evaluated(model, feeds), outputs, rtol)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
        equal += 1
    return equal, refused
