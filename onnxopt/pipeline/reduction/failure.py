"""What went wrong with a candidate, and when two failures are the same."""

from __future__ import annotations

import enum
import sys
import traceback
from dataclasses import dataclass, field

from onnxopt.errors import CheckFailed, PassFailed
from onnxopt.pipeline.base import Pass
from onnxopt.pipeline.manager import PassRun
from onnxopt.runtime.child import ChildFailed

_BROKEN = "broke output"
_AFTER_NAME = "': "


class Kind(enum.Enum):
    """The ways in which a candidate fails."""

    RAISED = "a pass raises"
    REFUSED = "the verification refuses what a pass made"
    CRASHED = "the process crashes"
    TOO_LONG = "it takes longer than the time limit"
    CHECKED = "the command fails"


@dataclass(frozen=True)
class Failure:
    """One failure. Two are the same, and equal, if all but their messages are."""

    kind: Kind
    where: str
    """The pass by its name, or what else was going on. Its number in the pipeline and its options do not count."""
    what: str
    """Of an exception its class, and the lines that raised it: the innermost one, and the innermost one in the pass's
    own file. Of the verification the words before the first name or figure: `changed the inputs`, `made a model that
    onnx's checker refuses`; `broke output: differs` of numbers, `broke output: expected` of another type or shape, and
    where a number is none or infinite. Of a crash the signal, of a command its exit status."""
    message: str = field(compare=False)
    """For people."""


def of_error(error: PassFailed | CheckFailed, run: PassRun | None) -> Failure:
    """The failure that an error of the manager or of the verification tells of."""
    message = str(error)
    if isinstance(error, PassFailed) and error.__cause__ is not None and run is not None:
        return Failure(Kind.RAISED, run.name, _raised_at(error.__cause__, run.pass_), message)
    who = f"pass {run.index}, {run.text}," if run else "the pipeline"
    kind = Kind.RAISED if isinstance(error, PassFailed) else Kind.REFUSED
    return Failure(kind, run.name if run else "", _phrase(message.removeprefix(who)), message)


def of_end(error: ChildFailed, said: str) -> Failure:
    """The failure of a process that ended without an answer; `said` is what it was at."""
    if error.timed_out:
        return Failure(Kind.TOO_LONG, said, "", f"{said}: {error}")
    what = error.signal_name or str(error)
    return Failure(Kind.CRASHED, said, what, f"{said}: {error}")


def of_status(status: int, command: str) -> Failure:
    """The failure of a user's command: its exit status, or the negative number of the signal that ended it."""
    how = f"exit status {status}" if status >= 0 else f"signal {-status}"
    return Failure(Kind.CHECKED, "", how, f"`{command}` ended with {how}")


def _phrase(text: str) -> str:
    """The words before the first name, list or figure: what kind of thing is said, and not of what."""
    ends = [found for mark in (" '", ":", " from ", ";") if (found := text.find(mark)) >= 0]
    phrase = text[: min(ends, default=len(text))].strip()
    return f"{phrase}: {text.partition(_AFTER_NAME)[2].partition(' ')[0]}" if phrase == _BROKEN else phrase


def _raised_at(error: BaseException, pass_: Pass) -> str:
    name = type(error).__name__
    if isinstance(error, RecursionError):  # where the stack happened to be full says nothing
        return name
    own = getattr(sys.modules.get(type(pass_).__module__), "__file__", None)
    frames = traceback.extract_tb(error.__traceback__)
    places = [frames[-1]] if frames else []
    places += [frame for frame in frames if frame.filename == own][-1:]
    return " at ".join([name, *dict.fromkeys(f"{frame.filename}:{frame.lineno}" for frame in places)])
