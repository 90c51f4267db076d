"""A hierarchical transformer of timm whose patches can be blanked, for masked methods (SwinV2, arXiv:2111.09883)."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.models.swin_transformer_v2 import SwinTransformerV2
from torch import Tensor, nn

from ssl_core import Layout, Representation

from .encoders import Facts, Normalized
from .images import Images
from .vit import gridded, patches


class Swin(nn.Module):
    """SwinV2, of any number of channels. Its tokens are the places of its last map; what is hidden is blanked, not left out.

    Args:
        channels, image_size, mean, std: of the images; from the data.
        patch: side of a patch.
        width: of a token; each stage before the last has half of it, so it is a multiple of 2 ** (stages - 1).
        depths: blocks of each stage; between stages, 2 x 2 places become one.
        window: side of the windows of attention, in places.
        head: width of a head.
        drop_path: share of residual branches dropped while training.
        controlled: scale and shift every stage by how semantic the tokens should be (SOLIDER, arXiv:2303.17602).
        semantic: that number from 0 to 1, where a method does not say it.
    """

    axes = 2

    def __init__(self, channels: int, image_size: tuple[int, int], mean: Facts, std: Facts, patch: int = 4, width: int = 768,
                 depths: tuple[int, ...] = (2, 2, 6, 2), window: int = 7, head: int = 32, drop_path: float = 0.0,
                 controlled: bool = False, semantic: float = 1.0) -> None:
        super().__init__()
        halvings = len(depths) - 1
        self.stride, self.width, self.blank_width = patch * 2**halvings, width, width // 2**halvings
        if width % 2**halvings:
            raise ValueError(f"width should be a multiple of {2**halvings} for {len(depths)} stages, got {width}")
        if any(side % self.stride for side in image_size):
            raise ValueError(f"images of {image_size[0]} x {image_size[1]} do not fall into places of {self.stride} pixels: "
                             f"patch={patch}, doubled {halvings} times by {len(depths)} stages; choose other depths")
        widths = [self.blank_width * 2**i for i in range(len(depths))]
        self.input_width = channels * self.stride**2
        self.normalized = Normalized(mean, std)
        self.body = SwinTransformerV2(tuple(image_size), patch, channels, 0, embed_dim=self.blank_width, depths=tuple(depths),
                                      num_heads=tuple(max(1, w // head) for w in widths), window_size=window,
                                      drop_path_rate=drop_path, strict_img_size=False, dynamic_img_size=True)
        if controlled:
            self.semantic, self.control = semantic, nn.ModuleList(nn.Linear(2, 2 * w) for w in widths)

    def shape(self, images: Images) -> tuple[int, int, int]:
        """Items, and rows and columns of places."""
        b, _, h, w = images.pixels.shape
        if h % self.stride or w % self.stride:
            raise ValueError(f"places of {self.stride} pixels do not divide images of {h} x {w}")
        return b, h // self.stride, w // self.stride

    def layout(self, images: Images) -> Layout:
        """Tokens are places, row after row."""
        return gridded(*self.shape(images), images.pixels.device)

    def inputs(self, images: Images) -> Tensor:
        """The normalised pixels under every place, channel after channel: (T, C * stride * stride)."""
        return patches(self.normalized(images.pixels), self.stride).flatten(0, 1)

    def stages(self, x: Tensor, semantic: Tensor | None) -> Tensor:
        """Patches through all stages: (B, H, W, D) -> (B, H', W', D')."""
        if not hasattr(self, "control"):
            return self.body.layers(x)
        share = x.new_tensor(self.semantic) if semantic is None else semantic.to(x.dtype)
        for stage, control in zip(self.body.layers, self.control, strict=True):
            scale, shift = control(torch.stack([share, 1 - share])).chunk(2)
            x = stage(x) * F.softplus(scale) + shift
        return x

    def forward(self, images: Images, keep: Tensor | None = None, blank: Tensor | None = None,
                semantic: Tensor | None = None) -> Representation:
        """`blank`, (D,) of the first stage: stands for what is hidden; without it zeros do, and its tokens are left out.

        `semantic`, (): in place of the option, where the encoder is `controlled`.
        """
        x = self.body.patch_embed(self.normalized(images.pixels))  # (B, H, W, D)
        if keep is not None:
            finer = self.stride // self.body.patch_embed.patch_size[0]
            seen = keep.view(self.shape(images)).repeat_interleave(finer, dim=1).repeat_interleave(finer, dim=2)[..., None]
            x = torch.where(seen, x, torch.zeros_like(x[0, 0, 0]) if blank is None else blank.to(x.dtype))
        x = self.body.norm(self.stages(x, semantic)).flatten(1, 2)  # (B, L, D)
        if keep is None or blank is not None:
            return Representation(x.mean(dim=1), x.flatten(0, 1))
        share = keep.view(x.shape[:2]) / keep.view(x.shape[:2]).sum(dim=1, keepdim=True)
        return Representation((x * share[:, :, None].to(x.dtype)).sum(dim=1), x.flatten(0, 1)[keep])
