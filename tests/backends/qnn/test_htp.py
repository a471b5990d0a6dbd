"""Models through Qualcomm's libraries: those that they take, refuse, crash on, and never finish."""

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from onnxopt.backends.qnn import htp
from onnxopt.backends.qnn.htp import attempt
from onnxopt.backends.qnn.trace import Refusal
from onnxopt.runtime import working_folder
from onnxopt.runtime.child import run_in_child
from onnxopt.runtime.session import Session
from tests.backends.qnn import models
from tests.backends.qnn.models import SOC, needs_libraries

pytestmark = needs_libraries
LONG = 120


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where temporary folders go."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def folders(scratch):
    return list(scratch.glob("onnxopt-qnn-*"))


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def eventually(holds):
    deadline = time.monotonic() + 20
    while not (found := holds()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def test_a_model_is_written_compiled_and_run(tmp_path, scratch):
    keep = tmp_path / "kept"
    keep.mkdir()
    model = models.small()
    found = attempt(model, SOC, [models.image(1), models.image(2)], LONG, folder=keep)
    assert found.ok and not found.why
    assert {"model.dlc", "context.bin", "context.onnx"} <= {path.name for path in keep.iterdir()}
    session = Session(model)
    for seed, outputs in zip((1, 2), found.outputs, strict=True):
        for name, expected in session.run(models.image(seed)).items():
            np.testing.assert_allclose(outputs[name], expected, atol=0.02)  # fp16
    assert not folders(scratch)


def test_every_node_that_is_refused_is_named_with_its_operator_and_reason(scratch):
    found = attempt(models.model(models.REFUSED), SOC)
    reason = "Operators of type `{}` are not supported by QNN"
    assert found.refused == (
        Refusal("first", "Acos", reason.format("Acos")),
        Refusal("Celu_3", "Celu", reason.format("Celu")),  # the nodes have no name: by operator and place
    )
    assert (found.ok, found.stage, found.crash) == (False, "validating", "")
    assert not folders(scratch)


def test_ranks_and_types_that_htp_has_not(scratch):
    text = """g (float s, int64[1, 4] i, bool[1, 4] b) => (float r, int64[1, 4] j) {
        r = Exp(s)
        k = Cast<to = 7>(b)
        j = Add(i, k)
    }"""
    fed = {"s": np.float32(0.5), "i": np.array([[1, 2, -3, 2**20]]), "b": np.array([[True, False, True, True]])}
    (outputs,) = attempt(models.model(text), SOC, fed).outputs
    assert outputs["r"].shape == () and outputs["r"] == pytest.approx(np.exp(0.5), rel=1e-2)
    np.testing.assert_array_equal(outputs["j"], fed["i"] + fed["b"])
    assert outputs["j"].dtype == np.int64


@pytest.mark.parametrize(
    ("text", "stage"), [(models.CRASHES_IN_VALIDATION, "validating"), (models.CRASHES_IN_RUN, "running")]
)
def test_a_crash_of_theirs_is_an_answer(text, stage, scratch):
    fed = {"x": np.zeros((1, 64, 64, 64), np.float32)} if stage == "running" else None
    found = next((found for _ in range(3) if not (found := attempt(models.model(text), SOC, fed)).ok), None)
    assert found is not None
    assert (found.crash, found.stage, found.ok) == ("SIGSEGV", stage, False)
    assert found.why == f"Qualcomm's libraries ended with SIGSEGV while {stage}"
    assert not folders(scratch)


def test_what_does_not_end_is_stopped_with_all_that_it_started(scratch, monkeypatch):
    monkeypatch.setattr(htp, "_CHILD", "tests.backends.qnn.child_work")
    monkeypatch.setattr(htp, "_BUILD", "hang")
    found = attempt(models.small(), SOC, timeout=3)
    assert (found.stage, found.crash) == ("compiling", "more than 3 s")
    assert found.why == "Qualcomm's libraries took more than 3 s and were stopped while compiling"
    (pid,) = [path.read_text() for path in scratch.glob("pid-*")]
    assert eventually(lambda: gone(pid))
    assert not folders(scratch)


def test_a_partial_dlc_without_a_word_is_a_failure(scratch, monkeypatch):
    monkeypatch.setattr(htp, "_CHILD", "tests.backends.qnn.child_work")
    monkeypatch.setattr(htp, "_BUILD", "leave_no_trace")
    found = attempt(models.small(), SOC)
    assert not found.ok and found.error == "they left no trace of what they did"


def test_their_libraries_end_with_us_and_their_folder_with_who_comes_next(scratch, monkeypatch):
    script = f"""
        import tempfile
        tempfile.tempdir = {str(scratch)!r}
        from onnxopt.backends.qnn import htp
        from tests.backends.qnn import models
        htp._CHILD, htp._BUILD = "tests.backends.qnn.child_work", "hang"
        htp.attempt(models.small(), 36)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], cwd=Path(__file__).parents[3])
    (mark,) = eventually(lambda: list(scratch.glob("pid-*"))) or [None]
    pid = eventually(mark.read_text)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert eventually(lambda: gone(pid))
    assert len(folders(scratch)) == 1  # nobody was there to remove it
    monkeypatch.setattr(working_folder, "_BIRTH", 0)
    with working_folder.working_folder(htp.PREFIX) as own, working_folder.working_folder(htp.PREFIX) as other:
        assert sorted(folders(scratch)) == sorted([own, other])
    assert not folders(scratch)


def test_a_second_registration_does_no_harm():
    assert run_in_child("tests.backends.qnn.child_work:register_twice", timeout=LONG) >= 1
