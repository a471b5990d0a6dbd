"""Texts and metadata: the fields that most messages of a model have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from onnxopt.errors import BadModel


def text(field: Any) -> str:
    """A string field of a protobuf message. One that is not UTF-8 comes as bytes, and could not be written back."""
    if type(field) is not str:
        raise BadModel(f"a name or text in the model is not UTF-8: {field!r}")
    return field


def copy_fields(message: Any, out: Any, but: Iterable[str]) -> None:
    """Copy the fields of a message into another of its type, but for those named."""
    for field, value in message.ListFields():
        if field.name in but:
            continue
        if field.is_repeated:
            getattr(out, field.name).extend(value)
        elif field.message_type is not None:
            getattr(out, field.name).CopyFrom(value)
        else:
            setattr(out, field.name, text(value) if field.type == field.TYPE_STRING else value)


def copy_presence(message: Any, out: Any, fields: Iterable[str]) -> None:
    """Texts that are in the file, be they empty: protobuf tells an empty one from none."""
    for field in fields:
        if message.HasField(field):
            setattr(out, field, text(getattr(message, field)))


def write_props(props: dict[str, str], out: Any) -> None:
    """Write metadata into any message that has `metadata_props`, where it differs."""
    if {entry.key: entry.value for entry in out.metadata_props} != props:
        del out.metadata_props[:]
        for key, value in props.items():
            out.metadata_props.add(key=key, value=value)


def read_props(message: Any, holder: Any) -> None:
    """Read doc string and metadata of a message into a tensor or node, where there are any."""
    if message.doc_string:
        holder.doc_string = text(message.doc_string)
    if message.metadata_props:
        holder.metadata_props.update(props_of(message))


def props_of(message: Any) -> dict[str, str]:
    """The metadata of any message that has `metadata_props`; BadModel where a key is there twice."""
    props = {text(entry.key): text(entry.value) for entry in message.metadata_props}
    if len(props) < len(message.metadata_props):
        raise BadModel(
            f"{type(message).__name__} '{message.name}' has two metadata entries of one key: {sorted(props)}"
        )
    return props
