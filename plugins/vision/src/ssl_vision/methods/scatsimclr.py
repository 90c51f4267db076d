"""ScatSimCLR: contrast, and tell how an image was turned and shuffled (arXiv:2108.13939)."""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Method
from ssl_core.modules import mlp

from ..augmentations import far_apart, rearranged
from ..images import Images


class ScatSimCLR(Method):
    """SimCLR, usually behind a fixed scattering transform, with two pretext classes to predict from the representation.

    One view is turned by a random quarter, the other has its tiles shuffled, each image by itself.

    Args:
        projector: widths of the head.
        rotation, jigsaw: weights of both pretexts; 0 for none.
        side: tiles of the puzzle along each axis.
        orders: orders of the tiles to tell apart.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, projector: tuple[int, ...] = (2048, 128),
                 rotation: float = 0.2, jigsaw: float = 0.2, side: int = 2, orders: int = 12) -> None:
        super().__init__(encoder, augmentation, objective, projector[-1])
        if side not in (2, 3) or rotation < 0 or jigsaw < 0:
            raise ValueError(f"side should be 2 or 3, and weights not below 0; got {side}, {rotation} and {jigsaw}")
        self.projector, self.side = mlp(encoder.width, *projector), side
        self.weights = {"rotation": rotation, "jigsaw": jigsaw}
        self.register_buffer("orders", torch.tensor(far_apart(side**2, orders)), persistent=False)  # (R, tiles)
        classes = {"rotation": 4, "jigsaw": orders}
        self.heads = nn.ModuleDict({name: nn.Linear(encoder.width, classes[name]) for name, w in self.weights.items() if w})

    def step(self, batch: Images) -> dict[str, Tensor]:
        a, b = self.augmentation(batch)
        contrast = self.compare(*(self.projector(self.encoder(view).pooled) for view in (a, b)))
        shown = {"rotation": self.turned, "jigsaw": self.shuffled}
        pretexts = {name: self.pretext(name, *shown[name](view.pixels))
                    for name, view in (("rotation", a), ("jigsaw", b)) if name in self.heads}
        loss = contrast + sum(self.weights[name] * value for name, value in pretexts.items())
        return {"loss": loss, "contrast": contrast} | pretexts

    def pretext(self, name: str, pixels: Tensor, drawn: Tensor) -> Tensor:
        return F.cross_entropy(self.heads[name](self.encoder(Images(pixels)).pooled).float(), drawn)

    def turned(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Each image turned by so many quarters: (B, C, H, W), (B,)."""
        if x.shape[2] != x.shape[3]:
            raise ValueError(f"turns by a quarter need square images, got {tuple(x.shape[2:])}; or method.rotation=0")
        drawn, row = torch.randint(4, (len(x),), device=x.device), torch.arange(len(x), device=x.device)
        return torch.stack([torch.rot90(x, k, (2, 3)) for k in range(4)])[drawn, row], drawn

    def shuffled(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The tiles of each image in one of the orders: (B, C, H, W), (B,)."""
        drawn = torch.randint(len(self.orders), (len(x),), device=x.device)
        return rearranged(x, self.orders[drawn], self.side), drawn
