"""The text form: ONNX's own textual syntax, one node a line, weights above 8 elements as a digest in a comment."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from onnx import AttributeProto

from onnxopt.ir.digest import of_text
from onnxopt.ir.exporter import ir_version_for, opset_imports
from onnxopt.ir.graph import Function, Graph
from onnxopt.ir.homes import Homes
from onnxopt.ir.node import Node
from onnxopt.ir.operands import attribute, constant_type, remarks, tensor_data, type_of
from onnxopt.ir.syntax import declared_type, identifier, is_identifier, quoted, shortened
from onnxopt.ir.tensor import Constant, Tensor, Variable

_DOC = 80
"""Characters of a doc string or of a metadata value that are printed."""
_WIDTH = 100
"""Columns after which the inputs and outputs of a graph go on lines of their own."""
Item = tuple[str, list[str]]
"""An entry of a list, and the notes that follow it as a comment."""


def to_text(graph: Graph) -> str:
    """A graph, or one function, in the syntax of `onnx.parser`; deterministic, for people and for comparing.

    What the syntax cannot say stands in comments after `#`: the types of intermediate values, digests of tensors of
    more than 8 elements (whose data are `{...}`), doc strings and metadata of nodes, graphs and functions. Without
    `{...}` in it the text parses to a model of equal nodes, weights, inputs and outputs.
    """
    return "\n".join(lines(graph)) + "\n"


def lines(graph: Graph) -> Iterator[str]:
    """The lines of `to_text`."""
    printer = Printer(graph)
    if isinstance(graph, Function):
        yield from printer.function(graph)
        return
    yield from _header(graph)
    yield from printer.graph(graph, "", "")
    for function in graph.functions:
        yield ""
        yield from printer.function(function)


def _header(graph: Graph) -> Iterator[str]:
    model = graph.model
    version = graph.ir_version or model.ir_version or ir_version_for(graph.opset, bool(graph.functions))
    entries = [f"ir_version: {version}, opset_import: {_opsets(graph)}"]
    fields = [(field, getattr(model, field)) for field in ("producer_name", "producer_version", "domain")]
    entries += [f"{field}: {quoted(text)}" for field, text in fields if text]
    if model.model_version:
        entries.append(f"model_version: {model.model_version}")
    notes = []
    if model.doc_string:
        entries.append(f"doc_string: {shortened(model.doc_string, _DOC)}")
        notes += _whole("doc_string", model.doc_string)
    props = {entry.key: entry.value for entry in model.metadata_props}
    if props:
        entries.append(f"metadata_props: {_props(props)}")
        notes += [note for key, value in props.items() for note in _whole(quoted(key), value)]
    yield "<" + ",\n ".join(entries) + ">"
    for note in notes:
        yield f"# {note}"
    if model.training_info:
        yield f"# training_info: {len(model.training_info)} entries {of_text(model.training_info)}"


def _opsets(graph: Graph) -> str:
    return "[" + ", ".join(f"{quoted(entry.domain)} : {entry.version}" for entry in opset_imports(graph)) + "]"


def _props(props: dict[str, str]) -> str:
    return "[" + ", ".join(f"{quoted(key)}: {shortened(value, _DOC)}" for key, value in props.items()) + "]"


def _whole(what: str, text: str) -> list[str]:
    """Of a shortened text, its length and digest."""
    return [f"{what}: {len(text)} characters, {of_text(text)}"] if len(text) > _DOC else []


class Printer:
    """Prints the scopes and nodes of one model."""

    def __init__(self, main: Graph) -> None:
        self.homes = Homes(main)
        self.names: dict[str, str] = {"": '""'}

    def name(self, name: str) -> str:
        """A name as the syntax wants it."""
        known = self.names.get(name)
        if known is None:
            known = self.names[name] = identifier(name)
        return known

    def graph(self, graph: Graph, indent: str, before: str) -> Iterator[str]:
        """A main graph or subgraph; `before` stands before its name."""
        ins = [self._input(tensor) for tensor in graph.inputs]
        outs = [self._typed(_output_type(graph, tensor), tensor) for tensor in graph.outputs]
        declared = [self._initializer(constant, graph) for constant in self.homes.initializers(graph)]
        declared += [(f"{declared_type(info.type)} {self.name(info.name)}", []) for info in graph.stray_infos]
        head = f"{indent}{before}{self.name(graph.name)} "
        if declared:
            yield from _signature(head, ins, outs, indent, " <")
            yield from _listed(declared, f"{indent}  ")
            yield f"{indent}> {{"
        else:
            yield from _signature(head, ins, outs, indent, " {")
        yield from self._about(graph, f"{indent}  ")
        declared_outputs = set(graph.outputs)
        for node in graph.nodes:
            yield from self.node(node, f"{indent}  ", declared_outputs)
        yield f"{indent}}}"

    def _about(self, graph: Graph, indent: str) -> Iterator[str]:
        """What the syntax has no place for, as comments."""
        if graph.doc_string and not isinstance(graph, Function):
            yield f"{indent}# doc_string: {shortened(graph.doc_string, _DOC)}"
            for note in _whole("doc_string", graph.doc_string):
                yield f"{indent}# {note}"
        if graph.metadata_props:
            yield f"{indent}# metadata_props: {_props(graph.metadata_props)}"
            for key, value in graph.metadata_props.items():
                for note in _whole(quoted(key), value):
                    yield f"{indent}# {note}"
        for tensor in graph.inputs:
            for note in remarks(tensor):
                yield f"{indent}# {self.name(tensor.name)}: {note}"
        for entry in graph.quantization_annotation:
            props = {pair.key: pair.value for pair in entry.quant_parameter_tensor_names}
            yield f"{indent}# quantization_annotation {self.name(entry.tensor_name)}: {_props(props)}"

    def _typed(self, type_: str, tensor: Tensor) -> Item:
        return f"{type_} {self.name(tensor.name)}".lstrip(), []

    def _input(self, tensor: Tensor) -> Item:
        text, notes = self._typed(type_of(tensor), tensor)
        default = tensor.default if isinstance(tensor, Variable) else None
        if default is None:
            return text, notes
        data, notes = tensor_data(default)
        return f"{text} = {data}", notes

    def _initializer(self, constant: Constant, graph: Graph) -> Item:
        data, notes = tensor_data(constant)
        if constant in graph.unused and not constant.outputs and constant not in graph.outputs:
            notes.append("unused")
        return f"{constant_type(constant)} {self.name(constant.name)} = {data}", notes + remarks(constant)

    def function(self, function: Function) -> Iterator[str]:
        """A local function, with its header."""
        entries = [f"domain: {quoted(function.domain)}"]
        if function.overload:
            entries.append(f"overload: {quoted(function.overload)}")
        entries.append(f"opset_import: {_opsets(function)}")
        if function.doc_string:
            entries.append(f"doc_string: {shortened(function.doc_string, _DOC)}")
        yield f"<{', '.join(entries)}>{_comment(_whole('doc_string', function.doc_string))}"
        notes: list[str] = []
        shells = function.attr_shells or {}
        attrs = [
            self.name(name) if value is None else attribute(name, value, shells.get(name), notes)
            for name, value in function.attrs.items()
        ]
        head = self.name(function.name) + (f" <{', '.join(attrs)}>" if attrs else "") + " "
        ins = [self._typed(type_of(tensor), tensor) for tensor in function.inputs]
        outs = [self._typed(type_of(tensor), tensor) for tensor in function.outputs]
        infos = [f"{declared_type(info.type)} {self.name(info.name)}" for info in function.stray_infos]
        between = f" <{', '.join(infos)}>" if infos else ""
        yield from _signature(head, ins, outs, "", f"{between} {{{_comment(notes)}")
        yield from self._about(function, "  ")
        for constant in self.homes.initializers(function):  # written as nodes: a function has no initializers
            data, notes = tensor_data(constant)
            value = f"{constant_type(constant)} {data}"
            yield f"  {self.name(constant.name)} = Constant <value = {value}> (){_comment(notes)}"
        declared_outputs = set(function.outputs)
        for node in function.nodes:
            yield from self.node(node, "  ", declared_outputs)
        yield "}"

    def node(self, node: Node, indent: str = "", declared: Collection[Tensor] = ()) -> Iterator[str]:
        """A node: one line, and with subgraphs these below it. Types of outputs `declared` elsewhere are left out."""
        names = self.names
        head = f"{indent}[{self.name(node.name)}] " if node.name else indent
        try:  # nearly every name is known by its second use
            outs = ", ".join([names[tensor.name] for tensor in node.outputs])
            ins = ", ".join([names[tensor.name] for tensor in node.inputs])
        except KeyError:
            outs = ", ".join([self.name(tensor.name) for tensor in node.outputs])
            ins = ", ".join([self.name(tensor.name) for tensor in node.inputs])
        head = f"{head}{outs} = {operator_text(node.op, node.domain, node.overload)}"
        notes: list[str] = []
        shells = node.attr_shells or {}
        if not node.attrs:
            yield f"{head} ({ins}){self._closing(node, notes, declared)}"
        elif not any(True for _ in node.subgraphs()):
            attrs = [attribute(name, value, shells.get(name), notes) for name, value in node.attrs.items()]
            yield f"{head} <{', '.join(attrs)}> ({ins}){self._closing(node, notes, declared)}"
        else:
            yield f"{head} ({ins}) <"
            last = len(node.attrs) - 1
            for index, (name, value) in enumerate(node.attrs.items()):
                block = self._block(name, value, shells.get(name), f"{indent}  ", notes)
                yield from _separated(block, index < last)
            yield f"{indent}>{self._closing(node, notes, declared)}"

    def _block(
        self, name: str, value: Any, shell: AttributeProto | None, indent: str, notes: list[str]
    ) -> Iterator[str]:
        """An attribute of a node with subgraphs, on lines of its own."""
        if isinstance(value, Graph):
            yield from self.graph(value, indent, f"{self.name(name)} = ")
        elif isinstance(value, list) and any(isinstance(item, Graph) for item in value):
            yield f"{indent}{self.name(name)} = ["
            for index, item in enumerate(value):
                yield from _separated(self.graph(item, f"{indent}  ", ""), index + 1 < len(value))
            yield f"{indent}]"
        else:
            yield indent + attribute(name, value, shell, notes)

    def _closing(self, node: Node, notes: list[str], declared: Collection[Tensor]) -> str:
        """The comment at the end of a node: notes on its attributes, types of its outputs, doc string, metadata."""
        types = [type_of(tensor) if tensor.name else "" for tensor in node.outputs]
        if any(text and tensor not in declared for text, tensor in zip(types, node.outputs, strict=True)):
            notes.append(", ".join(text or "?" for text in types))
        if "doc_string" in node.__dict__ or "_metadata_props" in node.__dict__:
            notes += remarks(node)
        for tensor in node.outputs:
            if tensor.doc_string or "_metadata_props" in tensor.__dict__:
                notes += [f"{self.name(tensor.name)}: {note}" for note in remarks(tensor)]
        if node.shell is not None and node.shell.device_configurations:
            notes.append(f"device_configurations {of_text(node.shell)}")
        return _comment(notes)


def _output_type(graph: Graph, tensor: Tensor) -> str:
    info = graph.output_infos.get(tensor)
    return type_of(tensor) if info is None or not isinstance(tensor, Constant) else declared_type(info.type)


def operator_text(op: str, domain: str | None, overload: str = "") -> str:
    """`Add`, `com.example.Add:overload`."""
    parts = [*domain.split("."), op] if domain else [op]
    text = ".".join(part if is_identifier(part) else quoted(part) for part in parts)
    return f"{text}:{identifier(overload)}" if overload else text


def _signature(head: str, ins: list[Item], outs: list[Item], indent: str, tail: str) -> Iterator[str]:
    line = f"{head}({', '.join(text for text, _ in ins)}) => ({', '.join(text for text, _ in outs)})"
    if len(line) <= _WIDTH and not any(notes for _, notes in ins):
        yield line + tail
        return
    if ins:
        yield f"{head}("
        yield from _listed(ins, f"{indent}  ")
        yield f"{indent}) => ("
    else:
        yield f"{head}() => ("
    yield from _listed(outs, f"{indent}  ")
    yield f"{indent}){tail}"


def _listed(items: list[Item], indent: str) -> Iterator[str]:
    for index, (text, notes) in enumerate(items):
        yield f"{indent}{text}{',' * (index + 1 < len(items))}{_comment(notes)}"


def _separated(block: Iterable[str], has_next: bool) -> Iterator[str]:
    """The lines of a block, with a comma after its last line where another block follows."""
    held: str | None = None
    for line in block:
        if held is not None:
            yield held
        held = line
    if held is not None:
        yield held + "," * has_next


def _comment(notes: list[str]) -> str:
    return f"  # {'; '.join(notes)}" if notes else ""
