"""Speech-like recordings made from nothing: a glottal source through formant filters, words of vowels, several speakers.

They are synthetic: good for a first look and for tests, not for claims about speech.
"""
from __future__ import annotations

from math import pi
from typing import NamedTuple

import torch
from torch import Tensor
from torchaudio.functional import lfilter

#: First three formants of five vowels in Hz, for a vocal tract of average length.
FORMANTS = {"i": (300.0, 2300.0, 3000.0), "e": (480.0, 1900.0, 2600.0), "a": (750.0, 1200.0, 2500.0),
            "o": (480.0, 850.0, 2450.0), "u": (320.0, 700.0, 2350.0)}
WIDTHS = (80.0, 100.0, 150.0)  # of the formants, in Hz
WORDS = ("ai", "ia", "eu", "oa", "io", "ue", "aeo", "oea", "iou", "uai")


class Spoken(NamedTuple):
    """Words of vowels.

    Args:
        samples: recordings, (T,) each.
        words, speakers: of each recording, (N,) long.
        vowels: of each sample of each recording, (T,) long, by their order in `FORMANTS`; -1 before and after the word.
    """

    samples: list[Tensor]
    words: Tensor
    speakers: Tensor
    vowels: list[Tensor]


def utterances(count: int, speakers: int, rate: int, noise: float, seed: int) -> Spoken:
    """Words of vowels, one per recording.

    Args:
        count: recordings; words and speakers take turns.
        speakers: voices, each with its own pitch and length of vocal tract.
        rate: samples per second.
        noise: of the background, as a share of the level of the voice.
        seed: of everything that is drawn.
    """
    g = torch.Generator().manual_seed(seed)
    pitch = torch.linspace(90, 230, speakers)[torch.randperm(speakers, generator=g)]
    tract = torch.linspace(0.85, 1.2, speakers)[torch.randperm(speakers, generator=g)]
    word = torch.arange(count) % len(WORDS)
    speaker = torch.arange(count) // len(WORDS) % speakers
    made, said, names = [], [], list(FORMANTS)
    for w, s in zip(word.tolist(), speaker.tolist(), strict=True):
        vowels = list(WORDS[w])
        each = (0.12 + 0.1 * torch.rand(len(vowels), generator=g)) * rate
        f0 = pitch[s] * (1 + 0.08 * torch.randn((), generator=g))
        spoken = word_of(vowels, each.long(), float(f0), float(tract[s]), rate, g)
        edge = torch.zeros(2, int(rate * (0.02 + 0.08 * float(torch.rand((), generator=g)))))
        whole = torch.cat([edge[0], spoken / spoken.abs().max(), edge[1]])
        level = 0.1 + 0.5 * torch.rand((), generator=g)
        made.append(level * (whole + noise * torch.randn(len(whole), generator=g)).clamp(-1, 1))
        spoken_vowels = torch.tensor([names.index(v) for v in vowels]).repeat_interleave(each.long())
        said.append(torch.cat([edge[0].long() - 1, spoken_vowels, edge[1].long() - 1]))
    return Spoken(made, word, speaker, said)


def word_of(vowels: list[str], each: Tensor, f0: float, tract: float, rate: int, g: torch.Generator) -> Tensor:
    """Vowels one after the other, faded into each other, (T,).

    Args:
        each: (V,) samples of each vowel.
        f0: pitch in Hz, which falls towards the end.
        tract: factor of all formants.
    """
    total, fade, ends = int(each.sum()), rate // 50, each.cumsum(0)[:, None]
    time = torch.arange(total)
    periods = (f0 * (1.05 - 0.15 * time / total) / rate).cumsum(0).floor()
    source = periods.diff(prepend=periods[:1]) + 0.02 * torch.randn(total, generator=g)  # a pulse per period, and breath
    rise, fall = time - (ends - each[:, None]), time - ends
    window = (rise.clamp(-fade, fade) - fall.clamp(-fade, fade)) / (2 * fade)  # (V, T)
    shaped = source.expand(len(vowels), -1)
    formants = torch.tensor([FORMANTS[v] for v in vowels]) * tract * (1 + 0.03 * torch.randn(len(vowels), 3, generator=g))
    for k, width in enumerate(WIDTHS):
        shaped = resonator(shaped, formants[:, k].clamp(max=0.45 * rate), width, rate)
    return (shaped * window).sum(dim=0)


def resonator(x: Tensor, centre: Tensor, width: float, rate: int) -> Tensor:
    """A two-pole filter with unit gain at 0 Hz for each row: (V, T), (V,) in Hz -> (V, T)."""
    radius = torch.exp(torch.tensor(-pi * width / rate))
    a1, a2 = -2 * radius * torch.cos(2 * pi * centre / rate), radius.square().expand(len(centre))
    a = torch.stack([torch.ones_like(a1), a1, a2], dim=1)
    b = torch.stack([1 + a1 + a2, torch.zeros_like(a1), torch.zeros_like(a1)], dim=1)
    return lfilter(x, a, b, clamp=False, batching=True)
