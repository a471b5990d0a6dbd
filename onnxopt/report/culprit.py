"""What a bisection found, for people and for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxopt.pipeline.bisect import Culprit


def culprit_text(culprit: Culprit, command: str) -> str:
    """A few lines: the pass, the rewrite, the reason, the command that shows the break."""
    lines = [f"pass     {culprit.run.index}, {culprit.run.text}"]
    if culprit.rewrite is None:
        lines.append("rewrite  none: it breaks the model with every rewrite withheld (it edits without ctx.allow)")
    else:
        lines.append(f"rewrite  {culprit.number}, {culprit.rewrite.what}: {culprit.rewrite.where}")
    lines += [f"reason   {culprit.reason}", f"found    in {culprit.runs} runs", f"show it  {command}"]
    return "\n".join(lines)


def culprit_json(culprit: Culprit, command: str) -> dict[str, Any]:
    """Everything that the text has."""
    return {
        "culprit": {
            "index": culprit.run.index,
            "pass": culprit.run.text,
            "rewrite": None if culprit.rewrite is None else asdict(culprit.rewrite),
            "number": culprit.number,
        },
        "reason": culprit.reason,
        "runs": culprit.runs,
        "command": command,
    }
