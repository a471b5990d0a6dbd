"""What there is: passes, presets and backends with their options, as facts for JSON and as tables."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

from onnxopt.errors import BadPipeline
from onnxopt.pipeline.backend import Backend
from onnxopt.pipeline.options import options_of
from onnxopt.pipeline.pipeline import parse_pipeline
from onnxopt.pipeline.presets import PRESETS
from onnxopt.pipeline.registry import BUILT_IN, Registry
from onnxopt.pipeline.target import target_class
from onnxopt.report.text import cell, empty_table

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

Facts = dict[str, Any]


def facts_of_all(registry: Registry) -> Facts:
    """Every pass and preset. A pass that cannot be imported is listed with the reason: it need not hide the others."""
    passes = [_facts_or_reason(name, registry) for name in registry.names()]
    return {"passes": passes, "presets": [facts_of_preset(name, registry) for name in PRESETS]}


def _facts_or_reason(name: str, registry: Registry) -> Facts:
    try:
        return facts_of_pass(name, registry)
    except BadPipeline as error:
        return {"name": name, "from": registry.where(name), "error": str(error)}


def facts_of_pass(name: str, registry: Registry) -> Facts:
    """Everything that is known of a pass: its promise, docstring, options and origin.

    Raises:
        BadPipeline: There is no such pass, or it cannot be imported.
    """
    owner = registry.get(name)
    return {
        "name": name,
        "preserves": owner.preserves.value,
        "doc": inspect.cleandoc(owner.__doc__ or "") if registry.summary(name) else "",
        "options": _options(owner),
        "from": registry.where(name),
    }


def facts_of_preset(name: str, registry: Registry) -> Facts:
    """What a preset stands for; `expanded` names passes only, and is None while one of them is missing."""
    try:
        expanded = str(parse_pipeline(name, registry).expand())
    except BadPipeline:
        expanded = None
    return {"name": name, "pipeline": PRESETS[name], "expanded": expanded}


def facts_of_target(name: str) -> Facts:
    """A target with its options, and how it likes computations to be spelled.

    Raises:
        BadOption: There is none of that name, or its package is missing.
    """
    owner = target_class(name)
    dialect = owner.dialect()
    return {
        "name": name,
        "doc": inspect.cleandoc(owner.__doc__ or ""),
        "emits": issubclass(owner, Backend),
        "options": _options(owner),
        "one node for": sorted(dialect.composites),
        "left spelled out": sorted(dialect.fused),
    }


def _options(owner: type) -> list[Facts]:
    return [
        {
            "name": option.name,
            "type": option.kind.expected,
            "default": None if option.required else option.default_text,
            "doc": option.doc,
        }
        for option in options_of(owner)
    ]


def passes_view(facts: Facts) -> RenderableType:
    """A row for each pass and preset."""
    from rich.console import Group

    passes = _table("pass", "preserves", "what it does")
    for entry in facts["passes"]:
        if "error" in entry:
            passes.add_row(cell(entry["name"], "red"), cell(""), cell(entry["error"], "red", 300))
            continue
        more = "" if entry["from"].startswith(f"{BUILT_IN}.") else f" ({entry['from']})"
        doc = entry["doc"].partition("\n")[0]
        passes.add_row(
            cell(entry["name"], "bold"), _promise(entry["preserves"]), cell(doc, "", 300).append(more, "dim")
        )
    presets = _table("preset", "pipeline")
    for entry in facts["presets"]:
        presets.add_row(cell(entry["name"], "bold"), cell(_spaced(entry["pipeline"]), "", 1000))
    return Group(passes, "", presets)


def pass_view(facts: Facts) -> RenderableType:
    """A pass, preset or target with its docstring and options."""
    from rich.console import Group
    from rich.text import Text

    title = Text(facts["name"], "bold")
    if "pipeline" in facts:
        texts = [Text(_spaced(text)) for text in (facts["pipeline"], facts["expanded"]) if text]
        return Group(title, *(part for text in texts for part in ("", text)))
    if "preserves" in facts:
        title.append("  preserves ", "not bold dim").append_text(_promise(facts["preserves"]))
    if facts.get("from", BUILT_IN) and not facts.get("from", BUILT_IN).startswith(BUILT_IN):
        title.append(f"  from {facts['from']}", "not bold dim")
    parts: list[RenderableType] = [title]
    for paragraph in _paragraphs(facts["doc"]):
        parts += ["", paragraph]
    for key in ("one node for", "left spelled out"):
        if facts.get(key):
            parts += ["", Text(f"{key}: {', '.join(facts[key])}")]
    if facts["options"]:
        table = _table("option", "default", "type", "")
        for option in facts["options"]:
            default = cell("required", "yellow") if option["default"] is None else cell(option["default"] or '""')
            table.add_row(
                cell(option["name"], "bold"),
                default,
                cell(option["type"]),
                cell(" ".join(option["doc"].split()), "", 2000),
            )
        parts += ["", table]
    return Group(*parts)


def targets_view(listed: list[Facts]) -> RenderableType:
    """A row for each target."""
    table = _table("target", "", "options")
    for facts in listed:
        options = ", ".join(f"{option['name']}={option['default'] or ''}" for option in facts["options"])
        table.add_row(cell(facts["name"], "bold"), cell(facts["doc"].partition("\n")[0], "", 300), cell(options))
    return table


def _paragraphs(doc: str) -> list[Text]:
    """A docstring whose lines are broken for the source, ready to be broken for the screen; items of lists stay."""
    from rich.text import Text

    return [Text(re.sub(r"\n\s*(?![*-] |\d+\. )(?=\S)", " ", part)) for part in doc.split("\n\n") if part]


def _spaced(pipeline: str) -> str:
    """A pipeline with a space after each comma between passes, so that it can be broken into lines."""
    return re.sub(r",(?![^{]*\})", ", ", pipeline)


def _promise(preserves: str) -> Text:
    return cell(preserves, {"bits": "green", "values": "cyan"}.get(preserves, "yellow"))


def _table(*headings: str) -> Table:
    table = empty_table()
    for index, heading in enumerate(headings):
        table.add_column(heading, no_wrap=index == 0, overflow="fold")
    return table
