"""Samples set apart that are unlike the others, to see what pruning does to data that it was not judged by."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from dataclasses import replace

import numpy as np

from onnxopt import ir
from onnxopt.data import DataSet
from onnxopt.data.layout import Sample
from onnxopt.runtime.executable import executable
from onnxopt.runtime.session import Session

_FEWEST = 32
_PART = 0.25
"""Of the samples that are set apart."""


def set_apart(graph: ir.Graph, data: DataSet) -> tuple[DataSet, DataSet]:
    """The samples to judge by, and a quarter to try it on: the end of the direction in which outputs vary most.

    Crops of one photo, or sentences of one text, are to be on one side: what holds of them only is seen to. Few
    samples, samples in fixed batches, or outputs of many sizes stay together, and are both.
    """
    if data.layout.batch is not None:
        return data, data
    with executable(graph) as model:
        session = Session(model, optimize=True)
    outputs = [_flat(session, sample) for sample in data.batches()]
    if len(outputs) < _FEWEST or len({len(each) for each in outputs}) != 1:
        return data, data
    centered = np.stack(outputs) - np.mean(outputs, axis=0)
    along = np.linalg.eigh(centered @ centered.T)[1][:, -1]  # of samples, which are fewer than outputs
    order = np.argsort(along * np.sign(along[np.argmax(np.abs(along))]))
    apart = set(order[-int(len(order) * _PART) :].tolist())
    return _some(data, set(range(len(order))) - apart), _some(data, apart)


def _flat(session: Session, feeds: Sample) -> np.ndarray:
    found = session.run(feeds)
    arrays = [
        np.asarray(value, np.float32).reshape(-1) for value in found.values() if np.asarray(value).dtype.kind == "f"
    ]
    joined: np.ndarray = np.concatenate([array[:: -(-len(array) // 4096)] for array in arrays])
    return joined


def _some(data: DataSet, places: Collection[int]) -> DataSet:
    def samples() -> Iterator[Sample]:
        return itertools.compress(data.samples(), (place in places for place in itertools.count()))

    return replace(data, samples=samples, length=len(places))
