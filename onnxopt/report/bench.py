"""Models side by side: latency with its noise, bytes, memory and accuracy, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from onnxopt.report.accuracy import accuracy_json, judged_on
from onnxopt.report.text import cell, empty_table, shown
from onnxopt.report.units import change, size

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from onnxopt.pipeline.benchmark import Batch, Benchmark, Figures
    from onnxopt.runtime.latency import Paired, Timed

_NAME = 22
_LONGEST = 1000
"""Characters of a remark, which goes on in the next line."""
_MILLI = 1e3
PERCENTILES = (50, 90, 99)
_COLORS = {"faster": "green", "slower": "red"}


def bench_view(found: Benchmark) -> RenderableType:
    """Tables of at most 100 columns: latency for each batch, then what does not depend on it."""
    from rich.console import Group

    parts: list[RenderableType] = []
    for batch in found.batches:
        parts += [_latency_table(found, batch), "", _ratio_table(found, batch), ""]
    parts += [_figures_table(found), ""]
    return Group(*parts, *(cell(line, "dim", _LONGEST) for line in remarks(found)))


def bench_json(found: Benchmark) -> dict[str, Any]:
    """Everything that the tables have, and the median of every round."""
    return {
        "conditions": conditions(found),
        "data": found.data,
        "models": [_figures_json(each, found.figures[0]) for each in found.figures],
        "batches": [_batch_json(found, batch) for batch in found.batches],
    }


def conditions(found: Benchmark) -> dict[str, Any]:
    """How the models ran."""
    import onnxruntime

    from onnxopt.runtime.side_by_side import GENERATIONS

    how = found.conditions
    return {
        "engine": f"onnxruntime {onnxruntime.__version__}",
        "optimizations": how.optimize,
        "threads": how.threads or None,
        "sessions": GENERATIONS,
    }


def remarks(found: Benchmark) -> list[str]:
    """How it was measured, one line each."""
    told, first = conditions(found), found.batches[0]
    threads = f"{told['threads']} thread{'s' * (told['threads'] > 1)}" if told["threads"] else "a thread for each core"
    rounds = len(first.found.timed[0].rounds)
    lines = [
        f"{told['engine']}, its optimizations {'on' if told['optimizations'] else 'off'}, {threads}",
        f"ran on {found.data}: {first.inputs}",
        f"{rounds} rounds, all models in each, sessions made anew {told['sessions']} times; "
        "ratios: median, 95 % interval",
    ]
    judged = next((each.accuracy for each in found.figures if each.accuracy is not None), None)
    if judged is not None:
        lines.append(f"{judged.metric.name} on {judged_on(judged)}")
    for each in found.figures:
        lines += [f"{each.entry.name}: {what}" for what in device_lines(each)]
        lines += [f"{each.entry.name}: {each.remark}"] if each.remark else []
    return lines


def device_lines(figures: Figures) -> list[str]:
    """What is known of an artifact on its own device, one line each."""
    return [
        f"{where}: {value}" if isinstance(value, str) else f"{where}: {value:.3f} ms, measured there"
        for where, value in figures.device.items()
    ]


def milliseconds(seconds: float) -> str:
    """Four digits: `0.1234`, `12.34`."""
    value = seconds * _MILLI
    return f"{value:.{4 if value < 1 else 3 if value < 10 else 2 if value < 100 else 1}f}"


def _latency_table(found: Benchmark, batch: Batch) -> Table:
    table = empty_table(padding=(0, 1, 0, 0))
    table.add_column(f"batch {batch.size}, ms", no_wrap=True, min_width=_NAME)
    columns = ("mean", "std", "min", *(f"p{percent}" for percent in PERCENTILES), "spread", "samples/s", "FPS")
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    places = found.latencies(batch)
    for place, each in enumerate(found.figures):
        name = cell(each.entry.name, "", _NAME)
        if place not in places:
            table.add_row(name, cell("not", "yellow"), cell("measured", "yellow"))
            continue
        timed = batch.found.timed[places[place]]
        figures = [timed.mean, timed.std, timed.least, *map(timed.percentile, PERCENTILES)]
        rates = (_rate(batch.size / timed.mean), _rate(1 / timed.mean))
        table.add_row(name, *map(milliseconds, figures), _percent(timed.spread), *rates)
    return table


def _ratio_table(found: Benchmark, batch: Batch) -> Table:
    """Each model's time as a multiple of the first's, and the first beside itself."""
    table = empty_table(padding=(0, 2, 0, 0))
    table.add_column(f"of {shown(found.figures[0].entry.name, _NAME)}'s time", no_wrap=True, min_width=_NAME)
    table.add_column("ratio", no_wrap=True)
    table.add_column("", no_wrap=True)
    noise = batch.found.noise
    table.add_row("itself again", str(noise.ratio), cell("the noise", "dim"))
    for place, index in found.latencies(batch).items():
        if index:
            verdict = batch.found.verdict(index)
            name = cell(found.figures[place].entry.name, "", _NAME)
            table.add_row(name, str(batch.found.paired[index].ratio), cell(verdict, _COLORS.get(verdict, "dim")))
    return table


def _figures_table(found: Benchmark) -> Table:
    table = empty_table(padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True, min_width=_NAME)
    judged = next((each.accuracy for each in found.figures if each.accuracy is not None), None)
    headings = ["size", "", "nodes", "peak memory", "of the model"] + ([judged.metric.name, ""] if judged else [])
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    first = found.figures[0]
    for each in found.figures:
        less = "green" if each.bytes < first.bytes else "dim"
        nodes = "" if each.nodes is None else str(each.nodes)
        memory = ("", "") if each.memory is None else (size(each.memory.peak), size(each.memory.added))
        row = (size(each.bytes), cell(change(first.bytes, each.bytes), less), nodes, *memory)
        table.add_row(cell(each.entry.name, "", _NAME), *row, *(_accuracy_cells(each, first) if judged else ()))
    return table


def _accuracy_cells(each: Figures, first: Figures) -> list[Any]:
    found = each.accuracy
    if found is None:
        return [cell("not measured", "yellow"), ""]
    show = found.metric.show
    if each is first or found.drop == 0:
        return [show(found.model), ""]
    return [show(found.model), cell(show(-found.drop, "+") if found.metric.perfect is None else "", "dim")]


def _percent(part: float) -> str:
    return f"{100 * part:.1f} %" if part < 0.1 else f"{100 * part:.0f} %"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _figures_json(each: Figures, first: Figures) -> dict[str, Any]:
    memory = each.memory
    return {
        "name": each.entry.name,
        "path": each.entry.path,
        "kind": "model" if each.entry.backend is None else each.entry.backend.__name__.lower(),
        "bytes": each.bytes,
        "bytes_of_first": each.bytes / first.bytes,
        "nodes": each.nodes,
        "memory": None if memory is None else {"peak": memory.peak, "before": memory.before, "added": memory.added},
        "accuracy": None if each.accuracy is None else accuracy_json(each.accuracy),
        "device": dict(each.device),
        "remark": each.remark or None,
    }


def _batch_json(found: Benchmark, batch: Batch) -> dict[str, Any]:
    names = [found.figures[place].entry.name for place in found.latencies(batch)]
    return {
        "batch": batch.size,
        "inputs": batch.inputs,
        "noise": _paired_json(batch.found.noise),
        "latency": [
            {
                "name": name,
                **timed_json(batch.found.timed[index], batch.size),
                "of_first": _paired_json(batch.found.paired[index]) if index else None,
                "verdict": batch.found.verdict(index) or None,
            }
            for index, name in enumerate(names)
        ],
    }


def timed_json(timed: Timed, samples: int) -> dict[str, Any]:
    """The statistics of one model, in milliseconds but for the rates."""
    return {
        "min": timed.least * _MILLI,
        "mean": timed.mean * _MILLI,
        "std": timed.std * _MILLI,
        **{f"p{percent}": timed.percentile(percent) * _MILLI for percent in PERCENTILES},
        "spread": timed.spread,
        "samples_per_second": samples / timed.mean,
        "fps": 1 / timed.mean,
        "runs": len(timed.runs),
        "rounds": _milli(timed.medians),
    }


def _paired_json(paired: Paired) -> dict[str, Any]:
    ratio = paired.ratio
    medians = [each.median for each in paired.generations]
    return {"median": ratio.median, "interval": list(ratio.interval), "by_session": medians}


def _milli(values: Sequence[float]) -> list[float]:
    return [value * _MILLI for value in values]
