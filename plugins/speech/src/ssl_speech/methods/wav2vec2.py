"""wav2vec 2.0: find the quantised frame behind each hidden one (Baevski et al., NeurIPS 2020, arXiv:2006.11477)."""
from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Method

from ..quantizer import ProductQuantizer, Quantised
from .frames import need_frames, power, read


class Wav2Vec2(Method):
    """Contrast the context of hidden frames with quantised frames of the same recording (section 3.2).

    All terms are means per hidden frame, so their balance does not depend on the size of the batch.

    Args:
        groups, entries: of the codebook.
        width: of codes and predictions.
        temperatures: of the choice of codes, at the start and at the end.
        anneal: share of training over which the temperature falls (the paper: about 0.7 of 400,000 steps).
        diversity: weight of the use of all entries (alpha).
        penalty: weight of the mean square of the front end's output (beta: 10 for BASE, 0 for LARGE); small encoders
            learn nothing with 10.
        gradient: factor of the gradient into the front end (0.1 for BASE, 1 for LARGE).
        layer: block whose output is contrasted; 0 for the last.
        naming: weight of naming the codes from the last block (w2v-BERT, arXiv:2108.06209, section 3.3); its codes are
            constants, so it cannot make them easy.
    """

    shown = "mask"

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, groups: int = 2, entries: int = 32, width: int = 64,
                 temperatures: tuple[float, float] = (2.0, 0.5), anneal: float = 0.7, diversity: float = 0.1,
                 penalty: float = 0.0, gradient: float = 1.0, layer: int = 0, naming: float = 0.0) -> None:
        super().__init__(encoder, augmentation, objective, width)
        need_frames(encoder)
        if not 0 <= layer <= len(encoder.body.blocks):
            raise ValueError(f"layer should lie between 0 and the encoder's {len(encoder.body.blocks)} blocks, got {layer}")
        self.quantizer = ProductQuantizer(encoder.channels, groups, entries, width, temperatures, anneal)
        self.head = nn.Linear(encoder.width, width)
        self.namer = nn.Linear(encoder.width, groups * entries) if naming else None
        self.diversity, self.penalty, self.gradient, self.layer, self.naming = diversity, penalty, gradient, layer, naming

    def step(self, batch: Any) -> dict[str, Tensor]:
        body = self.encoder.body
        frames, hidden = read(self.encoder, self.augmentation, batch, self.gradient)
        states = body(frames.x, frames.valid, hidden)[0]
        target = self.quantizer(body.enter(frames.x)[hidden])
        contrast = self.contrast(self.head(states[self.layer or -1][hidden]), target, hidden)
        loss = contrast + self.diversity * target.diversity
        found = {"contrast": contrast, "diversity": target.diversity, "perplexity": target.perplexity}
        if self.namer is not None:
            logits = self.namer(states[-1][hidden]).float().unflatten(1, (self.quantizer.groups, -1))  # (S, G, V)
            found["naming"] = F.cross_entropy(logits.flatten(0, 1), target.codes.flatten())
            loss = loss + self.naming * found["naming"]
        loss = loss + self.penalty * power(frames) if self.penalty else loss
        return {"loss": loss, **found}

    def contrast(self, rows: Tensor, target: Quantised, hidden: Tensor) -> Tensor:
        """The objective; one that contrasts within recordings learns which recording and which code a row has."""
        if not getattr(self.objective, "by_item", False):
            return self.compare(rows, target.rows)
        base = target.codes.new_tensor([self.quantizer.entries**g for g in range(self.quantizer.groups)])
        return self.compare(rows, target.rows, hidden.nonzero()[:, 0], (target.codes * base).sum(dim=1))
