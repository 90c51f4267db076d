"""Discrete units, the clusters of frames, and how well they agree with phones (HuBERT, arXiv:2106.07447, section IV-D)."""
from __future__ import annotations

import torch
from torch import Tensor

from .clusters import gathered, kmeans, nearest


def discrete(frames: Tensor, count: int, most: int = 100_000, centres: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Frames (T, D) as numbers of clusters (T,) long, and the centres (count, D), from k-means.

    Args:
        count: of clusters.
        most: frames that k-means sees.
        centres: those found on other frames: no k-means.
    """
    centres = kmeans(gathered(frames.split(2**16), most), count) if centres is None else centres
    return nearest(frames.float(), centres), centres


def agreement(units: Tensor, phones: Tensor) -> dict[str, float]:
    """How much units tell of phones, frame by frame; frames with a negative phone are left out.

    Args:
        units, phones: (T,) long.

    Returns:
        `phone_purity`: accuracy when each unit is taken for its most frequent phone; `cluster_purity`: the same the other way;
        `pnmi`: their mutual information, as a share of the entropy of the phones.
    """
    known = phones >= 0
    if not known.any():
        raise ValueError("no frame has a phone")
    _, rows = units[known].unique(return_inverse=True)
    _, columns = phones[known].unique(return_inverse=True)
    wide = int(columns.max()) + 1
    joint = torch.bincount(rows * wide + columns, minlength=(int(rows.max()) + 1) * wide).view(-1, wide).double()
    joint = joint / joint.sum()  # (U, P)
    entropy = torch.special.entr(joint.sum(dim=0)).sum()
    shared = entropy + torch.special.entr(joint.sum(dim=1)).sum() - torch.special.entr(joint).sum()
    return {"phone_purity": float(joint.amax(dim=1).sum()), "cluster_purity": float(joint.amax(dim=0).sum()),
            "pnmi": float(shared / entropy) if entropy > 0 else 0.0}


def runs(units: Tensor) -> Tensor:
    """Units with repetitions taken out, (T,) -> (U,): what a language model of units reads."""
    return units[torch.cat([units.new_ones(1, dtype=torch.bool), units.diff() != 0])] if len(units) else units


def at_frames(labels: Tensor, step: int, size: int) -> Tensor:
    """The label in the middle of each frame: one label per sample (T,) -> (L,).

    Args:
        step: samples between two frames.
        size: samples of a frame; what is shorter than one has a single frame.
    """
    count = max(1, (len(labels) - size) // step + 1)
    return labels[(torch.arange(count, device=labels.device) * step + size // 2).clamp(max=len(labels) - 1)]
