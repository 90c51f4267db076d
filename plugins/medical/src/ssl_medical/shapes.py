"""Synthetic volumes to try things on, drawn by MONAI. They look like no organ."""
from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

SEED = 20  # of the set itself; a run's seed moves the split only


@lru_cache(maxsize=1)  # always the same; a check of a plugin asks for them once for each of its components
def spheres(count: int, side: int, seed: int = SEED) -> tuple[Tensor, Tensor]:
    """Bright spheres in noise, and in two thirds of the volumes a lesion: a small blurred ball, brighter or darker.

    Returns:
        Voxels (count, 1, side, side, side) float16 from 0 to 1, and which lesion there is, (count,): 0 none, 1 bright, 2 dark.
    """
    from monai.data.synthetic import create_test_image_3d

    draw = np.random.RandomState(seed)
    labels = draw.permutation(count) % 3
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1)
    made = np.empty((count, 1, side, side, side), np.float16)
    for i, label in enumerate(labels):
        image, _ = create_test_image_3d(side, side, side, num_objs=4, rad_max=side // 4, rad_min=side // 8, noise_max=0.2,
                                        num_seg_classes=1, random_state=draw)
        low, high = image.min(), image.max()
        image = 0.25 + 0.3 * (image - low) / (high - low)
        centre, radius = draw.uniform(0.25 * side, 0.75 * side, 3), draw.uniform(0.15, 0.2) * side
        ball = np.exp(-((grid - centre) ** 2).sum(axis=-1) / radius**2)
        made[i, 0] = np.clip(image + (0.0, 0.5, -0.5)[label] * ball, 0, 1)
    return torch.from_numpy(made), torch.from_numpy(labels.astype(np.int64))
