"""tinybeauty from the trained model to the package: size, PSNR on held-out photos, and a plot of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from coreml_runs import Maker, reference, reloaded, size
from coreml_subjects import Run
from reporting import Report

from onnxopt import ir
from onnxopt.atomic import replacing

LOST, LARGEST = 0.2, 100_000
"""What may be lost, in dB, and how large the package may be, in bytes."""
TARGET: Final = "iOS18"


def beauty(maker: Maker, kit: Path | None, plot: Path | None) -> Report:
    """Point 3: the table.

    Args:
        maker: The graphs of tinybeauty.
        kit: Where to leave the package with the programs that measure it on a Mac or an iPhone; None for nowhere.
        plot: A PNG to draw; None for none.
    """
    report = Report(3, "tinybeauty in less than 100 KB, with at most 0.2 dB lost")
    report.rows.append(("step", "file", "bytes", "PSNR dB", "lost dB", "latency"))
    original = maker.task.worth(reference(maker.task))
    for step, file, taken, psnr in _steps(maker, kit or maker.folder / "kit"):
        row = (f"{taken:,}", f"{psnr:.2f}", f"{original - psnr:.2f}", "not measured")
        report.rows.append((step, file, *row))
        report.figures[step] = {"bytes": taken, "psnr": psnr, "lost": original - psnr, "latency": None}
    report.require(f"{taken:,} bytes are {LARGEST:,} or more", taken < LARGEST)
    report.require(f"{original - psnr:.3f} dB are lost, of {LOST}", original - psnr <= LOST)
    report.headline = (
        f"{taken:,} bytes for {TARGET}, {original - psnr:.2f} dB lost on {maker.task.samples} held-out photos"
    )
    report.notes.append(
        "latency: not measured, for no Apple device is here; --kit DIR writes the package with measure.py"
    )
    report.notes.append("and Measure.swift, which measure it for each choice of compute units on a Mac or an iPhone")
    if plot is not None:
        _draw(report, plot)
    return report


def _steps(maker: Maker, kit: Path) -> list[tuple[str, str, int, float]]:
    """What stands in each row: the step, the file, its bytes, and what it is worth."""
    task = maker.task
    found = [("original", "ONNX", task.find_model().stat().st_size, task.worth(reference(task)))]
    for step, variant in (("pruned 30 %", "30 % zeros"), ("quantized", "30 % zeros, int8")):
        path = maker.folder / f"{variant}.onnx"
        graph = maker.graph(variant)
        ir.save(graph, path)
        found.append((step, "ONNX", path.stat().st_size, task.worth(_session(path))))
    made = kit / "model.mlpackage"
    _write_kit(graph, maker, kit)
    found.append(("Core ML", f"{TARGET} package", size(made), task.worth(reloaded(made, path, {}))))
    return found


def _write_kit(graph: ir.Graph, maker: Maker, kit: Path) -> None:
    """The package as `--emit coreml-kit` writes it, checked on the calibration data before it is there."""
    from onnxopt.backends.coreml_kit import CoremlKit

    shapes = {name: "x".join(map(str, sizes.shapes[0])) for name, sizes in maker.interface().shapes.items()}
    CoremlKit(target=TARGET, shapes=shapes, samples=2).write(graph, kit)


def _session(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    names = [each.name for each in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(None, dict(feeds)), strict=True))


def _draw(report: Report, path: Path) -> None:
    """Bars of the sizes, and the PSNR above them. Needs onnxopt[plot]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    steps = list(report.figures)
    sizes: list[Any] = [report.figures[step]["bytes"] / 1000 for step in steps]
    psnr: list[Any] = [report.figures[step]["psnr"] for step in steps]
    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    bars = axes.bar(steps, sizes, color="0.75", width=0.6)
    axes.bar_label(bars, fmt="%.1f", fontsize=8)
    axes.axhline(LARGEST / 1000, color="black", linewidth=0.8, linestyle=":")
    axes.set_ylabel("size, KB")
    axes.set_ylim(0, max(*sizes, LARGEST / 1000) * 1.15)
    other = axes.twinx()
    other.plot(steps, psnr, color="C0", marker="o")
    other.set_ylabel("PSNR on held-out photos, dB", color="C0")
    other.set_ylim(max(psnr) - 2.5, max(psnr) + 0.3)
    axes.set_title("tinybeauty, from the trained model to the package", fontsize=10)
    with replacing(path) as file:
        figure.savefig(file, format="png")
