from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxopt
from onnxopt import ir
from onnxopt.api import open_samples
from onnxopt.errors import BadModel, BadOption, CheckFailed, PassFailed
from onnxopt.pipeline.source import Source
from tests.pipeline import planted
from tests.pipeline.planted import Annotate, Touch, pipeline


@pytest.fixture
def path(tmp_path: Path) -> Path:
    onnx.save(planted.model(), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_what_the_package_offers() -> None:
    offered = {"Batcher", "Context", "Pass", "Preserves", "RunResult", "build_engine", "lower", "run"}
    assert set(onnxopt.__all__) == offered
    assert all(hasattr(onnxopt, name) for name in onnxopt.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'rnu'"):
        _ = onnxopt.rnu


def test_a_file_is_run_and_saved(path: Path, tmp_path: Path) -> None:
    before = path.read_bytes()
    result = onnxopt.run(str(path), "O2", verify_each=True)
    result.save(tmp_path / "out.onnx")
    onnx.checker.check_model(str(tmp_path / "out.onnx"), full_check=True)
    assert path.read_bytes() == before
    assert result.verified and result.verified[-1].worst.bit_equal


def test_a_proto_is_run_and_not_changed() -> None:
    model = planted.model()
    before = model.SerializeToString()
    result = onnxopt.run(model, pipeline(planted.Approximate()))
    assert model.SerializeToString() == before
    assert ir.to_proto(result.graph).SerializeToString() != before


def test_a_graph_is_run_and_not_changed_weights_included() -> None:
    graph = planted.graph()
    before, text = graph.constants[0].read().copy(), ir.to_text(graph)

    def in_place(graph: ir.Graph) -> None:
        graph.constants[0].values[:] = 7
        graph.nodes[0].metadata_props["edited"] = "yes"

    result = onnxopt.run(graph, pipeline(planted.editing(in_place)))
    assert ir.to_text(graph) == text
    np.testing.assert_array_equal(graph.constants[0].read(), before)
    np.testing.assert_array_equal(result.graph.constants[0].read(), 7)


def test_a_source_gives_the_same_graph_at_every_call(path: Path) -> None:
    for given in (path, str(path), planted.model(), planted.graph()):
        source = Source.of(given)
        planted.scale_weights(source.load(), 3.0)
        assert ir.fingerprint(source.load()) == ir.fingerprint(planted.graph())
    assert Source.of(source) is source


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"a model is a path, a ModelProto or an onnxopt.ir.Graph, not int"):
        onnxopt.run(7)  # type: ignore[arg-type]
    with pytest.raises(BadModel, match="no such file"):
        onnxopt.run(tmp_path / "none.onnx")
    with pytest.raises(BadModel, match="not an ONNX model"):
        onnxopt.run(onnx.ModelProto())


def test_passes_come_as_text_objects_or_a_file(path: Path, tmp_path: Path) -> None:
    plugin = Path(planted.__file__)
    (tmp_path / "job.toml").write_text(f'passes = "annotate"\nplugins = ["{plugin}"]\ntarget = "onnx"\n')
    texts = [
        str(onnxopt.run(path, "annotate", plugins=[plugin]).pipeline),
        str(onnxopt.run(path, pipeline(Annotate())).pipeline),
        str(onnxopt.run(path, tmp_path / "job.toml").pipeline),
        str(onnxopt.run(path, str(tmp_path / "job.toml")).pipeline),
    ]
    assert texts == ["annotate"] * 4
    assert onnxopt.run(path, tmp_path / "job.toml").context.target == "onnx"
    assert onnxopt.run(path).pipeline.elements[0].name == "O1"


def test_data_mean_verification_unless_it_is_declined(path: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.ones((3, 4), np.float32))
    assert onnxopt.run(path, data=tmp_path / "x.npz").verified
    assert not onnxopt.run(path, data=tmp_path / "x.npz", verify=False).verified
    assert not onnxopt.run(path).verified
    assert onnxopt.run(path, verify=True).verified
    with pytest.raises(BadOption, match="exclude each other"):
        onnxopt.run(path, verify=False, verify_each=True)


def test_a_data_set_may_be_given_opened(path: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.ones((3, 4), np.float32))
    samples = open_samples(Source.of(path), tmp_path / "x.npz")
    result = onnxopt.run(path, data=samples)
    assert result.context.data is samples and result.compared_on == "3 batches of x.npz"


def test_an_unknown_target_is_refused(path: Path) -> None:
    with pytest.raises(BadOption, match="there is no target 'onxn'; did you mean onnx"):
        onnxopt.run(path, target="onxn")


def test_a_broken_output_raises_with_the_way_to_the_fault(path: Path) -> None:
    with pytest.raises(CheckFailed, match=r"the pipeline broke output 'y'.*\nfind the pass with: onnxopt bisect"):
        onnxopt.run(path, pipeline(planted.BreakUngated()), verify=True)
    with pytest.raises(CheckFailed) as caught:
        onnxopt.run(planted.graph(), pipeline(planted.BreakUngated()), verify=True)
    assert "bisect" not in str(caught.value), "there is no file to name"


def test_a_failing_pass_leaves_a_reproducer_only_where_asked(path: Path, tmp_path: Path) -> None:
    with pytest.raises(PassFailed) as caught:
        onnxopt.run(path, pipeline(planted.Raises()))
    assert "\n" not in str(caught.value)
    with pytest.raises(PassFailed, match=r"\nreproduce it with: onnxopt run .* --passes raises --verify-each"):
        onnxopt.run(path, pipeline(planted.Raises()), verify_each=True, reproducer=tmp_path / "repro")
    assert (tmp_path / "repro" / "model.onnx").exists()


def test_the_limit_and_instruments_reach_the_run(path: Path) -> None:
    from onnxopt.pipeline.instruments.timing import Timing

    timing = Timing()
    result = onnxopt.run(path, pipeline(Touch()), limit=2, instruments=[timing])
    assert len(result.context.rewrites) == 2
    assert [timed.run.name for timed in timing.table] == ["touch"]


def test_a_result_shows_itself_in_a_line_and_in_a_notebook(path: Path) -> None:
    result = onnxopt.run(path, "O2", verify=True)
    line = repr(result)
    assert line.startswith("<RunResult ") and "\n" not in line and len(line) < 300
    assert "model.onnx, O2: 4 rewrites, 5 > 3 nodes; largest output difference: none" in line
    page = result._repr_html_()
    assert page.startswith("<pre") and "Tanh" in page and "parameters" in page


def test_a_notebook_does_not_show_the_figures_of_a_replaced_source(path: Path) -> None:
    def drop(graph: ir.Graph) -> None:
        graph.nodes.pop().inputs.clear()
        graph.outputs.pop()

    result = onnxopt.run(path, pipeline(planted.editing(drop)))
    result.save(path)
    assert "5 &gt; 4 nodes" in result._repr_html_()
    path.unlink()
    assert "5 &gt; 4 nodes" in result._repr_html_()
