"""The page of the passes: what it costs to write, and to look at.

    python benchmarks/inspector.py [--nodes 500,5000,100000] [--rounds 3] [--quick] [--json]

Writing: `onnxopt run` with and without --report, in turns; the difference is taken round by round. The model of 500
nodes goes through ten passes that are named, the others through O1; nothing is verified, so that the run itself is as
short as it can be. Looking: headless Chromium (apt-get install chromium; pip install playwright) opens the page from
disk at 1280 x 800: seconds until the timeline can be seen, until the graph can be seen, and of a step to the next pass.
Where there is no Chromium this says so, and only writing is measured. A whole run is kept in benchmarks/results/.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx
from measuring import FIXTURES, ONNXOPT, Spread, interleaved, run_measured
from reporting import Report, arguments, keep, tick
from synthetic import large_model

sys.path.insert(0, str(FIXTURES))
from browser import NOT_DRAWN_MS, NoBrowser, browser, drawn

MOST_SECONDS = 3.0
"""To write the page of 500 nodes beyond the run."""
JUDGED = 500
_TEN = (
    "infer-types,fold-constants,eliminate-identities,merge-casts,eliminate-common-subexpressions,eliminate-dead-nodes,"
    "fold-shapes,fuse-conv-bn,share-initializers,infer-shapes"
)
_STEPS = 4
_BOTH = ("without", "with")


@dataclass
class Measured:
    """What the page of one model costs."""

    nodes: int
    run: Spread
    beyond: Spread
    """Seconds that --report adds to the run."""
    processor: Spread
    """The same in seconds of processor time, which a busy machine upsets less."""
    peak: tuple[int, int]
    """Bytes of memory of the process without and with it."""
    size: int
    """Bytes of the page."""
    looked: dict[str, Spread] = field(default_factory=dict)
    """Seconds to the timeline, to the graph, and of a step."""


def main() -> None:
    """Measure, keep a whole run, and report."""
    parser = arguments(__doc__)
    parser.add_argument("--nodes", default="500,5000,100000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of 500 and 5,000 nodes; nothing is kept")
    given = parser.parse_args()
    wanted = [500, 5000] if given.quick else [int(count) for count in given.nodes.split(",")]
    rounds = 1 if given.quick else given.rounds
    report = Report(
        5, f"the page of {JUDGED} nodes and ten passes is written in under {MOST_SECONDS:g} s beyond the run"
    )
    with tempfile.TemporaryDirectory() as folder:
        found = [written(Path(folder), nodes, rounds) for nodes in wanted]
        try:
            with browser() as running:
                report.notes.append(f"Chromium {running.version}, headless, {rounds} loads of each page")
                for one in found:
                    one.looked = looked(running, _page(Path(folder), one.nodes), rounds)
        except NoBrowser as error:
            report.notes.append(f"NOT LOOKED AT: {error}")
    tell(report, found)
    if not given.quick and given.nodes == parser.get_default("nodes"):
        keep(report, f"onnxopt {version('onnxopt')}, onnx {onnx.__version__}", "inspector")
    report.print_and_exit(as_json=given.json)


def written(folder: Path, nodes: int, rounds: int) -> Measured:
    """Run with and without --report in turns."""
    model = folder / f"{nodes}.onnx"
    onnx.save(large_model(nodes), model)
    pipeline = ["--passes", _TEN] if nodes == JUDGED else ["-O", "1"]
    command = [*ONNXOPT, "run", model, *pipeline, "--no-verify", "-o", folder / "out.onnx"]
    peaks = dict.fromkeys(_BOTH, 0)
    processor: dict[str, list[float]] = {kind: [] for kind in _BOTH}

    def once(kind: str) -> float:
        extra = ["--report", _page(folder, nodes)] if kind == "with" else []
        ended = run_measured([*command, *extra]).require_success()
        peaks[kind] = max(peaks[kind], ended.peak_rss)
        processor[kind].append(ended.cpu_seconds)
        return ended.seconds

    spreads = interleaved({kind: partial(once, kind) for kind in _BOTH}, rounds, partial(_tick, nodes))
    beyond = _difference(*(spreads[kind].values for kind in _BOTH))
    used = _difference(*(tuple(processor[kind]) for kind in _BOTH))
    size = _page(folder, nodes).stat().st_size
    return Measured(nodes, spreads["without"], beyond, used, (peaks["without"], peaks["with"]), size)


def _difference(without: tuple[float, ...], with_page: tuple[float, ...]) -> Spread:
    """Round by round."""
    return Spread(tuple(b - a for a, b in zip(without, with_page, strict=True)))


def looked(running: Any, path: Path, rounds: int) -> dict[str, Spread]:
    """Open the page and step through it; each load in a context of its own, so that nothing is cached."""
    found: dict[str, list[float]] = {"timeline": [], "graph": [], "step": []}
    for number in range(rounds):
        tick(f"{path.name}: load {number + 1} of {rounds}")
        page = running.new_context(viewport={"width": 1280, "height": 800}).new_page()
        began = time.perf_counter()
        page.goto(path.as_uri(), wait_until="commit")
        page.wait_for_selector(".step", timeout=NOT_DRAWN_MS)
        found["timeline"].append(time.perf_counter() - began)
        drawn(page)
        found["graph"].append(time.perf_counter() - began)
        for _ in range(min(_STEPS, page.locator(".step").count() - 1)):
            found["step"].append(_step(page))
        page.context.close()
    return {what: Spread(tuple(seconds)) for what, seconds in found.items()}


def _step(page: Any) -> float:
    """Seconds from the key to the next pass until it is drawn."""
    was, began = drawn(page), time.perf_counter()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(f'body:not([data-drawn="{was}"])', timeout=NOT_DRAWN_MS)
    return time.perf_counter() - began


def tell(report: Report, found: list[Measured]) -> None:
    """A row a model, and what is judged."""
    heading = ("nodes", "run s", "page beyond it s", "of processor s", "peak MiB without, with", "page MiB")
    report.rows = [(*heading, "timeline s", "graph s", "step s")]
    for one in found:
        seen = [one.looked[what].show("", 2) if one.looked else "no browser" for what in ("timeline", "graph", "step")]
        peaks = ", ".join(f"{peak / 2**20:.0f}" for peak in one.peak)
        spent = [spread.show("", 2) for spread in (one.run, one.beyond, one.processor)]
        report.rows.append((f"{one.nodes:,}", *spent, peaks, f"{one.size / 2**20:.2f}", *seen))
        times = {"run": one.run, "beyond": one.beyond, "beyond_processor": one.processor, **one.looked}
        figures = {"peak_bytes": one.peak, "page_bytes": one.size}
        report.figures[str(one.nodes)] = {**figures, **{what: spread.to_json() for what, spread in times.items()}}
        if one.nodes == JUDGED:
            report.require(f"{one.beyond.median:.2f} s beyond the run", one.beyond.median < MOST_SECONDS)
    report.headline = "; ".join(f"{one.nodes:,} nodes: {one.beyond.show()} beyond the run" for one in found)


def _page(folder: Path, nodes: int) -> Path:
    return folder / f"{nodes}.html"


def _tick(nodes: int, line: str) -> None:
    tick(f"{nodes} nodes: {line}")


if __name__ == "__main__":
    main()
