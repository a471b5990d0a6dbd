"""The pipelines that have a name. A preset may name another; each text is in the pipeline grammar."""

from __future__ import annotations

PRESETS = {
    "O1": "fold-constants,eliminate-identities,merge-casts,eliminate-common-subexpressions,eliminate-dead-nodes",
    "O2": "infer-types,repeat{max=4}(O1,fold-shapes,fuse-conv-bn,fuse-depthwise),infer-shapes",
    "O3": (
        "infer-types,share-initializers,repeat{max=6}("
        "fold-constants,eliminate-identities,eliminate-zero-addends,inline-if,fold-shapes,"
        "eliminate-common-subexpressions,omit-defaults,eliminate-dead-nodes,"
        "inline-functions{fewer-nodes=true},cancel-quantization,merge-casts,merge-transposes,"
        "sink-transposes,merge-reshapes,merge-slices,merge-concats,merge-pads,eliminate-broadcasts,"
        "recognize-activations,recognize-normalizations,merge-arithmetic,fuse-pads,fuse-conv-bn,fuse-matmul-add,"
        "fuse-depthwise),share-initializers,infer-shapes"
    ),
}
"""O1 costs time linear in the nodes; O2 adds what needs shapes, or several rounds; O3 everything that is lossless.

What is spelled out is recognised before arithmetic is merged, which would take it apart; data movement goes first,
since it stands between what can be merged.
"""

REPEAT = "repeat"
"""The one name that takes a pipeline in parentheses."""

RESERVED = frozenset({REPEAT, *PRESETS})
"""Names that no pass may have."""
