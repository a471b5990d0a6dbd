"""Whether what a frontend needs is here."""

from __future__ import annotations

import importlib.util

from onnxopt.errors import BadOption
from onnxopt.frontends.kinds import Kind

_TORCH, _SKLEARN = ("torch", "onnxscript"), ("sklearn", "skl2onnx", "skops")
_NEEDED = {
    Kind.PROGRAM: ("torch", _TORCH),
    Kind.TORCHSCRIPT: ("torch", _TORCH),
    Kind.TORCH_PICKLE: ("torch", _TORCH),
    Kind.SKOPS: ("sklearn", _SKLEARN),
    Kind.PICKLE: ("sklearn", _SKLEARN),
}


def require_installed(source: str, kind: Kind) -> None:
    """Refuse a source whose packages are not installed.

    Raises:
        BadOption: One is not; the text names the extra.
    """
    extra, packages = _NEEDED.get(kind, ("", ()))
    require(f"{source} is {kind.value}, and", extra, packages)


def require_torch(source: str) -> None:
    """Refuse a module where the exporters are not installed."""
    require(f"{source} gives a module of torch, and", "torch", _TORCH)


def require_sklearn(source: str) -> None:
    """Refuse an estimator where skl2onnx is not installed."""
    require(f"{source} gives an estimator of scikit-learn, and", "sklearn", _SKLEARN)


def require(who: str, extra: str, packages: tuple[str, ...]) -> None:
    """Refuse to go on without `packages`.

    Raises:
        BadOption: One is not installed.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise BadOption(f"{who} {package} is not installed: pip install 'onnxopt[{extra}]'")
