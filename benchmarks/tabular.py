"""One training step of T-JEPA on 512 rows of 54 numbers (Jannis's shape), against a plain version of the published algorithm.

The plain version draws masks row by row in Python, runs the slow encoder and the predictor once for each of four targets,
which in the published code alias each other, and moves the slow encoder one parameter at a time. Weights, depths, the
optimizer, and in each turn the numbers of columns seen and predicted are the same; steps alternate in this process. Because
the published targets are one, ours with one target has its loss; ours with four independent ones, in one pass, is shown too.

    python benchmarks/tabular.py [--rows 512] [--columns 54] [--depth 4] [--width 64] [--repeat 5] [--device cpu]
        [--precision 32]
"""
from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core.objectives.regression import MSE
from ssl_tabular.augmentations import ColumnSubsets
from ssl_tabular.encoders import Transformer
from ssl_tabular.methods.tjepa import TJEPA
from ssl_tabular.rows import Rows

CONTEXT, TARGET = (0.13628, 0.36819), (0.15563, 0.62223)  # the released configuration


class Plain(nn.Module):
    """The published algorithm: torch's transformer layers, masks as lists, four targets one after the other."""

    def __init__(self, columns: int, width: int, depth: int, heads: int, inner: int) -> None:
        super().__init__()
        self.columns = columns
        self.weight, self.bias = nn.Parameter(torch.randn(columns, width)), nn.Parameter(torch.randn(columns, width))
        self.reg = nn.Parameter(torch.randn(1, width))
        self.encoder, self.slow = self.layers(width, depth, heads, width), self.layers(width, depth, heads, width)
        self.enter, self.body, self.leave = nn.Linear(width, inner), self.layers(inner, depth, 4, 256), nn.Linear(inner, width)
        self.query, self.place = nn.Parameter(torch.randn(inner)), nn.Parameter(torch.randn(columns + 1, inner), False)
        self.slow.load_state_dict(self.encoder.state_dict())
        self.slow.requires_grad_(False)
        for weight in self.parameters():
            if weight.requires_grad:
                weight.register_hook(lambda grad: grad.clamp(-1, 1))

    @staticmethod
    def layers(width: int, depth: int, heads: int, hidden: int) -> nn.Module:
        layer = nn.TransformerEncoderLayer(width, heads, hidden, dropout=0.0, batch_first=True)
        return nn.Sequential(nn.TransformerEncoder(layer, depth, enable_nested_tensor=False), nn.LayerNorm(width),
                             nn.Linear(width, width), nn.LayerNorm(width))

    def tokens(self, rows: Rows) -> Tensor:
        return torch.cat([self.reg.expand(rows.size, 1, -1), rows.numeric[..., None] * self.weight + self.bias], dim=1)

    def masks(self, items: int, counts: tuple[int, int], rng: np.random.Generator) -> tuple[Tensor, list[Tensor]]:
        """Row by row; the four targets of a row are views of one buffer."""
        n, m = counts
        context, targets = [], [[] for _ in range(4)]
        for _ in range(items):
            columns = np.arange(self.columns)
            rng.shuffle(columns)
            rest = columns[n:]
            context.append(columns[:n])
            for target in targets:
                rng.shuffle(rest)
                target.append(rest[:m])
        return torch.from_numpy(np.stack(context)), [torch.from_numpy(np.stack(target)) for target in targets]

    def step(self, rows: Rows, counts: tuple[int, int], rng: np.random.Generator) -> Tensor:
        context, targets = self.masks(rows.size, counts, rng)
        device, losses = rows.numeric.device, []

        def at(x: Tensor, index: Tensor) -> Tensor:
            return x.gather(1, index[..., None].expand(-1, -1, x.shape[2]))

        context = context.to(device)
        seen = self.encoder(at(self.tokens(rows), context))
        for target in targets:
            target = target.to(device)
            with torch.no_grad():
                wanted = at(self.slow(self.tokens(rows)), target)
            x = torch.cat([self.enter(seen) + self.place[context], self.query + self.place[target]], dim=1)
            losses.append(F.mse_loss(self.leave(self.body(x))[:, context.shape[1]:], wanted))
        return torch.stack(losses).mean()

    @torch.no_grad()
    def follow(self) -> None:
        for slow, fast in zip(self.slow.parameters(), self.encoder.parameters(), strict=True):
            slow.mul_(0.996).add_(fast, alpha=0.004)


def stepper(module: nn.Module, loss: Callable[[], Tensor], after: Callable[[], None], device: str, precision: str
            ) -> Callable[[], float]:
    """A function that takes one step and tells its seconds."""
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], 1e-4, fused=True)

    def step() -> float:
        start = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bf16"):
            value = loss()
        value.backward()
        optimizer.step()
        after()
        if device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter() - start
    return step


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = {"rows": 512, "columns": 54, "depth": 4, "width": 64, "heads": 2, "inner": 16, "repeat": 5}
    for name, value in sizes.items():
        ask.add_argument(f"--{name}", type=int, default=value)
    ask.add_argument("--device", default="cpu")
    ask.add_argument("--precision", choices=("32", "bf16"), default="32", help="of ours; the published code has no autocast")
    given = ask.parse_args()
    torch.manual_seed(0)
    x = torch.randn(given.rows, given.columns)
    rows = Rows(x, torch.zeros_like(x, dtype=torch.bool), torch.zeros(given.rows, 0, dtype=torch.long))
    rows = Rows(*(part.to(given.device) for part in rows))

    def ours(targets: int) -> TJEPA:
        encoder = Transformer(given.columns, (), given.width, given.depth, given.heads, given.width, readout="flatten")
        return TJEPA(encoder, ColumnSubsets(CONTEXT, TARGET, targets), MSE(), shared_context=targets > 1, width=given.inner,
                     depth=given.depth, heads=4, hidden=256).to(given.device)

    plain = Plain(given.columns, given.width, given.depth, given.heads, given.inner).to(given.device)
    rng, counts = np.random.default_rng(0), [(0, 0)]
    one, four = ours(1), ours(4)
    drawn = one.augmentation.counts
    for made in (one, four):
        made.augmentation.counts = lambda columns: counts[0]
    steps = {"published, plain": stepper(plain, lambda: plain.step(rows, counts[0], rng), plain.follow, given.device, "32"),
             "ours, one target": stepper(one, lambda: one.step(rows)["loss"], one.after_step, given.device, given.precision),
             "ours, four targets": stepper(four, lambda: four.step(rows)["loss"], four.after_step, given.device,
                                           given.precision)}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(given.repeat + 1):
        counts[0] = drawn(given.columns)
        for name, step in steps.items():
            spent = step()
            if turn:  # the first warms up
                times[name].append(spent)
    masks = []
    for _ in range(20):
        start = time.perf_counter()
        four.places(rows)
        if given.device != "cpu":
            torch.cuda.synchronize()
        masks.append(time.perf_counter() - start)
    base = times["published, plain"]
    for name, found in times.items():
        middle = statistics.median(found)
        ratio = statistics.median(a / b for a, b in zip(base, found, strict=True))
        print(f"{name:<20} {1000 * middle:9.1f} ms  {given.rows / middle:10,.0f} rows/s  {ratio:5.1f} times as fast")
    share = statistics.median(masks) / statistics.median(times["ours, four targets"])
    print(f"masks of four targets: {1000 * statistics.median(masks):.2f} ms, {100 * share:.1f} % of the step")


if __name__ == "__main__":
    main()
