"""What is asked of an objective: on rows from a normal distribution, in float64."""
from __future__ import annotations

import inspect
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any
from unittest import SkipTest

import torch
from torch import Tensor, nn

from .. import build
from ..checks import attempt, need, shape
from ..components import Component
from ..contracts import Progress
from .subject import Subject, close

ROWS, WIDTH = 16, 8
FACTS = {"classes": 4}  # what labelled data would say
CLASSES = torch.arange(ROWS) % FACTS["classes"]


def loss(subject: Subject, name: str) -> None:
    """Finite, one number, with a gradient to the rows and to every parameter of its own."""
    objective, who = made(subject.offers["objectives"][name]), f"objective {name}"
    views = [view.requires_grad_() for view in rows(objective)]
    found = attempt(who, partial(compared, objective, views))
    need(isinstance(found, Tensor) and found.ndim == 0, who, f"it should return one number, is {shape(found)}")
    need(found.isfinite(), who, f"it is {found.item()} on rows from a normal distribution")
    attempt(f"the gradient of {who}", found.backward)
    grads = [view.grad for view in views if view.grad is not None]
    need(any(grad.any() for grad in grads), who, "no gradient reaches the rows")
    need(all(grad.isfinite().all() for grad in grads), who, "its gradient holds nan or inf")
    if isinstance(objective, nn.Module):
        still = [key for key, p in objective.named_parameters() if p.requires_grad and p.grad is None]
        need(not still, who, f"no gradient reaches {', '.join(still)}")


def order(subject: Subject, name: str) -> None:
    """The order of the items changes nothing, unless it draws something for each of them."""
    record = subject.offers["objectives"][name]
    turn = torch.randperm(ROWS, generator=torch.Generator().manual_seed(5))
    views = rows(made(record))
    plain, turned = compared(made(record), views), compared(made(record), [view[turn] for view in views], turn)
    if not torch.allclose(turned, plain, rtol=1e-6) and not torch.equal(compared(made(record), views, seed=3), plain):
        raise SkipTest("it draws random numbers for each item, so that two orders draw differently")
    close(f"objective {name}", "the loss of the items, and of the items in another order", turned[None], plain[None], 1e-6)


def processes(subject: Subject, name: str) -> None:
    """Where it claims so (`gathers = True`): two processes with half of the batch each find what one finds with all of it."""
    if not gathers(subject.offers["objectives"][name]):
        raise SkipTest("it does not claim to: it has no `gathers = True`")
    if subject.halves is None:
        subject.halves = in_two_processes(subject.plugin)
    who, found = f"objective {name}", [half[name] for half in subject.halves]
    for half in found:
        need(not isinstance(half, str), who, f"it fails in two processes: {half}")
    mean = torch.cat([(a + b).flatten() / 2 for a, b in zip(*found, strict=True)])  # as DDP averages
    whole = torch.cat([part.flatten() for part in half_of(subject.offers["objectives"][name], 0, 1)])
    close(who, "loss and gradients of two processes, and of one with the joined batch", mean, whole, 1e-6)


def gathers(record: Component) -> bool:
    return getattr(record.load(), "gathers", False) is True


def in_two_processes(plugin: str) -> list[dict[str, Any]]:
    """{objective: loss and gradients, or what went wrong} of each process, for all that claim to gather."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", f"{__package__}.two_processes", plugin, folder]
        started = [subprocess.Popen([*words, str(rank)], stderr=subprocess.PIPE, text=True) for rank in range(2)]
        errors = [process.communicate(timeout=300)[1] for process in started]
        need(not any(process.returncode for process in started), "two processes", f"they failed: {errors[0][-500:]}")
        return [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(2)]


def half_of(record: Component, rank: int, world: int) -> list[Tensor]:
    """Loss, and gradients of a linear map and of the objective's parameters, for this process's part of the batch."""
    objective, mine = made(record), torch.arange(ROWS)[rank * ROWS // world: (rank + 1) * ROWS // world]
    weight = torch.eye(WIDTH, dtype=torch.float64).requires_grad_()
    found = compared(objective, [view[mine] @ weight for view in rows(objective)], mine)
    found.backward()
    trained = [p for p in objective.parameters() if p.requires_grad] if isinstance(objective, nn.Module) else []
    return [found.detach(), *(p.grad for p in [weight, *trained] if p.grad is not None)]


def made(record: Component) -> Any:
    """The objective with its defaults, past every warm-up, in float64."""
    target = record.load()
    taken = build.options(target)
    needed = [name for name, option in taken.items() if option.required and name not in FACTS]
    if needed:
        raise SkipTest(f"it needs {', '.join(needed)}")
    torch.manual_seed(0)
    objective = target(**{name: fact for name, fact in FACTS.items() if name in taken and taken[name].required})
    if hasattr(objective, "allocate"):
        objective.allocate(WIDTH)
    if hasattr(type(objective), "progress"):
        objective.progress = Progress(9, 10)
    return objective.double() if isinstance(objective, nn.Module) else objective


def rows(objective: Any) -> list[Tensor]:
    """Aligned rows (16, 8): two views, or as many as its `views` says."""
    g = torch.Generator().manual_seed(1)
    base = torch.randn(ROWS, WIDTH, generator=g, dtype=torch.float64)
    return [base + torch.randn(ROWS, WIDTH, generator=g, dtype=torch.float64) for _ in range(getattr(objective, "views", 2))]


def compared(objective: Any, views: list[Tensor], which: Tensor | None = None, seed: int = 2) -> Tensor:
    """The loss of these views of the items `which`, with labels where it asks for them."""
    wants = inspect.signature(getattr(objective, "forward", objective)).parameters
    labels = {"labels": CLASSES if which is None else CLASSES[which]} if "labels" in wants else {}
    torch.manual_seed(seed)
    found: Tensor = objective(*views, **labels)
    return found


QUESTIONS = {"loss": loss, "order": order, "two processes": processes}
