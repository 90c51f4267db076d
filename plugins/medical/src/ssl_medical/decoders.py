"""From an encoder's maps back to voxels: for methods that restore volumes, and for segmentation."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import ConfigError


def with_maps(encoder: Any, who: str) -> Any:
    """The encoder, if it gives maps.

    Raises:
        ConfigError: it does not; names those that do.
    """
    if not hasattr(encoder, "features"):
        raise ConfigError(f"{who} needs an encoder that gives maps (`features`), which {type(encoder).__name__} does not.\n"
                          f"  Try: encoder=unet3d, resnet3d, swin or vit3d")
    return encoder


def conv(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    """Convolution, group norm, activation; the norm leaves out what a batch of one or two would spoil."""
    groups = next(n for n in (8, 4, 2, 1) if outputs % n == 0)
    return nn.Sequential(nn.Conv3d(inputs, outputs, kernel, padding=kernel // 2), nn.GroupNorm(groups, outputs),
                         nn.LeakyReLU(0.1))


class Decoder(nn.Module):
    """Maps of all scales, from coarse to fine: enlarge, add the next finer map, convolve; then on to single voxels.

    Args:
        maps: channels of the encoder's maps, fine to coarse.
        strides: of those maps, in voxels.
        outputs: channels of the result.
        width: channels inside.
        image: channels of the volume itself, added at the finest scale where the encoder has no map of stride 1; 0 for not.
    """

    def __init__(self, maps: Sequence[int], strides: Sequence[int], outputs: int, width: int = 16, image: int = 0) -> None:
        super().__init__()
        self.sides = nn.ModuleList(nn.Conv3d(channels, width, 1) for channels in maps)
        self.body = nn.ModuleList(conv(width, width) for _ in maps[1:])
        further = max(0, int(strides[0]).bit_length() - 1)  # doublings between the finest map and voxels
        self.on = nn.ModuleList(conv(width, width) for _ in range(further))
        self.image = conv(image, width) if image and further else None
        self.leave = nn.Conv3d(width, outputs, 1)

    def forward(self, maps: Sequence[Tensor], shape: Sequence[int], image: Tensor | None = None) -> Tensor:
        """Maps (B, C, X', Y', Z') fine to coarse -> (B, outputs, *shape)."""
        return self.leave(self.inner(maps, shape, image))

    def inner(self, maps: Sequence[Tensor], shape: Sequence[int], image: Tensor | None = None) -> Tensor:
        """The same before the last layer, (B, width, *shape)."""
        x = self.sides[-1](maps[-1])
        for side, body, finer in zip(reversed(self.sides[:-1]), reversed(self.body), reversed(maps[:-1]), strict=True):
            x = body(enlarged(x, finer.shape[2:]) + side(finer))
        for i, layer in enumerate(self.on):
            left = 2 ** (len(self.on) - 1 - i)
            x = enlarged(x, [-(-n // left) for n in shape])
            if left == 1 and self.image is not None and image is not None:
                x = x + self.image(image)
            x = layer(x)
        return x if x.shape[2:] == torch.Size(shape) else enlarged(x, shape)


def enlarged(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Trilinear, to the shape of a finer map."""
    return F.interpolate(x, tuple(shape), mode="trilinear", align_corners=False)


class Blockwise(nn.Module):
    """A linear map from each place of the coarsest map to the voxels of its block (SimMIM's head, arXiv:2111.09886).

    Args:
        channels: of the coarsest map.
        stride: side of a block in voxels.
        outputs: channels of the result.
    """

    def __init__(self, channels: int, stride: int, outputs: int) -> None:
        super().__init__()
        self.stride, self.outputs, self.leave = stride, outputs, nn.Conv3d(channels, outputs * stride**3, 1)

    def forward(self, maps: Sequence[Tensor], shape: Sequence[int], image: Tensor | None = None) -> Tensor:
        """(B, outputs, *shape); where blocks reach over the edge, they are cut."""
        x, s = self.leave(maps[-1]), self.stride
        b, _, i, j, k = x.shape
        x = x.view(b, self.outputs, s, s, s, i, j, k).permute(0, 1, 5, 2, 6, 3, 7, 4)
        return x.reshape(b, self.outputs, i * s, j * s, k * s)[:, :, : shape[0], : shape[1], : shape[2]]
