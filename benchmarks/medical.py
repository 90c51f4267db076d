"""What a step on volumes costs: loading, augmentation and a masked autoencoder's step, against MONAI's transforms.

Both ways cut the same cubes from the same volumes in memory, flip, turn, scale, bend their brightness, add noise and blur
with the same probabilities and ranges, and take the same step of the same network; they run in this process, alternating.
Ours draws the views on the whole batch; MONAI's dictionary transforms work volume by volume in the loader. Then the same
step with other mask ratios: hidden blocks are dropped before the transformer, so its time should fall.

    python benchmarks/medical.py [--side 64] [--batch 4] [--rounds 3]
"""
from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Iterator
from typing import Any

import torch

from ssl_core import MaskedPrediction
from ssl_core.batches import move
from ssl_core.masks import RandomMask
from ssl_core.objectives.regression import MSE
from ssl_medical.augmentations import Views
from ssl_medical.vit import ViT
from ssl_medical.volumes import Crops, Volumes, prepared

ANGLE, SCALE, GAMMA, NOISE, BLUR = 15.0, (0.9, 1.1), (0.7, 1.5), 0.05, 0.2


def ours(volumes: list[torch.Tensor], side: int, batch: int, device: torch.device) -> Iterator[Volumes]:
    """Batches of augmented cubes, by this plugin."""
    cubes = Crops([prepared(x) for x in volumes], None, torch.arange(len(volumes)), (side,) * 3, batch, True, foreground=0.0)
    view = Views(1, angle=ANGLE, scale=SCALE, shift=0.0, gamma=GAMMA, contrast=0.0, noise=NOISE, blur=BLUR, sigma=(0.5, 1.0))
    for found in cubes:
        yield view(move(found, device))[0]


def monais(volumes: list[torch.Tensor], side: int, batch: int, device: torch.device) -> Iterator[Volumes]:
    """The same, by MONAI's transforms."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai.data import DataLoader, Dataset
        from monai.transforms import (
            Compose,
            RandAdjustContrast,
            RandAffine,
            RandFlip,
            RandGaussianNoise,
            RandGaussianSmooth,
            RandSpatialCrop,
        )
    turn, sigma = ANGLE * 3.14159 / 180, (0.5, 1.0)
    steps = Compose([
        RandSpatialCrop((side,) * 3, random_size=False), *(RandFlip(0.5, axis) for axis in range(3)),
        RandAffine(1.0, rotate_range=(turn,) * 3, scale_range=(SCALE[1] - 1,) * 3, padding_mode="border"),
        RandAdjustContrast(1.0, GAMMA), RandGaussianSmooth(sigma, sigma, sigma, prob=BLUR), RandGaussianNoise(1.0, std=NOISE)])
    for found in DataLoader(Dataset(volumes, steps), batch_size=batch, shuffle=True, drop_last=True):
        yield Volumes((found.as_tensor() if hasattr(found, "as_tensor") else found).to(device))


def method(side: int, ratio: float, device: torch.device) -> MaskedPrediction:
    """A small masked autoencoder."""
    torch.manual_seed(0)
    encoder = ViT(1, (side,) * 3, (0.5,), (0.25,), patch=8, width=192, depth=6, heads=3)
    return MaskedPrediction(encoder, RandomMask(ratio), MSE(), target="input", hidden=96).to(device)


def seconds(batches: Any, learner: MaskedPrediction, device: torch.device) -> float:
    """Time for a volume, from the second batch on."""
    optimizer, spent, count = torch.optim.AdamW(learner.parameters()), [], 1
    start = time.perf_counter()
    for found in batches:
        loss = learner.step(found)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        spent.append(time.perf_counter() - start)
        start, count = time.perf_counter(), len(found.voxels)
    return statistics.median(spent[1:]) / count


def main() -> None:
    read = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    read.add_argument("--side", type=int, default=64)
    read.add_argument("--batch", type=int, default=4)
    read.add_argument("--rounds", type=int, default=3)
    read.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = read.parse_args()
    device = torch.device(args.device)
    volumes = [torch.rand(1, *[args.side * 3 // 2] * 3) for _ in range(4 * args.batch)]
    times: dict[str, list[float]] = {"ssl-medical": [], "MONAI": []}
    for _ in range(args.rounds):
        for name, make in (("ssl-medical", ours), ("MONAI", monais)):
            times[name].append(seconds(make(volumes, args.side, args.batch, device), method(args.side, 0.75, device), device))
    for name, found in times.items():
        print(f"{name:<12} {1 / statistics.median(found):8.2f} volumes a second at {args.side}^3")
    ratio = statistics.median(a / b for a, b in zip(times["MONAI"], times["ssl-medical"], strict=True))
    print(f"loading, augmentation and one step take MONAI's way {ratio:.2f} times as long ({device.type}, "
          f"{torch.get_num_threads()} CPU threads)")
    fixed = [Volumes(torch.rand(args.batch, 1, *[args.side] * 3, device=device))] * 4
    ratios = (0.1, 0.5, 0.75, 0.9)
    learners = {hidden: method(args.side, hidden, device).encoder for hidden in ratios}
    steps: dict[float, list[float]] = {hidden: [] for hidden in ratios}
    for _ in range(args.rounds):
        for hidden, encoder in learners.items():
            steps[hidden].append(encoding(encoder, fixed, hidden, device))
    for hidden in ratios[1:]:
        share = statistics.median(a / b for a, b in zip(steps[hidden], steps[ratios[0]], strict=True))
        print(f"mask ratio {hidden:.2f}: the encoder takes {share:.2f} of its time at {ratios[0]:.1f}, there and back")


def encoding(encoder: Any, batches: list[Volumes], ratio: float, device: torch.device) -> float:
    """Median time of the encoder on what is visible, forward and backward."""
    spent, mask = [], RandomMask(ratio)
    for found in batches:
        keep = ~mask(encoder.layout(found))
        start = time.perf_counter()
        encoder(found, keep=keep).tokens.square().mean().backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        spent.append(time.perf_counter() - start)
    return statistics.median(spent[1:])


if __name__ == "__main__":
    main()
