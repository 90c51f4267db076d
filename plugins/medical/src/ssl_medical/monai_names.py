"""Weights of MONAI's networks by the names of this plugin's encoders, so that training can start from them (`--init`).

ResNet and Swin UNETR need no translation: there the names differ by a prefix only.
"""
from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

State = dict[str, Tensor]
IN_BLOCK = {"attn.qkv": "qkv", "attn.out_proj": "out", "mlp.linear1": "mlp.0", "mlp.linear2": "mlp.2"}
STAGES = {"conv_0": "stages.0", **{f"down_{i}": f"stages.{i}" for i in range(1, 5)}}


def inner(state: Mapping[str, Tensor], mark: str) -> State:
    """The weights under the shortest prefix below which one is called `mark`: a checkpoint may keep them under others."""
    before = [name.removesuffix(mark) for name in state if name == mark or name.endswith(f".{mark}")]
    prefix = min(before, key=len, default="")
    return {name[len(prefix):]: weight for name, weight in state.items() if name.startswith(prefix)}


def vit(state: Mapping[str, Tensor], patch: int) -> State:
    """MONAI's `ViT`, whose patches are embedded by a convolution or by a linear layer with the channel as the fastest axis.

    Args:
        patch: side of a block in voxels.
    """
    found: State = {}
    for name, weight in inner(state, "norm.weight").items():
        if name.startswith("patch_embedding.patch_embeddings.") and name.endswith(".weight"):
            kernel = weight if weight.ndim == 5 else weight.unflatten(1, (patch, patch, patch, -1)).movedim(4, 1) \
                if weight.shape[1] % patch**3 == 0 else weight
            found["enter.weight"] = kernel.flatten(1)
        elif name.startswith("patch_embedding.patch_embeddings.") and name.endswith(".bias"):
            found["enter.bias"] = weight
        elif name.startswith("norm."):
            found[f"leave.{name.removeprefix('norm.')}"] = weight
        else:
            for theirs, ours in IN_BLOCK.items():
                name = name.replace(f".{theirs}.", f".{ours}.")
            found[name] = weight
    return found


def unet(state: Mapping[str, Tensor]) -> State:
    """MONAI's `BasicUNet`, of which the way down is taken."""
    found = {}
    for name, weight in inner(state, "conv_0.conv_0.conv.weight").items():
        first, _, rest = name.partition(".")
        found[f"{STAGES.get(first, first)}.{rest}"] = weight
    return found
