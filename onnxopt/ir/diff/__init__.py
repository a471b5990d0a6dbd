"""What differs between two graphs, as a structure, as JSON, as a listing; and unified diffs of their texts."""

from onnxopt.ir.diff.changes import Change, GraphDiff, Kind, NodeDiff, ScopeDiff, WeightDiff
from onnxopt.ir.diff.delta import Delta
from onnxopt.ir.diff.graphs import diff
from onnxopt.ir.diff.unified import unified, unified_texts

__all__ = [
    "Change",
    "Delta",
    "GraphDiff",
    "Kind",
    "NodeDiff",
    "ScopeDiff",
    "WeightDiff",
    "diff",
    "unified",
    "unified_texts",
]
