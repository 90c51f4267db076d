"""MONAI's networks as encoders. Each takes a `Volumes` batch and normalises its voxels itself.

Facts of the data that they ask for: `channels`, and `mean` and `std` of each channel. Beside the pooled row each gives its
maps from fine to coarse (`features`), of `maps` channels at `strides` voxels, for decoders. Group norm replaces the batch
norm of the originals: batches are small, and instance norm would erase how bright a volume is.
"""
from __future__ import annotations

from typing import Any

from monai.networks.nets import BasicUNet, ResNet
from monai.networks.nets.swin_unetr import SwinTransformer
from torch import Tensor, nn

from ssl_core import Representation

from . import monai_names
from .vit import Facts, Normalized
from .volumes import Volumes


def pooled(maps: list[Tensor]) -> Representation:
    """The mean over places of the coarsest map."""
    return Representation(maps[-1].mean(dim=(2, 3, 4)))


def groups(width: int) -> tuple[str, dict[str, Any]]:
    """Group norm as MONAI writes it, for layers of `width` channels and multiples of it."""
    return "group", {"num_groups": next(n for n in (8, 4, 2, 1) if width % n == 0)}


class ResNet3D(nn.Module):
    """MONAI's ResNet with basic blocks (arXiv:1512.03385).

    Args:
        channels, mean, std: of the cubes; from the data.
        width: of the representation: channels of the last stage; the first has an eighth. (ResNet-18: 512.)
        layers: blocks of each of the four stages. (ResNet-18: 2,2,2,2.)
        stem: kernel of the first convolution. (ResNet-18: 7.)
        stride: of the first convolution. (MONAI's default: 1.)
        pool: halve the cube once more after the stem; for cubes of 64 and more.
    """

    def __init__(self, channels: int, mean: Facts, std: Facts, width: int = 128,
                 layers: tuple[int, int, int, int] = (1, 1, 1, 1), stem: int = 3, stride: int = 2,
                 pool: bool = False) -> None:
        super().__init__()
        if width % 32 or min(layers) < 1 or stride not in (1, 2):
            raise ValueError(f"width should be a multiple of 32, each stage have a block, and stride be 1 or 2, got {width}, "
                             f"{layers} and {stride}")
        self.width, self.normalized = width, Normalized(mean, std)
        planes = [width // 8, width // 4, width // 2, width]
        self.body = ResNet("basic", list(layers), planes, n_input_channels=channels, conv1_t_size=stem, conv1_t_stride=stride,
                           no_max_pool=not pool, feed_forward=False, norm=groups(planes[0]))
        self.body.act = nn.ReLU()
        self.maps, first = (planes[0], *planes), 2 * stride if pool else stride
        self.strides = (stride, first, 2 * first, 4 * first, 8 * first)

    def features(self, batch: Volumes) -> list[Tensor]:
        """Maps after the stem and after each stage, (B, C, X', Y', Z')."""
        body = self.body
        found = [body.act(body.bn1(body.conv1(self.normalized(batch.voxels))))]
        x = found[0] if body.no_max_pool else body.maxpool(found[0])
        for stage in (body.layer1, body.layer2, body.layer3, body.layer4):
            x = stage(x)
            found.append(x)
        return found

    def forward(self, batch: Volumes) -> Representation:
        return pooled(self.features(batch))


class UNetEncoder(nn.Module):
    """The way down of MONAI's BasicUNet (arXiv:1505.04597).

    Args:
        channels, mean, std: of the cubes; from the data.
        width: of the representation: channels of the coarsest map; the finest has an eighth. (MONAI's default: 256.)
    """

    def __init__(self, channels: int, mean: Facts, std: Facts, width: int = 128) -> None:
        super().__init__()
        if width % 32:
            raise ValueError(f"width should be a multiple of 32, got {width}")
        self.width, self.channels, self.normalized = width, channels, Normalized(mean, std)
        self.maps = (width // 8, width // 8, width // 4, width // 2, width)
        self.strides = (1, 2, 4, 8, 16)
        whole = self.whole(2)
        self.stages = nn.ModuleList([whole.conv_0, whole.down_1, whole.down_2, whole.down_3, whole.down_4])
        for module in self.modules():  # MONAI's own activations work in place, which the maps that are kept must not suffer
            if isinstance(module, nn.LeakyReLU):
                module.inplace = False

    def whole(self, classes: int) -> BasicUNet:
        """The network of MONAI that this is the first half of, with fresh weights."""
        return BasicUNet(3, self.channels, classes, (*self.maps, self.maps[0]), norm=groups(self.maps[0]))

    def translate(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """MONAI's names of the weights of a BasicUNet as ours, for `--init`."""
        return monai_names.unet(state)

    def features(self, batch: Volumes) -> list[Tensor]:
        """Maps of each stage, (B, C, X', Y', Z'); sides should be multiples of 16."""
        found, x = [], self.normalized(batch.voxels)
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found

    def forward(self, batch: Volumes) -> Representation:
        return pooled(self.features(batch))


class SwinEncoder(nn.Module):
    """The encoder of MONAI's Swin UNETR (arXiv:2111.14791, arXiv:2201.01266).

    Args:
        channels, mean, std: of the cubes; from the data.
        width: of the representation: channels of the coarsest map; the first embedding has a 16th. (The paper: 768.)
        depths: blocks of each stage. (The paper: 2,2,2,2.)
        heads: of attention in each stage; each divides the channels of its stage. (The paper: 3,6,12,24.)
        window: side of the attention's windows, in tokens. (The paper: 7.)
        second: a convolution at the start of each stage (Swin UNETR v2).
    """

    def __init__(self, channels: int, mean: Facts, std: Facts, width: int = 192,
                 depths: tuple[int, int, int, int] = (1, 1, 1, 1), heads: tuple[int, int, int, int] = (3, 3, 3, 3),
                 window: int = 4, second: bool = False) -> None:
        super().__init__()
        if width % 16 or any(width // 16 * 2**i % h for i, h in enumerate(heads)):
            raise ValueError(f"width should be a multiple of 16, its stages of heads={heads}, got {width}")
        self.width, self.channels, self.depths, self.heads = width, channels, tuple(depths), tuple(heads)
        self.window, self.second, self.normalized = window, second, Normalized(mean, std)
        self.body = SwinTransformer(channels, width // 16, (window,) * 3, (2,) * 3, depths, heads, use_v2=second)
        self.maps = tuple(width // 16 * 2**i for i in range(5))
        self.strides = (2, 4, 8, 16, 32)

    def features(self, batch: Volumes) -> list[Tensor]:
        """Maps after the embedding and after each stage, (B, C, X', Y', Z'); sides should be multiples of 32."""
        return self.body(self.normalized(batch.voxels))  # type: ignore[no-any-return]

    def forward(self, batch: Volumes) -> Representation:
        return pooled(self.features(batch))
