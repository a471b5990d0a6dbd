"""What `onnxopt run` prints when it is done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxopt.cli.console import note, print_json, print_text, tell_view, warn
from onnxopt.pipeline.instruments.printing import ALL
from onnxopt.pipeline.sidecar import artifact_bytes
from onnxopt.report.bench import bench_json, bench_view
from onnxopt.report.summary import Summary
from onnxopt.report.units import size

if TYPE_CHECKING:
    from onnxopt.pipeline.benchmark import Benchmark
    from onnxopt.report.mlflow_run import Record


def tell(
    summary: Summary,
    *,
    json: bool,
    timing: bool,
    explain: Sequence[str],
    written: Sequence[Path],
    stages: Benchmark | None = None,
) -> None:
    """Tables and notes on stderr; explanations, or with `json` one document, on stdout."""
    context = summary.result.context
    warn(context.warnings)
    if json:
        print_json(_document(summary, written, stages))
    else:
        tell_view(summary.table())
        if (sensitivity := summary.sensitivity_table()) is not None:
            tell_view("", sensitivity, "")
        if stages is not None:
            tell_view("", bench_view(stages), "")
        if timing:
            tell_view("", summary.passes_table(), "")
        for refusal in dict.fromkeys(context.refusals):  # a pass in a `repeat` says it in every round
            if ALL in explain or refusal.pass_name in explain:
                print_text(f"{refusal.pass_name}: {refusal.where}: {refusal.what}")
    for path in written:
        note(f"wrote {path}, {size(artifact_bytes(path))}")
    if not written:
        note("nothing was written: give -o FILE or --emit")


def record(summary: Summary, written: Sequence[Path], stages: Benchmark | None) -> Record:
    """What MLflow is told of a run: stage by stage where these were measured, else of what went in and came out."""
    from onnxopt.report.mlflow_run import Record, metrics_of

    result = summary.result
    parameters = {
        "model": result.source.name,
        "pipeline": str(result.pipeline),
        "target": result.context.target or "onnx",
        **({"data": result.context.data.source} if result.context.data is not None else {}),
        **({"evaluation": summary.accuracy.source} if summary.accuracy is not None else {}),
    }
    ends = summary.ends() if stages is None else metrics_of(stages)
    name = f"{Path(result.source.name).name} {result.pipeline}"
    files = [path.with_name(f"{path.name}.json") for path in written]
    existing = [*written, *(path for path in files if path.is_file() and path not in written)]
    return Record(name[:250], parameters, ends, _document(summary, written, stages), existing)


def _document(summary: Summary, written: Sequence[Path], stages: Benchmark | None) -> dict[str, Any]:
    found = {**summary.to_json(), "written": list(written)}
    return found if stages is None else {**found, "stages": bench_json(stages)}
