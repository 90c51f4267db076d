"""What a step on volumes costs: loading, augmentation and a masked autoencoder's step, against MONAI's transforms.

Both ways cut the same cubes from the same volumes in memory, flip, turn, scale, bend their brightness, add noise and blur
with the same probabilities and ranges, and take the same step of the same network; they run in this process, alternating.
Ours draws the views on the whole batch; MONAI's dictionary transforms work volume by volume in the loader. Then the same
step with other mask ratios: hidden blocks are dropped before the transformer, so its time should fall.

Writes its section of docs/results.md.

    python benchmarks/medical.py [--side 64] [--batch 4] [--rounds 3] [--device cpu] [--threads 0]
"""
from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from page import PAGE, write_section
from side_by_side import where

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
    read = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"side": 64, "batch": 4, "rounds": 3, "threads": 0}.items():
        read.add_argument(f"--{name}", type=int, default=value)
    read.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    read.add_argument("--out", type=Path, default=PAGE, help="the page whose section is replaced")
    args = read.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    lines = ["## Volumes", "",
             f"Made by `python benchmarks/medical.py --side {args.side} --batch {args.batch} --rounds {args.rounds} --device "
             f"{args.device}`; torch {torch.__version__}, on {where(args.device)}. Volumes are random noise; medians of rounds "
             f"that alternate in one process.", "", "| loading, augmentation and a step | volumes per second | times as fast |",
             "|---|--:|--:|", *pipelines(args, device), "",
             "| mask ratio | time of the encoder, there and back, of that at 0.1 |", "|---|--:|", *ratios(args, device)]
    print("\n".join(lines[4:]))
    write_section("medical-speed", "\n".join(lines), args.out)


def pipelines(args: argparse.Namespace, device: torch.device) -> list[str]:
    """Ours and MONAI's, as rows of a table."""
    volumes = [torch.rand(1, *[args.side * 3 // 2] * 3) for _ in range(4 * args.batch)]
    times: dict[str, list[float]] = {"ssl-medical": [], "MONAI": []}
    for _ in range(args.rounds):
        for name, make in (("ssl-medical", ours), ("MONAI", monais)):
            times[name].append(seconds(make(volumes, args.side, args.batch, device), method(args.side, 0.75, device), device))
    return [f"| {name} | {1 / statistics.median(found):.2f} | "
            f"{statistics.median(a / b for a, b in zip(times['MONAI'], found, strict=True)):.2f} |"
            for name, found in times.items()]


def ratios(args: argparse.Namespace, device: torch.device) -> list[str]:
    """The encoder's time by the share of blocks that it does not see, as rows of a table."""
    fixed = [Volumes(torch.rand(args.batch, 1, *[args.side] * 3, device=device))] * 4
    learners = {hidden: method(args.side, hidden, device).encoder for hidden in (0.1, 0.5, 0.75, 0.9)}
    steps: dict[float, list[float]] = {hidden: [] for hidden in learners}
    for _ in range(args.rounds):
        for hidden, encoder in learners.items():
            steps[hidden].append(encoding(encoder, fixed, hidden, device))
    return [f"| {hidden} | {statistics.median(a / b for a, b in zip(found, steps[0.1], strict=True)):.2f} |"
            for hidden, found in steps.items()]


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
