"""What calibration is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from onnxopt.quantization.encoding import Integer


@dataclass(frozen=True)
class Request:
    """A tensor of the main graph whose range is wanted, and the integers that it will become."""

    tensor: str
    """Its name."""
    integer: Integer
    """Bits and symmetry decide where `entropy` and `mse` clip, and the symmetry also where `percentile` does."""
    axis: int | None = None
    """The axis of the channels, for a range each; None for one range."""
