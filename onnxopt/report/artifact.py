"""What an emitted artifact is made of, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxopt.pipeline.sidecar import read_sidecar
from onnxopt.report.engine_layers import engine_parts
from onnxopt.report.text import cell
from onnxopt.report.units import size

if TYPE_CHECKING:
    from rich.console import RenderableType

    from onnxopt.pipeline.backend import Backend

_LINES = 24
"""Lines that are shown of one fact."""
_BYTES = ("bytes", "weight_memory", "workspace")
"""Facts that are sizes."""
_RUN = ("artifact", "backend", "bytes", "inputs", "outputs", "costs", "verified", "accuracy", "not_verified")
"""Facts that are shown elsewhere, or are of the run and not of the artifact."""


def artifact_facts(backend: type[Backend], artifact: Path) -> dict[str, Any]:
    """What the artifact itself tells (`file`), and its sidecar, None where there is none.

    Raises:
        OnnxoptError: It is damaged, or is none.
    """
    return {"artifact": artifact, "file": backend.inspect(artifact), "sidecar": read_sidecar(artifact)}


def artifact_view(name: str, facts: dict[str, Any]) -> RenderableType:
    """The facts as a panel of at most 100 columns."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table

    parts: list[RenderableType] = []
    sidecar = facts["sidecar"]
    engine = engine_parts(sidecar or {})
    for title, told in (("from the file", facts["file"]), ("from its sidecar", sidecar or {})):
        table = Table.grid(padding=(0, 2))
        for key, value in told.items():
            is_told = told is sidecar and (key in _RUN or key in engine or value == facts["file"])
            lines = [] if is_told else _lines(key, value)
            more = [f"and {len(lines) - _LINES} more"] if len(lines) > _LINES else []
            for number, line in enumerate([*lines[:_LINES], *more]):
                table.add_row(cell("" if number else key.replace("_", " "), "bold", 24), cell(line, "", 66))
        parts += [cell(title, "cyan"), table, ""] if told else [cell("it has no sidecar", "yellow"), ""]
    for key, renderings in engine.items():
        parts += [cell(key, "cyan"), *renderings, ""]
    return Panel(Group(*parts[:-1]), title=cell(name, "bold", 80), title_align="left", expand=False, padding=(1, 2))


def _lines(key: str, value: Any) -> list[str]:
    """A fact as lines."""
    if isinstance(value, Mapping):
        return [f"{name}: {_short(name, item)}" for name, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [_short(key, item) for item in value]
    return [_short(key, value)]


def _short(key: str, value: Any) -> str:
    if isinstance(value, Mapping):
        if {"name", "dtype", "shape"} <= set(value):
            encoded = f", {value['encoding']}" if "encoding" in value else ""
            return f"{value['name']}  {value['dtype']}{list(value['shape'])}{encoded}"
        return ", ".join(f"{name} {_short(name, item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_short(key, item) for item in value) or "none"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and key in _BYTES:
        return size(value)
    return "none" if value is None else str(value)
