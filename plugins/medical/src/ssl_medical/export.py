"""A trained encoder as MONAI's own network, with its weights in place: for MONAI's training scripts and bundles.

The networks expect normalised voxels: (x - mean) / std with `encoder.normalized.mean` and `.std`, x from 0 to 1.
"""
from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ssl_core import ConfigError

from .volumes import Volumes


def to_monai(encoder: Any, classes: int = 2) -> nn.Module:
    """MONAI's network that an encoder is the first half of: `ViT`, `ResNet`, `BasicUNet` or `SwinUNETR`.

    Args:
        encoder: of this plugin, on the CPU.
        classes: outputs of the networks that segment; what is not in the encoder keeps fresh weights.

    Raises:
        ConfigError: MONAI has no such network.
    """
    made = BUILT.get(type(encoder).__name__)
    if made is None:
        raise ConfigError(f"MONAI has no network like {type(encoder).__name__}.\n  Try: {', '.join(BUILT)}")
    return made(encoder, classes)  # type: ignore[no-any-return]


def vit(encoder: Any, classes: int) -> nn.Module:
    """MONAI's ViT, for cubes of the size that the encoder was trained on: its positions are written out."""
    from monai.networks.nets import ViT
    made = ViT(encoder.channels, encoder.image_size, encoder.patch, encoder.width, 4 * encoder.width, len(encoder.blocks),
               encoder.heads, qkv_bias=True)
    empty = Volumes(torch.zeros(1, encoder.channels, *encoder.image_size))
    kernel = encoder.enter.weight.unflatten(1, (encoder.channels, *[encoder.patch] * 3))
    given = {"patch_embedding.position_embeddings": encoder.places(empty)[None],
             "patch_embedding.patch_embeddings.weight": kernel,
             "patch_embedding.patch_embeddings.bias": encoder.enter.bias,
             "norm.weight": encoder.leave.weight, "norm.bias": encoder.leave.bias}
    names = {"norm1": "norm1", "norm2": "norm2", "qkv": "attn.qkv", "out": "attn.out_proj", "mlp.0": "mlp.linear1",
             "mlp.2": "mlp.linear2"}
    for i, block in enumerate(encoder.blocks):
        for ours, theirs in names.items():
            for part in ("weight", "bias"):
                given[f"blocks.{i}.{theirs}.{part}"] = getattr(block.get_submodule(ours), part)
    made.load_state_dict(made.state_dict() | given)  # MONAI keeps a norm for cross attention that it does not call
    return made


def resnet(encoder: Any, classes: int) -> nn.Module:
    """MONAI's ResNet without a last layer."""
    from copy import deepcopy
    return deepcopy(encoder.body)


def unet(encoder: Any, classes: int) -> nn.Module:
    """MONAI's BasicUNet; its way up is fresh."""
    made = encoder.whole(classes)
    for name, stage in zip(("conv_0", "down_1", "down_2", "down_3", "down_4"), encoder.stages, strict=True):
        made.get_submodule(name).load_state_dict(stage.state_dict())
    return made  # type: ignore[no-any-return]


def swin(encoder: Any, classes: int) -> nn.Module:
    """MONAI's SwinUNETR; its convolutions and its way up are fresh."""
    from monai.networks.nets import SwinUNETR
    made = SwinUNETR(encoder.channels, classes, feature_size=encoder.width // 16, depths=encoder.depths,
                     num_heads=encoder.heads, window_size=encoder.window, use_v2=encoder.second)
    made.swinViT.load_state_dict(encoder.body.state_dict())
    return made


BUILT = {"ViT": vit, "ResNet3D": resnet, "UNetEncoder": unet, "SwinEncoder": swin}
