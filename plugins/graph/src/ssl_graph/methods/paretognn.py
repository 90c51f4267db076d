"""ParetoGNN: five tasks on one encoder, whose gradients are combined so that none is made worse (arXiv:2210.02016)."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import JointEmbedding, Method
from ssl_core.errors import nearest
from ssl_core.mixers import mgda
from ssl_core.objectives.regression import MSE

from ..augmentations import Drop
from ..objectives import BCE, CCA, ScaledCosine
from .dgi import DGI, Shuffle
from .graphmae import GraphMAE, HideNodes
from .selftask import SelfTask

TASKS = ("rebuild", "belong", "contrast", "decorrelate", "link")


class ParetoGNN(Method):
    """Methods that share an encoder, each a task: the mixer combines what they ask of the encoder's weights.

    `rebuild` hidden features (GraphMAE), what nodes `belong` to (DGI), node `contrast` by the objective (GRACE),
    `decorrelate` (CCA-SSG), and `link` (was there an edge?). Each task is run once and its gradient stored; the stored
    gradients are combined, where the official code runs all tasks again with weighted losses.

    Args:
        tasks: some of `rebuild`, `belong`, `contrast`, `decorrelate`, `link`.
        mixer: `mgda`, see `balanced`; `sum` for a plain sum of the losses.
        projector: widths of the head of `contrast`.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, tasks: tuple[str, ...] = TASKS,
                 mixer: Literal["mgda", "sum"] = "mgda", projector: tuple[int, ...] = (512, 512)) -> None:
        super().__init__(encoder, augmentation, objective)
        for name in tasks:
            if name not in TASKS:
                raise ValueError(f"no task named {name!r}{nearest(name, TASKS)} There are {', '.join(TASKS)}")
        if not tasks:
            raise ValueError(f"expected one or more tasks of {', '.join(TASKS)}")
        made: dict[str, Method] = {
            "rebuild": GraphMAE(encoder, HideNodes(0.5, 0.0, 0.35), ScaledCosine(3.0), "gcn"),
            "belong": DGI(encoder, Shuffle(), BCE()),
            "contrast": JointEmbedding(encoder, Drop((0.3, 0.3), (0.3, 0.3)), objective, projector, norm="none"),
            "decorrelate": JointEmbedding(encoder, Drop((0.2, 0.2), (0.2, 0.2)), CCA(1e-3), ()),
            "link": SelfTask(encoder, Drop((0.0,), (0.4,)), MSE(), ("edge-mask",), (1.0,)),
        }
        self.tasks, self.mixer = nn.ModuleDict({name: made[name] for name in tasks}), mixer

    def step(self, batch: Any) -> dict[str, Tensor]:
        (view, *_) = self.augmentation(batch)
        losses = {name: task.step(view)["loss"] for name, task in self.tasks.items()}  # type: ignore[operator]
        if self.mixer == "sum":
            return {"loss": torch.stack([*losses.values()]).sum()} | losses
        shared = [p for p in self.encoder.parameters() if p.requires_grad]
        known = {id(p) for p in shared}
        heads = [p for p in self.parameters() if p.requires_grad and id(p) not in known]
        return {"loss": balanced(losses, shared, heads)} | {name: loss.detach() for name, loss in losses.items()}

    def after_step(self) -> None:
        super().after_step()
        for task in self.tasks.values():
            task.after_step()  # type: ignore[operator]


def balanced(losses: Mapping[str, Tensor], shared: Sequence[Tensor], heads: Sequence[Tensor] = ()) -> Tensor:
    """One loss, (), whose gradient in `shared` is the shortest mixture of the losses' gradients made equally long.

    In `heads` the gradient is that of the sum, which is also its value. Of gradients as they come the shortest mixture would be
    the smallest of them, little else; weights found for equal lengths and put on the losses as they are (the official code)
    let the largest win. The mixture is as long as its gradients are on average. Each loss is differentiated here, once: what
    is returned is linear in the weights, with the gradients that were found.
    """
    weights = [*shared, *heads]
    with torch.autocast(shared[0].device.type, enabled=False):  # backward passes choose their own precision
        found = [torch.autograd.grad(loss, weights, materialize_grads=True) for loss in losses.values()]
        flat = torch.stack([torch.cat([grad.flatten() for grad in grads[: len(shared)]]) for grads in found])  # (K, P)
        unit = F.normalize(flat, dim=1)
        mixed = mgda(unit @ unit.T) @ unit * flat.norm(dim=1).mean() / len(flat)
    wanted = [piece.view_as(weight) for weight, piece in zip(shared, mixed.split([p.numel() for p in shared]), strict=True)]
    wanted += [torch.stack(grads).sum(dim=0) for grads in zip(*(grads[len(shared):] for grads in found), strict=True)]
    linear = torch.stack([(grad * weight).sum() for weight, grad in zip(weights, wanted, strict=True)]).sum()
    return torch.stack([*losses.values()]).sum().detach() + linear - linear.detach()
