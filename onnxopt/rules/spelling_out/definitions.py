"""An operator by the function that the ONNX specification defines it as (onnx.defs, `function_body`)."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import AttributeProto, FunctionProto, NodeProto, TensorProto, TypeProto, helper, numpy_helper

from onnxopt.ir import dtypes
from onnxopt.ir.known import known_value
from onnxopt.ir.matching import NoMatch
from onnxopt.ir.node import Node
from onnxopt.ir.schema import Schema, find_schema
from onnxopt.ir.tensor import Constant, Tensor, Variable
from onnxopt.ir.values import Array
from onnxopt.opsets.steps import UP
from onnxopt.rules.spelling_out.site import Result, Site
from onnxopt.runtime.session import NotRunnable, Session

_A = AttributeProto
_Value = Tensor | Node | Array | None
_INPUT = "input of the node "
_SMALL = 1 << 20
"""Elements of a value that is worked out."""
_MOST_STEPS = 64


def by_definition(site: Site) -> Result:
    """The body of the function, with the attributes of the node; what depends on sizes alone is worked out."""
    return _Body(site, _schema(site)).outputs()


def by_unrolled_definition(site: Site) -> Result:
    """The same of LinearAttention, which goes along the second axis of its input by a Scan: up to 64 steps of it."""
    steps = site.shape()[1]
    if not 0 < steps <= _MOST_STEPS:
        raise NoMatch(f"{steps} steps: up to {_MOST_STEPS} are unrolled")
    return _Body(site, _schema(site), steps).outputs()


def _schema(site: Site) -> Schema:
    schema = find_schema(site.node.op, None, site.opset)
    if schema is None:
        raise NoMatch("its operator set has no such operator")
    return schema


class _Body:
    def __init__(self, site: Site, schema: Schema, steps: int = 0) -> None:
        self.site, self.steps = site, steps
        self.defaults = {name: each.default_value for name, each in schema.attributes.items()}
        self.function, version = _function(site, schema)
        for each in self.function.node:
            if any(op == each.op_type and version < since <= site.opset for op, since in UP):
                raise NoMatch(f"its definition, of opset {version}, has {each.op_type}, which is another one since")
        self.values: dict[str, _Value] = {"": None}
        for index, name in enumerate(self.function.input):
            self.values[name] = site[index] if site.given(index) else None

    def outputs(self) -> list[Any]:
        for node in self.function.node:
            self._node(node)
        return [self.values[name] if self.site.used(index) else None for index, name in enumerate(self.function.output)]

    def _node(self, node: NodeProto) -> None:
        if node.op_type == "If":
            self._branch(node)
            return
        if node.op_type == "Scan" and self.steps:
            self._scan(node)
            return
        attributes = {each.name: self._attribute(each, node) for each in node.attribute}
        attributes = {name: value for name, value in attributes.items() if value is not None}
        inputs = [self.values[name] for name in node.input]
        if node.op_type == "CastLike" and (index := self._position(inputs[1])) is not None:
            node = helper.make_node("Cast", node.input[:1], node.output)
            inputs, attributes = inputs[:1], {"to": dtypes.to_onnx(self.site.dtype(index))}
        worked_out = self._worked_out(node, inputs, attributes)
        if worked_out is not None:
            self.values.update(zip(node.output, worked_out, strict=True))
            return
        given = [np.asarray(each) if isinstance(each, np.ndarray) else each for each in inputs]
        while given and given[-1] is None:
            given.pop()
        made = {name: _held(value) for name, value in attributes.items()}
        new = self.site.op.make(node.op_type, *given, **made)
        self.values[node.output[0]] = new
        if len(node.output) > 1:
            new.outputs.extend(Variable(self.site.edit.fresh(name)) for name in node.output)
            self.values.update(zip(node.output, new.outputs, strict=True))

    def _branch(self, node: NodeProto) -> None:
        """An If of which the condition is known."""
        condition = self.values[node.input[0]]
        if not isinstance(condition, np.ndarray):
            raise NoMatch("its definition has an If")
        wanted = "then_branch" if condition.item() else "else_branch"
        body = next(each.g for each in node.attribute if each.name == wanted)
        around = dict(self.values)
        for inner in body.node:
            self._node(inner)
        around.update((name, self.values[given.name]) for name, given in zip(node.output, body.output, strict=True))
        self.values = around

    def _scan(self, node: NodeProto) -> None:
        """A Scan of known length, along the first axis of what it reads and gives out."""
        given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        body, read = given.pop("body"), given.pop("num_scan_inputs")
        if given:
            raise NoMatch(f"its definition has a Scan with {', '.join(given)}")
        kept = len(node.input) - read
        states = [self.values[name] for name in node.input[:kept]]
        sequences = [self.values[name] for name in node.input[kept:]]
        rows: list[list[Node]] = [[] for _ in body.output[kept:]]
        around = dict(self.values)
        op, first = self.site.op, np.array([0], np.int64)
        for step in range(self.steps):
            parts = [op.Gather(each, np.array(step, np.int64), axis=0) for each in sequences]
            self.values = around | dict(zip((each.name for each in body.input), [*states, *parts], strict=True))
            for inner in body.node:
                self._node(inner)
            found = [self.values[each.name] for each in body.output]
            states = found[:kept]
            for row, value in zip(rows, found[kept:], strict=True):
                row.append(op.Unsqueeze(value, first))
        joined = [op.Concat(*row, axis=0) for row in rows]
        self.values = around | dict(zip(node.output, [*states, *joined], strict=True))

    def _position(self, value: _Value) -> int | None:
        """Which input of the node a value is."""
        return next((index for index, tensor in enumerate(self.site.node.inputs) if tensor is value), None)

    def _attribute(self, attribute: AttributeProto, node: NodeProto) -> Any:
        if attribute.type in (_A.GRAPH, _A.GRAPHS):
            raise NoMatch(f"its definition has a {node.op_type}")
        if not attribute.ref_attr_name:
            return helper.get_attribute_value(attribute)
        name = attribute.ref_attr_name
        if name in self.site.node.attrs:
            return self.site.attr(name)
        default = self.defaults.get(name)
        return helper.get_attribute_value(default) if default is not None and default.type else None

    def _worked_out(self, node: NodeProto, inputs: list[_Value], attributes: dict[str, Any]) -> list[Array] | None:
        """The values of a node that reads constants alone, or the shape of an input."""
        if node.op_type in ("Shape", "Size") and isinstance(inputs[0], (Tensor, np.ndarray)):
            position = self._position(inputs[0])
            dims: tuple[int | None, ...] | None = inputs[0].shape if isinstance(inputs[0], np.ndarray) else None
            if position is not None:
                dims = self.site.dims(position)
            if dims is not None:
                asked = slice(attributes.get("start"), attributes.get("end"))
                if None in dims[asked]:
                    return None  # it is asked for while the model runs
                inputs = [np.broadcast_to(np.float32(0), [1 if dim is None else dim for dim in dims])]
        inputs = [known if isinstance(x, Tensor) and (known := known_value(x)) is not None else x for x in inputs]
        if any(isinstance(each, (Tensor, Node)) for each in inputs):
            return None
        return _computed(node, inputs, attributes, self.site.opset)


def _held(value: Any) -> Any:
    if isinstance(value, TensorProto):
        return Constant("", numpy_helper.to_array(value))
    return value.decode() if isinstance(value, bytes) else value


def _computed(node: NodeProto, inputs: list[_Value], attributes: dict[str, Any], opset: int) -> list[Array] | None:
    arrays = [np.ascontiguousarray(each) if isinstance(each, np.ndarray) else None for each in inputs]
    if sum(each.size for each in arrays if each is not None) > _SMALL:
        return None
    names = [f"{_INPUT}{index}" if each is not None else "" for index, each in enumerate(arrays)]
    infos = [
        helper.make_tensor_value_info(name, dtypes.to_onnx(each.dtype), each.shape)
        for name, each in zip(names, arrays, strict=True)
        if each is not None
    ]
    made = helper.make_node(node.op_type, names, node.output, **attributes)
    graph = helper.make_graph(
        [made], "node", infos, [helper.make_empty_tensor_value_info(name) for name in node.output]
    )
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=helper.find_min_ir_version_for(imports))
    try:
        found = Session(model).run({name: each for name, each in zip(names, arrays, strict=True) if each is not None})
    except NotRunnable:
        return None
    return [np.asarray(found[name]) for name in node.output]


def _function(site: Site, schema: Schema) -> tuple[FunctionProto, int]:
    """The body at the newest opset that is not newer than the model's."""
    if versions := [each for each in schema.function_opset_versions if each <= site.opset]:  # type: ignore[attr-defined]
        body = schema.get_function_with_opset_version(max(versions))  # type: ignore[attr-defined]
        return FunctionProto.FromString(body), max(versions)
    versions = [each for each in schema.context_dependent_function_opset_versions if each <= site.opset]  # type: ignore[attr-defined]
    if not versions:
        raise NoMatch("the specification has no definition of it for this opset")
    node = NodeProto(op_type=site.node.op)
    node.input.extend(tensor.name for tensor in site.node.inputs)
    node.output.extend(tensor.name for tensor in site.node.outputs)
    for name in site.node.attrs:
        value = site.attr(name)
        if isinstance(value, Constant):
            value = numpy_helper.from_array(value.read())
        node.attribute.append(helper.make_attribute(name, value))
    types = [_type(site, index) for index in range(len(site.node.inputs))]
    given = node.SerializeToString(), [each.SerializeToString() for each in types]
    body = schema.get_context_dependent_function_with_opset_version(max(versions), *given)  # type: ignore[attr-defined]
    return FunctionProto.FromString(body), max(versions)


def _type(site: Site, index: int) -> TypeProto:
    if not site.given(index):
        return TypeProto()
    return helper.make_tensor_type_proto(dtypes.to_onnx(site.dtype(index)), site.dims(index))
