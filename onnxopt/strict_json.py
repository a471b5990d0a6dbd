"""JSON that every reader reads: numbers that are not finite are the strings "nan", "inf" and "-inf"."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def dumps(value: Any, *, compact: bool = False) -> str:
    """The JSON text of dicts, lists, tuples, strings, numbers, None and paths, indented by two; `compact`: in one line.

    Raises:
        TypeError: There is something else in it.
    """
    if not compact:
        return json.dumps(_plain(value), indent=2, allow_nan=False)
    try:  # a document of millions of entries, in which there is most often nothing to make plain
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError):
        return json.dumps(_plain(value), allow_nan=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(float(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
