"""No claim about a shape, or an element of a shape, is ever wrong: onnxruntime computes what it really is."""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

from tests.conformance import model_of
from tests.ir.proven_truth import check_claims, with_open_dims
from tests.random_graphs import random_feeds, random_model

SIZES = ({"n": 2, "m": 3}, {"n": 1, "m": 1}, {"n": 5, "m": 2}, {"n": 0, "m": 3}, {"n": 3, "m": 0}, {"n": 0, "m": 0})


def of_conformance(every: int) -> Counter[str]:
    """Claims checked on every so many-th model, as it is and with all its dimensions symbolic."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        cases = sorted(load_model_tests(kind="node"), key=lambda case: str(case.name))
    checked: Counter[str] = Counter()
    for case in cases[::every]:
        if case.model is None:
            continue
        names = [info.name for info in case.model.graph.input]
        feeds = []
        for inputs, _ in case.data_sets:
            arrays = (
                numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value for value in inputs
            )
            feeds.append(dict(zip(names, arrays, strict=False)))
        for model in (model_of(case), with_open_dims(model_of(case))):
            checked += check_claims(model, feeds, case.name)
    return checked


def of_random_graphs(seeds: range) -> Counter[str]:
    checked: Counter[str] = Counter()
    for seed in seeds:
        model = random_model(seed)
        checked += check_claims(model, [random_feeds(model, seed, sizes) for sizes in SIZES], f"seed {seed}")
    return checked


def test_a_sample_of_the_conformance_models() -> None:
    checked = of_conformance(every=8)
    assert checked["shapes"] > 1000 and checked["symbolic shapes"] > 500 and checked["elements"] > 500


def test_random_graphs() -> None:
    checked = of_random_graphs(range(60))
    assert checked["symbolic shapes"] > 1000 and checked["symbolic elements"] > 100


@pytest.mark.slow
def test_all_conformance_models() -> None:
    checked = of_conformance(every=1)
    assert checked["shapes"] > 20_000 and checked["symbolic shapes"] > 10_000


@pytest.mark.slow
def test_many_random_graphs() -> None:
    assert of_random_graphs(range(60, 1500))["symbolic shapes"] > 20_000
