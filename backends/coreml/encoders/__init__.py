"""How constants are stored: as the smallest form of the target that gives the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from coremltools.converters.mil import Builder as mb

Array = npt.NDArray[Any]


def stored(array: Array, name: str, target: Any) -> Any:
    """A Var of a constant. Its form on disk is chosen last, when it has the element type that it is computed in.

    See `storing`: coremltools' own passes know what to do with plain constants only.
    """
    return mb.const(val=np.ascontiguousarray(array) if array.ndim else array[()], name=name)
