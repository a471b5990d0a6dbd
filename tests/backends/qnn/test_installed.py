"""Where Qualcomm's libraries are not."""

import importlib.util
import platform
import sys

import pytest

from onnxopt.backends.qnn import installed
from onnxopt.errors import BadOption
from onnxopt.pipeline.backend import Emission
from onnxopt.pipeline.target import target_class
from onnxopt.runtime.child import run_in_child


@pytest.fixture(autouse=True)
def forgetful():
    installed.missing.cache_clear()
    yield
    installed.missing.cache_clear()


@pytest.fixture
def here(monkeypatch):
    """A machine for which there are libraries."""
    monkeypatch.setattr(sys, "version_info", (3, 12, 0))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    return monkeypatch


def test_the_package_is_named_before_any_work_is_done(here):
    here.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadOption, match=r"onnxruntime-qnn, which is not installed: pip install 'onnxopt\[qnn\]'"):
        Emission.parse("qnn{soc=SM8450}=m.dlc")


def test_an_older_python_is_told(here):
    here.setattr(sys, "version_info", (3, 10, 4))
    assert "needs Python 3.11 or newer, and this is 3.10" in installed.missing()


def test_another_machine_is_told(here):
    here.setattr(platform, "machine", lambda: "aarch64")
    assert "on x86-64 Linux, and this is linux on aarch64" in installed.missing()


def test_graphs_are_prepared_for_it_all_the_same(here):
    here.setattr(importlib.util, "find_spec", lambda name: None)
    assert target_class("qnn").quantization().activations == ("uint8", "uint16")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("qnn=m.dlc", "qnn needs soc"),
        ("qnn{soc=SM845}=m.dlc", "did you mean"),
        ("qnn{soc=SM8450 min-srn=1}=m.dlc", "has no option 'min-srn'; did you mean min-snr"),
        ("qnn{soc=SM8450 timeout=0}=m.dlc", "timeout is more than 0 seconds"),
        ("qnn{soc=SM8450}=m.onnx", r"writes a DLC \(.dlc\) or an HTP context binary \(.bin\)"),
        ("qnn{soc=SM8450 context-binary=m.context}=m.dlc", "give it the suffix .bin"),
        ("qnn{soc=SM8450 context-binary=n.bin}=m.bin", "context-binary is for a DLC"),
        ("qnn{soc=SM8450 context-binary=nowhere/m.bin}=m.dlc", "there is no folder nowhere"),
    ],
)
def test_what_the_libraries_would_ignore_is_an_error(here, text, reason):
    here.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(BadOption, match=reason):
        Emission.parse(text)


def test_the_libraries_are_imported_by_the_child_alone():
    assert run_in_child("tests.backends.qnn.child_work:imported_with_us", timeout=120) is False
