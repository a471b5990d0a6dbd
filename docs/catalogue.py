"""Makes the pages of passes and backends, from their docstrings and options, when the site is built."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from onnxopt.pipeline.presets import PRESETS
from onnxopt.pipeline.registry import Registry
from onnxopt.pipeline.target import target_names
from onnxopt.report.catalogue import facts_of_pass, facts_of_preset, facts_of_target

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

Facts = dict[str, Any]
_DIALECT = ("one node for", "left spelled out")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are generated: to the site, not to the disk. Called by mkdocs."""
    from mkdocs.structure.files import File

    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def pages() -> dict[str, str]:
    """A page for each pass and each backend, and their lists: Markdown by path."""
    registry = Registry()
    passes = [facts_of_pass(name, registry) for name in registry.names()]
    targets = [facts_of_target(name) for name in target_names()]
    return {
        "passes/index.md": passes_page(passes, [facts_of_preset(name, registry) for name in PRESETS]),
        "backends/index.md": targets_page(targets),
        **{f"passes/{facts['name']}.md": pass_page(facts) for facts in passes},
        **{f"backends/{facts['name']}.md": target_page(facts) for facts in targets},
    }


def pass_page(facts: Facts) -> str:
    """Its promise, docstring and options."""
    return "\n\n".join(
        [
            f"# {facts['name']}",
            f"Preserves **{facts['preserves']}**.",
            prose(facts["doc"]),
            options(facts),
            usage(facts),
        ]
    )


def target_page(facts: Facts) -> str:
    """Its docstring, dialect and options."""
    spelled = [f"{key.capitalize()}: {', '.join(facts[key])}." for key in _DIALECT if facts[key]]
    parts = [f"# {facts['name']}", prose(facts["doc"]), *spelled]
    if not facts["emits"]:
        parts.append("Graphs are prepared for it; nothing is written.")
    return "\n\n".join([*parts, options(facts)])


def passes_page(passes: Iterable[Facts], presets: Iterable[Facts]) -> str:
    """Every pass in a line, and what the presets stand for."""
    rows = [f"| [{one['name']}]({one['name']}.md) | {one['preserves']} | {first_line(one['doc'])} |" for one in passes]
    table = "\n".join(["| pass | preserves | what it does |", "| --- | --- | --- |", *rows])
    named = [f"**{one['name']}**\n\n```\n{one['pipeline']}\n```" for one in presets]
    return "\n\n".join(["# Passes", promises(), table, "## Presets", *named])


def targets_page(targets: Iterable[Facts]) -> str:
    """Every target in a line."""
    rows = [f"| [{one['name']}]({one['name']}.md) | {first_line(one['doc'])} |" for one in targets]
    return "\n".join(["# Backends", "", "| target | what it is |", "| --- | --- |", *rows])


def promises() -> str:
    """What the three words mean."""
    return (
        "`bits`: the outputs are the same, bit for bit. `values`: the same but for the rounding of another order of "
        "operations. `accuracy`: approximate, and judged on data. Tests and `--verify-each` hold each pass to its word."
    )


def options(facts: Facts) -> str:
    """A table of the options; empty where there are none."""
    rows = [
        f"| `{one['name']}` | {default(one)} | {cell(one['type'])} | {cell(one['doc'])} |" for one in facts["options"]
    ]
    head = ["## Options", "", "| option | default | type | |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *rows]) if rows else ""


def default(option: Facts) -> str:
    """As it would be written."""
    if option["default"] is None:
        return "required"
    return f"`{option['default']}`" if option["default"] else '`""`'


def usage(facts: Facts) -> str:
    """How it is asked for."""
    required = [f"{one['name']}=..." for one in facts["options"] if one["default"] is None]
    braces = "{" + " ".join(required) + "}" if required else ""
    return f'```\nonnxopt run model.onnx --passes "{facts["name"]}{braces}" -o out.onnx\n```'


def prose(doc: str) -> str:
    """A docstring as Markdown: what looks like markup in it is meant as it stands."""
    return re.sub(r"(?<!`)([<>*_])(?!`)", r"\\\1", doc)


def first_line(doc: str) -> str:
    """The summary."""
    return cell(doc.partition("\n")[0])


def cell(text: str) -> str:
    """Text in a table."""
    return prose(" ".join(text.split())).replace("|", "\\|")
