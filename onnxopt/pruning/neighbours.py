"""Which weights of a row a pattern has together: inputs that follow one another, at one place of the kernel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.intp]


def neighbours(size: int, width: int, kernel: int) -> Indices:
    """So many neighbouring inputs at one place of the kernel, [sets, width]; -1 beyond the last input.

    Args:
        size: Weights of a row, inputs before places.
        width: Inputs that are together.
        kernel: Places of the kernel: 9 for 3x3.
    """
    inputs = size // kernel
    padded = np.full((-(-inputs // width) * width, kernel), -1, np.intp)
    padded[:inputs] = np.arange(size).reshape(inputs, kernel)
    return np.asarray(padded.reshape(-1, width, kernel).transpose(0, 2, 1).reshape(-1, width))
