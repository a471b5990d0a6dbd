"""Metrics as `--metric` names them. Of all of them larger is better."""

from __future__ import annotations

import importlib
import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from onnxopt.data.dataset import DataSet
from onnxopt.data.scores import Agreement, Called, Cosine, Figure, Near, Psnr, Score, Snr, Top1
from onnxopt.data.spec import Feeds
from onnxopt.errors import BadData, BadOption

METRICS = "top1, psnr, psnr:PEAK, snr, cosine, agreement or module:function"
_USUAL = ("label", "labels")
_PEAK = re.compile(r"psnr:([0-9]+(?:\.[0-9]+)?)")
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class Metric:
    """What models are judged by."""

    name: str
    """As it was asked for."""
    unit: str
    """`%`, `dB` or nothing."""
    start: Callable[[], Score] = field(repr=False, compare=False)
    """Begins to judge one model."""
    extras: tuple[str, ...] = ()
    """The arrays of the data that are looked at beside the inputs."""
    perfect: float | None = None
    """What the reference model scores where its own outputs are what others are judged by; None where they are not."""

    @classmethod
    def of(cls, text: str, data: DataSet, labels: str | None = None) -> Metric:
        """The metric that a text names, for a data set.

        Args:
            text: `top1`: the share of samples, in %, whose largest score is at the index that the labels say. `psnr`,
                with a peak of 1 or `psnr:PEAK`, `snr` (both in dB) and `cosine`: how near an output is to a target, or
                all of them to the reference model's, of which the worst counts. `agreement`: the share of samples, in
                %, whose largest score is where the reference's is. `module:function`: the mean of what that returns,
                called as f(outputs, extras) with the arrays by name for one sample, or one batch where the model fixes
                its size.
            data: The samples.
            labels: The array of labels or targets; by default, for top1 alone, `label`, `labels` or the only one.

        Raises:
            BadOption: There is no such metric, or it takes no labels.
            BadData: The data have no labels, or not these; the function cannot be imported.
        """
        if _FUNCTION.fullmatch(text):
            if labels is not None:
                raise BadOption(f"metric {text} is given all arrays of the data: leave the labels out")
            function = _imported(text)
            return cls(text, "", lambda: Called(text, function), data.extras)
        if labels is not None and labels not in data.extras:
            raise BadData(f"{data.source} has no array '{labels}'; it has: {_listed(data)}")
        if text == "top1":
            found = labels or _labels(data)
            return cls(text, "%", lambda: Top1(found), (found,))
        if text == "agreement":
            if labels is not None:
                raise BadOption("metric agreement is with the reference model: leave the labels out, or take top1")
            return cls(text, "%", Agreement, perfect=100.0)
        start, unit, perfect = _figure(text)
        extras = () if labels is None else (labels,)
        return cls(text, unit, lambda: Near(text, labels, start), extras, None if labels else perfect)

    def show(self, value: float, sign: str = "") -> str:
        """A value, or with `sign="+"` a change, as people read it."""
        if math.isnan(value):
            return "NaN"
        number = f"{value:{sign}.2f} {self.unit}" if self.unit else f"{value:{sign}.5f}"
        return number if math.isfinite(value) else f"{value:{sign}} {self.unit}".rstrip()


def default_metric(data: DataSet, labels: str | None = None) -> Metric:
    """What models are judged by where nobody says: top1 where the labels are integers, else the cosine.

    Raises:
        BadData: The data have no such labels.
    """
    name = labels or labels_in(data)
    if name in data.extras:
        found = np.asarray(next(iter(data.samples()))[name])
        if found.size == 1 and found.dtype.kind in "iu":
            return Metric.of("top1", data, name)
    return Metric.of("cosine", data, labels)


def labels_in(data: DataSet) -> str | None:
    """The array of the data that is taken for labels where none is named: `label`, `labels`, or the only one."""
    usual = [name for name in _USUAL if name in data.extras]
    return usual[0] if usual else data.extras[0] if len(data.extras) == 1 else None


def _figure(text: str) -> tuple[Callable[[], Figure], str, float]:
    """What adds it up, its unit, and what equal arrays have."""
    if text == "snr":
        return Snr, "dB", math.inf
    if text == "cosine":
        return Cosine, "", 1.0
    peak = _PEAK.fullmatch("psnr:1" if text == "psnr" else text)
    if peak is None or not float(peak[1]):
        raise BadOption(f"there is no metric '{text}': give {METRICS}")
    highest = float(peak[1])
    return lambda: Psnr(highest), "dB", math.inf


def _labels(data: DataSet) -> str:
    found = labels_in(data)
    if found is None:
        what = f"has several arrays, {_listed(data)}: name them" if data.extras else "has inputs only"
        raise BadData(f"top1 needs labels, the number of a class for each sample, and {data.source} {what}")
    return found


def _listed(data: DataSet) -> str:
    return ", ".join(data.extras) or "inputs only"


def _imported(spec: str) -> Callable[[Feeds, Feeds], Any]:
    """The function, from the working directory or the path."""
    module, _, name = spec.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        found: Callable[[Feeds, Feeds], Any] = getattr(importlib.import_module(module), name)
    except Exception as error:  # a user's module may raise anything
        said = " ".join(str(error).split())
        raise BadData(f"metric {spec} cannot be imported: {type(error).__name__}: {said}") from error
    finally:
        sys.path.remove(here)
    if not callable(found):
        raise BadData(f"metric {spec} is a {type(found).__name__}, which cannot be called")
    return found
