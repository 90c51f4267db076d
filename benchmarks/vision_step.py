"""A whole SimCLR step, augmentation included, in images per second: ours against the same network with lightly's transform,
loss and loader workers; and ours in pieces. Written to the section "vision-step" of docs/results.md.

    python benchmarks/vision_step.py [--device cpu] [--batch 256] [--size 32] [--images 2048] [--model resnet18] [--epochs 3]
        [--workers 0] [--threads 1] [--precision 32] [--compile] [--tiny] [--out FILE]

lightly augments image by image on the processor, as its examples do; ours augments the batch on its device. An epoch of each
side in turn; reading is from memory on both sides. On a CPU the time is of the processor, on a GPU of the wall clock.
"""
from __future__ import annotations

import argparse
import importlib.util
import statistics
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from page import PAGE, write_section
from side_by_side import absent, most, timed, where
from torch import Tensor, nn

from ssl_core import JointEmbedding
from ssl_core.objectives.infonce import NTXent
from ssl_vision.augmentations import SimCLR
from ssl_vision.encoders import Timm
from ssl_vision.images import InMemory

Facts = {"channels": 3, "mean": (0.49, 0.48, 0.45), "std": (0.25, 0.24, 0.26)}
STRENGTHS, TEMPERATURE, PROJECTOR = (0.8, 0.8, 0.8, 0.2), 0.2, (2048, 256)


def in_precision(given: argparse.Namespace) -> AbstractContextManager[Any]:
    return torch.autocast(given.device, torch.bfloat16) if given.precision == "bf16" else nullcontext()


def trained(module: nn.Module, batches: Callable[[], Iterator[Any]], loss: Callable[[Any], Tensor], given: argparse.Namespace
            ) -> Callable[[], None]:
    """A function that trains one epoch."""
    optimizer = torch.optim.SGD(module.parameters(), 0.03, momentum=0.9, fused=True)

    def epoch() -> None:
        for batch in batches():
            optimizer.zero_grad()
            with in_precision(given):
                value = loss(batch)
            value.backward()
            optimizer.step()
    return epoch


def ours(method: JointEmbedding, pixels: Tensor, given: argparse.Namespace) -> Callable[[], None]:
    held = InMemory(pixels.to(given.device), None, torch.arange(len(pixels)), given.batch, shuffle=True)
    return trained(method, lambda: iter(held), lambda batch: method.step(batch)["loss"], given)


def theirs(encoder: Timm, head: nn.Module, pixels: Tensor, given: argparse.Namespace) -> Callable[[], None]:
    from lightly.loss import NTXentLoss
    from lightly.transforms import SimCLRTransform
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in pixels]
    shift = {"mean": list(Facts["mean"]), "std": list(Facts["std"])}
    transform = SimCLRTransform(input_size=given.size, gaussian_blur=0.0, normalize=shift)

    class Pictures(Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(pictures)

        def __getitem__(self, i: int) -> list[Tensor]:
            views: list[Tensor] = transform(pictures[i])
            return views

    loader = DataLoader(Pictures(), given.batch, shuffle=True, drop_last=True, num_workers=given.workers,
                        persistent_workers=given.workers > 0)
    net, compare = nn.Sequential(deepcopy(encoder.body), deepcopy(head)).to(given.device), NTXentLoss(TEMPERATURE)
    layout = torch.channels_last if given.device != "cpu" else torch.contiguous_format

    def loss(batch: Any) -> Tensor:
        a, b = (net(view.to(given.device, memory_format=layout, non_blocking=True)) for view in batch)
        value: Tensor = compare(a.float(), b.float())
        return value
    return trained(net.to(memory_format=layout), lambda: iter(loader), loss, given)


def sides(given: argparse.Namespace) -> dict[str, Callable[[], None]]:
    """An epoch of each version, by what it is called."""
    torch.manual_seed(0)
    pixels = torch.randint(256, (given.images, 3, given.size, given.size), dtype=torch.uint8)
    encoder = Timm(image_size=(given.size, given.size), model=given.model, **Facts)  # type: ignore[arg-type]
    found: dict[str, Callable[[], None]] = {}
    for name, chunk in {"ours": 0, f"ours, {given.batch // 4} at a time": given.batch // 4}.items():
        method = JointEmbedding(deepcopy(encoder), SimCLR(blur=0.0, strengths=STRENGTHS), NTXent(TEMPERATURE),
                                projector=PROJECTOR, chunk=chunk).to(given.device)
        if given.device != "cpu":
            method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if given.compile:
            method.encoder.compile()
        found[name] = ours(method, pixels, given)
        head = method.projector
    if importlib.util.find_spec("lightly") is not None:
        found["lightly"] = theirs(encoder, head, pixels, given)
    elif not given.tiny:
        absent("lightly")
    return found


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"batch": 256, "size": 32, "images": 2048, "epochs": 3, "workers": 0, "threads": 1}.items():
        ask.add_argument(f"--{name}", type=int, default=value)
    ask.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    ask.add_argument("--model", default="resnet18", help="any of timm's")
    ask.add_argument("--precision", default="32", choices=("32", "bf16"))
    ask.add_argument("--compile", action="store_true", help="our encoder")
    ask.add_argument("--tiny", action="store_true", help="a few small images, to see that it runs; lightly may be missing")
    ask.add_argument("--out", type=Path, default=PAGE, help="the page whose section is replaced")
    given = ask.parse_args()
    if given.tiny:
        given.batch, given.images, given.epochs, given.size, given.workers = 16, 32, 1, 16, 0
    torch.set_num_threads(given.threads)
    measured, calls = dict[str, tuple[float, float]](), sides(given)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(given.epochs + 1):
        for name, call in calls.items():
            spent = timed(call, given.device)
            if turn or given.tiny:  # the first warms up
                seconds[name].append(spent)
    count = given.images // given.batch * given.batch
    for name, call in calls.items():
        measured[name] = count / statistics.median(seconds[name]), most(call, given.device) if not given.tiny else 0.0
    base = measured["lightly"][0] if "lightly" in measured else 0.0
    more = f" --precision {given.precision}{' --compile' if given.compile else ''}"
    lines = ["## A step of SimCLR", "",
             f"Made by `python benchmarks/vision_step.py --device {given.device} --model {given.model} --batch {given.batch} "
             f"--size {given.size} --workers {given.workers} --threads {given.threads}{more}`; torch {torch.__version__}, on "
             f"{where(given.device)}. Images are random noise; median of {given.epochs} epochs of {count:,}, alternating.", "",
             "| | images per second | times as fast as lightly | most memory of an epoch, MiB |", "|---|--:|--:|--:|"]
    for name, (rate, memory) in measured.items():
        lines.append(f"| {name} | {rate:,.0f} | {f'{rate / base:.2f}' if base else ''} | {memory:,.0f} |")
    print("\n".join(lines[4:]))
    write_section("vision-step", "\n".join(lines), given.out)


if __name__ == "__main__":
    main()
