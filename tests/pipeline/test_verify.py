from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx.parser
import pytest

from onnxopt import ir
from onnxopt.api import open_samples
from onnxopt.errors import BadData, CheckFailed
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.pipeline.instruments.verify import Verify, weaker
from onnxopt.pipeline.manager import Manager
from onnxopt.pipeline.pipeline import Repeat
from onnxopt.pipeline.source import Source
from onnxopt.runtime import executable
from tests.pipeline import planted
from tests.pipeline.planted import Annotate, Approximate, Nothing, Reassociate, Touch, Ulp, editing, pipeline, repeat


def verify(
    *steps: Pass | Repeat, graph: ir.Graph | None = None, ctx: Context | None = None, **options: object
) -> Verify:
    """Run passes under verification; the instrument, for what it saw."""
    watching = Verify(**options)  # type: ignore[arg-type]
    Manager([watching]).run(graph or planted.graph(), pipeline(*steps), ctx or Context())
    return watching


def test_a_sound_pipeline_is_compared_after_every_pass_that_changed_something() -> None:
    seen = verify(Annotate(), Nothing(), Touch())
    assert [(check.run.index, check.promise) for check in seen.results] == [(1, Preserves.BITS), (3, Preserves.BITS)]
    assert all(check.worst.bit_equal for check in seen.results)


def test_a_wrong_output_is_named_with_the_difference_and_the_pass() -> None:
    message = (
        r"^pass 2, touch\{bad=second\}, broke output 'y': differs by [\d.e+-]+ at \[\d+, \d+\]; promised: equal bits$"
    )
    with pytest.raises(CheckFailed, match=message):
        verify(Annotate(), Touch(bad="second"))


def test_the_pass_that_breaks_in_the_second_round_is_named_by_its_number() -> None:
    class Late(Annotate):
        def run(self, graph: ir.Graph, ctx: Context) -> bool:
            changed = super().run(graph, ctx)
            if graph.metadata_props.get("rounds") == "2":
                planted.scale_weights(graph, 3.0)
            return changed

    from dataclasses import dataclass

    late = dataclass(frozen=True)(Late)(rounds=4)
    with pytest.raises(CheckFailed, match=r"^pass 3, late"):
        verify(repeat(late, Nothing()))


def test_one_ulp_breaks_a_promise_of_bits_and_keeps_one_of_values() -> None:
    with pytest.raises(CheckFailed, match=r"^pass 1, ulp, broke output '\w': differs by .* promised: equal bits"):
        verify(Ulp())
    seen = verify(Reassociate())
    assert seen.results[0].worst.ok and not seen.results[0].worst.bit_equal


def test_values_do_not_cover_a_percent_and_accuracy_does() -> None:
    with pytest.raises(CheckFailed, match=r"promised: values equal up to rounding"):
        verify(editing(lambda graph: planted.scale_weights(graph, 1.01), Preserves.VALUES))
    assert verify(Approximate(factor=1.01)).results[0].worst.largest_relative > 1e-3


def test_accuracy_does_not_cover_what_is_no_longer_finite() -> None:
    with pytest.raises(CheckFailed, match=r"found -?(inf|nan).*promised: finite values"):
        verify(Approximate(factor=float("inf")))


def test_the_weakest_promise_so_far_holds_against_the_input_model() -> None:
    seen = verify(Reassociate(), Touch(), Approximate(), Touch())
    assert [check.promise for check in seen.results] == [
        Preserves.VALUES,
        Preserves.VALUES,
        Preserves.ACCURACY,
        Preserves.ACCURACY,
    ]


def test_a_pass_is_held_to_its_own_promise_against_the_graph_before_it() -> None:
    with pytest.raises(CheckFailed, match=r"^pass 2, ulp, .* promised: equal bits, as of the graph before it"):
        verify(Reassociate(), Ulp())
    sloppy = editing(lambda graph: planted.scale_weights(graph, 1.01), Preserves.VALUES)
    with pytest.raises(CheckFailed, match=r"^pass 2, edited, .* promised: values .* as of the graph before it"):
        verify(Approximate(), sloppy)


def test_weaker_is_what_two_passes_promise_together() -> None:
    assert weaker(Preserves.BITS, Preserves.VALUES) is Preserves.VALUES
    assert weaker(Preserves.ACCURACY, Preserves.VALUES) is Preserves.ACCURACY


def test_a_change_that_is_denied_is_found() -> None:
    with pytest.raises(CheckFailed, match=r"^pass 1, denies, changed the graph, but returned that it did not$"):
        verify(planted.Denies())


def rename_output(graph: ir.Graph) -> None:
    graph.outputs[0].name = "renamed"


def rename_input(graph: ir.Graph) -> None:
    graph.inputs[0].name = "renamed"


def swap_outputs(graph: ir.Graph) -> None:
    graph.outputs.reverse()


def drop_output(graph: ir.Graph) -> None:
    graph.outputs.pop()


