"""Estimators from files."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import joblib
import skops.io
from sklearn.exceptions import InconsistentVersionWarning

from onnxopt.errors import BadModel, BadOption
from onnxopt.frontends.kinds import Kind

_DATA = re.compile(
    r"sklearn\.(tree\._tree|ensemble\._hist_gradient_boosting\.\w+|neighbors\._\w+|metrics\._dist_metrics|_loss\.\w+"
    r"|neural_network\._stochastic_optimizers)\.[A-Z]\w*"
)
"""Classes of scikit-learn's own that hold the numbers of trees, neighbours, losses and optimizers: skops leaves it to
its caller to trust them. They run no code of the file's author; a forged tree may crash the child that reads it."""


def read(path: Path, kind: Kind, trust: bool) -> tuple[Any, list[str]]:
    """The object in a file, and what scikit-learn warns of: a file of another version.

    Args:
        path: A skops file or a pickle.
        kind: Which of the two.
        trust: Whether types of other packages than scikit-learn may be made too; the caller opens no pickle without.

    Raises:
        BadOption: A skops file has types of other packages, which is code of theirs, and is not trusted.
        BadModel: It cannot be read.
    """
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", InconsistentVersionWarning)
            found = _skops(path, trust) if kind is Kind.SKOPS else joblib.load(path)
    except BadOption:
        raise
    except Exception as error:  # whatever a pickle or a missing package raises
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise BadModel(f"{path} cannot be read: {type(error).__name__}: {reason}") from error
    said = [str(one.message).split(". This might")[0] for one in caught if one.category is InconsistentVersionWarning]
    return found, said[:1]


def _skops(path: Path, trust: bool) -> Any:
    listed = sorted(skops.io.get_untrusted_types(file=path))
    unknown = [name for name in listed if not _DATA.fullmatch(name)]
    if unknown and not trust:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise BadOption(
            f"{path} has objects of {unknown[0]}{more}, which skops does not know to be safe: give --trust-pickle if "
            "you trust where it is from"
        )
    return skops.io.load(path, trusted=listed)
