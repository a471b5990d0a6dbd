"""What a run is told to do: the pipeline, and what a pipeline file says beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from onnxopt.pipeline.pipeline import Pipeline, parse_pipeline
from onnxopt.pipeline.pipeline_file import load_pipeline_file
from onnxopt.pipeline.registry import Registry


@dataclass(frozen=True)
class Recipe:
    """A pipeline, where its passes come from, and the target and the data that its file names, if any."""

    pipeline: Pipeline
    registry: Registry
    plugins: tuple[Path, ...] = ()
    target: str | None = None
    data: str | None = None

    @classmethod
    def of(cls, passes: str | Path | Pipeline, plugins: Sequence[Path] = ()) -> Recipe:
        """Read a pipeline, its text, or a TOML pipeline file (whatever ends in `.toml`), with plug-ins.

        Raises:
            BadPipeline: One of them cannot be read.
        """
        registry = Registry.installed()
        for plugin in plugins:
            registry.load_plugin(plugin)
        if isinstance(passes, Pipeline):
            return cls(passes, registry, tuple(plugins))
        if isinstance(passes, Path) or passes.endswith(".toml"):
            file = load_pipeline_file(Path(passes), registry)
            return cls(file.pipeline, registry, (*plugins, *file.plugins), file.target, file.data)
        return cls(parse_pipeline(passes, registry), registry, tuple(plugins))
