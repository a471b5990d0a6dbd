"""A random forest that tells three species of iris apart, and the flowers that it has not seen."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

from examples.commands import Array


def split() -> tuple[Array, Array, Array, Array]:
    """Rows float32 [120, 4] to train on and [30, 4] to judge on, and the species of each, int64."""
    rows, species = load_iris(return_X_y=True)
    train, test, truth, expected = train_test_split(
        rows.astype(np.float32), species, test_size=30, random_state=0, stratify=species
    )
    return train, test, truth, expected


def trained() -> tuple[RandomForestClassifier, Array]:
    """A forest of 100 trees, and rows to compare it on: what `onnxopt lower` asks of a function."""
    train, _, truth, _ = split()
    return RandomForestClassifier(100, random_state=0, n_jobs=1).fit(train, truth), train
