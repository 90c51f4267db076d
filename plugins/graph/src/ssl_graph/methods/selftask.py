"""SelfTask: one encoder, several questions about the graph that answer themselves (arXiv:2006.10141)."""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Method
from ssl_core.errors import nearest

from .dgi import nodes
from .pretext import TASKS, Question


class SelfTask(Method):
    """A linear head per task on the nodes of the encoder, and the weighted sum of their losses.

    The paper trains them beside node classification; here they stand alone. Quantities are compared by the objective,
    classes by cross-entropy. Each view of the augmentation is asked about.

    Args:
        tasks: names of tasks, see `ssl_graph.methods.pretext.TASKS`.
        weights: one per task; empty for those of the paper on Cora.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any,
                 tasks: tuple[str, ...] = ("degree", "attribute-mask", "pair-distance", "pair-similarity"),
                 weights: tuple[float, ...] = ()) -> None:
        super().__init__(encoder, augmentation, objective)
        for name in tasks:
            if name not in TASKS:
                raise ValueError(f"no task named {name!r}{nearest(name, TASKS)} There are {', '.join(TASKS)}")
        if not tasks or weights and len(weights) != len(tasks):
            raise ValueError(f"expected one or more tasks and as many weights, got {len(tasks)} and {len(weights)}")
        self.tasks = {name: TASKS[name]() for name in tasks}
        self.weights = dict(zip(tasks, weights or [task.weight for task in self.tasks.values()], strict=True))
        self.heads = nn.ModuleDict({name: nn.Linear(encoder.width, task.outputs)  # type: ignore[attr-defined]
                                    for name, task in self.tasks.items()})

    def step(self, batch: Any) -> dict[str, Tensor]:
        views = self.augmentation(batch)
        losses = {name: torch.stack([self.ask(name, task(view)) for view in views]).mean() for name, task in self.tasks.items()}
        total = torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum()
        return {"loss": total} | losses

    def ask(self, name: str, question: Question) -> Tensor:
        """The loss of the answers that the encoder's nodes give, ()."""
        rows = nodes(self.encoder(question.graph))
        if question.nodes.ndim == 2:
            rows = (rows[question.nodes[0]] - rows[question.nodes[1]]).abs()
        else:
            rows = rows[question.nodes]
        guess = self.heads[name](rows)
        if question.classes:
            return F.cross_entropy(guess.float(), question.answers)
        return self.compare(guess, question.answers)
