"""From other frameworks to ONNX. What a framework needs is imported when a source of it is lowered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxopt.frontends.wanted import Lowered


def lower(source: Any, output: str | Path, inputs: Any = None, **options: Any) -> Lowered:
    """Write a model of torch or scikit-learn as ONNX, and compare it with that framework: `onnxopt lower` in Python.

    Args:
        source: A file or `module:function`, which are opened in a child process; or, in this one, an nn.Module in eval
            mode, an exported program, or a fitted estimator.
        output: The ONNX file, written whole or not at all.
        inputs: For a module, its example inputs: a tensor, a tuple, or a dict by name. For an estimator, rows
            [N, features] to compare on, or None. Nothing for a file, which has its own.
        options: The fields of `onnxopt.frontends.wanted.Wanted`: opset, dynamic, exporter, dtype, ...

    Raises:
        BadOption: An option is unknown or does nothing for this source, a package is missing, a pickle is not trusted.
        BadModel: It is no model, or cannot be exported.
        CheckFailed: The exported model gives other outputs than the source.
    """
    from tempfile import TemporaryDirectory

    from onnxopt import ir
    from onnxopt.errors import BadOption
    from onnxopt.frontends import lowering
    from onnxopt.frontends.wanted import Wanted

    try:
        wanted = Wanted(**options)
    except TypeError as error:
        raise BadOption(f"lower: {str(error).partition(') ')[2] or error}") from None
    if isinstance(source, (str, Path)):
        if inputs is not None:
            raise BadOption(f"{source} has inputs of its own: inputs are for a module or an estimator at hand")
        return lowering.lower(source, Path(output), wanted)
    with TemporaryDirectory(prefix="onnxopt-lower-") as folder:
        made = Path(folder) / "model.onnx"
        lowered = lowering.lower_object(source, inputs, wanted, made, type(source).__name__)
        ir.save(ir.load(made), Path(output))
    return lowered
