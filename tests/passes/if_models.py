"""What `inline-if` is tried on."""

from __future__ import annotations

from onnxopt import ir
from onnxopt.passes.inline_if import InlineIf
from tests.passes.checks import parse

INLINE = InlineIf()
HEAD = '<ir_version: 10, opset_import: ["" : 17, "local" : 1]>'
BRANCHES = """then_branch = t () => (float[2] t1) { a = Abs (x) t1 = Exp (a) },
              else_branch = e () => (float[2] e1) { a = Neg (x) e1 = Exp (a) }"""


def if_of(branches: str, condition: str = "1", head: str = HEAD, rest: str = "y = Identity (p)") -> ir.Graph:
    return parse(f"""
        {head} g (float[2] x, bool c) => (float[2] y) <bool k = {{{condition}}}> {{ p = If (k) <{branches}> {rest} }}
    """)
