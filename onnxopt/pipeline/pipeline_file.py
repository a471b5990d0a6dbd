"""A pipeline in a TOML file, with what goes with it: target, data, plug-ins.

    passes = "O1,fuse-depthwise{merge=never}"   # a text, or a list of texts and tables
    target = "qnn"
    data = "calibration.npz"                    # relative to the file, or module:function
    plugins = ["my_pass.py"]                    # relative to the file

    [[pass]]                                    # instead of `passes`: a table a pass, its options as keys
    name = "fold-constants"
    max-bytes = 1048576

The keys of a table are set as in a pipeline text; a text there needs no second pair of quotes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from onnxopt.errors import BadPipeline
from onnxopt.pipeline.grammar import NAME
from onnxopt.pipeline.pipeline import Pipeline, parse_pipeline
from onnxopt.pipeline.registry import Registry
from onnxopt.pipeline.suggest import did_you_mean
from onnxopt.pipeline.values import quote

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

T = TypeVar("T")

_KEYS = ("passes", "pass", "target", "data", "plugins")


@dataclass(frozen=True)
class PipelineFile:
    """What a pipeline file says; None where it says nothing."""

    pipeline: Pipeline
    target: str | None = None
    data: str | None = None
    """As `--data` takes it: a path, already joined to the file's folder, or `module:function`."""
    plugins: tuple[Path, ...] = ()
    """Already loaded into the registry."""


def load_pipeline_file(path: Path, registry: Registry) -> PipelineFile:
    """Read a TOML pipeline file; its plug-ins are run and added to `registry`.

    BadPipeline, naming file and key, for a file that cannot be read, an unknown key, and all that `parse_pipeline` and
    `Registry.load_plugin` refuse.
    """
    content = _read(path)
    try:
        for key in content:
            if key not in _KEYS:
                raise BadPipeline(f"unknown key {key!r}{did_you_mean(key, _KEYS, '; known are ' + ', '.join(_KEYS))}")
        plugins = tuple(path.parent / _text(name, "plugins") for name in _list(content.get("plugins", []), "plugins"))
        target = _text(content["target"], "target") if "target" in content else None
        data = _text(content["data"], "data") if "data" in content else None
        for plugin in plugins:
            _at("plugins", registry.load_plugin, plugin)
        pipelines = [_at(key, parse_pipeline, text, registry) for key, text in _texts(content)]
    except BadPipeline as error:
        raise BadPipeline(f"{path}: {error}") from error
    if data is not None and not re.fullmatch(r"[\w.]+:\w+", data):
        data = str(path.parent / data)
    return PipelineFile(Pipeline(tuple(step for p in pipelines for step in p.elements)), target, data, plugins)


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadPipeline(f"{path}: the pipeline file cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise BadPipeline(f"{path}: is not TOML: {error}") from error
    return content


def _at(key: str, function: Callable[..., T], *arguments: Any) -> T:
    try:
        return function(*arguments)
    except BadPipeline as error:
        raise BadPipeline(f"{key}: {error}") from error


def _texts(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The pipeline as texts of the grammar, each with the key that it stands under."""
    if ("passes" in content) == ("pass" in content):
        raise BadPipeline("a pipeline file has either `passes` or [[pass]] tables")
    key = "passes" if "passes" in content else "pass"
    if isinstance(content[key], str) and key == "passes":
        yield key, content[key]
        return
    entries = _list(content[key], key)
    if not entries:
        raise BadPipeline(f"{key}: names no pass")
    for number, entry in enumerate(entries, 1):
        place = f"{key} {number}"
        if isinstance(entry, dict):
            yield place, _table_text(entry, place)
        else:
            yield place, _text(entry, place)


def _table_text(table: Mapping[str, Any], place: str) -> str:
    name = _text(table.get("name"), f"{place}: name")
    if not NAME.fullmatch(name):
        raise BadPipeline(f"{place}: name: {name!r} is not the name of a pass")
    options = []
    for key, value in table.items():
        if not NAME.fullmatch(key):
            raise BadPipeline(f"{place}: {key!r} is not the name of an option")
        if key != "name":
            options.append(f"{key}={_value_text(value, f'{place}: {key}')}")
    return name + ("{" + " ".join(options) + "}" if options else "")


def _value_text(value: Any, place: str) -> str:
    if isinstance(value, list):
        return ",".join(_scalar_text(item, place) for item in value)
    if isinstance(value, dict):
        return ",".join(f"{quote(key)}:{_scalar_text(item, place)}" for key, item in value.items())
    return _scalar_text(value, place)


def _scalar_text(value: Any, place: str) -> str:
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, (bool, int, float)):
        return str(value).lower()
    raise BadPipeline(f"{place}: {value} is no value of an option; use a text, number, true, false, or a list of these")


def _list(value: Any, key: str) -> list[Any]:
    if not isinstance(value, list):
        raise BadPipeline(f"{key}: expected a list, found {value!r}")
    return value


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise BadPipeline(f"{key}: expected a text, found {'nothing' if value is None else repr(value)}")
    return value
