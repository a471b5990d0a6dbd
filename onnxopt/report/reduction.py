"""What a reduction found, for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxopt.pipeline.reduction.delivery import Delivered
    from onnxopt.pipeline.reduction.search import Reduced


def reduction_text(reduced: Reduced, delivered: Delivered) -> str:
    """A few lines: the failure, what is left of the pipeline and of the model, the files, the command."""
    lines = [f"failure  {reduced.failure.message}"]
    if reduced.pipeline is not None:
        lines.append(f"passes   {reduced.passes[1]} of {reduced.passes[0]}: {reduced.pipeline}")
    lines.append(f"nodes    {reduced.nodes[1]} of {reduced.nodes[0]}")
    lines.append(f"tried    {reduced.tried} candidates in {reduced.seconds:.1f} s")
    if not reduced.is_minimal:
        lines.append("left     the time was up: more may be left than the failure needs")
    if not delivered.is_confirmed:
        lines.append("beware   the files, read again, did not show the failure")
    lines += [f"wrote    {', '.join(map(str, delivered.files))}", f"show it  {delivered.command}"]
    return "\n".join(lines)


def reduction_json(reduced: Reduced, delivered: Delivered) -> dict[str, Any]:
    """Everything that the text has, and more."""
    failure = reduced.failure
    return {
        "failure": {
            "kind": failure.kind.value,
            "where": failure.where,
            "what": failure.what,
            "message": failure.message,
        },
        "passes": None if reduced.pipeline is None else str(reduced.pipeline),
        "passes_before": reduced.passes[0],
        "passes_left": reduced.passes[1],
        "nodes_before": reduced.nodes[0],
        "nodes_left": reduced.nodes[1],
        "tried": reduced.tried,
        "seconds": reduced.seconds,
        "minimal": reduced.is_minimal,
        "confirmed": delivered.is_confirmed,
        "written": [str(path) for path in delivered.files],
        "command": delivered.command,
    }
