"""data2vec for speech: predict what a slow teacher makes of the whole recording (Baevski et al., 2022, arXiv:2202.03555)."""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ssl_core import Method
from ssl_core.modules import Teacher

from ..encoders import Frames
from ..waves import centred
from .frames import need_frames, read


class Data2Vec(Method):
    """Regress the mean of the teacher's upper layers at hidden frames (section 3.3).

    The teacher is a slow copy of the context network alone; it shares the front end, as in the authors' code.

    Args:
        layers: upper blocks whose feed-forward outputs are averaged, each normalised over time.
        momentum: of the teacher at the start; rises to 1 along half a cosine.
    """

    shown = "mask"

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, layers: int = 2, momentum: float = 0.99) -> None:
        super().__init__(encoder, augmentation, objective)
        need_frames(encoder)
        if not 1 <= layers <= len(encoder.body.blocks):
            raise ValueError(f"layers should lie between 1 and the encoder's {len(encoder.body.blocks)}, got {layers}")
        self.layers, self.head = layers, nn.Linear(encoder.width, encoder.width)
        self.teacher = Teacher(encoder.body, momentum)

    def step(self, batch: Any) -> dict[str, Tensor]:
        frames, hidden = read(self.encoder, self.augmentation, batch)
        guess = self.head(self.encoder.body(frames.x, frames.valid, hidden)[0][-1][hidden])
        target = self.targets(frames)[hidden]
        return {"loss": self.compare(guess, target), "target_deviation": deviation(target),
                "guess_deviation": deviation(guess.detach())}

    @torch.no_grad()
    def targets(self, frames: Frames) -> Tensor:
        """(B, L, D), from the recording without a mask and the teacher without dropout."""
        self.teacher.eval()
        fed = self.teacher(frames.x.detach(), frames.valid)[1]
        return torch.stack([centred(f.float(), frames.valid, 1e-5) for f in fed[-self.layers:]]).mean(dim=0)

    def after_step(self) -> None:
        super().after_step()
        self.teacher.follow(self.encoder.body, self.progress)


def deviation(rows: Tensor) -> Tensor:
    """Mean over columns of the standard deviation over rows, (): near 0 when all rows are alike."""
    return rows.float().var(dim=0, correction=0).sqrt().mean()
