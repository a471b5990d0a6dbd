"""The value infos of a graph, handed out to the tensors that they declare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from onnx import ValueInfoProto

from onnxopt.ir.tensor import Constant, Tensor


class ValueInfos:
    """By name. A file may declare a name twice, or one that stands for nothing."""

    def __init__(self, infos: Iterable[ValueInfoProto]) -> None:
        self._infos: dict[str, list[ValueInfoProto]] = {}
        for info in infos:
            self._infos.setdefault(info.name, []).append(info)

    def take(self, name: str) -> ValueInfoProto | None:
        """The first one of a name, which then is taken."""
        many = self._infos.get(name)
        return many.pop(0) if many else None

    def strays(self, tensors: Mapping[str, Tensor]) -> list[ValueInfoProto]:
        """Those that nobody took, but for one that each constant gets."""
        for name, many in self._infos.items():
            tensor = tensors.get(name)
            if many and isinstance(tensor, Constant) and tensor.info is None:
                tensor.info = many.pop(0)
        return [info for many in self._infos.values() for info in many]
