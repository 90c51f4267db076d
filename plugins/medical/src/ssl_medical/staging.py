"""Fine-tuning for segmentation in stages, each from the encoder that the one before left (GynBTNet, arXiv:2506.01073).

    many = labelled(Path("organs"))                                        # a large set of many organs
    few = labelled(Path("task"))                                           # the task's own cases
    stages = [Stage(many, lr=1e-3, steps=2000), Stage(few[:40], lr=1e-3)]
    scores = staged(run.encoder, stages, few[60:], few[40:60])             # run: sslrun --plugin medical --method gynbtnet
"""
from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import nn

from .segmentation import Cubes, Labelled, Segmenter, scored


class Stage(NamedTuple):
    """One stage of the fine-tuning.

    Args:
        cases: to learn from; each stage may have classes of its own.
        steps: of the optimizer.
        lr: largest learning rate.
        alone: share of the steps in which the decoder, whose weights are fresh, is trained alone.
    """

    cases: Sequence[Labelled]
    steps: int = 300
    lr: float = 1e-3
    alone: float = 0.1


def staged(encoder: Any, stages: Sequence[Stage], test: Sequence[Labelled], validation: Sequence[Labelled] = (), *,
           batch_size: int = 4, size: int = 32, width: int = 16, looks: int = 4, overlap: float = 0.5, seed: int = 0,
           device: str = "cpu") -> dict[str, float]:
    """Train stage after stage and score the last one.

    Args:
        encoder: a pre-trained one that gives maps; it is left as it is.
        test: cases of the last stage's task.
        validation: of that task too; they choose among `looks` states of the last stage, else the end counts.
        batch_size, size, width, overlap, seed: see `segmentation.transfer`.

    Returns:
        `dice`, `hd95` and those of each class; see `segmentation.scored`.
    """
    if not stages:
        raise ValueError("there should be one stage or more")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for stage in stages:
            last = stage is stages[-1]
            cases = (*stage.cases, *(test if last else ()))
            model = Segmenter(encoder, 1 + max(int(case.classes.max()) for case in cases), width=width).to(device).train()
            tuned(model, stage, validation if last else (), batch_size, size, looks, overlap, device)
            encoder = model.encoder
        return scored(model, test, size, overlap)


def tuned(model: Segmenter, stage: Stage, validation: Sequence[Labelled], batch_size: int, size: int, looks: int,
          overlap: float, device: str) -> None:
    """Train a model on the cases of a stage, and leave it in its best state by `validation`, or in its last."""
    from monai.losses import DiceCELoss
    compare, drawn = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False), Cubes(stage.cases, (size,) * 3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=stage.lr, weight_decay=1e-2)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, stage.lr, total_steps=max(2, stage.steps), pct_start=0.1)
    best, kept = -1.0, None
    for step in range(1, stage.steps + 1):
        model.encoder.requires_grad_(step > stage.alone * stage.steps)
        voxels, truth = (x.to(device) for x in drawn(batch_size))
        loss = compare(model(voxels).float(), truth)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        cycle.step()
        if validation and step % max(1, stage.steps // looks) == 0:
            dice = scored(model, validation, size, overlap, distances=False)["dice"]
            if dice > best:
                best, kept = dice, deepcopy(model.state_dict())
    if kept is not None:
        model.load_state_dict(kept)
