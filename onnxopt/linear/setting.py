"""What folding may rest on: the shapes that are certain, and what the target likes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from onnxopt.ir.proven import ProvenShapes
from onnxopt.ir.tensor import Tensor
from onnxopt.linear.geometry import followed_shape


class Dialect(Protocol):
    """What of a target's `pipeline.dialect.Dialect` matters here."""

    def takes(self, op: Literal["Gemm", "GemmOfRows"], /) -> bool:
        """Whether the target likes this operator as one node."""
        ...

    def keeps(self, spelling: Literal["attention", "gelu", "matmul-add", "scaled-product"], /) -> bool:
        """Whether the target's engine finds this spelling by itself."""
        ...


@dataclass(frozen=True)
class Setting:
    """The surroundings of a rewrite that are no part of the nodes it touches."""

    shapes: ProvenShapes
    dialect: Dialect

    def shape(self, tensor: Tensor) -> tuple[int | None, ...] | None:
        """A tensor's certain shape: as proven, or as it follows from the Conv and the arithmetic it comes from."""
        shape = followed_shape(tensor, self.shapes.shape)
        return None if shape is None else tuple(shape)

    def gemm_obstacle(self, data: Tensor) -> str | None:
        """Why a MatMul of `data` with a matrix cannot become a Gemm, which has a bias; None where it can.

        Gemm takes matrices alone. Where the data are of a higher rank it would need Reshapes round it, which cost more
        than the Add and hide the MatMul from the fusions of the target's engine.
        """
        if not self.dialect.takes("Gemm"):
            return "MatMul has no bias, and the target does not take a Gemm"
        shape = self.shape(data)
        if shape is None or len(shape) != 2:
            return "MatMul has no bias, and its data is not certain to be of rank 2, as Gemm needs"
        return None
