"""Small MIL programs, written as packages and evaluated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pytest

ct = pytest.importorskip("coremltools", reason="the evaluator runs on coremltools")

from coremltools.converters.mil import Builder as mb  # noqa: E402, N813  only where it is installed
from coremltools.converters.mil.mil import Function, Placeholder, Program, types  # noqa: E402

from onnxopt.backends.coreml.evaluator import Evaluator, load  # noqa: E402

Array = npt.NDArray[Any]


def written(
    path: Path, build: Callable[..., Any], inputs: dict[str, Array], target: str = "iOS17", precision: str = "float32"
) -> Evaluator:
    """The evaluator of a package of what `build` makes of its inputs, by name."""
    made = {
        name: Placeholder(value.shape, dtype=types.numpy_type_to_builtin_type(value.dtype))
        for name, value in inputs.items()
    }
    program = Program()
    version = getattr(ct.target, target)
    with Function(made, opset_version=version) as function:
        found = build(**function.inputs)
        function.set_outputs(list(found) if isinstance(found, (tuple, list)) else [found])
    program.add_function("main", function)
    model = ct.convert(
        program,
        source="milinternal",
        convert_to="mlprogram",
        minimum_deployment_target=version,
        compute_precision=ct.precision.FLOAT16 if precision == "float16" else ct.precision.FLOAT32,
        skip_model_load=True,
    )
    package = path / f"{len(list(path.iterdir()))}.mlpackage"
    model.save(str(package))
    return load(package)


def evaluated(path: Path, build: Callable[..., Any], inputs: dict[str, Array], **asked: str) -> list[Array]:
    """The outputs of such a package, in order."""
    return list(written(path, build, inputs, **asked).run(inputs).values())


__all__ = ["evaluated", "mb", "written"]
