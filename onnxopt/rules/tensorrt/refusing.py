"""What has no other spelling, and why: the reason for those that wonder."""

from __future__ import annotations

from collections.abc import Callable

from onnxopt.rules.spelling_out import NoMatch, Result, Site


def refused(reason: str) -> Callable[[Site], Result]:
    """A spelling that there is none of."""

    def refuse(_site: Site) -> Result:
        raise NoMatch(reason)

    return refuse


CHOOSING = refused(
    "the size of what it gives out depends on the values, and TensorRT for RTX has no kernel for it: let the model end "
    "before it, and choose outside"
)
