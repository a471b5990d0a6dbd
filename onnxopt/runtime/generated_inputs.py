"""Inputs for a model nobody gave data for: right dtypes, shapes and, where operators need it, values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import ml_dtypes
import numpy as np
from onnx import ModelProto

from onnxopt.data.spec import Array, Feeds, Value, ValueSpec, inputs_of
from onnxopt.runtime.dimensions import GUESSES, Guess, bind
from onnxopt.runtime.session import NotRunnable, Session
from onnxopt.runtime.value_needs import needs_of
from onnxopt.runtime.value_rules import SEQUENCE_LENGTH, Between, Need

_MOST_ELEMENTS = 1 << 24
"""In all inputs of one try but the first: [1, 3, 16000, 16000] is none."""


def generate(
    model: ModelProto, count: int = 1, seed: int = 0, dims: Mapping[str, int] | None = None, guess: Guess = GUESSES[0]
) -> Iterator[Feeds]:
    """Yield `count` sets of inputs, the same ones for the same arguments.

    Floats are N(0, 1), booleans even, 8-bit and narrower integers of their whole range, wider ones 0 to 9, strings
    decimal digits. An input that operators take as indices, sizes, axes and the like gets values that suit them, also
    through Cast, Reshape, Concat and the like, and within subgraphs and functions.

    Args:
        model: its weights are not looked at, only their shapes.
        count: how many sets.
        seed: of the random numbers.
        dims: sizes by symbolic dimension name. Symbols in expressions, as in `past + 1`, are names too.
        guess: sizes for the other symbolic and for unknown dimensions; one name has one size.

    Raises:
        BadOption: `dims` names a dimension that no input has.
    """
    specs = inputs_of(model)
    shapes = bind(specs, dims or {}, guess)
    needs = needs_of(model, shapes, guess.limit)
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield {spec.name: _value(spec, shapes[spec.name], needs.get(spec.name), rng) for spec in specs}


def runnable_inputs(
    model: ModelProto, session: Session, count: int = 1, seed: int = 0, dims: Mapping[str, int] | None = None
) -> list[Feeds]:
    """Generated inputs that `session`, of the same model, accepts: sizes are tried until it does.

    Raises:
        NotRunnable: it refuses all of them; the text has its first reason.
        BadOption: `dims` names a dimension that no input has.
    """
    first: NotRunnable | None = None
    tried: set[object] = set()
    for guess in GUESSES:
        shapes = tuple(bind(inputs_of(model), dims or {}, guess).values())
        if (shapes, guess.limit) in tried or (tried and sum(map(math.prod, shapes)) > _MOST_ELEMENTS):
            continue
        tried.add((shapes, guess.limit))
        found = list(generate(model, count, seed, dims, guess))
        try:
            for feeds in found:
                session.run(feeds)
        except NotRunnable as error:
            first = first or error
        else:
            return found
    raise NotRunnable(f"no generated inputs suit the model; give real ones with --data ({first})") from first


def _value(spec: ValueSpec, shape: tuple[int, ...], need: Need | None, rng: np.random.Generator) -> Value:
    if spec.kind == "sequence" and spec.of is not None:
        return [_value(spec.of, shape, None, rng) for _ in range(SEQUENCE_LENGTH)]
    if spec.kind == "optional" and spec.of is not None:
        return _value(spec.of, shape, need, rng)
    if spec.kind != "tensor" or spec.dtype is None:
        raise NotRunnable(f"input '{spec.name}' is a {spec.kind}, which cannot be generated; give it with --data")
    if need is None:
        return _free(spec.dtype, shape, rng)
    if isinstance(need, Between):
        return _between(need, spec.dtype, shape, rng)
    return np.resize(np.asarray(need), shape).astype(spec.dtype)  # repeated where the input is larger


def _between(need: Between, dtype: np.dtype[Any], shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    if _integer_range(dtype) is None:
        return rng.uniform(need.low, need.high, shape).astype(dtype)
    low = int(need.low)
    return rng.integers(low, max(int(need.high), low + 1), shape).astype(dtype)


def _free(dtype: np.dtype[Any], shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Values for an input that anything suits."""
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind == "O":
        return rng.integers(0, 10, shape).astype(str).astype(object)
    if (integers := _integer_range(dtype)) is not None:
        low, high = integers if dtype.itemsize == 1 else (0, 9)
        return rng.integers(low, high + 1, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def _integer_range(dtype: np.dtype[Any]) -> tuple[int, int] | None:
    """Smallest and largest of an integer type, ml_dtypes' included; None for any other type."""
    try:
        info = ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]  # as ml_dtypes ships it
    except ValueError:
        return None
    return int(info.min), int(info.max)
