from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from onnxopt import strict_json


def test_numbers_that_json_lacks_are_strings() -> None:
    value = {"a": math.nan, "b": [math.inf, -math.inf, 1.5], 3: Path("x"), "c": (None, True)}
    assert json.loads(strict_json.dumps(value)) == {
        "a": "nan",
        "b": ["inf", "-inf", 1.5],
        "3": "x",
        "c": [None, True],
    }


def test_what_is_no_json_is_an_error() -> None:
    with pytest.raises(TypeError):
        strict_json.dumps({"a": object()})
