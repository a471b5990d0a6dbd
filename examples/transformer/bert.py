"""BERT (Devlin et al. 2018) of four layers, with weights that were drawn and never trained."""

# mypy: disable-error-code="misc, no-any-return"

from __future__ import annotations

import torch
from torch import Tensor, nn

VOCABULARY, WIDTH, HEADS, LAYERS, LONGEST = 2000, 256, 4, 4, 128


class Attention(nn.Module):
    """Of every position to all that the mask leaves, in heads."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.output = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.normalization = nn.LayerNorm(WIDTH, eps=1e-12)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # noqa: D102
        query, key, value = (_heads(part(x)) for part in (self.query, self.key, self.value))
        scores = torch.matmul(query, key.transpose(-1, -2)) / (WIDTH // HEADS) ** 0.5
        seen = torch.matmul((scores + mask).softmax(-1), value).permute(0, 2, 1, 3).contiguous()
        return self.normalization(self.output(seen.view(seen.size(0), seen.size(1), WIDTH)) + x)


def _heads(x: Tensor) -> Tensor:
    """[batch, sequence, width] to [batch, heads, sequence, width of a head]."""
    return x.view(x.size(0), x.size(1), HEADS, WIDTH // HEADS).permute(0, 2, 1, 3)


class Layer(nn.Module):
    """Attention, and two products with a Gelu between."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention()
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.normalization = nn.LayerNorm(WIDTH, eps=1e-12)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # noqa: D102
        x = self.attention(x, mask)
        return self.normalization(self.down(nn.functional.gelu(self.up(x))) + x)


class Bert(nn.Module):
    """int64 [batch, sequence] ids and mask to float32 [batch, sequence, 256]."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(LONGEST, WIDTH)
        self.normalization = nn.LayerNorm(WIDTH, eps=1e-12)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:  # noqa: D102
        places = torch.arange(input_ids.size(1), device=input_ids.device)[None]
        x = self.normalization(self.words(input_ids) + self.places(places))
        mask = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * torch.finfo(x.dtype).min
        for layer in self.layers:
            x = layer(x, mask)
        return x


def drawn() -> tuple[Bert, dict[str, Tensor]]:
    """The model, no parameter of which is 0 or 1 as a constructor makes them, and ids to compare it on."""
    torch.manual_seed(0)
    model = Bert().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    ids = torch.randint(0, VOCABULARY, (2, 9))
    return model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
