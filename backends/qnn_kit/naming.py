"""Names that every tool reads alike: lists split at blanks, the SDK turns slashes and dots into underscores."""

from __future__ import annotations

import re

from onnxopt import ir

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def with_plain_names(graph: ir.Graph) -> dict[str, str]:
    """Give the inputs and outputs of a graph names of letters, digits and underscores, in place.

    Returns:
        New names by old ones, of those that have another now.
    """
    changed = {}
    with ir.edit(graph) as edit:
        for tensor in dict.fromkeys((*graph.inputs, *graph.outputs)):
            if not PLAIN.fullmatch(tensor.name):
                plain = re.sub(r"[^A-Za-z0-9_]", "_", tensor.name)
                new = edit.fresh(plain if PLAIN.fullmatch(plain) else f"t_{plain}")
                changed[tensor.name], tensor.name = new, new
    return changed
