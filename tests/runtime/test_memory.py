"""The memory of a model is that of a process which does nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from onnxopt.runtime.memory import peak_memory
from onnxopt.runtime.session import NotRunnable

MEGABYTE = 1 << 20


def saved(path: Path, megabytes: int) -> Path:
    """x [1, n] times a matrix [n, 1024] of so many megabytes."""
    rows = megabytes * MEGABYTE // 4096
    weight = numpy_helper.from_array(np.ones((rows, 1024), np.float32), "w")
    x, y = (helper.make_tensor_value_info(name, 1, shape) for name, shape in (("x", [1, rows]), ("y", [1, 1024])))
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_weights_are_what_a_larger_model_takes_more(tmp_path: Path) -> None:
    ballast = np.ones(64 * MEGABYTE)  # of ours, which is none of the child's
    small, large = (
        peak_memory(saved(tmp_path / f"{size}.onnx", size), [{"x": np.ones((1, size * 256), np.float32)}], threads=1)
        for size in (1, 33)
    )
    assert 32 * MEGABYTE <= large.added - small.added < 32 * MEGABYTE * 4  # onnxruntime holds them more than once
    assert 0 <= small.added < 32 * MEGABYTE and large.peak < ballast.nbytes
    assert abs(large.before - small.before) < 16 * MEGABYTE


def test_a_model_that_does_not_run_says_why(tmp_path: Path) -> None:
    with pytest.raises(NotRunnable, match=r"1\.onnx: onnxruntime cannot run it: .*x"):
        peak_memory(saved(tmp_path / "1.onnx", 1), [{"x": np.ones((2, 2), np.float32)}])
