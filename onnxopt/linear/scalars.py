"""Arithmetic with constants in a row, y = s x + t, and the shortest way to write it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import ml_dtypes
import numpy as np

from onnxopt.ir.dtypes import DType
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Constant, Tensor
from onnxopt.linear.match import Float64, NoMatch, as_float64, required_constant

_GROWTH = 1024
"""Bytes that weights may grow by in one rewrite: nothing beside a model, and most constants are single numbers."""
_CANCELS = {2: 4.0, 4: 64.0, 8: 64.0}
"""Terms so many times larger than their sum, by bytes of the type, are there for the rounding."""
_HEADROOM = 16
"""A term within so much of the largest number may take a sum over it."""


class Cancels(NoMatch):
    """Adding and taking away what is larger by far: a sum that is rounded on purpose."""


@dataclass(frozen=True)
class Step:
    """One operation upon `data` with a constant; Neg has none."""

    node: Node
    data: Tensor
    operand: Tensor | None

    @property
    def is_factor(self) -> bool:
        """Whether it multiplies, divides or negates."""
        return self.node.op in ("Mul", "Div", "Neg")

    @property
    def is_reversed(self) -> bool:
        """Whether it subtracts the data from the constant."""
        return self.node.op == "Sub" and self.node.inputs[0] is not self.data


@dataclass(frozen=True)
class Line:
    """y = factor * x + term: what operations are together. Arrays broadcast to the data, and each to the other."""

    count: int = 0
    """How many operations."""
    factor: Float64 = field(default_factory=lambda: np.ones(()))
    term: Float64 = field(default_factory=lambda: np.zeros(()))
    size: Float64 = field(default_factory=lambda: np.zeros(()))
    """What the term would be if nothing in it cancelled."""
    largest: Float64 = field(default_factory=lambda: np.ones(()))
    """The largest factor on the way; 1 is that of the data."""
    smallest: Float64 = field(default_factory=lambda: np.ones(()))
    """The smallest."""
    highest: Float64 = field(default_factory=lambda: np.zeros(()))
    """The largest term on the way, element by element."""
    freed: int = 0
    """Bytes of constants that nothing else reads."""
    only_divides: bool = True
    dtype: DType | None = None

    def then(self, step: Step) -> Line:
        """This and one more operation.

        Raises:
            NoMatch: The constants cannot become one that computes the same.
        """
        if step.operand is None:
            return self._scaled(-np.ones(()), divides=False)._checked()
        constant = required_constant(step.operand, "operand")
        if self.dtype is not None and constant.dtype != self.dtype:
            raise NoMatch(f"'{constant.name}' is {constant.dtype}, not {self.dtype}")
        freed = self.freed + (constant.nbytes if len(step.operand.outputs) == 1 else 0)
        self._require_no_growth(step, constant, freed)
        value = as_float64(constant)
        if not np.isfinite(value).all():
            raise NoMatch(f"'{constant.name}' is not finite")
        with np.errstate(all="ignore"):
            if step.is_factor:
                divides = step.node.op == "Div"
                line = self._scaled(1 / value if divides else value, divides=divides)
            else:
                line = (
                    self._scaled(-np.ones(()), divides=False)
                    if step.is_reversed
                    else replace(self, count=self.count + 1)
                )
                subtracts = step.node.op == "Sub" and not step.is_reversed
                line = line._shifted(-value if subtracts else value)
        return replace(line, freed=freed, dtype=constant.dtype)._checked()

    def _checked(self) -> Line:
        """This, where two or more operations can be written as one.

        Raises:
            NoMatch: Says what is lost.
        """
        if self.count > 1 and self.dtype is not None:
            self._require_digits(self.dtype)
            self._require_range(self.dtype)
        return self

    def _scaled(self, by: Float64, *, divides: bool) -> Line:
        factor, term = np.asarray(self.factor * by), np.asarray(self.term * by)
        return replace(
            self,
            count=self.count + 1,
            factor=factor,
            term=term,
            size=np.asarray(self.size * np.abs(by)),
            largest=np.maximum(self.largest, np.abs(factor)),
            smallest=np.minimum(self.smallest, np.abs(factor)),
            highest=np.maximum(self.highest, np.abs(term)),
            only_divides=self.only_divides and divides,
        )

    def _shifted(self, by: Float64) -> Line:
        term, size = np.asarray(self.term + by), np.asarray(self.size + np.abs(by))
        highest = np.maximum(self.highest, np.abs(term))
        return replace(self, term=term, size=size, highest=highest, only_divides=False)

    @property
    def only_shifts(self) -> bool:
        """Whether x + term is all there is."""
        return bool((self.factor == 1).all()) and _covers(self.term, self.factor)

    @property
    def only_scales(self) -> bool:
        """Whether factor * x is all there is."""
        return not self.term.any() and _covers(self.factor, self.term)

    @property
    def reverses(self) -> bool:
        """Whether it is term - x."""
        return bool((self.factor == -1).all()) and _covers(self.term, self.factor)

    @property
    def nodes(self) -> int:
        """How many nodes write it."""
        return 1 if self.only_scales or self.only_shifts or self.reverses else 2

    def _require_no_growth(self, step: Step, constant: Constant, freed: int) -> None:
        """Refuse to write large constants anew beside those that other nodes keep, or to blow two up into one.

        Raises:
            NoMatch: Names the bytes.
        """
        if not self.count:
            return
        scales, shifts = self.factor.shape, self.term.shape
        try:
            if step.is_factor:
                scales = np.broadcast_shapes(scales, constant.shape)
            if not step.is_factor or self.term.any():
                shifts = np.broadcast_shapes(shifts, constant.shape)
        except ValueError:
            raise NoMatch(f"'{constant.name}' does not broadcast with the constants before it") from None
        grown = (math.prod(scales) + math.prod(shifts)) * constant.dtype.itemsize - freed
        if grown > _GROWTH:
            raise NoMatch(f"one constant of both would make the weights {grown:,} bytes larger")

    def _require_digits(self, dtype: DType) -> None:
        """Refuse what the type cannot hold, and large terms that cancel: adding and taking away 2**23 rounds.

        Raises:
            NoMatch: Says what is lost.
        """
        with np.errstate(all="ignore"):
            written = 1 / self.factor if self.only_scales and self.only_divides else self.factor
        for what, exact in (("factor", written), ("term", self.term)):
            with np.errstate(all="ignore"):
                found = np.asarray(exact.astype(dtype), np.float64)
            if not np.isfinite(found).all():
                raise NoMatch(f"the {what} would not be finite in {dtype}")
            if np.any((exact != 0) & (np.abs(found) < _smallest_normal(dtype))):
                raise NoMatch(f"the {what} would lose digits in {dtype}")
        bound = _CANCELS[dtype.itemsize]
        if self.size.max(initial=0) > bound * max(np.abs(self.term).max(initial=0), np.abs(self.factor).max(initial=0)):
            raise Cancels("its terms cancel, and the digits that this drops would come back")

    def _require_range(self, dtype: DType) -> None:
        """Refuse where the operations overflow on the way, or underflow, and their result does not; or the other way.

        x / 1e-30 * 1e-30 is infinite for x = 1e9. A factor on the way may be larger than that of the data and that of
        the result by the square root of the largest number, and as much smaller.

        Raises:
            NoMatch: Says what would no longer happen.
        """
        limit = float(ml_dtypes.finfo(dtype).max)  # type: ignore[no-untyped-call]
        result = np.abs(self.factor)
        if np.any(self.largest > np.sqrt(limit) * np.maximum(result, 1)):
            raise NoMatch("what overflows on the way would no longer")
        if np.any((self.smallest * np.sqrt(limit) < np.minimum(result, 1)) & (result > 0)):
            raise NoMatch("what vanishes on the way would no longer")
        sheds = (np.abs(self.term) < self.highest) | (self.nodes > 1)
        if np.any((self.highest > limit / _HEADROOM) & sheds):
            most = float(self.highest.max())
            raise NoMatch(f"a term of up to {most:g} overflows for other data than one that is written at once")


def _covers(one: Float64, other: Float64) -> bool:
    return np.broadcast_shapes(one.shape, other.shape) == one.shape


def _smallest_normal(dtype: DType) -> float:
    return 2.0**-14 if dtype == np.float16 else 2.0**-1022 if dtype == np.float64 else 2.0**-126
