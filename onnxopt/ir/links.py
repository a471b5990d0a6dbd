"""The two-way links between nodes and tensors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, SupportsIndex


class Links(list[Any]):
    """A list of nodes or tensors that keeps the other side's list in step.

    Stands in for graphsurgeon's `SynchronizedList`, and mends it: `extend` takes any iterable (a generator lost its
    back-links), slices can be assigned and deleted, removal is by identity, and an instance carries no `__dict__`.
    `field` names the list on the elements that points back at `owner`.
    """

    __slots__ = ("field", "owner")

    def __init__(self, owner: object, field: str, initial: Iterable[Any] = ()) -> None:
        self.owner = owner
        self.field = field
        if initial:
            self.extend(initial)

    def _link(self, elem: Any) -> None:
        list.append(getattr(elem, self.field), self.owner)

    def _unlink(self, elem: Any) -> None:
        remove_identical(getattr(elem, self.field), self.owner)

    def append(self, elem: Any) -> None:
        """Add one element at the end."""
        self._link(elem)  # first: what is no tensor or node must not get into the list
        super().append(elem)

    def extend(self, elems: Iterable[Any]) -> None:
        """Add elements at the end."""
        for elem in list(elems):
            self.append(elem)

    def insert(self, index: SupportsIndex, elem: Any) -> None:
        """Add one element before `index`."""
        self._link(elem)
        super().insert(index, elem)

    def remove(self, elem: Any) -> None:
        """Remove the first occurrence of this very element; ValueError where there is none."""
        for index, candidate in enumerate(self):
            if candidate is elem:
                del self[index]
                return
        raise ValueError(f"{elem!r} is not in the list")

    def pop(self, index: SupportsIndex = -1) -> Any:
        """Remove and return the element at `index`."""
        elem = super().pop(index)
        self._unlink(elem)
        return elem

    def clear(self) -> None:
        """Remove every element."""
        for elem in self:
            self._unlink(elem)
        super().clear()

    def __setitem__(self, index: Any, value: Any) -> None:
        old = self[index] if isinstance(index, slice) else [self[index]]
        new = list(value) if isinstance(index, slice) else [value]
        ends = [getattr(elem, self.field) for elem in new]
        super().__setitem__(index, new if isinstance(index, slice) else value)
        for elem in old:
            self._unlink(elem)
        for end in ends:
            list.append(end, self.owner)

    def __delitem__(self, index: Any) -> None:
        old = self[index] if isinstance(index, slice) else [self[index]]
        super().__delitem__(index)
        for elem in old:
            self._unlink(elem)

    def __iadd__(self, elems: Iterable[Any]) -> Links:
        self.extend(elems)
        return self

    def __add__(self, other: Iterable[Any]) -> list[Any]:
        return list(self) + list(other)

    def __copy__(self) -> list[Any]:
        return list(self)

    def __deepcopy__(self, memo: object) -> list[Any]:
        return list(self)


class Linked:
    """What has `inputs` and `outputs`: assigning to one fills the list that is there, as in graphsurgeon."""

    def __setattr__(self, name: str, value: Any) -> None:
        links = self.__dict__.get(name) if name in ("inputs", "outputs") else None
        if links is None:
            object.__setattr__(self, name, value)
        elif links is not value:  # `node.inputs += ...` assigns the list to itself
            links[:] = value

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TypeError(f"{self!r} cannot be taken out of its graph; use its method copy(), or onnxopt.ir.save")


def remove_identical(items: list[Any], item: object) -> None:
    """Remove one occurrence of this very object; ValueError where there is none.

    Looks from both ends: who rewires the readers of a tensor one by one goes forwards or backwards through them.
    """
    for index, (first, last) in enumerate(zip(items, reversed(items), strict=True)):
        if first is item or last is item:
            list.__delitem__(items, index if first is item else -1 - index)
            return
    raise ValueError(f"{item!r} is not in the list")