def another_type(graph: ir.Graph) -> None:
    graph.outputs[0].dtype = np.dtype(np.float64)


def fix_batch(graph: ir.Graph) -> None:
    graph.inputs[0].shape = [2, 4]


def rename_symbol(graph: ir.Graph) -> None:
    graph.outputs[0].shape = ["M", 4]


def forget_shape(graph: ir.Graph) -> None:
    graph.outputs[0].shape = None


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (rename_output, "changed the outputs from y, z to renamed, z"),
        (rename_input, "changed the inputs from x to renamed"),
        (swap_outputs, "changed the outputs from y, z to z, y"),
        (drop_output, "changed the outputs from y, z to y"),
        (another_type, r"changed the output 'y' from float32\[N, 4\] to float64\[N, 4\]"),
        (fix_batch, r"changed the input 'x' from float32\[N, 4\] to float32\[2, 4\]"),
        (rename_symbol, r"changed the output 'y' from float32\[N, 4\] to float32\[M, 4\]"),
        (forget_shape, r"changed the output 'y' from float32\[N, 4\] to float32\[...\]"),
    ],
)
def test_what_the_model_declares_to_its_callers_must_stay(edit: Callable[[ir.Graph], None], reason: str) -> None:
    with pytest.raises(CheckFailed, match=f"^pass 1, edited, {reason}$"):
        verify(editing(edit))


def test_a_pass_may_say_what_the_file_leaves_open() -> None:
    graph = planted.graph(planted.MODEL.replace("float[N, 4] z", "float[] z"))

    def infer(graph: ir.Graph) -> None:
        graph.outputs[1].shape = ["N", 4]

    assert verify(editing(infer), graph=graph).results


def test_a_default_that_the_caller_may_override_must_stay_one() -> None:
    """An initializer that is listed as an input (IR version 4 and later) belongs to the interface."""
    model = planted.model()
    model.graph.input.append(onnx.helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [4]))

    def freeze(graph: ir.Graph) -> None:
        w = graph.inputs.pop()
        w.to_constant(w.default.read())

    with pytest.raises(CheckFailed, match=r"changed the inputs from x, w to x"):
        verify(editing(freeze), graph=ir.from_proto(model))


def test_before_ir_version_4_a_listed_initializer_is_no_input() -> None:
    model = planted.model()
    model.ir_version = 3
    model.opset_import[0].version = 8
    model.graph.input.append(onnx.helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [4]))

    seen = verify(Annotate(), graph=ir.from_proto(model))
    assert [spec.name for spec in seen.reference.interface.inputs] == ["x"]


def test_an_invalid_model_is_the_fault_of_the_pass_that_made_it() -> None:
    def spoil(graph: ir.Graph) -> None:
        graph.nodes[1].op = "Rleu"

    with pytest.raises(CheckFailed, match=r"^pass 1, edited, made a model that onnx's checker refuses: .*Rleu"):
        verify(editing(spoil))


def test_a_model_that_no_longer_runs_is_the_fault_of_the_pass() -> None:
    def foreign(graph: ir.Graph) -> None:
        graph.nodes[1].op, graph.nodes[1].domain = "Rleu", "example"
        graph.import_domains = [*graph.import_domains, onnx.helper.make_opsetid("example", 1)]

    with pytest.raises(CheckFailed, match=r"^pass 1, edited, made a model that does not run: onnxruntime cannot load"):
        verify(editing(foreign))


def test_a_graph_that_cannot_be_written_is_the_fault_of_the_pass() -> None:
    def nonsense(graph: ir.Graph) -> None:
        graph.nodes[1].attrs["what"] = object()

    with pytest.raises(CheckFailed, match=r"^pass 1, edited, made a graph that cannot be written: "):
        verify(editing(nonsense))


RANDOM = """
<ir_version: 8, opset_import: ["" : 17]>
noisy (float[2] x) => (float[2] y, float[2] noise)
{
    r = RandomNormalLike (x)
    noise = Add (x, r)
    y = Relu (x)
}
"""


def test_random_outputs_are_not_compared_and_that_is_said() -> None:
    ctx = Context()
    seen = verify(Annotate(), graph=planted.graph(RANDOM), ctx=ctx)
    assert seen.skipped == {"noise"} and seen.results[0].worst.output == "y"
    assert ctx.warnings == ["not compared, since they depend on random operators: noise"]


def test_a_model_of_random_outputs_alone_leaves_nothing_to_compare() -> None:
    only = RANDOM.replace("float[2] y, ", "").replace("    y = Relu (x)\n", "")
    assert verify(Annotate(), graph=planted.graph(only)).results[0].worst is None


def test_an_input_model_that_cannot_be_run_cannot_be_verified() -> None:
    model = planted.model()
    model.graph.node[1].op_type, model.graph.node[1].domain = "Rleu", "example"
    model.opset_import.append(onnx.helper.make_opsetid("example", 1))
    with pytest.raises(CheckFailed, match=r"^cannot verify: onnxruntime cannot load the model"):
        verify(Annotate(), graph=ir.from_proto(model))


