"""MixedAE: unmix images of which a quarter of the patches each were mixed into one (arXiv:2303.17152)."""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_core import DataError, Layout, Method, Representation
from ssl_core.modules import AttentionPredictor, mlp

from ..images import Images


class MixedAE(Method):
    """Mix groups of images patch by patch, have patches find those of their own image, and rebuild every image.

    Tokens are unmixed before they are decoded, so none needs a mark of the image that it is from. Images that do not fill
    a group are left out of the step.

    Args:
        parts: images in a group; each gives as many patches.
        hidden: width of the decoder; 0 for the encoder's.
        recognise: weight of the contrast among patches of a mixed image, with those of the same image as positives.
        temperature: of that contrast.
        first: the first block, counted from 0, whose queries see only the `1 / parts` of the patches most like them.
        normalize: normalise the pixels of each patch to rebuild.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, parts: int = 4, hidden: int = 512,
                 recognise: float = 0.1, temperature: float = 0.25, first: int = 1, normalize: bool = True) -> None:
        if parts < 2:
            raise ValueError(f"parts should be 2 or more, got {parts}")
        super().__init__(encoder, augmentation, objective, encoder.input_width)
        self.decode = AttentionPredictor(encoder.width, encoder.axes, encoder.input_width, hidden, waves=6)
        self.projector = mlp(encoder.width, encoder.width, 128, norm="layer")
        self.parts, self.recognise, self.temperature = parts, recognise, temperature
        self.first, self.normalize = first, normalize

    def step(self, batch: Images) -> dict[str, Tensor]:
        (view,) = self.augmentation(batch)
        groups = len(view.pixels) // self.parts
        if not groups:
            raise DataError(f"MixedAE mixes {self.parts} images, and a batch holds {len(view.pixels)}.\n"
                            f"  Try: a larger data.batch_size")
        view = Images(view.pixels[: groups * self.parts])
        pixels = self.encoder.patches(view)  # (B, L, P)
        source = partition(groups, pixels.shape[1], self.parts, pixels.device)  # (G, L)
        tokens = self.encoded(mixed(pixels, source, self.parts), self.encoder.places(view))  # (G, L, D)
        mine = source[:, None] == torch.arange(self.parts, device=source.device)[:, None]  # (G, parts, L)
        seen = tokens[:, None].expand(-1, self.parts, -1, -1)[mine]  # image after image
        layout: Layout = self.encoder.layout(view)
        guess = self.decode(Representation(pixels[:, 0], seen), layout, ~mine.flatten())
        wanted = pixels.flatten(0, 1)[~mine.flatten()]
        rebuilt = self.compare(guess, F.layer_norm(wanted, wanted.shape[1:]) if self.normalize else wanted)
        found = recognition(self.projector(tokens), source, self.temperature)
        return {"loss": rebuilt + self.recognise * found, "rebuilt": rebuilt, "recognised": found}

    def encoded(self, x: Tensor, place: Tensor) -> Tensor:
        """Mixed patches (G, L, P) -> tokens (G, L, D)."""
        x = self.encoder.enter(x) + place
        for i, block in enumerate(self.encoder.blocks):
            x = block(x, None if i < self.first else alike(block, x, max(1, x.shape[1] // self.parts)))
        return self.encoder.leave(x)


def partition(groups: int, length: int, parts: int, device: torch.device) -> Tensor:
    """Which image of its group each place is from, as many places from each: (groups, length)."""
    return torch.rand(groups, length, device=device).argsort(dim=1).argsort(dim=1) % parts


def mixed(rows: Tensor, source: Tensor, parts: int) -> Tensor:
    """Patches (G * parts, L, P), of which each place of (G, L) takes one: (G, L, P)."""
    grouped = rows.unflatten(0, (-1, parts))
    return grouped.gather(1, source[:, None, :, None].expand(-1, -1, -1, rows.shape[2]))[:, 0]


@torch.no_grad()
def alike(block: Any, x: Tensor, count: int) -> Tensor:
    """Which `count` keys each query of a block scores highest: (B, L, D) -> (B, heads, L, L) bool."""
    q, k, _ = block.projections(x)
    score = q @ k.transpose(2, 3)
    return score >= score.topk(count, dim=3).values[..., -1:]


def recognition(rows: Tensor, source: Tensor, temperature: float) -> Tensor:
    """Mean over tokens and their positives, the other tokens of the same image, of -log softmax: (G, L, D), (G, L) -> ()."""
    with torch.autocast(rows.device.type, enabled=False):
        rows = F.normalize(rows.float() if rows.itemsize < 4 else rows, dim=2)
        itself = torch.eye(rows.shape[1], dtype=torch.bool, device=rows.device)
        odds = (rows @ rows.transpose(1, 2) / temperature).masked_fill(itself, float("-inf")).log_softmax(dim=2)
        same = (source[:, :, None] == source[:, None]) & ~itself
        each = -odds.masked_fill(~same, 0).sum(dim=2) / same.sum(dim=2).clamp(min=1)
        return each.mean()
