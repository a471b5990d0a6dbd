"""The child's side with the full TensorRT, in whose place stands what has its names (full_tensorrt.py)."""

from dataclasses import replace

import pytest

from onnxopt.backends.tensorrt.vendor import build
from onnxopt.backends.tensorrt.wanted import ENGINE, LOG, MODEL, PROGRESS, TIMINGS, Port, Profile, Wanted

WANTED = Wanted("tests.backends.tensorrt.full_tensorrt", profiles={"x": Profile((1, 4), (8, 4), (8, 4))})


@pytest.fixture
def place(tmp_path):
    """A working folder with a model, which nobody reads."""
    (tmp_path / MODEL).write_bytes(b"")
    return tmp_path


def test_it_builds_and_tells_how_far_it_is(place):
    found = build(str(place), WANTED)
    assert found.is_built and found.version == "11.4.0" and found.capabilities == ()
    assert found.inputs == (Port("x", "float", (-1, 4)),)
    assert (place / ENGINE).read_bytes() == b"engine" and (place / LOG).exists()
    assert (place / PROGRESS).read_bytes().rstrip(b"\0") == b"1 2 Building"


def test_the_timing_cache_is_read_and_written(place):
    build(str(place), replace(WANTED, timing_cache=True))
    assert (place / TIMINGS).read_bytes() == b"+measured"
    build(str(place), replace(WANTED, timing_cache=True))
    assert (place / TIMINGS).read_bytes() == b"+measured+measured"


def test_a_timing_cache_of_another_device_is_refused(place):
    (place / TIMINGS).write_bytes(b"other")
    found = build(str(place), replace(WANTED, timing_cache=True))
    assert not found.is_built and "is of another device or version: remove the file" in found.lacking


def test_it_builds_for_the_gpu_that_is_here_and_no_other(place):
    found = build(str(place), replace(WANTED, capabilities=("8.6",)))
    assert not found.is_built and "builds for the GPU that is here; leave them away" in found.lacking


def test_parsing_alone_builds_nothing(place):
    found = build(str(place), replace(WANTED, builds=False))
    assert not found.is_built and found.outputs and not (place / ENGINE).exists()
