"""LinearAttention: a state for each head, that every step of the sequence adds to and reads."""

from __future__ import annotations

from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types

from onnxopt.backends.coreml.lowering.numbers import float_operand
from onnxopt.backends.coreml.lowering.registry import lowers
from onnxopt.backends.coreml.lowering.site import Site
from onnxopt.backends.coreml.lowering.stepping import Step, in_steps
from onnxopt.backends.coreml.lowering.values import as_mil


@lowers("LinearAttention")
def linear_attention(site: Site) -> list[Any]:
    """S' = exp(g) S + k (x) b (v - k exp(g) S), o = scale q S' ("gated_delta"; the other rules lack g, b, or both).

    As in the operator's function, it is computed in float32 where the model is in float16.
    """
    site.attr("chunk_size")  # how it is computed, not what
    rule = site.only("update_rule", "gated_delta", "linear", "gated", "delta")
    heads, groups = int(site.attr("kv_num_heads")), int(site.attr("q_num_heads"))
    site.require(groups % heads == 0, f"attribute q_num_heads={groups} is no multiple of kv_num_heads={heads}")
    batch, steps, width = site.sizes(0)
    key, value = width // groups, site.sizes(2)[2] // heads
    scale = site.attr("scale", 0.0) or 1 / np.sqrt(key)
    parts = [
        _by_step(_wide(site, 0), [heads, groups // heads, key]),
        _by_step(_wide(site, 1), [heads, 1, key]),
        _by_step(_wide(site, 2), [heads, 1, value]),
    ]
    if rule.startswith("gated"):
        decay = _by_step(_wide(site, 4), [heads, site.sizes(4)[2] // heads, 1])
        parts.append(mb.exp(x=decay))
    if rule.endswith("delta"):
        parts.append(_by_step(_wide(site, 5), [site.sizes(5)[2], 1, 1]))
    state = _wide(site, 3) if site.has(3) else as_mil(np.zeros((batch, heads, key, value), np.float32))
    row = np.zeros((batch, heads, groups // heads, value), np.float32)
    found, (state,) = in_steps(steps, _step(rule, parts), [state], row)
    read = mb.transpose(x=mb.mul(x=found, y=np.float32(scale)), perm=[1, 0, 2, 3, 4])
    kind = "fp16" if site.dtype(0) == np.float16 else "fp32"
    flat = mb.reshape(x=read, shape=[batch, steps, groups * value])
    return [mb.cast(x=flat, dtype=kind, name=site.name), mb.cast(x=state, dtype=kind)]


def _wide(site: Site, index: int) -> Any:
    var = float_operand(site, index)
    return var if var.dtype == types.fp32 else mb.cast(x=var, dtype="fp32")


def _by_step(x: Any, apart: list[int]) -> Any:
    """[batch, steps, heads * ...] as [steps, batch, heads, ...]."""
    batch, steps, _ = x.shape
    return mb.transpose(x=mb.reshape(x=x, shape=[batch, steps, *apart]), perm=[1, 0, 2, 3, 4])


def _step(rule: str, parts: list[Any]) -> Step:
    def step(at: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        (state,) = states
        query, key, value, *rest = (mb.gather(x=part, indices=at, axis=0) for part in parts)
        if rule.startswith("gated"):
            state = mb.mul(x=state, y=rest.pop(0))
        if rule.endswith("delta"):
            value = mb.mul(x=rest.pop(0), y=mb.sub(x=value, y=mb.matmul(x=key, y=state)))
        state = mb.add(x=state, y=mb.matmul(x=key, y=value, transpose_x=True))
        return mb.matmul(x=query, y=state), [state]

    return step
