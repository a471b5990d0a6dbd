"""Mod with the sign of the divisor, by the remainder that has the sign of the dividend."""

from __future__ import annotations

import numpy as np

from onnxopt.rules.spelling_out.site import Result, Site


def floored(site: Site) -> Result:
    """r = fmod(x, y), and r + y where r is not 0 and of the other sign than y (specification of Mod).

    A divisor that is infinite is taken out first, since many runtimes compute x - trunc(x / y) y, which is NaN then.
    """
    op, x, y, zero = site.op, site[0], site[1], np.array(0, site.dtype())
    infinity = np.array(np.inf, site.dtype())
    unbounded, finite = op.Equal(op.Abs(y), infinity), op.Not(op.Equal(op.Abs(x), infinity))
    divisor = op.Where(unbounded, np.array(1, site.dtype()), y)
    rest = op.Where(op.And(unbounded, finite), x, op.Mod(x, divisor, fmod=1))
    opposite = op.And(op.Xor(op.Less(rest, zero), op.Less(y, zero)), op.Not(op.Equal(rest, zero)))
    return op.Where(opposite, op.Add(rest, y), rest)
