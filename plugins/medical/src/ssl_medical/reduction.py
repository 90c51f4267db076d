"""Leave out volumes that are nearly the same as others, or that show little, before any training (arXiv:2410.14524).

The paper hashes each slice: 9 x 8 gray values, each compared with its right neighbour, 64 bits. Here a volume is hashed by
its three middle slices, 192 bits. Its other ways are here too: by an embedding, and by the entropy of gray values.
"""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_core import ConfigError, Run

from .volumes import Crops, Prepared, Size, unit

By = Literal["embedding", "entropy"]
GRAYS, COARSE = 64, 8  # bins of gray values, and the side of a plain embedding in cells


def near_copies(volumes: Sequence[Prepared], rows: Tensor, distinct: int) -> dict[int, int]:
    """Volumes to leave out, and the earlier one that each is nearly the same as.

    Args:
        rows: the volumes to look at, in the order in which they are kept.
        distinct: bits in which those that are kept differ at least; 0 keeps all. (The paper: 7 of 64, 21 here.)

    Raises:
        ValueError: there are no so many bits.
    """
    if not 0 <= distinct <= 192:
        raise ValueError(f"distinct should be 0 to 192 bits, got {distinct}")
    left = torch.sort(rows).values
    if not distinct or not len(left):
        return {}
    bits = torch.stack([difference_hash(volumes[i].voxels) for i in left.tolist()])
    found: dict[int, int] = {}
    while len(left):
        near = (bits != bits[0]).sum(dim=1) < distinct
        found |= {i: int(left[0]) for i in left[near].tolist() if i != int(left[0])}
        left, bits = left[~near], bits[~near]
    return found


def difference_hash(voxels: Tensor) -> Tensor:
    """Of the middle slices across each axis of (C, X, Y, Z): (192,) bool."""
    bits = []
    for axis in (1, 2, 3):
        middle = unit(voxels.select(axis, voxels.shape[axis] // 2))[:1]
        gray = F.adaptive_avg_pool2d(middle, (8, 9))[0]
        bits.append((gray[:, 1:] > gray[:, :-1]).flatten())
    return torch.cat(bits)


def redundant(volumes: Sequence[Prepared], rows: Tensor, names: Sequence[str] | None, share: float, by: By, run: Path | None
              ) -> dict[int, str]:
    """Volumes to leave out, and why.

    Args:
        rows: the volumes to look at.
        names: of the volumes, for the reasons.
        share: of them to leave out.
        by: `embedding`: those nearest to others that stay; `entropy`: those whose gray values are least varied, in bits.
        run: whose encoder embeds; None for the voxels, averaged over 8 x 8 x 8 cells.

    Raises:
        ValueError: no share.
        ConfigError: the run is no run of this plugin.
    """
    if not 0 <= share < 1:
        raise ValueError(f"reduce should lie in [0, 1), got {share}")
    rows = torch.sort(rows).values
    keep = len(rows) - round(share * len(rows))
    if keep >= len(rows):
        return {}
    if by == "entropy":
        bits = torch.stack([entropy(volumes[i].voxels) for i in rows.tolist()])
        dull = bits.argsort(stable=True)[: len(rows) - keep]
        return {int(rows[i]): f"not trained on: gray values of {bits[i]:.2f} bits" for i in dull.tolist()}
    embedded = coarse(volumes, rows) if run is None else by_encoder(volumes, rows, run)
    kept, nearest = spread_out(embedded, keep)
    left = {int(rows[i]): int(rows[nearest[i]]) for i in range(len(rows)) if i not in set(kept)}
    return {i: f"not trained on: {names[j] if names else j} stands for it" for i, j in left.items()}


def spread_out(rows: Tensor, keep: int) -> tuple[list[int], list[int]]:
    """The first of rows (N, D), and again and again the one farthest by cosine from all that were taken.

    Returns:
        The `keep` rows that were taken, and for each of the N the nearest of these.
    """
    unit_rows = F.normalize(rows - rows.mean(dim=0), dim=1)
    kept, best = [0], unit_rows @ unit_rows[0]
    nearest = torch.zeros(len(rows), dtype=torch.long)
    while len(kept) < keep:
        new = int(best.index_fill(0, torch.tensor(kept), torch.inf).argmin())
        alike = unit_rows @ unit_rows[new]
        nearest = torch.where(alike > best, new, nearest)
        best = best.maximum(alike)
        kept.append(new)
    return kept, nearest.tolist()


def coarse(volumes: Sequence[Prepared], rows: Tensor) -> Tensor:
    """The volumes averaged over few cells, (N, C * 512)."""
    return torch.stack([F.adaptive_avg_pool3d(unit(volumes[i].voxels), COARSE).flatten() for i in rows.tolist()])


@torch.no_grad()
def by_encoder(volumes: Sequence[Prepared], rows: Tensor, path: Path) -> Tensor:
    """Rows of a trained encoder, (N, D), of the cube in the middle of each volume's foreground."""
    run = Run.load(path)
    encoder: Any = run.encoder.eval()
    size: Size | None = run.read_json("encoder.json").get("schema", {}).get("image_size")
    if size is None:
        raise ConfigError(f"{path} is a run on {run.config.data}, whose encoder takes no volumes.\n"
                          f"  Try: data.reduce_with=RUN of a method of volumes")
    return torch.cat([encoder(batch).pooled for batch in Crops(volumes, None, rows, tuple(size), 16)])  # type: ignore[arg-type]


def entropy(voxels: Tensor) -> Tensor:
    """Of the gray values of a volume (C, X, Y, Z), in bits: ()."""
    share = torch.histc(unit(voxels), GRAYS, 0, 1) / voxels.numel()
    return -(share * share.clamp(min=1e-12).log2()).sum()
