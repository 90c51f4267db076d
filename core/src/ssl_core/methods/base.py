"""The interface of a method: one thing to write, `step`."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..contracts import Progress
from ..errors import DataError


class Method(nn.Module):
    """Subclass it, write `step`, and add a `Recipe` that names it. The runner knows nothing else of a method.

    Args:
        encoder: what is trained; its `width` is known.
        augmentation: makes views of a batch, or a mask over its tokens.
        objective: compares aligned rows.
        width: of those rows, where it is not the encoder's: an objective that keeps rows makes room for them.
    """

    #: What its augmentation makes: views of a batch, or a mask over the tokens of one.
    shown: Literal["views", "mask"] = "views"
    #: The labels of the items of a training batch, (B,), where the data have them; set by the runner (`Data.target`).
    target: Callable[[Any], Tensor] | None = None
    #: The numbers of those items, (B,), likewise (`Data.ids`).
    ids: Callable[[Any], Tensor] | None = None
    #: Where training stands; set by the runner before each step, here and in every submodule that has one.
    progress = Progress()

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, width: int = 0) -> None:
        super().__init__()
        self.encoder, self.augmentation, self.objective = encoder, augmentation, objective
        if hasattr(objective, "allocate"):
            objective.allocate(width or encoder.width)

    def step(self, batch: Any) -> dict[str, Tensor]:
        """Losses by name, each (); "loss" is minimised and all are logged."""
        raise NotImplementedError

    def after_step(self) -> None:
        """Called after each step of the optimizer: move a teacher, advance a queue. An objective with state has one too."""
        if hasattr(self.objective, "after_step"):
            self.objective.after_step()

    def prepare(self, batches: Iterable[Any]) -> None:
        """Called once before training, on the device and in eval mode: centres from k-means, statistics, ..."""

    @property
    def kept(self) -> Any:
        """The encoder that is scored and saved; override it where the paper keeps the teacher's."""
        return self.encoder

    @torch.no_grad()
    def embed(self, batch: Any) -> Tensor:
        """Features of the kept encoder, (B, D)."""
        return self.kept(batch).pooled

    def labels(self, batch: Any) -> Tensor:
        """The labels of the items of a batch, (B,); -1 or NaN where there is none.

        Raises:
            DataError: the data have no labels to train with.
        """
        if self.target is None:
            raise DataError(f"{type(self.objective).__name__} learns from labels, and these data offer none for training "
                            f"batches (Data.target).\n  Try: labelled data, or an objective without labels such as nt-xent")
        return self.target(batch)

    def compare(self, *rows: Tensor, targets: Sequence[Tensor] | None = None, labels: Tensor | None = None,
                weights: Tensor | None = None, ids: Tensor | None = None, by: Any = None) -> Tensor:
        """The objective of rows (N, D), in 32 bits whatever the precision of the run.

        `targets`, `labels`, `weights` and numbers (`ids`) of the items are passed on where they are given; see
        `ssl_core.objectives` for which objective wants them. `by`: another objective than the method's own, for methods with
        several heads.
        """
        given = {"labels": labels, "weights": weights, "ids": ids}
        more: dict[str, Any] = {name: item for name, item in given.items() if item is not None}
        if targets is not None:
            more["targets"] = [_wide(row) for row in targets]
        with torch.autocast(rows[0].device.type, enabled=False):
            return (self.objective if by is None else by)(*map(_wide, rows), **more)


def _wide(rows: Tensor) -> Tensor:
    return rows.float() if rows.is_floating_point() and rows.itemsize < 4 else rows
