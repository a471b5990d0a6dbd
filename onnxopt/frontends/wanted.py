"""How a source is to be lowered, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from onnxopt.errors import BadOption
from onnxopt.runtime.compare import Difference

AUTO, DYNAMO, TORCHSCRIPT = "auto", "dynamo", "torchscript"
EXPORTERS = (AUTO, DYNAMO, TORCHSCRIPT)
DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Example:
    """An input of a model that does not tell what it takes."""

    name: str
    dtype: str
    """As numpy calls it."""
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Wanted:
    """The options of `onnxopt lower`; a frontend refuses those that are not for it."""

    opset: int | None = None
    """The version of the default operator set; what the exporter writes where None."""
    data: str | None = None
    """Samples to compare on, as `open_data` takes them, beside or instead of generated ones."""
    trust_pickle: bool = False
    """Whether the author of the source may run code here."""
    exporter: str = AUTO
    """torch: which exporter; `auto` is dynamo, and TorchScript's where that fails."""
    dynamic: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    """torch: the symbols of dynamic axes, by input."""
    input_names: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()
    """torch: the inputs, for files that do not have them."""
    keep_batchnorm: bool = False
    """torch: leave BatchNormalization as it is, instead of folding it into the layer before it."""
    dtype: str | None = None
    """scikit-learn: the type of the rows, float32 or float64; float32 where None."""

    def require_only(self, allowed: frozenset[str], what: str) -> None:
        """Refuse options that do nothing for this kind of source.

        Raises:
            BadOption: One that is not among the `allowed` is given.
        """
        for option in fields(self):
            default = option.default_factory() if callable(option.default_factory) else option.default
            if option.name not in allowed and getattr(self, option.name) != default:
                flag = FLAGS.get(option.name, option.name).replace("_", "-")
                raise BadOption(f"--{flag} does nothing for {what}")


FLAGS = {"examples": "input"}
"""Options whose flag has another name than the field."""
COMMON = frozenset({"opset", "data", "trust_pickle"})


@dataclass(frozen=True)
class Lowered:
    """How a source became an ONNX model."""

    by: str
    """The exporter and its version, for people."""
    compared: str = ""
    """What the outputs were compared on; empty where there was nothing to compare with."""
    differences: tuple[Difference, ...] = ()
    """The worst of each output, all within rounding."""
    notes: tuple[str, ...] = ()
    """What the user should know, one line each."""
