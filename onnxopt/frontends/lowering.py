"""A source to an ONNX file: what it is, whether it may be opened, the work in a child process."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from onnxopt.errors import BadModel, BadOption
from onnxopt.frontends.finishing import NotFinished, finish
from onnxopt.frontends.function import called
from onnxopt.frontends.installed import require_installed, require_sklearn, require_torch
from onnxopt.frontends.kinds import Kind, kind_of
from onnxopt.frontends.wanted import COMMON, Lowered, Wanted
from onnxopt.runtime.child import ChildFailed, run_in_child

TIMEOUT = 1800.0
"""Seconds for everything: the exporters of torch take a minute for a large model."""
_WORK = "onnxopt.frontends.lowering:work"
_MODEL = "model.onnx"


def lower(source: str | Path, path: Path, wanted: Wanted | None = None, timeout: float = TIMEOUT) -> Lowered:
    """Write a source as an ONNX model to `path`, whole or not at all.

    Frameworks run in a child process: they take memory, print, and leave state behind.

    Args:
        source: A file, or `module:function`, which is imported and called in the child.
        path: The ONNX file to write.
        wanted: Options.
        timeout: Seconds that it may take.

    Raises:
        BadOption: It is a pickle and not trusted, a package is missing, or an option does nothing for it.
        BadModel: It is no model, or cannot be exported.
        CheckFailed: The exported model gives other outputs than the source.
    """
    from onnxopt import ir

    wanted = wanted or Wanted()
    kind = kind_of(source)
    if kind.is_pickle and not wanted.trust_pickle:
        raise BadOption(
            f"{source} is {kind.value}: to open it runs whatever code is in it; give --trust-pickle if you trust where "
            f"it is from, or {_SAFER[kind]}"
        )
    require_installed(str(source), kind)
    with tempfile.TemporaryDirectory(prefix="onnxopt-lower-") as folder:
        made = Path(folder) / _MODEL
        if kind is Kind.ONNX:
            lowered = _normalized(Path(source), made, wanted)
        else:
            try:
                lowered = run_in_child(_WORK, str(source), kind, wanted, made, timeout=timeout)
            except ChildFailed as error:
                raise BadModel(f"{source} was not lowered: {str(error).removeprefix(_WORK).strip()}") from error
        ir.save(ir.load(made), path)
    return lowered


_SAFER = {
    Kind.TORCHSCRIPT: "save it with torch.export.save as a .pt2",
    Kind.TORCH_PICKLE: "save it with torch.export.save as a .pt2",
    Kind.PICKLE: "save it with skops.io.dump",
}


def work(source: str, kind: Kind, wanted: Wanted, path: Path) -> Lowered:
    """What the child does: open the source, export, compare."""
    if kind is Kind.FUNCTION:
        return lower_object(*called(source), wanted, path, source)
    if kind in (Kind.SKOPS, Kind.PICKLE):
        from onnxopt.frontends.sklearn import lowering as sklearn
        from onnxopt.frontends.sklearn.reading import read as read_estimator

        wanted.require_only(sklearn.OPTIONS, kind.value)
        estimator, notes = read_estimator(Path(source), kind, wanted.trust_pickle)
        found = sklearn.lower(estimator, None, wanted, path, source)
        return Lowered(found.by, found.compared, found.differences, (*notes, *found.notes))
    from onnxopt.frontends.torch import lowering as torch
    from onnxopt.frontends.torch.subject import read as read_module

    wanted.require_only(torch.OPTIONS, kind.value)
    return torch.lower(read_module(Path(source), kind, wanted), wanted, path)


def lower_object(model: Any, given: Any, wanted: Wanted, path: Path, name: str) -> Lowered:
    """Write a module of torch with its example inputs, or an estimator with rows or None, as an ONNX model.

    Raises:
        BadModel: It is neither.
        OnnxoptError: As `lower` does.
    """
    packages = {base.__module__.partition(".")[0] for base in type(model).__mro__}
    if "torch" in packages and "torch" in sys.modules:
        require_torch(name)
        from onnxopt.frontends.torch import lowering as torch
        from onnxopt.frontends.torch.subject import of

        wanted.require_only(torch.OPTIONS - {"examples"}, "a module of torch")
        return torch.lower(of(model, given, wanted, name), wanted, path)
    if "sklearn" in packages:
        require_sklearn(name)
        from onnxopt.frontends.sklearn import lowering as sklearn

        wanted.require_only(sklearn.OPTIONS, "an estimator of scikit-learn")
        return sklearn.lower(model, given, wanted, path, name)
    raise BadModel(
        f"{name} gives {type(model).__name__}: it has to give an nn.Module with example inputs, or an estimator of "
        "scikit-learn"
    )


def _normalized(source: Path, path: Path, wanted: Wanted) -> Lowered:
    from onnxopt import ir

    wanted.require_only(COMMON - {"data", "trust_pickle"}, "an ONNX model")
    ir.save(ir.load(source), path)
    try:
        return Lowered("normalize", notes=tuple(finish(path, wanted.opset)))
    except NotFinished as error:
        raise BadModel(f"{source}: {error}") from error
