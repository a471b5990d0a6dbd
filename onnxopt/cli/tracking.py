"""`--mlflow`: the results of a command as a run of MLflow."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxopt.cli.console import note, warn

if TYPE_CHECKING:
    from onnxopt.report.mlflow_run import Record

_VARIABLE = "MLFLOW_TRACKING_URI"


@dataclass(frozen=True)
class Tracking:
    """Where runs are logged."""

    uri: str | None
    """None: nowhere."""
    asked: bool = False
    """Whether the command line names it; the environment may do so for other programs, and is no reason to fail."""

    @classmethod
    def of(cls, uri: str | None) -> Tracking:
        """The server of `--mlflow`, else that of MLFLOW_TRACKING_URI.

        Raises:
            BadOption: `--mlflow` is given, and mlflow is not installed.
        """
        from onnxopt.report.mlflow_run import require_mlflow

        if uri is not None:
            require_mlflow()
            return cls(uri, True)
        return cls(os.environ.get(_VARIABLE) or None)

    def log(self, record: Callable[[], Record]) -> None:
        """Log what `record` makes, where runs are logged, once all that it tells of is printed and on disk.

        Raises:
            Unreachable: `--mlflow` is given, and the server does not take it; without, that is a warning.
        """
        from onnxopt.errors import BadOption
        from onnxopt.report.mlflow_run import Unreachable, require_mlflow, send

        if self.uri is None:
            return
        try:
            require_mlflow()
            note(f"logged to MLflow at {self.uri} as {send(self.uri, record())}")
        except (Unreachable, BadOption) as error:
            if self.asked:
                raise Unreachable(f"{error}; the results are printed, and what was to be written is written") from error
            warn([f"{_VARIABLE} is set, and nothing was logged: {error}"])
