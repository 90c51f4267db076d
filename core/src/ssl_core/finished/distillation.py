"""Distil the data of a run into a few synthetic items from which its encoder can be learned: KRR-ST (arXiv:2310.06511)."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..batches import move, seed_all, unnoticed
from ..build import build
from ..errors import ConfigError, DataError
from ..files import atomically
from ..plugins import Plugins
from ..run import Run

RIDGE = 1e-6  # of the kernel, times its trace


class Distilled(NamedTuple):
    """What came out.

    Args:
        inputs: (M, ...) synthetic items; targets: (M, D) what an encoder should make of them.
        error: mean squared error of kernel ridge regression from them on held-out items, over the variance of the targets.
        before: the same for the real items that they started from.
    """

    inputs: Tensor
    targets: Tensor
    error: float
    before: float


def distil(run: Run, items: int, out: Path | str, *, steps: int = 500, pool: int = 4, batch_size: int = 256, lr: float = 1e-3,
           renew: int = 100, device: torch.device | str = "cpu", say: Callable[[str], None] = lambda line: None) -> Distilled:
    """Learn `items` synthetic inputs and targets such that an encoder that fits them gives what this run's gives.

    In every step one of `pool` online networks f is drawn; f(x_s) and the targets y_s predict the frozen encoder T of the run
    on real items by kernel ridge regression (paper, equation 6), and x_s, y_s follow the gradient of the squared error. Then f
    takes a step towards the synthetic set; every `renew` steps of its own it starts anew.

    Args:
        run: finished; its encoder is the teacher, and its data are distilled.
        items: M.
        out: the .npz to write: `inputs`, `targets`, and `names` of the real items that they started from.
        steps: of the synthetic set (the paper: 160,000).
        pool: online networks, of the run's own kind, from random weights.
        batch_size: real items in a step.
        lr: of the synthetic set, by Adam.
        renew: steps after which an online network is made anew (the paper: 1000).
        device: where to compute.
        say: is told the error now and then.

    Raises:
        ConfigError: the batches of these data hold no single float tensor with one entry per item (graphs, ragged recordings).
        DataError: fewer items than wanted.
    """
    teacher = run.encoder.to(device).requires_grad_(False)
    real, make, names = gathered(run, device)
    if not 1 <= items <= len(real) // 2:
        raise DataError(f"{items} items cannot be distilled from {len(real)}; 1 to {len(real) // 2} can")
    with torch.no_grad():
        wanted = torch.cat([teacher(make(part)).pooled for part in real.split(batch_size)])
    with unnoticed():
        seed_all(run.config.seed)
        order = torch.randperm(len(real), device=device)
        held, learn, chosen = order[: max(1, len(real) // 10)], order[max(1, len(real) // 10):], order[-items:]
        inputs = real[chosen].clone().requires_grad_(True)
        targets = wanted[chosen].clone().requires_grad_(True)
        begun = inputs.detach().clone(), targets.detach().clone()
        nets = [Online(run, device, renew) for _ in range(pool)]
        search = torch.optim.Adam([inputs, targets], lr=lr)
        for step in range(steps):
            net = nets[int(torch.randint(pool, ()))]
            some = learn[torch.randint(len(learn), (min(batch_size, len(learn)),), device=device)]
            search.zero_grad()
            loss = F.mse_loss(predicted(net(make(real[some])).detach(), net(make(inputs)), targets), wanted[some])
            loss.backward()
            search.step()
            net.follow(make(inputs.detach()), targets.detach())
            if step % max(1, steps // 10) == 0:
                say(f"step {step}: error {loss.item() / float(wanted.var()):.4f}")
        fresh = Online(run, device, renew)
        error, before = (held_out(fresh, make, real[held], wanted[held], *pair) for pair in (
            (inputs.detach(), targets.detach()), begun))
    found = Distilled(inputs.detach().cpu(), targets.detach().cpu(), error, before)
    save(found, [names[i] for i in chosen.tolist()], Path(out))
    return found


def predicted(real: Tensor, synthetic: Tensor, targets: Tensor) -> Tensor:
    """Kernel ridge regression with the linear kernel of features and a bias: (N, D), (M, D), (M, E) -> (N, E), in float64."""
    rows, known = (F.pad(x.double(), (0, 1), value=1.0) for x in (real, synthetic))
    kernel = known @ known.T  # (M, M)
    ridge = RIDGE * kernel.diagonal().sum().detach().clamp(min=1e-12)
    factor = torch.linalg.cholesky(kernel + ridge * torch.eye(len(kernel), dtype=kernel.dtype, device=kernel.device))
    return (rows @ known.T @ torch.cholesky_solve(targets.double(), factor)).to(targets.dtype)


@torch.no_grad()
def held_out(net: Online, make: Any, real: Tensor, wanted: Tensor, inputs: Tensor, targets: Tensor) -> float:
    """Error of the regression on items that nothing was learned from, by a network that nothing was learned with."""
    guess = predicted(torch.cat([net(make(part)) for part in real.split(256)]), net(make(inputs)), targets)
    return float(F.mse_loss(guess, wanted) / wanted.var())


class Online(nn.Module):
    """A network of the run's kind that learns the synthetic set meanwhile: SGD, lr 0.1, weight decay 1e-3, as in the paper.

    Args:
        run: whose encoder it is like.
        device: where it lies.
        renew: steps after which it starts from new random weights.
    """

    def __init__(self, run: Run, device: torch.device | str, renew: int) -> None:
        super().__init__()
        self.run, self.device, self.renew = run, device, renew
        self.start()

    def start(self) -> None:
        record = self.run.read_json("encoder.json")
        target = Plugins().find("encoders", record["encoder"], record["plugin"]).load()
        known = {key: item for key, item in record["options"].items() if key != "download"}
        self.net = build("encoder", target, chosen=known)[0].to(self.device)
        self.search = torch.optim.SGD(self.net.parameters(), lr=0.1, weight_decay=1e-3)
        self.taken = 0

    def forward(self, batch: Any) -> Tensor:
        return self.net.eval()(batch).pooled

    def follow(self, batch: Any, targets: Tensor) -> None:
        """One step of its own on the synthetic set."""
        if self.taken >= self.renew:
            self.start()
        self.taken += 1
        self.search.zero_grad()
        F.mse_loss(self.net.train()(batch).pooled, targets).backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)  # narrow networks leave the paper's rate otherwise
        self.search.step()


def gathered(run: Run, device: torch.device | str) -> tuple[Tensor, Any, list[str]]:
    """Every item of the run's data as one tensor (N, ...) float, a function that makes a batch of such rows, and names."""
    data = run.data()
    batches = [move(batch, device) for batch in (data.train if data.items is None else data.items)]
    read, make = opened(batches[0], run.encoder)
    parts = [read(batch) for batch in batches]
    if len({part.shape[1:] for part in parts}) > 1:
        raise ConfigError(f"the items of these data have different sizes ({tuple(parts[0].shape[1:])} and others), so they are "
                          f"no set of tensors to distil")
    real = torch.cat(parts)
    names = list(map(str, data.names)) if data.names is not None else [str(i) for i in range(len(real))]
    return real, make, names