def test_an_input_model_that_the_checker_refuses_is_verified_by_its_outputs() -> None:
    model = planted.model()
    model.graph.output[1].type.tensor_type.shape.dim[1].dim_value = 5  # the file declares a wrong shape
    graph, ctx = ir.from_proto(model), Context()
    assert verify(Annotate(), graph=graph.copy(), ctx=ctx).results
    assert "the input model itself fails onnx's checker" in ctx.warnings[0]
    with pytest.raises(CheckFailed, match=r"broke output"):
        verify(planted.BreakUngated(), graph=graph)


def test_at_the_end_only_one_comparison_is_made_by_the_weakest_promise() -> None:
    seen = verify(Reassociate(), Touch(), each=False)
    assert [(check.run, check.promise) for check in seen.results] == [(None, Preserves.VALUES)]
    with pytest.raises(CheckFailed, match=r"^the pipeline broke output"):
        verify(planted.BreakUngated(), Annotate(), each=False)


def test_at_the_end_a_denied_change_counts_too() -> None:
    with pytest.raises(CheckFailed, match=r"^the pipeline broke output"):
        verify(planted.Denies(), each=False)


def test_where_nothing_changed_the_result_is_measured_all_the_same() -> None:
    (check,) = verify(Nothing()).results
    assert check.run is None and check.worst.bit_equal


def test_passes_before_the_first_in_question_are_not_compared_themselves() -> None:
    seen = verify(Approximate(), Touch(), Annotate(), since=2)
    assert [check.run.index for check in seen.results] == [2, 3]
    with pytest.raises(CheckFailed, match=r"^pass 2, ulp, .* as of the graph before it"):
        verify(Reassociate(), Ulp(), since=2)


def test_an_instrument_can_watch_a_second_run() -> None:
    watching = Verify()
    for _ in range(2):
        Manager([watching]).run(planted.graph(), pipeline(Approximate()), Context())
    assert len(watching.results) == 1
    Manager([watching]).run(planted.graph(), pipeline(Annotate()), Context())
    assert watching.results[0].promise is Preserves.BITS


@pytest.fixture
def only_negative(tmp_path: Path) -> Path:
    """Samples on which the Relu gives zeros, so that most faults do not show."""
    path = tmp_path / "negative.npz"
    np.savez(path, x=-np.ones((20, 4), np.float32))
    return path


def test_given_data_are_what_is_run(only_negative: Path) -> None:
    source = planted.source()
    samples = open_samples(source, only_negative)
    seen = verify(planted.BreakUngated(), data=samples)
    assert seen.results[0].worst.bit_equal
    assert len(seen.reference.feeds) == 8
    assert seen.compared_on == "8 batches of negative.npz"


def test_a_fixed_batch_is_filled_with_samples(only_negative: Path) -> None:
    fixed = planted.MODEL.replace("N, 4", "10, 4")
    samples = open_samples(Source.of(planted.model(fixed)), only_negative)
    seen = verify(Annotate(), graph=planted.graph(fixed), data=samples)
    assert [feeds["x"].shape for feeds in seen.reference.feeds] == [(10, 4)]


def test_nan_in_the_data_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "nan.npz", x=np.full((3, 4), np.nan, np.float32))
    samples = open_samples(planted.source(), tmp_path / "nan.npz")
    with pytest.raises(BadData, match=r"input 'x' holds NaN or infinity in sample 0"):
        verify(Annotate(), data=samples)


def test_generated_inputs_take_the_sizes_given() -> None:
    seen = verify(Annotate(), dims={"N": 5})
    assert {feeds["x"].shape for feeds in seen.reference.feeds} == {(5, 4)}
    assert seen.compared_on == "2 generated sets of inputs"


def test_a_large_model_is_handed_over_as_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executable, "_IN_MEMORY", 8)
    seen = verify(Annotate(), Touch())
    assert [check.worst.bit_equal for check in seen.results] == [True, True]
    with pytest.raises(CheckFailed, match=r"^pass 1, break-ungated, broke output"):
        verify(planted.BreakUngated())


def test_weights_that_a_pass_made_count_towards_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executable, "_IN_MEMORY", 100)

    graph = planted.graph()
    graph.nodes[0].inputs[1] = ir.Constant("large", np.ones((100,), np.float32))
    with executable.executable(graph) as model:
        assert isinstance(model, Path) and model.exists()
    assert not model.exists()


def test_bits_are_not_asked_of_sixteen_bit_floats_and_that_is_said() -> None:
    ctx = Context()
    text = '<ir_version: 8, opset_import: ["" : 17]> m (float16[2] x) => (float16[2] y) { y = Relu(x) }'
    seen = verify(Nothing(), graph=ir.from_proto(onnx.parser.parse_model(text)), ctx=ctx)
    assert any("16-bit floats" in line for line in ctx.warnings)
    assert seen.results[-1].promise is Preserves.VALUES
