"""DM-Codec: a speech codec whose codes resemble features of other models (Ahasan et al., 2024, arXiv:2410.15017)."""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_core import Method

from ..clusters import gathered
from ..frontend import MFCC, LogMel
from ..quantizer import Residual
from ..waves import Waves, centred, within
from .frames import need_frames
from .hubert import taught

STRIDES = (2, 2, 2, 2, 2, 2, 5)  # of the decoder, those of the encoder backwards: 320 samples a frame


class Speaker(nn.Module):
    """Frames -> samples: transposed convolutions, each followed by a residual unit (the decoder of SEANet, arXiv:2009.02095).

    Args:
        width: of the frames.
        channels: behind the first layer; halved where the rate has grown fourfold.
    """

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        sizes = [max(8, channels >> (i // 2)) for i in range(len(STRIDES) + 1)]
        self.enter = nn.Conv1d(width, sizes[0], 7, padding=3)
        self.grow = nn.ModuleList(nn.ConvTranspose1d(a, b, 2 * s, s, padding=(s + 1) // 2, output_padding=s % 2)
                                  for a, b, s in zip(sizes, sizes[1:], STRIDES, strict=False))
        self.near = nn.ModuleList(nn.Sequential(nn.ELU(), nn.Conv1d(c, c, 3, padding=1), nn.ELU(), nn.Conv1d(c, c, 1))
                                  for c in sizes[1:])
        self.leave = nn.Conv1d(sizes[-1], 1, 7, padding=3)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, L, D) -> (B, 320 L)."""
        x = self.enter(frames.transpose(1, 2))
        for grow, near in zip(self.grow, self.near, strict=True):
            x = grow(F.elu(x))
            x = x + near(x)
        return self.leave(F.elu(x))[:, 0]


class DMCodec(Method):
    """Compress frames by residual codebooks, speak them again, and hold the codes near features of finished runs (section 3).

    Analysis is by the encoder, convolutions and a transformer, not by SEANet with a recurrent layer. Left out: the
    discriminators. Features of a text model need transcripts, which these data lack; name a further run instead, the terms
    are averaged.

    Args:
        rate: samples per second, from the data.
        books, entries: codebooks and entries in each (8 and 1024).
        channels: of the decoder.
        labels: finished runs, separated by commas, whose frames the codes should resemble; none for MFCCs.
        wave, mel, commit, distil: weights of the samples, the spectra (the finest; the others have weight 1), the
            codebooks and the resemblance.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, rate: int, books: int = 4, entries: int = 64,
                 channels: int = 64, labels: str = "", wave: float = 500.0, mel: float = 45.0, commit: float = 10.0,
                 distil: float = 120.0) -> None:
        super().__init__(encoder, augmentation, objective)
        need_frames(encoder)
        if encoder.hop != 320:
            raise ValueError(f"this codec needs a frame every 320 samples (encoder=wav2vec2), got one every {encoder.hop}")
        self.quantizer, self.speaker = Residual(encoder.width, books, entries), Speaker(encoder.width, channels)
        self.teachers = nn.ModuleList(taught(Path(name.strip()), encoder.hop) for name in labels.split(",") if name.strip())
        self.mfcc = MFCC(rate, encoder.hop // 2)
        widths = [teacher.width for teacher in self.teachers] or [self.mfcc.width]
        self.heads = nn.ModuleList(nn.Linear(encoder.width, width) for width in widths)
        self.mels = nn.ModuleList(LogMel(rate, 40, size / rate, size // 4) for size in (1024, 512, 256, 128))
        self.wave, self.mel, self.commit, self.distil = wave, mel, commit, distil

    def step(self, batch: Any) -> dict[str, Tensor]:
        (waves,) = self.augmentation(batch)
        x, valid = self.encoder.local(waves)
        rows, codes = self.quantizer(self.encoder.body(x, valid)[0][-1][valid])
        frames = torch.zeros(*valid.shape, rows.shape[1], device=rows.device).masked_scatter(valid[..., None], rows)
        lengths = 320 * valid.sum(dim=1)
        there = within(lengths, 320 * valid.shape[1])
        spoken = self.speaker(frames) * there
        wanted = F.pad(waves.samples, (0, max(0, there.shape[1] - waves.samples.shape[1])))[:, : there.shape[1]] * there
        found = {"wave": self.compare(spoken[there][:, None], wanted[there][:, None]),
                 "mel": self.spectra(Waves(spoken, lengths), Waves(wanted, lengths)),
                 "commit": torch.stack([torch.as_tensor(part.commit) for part in codes]).sum(),
                 "distil": self.resemblance(frames, valid, waves)}
        loss = self.wave * found["wave"] + found["mel"] + self.commit * found["commit"] + self.distil * found["distil"]
        return {"loss": loss, **found, "perplexity": torch.stack([part.perplexity for part in codes]).mean()}

    def spectra(self, spoken: Waves, wanted: Waves) -> Tensor:
        """Absolute difference of log-mel bins at four resolutions, ()."""
        total = spoken.samples.new_zeros(())
        for i, mel in enumerate(self.mels):
            (ours, valid), (theirs, _) = mel(spoken), mel(wanted)
            total = total + (1.0 if i else self.mel) * F.l1_loss(ours[valid], theirs[valid])
        return total

    def resemblance(self, frames: Tensor, valid: Tensor, waves: Waves) -> Tensor:
        """How far codes (B, L, D) are from the features, the cosine along time for every column (equation 4), ()."""
        terms = [-F.logsigmoid(along_time(head(frames), target, valid)).mean()
                 for head, target in zip(self.heads, self.features(waves, valid.shape[1]), strict=True)]
        return torch.stack(terms).mean()

    @torch.no_grad()
    def features(self, waves: Waves, length: int) -> list[Tensor]:
        """What codes should resemble, (B, length, F) each."""
        if not self.teachers:
            x, valid = self.mfcc(waves)
            found = [centred(x, valid)[:, ::2]]
        else:
            self.teachers.eval()
            found = []
            for teacher in self.teachers:
                x, valid = teacher.local(waves)
                found.append(torch.stack(teacher.body(x, valid)[0]).mean(dim=0))
        return [F.pad(x, (0, 0, 0, max(0, length - x.shape[1])))[:, :length] for x in found]

    def prepare(self, batches: Iterable[Any]) -> None:
        def rows() -> Iterable[Tensor]:
            for waves in batches:
                x, valid = self.encoder.local(waves)
                yield self.encoder.body(x, valid)[0][-1][valid]
        self.quantizer.settle(gathered(rows(), 10_000))


def along_time(a: Tensor, b: Tensor, valid: Tensor) -> Tensor:
    """Cosine of each column over the valid frames: (B, L, F), (B, L, F), (B, L) -> (B, F)."""
    there = valid[..., None]
    return F.cosine_similarity(a.float() * there, b.float() * there, dim=1)
