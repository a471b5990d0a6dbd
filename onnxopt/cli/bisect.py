"""`onnxopt bisect`."""

from __future__ import annotations

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
    import shlex

    from onnxopt.cli.console import print_json, print_text
    from onnxopt.cli.progress import Progress
    from onnxopt.pipeline.bisect import bisect as search
    from onnxopt.pipeline.reproducer import flags
    from onnxopt.pipeline.source import Source
    from onnxopt.report.culprit import culprit_json, culprit_text

    given.exclusive(data=data is not None, dim=bool(dim))
    recipe, dims = given.recipe_of(passes, level, plugin), given.dims_of(dim)
    samples, target = given.samples_of(model, data or recipe.data, recipe.pipeline), target or recipe.target
    with Progress() as progress:
        found = search(Source.of(model), recipe.pipeline, data=samples, target=target, dims=dims, tick=progress.say)
    if found is None:
        print_json({"culprit": None}) if json else print_text(f"{recipe.pipeline} breaks nothing on {model}")
        return
    words = ["onnxopt", "run", str(model), "--passes", str(recipe.pipeline), "--verify-each"]
    words += flags(recipe.plugins, samples, target, dims)
    command = shlex.join(words + ([] if found.number is None else ["--limit", str(found.number)]))
    print_json(culprit_json(found, command)) if json else print_text(culprit_text(found, command))
