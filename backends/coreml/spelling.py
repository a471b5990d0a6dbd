"""What no function lowers, said by operators that are lowered: before anything is lowered, and with the same values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from onnxopt import ir
from onnxopt.pipeline.backend import Problem
from onnxopt.pipeline.base import Context
from onnxopt.rules.coreml.table import TABLE
from onnxopt.rules.spelling_out import spell_out


@dataclass
class Spelled:
    """What became of the operators that have a spelling."""

    done: dict[str, int] = field(default_factory=dict)
    """How many nodes of which operator were said how: `Attention written as ONNX defines it`."""
    left: dict[str, str] = field(default_factory=dict)
    """Why a node could not be said otherwise, by its description."""

    def explained(self, problems: list[Problem]) -> list[Problem]:
        """Problems, with the reason why a node that is refused was not said otherwise."""
        return [
            replace(each, reason=f"{each.reason}; {self.left[each.node]}") if each.node in self.left else each
            for each in problems
        ]


def spell(graph: ir.Graph) -> Spelled:
    """Say nodes of a graph otherwise, in place."""
    ctx = Context(target="coreml")
    spell_out(graph, TABLE, ctx)
    done = Counter(f"{each.where.split(' ')[0]} {each.what}" for each in ctx.rewrites)
    return Spelled(dict(done.most_common()), {each.where: each.what for each in ctx.refusals})
