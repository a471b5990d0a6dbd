"""The pipelines that have a name. A preset may name another; each text is in the pipeline grammar."""

from __future__ import annotations

PRESETS = {
    "O1": "eliminate-identities,fold-constants,eliminate-common-subexpressions,eliminate-dead-nodes",
    "O2": "infer-shapes,repeat{max=4}(O1,infer-shapes,fuse-conv-bn,fuse-depthwise),infer-shapes",
}
"""O1 costs time linear in the nodes; O2 adds what needs shapes, or several rounds.

In each round, shapes are inferred once more: those that folding makes certain are what fusing asks for.
"""

REPEAT = "repeat"
"""The one name that takes a pipeline in parentheses."""

RESERVED = frozenset({REPEAT, *PRESETS})
"""Names that no pass may have."""
