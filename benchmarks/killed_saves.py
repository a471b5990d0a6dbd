"""Saves that SIGKILL ends, and what they leave behind."""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from onnxopt import ir
from onnxopt.ir.fingerprint import fingerprint
from onnxopt.ir.values import MappedValues

TARGET = "model.onnx"
_MORE = 4
"""Saves after which nothing of a killed one may be left: a save tidies up after those of the data files' names that it
uses, and up to three names take turns."""
_OPERATIONS = frozenset({"open", "os.link", "os.rename", "os.remove", "os.truncate"})
"""Python's audit events that a save raises; what raises none is counted by a wrapper."""
_SILENT_OPERATIONS = ("fsync", "copy_file_range", "pwrite", "close")
_SIZE = 1 << 18
"""Elements of each weight: a save takes milliseconds, so that kills fall into it."""


@dataclass
class Killed:
    """What a series of kills did."""

    kills: int = 0
    spoilt: list[str] = field(default_factory=list)
    """Kills after which the file was neither of the two models, and how."""
    hidden: int = 0
    """Kills that left a temporary file."""
    orphans: int = 0
    """Kills that left a complete data file which no model refers to yet."""
    left: int = 0
    """Files that stayed even after `_MORE` further saves."""


def at_random(folder: Path, rounds: int, *, external: bool, seed: int = 0) -> Killed:
    """Kill a process that saves again and again, at random moments of its first few saves."""
    duel = _Duel(folder, external)
    rng = random.Random(seed)
    start = time.perf_counter()
    duel.save_next()
    duration = time.perf_counter() - start
    for _ in range(rounds):
        duel.killed(duel.save_for_ever, rng.uniform(0, 3 * duration))
    return duel.result


def at_every_operation(folder: Path, *, external: bool) -> Killed:
    """Kill a save before its first file operation, before its second, and so on."""
    duel = _Duel(folder, external)
    for number in itertools.count(1):
        if not duel.killed(partial(duel.save_until, number), None):
            break
    return duel.result


class _Duel:
    """Two models that take each other's place in one file."""

    def __init__(self, folder: Path, external: bool) -> None:
        self.folder, self.external = folder, external
        self.target = folder / TARGET
        self.models = [_model(number) for number in (1.0, 2.0)]
        self.prints = {fingerprint(model) for model in self.models}
        self.saves = 0
        self.result = Killed()
        self.save_next()
        self.save_next()  # over a model that is there; and whatever is imported late is there now

    def save_next(self) -> None:
        """Save one model over the other."""
        self.saves += 1
        ir.save(self.models[self.saves % 2], self.target, external=self.external)

    def save_for_ever(self) -> None:
        """What the child does that is killed from outside."""
        while True:
            self.save_next()

    def save_until(self, number: int) -> None:
        """What the child does that kills itself before file operation `number` of one save."""
        _kill_before(number)
        self.save_next()

    def killed(self, work: Callable[[], None], after: float | None) -> bool:
        """Fork, do the work, kill it after so many seconds; whether it was killed. Then see what is left."""
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # the threads of a BLAS library, which a save never uses
            child = os.fork()
        if child == 0:
            try:
                work()
            finally:
                os._exit(0)
        if after is not None:
            time.sleep(after)
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        if not os.WIFSIGNALED(status):
            return False
        self.result.kills += 1
        self._inspect()
        return True

    def _inspect(self) -> None:
        try:
            found = fingerprint(ir.load(self.target))
        except Exception as error:  # noqa: BLE001  any is what a user would see
            self.result.spoilt.append(f"{type(error).__name__}: {error}")
        else:
            if found not in self.prints:
                self.result.spoilt.append("another model stands there")
        strays = self._strays()
        self.result.hidden += any(name.endswith(".tmp") for name in strays)
        self.result.orphans += any(name.endswith(".data") for name in strays)
        if strays:
            for _ in range(_MORE):
                self.save_next()
            for name in self._strays():
                self.result.left += 1
                (self.folder / name).unlink()

    def _strays(self) -> set[str]:
        """Files in the folder that are neither the model nor its data."""
        names = {path.name for path in self.folder.iterdir()} - {TARGET}
        try:
            stored = [constant._values for constant in ir.load(self.target).constants]
            used = {values.file.path.name for values in stored if isinstance(values, MappedValues)}
        except Exception:  # noqa: BLE001  reported already
            used = set()
        return names - used


def _kill_before(number: int) -> None:
    """From now on, count file operations, and die before this one."""
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        if done == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def heard(event: str, _: object) -> None:
        if event in _OPERATIONS:
            count()

    def counted(function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            count()
            return function(*arguments, **options)

        return call

    for name in _SILENT_OPERATIONS:
        if hasattr(os, name):
            setattr(os, name, counted(getattr(os, name)))
    sys.addaudithook(heard)


def _model(factor: float) -> ir.Graph:
    """`y = x * w + v`, with 2 MB of weights that tell the models apart."""
    x, scaled, y = (ir.Variable(name, np.dtype(np.float32), [_SIZE]) for name in ("x", "scaled", "y"))
    w, v = (ir.Constant(name, np.full(_SIZE, factor * number, np.float32)) for number, name in ((1, "w"), (2, "v")))
    nodes = [ir.Node("Mul", "mul", {}, [x, w], [scaled]), ir.Node("Add", "add", {}, [scaled, v], [y])]
    return ir.Graph(nodes, [x], [y], opset=17, name="killed")
