"""Packages, read back from disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import coremltools as ct
from coremltools.converters.mil.frontend.milproto.load import load as load_program

from onnxopt.backends.coreml.evaluator.running import Evaluator
from onnxopt.errors import BadModel

_WEIGHTS = Path("Data", "com.apple.CoreML", "weights")


def load(path: Path, function: str = "main") -> Evaluator:
    """Read a package, from the disk alone.

    Args:
        path: A folder `X.mlpackage`.
        function: Which of its functions.

    Raises:
        BadModel: It is no ML Program package, it is damaged, or has no such function.
    """
    if not path.exists():
        raise BadModel(f"{path} is not there")
    if not path.is_dir() or not (path / "Manifest.json").is_file():
        raise BadModel(f"{path} is no package: a folder with a Manifest.json, as Core ML writes it")
    spec = _spec_of(path)
    if spec.WhichOneof("Type") != "mlProgram":
        raise BadModel(f"{path} is a {spec.WhichOneof('Type') or 'model without a kind'}, and no ML Program")
    try:
        program = load_program(spec, spec.specificationVersion, str(path / _WEIGHTS))
    except Exception as error:  # coremltools raises whatever comes along for a file that it cannot read
        raise BadModel(f"{path} is damaged, or coremltools cannot read it back: {_line(error)}") from error
    if function not in program.functions:
        raise BadModel(f"{path} has no function '{function}', but {', '.join(program.functions)}")
    return Evaluator(str(path), program.functions[function])


def _spec_of(path: Path) -> Any:
    try:
        return ct.utils.load_spec(str(path))
    except Exception as error:  # as above
        raise BadModel(f"{path} is damaged: {_line(error)}") from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
