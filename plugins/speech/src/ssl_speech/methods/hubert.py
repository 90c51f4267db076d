"""HuBERT: name the cluster of each hidden frame (Hsu et al., 2021, arXiv:2106.07447); with mixing, WavLM (arXiv:2110.13900);
with topics, HuBERTopic (arXiv:2310.03975)."""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Method

from ..augmentations import mixed
from ..clusters import gathered, kmeans, nearest
from ..frontend import MFCC
from ..topics import Topics, words
from ..waves import Waves, masked_mean
from .frames import need_frames, power, read


class Named(NamedTuple):
    """What a masked pass gave.

    Args:
        context: (B, L, D), the last state of every frame.
        valid: (B, L), frames that exist.
        loss: (), all terms.
        found: terms by name, to be logged.
    """

    context: Tensor
    valid: Tensor
    loss: Tensor
    found: dict[str, Tensor]


class HuBERT(Method):
    """Cluster frames before training, then predict the clusters of hidden frames (section II).

    Clusters are of MFCCs (first stage), or of the features of a finished run (second stage: a fresh encoder learns from
    them). Labels are found on the fly, from the recording without mixing, so that crops need no bookkeeping.

    Args:
        rate: samples per second, from the data.
        clusters: their number (the paper: 100, then 500).
        labels: a finished run whose encoder gives the features to cluster; none for MFCCs.
        layer: of that encoder; the paper takes 6 of 12, then 9.
        width: of the space in which predictions and clusters meet.
        temperature: of the softmax over cosine similarities.
        visible: weight of the frames that are not hidden.
        penalty: weight of the mean square of the front end's output (10 in the paper).
        gradient: factor of the gradient into the front end (0.1 for BASE).
        mix: share of recordings that another one, or noise, is laid over (WavLM: 0.2).
        frames: at most so many for k-means.
        topics: of the recordings, to be told from the mean of their frames; 0 for none. A recording's words are its clusters
            without repetitions (HuBERTopic).
        topic: weight of telling them.
    """

    shown = "mask"

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, rate: int, clusters: int = 50,
                 labels: Path | None = None, layer: int = 2, width: int = 64, temperature: float = 0.1, visible: float = 0.0,
                 penalty: float = 0.0, gradient: float = 1.0, mix: float = 0.0, frames: int = 100_000, topics: int = 0,
                 topic: float = 0.1) -> None:
        super().__init__(encoder, augmentation, objective)
        need_frames(encoder)
        self.teacher = taught(labels, encoder.hop) if labels else None
        self.layer, self.mfcc = layer, MFCC(rate, encoder.hop // 2)  # twice the rate of the frames, as in the paper
        features = self.mfcc.width if self.teacher is None else self.teacher.width
        self.register_buffer("centres", torch.zeros(clusters, features))
        self.head, self.names = nn.Linear(encoder.width, width), nn.Parameter(torch.rand(clusters, width))
        self.temperature, self.visible, self.penalty, self.gradient = temperature, visible, penalty, gradient
        self.mix, self.frames = mix, frames
        self.topics = Topics(clusters, topics) if topics else None
        self.teller, self.topic = nn.Linear(encoder.width, topics) if topics else None, topic

    def step(self, batch: Any) -> dict[str, Tensor]:
        named = self.named(batch)
        return {"loss": named.loss, **named.found}

    def named(self, batch: Any) -> Named:
        """A masked pass over a batch, and all terms of the loss."""
        heard = mixed(batch, self.mix) if self.mix else batch
        frames, hidden = read(self.encoder, self.augmentation, heard, self.gradient)
        labels = self.label(batch, frames.x.shape[1])
        context = self.encoder.body(frames.x, frames.valid, hidden)[0][-1]
        guess, right = self.logits(context[hidden]), labels[hidden]
        loss = self.compare(guess, right)
        found = {"accuracy": (guess.argmax(dim=1) == right).float().mean()}
        if self.visible:
            seen = frames.valid & ~hidden
            loss = loss + self.visible * self.compare(self.logits(context[seen]), labels[seen])
        loss = loss + self.penalty * power(frames) if self.penalty else loss
        if self.topics is not None:
            told = self.teller(masked_mean(context, frames.valid)).float()
            about = self.topics(words(labels, frames.valid, len(self.centres))).argmax(dim=1)
            found |= {"topic": F.cross_entropy(told, about), "topic_accuracy": (told.argmax(dim=1) == about).float().mean()}
            loss = loss + self.topic * found["topic"]
        return Named(context, frames.valid, loss, found)

    def logits(self, rows: Tensor) -> Tensor:
        """Cosine of each row with each cluster, as one product: (N, D) -> (N, K)."""
        with torch.autocast(rows.device.type, enabled=False):
            return F.normalize(self.head(rows.float()), dim=1) @ F.normalize(self.names, dim=1).T / self.temperature

    @torch.no_grad()
    def features(self, waves: Waves) -> tuple[Tensor, Tensor]:
        """What is clustered, (B, L, F), and which frames exist (B, L); as many frames as the encoder has."""
        if self.teacher is None:
            x, valid = self.mfcc(waves)
            return x[:, ::2], valid[:, ::2]
        self.teacher.eval()
        x, valid = self.teacher.local(waves)
        return self.teacher.body(x, valid)[0][self.layer], valid

    @torch.no_grad()
    def label(self, waves: Waves, length: int) -> Tensor:
        """The cluster of each frame, (B, length)."""
        x, _ = self.features(waves)
        x = torch.cat([x, x[:, -1:].expand(-1, max(0, length - x.shape[1]), -1)], dim=1)[:, :length]
        return nearest(x.flatten(0, 1), self.centres).view(len(x), length)

    def prepare(self, batches: Iterable[Any]) -> None:
        held: list[tuple[Tensor, Tensor]] = []

        def rows() -> Iterable[Tensor]:
            for waves in batches:
                x, valid = self.features(waves)
                held.extend([(x, valid)] * (self.topics is not None))
                yield x[valid]
        self.centres.copy_(kmeans(gathered(rows(), self.frames), len(self.centres)))
        if self.topics is not None:
            named = ((nearest(x.flatten(0, 1), self.centres).view(valid.shape), valid) for x, valid in held)
            self.topics.fit(torch.cat([words(labels, valid, len(self.centres)) for labels, valid in named]))


def taught(path: Path, hop: int) -> Any:
    """The encoder of a finished run, held still.

    Raises:
        ValueError: it has no frames, or others than the encoder that is trained.
    """
    from ssl_core import Run
    encoder = Run.load(path).encoder.requires_grad_(False)
    need_frames(encoder)
    if encoder.hop != hop:
        raise ValueError(f"the run {path} has a frame every {encoder.hop} samples, the encoder every {hop}")
    return encoder
