"""What is asked of a method: on its own data, or on those that the caller chose."""
from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch

from .. import checks
from ..assembly import Assembly
from ..batches import seed_all
from ..checks import need
from ..contracts import Progress
from ..optimizers import groups
from .subject import Subject, batch_of

STEPS = 20


def first_batch(subject: Subject, name: str) -> None:
    """What is checked before every training."""
    run, batch = prepared(subject, name)
    checks.first_batch(run.method, batch)


def gradients(subject: Subject, name: str) -> None:
    """A step reaches every parameter that is to be trained, but for what an encoder needs for masks only."""
    run, batch = prepared(subject, name)
    encoder = run.method.encoder
    if hasattr(encoder, "layout"):
        keep = torch.arange(len(encoder.layout(batch).owner)) % 2 == 0
        encoder(batch, keep=keep).pooled.sum().backward()
    seed_all(7)
    run.method.step(batch)["loss"].backward()
    still = [key for key, p in run.method.named_parameters() if p.requires_grad and p.grad is None]
    need(not still, f"method {name}", f"no gradient reaches {', '.join(still[:5])}{' and more' if still[5:] else ''}; "
         "leave out what is not trained, or set requires_grad_(False)")


def seed(subject: Subject, name: str) -> None:
    """Two steps from one seed give one loss, bit for bit."""
    run, batch = prepared(subject, name)
    losses = []
    for method in (run.method, deepcopy(run.method)):
        seed_all(11)
        losses.append(method.step(batch)["loss"].detach())
    need(torch.equal(*losses), f"method {name}", f"one seed gives two losses, {losses[0].item()} and {losses[1].item()}")


def learns(subject: Subject, name: str) -> None:
    """Twenty steps on one batch lower the loss of that batch, for the same views."""
    run, batch = prepared(subject, name)
    method, optimizer = run.method, run.optimizer(groups(run.method))

    def loss() -> float:
        return sum(_step(deepcopy(method), batch, 100 + i).item() for i in range(3)) / 3

    before = loss()
    for i in range(STEPS):
        optimizer.zero_grad()
        _step(method, batch, i).backward()
        optimizer.step()
        method.after_step()
    after = loss()
    need(after < before, f"method {name}",
         f"{STEPS} steps on one batch took the loss of that batch from {before:.4g} to {after:.4g}")


def _step(method: Any, batch: Any, number: int) -> torch.Tensor:
    seed_all(number)
    loss: torch.Tensor = method.step(batch)["loss"]
    return loss


def prepared(subject: Subject, name: str) -> tuple[Assembly, Any]:
    """A run of the method and a batch, as they are before the first step."""
    run = subject.run(name)
    batch = batch_of(run)
    run.method.eval()
    with torch.no_grad():
        run.method.prepare(iter([batch]))
    for module in run.method.train().modules():
        if hasattr(type(module), "progress"):
            module.progress = Progress(1, 2)  # type: ignore[assignment]  # past every warm-up
    return run, batch


QUESTIONS = {"first batch": first_batch, "gradients": gradients, "seed": seed, "learns": learns}
