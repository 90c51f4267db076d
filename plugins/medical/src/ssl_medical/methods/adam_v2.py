"""Adam-v2: wholes know their parts and parts their whole (arXiv:2404.15672)."""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Method
from ssl_core.modules import Teacher, mlp

from .. import warp
from ..augmentations import Views
from ..volumes import Volumes, unit

PARTS = 8  # octants of an anchor


class Granular:
    """An anchor, cubes about its centre, and its eight octants, all of them shown at the size of the cube.

    The first view is the anchor, then come `locals`, then the octants. Anchors have sides of 1, 1/2, ... of the volume's,
    drawn anew for each batch among those that training has come to: it goes from coarse to fine.

    Args:
        locals: cubes with the centre of the anchor. (The paper: 8.)
        local_side: smallest and largest side of those cubes, as a share of the anchor's.
        levels: how many sides of anchors there are.
        gamma, contrast, noise, blur: of each view by itself; see `Views`.
    """

    def __init__(self, locals: int = 2, local_side: tuple[float, float] = (0.4, 0.9), levels: int = 2,
                 gamma: tuple[float, float] = (0.7, 1.5), contrast: float = 0.2, noise: float = 0.05,
                 blur: float = 0.2) -> None:
        if locals < 1 or levels < 1 or not 0 < local_side[0] <= local_side[1] <= 1:
            raise ValueError(f"locals and levels should be 1 or more and local_side two rising shares, got {locals}, {levels} "
                             f"and {local_side}")
        self.locals, self.local_side, self.levels = locals, local_side, levels
        self.look = Views(1, gamma=gamma, contrast=contrast, noise=noise, blur=blur)
        self.level = levels  # how many of them there are now; the method moves it

    def __call__(self, batch: Volumes) -> tuple[Volumes, ...]:
        x, count, device = unit(batch.voxels), len(batch.voxels), batch.voxels.device
        side = 0.5 ** torch.randint(max(1, min(self.level, self.levels)), (count, 1), device=device).float()
        centre = (torch.rand(count, 3, device=device) * 2 - 1) * (1 - side)  # of a box that lies inside, from -1 to 1
        near = [(centre, side * warp.uniform((count, 1), self.local_side, device)) for _ in range(self.locals)]
        octants = torch.cartesian_prod(*[torch.tensor([-0.5, 0.5], device=device)] * 3)
        boxes = [(centre, side), *near, *((centre + side * corner, side / 2) for corner in octants)]
        return tuple(Volumes(self.look.toned(seen(x, *place)), batch.labels) for place in boxes)


def seen(x: Tensor, centre: Tensor, side: Tensor) -> Tensor:
    """The box about `centre` (B, 3), of `side` (B, 1) as a share of the volume's, at the size of the volume."""
    matrix = torch.eye(3, device=x.device) * side[:, :, None]
    return warp.look(x, warp.grid(matrix, centre, x.shape[2:], x.shape[2:]))


class AdamV2(Method):
    """Three terms: cubes about one centre agree; a whole is guessed from its parts; parts are guessed from their whole.

    Targets are a slow copy's. Guesses and targets are compared by cosine, so that none gains by shrinking; the published
    loss is the squared error of rows that are not normalised.

    Args:
        projector: widths of the head of the first term.
        momentum: of the slow copy.
        localize, compose, decompose: weights.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, projector: tuple[int, ...] = (256, 64),
                 momentum: float = 0.996, localize: float = 1.0, compose: float = 1.0, decompose: float = 1.0) -> None:
        super().__init__(encoder, augmentation, objective, projector[-1])
        width = encoder.width
        self.projector = mlp(width, *projector)
        self.whole = mlp(PARTS * width, width, width, norm="layer", activation=nn.GELU)
        self.parts = mlp(width, width, PARTS * width, norm="layer", activation=nn.GELU)
        self.teacher = Teacher(nn.ModuleDict({"encoder": encoder, "projector": self.projector}), momentum)
        self.weights = localize, compose, decompose

    def step(self, batch: Volumes) -> dict[str, Tensor]:
        if hasattr(self.augmentation, "level"):  # from coarse to fine
            self.augmentation.level = 1 + int(self.progress.fraction * self.augmentation.levels)
        views, count = self.augmentation(batch), len(batch.voxels)
        locals, parts = views[1:-PARTS], Volumes(torch.cat([view.voxels for view in views[-PARTS:]]))
        whole = self.encoder(views[0]).pooled
        rows = [self.projector(row) for row in (whole, *(self.encoder(view).pooled for view in locals))]
        of_parts = self.encoder(parts).pooled.view(PARTS, count, -1).transpose(0, 1)  # (B, 8, D)
        slow: Any = self.teacher.copy
        with torch.no_grad():
            target = slow["encoder"](views[0]).pooled
            wanted = slow["encoder"](parts).pooled.view(PARTS, count, -1).transpose(0, 1)
            anchor = slow["projector"](target)
        agree = self.compare(*rows, targets=[anchor])
        compose = unlike(self.whole(of_parts.flatten(1)), target)
        decompose = unlike(self.parts(whole).view(count, PARTS, -1), wanted)
        loss = sum(weight * term for weight, term in zip(self.weights, (agree, compose, decompose), strict=True))
        return {"loss": loss, "localize": agree, "compose": compose, "decompose": decompose}

    def after_step(self) -> None:
        super().after_step()
        self.teacher.follow(nn.ModuleDict({"encoder": self.encoder, "projector": self.projector}), self.progress)


def unlike(guess: Tensor, target: Tensor) -> Tensor:
    """2 - 2 cos of rows, mean over them."""
    return 2 - 2 * F.cosine_similarity(guess.float(), target.float(), dim=-1).mean()
