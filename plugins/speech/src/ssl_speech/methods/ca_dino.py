"""Cluster-aware DINO for speakers, then pseudo-labels behind a gate on their loss and corrected where they are not trusted
(CA-DINO and DLG-LC, arXiv:2304.05754)."""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Method
from ssl_core.modules import Teacher, mlp
from ssl_core.stores import Queue

from ..clusters import kmeans, nearest
from ..gate import threshold


class CADino(Method):
    """Three stages of one training: DINO on crops; DINO whose targets come from other recordings of the same cluster; in
    addition, naming of the clusters with a margin.

    The papers cluster a whole corpus between trainings; here clusters are those of the last embeddings of the teacher, drawn
    anew `rounds` times, and a recording gets the nearest one when it is seen. The classifier starts from their centres.

    Args:
        projector: widths of the head of DINO.
        momentum: of the teacher at the start.
        large: views, the first ones, that the teacher sees.
        clusters: K (the paper: 7,500 for 1.1 million recordings).
        memory: embeddings and losses that are remembered.
        aware, named: shares of training after which the second and the third stage begin.
        rounds: how often clusters, classifier and gate are drawn anew.
        margin, scale: of the additive angular margin.
        trust: confidence above which a prediction replaces a label that is not trusted.
        sharpen: exponent 1 / sharpen of such a prediction.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, projector: tuple[int, ...] = (128, 64),
                 momentum: float = 0.99, large: int = 2, clusters: int = 12, memory: int = 1024, aware: float = 0.4,
                 named: float = 0.7, rounds: int = 10, margin: float = 0.2, scale: float = 30.0, trust: float = 0.5,
                 sharpen: float = 0.1) -> None:
        super().__init__(encoder, augmentation, objective, projector[-1])
        if not 0 <= aware <= named <= 1 or clusters > memory or rounds < 1:
            raise ValueError(f"wanted: 0 <= aware <= named <= 1, clusters <= memory, rounds of 1 or more; got {aware=}, "
                             f"{named=}, {clusters=}, {memory=}, {rounds=}")
        self.projector = mlp(encoder.width, *projector, activation=nn.GELU)
        self.teacher, self.large = Teacher(self.branch(), momentum), large
        self.queue = Queue(memory, encoder.width)
        self.centres = nn.Parameter(F.normalize(torch.randn(clusters, encoder.width), dim=1))
        self.register_buffer("found", torch.zeros(clusters, encoder.width))
        self.register_buffer("losses", torch.full((memory,), torch.nan))
        self.register_buffer("gate", torch.tensor(torch.inf))
        self.register_buffer("round", torch.zeros((), dtype=torch.long))
        self.aware, self.named, self.rounds, self.margin, self.scale = aware, named, rounds, margin, scale
        self.trust, self.sharpen = trust, sharpen

    def branch(self) -> nn.ModuleDict:
        """What the teacher is a slow copy of."""
        return nn.ModuleDict({"encoder": self.encoder, "projector": self.projector})

    def step(self, batch: Any) -> dict[str, Tensor]:
        views, slow = self.augmentation(batch), self.teacher.copy
        pooled = [self.encoder(view).pooled for view in views]
        with torch.no_grad():
            heard = [slow["encoder"](view).pooled for view in views[: self.large]]
            targets = [slow["projector"](row) for row in heard]
            voice = F.normalize(torch.stack(heard).mean(dim=0).float(), dim=1)
            self.queue.hold(voice)
            label = nearest(voice, self.found)
        if self.progress.fraction >= self.aware:
            swap = partners(label)
            targets = [row[swap] for row in targets]
        dino = self.compare(*map(self.projector, pooled), targets=targets)
        if self.progress.fraction < self.named:
            return {"loss": dino + 0 * self.centres.sum(), "dino": dino}
        naming, found = self.naming(batch, pooled[0], label)
        return {"loss": dino + naming, "dino": dino, "naming": naming, **found}

    def naming(self, batch: Any, rows: Tensor, label: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The gated loss of the pseudo-labels (B,), and how many are trusted or corrected; for augmented rows (B, D)."""
        with torch.no_grad():
            clean = (self.scale * self.cosine(self.encoder(batch).pooled)).softmax(dim=1)
            target = clean.clamp(min=1e-8).pow(1 / self.sharpen)
            target = target / target.sum(dim=1, keepdim=True)
        cosine = self.cosine(rows)
        loss = F.cross_entropy(self.scale * with_margin(cosine, label, self.margin), label, reduction="none")  # (B,)
        trusted = loss.detach().clamp(min=1e-6).log() < self.gate
        corrected = ~trusted & (clean.amax(dim=1) > self.trust)
        self.losses = torch.cat([loss.detach(), self.losses])[: len(self.losses)]
        other = F.cross_entropy(self.scale * cosine, target, reduction="none")
        total = (loss * trusted + other * corrected).sum() / (trusted | corrected).sum().clamp(min=1)
        return total, {"trusted": trusted.float().mean(), "corrected": corrected.float().mean()}

    def cosine(self, rows: Tensor) -> Tensor:
        """(N, D) -> (N, K), in 32 bits."""
        with torch.autocast(rows.device.type, enabled=False):
            return F.normalize(rows.float(), dim=1) @ F.normalize(self.centres, dim=1).T

    @torch.no_grad()
    def after_step(self) -> None:
        super().after_step()
        self.teacher.follow(self.branch(), self.progress)
        self.queue.advance()
        turn = int(self.rounds * self.progress.fraction)
        if turn > int(self.round):
            self.round.fill_(turn)
            self.found.copy_(kmeans(self.queue.rows, len(self.found)))
            self.centres.copy_(F.normalize(self.found, dim=1))
            known = self.losses[self.losses.isfinite()]
            if self.progress.fraction > self.named and len(known) >= 16:  # until then all are trusted: nothing is known
                self.gate.copy_(threshold(known.clamp(min=1e-6).log()))


def partners(label: Tensor) -> Tensor:
    """For each row the position of a row with the same label, drawn at random, perhaps itself: (B,) -> (B,)."""
    same = label[:, None] == label
    return (torch.rand(same.shape, device=label.device) * same).argmax(dim=1)


def with_margin(cosine: Tensor, label: Tensor, margin: float) -> Tensor:
    """The angle to the class of each row made larger by a margin (ArcFace, arXiv:1801.07698): (N, K), (N,) -> (N, K)."""
    own = cosine.gather(1, label[:, None]).clamp(-1 + 1e-6, 1 - 1e-6)
    harder = torch.cos((own.acos() + margin).clamp(max=torch.pi))
    return cosine.scatter(1, label[:, None], harder)
