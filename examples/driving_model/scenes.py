"""The scenes that the model is calibrated and judged on; it was trained on those of seed 1."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from examples.commands import ROOT

sys.path.insert(0, str(ROOT / "fixtures"))
from road_scenes import scenes

CALIBRATION_SEED, EVALUATION_SEED = 2, 3


def store(path: Path, count: int, seed: int, *, labelled: bool) -> Path:
    """Write `camera` float32 [count, 3, 64, 128], and `command` int64 [count] where `labelled`."""
    images, commands = scenes(count, seed)
    np.savez(path, camera=images, **({"command": commands} if labelled else {}))
    return path
