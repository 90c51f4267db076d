"""Image encoders. Each takes an `Images` batch and normalises its pixels itself, so that raw images can be embedded.

Facts of the data that they ask for: `channels`, `image_size` (height, width), `mean` and `std` of each channel.
"""
from __future__ import annotations

from collections.abc import Callable
from math import gcd
from typing import Any, Literal

import timm
import torch
from torch import Tensor, nn

from ssl_core import ConfigError, Representation
from ssl_core.errors import nearest

from .images import Images

Stem = Literal["auto", "small", "full"]
Facts = tuple[float, ...]


class Normalized(nn.Module):
    """Bytes or floats from 0 to 1 to pixels of mean 0 and deviation 1."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Facts, std: Facts) -> None:
        super().__init__()
        for name, item in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(tuple(item)).view(-1, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        if not pixels.is_floating_point():
            return torch.addcdiv(-self.mean / self.std, pixels.to(self.mean.dtype), 255 * self.std)
        return torch.addcdiv(-self.mean / self.std, pixels.to(self.mean.dtype), self.std)


def fitting_patch(image_size: tuple[int, int], patch: int) -> int:
    """The side of a patch: as given, or (0) the divisor of the image's sides that makes about 8 a side, from 2 to 16.

    Raises:
        ValueError: it does not divide the image.
    """
    height, width = image_size
    sides = [p for p in range(2, gcd(height, width) + 1) if gcd(height, width) % p == 0] or [1]
    wanted = min(16, min(height, width) / 8)
    found = patch or min(sides, key=lambda side: abs(side - wanted))
    if found < 1 or height % found or width % found:
        raise ValueError(f"patch={found} does not divide images of {height} x {width}; choose one of {sides}, or another "
                         f"data.size")
    return found


class Timm(nn.Module):
    """Any model of timm that gives one vector per image; its tokens are patches, or the places of its last map.

    Args:
        channels, image_size, mean, std: of the images; from the data.
        model: its name in timm.
        stem: of a ResNet: `small` is 3 x 3 without stride and pooling (SimCLR, arXiv:2002.05709, appendix B.9), `full` the
            usual one, `auto`: small for images of up to 64 pixels.
        patch: side of a transformer's patches; 0: about 8 a side, 16 at most.
        drop_path: share of residual branches dropped while training.
        download: fetch weights that were trained by others; timm chooses which.
    """

    def __init__(self, channels: int, image_size: tuple[int, int], mean: Facts, std: Facts, model: str = "resnet18",
                 stem: Stem = "auto", patch: int = 0, drop_path: float = 0.0, download: bool = False) -> None:
        super().__init__()
        if not timm.is_model(model):
            raise ConfigError(f"timm has no model named {model!r}{nearest(model, timm.list_models())}\n"
                              f"  Try: encoder.model=resnet50, vit_small_patch16_224, convnext_tiny, ...")
        options: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
        self.patches = timm.models.is_model_in_modules(model, ["vision_transformer"])
        if self.patches:
            options |= {"img_size": tuple(image_size), "patch_size": fitting_patch(tuple(image_size), patch),
                        "dynamic_img_size": True}
        self.norm = Normalized(mean, std)
        self.body = timm.create_model(model, pretrained=download, in_chans=channels, num_classes=0, **options)
        self.width: int = self.body.num_features
        if stem == "small" or stem == "auto" and max(image_size) <= 64:
            small_stem(self.body, channels)

    def forward(self, images: Images) -> Representation:
        found = self.body.forward_features(self.norm(images.pixels))  # (B, prefix + L, D), or a map
        tokens = found[:, self.body.num_prefix_tokens:].reshape(-1, self.width) if self.patches else places(found, self.width)
        return Representation(self.body.forward_head(found), tokens)

    @property
    def stage_widths(self) -> list[int]:
        """Channels of up to four stages of the body, evenly spaced, the last one last."""
        return [self.body.feature_info[index]["num_chs"] for index in self._stages]

    @property
    def _stages(self) -> list[int]:
        count = len(self.body.feature_info)
        return sorted({count - 1 - i * max(1, count // 4) for i in range(min(4, count))})

    def stage(self, images: Images, number: int) -> Tensor:
        """The mean over places of what one stage makes, (B, width); later stages are not computed."""
        found = self.body.forward_intermediates(self.norm(images.pixels), indices=[self._stages[number]], stop_early=True,
                                                intermediates_only=True, output_fmt="NCHW")
        return found[0].mean(dim=(2, 3))


def places(found: Tensor, width: int) -> Tensor | None:
    """A map (B, D, h, w) or (B, h, w, D) as tokens, row after row: (B * h * w, D); None for what is no map of this width."""
    if found.ndim == 4 and found.shape[1] == width:
        return found.permute(0, 2, 3, 1).reshape(-1, width)
    return found.flatten(0, 2) if found.ndim == 4 and found.shape[3] == width else None


def small_stem(body: nn.Module, channels: int) -> None:
    """Replace the stem of a ResNet by 3 x 3 convolutions without stride or pooling; other models are left as they are."""
    if isinstance(body, timm.models.ResNet) and isinstance(body.conv1, nn.Conv2d):
        body.conv1 = nn.Conv2d(channels, body.conv1.out_channels, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(body.conv1.weight, mode="fan_out", nonlinearity="relu")
        body.maxpool = nn.Identity()


def resnet(model: str) -> Callable[..., Timm]:
    """A ResNet by name, with the options of `Timm` that mean something to it."""
    def build(channels: int, image_size: tuple[int, int], mean: Facts, std: Facts, stem: Stem = "auto",
              drop_path: float = 0.0, download: bool = False) -> Timm:
        return Timm(channels, image_size, mean, std, model, stem, 0, drop_path, download)
    build.__name__ = model
    return build


def transformer(model: str) -> Callable[..., Timm]:
    """A vision transformer by name, with the options of `Timm` that mean something to it."""
    def build(channels: int, image_size: tuple[int, int], mean: Facts, std: Facts, patch: int = 0, drop_path: float = 0.0,
              download: bool = False) -> Timm:
        return Timm(channels, image_size, mean, std, model, "full", patch, drop_path, download)
    build.__name__ = model
    return build


resnet18, resnet50 = resnet("resnet18"), resnet("resnet50")
vit_tiny, vit_small = transformer("vit_tiny_patch16_224"), transformer("vit_small_patch16_224")


class Conv(nn.Module):
    """A small convolutional network for small images: three blocks of two 3 x 3 convolutions, halved in between.

    Args:
        channels, mean, std: of the images; from the data.
        width: of the representation, the mean over places of the last block; the blocks before have a quarter and half.
    """

    def __init__(self, channels: int, mean: Facts, std: Facts, width: int = 128) -> None:
        super().__init__()
        if width % 4 or width < 4:
            raise ValueError(f"width should be a multiple of 4, got {width}")
        self.width, self.norm = width, Normalized(mean, std)
        blocks: list[nn.Module] = []
        for inputs, outputs, stride in ((channels, width // 4, 1), (width // 4, width // 2, 2), (width // 2, width, 2)):
            for i, step in ((inputs, stride), (outputs, 1)):
                blocks += [nn.Conv2d(i, outputs, 3, step, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.body = nn.Sequential(*blocks)

    def forward(self, images: Images) -> Representation:
        found = self.body(self.norm(images.pixels))
        return Representation(found.mean(dim=(2, 3)), places(found, self.width))

    @property
    def stage_widths(self) -> list[int]:
        """Channels of the three blocks."""
        return [self.width // 4, self.width // 2, self.width]

    def stage(self, images: Images, number: int) -> Tensor:
        """The mean over places of what one block makes, (B, width); later blocks are not computed."""
        part = self.body[: len(self.body) * (number + 1) // 3]
        return part(self.norm(images.pixels)).mean(dim=(2, 3))
