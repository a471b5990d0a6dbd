"""The last pass over a MIL program: every constant becomes the smallest form that gives the same numbers.

What is left then is the program itself, most of which is names: see `naming`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
from coremltools.converters.mil.mil.passes.helper import block_context_manager
from coremltools.converters.mil.mil.passes.pass_registry import register_pass

from onnxopt.backends.coreml.encoders import forms
from onnxopt.backends.coreml.encoders.affine import Affine, Known
from onnxopt.backends.coreml.encoders.forms import Form
from onnxopt.backends.coreml.encoders.naming import share_small_constants, shorten_names

Array = npt.NDArray[Any]
PASS = "onnxopt::store_constants"
_SMALLEST = 512
"""Bytes of a constant below which no form is smaller."""
_WORTH = 16
"""Less than this part of a constant is not worth a line to anybody."""


@dataclass
class Storing:
    """What shall be stored, and what became of it."""

    target: Any
    affines: list[Affine] = field(default_factory=list)
    """What the graph has in integers."""
    kinds: Counter[str] = field(default_factory=Counter)
    """How many constants have which form, small ones left out."""
    lost: dict[str, list[int]] = field(default_factory=dict)
    """By the form that iOS 18 has for them: how many bytes each constant would have been smaller."""
    dropped: list[tuple[str, int]] = field(default_factory=list)
    """Constants in integers whose scales float16 does not hold, and the bytes that they would have been smaller."""

    def notes(self) -> list[str]:
        """What the target cannot encode, a line for each form."""
        found = [
            f"{self.target.name} cannot store {len(saved)} constant{'s' * (len(saved) > 1)} as {kind}, as iOS18 can: "
            f"{sum(saved):,} bytes more"
            for kind, saved in sorted(self.lost.items())
        ]
        found += [
            f"the scales of '{name}' are too small for float16: stored in float, {saved:,} bytes more; "
            f"precision=float32 keeps its integers"
            for name, saved in self.dropped
        ]
        return found


@register_pass(namespace="onnxopt")
class store_constants(AbstractGraphPass):  # type: ignore[misc]  # noqa: N801  coremltools has no types, and names it so
    """Replace constants by operations that make them; see `Storing`, which is the option `storing`."""

    storing: Storing | None = None

    def apply(self, prog: Any) -> None:
        """Edit every block of every function."""
        assert self.storing is not None
        known = Known(self.storing.affines)
        for function in prog.functions.values():
            _store_in(function, self.storing, known)
            share_small_constants(function)
            shorten_names(function)


@block_context_manager  # type: ignore[untyped-decorator]
def _store_in(block: Any, storing: Storing, known: Known) -> None:
    for operation in list(block.operations):
        for inner in operation.blocks:
            _store_in(inner, storing, known)
        if operation.op_type == "const" and _may_be_encoded(operation, block):
            _store(operation, storing, known)


def _may_be_encoded(operation: Any, block: Any) -> bool:
    """Floats of rank 2 at least: coremltools itself stores vectors as they are, for Core ML has had a bug there."""
    array = operation.outputs[0].val
    return (
        isinstance(array, np.ndarray)
        and array.dtype in (np.float32, np.float16)
        and array.ndim >= 2
        and array.nbytes >= _SMALLEST
        and operation.outputs[0] not in block.outputs
        and bool(np.isfinite(array).all())
    )


def _store(operation: Any, storing: Storing, known: Known) -> None:
    var = operation.outputs[0]
    found = known.find(var.val)
    affine = None if found is None else found.in_dtype(var.val.dtype)
    plain = forms.dense(var.val)
    best = smallest(var.val, affine, storing.target)
    ideal = smallest(var.val, affine, max(storing.target, forms.NEWEST))
    if ideal.kind != best.kind and best.cost - ideal.cost > best.cost // _WORTH:
        storing.lost.setdefault(ideal.kind, []).append(best.cost - ideal.cost)
    if found is not None and affine is None and best.cost >= plain.cost:
        storing.dropped.append((var.name, plain.cost - forms.blocks(found).cost))
    storing.kinds[best.kind] += 1
    if best.kind == "dense":
        return
    block = operation.enclosing_block
    new = best.build(name=f"{operation.name}_stored", before_op=operation)
    block.replace_uses_of_var_after_op(
        anchor_op=operation, old_var=var, new_var=new, no_check_var_types=True, force_replace=True
    )
    block.remove_ops([operation])
    new.name = new.op.name = var.name


def smallest(array: Array, affine: Affine | None, target: Any) -> Form:
    """The form with the fewest bytes that a target has for a constant.

    Args:
        array: Finite floats, of rank 2 at least.
        affine: The same numbers as integers, where the graph has them.
        target: The deployment target, as coremltools has it.
    """
    found = [forms.dense(array)]
    if target >= forms.OLDEST:
        found += [forms.sparse(array, target), *_given(forms.palette(array, target))]
        found += [] if affine is None else _given(forms.integers(affine))
    if target >= forms.NEWEST:
        found += [*_given(forms.palettes(array)), *_given(forms.sparse_palette(array))]
        found += [] if affine is None else [forms.blocks(affine), *_given(forms.sparse_blocks(affine))]
    return min(found, key=lambda form: form.cost)


def _given(form: Form | None) -> list[Form]:
    return [] if form is None else [form]
