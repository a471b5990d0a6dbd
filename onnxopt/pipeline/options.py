"""The options of a pass: its dataclass fields, read by introspection so that nothing is declared twice."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import itertools
import textwrap
import typing
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass
from typing import Any, TypeVar

from onnxopt.errors import BadOption
from onnxopt.pipeline.base import Pass
from onnxopt.pipeline.grammar import NAME
from onnxopt.pipeline.suggest import did_you_mean
from onnxopt.pipeline.values import Kind, kind_of

T = TypeVar("T")


class OptionError(BadOption):
    """An option that cannot be set; `key` and `in_value` say where the caret belongs."""

    def __init__(self, message: str, key: str | None = None, in_value: bool = False) -> None:
        super().__init__(message)
        self.key = key
        """The option as it was spelt; None if the fault lies in several, or in one that is missing."""
        self.in_value = in_value
        """Whether the fault lies in the value."""


@dataclass(frozen=True)
class Option:
    """One option of a pass, or of any other frozen dataclass."""

    owner: type
    """The class it belongs to."""
    field: str
    """The dataclass field."""
    kind: Kind
    """How its values are written."""
    default: Any
    """The default value, or `dataclasses.MISSING` where a value must be given."""
    open: Kind | None = None
    """Of a mapping that also takes every key that is no option, `{batch=1}` for `{dims=batch:1}`: how its values are
    written. A field says so by the metadata `open: True`."""

    @property
    def name(self) -> str:
        """As users spell it: the field `per_channel` is `per-channel`."""
        return _kebab(self.field)

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is MISSING

    @property
    def default_text(self) -> str:
        """The default as a user would write it; empty for a required option."""
        return "" if self.required else self.kind.format(self.default)

    @property
    def doc(self) -> str:
        """The string below the field, in the class or the nearest base that has one; empty without source."""
        return _attribute_docs(self.owner).get(self.field, "")


def options_of(owner: type) -> tuple[Option, ...]:
    """The options of a dataclass in declared order; a field with the metadata `option: False` is none.

    BadOption where the class is no dataclass of its own or the type of a field cannot be an option's.
    """
    return _options_of(typing.cast(typing.Hashable, owner))


@functools.cache
def _options_of(owner: Any) -> tuple[Option, ...]:
    if "__dataclass_fields__" not in vars(owner):
        raise BadOption(f"{label(owner)}: the class {owner.__name__} needs @dataclass(frozen=True)")
    fields = [f for f in dataclasses.fields(owner) if f.init and f.metadata.get("option", True)]
    try:
        hints = typing.get_type_hints(owner)
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        raise BadOption(f"{label(owner)}: the type of an option cannot be resolved: {error}") from error
    options = []
    for f in fields:
        try:
            kind = kind_of(hints[f.name])
        except TypeError as error:
            raise BadOption(f"{label(owner)}: option {_kebab(f.name)}: {error}") from error
        default = f.default if f.default_factory is MISSING else f.default_factory()
        item = kind_of(typing.get_args(hints[f.name])[1]) if f.metadata.get("open") else None
        options.append(Option(owner, f.name, kind, default, item))
    return tuple(options)


def build(owner: type[T], texts: Mapping[str, str | None], **given: Any) -> T:
    """An `owner` with its options set from text by name; None is a flag without value, true for a bool.

    Names are kebab-case, and underscores are taken for hyphens. A key that is no option goes into the open option, as
    it is spelt, where there is one. `given` are fields that are no options. OptionError for an unknown, repeated or
    missing option, a value not of its type, and a ValueError of the class's `__post_init__`.
    """
    options = {option.name: option for option in options_of(owner)}
    open_ = next((option for option in options.values() if option.open), None)
    values: dict[str, Any] = {}
    entries: dict[str, Any] = {}
    for key, text in texts.items():
        option = options.get(_kebab(key))
        if option is None and open_ is not None and open_.open is not None:
            entries[key] = _read(open_.owner, open_.open, key, key, text)
            continue
        if option is None:
            known = f"; it has {', '.join(options)}" if options else "; it has none"
            raise OptionError(f"{label(owner)} has no option {key!r}{did_you_mean(_kebab(key), options, known)}", key)
        if option.field in values:
            raise OptionError(f"{label(owner)}: {option.name} is given twice", key)
        values[option.field] = _read(owner, option.kind, option.name, key, text)
    if open_ is not None and entries:
        listed = values.get(open_.field, {})
        if twice := next((key for key in entries if key in listed), None):
            raise OptionError(f"{label(owner)}: {twice} is given twice", twice)
        values[open_.field] = {**listed, **entries}
    missing = [option for option in options.values() if option.required and option.field not in values]
    if missing:
        raise OptionError(f"{label(owner)} needs {missing[0].name}, {missing[0].kind.expected}")
    try:
        return owner(**values, **given)
    except ValueError as error:
        raise OptionError(f"{label(owner)}: {error}") from error


def format_options(owner: Any) -> str:
    """The options of an instance that are not at their defaults, in declared order: `{merge=never}`, or nothing."""
    options = options_of(type(owner))
    texts: list[str] = []
    for option in options:
        value = getattr(owner, option.field)
        if value == option.default:
            continue
        keys: list[str] = []
        if option.open is not None:
            keys = [key for key in value if _is_own_key(key, value, options)]
            texts += [f"{key}={option.open.format(value[key])}" for key in keys]
            value = {key: item for key, item in value.items() if key not in keys}
        if value or not keys:
            texts.append(f"{option.name}={option.kind.format(value)}")
    return "{" + " ".join(texts) + "}" if texts else ""


def _is_own_key(key: str, keys: Iterable[str], options: Iterable[Option]) -> bool:
    """Whether the grammar takes an entry of an open option as an option of its own, and tells it from the others."""
    others = [option.name for option in options] + [_kebab(other) for other in keys if other != key]
    return NAME.fullmatch(key) is not None and _kebab(key) not in others


def label(owner: type) -> str:
    """What messages call the class: a pass's name, else the class's in lower case."""
    return owner.pass_name() if issubclass(owner, Pass) else owner.__name__.lower()


def _read(owner: type, kind: Kind, name: str, key: str, text: str | None) -> Any:
    if text is None:
        if kind is kind_of(bool):
            return True
        raise OptionError(f"{label(owner)}: {name} needs a value, {kind.expected}", key)
    try:
        return kind.parse(text)
    except ValueError as error:
        message = f"{label(owner)}: {name} takes {kind.expected}, not {text or 'nothing'}"
        raise OptionError(message, key, in_value=True) from error


@functools.cache
def _attribute_docs(owner: type) -> dict[str, str]:
    docs: dict[str, str] = {}
    for cls in reversed(owner.__mro__):
        if "__dataclass_fields__" not in vars(cls):
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
        except (OSError, TypeError, SyntaxError):  # a class typed into a shell has no source, hence no docs
            continue
        for declared, below in itertools.pairwise(typing.cast(ast.ClassDef, tree.body[0]).body):
            if isinstance(declared, ast.AnnAssign) and isinstance(declared.target, ast.Name):
                match below:
                    case ast.Expr(value=ast.Constant(value=str(doc))):
                        docs[declared.target.id] = inspect.cleandoc(doc)
    return docs


def _kebab(name: str) -> str:
    return name.replace("_", "-")
