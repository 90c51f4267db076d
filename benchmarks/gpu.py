"""simclr, dino and mae on one accelerator: ViT-S on images of 224 pixels in bf16, the data on the device, with and without
torch.compile. Written to the section "gpu" of docs/results.md.

    python benchmarks/gpu.py [--methods simclr,dino,mae] [--seconds 60] [--batch 256] [--images 4096] [--out FILE]
    python benchmarks/gpu.py --tiny        a few small images on the processor, to see that it runs

The steps are those of the runner: views drawn on the device, the method's step, AdamW, the teacher. The rate of matrix
products is measured here too; a model's share of it counts the multiplications of its matrix products and convolutions, as
PyTorch counts them over one step, forward and backward.
"""
from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from page import PAGE, write_section
from side_by_side import where
from torch.utils.flop_counter import FlopCounterMode

from ssl_core import JointEmbedding, MaskedPrediction, Method
from ssl_core.masks import RandomMask
from ssl_core.objectives.dino import DINO
from ssl_core.objectives.infonce import NTXent
from ssl_core.objectives.regression import MSE
from ssl_core.optimizers import groups
from ssl_vision.augmentations import MultiCrop, SimCLR
from ssl_vision.encoders import Timm
from ssl_vision.images import Images, InMemory
from ssl_vision.vit import ViT

FACTS: Any = {"channels": 3, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


class Size(NamedTuple):
    """Of images and networks: ViT-S, or one that a test can afford."""

    side: int = 224
    model: str = "vit_small_patch16_224"
    width: int = 384
    depth: int = 12
    heads: int = 6
    hidden: int = 2048
    prototypes: int = 65536


TINY = Size(32, "test_vit", 32, 2, 2, 64, 128)


def simclr(size: Size) -> Method:
    return JointEmbedding(vit(size), SimCLR(), NTXent(0.1), projector=(size.hidden, 128))


def dino(size: Size) -> Method:
    return JointEmbedding(vit(size), MultiCrop((size.side, size.side), small=8), DINO(size.prototypes, frozen=0.0),
                          projector=(size.hidden, size.hidden, 256), norm="none", momentum=0.996, teacher_views=2)


def mae(size: Size) -> Method:
    encoder = ViT(image_size=(size.side, size.side), patch=size.side // 14 or 2, width=size.width, depth=size.depth,
                  heads=size.heads, **FACTS)
    return MaskedPrediction(encoder, RandomMask(0.75), MSE(), target="input", hidden=size.width)


def vit(size: Size) -> Timm:
    return Timm(image_size=(size.side, size.side), model=size.model, **FACTS)


MADE: dict[str, Callable[[Size], Method]] = {"simclr": simclr, "dino": dino, "mae": mae}


class Found(NamedTuple):
    """Of one training: images per second, share of the matrix rate, MiB held at most, the last loss."""

    rate: float
    share: float
    memory: float
    loss: float


def matrix_rate(device: str, size: int) -> float:
    """Floating-point operations per second of a product of two bf16 matrices, the best of a few."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    best = 0.0
    for _ in range(5):
        waited(device)
        start = time.perf_counter()
        for _ in range(10):
            a @ b
        waited(device)
        best = max(best, 10 * 2 * size**3 / (time.perf_counter() - start))
    return best


def waited(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def measured(method: Method, compiled: bool, peak: float, given: argparse.Namespace) -> Found:
    """Train for some seconds after a few steps of warm-up."""
    torch.manual_seed(0)
    size, device = TINY if given.tiny else Size(), given.device
    pixels = torch.randint(256, (given.images, 3, size.side, size.side), dtype=torch.uint8, device=device)
    batches = endless(InMemory(pixels, None, torch.arange(given.images, device=device), given.batch, shuffle=True))
    method.to(device).train()
    optimizer = torch.optim.AdamW(groups(method), 1e-4, fused=True)
    with FlopCounterMode(display=False) as counter:
        step(method, optimizer, next(batches), device)
    if compiled:
        method.encoder.compile()
    for _ in range(given.warmup):
        step(method, optimizer, next(batches), device)
    waited(device)
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    start, steps, loss = time.perf_counter(), 0, torch.zeros(())
    while (spent := time.perf_counter() - start) < given.seconds or not steps:
        for _ in range(given.warmup):  # the clock is looked at now and then, since that waits for the device
            loss = step(method, optimizer, next(batches), device)
            steps += 1
        waited(device)
    spent = time.perf_counter() - start
    memory = torch.cuda.max_memory_allocated() / 2**20 if device != "cpu" else 0.0
    return Found(steps * given.batch / spent, counter.get_total_flops() * steps / spent / peak, memory, float(loss))


def step(method: Method, optimizer: torch.optim.Optimizer, batch: Images, device: str) -> torch.Tensor:
    optimizer.zero_grad()
    with torch.autocast(device, torch.bfloat16):
        loss = method.step(batch)["loss"]
    loss.backward()
    optimizer.step()
    method.after_step()
    return loss.detach()


def endless(batches: InMemory) -> Iterator[Images]:
    while True:
        yield from batches


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--methods", default=",".join(MADE))
    ask.add_argument("--seconds", type=float, default=60.0, help="of each training, after the warm-up")
    for name, value in {"batch": 256, "images": 4096, "warmup": 5, "matrix": 8192}.items():
        ask.add_argument(f"--{name}", type=int, default=value)
    ask.add_argument("--device", default="cuda", choices=("cpu", "cuda"))
    ask.add_argument("--modes", default="plain,compiled")
    ask.add_argument("--tiny", action="store_true", help="small networks and images on the processor, for a step or two")
    ask.add_argument("--out", type=Path, default=PAGE, help="the page whose section is replaced")
    given = ask.parse_args()
    if given.tiny:
        given.device, given.batch, given.images, given.seconds, given.warmup, given.matrix = "cpu", 8, 16, 0.0, 1, 64
    if given.device == "cuda" and not torch.cuda.is_available():
        ask.exit(2, "no CUDA device is here.\n  Try: --tiny, to see on the processor that it runs\n")
    peak = matrix_rate(given.device, given.matrix)
    size = TINY if given.tiny else Size()
    lines = ["## On an accelerator", "",
             f"Made by `python benchmarks/gpu.py --batch {given.batch} --seconds {given.seconds:g}` on {where(given.device)}, "
             f"torch {torch.__version__}. Products of bf16 matrices run at {peak / 1e12:.1f} TFLOP/s there. "
             "Images are random noise.", "",
             "| method | encoder | images per second | share of the matrix rate | most memory, MiB | last loss |",
             "|---|---|--:|--:|--:|--:|"]
    for name in given.methods.split(","):
        for mode in given.modes.split(","):
            found = measured(MADE[name](size), mode == "compiled", peak, given)
            lines.append(f"| {name} | {mode} | {found.rate:,.0f} | {found.share:.2f} | {found.memory:,.0f} | "
                         f"{found.loss:.3g} |")
            print(lines[-1], flush=True)
    write_section("gpu", "\n".join(lines), given.out)


if __name__ == "__main__":
    main()
