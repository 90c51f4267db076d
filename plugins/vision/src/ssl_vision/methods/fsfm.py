"""FSFM: hide a region of a face whole and the same share of all others, and agree with the full face (arXiv:2412.12032)."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import ConfigError, DataError, Method
from ssl_core.masks import rank_in_item
from ssl_core.modules import AttentionPredictor, Teacher, mlp

from ..images import Images
from ..regions import cells, clustered


class FSFM(Method):
    """A masked autoencoder whose mask follows regions, and a slow copy that sees the whole image.

    Without `regions` they are clusters of patches by place and pixels of the image itself, no parts of a face. A patch is of
    one region, the most frequent of its pixels; the published one may be of several. What agrees with the slow copy is the
    mean of the visible tokens; the published one decodes them first.

    Args:
        regions: an .npy of integers (N, H, W), the map of each image in the order of the data; for views that are not cropped.
        clusters: regions of an image, where no maps are given.
        spared: a region that is never hidden whole, such as the background; -1 for none.
        ratio: share of the patches to hide.
        hidden: width of the decoder; 0 for the encoder's.
        region, agree: weights of the error inside the region, and of agreement, against 1 for the error of all hidden patches.
        momentum: of the slow copy.
        normalize: normalise the pixels of each patch to rebuild.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, regions: Path | None = None, clusters: int = 6,
                 spared: int = -1, ratio: float = 0.75, hidden: int = 512, region: float = 0.007, agree: float = 0.1,
                 momentum: float = 0.996, normalize: bool = False) -> None:
        if not 0 < ratio < 1 or clusters < 2:
            raise ValueError(f"ratio should lie between 0 and 1 and clusters be 2 or more, got {ratio} and {clusters}")
        super().__init__(encoder, augmentation, objective, encoder.input_width)
        self.maps = None if regions is None else read(regions)
        self.decode = AttentionPredictor(encoder.width, encoder.axes, encoder.input_width, hidden, waves=6)
        self.projector = mlp(encoder.width, 512, 256, norm="layer")
        self.predictor = mlp(256, 512, 256, norm="layer")
        self.teacher = Teacher(self.student, momentum)
        self.clusters, self.spared, self.ratio, self.normalize = clusters, spared, ratio, normalize
        self.weights = region, agree

    @property
    def student(self) -> nn.ModuleDict:
        return nn.ModuleDict({"encoder": self.encoder, "projector": self.projector})

    def step(self, batch: Images) -> dict[str, Tensor]:
        (view,) = self.augmentation(batch)
        whole, hidden = chosen(self.regions(view), self.ratio, self.spared)  # (T,) each
        context = self.encoder(view, keep=~hidden)
        guess = self.decode(context, self.encoder.layout(view), hidden)
        wanted = self.encoder.inputs(view)[hidden]
        wanted = F.layer_norm(wanted, wanted.shape[1:]) if self.normalize else wanted
        inside = whole[hidden]
        rebuilt, there = self.compare(guess, wanted), self.compare(guess[inside], wanted[inside])
        slow: Any = self.teacher.copy
        with torch.no_grad():
            full = slow["projector"](slow["encoder"](view).pooled)
        apart = 1 - F.cosine_similarity(self.predictor(self.projector(context.pooled)).float(), full.float(), dim=1).mean()
        loss = rebuilt + self.weights[0] * there + self.weights[1] * apart
        return {"loss": loss, "rebuilt": rebuilt, "region": there, "apart": apart}

    def regions(self, view: Images) -> Tensor:
        """The region of every patch: (B, L)."""
        b, h, w = self.encoder.shape(view)
        if self.maps is None:
            rows = torch.cat([self.encoder.patches(view), 4 * self.encoder.layout(view).position.view(b, h * w, 2)], dim=2)
            return clustered(rows, cells(h, w, self.clusters, rows.device).expand(b, -1), self.clusters)
        if view.ids is None or self.maps.shape[1:] != view.pixels.shape[2:] or int(view.ids.max()) >= len(self.maps):
            raise DataError(f"the maps of regions, {tuple(self.maps.shape)}, lie on {len(self.maps)} images of this size that "
                            f"are not cropped; these are of {tuple(view.pixels.shape[2:])}.\n"
                            f"  Try: augmentation=as-is, or other maps")
        kinds = torch.from_numpy(np.asarray(self.maps[view.ids.cpu().numpy()], dtype=np.int64)).to(view.pixels.device)
        side = self.encoder.patch
        return kinds.view(b, h, side, w, side).transpose(2, 3).reshape(b, h * w, side * side).mode(dim=2).values

    def after_step(self) -> None:
        super().after_step()
        self.teacher.follow(self.student, self.progress)


def chosen(region: Tensor, ratio: float, spared: int = -1) -> tuple[Tensor, Tensor]:
    """One region of each image, (B, L), and what is hidden: all of it and the same share of each other one: (T,), (T,).

    A region that is larger than what may be hidden is hidden in part.
    """
    b, length = region.shape
    count = min(length - 1, max(1, round(length * ratio)))
    same, draw = region[:, :, None] == region[:, None], torch.rand(b, length, device=region.device)
    size = same.sum(dim=2)
    odds = torch.where(region == spared, 1e-9, 1 / size)  # every region alike, however large
    whole = region == region.gather(1, torch.multinomial(odds, 1))
    within = ((draw[:, None] < draw[:, :, None]) & same).sum(dim=2)  # its rank by chance in its region
    order = torch.where(whole, 0.5 * draw, 1 + (within + draw) / size)  # the same share of a region, the same place
    owner = torch.arange(b, device=region.device).repeat_interleave(length, output_size=b * length)
    hidden = rank_in_item((order / 3).flatten(), owner)[0] < count
    return whole.flatten() & hidden, hidden


def read(path: Path) -> Any:
    """Maps (N, H, W), left on the disk.

    Raises:
        ConfigError: no such file, or it holds something else.
    """
    try:
        maps = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the maps of regions in {path}: {error}") from error
    if not isinstance(maps, np.ndarray) or maps.ndim != 3 or maps.dtype.kind not in "iub":
        raise ConfigError(f"{path} should hold integers (N, H, W), holds {getattr(maps, 'dtype', type(maps).__name__)} "
                          f"{getattr(maps, 'shape', '')}")
    return maps
