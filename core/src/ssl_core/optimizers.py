"""Optimizers by name: any of torch.optim in lower case, and LARS."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .errors import ConfigError, nearest


class LARS(torch.optim.Optimizer):
    """SGD with momentum and one trust ratio per layer, for large batches (arXiv:1708.03888).

    Args:
        params: parameters or groups; a group with `adapt=False` (biases, norms) is plain SGD with momentum.
        lr: learning rate, usually 0.2 * batch size / 256 or more.
        momentum: of SGD.
        weight_decay: added to the gradient before the trust ratio.
        trust: coefficient of the trust ratio |w| / |g|.
    """

    def __init__(self, params: Iterable[Any], lr: float = 0.2, momentum: float = 0.9, weight_decay: float = 1e-6,
                 trust: float = 1e-3) -> None:
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay, trust=trust, adapt=True))

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, group)
        return loss

    def _move(self, weight: Tensor, group: dict[str, Any]) -> None:
        grad = weight.grad.add(weight, alpha=group["weight_decay"])  # type: ignore[union-attr]
        if group["adapt"]:
            size, slope = weight.norm(), grad.norm()
            grad = grad * torch.where((size > 0) & (slope > 0), group["trust"] * size / slope, 1.0)  # no host sync
        velocity = self.state[weight].setdefault("velocity", torch.zeros_like(weight))
        velocity.mul_(group["momentum"]).add_(grad)
        weight.add_(velocity, alpha=-group["lr"])


#: Of torch.optim, but not for the groups and the dense gradients that a method has.
UNFIT = ("optimizer", "lbfgs", "muon", "sparseadam")


def find(name: str) -> Callable[..., torch.optim.Optimizer]:
    """The optimizer class called `name`, in any case: "adamw", "lars", "sgd", "radam", ...

    Raises:
        ConfigError: there is none; names the nearest.
    """
    known = {key.lower(): item for key, item in vars(torch.optim).items()
             if isinstance(item, type) and issubclass(item, torch.optim.Optimizer) and key.lower() not in UNFIT}
    known["lars"] = LARS
    if name.lower() not in known:
        raise ConfigError(f"no optimizer named {name!r}{nearest(name.lower(), known)}\n  Offered: {', '.join(sorted(known))}")
    return known[name.lower()]


def groups(module: nn.Module) -> list[dict[str, Any]]:
    """Trained parameters in two groups: matrices, which decay, and biases and norms, which do not.

    Parts with an attribute `constant_rate = True` make two further groups, marked `constant`: no schedule is for them.
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    steady = {p for part in module.modules() if getattr(part, "constant_rate", False) for p in part.parameters()}
    made: list[dict[str, Any]] = []
    for some, mark in ((set(trained) - steady, {}), (steady, {"constant": True})):
        made += [{"params": [p for p in trained if p in some and p.ndim > 1], **mark},
                 {"params": [p for p in trained if p in some and p.ndim <= 1], "weight_decay": 0.0, "adapt": False, **mark}]
    return [group for group in made if group["params"]]
