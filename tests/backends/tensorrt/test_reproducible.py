"""The same graph, the same engine."""

from __future__ import annotations

import ctypes
import importlib.util
import subprocess
import sys

import pytest

from onnxopt import ir
from onnxopt.backends.tensorrt.building import attempt
from onnxopt.backends.tensorrt.reproducible import same_addresses
from onnxopt.backends.tensorrt.wanted import Profile, Wanted
from tests.backends.tensorrt.hazards import CONV, Hazard

_WHERE = "import ctypes; print(ctypes.addressof(ctypes.create_string_buffer(1 << 20)))"


def where() -> str:
    return subprocess.run([sys.executable, "-c", _WHERE], capture_output=True, text=True, check=True).stdout


def test_processes_have_the_same_addresses() -> None:
    with same_addresses() as is_so:
        if not is_so:
            pytest.skip("this system does not let us")
        assert len({where() for _ in range(3)}) == 1


def test_ours_stay_as_they_are() -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux has personalities")
    ask = ctypes.CDLL(None).personality
    before = ask(0xFFFFFFFF)
    with same_addresses():
        pass
    assert ask(0xFFFFFFFF) == before


@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="pip install onnxopt[test]")
def test_two_builds_of_dynamic_shapes_in_int8_are_bit_identical(tmp_path) -> None:
    with same_addresses() as is_so:
        if not is_so:
            pytest.skip("this system does not let us")
    model = Hazard(f"{CONV} k = GlobalAveragePool (y)", "", "", {}, "float[N, 16, H, 8] x").model
    profile = Profile((1, 16, 8, 8), (4, 16, 16, 8), (8, 16, 32, 8))
    engines = set()
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        built = attempt(ir.from_proto(model), Wanted(profiles={"x": profile}), folder=folder)
        assert built.ok and built.engine is not None, built.why
        engines.add(built.engine.read_bytes())
    assert len(engines) == 1
