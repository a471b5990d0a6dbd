"""Passes that need calibration data, in `check_pass`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from onnxopt import ir
from onnxopt.pipeline.base import Context, Pass, Preserves
from tests.quantization.calibrated import samples_for


def given(
    pass_: Pass, samples: Sequence[np.ndarray], preserves: Preserves | None = None, *, decimals: int | None = None
) -> Pass:
    """The pass with samples for the only input; held to `preserves`, where that is more than it promises.

    With `decimals`, weights are rounded to so many, for golden texts that do not depend on who computed them.
    """
    promise = preserves or type(pass_).preserves
    kind: Any = type(pass_)

    @dataclass(frozen=True)
    class Given(kind):  # type: ignore[misc]
        preserves: ClassVar[Preserves] = promise

        def run(self, graph: ir.Graph, ctx: Context) -> bool:
            ctx.data = samples_for(graph, list(samples))
            changed = bool(super().run(graph, ctx))
            for tensor in (tensor for node in graph.nodes for tensor in node.inputs if decimals is not None):
                if isinstance(tensor, ir.Constant):
                    tensor.values = np.round(tensor.read(), decimals or 0) + tensor.dtype.type(0)
            return changed

        @classmethod
        def pass_name(cls) -> str:
            return str(kind.pass_name())

    found: Pass = Given(**{field.name: getattr(pass_, field.name) for field in fields(pass_)})
    return found
