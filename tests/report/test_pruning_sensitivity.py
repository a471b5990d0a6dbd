"""The table of layers pruned alone, and its picture, whatever the figures are."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pytest
from rich.console import Console

from onnxopt.data import DataSet
from onnxopt.data.dataset import data_set
from onnxopt.data.scoring import Metric
from onnxopt.pruning.sensitivity import LEVELS, Allocation, Curve, Sweep
from onnxopt.report.pruning_sensitivity import allocation_json, sweep_json, sweep_table
from onnxopt.runtime.evaluation import Accuracy

NAMES = ("Conv /blocks/blocks.0/body/body.3/Conv", "Gemm [red]classifier[/red]", "MatMul $x_1$ " + "long" * 30)
VALUES = (98.046875, -12.345, 1234.5, 0.0, 100.0, math.nan, math.inf, -math.inf, -3.21)


def data() -> DataSet:
    return data_set("a/folder/evaluation.npz", [], lambda: iter([{}]), 1)


def found(metric: str = "snr", levels: tuple[float, ...] = LEVELS) -> Sweep:
    curves = tuple(
        Curve(name, "w", 10**place * 64, VALUES[: len(levels)], VALUES[: len(levels)])
        for place, name in enumerate(NAMES)
    )
    of = Metric.of(metric, data())
    return Sweep(levels, curves, of, math.inf if of.perfect is None else of.perfect, 1, "a/folder/evaluation.npz")


def printed(sweep: Sweep) -> list[str]:
    console = Console(file=io.StringIO(), width=100, highlight=False, markup=False)
    with console.capture() as captured:
        console.print(sweep_table(sweep))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_all_figures_are_seen_in_100_columns() -> None:
    lines = printed(found())
    header, _, one, two, three, *rest = lines
    assert max(map(len, lines)) <= 100 and header.endswith("70 %  80 %  90 %")
    assert (
        one.startswith(NAMES[0])
        and two.startswith(NAMES[1])
        and three.startswith("MatMul $x_1$ long")
        and "..." in three
    )
    assert one.split()[-9:] == ["98.05", "-12.3", "1234", "0.00", "100.0", "NaN", "equal", "-inf", "-3.21"]
    assert [line.split()[-10] for line in (one, two)] == ["64", "640"]
    assert "1 sample of a/folder/evaluation.npz, against what the original gives" in rest


def test_one_sparsity_and_more_than_fit() -> None:
    assert printed(found(levels=(0.5,)))[0].split() == ["pruned", "alone", "weights", "50", "%"]
    many = tuple(place / 40 for place in range(1, 40))
    curve = Curve("one", "w", 1, many, many)
    lines = printed(Sweep(many, (curve,), Metric.of("cosine", data()), 1.0, 1, "none"))
    assert max(map(len, lines)) <= 100 and lines[0].split()[3] == "2.5" and lines[0].split()[-2] == "97.5"


def test_json_has_all() -> None:
    told = sweep_json(found("cosine"))
    assert (told["metric"], told["unit"], told["reference"], told["sparsities"]) == ("cosine", "", None, list(LEVELS))
    assert told["layers"][0] == {
        "layer": NAMES[0],
        "weight": "w",
        "size": 64,
        "values": list(VALUES),
        "snr": list(VALUES),
    }
    assert allocation_json(None) is None
    chosen = Accuracy(Metric.of("cosine", data()), 1.0, 0.999, 5, "none", {})
    whole = allocation_json(Allocation(found("cosine"), {"w": 0.5}, 0.001, chosen))
    assert whole is not None and whole["shares"] == {"w": 0.5} and whole["alone"] == told and whole["model"] == 0.999


def test_the_picture_of_any_figures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from onnxopt.report.sensitivity_plot import plot_sweep

    many = Sweep(LEVELS, found().curves * 5, found().metric, math.inf, 1, "none")
    plot_sweep(many, tmp_path / "all.png", "a $ model_1.onnx")
    assert (tmp_path / "all.png").read_bytes().startswith(b"\x89PNG")