def opened(batch: Any, encoder: Any) -> tuple[Callable[[Any], Tensor], Callable[[Tensor], Any]]:
    """How to read a float tensor (B, ...) from a batch, and how to make a batch from one.

    A batch is a tensor, or a named tuple with one tensor whose other parts may be None. Bytes become floats from 0 to 1.
    """
    def scaled(x: Tensor) -> Tensor:
        return x.float() / 255 if x.dtype is torch.uint8 else x.float()
    if isinstance(batch, Tensor):
        return scaled, lambda x: x
    fields, spare = getattr(batch, "_fields", ()), getattr(batch, "_field_defaults", {})
    needed = [name for name in fields if name not in spare]
    if len(needed) != 1 or not isinstance(getattr(batch, needed[0]), Tensor):
        raise ConfigError(f"a batch of type {type(batch).__name__} is not one tensor with an entry per item, so its items "
                          f"cannot be learned by gradients.\n  Try: data of images, volumes or numbers")
    kind = type(batch)
    return (lambda found: scaled(getattr(found, needed[0]))), (lambda x: kind(**{needed[0]: x}))


def save(found: Distilled, names: list[str], out: Path) -> None:
    """`inputs`, `targets` and `names` as one .npz."""
    import numpy as np

    def write(beside: Path) -> None:
        with beside.open("wb") as file:
            np.savez(file, inputs=found.inputs.numpy(), targets=found.targets.numpy(), names=np.array(names))
    atomically(out, write)
