"""What the libraries left in the work folder: refusals, the graph as they built it, its operators and encodings."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TRACE = "qnn_op_trace.json"
_TAIL = re.compile(r"\s*\S+ node `[^`]*` will not be assigned to QNN EP\.?\s*$")


@dataclass(frozen=True)
class Refusal:
    """A node that HTP does not take."""

    node: str
    op: str
    reason: str


def refusals(folder: Path) -> list[Refusal] | None:
    """The nodes that were not given to HTP, in the order of the graph; None where the libraries did not get so far."""
    trace = _json(folder / _TRACE)
    if trace is None:
        return None
    listed = sorted(trace.get("unsupported_nodes", ()), key=lambda each: int(each.get("node_index", 0)))
    return [
        Refusal(str(each.get("node_name", "")), str(each.get("op_type", "")), _shortened(str(each.get("reason", ""))))
        for each in listed
    ]


def graph_of(folder: Path) -> dict[str, Any] | None:
    """The graph that was built, as the libraries dump it: the single one of the model, or None."""
    found = [path for path in folder.glob("*.json") if path.name != _TRACE and not path.stem.endswith("_tensor_log")]
    graph = _json(found[0]) if len(found) == 1 else None
    return graph if graph is not None and "graph" in graph else None


def _shortened(reason: str) -> str:
    """The reason without the sentence that only says that the node was refused."""
    text = " ".join(reason.split())
    return _TAIL.sub("", text).rstrip(".") or "it gives no reason"


def _json(path: Path) -> dict[str, Any] | None:
    """A file of theirs, which a crash may have left half written."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
