"""What `onnxopt run` prints when it is done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onnxopt.cli.console import note, print_json, print_text, tell_view, warn
from onnxopt.pipeline.instruments.printing import ALL
from onnxopt.pipeline.sidecar import artifact_bytes
from onnxopt.report.summary import Summary
from onnxopt.report.units import size


def tell(summary: Summary, *, json: bool, timing: bool, explain: Sequence[str], written: Sequence[Path]) -> None:
    """Tables and notes on stderr; explanations, or with `json` one document, on stdout."""
    context = summary.result.context
    warn(context.warnings)
    if json:
        print_json({**summary.to_json(), "written": list(written)})
    else:
        tell_view(summary.table())
        if (sensitivity := summary.sensitivity_table()) is not None:
            tell_view("", sensitivity, "")
        if timing:
            tell_view("", summary.passes_table(), "")
        for refusal in dict.fromkeys(context.refusals):  # a pass in a `repeat` says it in every round
            if ALL in explain or refusal.pass_name in explain:
                print_text(f"{refusal.pass_name}: {refusal.where}: {refusal.what}")
    for path in written:
        note(f"wrote {path}, {size(artifact_bytes(path))}")
    if not written:
        note("nothing was written: give -o FILE or --emit")
