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
    style: dict[str, Any] = {"separators": (",", ":")} if compact else {"indent": 2}
    return json.dumps(_plain(value), allow_nan=False, **style)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(float(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
