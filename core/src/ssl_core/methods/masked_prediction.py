"""Hide tokens and predict them: I-JEPA, data2vec, T-JEPA (latent targets); MAE-like (raw targets)."""
from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..contracts import Layout
from ..modules import PREDICTORS, Teacher
from .base import Method


class MaskedPrediction(Method):
    """Show the encoder some tokens of each item and predict the others.

    Args:
        target: `latent`: the teacher's tokens, which saw everything; `input`: the raw tokens, `encoder.inputs(batch)`.
        predictor: `mlp` sees the mean of the visible tokens, `attention` all of them.
        hidden: inner width of the predictor; 0 for the encoder's.
        waves: octaves of sines and cosines that tell the predictor a position; 0: its coordinates.
        momentum: of the teacher, for latent targets.
        normalize: normalise each target token over its features (layer norm; MAE's normalised pixels).
        keep: `student` or `teacher`: whose encoder is scored and saved.
    """

    shown = "mask"

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, target: Literal["latent", "input"] = "latent",
                 predictor: Literal["mlp", "attention"] = "attention", hidden: int = 0, waves: int = 0,
                 momentum: float = 0.996, normalize: bool = True, keep: Literal["student", "teacher"] = "student") -> None:
        outputs = encoder.width if target == "latent" else encoder.input_width
        super().__init__(encoder, augmentation, objective, outputs)
        self.predictor = PREDICTORS[predictor](encoder.width, encoder.axes, outputs, hidden, waves)
        self.teacher = Teacher(encoder, momentum) if target == "latent" else None
        if keep == "teacher" and self.teacher is None:
            raise ValueError("keep=teacher needs target=latent: there is no teacher for raw targets")
        self.normalize, self.keep = normalize, keep

    def step(self, batch: Any) -> dict[str, Tensor]:
        layout: Layout = self.encoder.layout(batch)
        hidden = self.augmentation(layout)  # (T,)
        guess = self.predictor(self.encoder(batch, keep=~hidden), layout, hidden)
        return {"loss": self.compare(guess, self.targets(batch)[hidden])}

    @torch.no_grad()
    def targets(self, batch: Any) -> Tensor:
        """(T, outputs), one row per token, hidden or not."""
        rows = self.teacher(batch).tokens if self.teacher is not None else self.encoder.inputs(batch)
        return F.layer_norm(rows, rows.shape[1:]) if self.normalize else rows

    def after_step(self) -> None:
        super().after_step()
        if self.teacher is not None:
            self.teacher.follow(self.encoder, self.progress)

    @property
    def kept(self) -> Any:
        return self.teacher.copy if self.keep == "teacher" and self.teacher is not None else self.encoder
