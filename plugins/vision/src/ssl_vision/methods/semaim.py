"""SemAIM: predict patch after patch, from the most telling place outwards (arXiv:2312.10457)."""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Method

from .. import colour
from ..images import Images
from ..vit import patches


class Ask(nn.Module):
    """Each place asks what was shown before it; attention and perceptron, each normalised before and added."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.norm1, self.norm2 = heads, nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.shown, self.out = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, shown: Tensor) -> Tensor:
        """Queries (B, L, D); row t of `shown`, (B, L, D), is what came just before query t -> (B, L, D)."""
        q, k, v = (rows.unflatten(2, (self.heads, -1)).transpose(1, 2)
                   for rows in (self.query(self.norm1(x)), *self.shown(shown).chunk(2, dim=2)))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, heads, L, D / heads)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


class SemAIM(Method):
    """Show the patches in an order that starts where the image says most; each is predicted from those before it.

    Patches are gathered into that order first, so that both streams are plainly causal. The encoder has no class token: the
    mean of all tokens says which patch is the centre, and a learned start stands before the first patch.

    Args:
        blur: standard deviation in pixels of the blur of what is predicted; 0 for none.
        normalize: normalise the pixels of each patch to predict.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, blur: float = 1.0, normalize: bool = True) -> None:
        super().__init__(encoder, augmentation, objective, encoder.input_width)
        width = encoder.width
        self.start = nn.Parameter(nn.init.trunc_normal_(torch.empty(width), std=0.02))
        self.asks = nn.ModuleList(Ask(width, block.heads) for block in encoder.blocks)
        self.decode = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(),
                                    nn.Linear(width, encoder.input_width))
        self.blur, self.normalize = blur, normalize

    def step(self, batch: Images) -> dict[str, Tensor]:
        (view,) = self.augmentation(batch)
        order = self.order(view)  # (B, L)
        guess = self.predicted(view, order)
        return {"loss": self.compare(guess.flatten(0, 1), arranged(self.targets(view), order).flatten(0, 1))}

    def predicted(self, view: Images, order: Tensor) -> Tensor:
        """The patches, each from those before it in the order: (B, L, C * patch * patch)."""
        query = self.encoder.places(view)[order]  # (B, L, D)
        shown = self.encoder.enter(arranged(self.encoder.patches(view), order)) + query
        earlier = torch.ones(order.shape[1], order.shape[1], dtype=torch.bool, device=order.device).tril()
        for block, ask in zip(self.encoder.blocks, self.asks, strict=True):
            shown = block(shown, earlier)
            before = self.encoder.leave(shown[:, :-1])
            query = ask(query, torch.cat([self.start.to(before.dtype).expand(len(order), 1, -1), before], dim=1))
        return self.decode(query)

    @torch.no_grad()
    def order(self, view: Images) -> Tensor:
        """Patches by their distance from the one that is most like the whole image, near ones first: (B, L)."""
        pooled, tokens = self.encoder(view)
        b, h, w = self.encoder.shape(view)
        centre = F.cosine_similarity(pooled[:, None], tokens.view(b, h * w, -1), dim=2).argmax(dim=1)
        place = self.encoder.layout(view).position.view(b, h * w, 2) * torch.tensor([h, w], device=pooled.device)
        distance = (place - place[torch.arange(b), centre][:, None]).norm(dim=2)  # in patches
        return (distance + 1e-3 * torch.rand_like(distance)).argsort(dim=1)  # chance decides between equals

    @torch.no_grad()
    def targets(self, view: Images) -> Tensor:
        """Pixels of each patch: (B, L, C * patch * patch)."""
        pixels = self.encoder.normalized(view.pixels)
        if self.blur:
            pixels = colour.blurred(pixels, pixels.new_full((len(pixels),), self.blur))
        rows = patches(pixels, self.encoder.patch)
        return F.layer_norm(rows, rows.shape[2:]) if self.normalize else rows


def arranged(rows: Tensor, order: Tensor) -> Tensor:
    """Rows (B, L, D) in the order of (B, K): (B, K, D)."""
    return rows.gather(1, order[:, :, None].expand(-1, -1, rows.shape[2]))
