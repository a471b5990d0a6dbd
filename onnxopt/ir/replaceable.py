"""Why one tensor cannot take another's place."""

from __future__ import annotations

from onnxopt.ir.edit import Edit
from onnxopt.ir.tensor import Constant, Tensor


def obstacle(edit: Edit, old: Tensor, new: Tensor) -> str | None:
    """Why `edit.replace_all_uses(old, new)` would do nothing; None where it would not.

    Asked first, so that a pass announces no rewrite that it then cannot make.
    """
    scopes = edit._output_of.get(old)  # the one fact of a session that it gives nobody else
    if not scopes:
        return None
    if len(scopes) > 1 or scopes[0].outputs.count(old) > 1:
        return f"'{old.name}' is given out twice"
    if isinstance(new, Constant) or new.producer is None:
        kind = "a constant" if isinstance(new, Constant) else "an input"
        return f"'{old.name}' is an output and '{new.name}' {kind}: an output needs a node that produces it"
    if edit.is_output(new):
        return f"'{old.name}' and '{new.name}' are both outputs, and each keeps its name"
    home = edit.scope_of(new.producer)
    if home is not None and home is not scopes[0]:
        return f"'{old.name}' is an output of '{scopes[0].name}' and '{new.name}' is produced outside it"
    return None
