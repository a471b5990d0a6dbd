"""`onnxopt bisect`."""

from __future__ import annotations

from onnxopt.cli import given
from onnxopt.cli.asked import Asked, takes_passes


@takes_passes
def bisect(
    asked: Asked,
    json: given.Json = False,
) -> None:
    """Find the first pass, then the first rewrite in it, that breaks the outputs."""
    import shlex

    from onnxopt.cli.console import print_json, print_text
    from onnxopt.cli.progress import Progress
    from onnxopt.cli.sources import source_of
    from onnxopt.pipeline.bisect import bisect as search
    from onnxopt.pipeline.reproducer import flags
    from onnxopt.report.culprit import culprit_json, culprit_text

    given.exclusive(data=asked.data is not None, dim=bool(asked.dim))
    recipe, dims = asked.recipe, asked.dims
    source, samples, target = source_of(asked.model), asked.samples(recipe), asked.target_of(recipe)
    with Progress() as progress:
        found = search(source, recipe.pipeline, data=samples, target=target, dims=dims, tick=progress.say)
    if found is None:
        print_json({"culprit": None}) if json else print_text(f"{recipe.pipeline} breaks nothing on {source.name}")
        return
    words = ["onnxopt", "run", source.name, "--passes", str(recipe.pipeline), "--verify-each"]
    words += flags(recipe.plugins, samples, target, dims)
    command = shlex.join(words + ([] if found.number is None else ["--limit", str(found.number)]))
    print_json(culprit_json(found, command)) if json else print_text(culprit_text(found, command))
