"""Forward and backward of six objectives against lightly's modules, on the same tensors in one process, alternating: one
table, written to the section "objectives" of docs/results.md.

    python benchmarks/objectives.py [--only nt-xent,vicreg] [--turns 15] [--threads 1] [--device cpu] [--out FILE]

Both sides make their prototypes' scores themselves, and both losses are compared before anything is timed.
"""
from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from page import PAGE, write_section
from side_by_side import absent, alternating, where
from torch import Tensor, nn

from ssl_core import builtin

OFFERED = {component.name: component for component in builtin.ssl_objectives()}
SIZES = {  # rows N, width D, views, and prototypes where there are any
    "nt-xent": [(256, 128, 2), (1024, 128, 2), (4096, 128, 2)],
    "barlow-twins": [(256, 2048, 2), (1024, 2048, 2), (256, 8192, 2)],
    "vicreg": [(256, 2048, 2), (1024, 2048, 2), (256, 8192, 2)],
    "dino": [(64, 256, 8, 4096), (64, 256, 8, 16384)],
    "swav": [(256, 128, 8, 3000)],
    "mmcr": [(256, 512, 4), (1024, 512, 4)],
}
LARGE = 2  # views of `dino` and `swav` that are targets
OPTIONS: dict[str, dict[str, Any]] = {
    "nt-xent": {"temperature": 0.1}, "mmcr": {"within": 0.005}, "dino": {"frozen": 0.0},
    "swav": {"frozen": 0.0, "target_views": LARGE},
}


def ours(name: str, width: int, prototypes: int, device: str) -> nn.Module:
    known = {"prototypes": prototypes} if prototypes else {}
    objective: Any = OFFERED[name].load()(**OPTIONS.get(name, {}), **known)
    if hasattr(objective, "allocate"):
        objective.allocate(width)
    made: nn.Module = objective.to(device)
    return made


class Theirs(nn.Module):
    """lightly's loss, with its own prototypes where it has any, started from ours."""

    def __init__(self, name: str, width: int, prototypes: int, like: Any) -> None:
        super().__init__()
        from lightly import loss
        from lightly.models.modules.heads import DINOProjectionHead, SwaVPrototypes
        self.name = name
        self.loss: Any = {
            "nt-xent": lambda: loss.NTXentLoss(0.1), "barlow-twins": loss.BarlowTwinsLoss, "vicreg": loss.VICRegLoss,
            "mmcr": lambda: loss.MMCRLoss(0.005), "dino": lambda: loss.DINOLoss(prototypes), "swav": loss.SwaVLoss}[name]()
        if name == "dino":
            self.last, self.slow = (DINOProjectionHead(width, width, width, prototypes, norm_last_layer=True).last_layer
                                    for _ in range(2))
            for layer in (self.last, self.slow):
                weights = dict(layer.named_parameters())
                key = next(key for key in weights if key.endswith(("weight_v", "original1", "weight")))
                weights[key].data.copy_(like.prototypes.directions)
        if name == "swav":
            self.last = SwaVPrototypes(width, prototypes)
            self.last.heads[0].weight.data.copy_(like.prototypes.directions)
            self.last.heads[0].bias.data.zero_()  # the paper's have none

    def forward(self, *views: Tensor) -> Tensor:
        if self.name == "dino":
            with torch.no_grad():
                targets = [self.slow(F.normalize(view, dim=1)) for view in views[:LARGE]]
            return self.loss(targets, [self.last(F.normalize(view, dim=1)) for view in views])
        if self.name == "swav":
            self.last.normalize()
            scores = [self.last(F.normalize(view, dim=1)) for view in views]
            return self.loss(scores[:LARGE], scores[LARGE:])
        if self.name == "mmcr":  # which leaves it to the user to normalise
            rows = F.normalize(torch.stack(views, dim=1), dim=2)
            return self.loss(*rows.chunk(2, dim=1))
        return self.loss(*views)


def step(objective: nn.Module, views: list[Tensor], name: str) -> Tensor:
    """The loss; the gradient of every row is in its `grad`."""
    for leaf in (*views, *objective.parameters()):
        leaf.grad = None
    held_still = {"targets": views[:LARGE]} if name == "dino" and not isinstance(objective, Theirs) else {}
    loss: Tensor = objective(*views, **held_still).sum()
    loss.backward()
    for module in objective.modules():  # what is kept for after the step
        if getattr(module, "held", None):
            module.held = []  # type: ignore[assignment]
    return loss.detach()


def compared(name: str, size: tuple[int, ...], given: argparse.Namespace) -> str:
    """One row of the table.

    Raises:
        AssertionError: both sides compute something else.
    """
    rows, width, count = size[:3]
    prototypes = size[3] if len(size) > 3 else 0
    torch.manual_seed(0)
    base = torch.randn(rows, width, device=given.device)
    views = [(base + torch.randn(rows, width, device=given.device)).requires_grad_() for _ in range(count)]
    mine = ours(name, width, prototypes, given.device)
    other = Theirs(name, width, prototypes, mine).to(given.device)
    gradients = []
    for objective in (mine, other):
        loss = step(objective, views, name)
        gradients.append(torch.cat([loss.view(1), *(view.grad.flatten() for view in views if view.grad is not None)]))
    gap = float((gradients[0] - gradients[1]).norm() / gradients[1].norm())
    assert gap < 1e-2, f"{name}: loss and gradients differ by {gap:.1e}"
    sides: dict[str, Callable[[], Any]] = {"ours": lambda: step(mine, views, name), "lightly": lambda: step(other, views, name)}
    found = alternating(sides, given.turns, given.device)
    a, b = found["ours"], found["lightly"]
    what = f"{rows:,} x {width:,}, {count} views" + (f", {prototypes:,} prototypes" if prototypes else "")
    return (f"| {name} | {what} | {1e3 * a.seconds:.1f} | {1e3 * b.seconds:.1f} | {b.seconds / a.seconds:.2f} | "
            f"{a.memory:.0f} | {b.memory:.0f} | {gap:.0e} |")


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--only", default=",".join(SIZES))
    ask.add_argument("--turns", type=int, default=15)
    ask.add_argument("--threads", type=int, default=1)
    ask.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    ask.add_argument("--out", type=Path, default=PAGE, help="the page whose section is replaced")
    given = ask.parse_args()
    if importlib.util.find_spec("lightly") is None:
        absent("lightly")
    import lightly
    torch.set_num_threads(given.threads)
    words = f"--device {given.device} --turns {given.turns} --threads {given.threads}"
    lines = ["## Objectives, side by side", "",
             f"Made by `python benchmarks/objectives.py {words}` with lightly {lightly.__version__}, "
             f"torch {torch.__version__}, on {where(given.device)}.", "",
             "One loss and its gradients on the same float32 rows, in one process, alternating; medians. Milliseconds are of",
             "the processor on a CPU, of the wall clock on a GPU; memory is the most that was held at once beyond the rows.",
             "`times as fast` is lightly's time over ours; the last column, how far loss and gradients are apart.", "",
             "| objective | rows | ours, ms | lightly, ms | times as fast | ours, MiB | lightly, MiB | apart |",
             "|---|---|--:|--:|--:|--:|--:|--:|"]
    for name in given.only.split(","):
        for size in SIZES[name]:
            lines.append(compared(name, size, given))
            print(lines[-1], flush=True)
    write_section("objectives", "\n".join(lines), given.out)


if __name__ == "__main__":
    main()
