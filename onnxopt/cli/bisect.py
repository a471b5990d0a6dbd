"""`onnxopt bisect`."""

from __future__ import annotations

import shlex
from pathlib import Path

from onnxopt.cli import given


def bisect(
    model: given.ModelFile,
    passes: given.Passes = None,
    level: given.Level = None,
    data: given.Data = None,
    target: given.Target = None,
    plugin: given.Plugins = None,
    dim: given.Dims = None,
    json: given.Json = False,
) -> None:
    """Find the first pass, then the first rewrite in it, that breaks the outputs."""
    from onnxopt.cli.console import print_json, print_text
    from onnxopt.cli.progress import Progress
    from onnxopt.pipeline.bisect import bisect as search
    from onnxopt.pipeline.source import Source

    registry = given.registry_with(plugin)
    pipeline, file_target, file_data = given.pipeline_of(passes, level, registry)
    samples = given.samples_of(model, data or file_data)
    with Progress() as progress:
        culprit = search(
            Source.of(model),
            pipeline,
            data=samples,
            target=target or file_target,
            dims=given.dims_of(dim),
            tick=progress.say,
        )
    if culprit is None:
        print_json({"culprit": None}) if json else print_text(f"{pipeline} breaks nothing on {model}")
        return
    command = _command(model, str(pipeline), culprit.number, plugin, data or file_data)
    if json:
        rewrite = None if culprit.rewrite is None else vars(culprit.rewrite)
        found = {"pass": culprit.run.text, "index": culprit.run.index, "rewrite": rewrite, "number": culprit.number}
        print_json({"culprit": found, "reason": culprit.reason, "runs": culprit.runs, "command": command})
        return
    print_text(f"pass {culprit.run.index}, {culprit.run.text}, is the first to break the model")
    if culprit.rewrite is None:
        print_text("it breaks the model with every rewrite withheld: it edits without asking ctx.allow")
    else:
        print_text(f"rewrite {culprit.number}: {culprit.rewrite.what}: {culprit.rewrite.where}")
    print_text(f"reason: {culprit.reason}\nfound in {culprit.runs} runs; see it with: {command}")


def _command(model: Path, pipeline: str, number: int | None, plugins: list[Path] | None, data: str | None) -> str:
    limit = [] if number is None else ["--limit", str(number)]
    extra = given.arguments(plugins, data, True, None)
    return shlex.join(["onnxopt", "run", str(model), "--passes", pipeline, *extra, *limit])
