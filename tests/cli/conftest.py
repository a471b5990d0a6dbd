from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxopt.cli.app import main
from tests.pipeline import planted


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The one document on stdout; numbers that are none are refused."""

        def refuse(name: str) -> None:
            raise AssertionError(f"{name} is not JSON")

        return json.loads(self.out, parse_constant=refuse)


Command = Callable[..., Ended]


@pytest.fixture
def onnxopt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """The command line, run in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> Ended:
        monkeypatch.setattr("sys.argv", ["onnxopt", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return Ended(int(ended.value.code or 0), *capsys.readouterr())

    return call


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """`planted.MODEL` as a file."""
    path = tmp_path / "model.onnx"
    onnx.save(planted.model(), path)
    return path


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """Twelve samples for it."""
    path = tmp_path / "samples.npz"
    np.savez(path, x=np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32))
    return path


@pytest.fixture
def plugin() -> Path:
    """A plug-in file with the passes of `planted`."""
    return Path(planted.__file__)
