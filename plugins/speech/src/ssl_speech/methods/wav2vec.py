"""wav2vec: tell the frames to come from others (Schneider et al., 2019, arXiv:1904.05862); with codes, vq-wav2vec
(Baevski et al., 2020, arXiv:1910.05453)."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ssl_core import Method

from ..causal import CausalWav2Vec
from ..clusters import gathered
from ..masks import distractors
from ..quantizer import Nearest


class Wav2Vec(Method):
    """From what was heard until now, predict each of the next frames among frames of the same recording (section 2.2).

    Args:
        steps: frames ahead (12 in the paper).
        negatives: other frames for each frame to predict.
        diversity: weight of the use of all entries, for codes by Gumbel softmax.
        commit: weight of the distance between frames and their entries, for codes by the nearest entry.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, steps: int = 4, negatives: int = 10,
                 diversity: float = 0.1, commit: float = 1.0) -> None:
        super().__init__(encoder, augmentation, objective)
        if not isinstance(encoder, CausalWav2Vec):
            raise ValueError(f"this method needs an encoder that hears no future (wav2vec), got {type(encoder).__name__}")
        if steps < 1 or negatives < 1:
            raise ValueError(f"steps and negatives should be 1 or more, got {steps} and {negatives}")
        self.steps, self.negatives, self.diversity, self.commit = steps, negatives, diversity, commit
        self.ahead = nn.Linear(encoder.width, steps * encoder.channels)  # one map for each step

    def step(self, batch: Any) -> dict[str, Tensor]:
        (waves,) = self.augmentation(batch)
        frames, codes = self.encoder.coded(self.encoder.local(waves))
        context = self.encoder.body(frames.x, frames.valid)[0][-1]
        logits = self.logits(context, frames.x, frames.valid.sum(dim=1))
        loss = self.compare(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))
        found = {"accuracy": (logits.argmax(dim=1) == 0).float().mean()}
        if codes is not None:
            found |= {"perplexity": codes.perplexity, "diversity": codes.diversity}
            loss = loss + self.diversity * codes.diversity + self.commit * codes.commit
        return {"loss": loss, **found}

    def logits(self, context: Tensor, target: Tensor, counts: Tensor) -> Tensor:
        """Of each frame to come the score, then those of its negatives: (B, L, D), (B, L, C), (B,) -> (S, 1 + negatives)."""
        guess = self.ahead(context).unflatten(2, (self.steps, -1))  # (B, L, K, C)
        scores = torch.einsum("blkc,bmc->bklm", guess.float(), target.float())  # (B, K, L, L)
        length = target.shape[1]
        place = torch.arange(length, device=target.device) + torch.arange(1, self.steps + 1, device=target.device)[:, None]
        valid = place < counts[:, None, None]  # (B, K, L): frames that are there to predict
        place = place.clamp(max=length - 1).expand(len(target), -1, -1)
        other = distractors(counts, length, self.negatives).clamp(max=length - 1)  # of the frame to predict, not of the present
        drawn = other.gather(1, place.flatten(1)[..., None].expand(-1, -1, self.negatives)).view(*place.shape, -1)
        return scores.gather(3, torch.cat([place[..., None], drawn], dim=3))[valid]

    def prepare(self, batches: Iterable[Any]) -> None:
        quantizer = self.encoder.quantizer
        if isinstance(quantizer, Nearest):
            def rows() -> Iterable[Tensor]:
                for waves in batches:
                    frames = self.encoder.local(waves)
                    yield frames.x[frames.valid]
            quantizer.settle(gathered(rows(), 20_000))


