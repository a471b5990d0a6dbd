"""Which passes there are: the files of `onnxopt.passes`, entry points of other packages, and plug-in files."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import sys
import traceback
import types
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onnxopt.errors import BadOption, BadPipeline
from onnxopt.pipeline.base import Pass
from onnxopt.pipeline.defined import defined_in, is_concrete
from onnxopt.pipeline.options import options_of
from onnxopt.pipeline.presets import RESERVED
from onnxopt.pipeline.suggest import did_you_mean

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

BUILT_IN = "onnxopt.passes"
"""The package of the built-in passes, and the entry point group of everybody else's."""


@dataclass(frozen=True)
class _Source:
    where: str
    load: Callable[[], type[Pass]]


class Registry:
    """Passes by name. A pass's module is imported when the pass is asked for.

    Every error is a BadPipeline of one line: an unknown name, a name that two sources claim, a source that does not
    import or does not define what its name says.
    """

    def __init__(self, package: str | None = BUILT_IN, entry_points: Iterable[EntryPoint] = ()) -> None:
        """The passes of `package`, one a module named like it, and those that `entry_points` lead to."""
        self._sources: dict[str, _Source] = {}
        self._plugins: set[Path] = set()
        paths = importlib.import_module(package).__path__ if package else []
        for module in pkgutil.iter_modules(paths, prefix=f"{package}."):
            stem = module.name.rpartition(".")[2]
            if not stem.startswith("_"):
                self._add(stem.replace("_", "-"), module.name, _module_loader(module.name))
        for point in entry_points:
            where = f"{point.value}, an entry point of {point.dist.name if point.dist else 'an unknown package'}"
            self._add(point.name, where, _entry_point_loader(point, where))

    @classmethod
    def installed(cls) -> Registry:
        """The built-in passes and those of the packages installed beside onnxopt."""
        return cls(BUILT_IN, _installed_points(tuple(sys.path)))

    def names(self) -> tuple[str, ...]:
        """The names of all passes, sorted."""
        return tuple(sorted(self._sources))

    def __contains__(self, name: str) -> bool:
        return name in self._sources

    def get(self, name: str) -> type[Pass]:
        """The pass class called `name`."""
        if name not in self._sources:
            hint = did_you_mean(name, self._sources, "; `onnxopt passes` lists them")
            raise BadPipeline(f"there is no pass {name!r}{hint}")
        return self._sources[name].load()

    def where(self, name: str) -> str:
        """Where a known pass comes from: its module, entry point or plug-in file."""
        return self._sources[name].where

    def summary(self, name: str) -> str:
        """The first line of the docstring of the pass called `name`; empty if it has none."""
        cls = self.get(name)
        doc = inspect.cleandoc(cls.__doc__ or "")
        generated = doc.startswith(f"{cls.__name__}(")  # what `dataclass` writes where the author wrote nothing
        return "" if generated else doc.partition("\n")[0]

    def load_plugin(self, path: Path) -> tuple[str, ...]:
        """Run a Python file and register each public concrete Pass subclass that it defines; return their names.

        The file is code and is trusted like any other import. Loading it again changes nothing.
        """
        try:
            path = path.resolve()
            source = path.read_bytes()
        except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a null character
            raise BadPipeline(f"{path}: the plug-in cannot be read: {getattr(error, 'strerror', error)}") from error
        if path in self._plugins:
            return ()
        classes: list[type[Pass]] = defined_in(_run_file(path, source), Pass)
        if not classes:
            raise BadPipeline(f"{path}: defines no pass, a public subclass of onnxopt.pipeline.base.Pass")
        for cls in classes:
            self._add(cls.pass_name(), str(path), functools.partial(_checked, cls, str(path)))
            self.get(cls.pass_name())
        self._plugins.add(path)
        return tuple(cls.pass_name() for cls in classes)

    def _add(self, name: str, where: str, load: Callable[[], type[Pass]]) -> None:
        if name in RESERVED:
            raise BadPipeline(f"{where}: the pass name {name} is reserved; rename the class")
        if name in self._sources:
            raise BadPipeline(f"two passes are called {name}: {self._sources[name].where} and {where}; rename one")
        self._sources[name] = _Source(where, load)


def _module_loader(module_name: str) -> Callable[[], type[Pass]]:
    def load() -> type[Pass]:
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            raise BadPipeline(f"{module_name} cannot be imported: {_first_line(error)}") from error
        expected = module_name.rpartition(".")[2].replace("_", "-")
        classes: list[type[Pass]] = defined_in(module, Pass)
        found = [cls.pass_name() for cls in classes]
        if found != [expected]:
            raise BadPipeline(f"{module_name}: expected one pass, {expected}, found {', '.join(found) or 'none'}")
        return _checked(classes[0], module_name)

    return load


def _entry_point_loader(point: EntryPoint, where: str) -> Callable[[], type[Pass]]:
    def load() -> type[Pass]:
        try:
            loaded = point.load()
        except Exception as error:  # somebody else's package, which may do anything
            raise BadPipeline(f"{where}: {type(error).__name__}: {_first_line(error)}") from error
        if not is_concrete(loaded, Pass) or loaded.pass_name() != point.name:
            raise BadPipeline(f"{where}: is not a Pass subclass of that name, {point.name}")
        return _checked(loaded, where)

    return load


def _run_file(path: Path, source: bytes) -> types.ModuleType:
    # Compiled here, not by importlib: no __pycache__ beside the user's file, and never a stale one.
    module = types.ModuleType(f"onnxopt_plugin_{path.stem}_{zlib.crc32(str(path).encode()):08x}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and typing look names up there
    try:
        exec(compile(source, str(path), "exec", dont_inherit=True), vars(module))
    except (Exception, SystemExit) as error:  # the user's file, which may do anything
        del sys.modules[module.__name__]
        raise BadPipeline(f"{path}:{_line_of(error, path)}: {type(error).__name__}: {_first_line(error)}") from error
    return module


def _line_of(error: BaseException, path: Path) -> int:
    """The line of the file at `path` that raised: the innermost frame in it, or the place of its syntax error."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or 1
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno or 1 for frame in reversed(frames) if frame.filename == str(path)), 1)


def _first_line(error: BaseException) -> str:
    return next(iter((error.msg if isinstance(error, SyntaxError) else str(error)).splitlines()), "no message")


def _checked(cls: type[Pass], where: str) -> type[Pass]:
    """`cls`, if its options can be given as text."""
    try:
        options_of(cls)
    except BadOption as error:
        raise BadPipeline(f"{where}: {error}") from error
    return cls


@functools.cache
def _installed_points(path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """The entry points of the packages on a path: looking through them all takes longer than a small model."""
    from importlib.metadata import entry_points  # costs more than the rest of this package to import

    return tuple(entry_points(group=BUILT_IN))
