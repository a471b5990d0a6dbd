"""Models and their inputs, as `tests.frontends.modules:NAME`."""

# mypy: disable-error-code="import-untyped, import-not-found, misc, no-any-return, no-untyped-call"

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Image(nn.Module):
    """Conv, BatchNormalization with statistics of its own, Relu, mean, Linear."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.out = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2)
        self.norm.running_mean.copy_(torch.linspace(-1, 1, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


class Collision(nn.Module):
    """Has a value inside that torch calls `add`."""

    def forward(self, x: Tensor) -> Tensor:
        return (x + 1) * 2 - x


class Named(nn.Module):
    """Several inputs, one of them optional, and outputs by name."""

    def forward(self, ids: Tensor, scale: Tensor, bias: Tensor | None = None) -> dict[str, Tensor]:
        found = ids.float() * scale
        return {"found": found if bias is None else found + bias, "most": ids.amax(1)}


class Random(nn.Module):
    """Gives something else each time."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand_like(x)


def image() -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    with torch.no_grad():
        return Image().eval(), torch.randn(1, 3, 6, 6)


def collision() -> tuple[nn.Module, Any]:
    return Collision().eval(), torch.randn(2, 3)


def named() -> tuple[nn.Module, Any]:
    return Named().eval(), {"scale": torch.tensor(0.5), "ids": torch.randint(0, 9, (2, 3))}


def random() -> tuple[nn.Module, Any]:
    return Random().eval(), (torch.ones(2),)


def training() -> tuple[nn.Module, Any]:
    return Image(), torch.randn(1, 3, 6, 6)


def alone() -> nn.Module:
    return Image().eval()


def fails() -> None:
    raise RuntimeError("no weights here")
