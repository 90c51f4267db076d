"""Learning-rate schedules, as pure functions of progress: `schedule(progress) -> factor` of the peak rate."""
from __future__ import annotations

from dataclasses import dataclass
from math import cos, exp, log, pi

from .contracts import Progress


def _ramp(fraction: float, share: float) -> float:
    """Linear warm-up over the first `share` of training. The first step is small, not zero."""
    return 1.0 if fraction >= share else max(fraction / share, 1e-3)


def _shares(**given: float) -> None:
    """Refuse what is no share: `schedule.warmup=10` (epochs? steps?) would leave the rate near zero for good."""
    for name, share in given.items():
        if not 0 <= share <= 1:
            raise ValueError(f"{name} should lie between 0 and 1, got {share}")


@dataclass(frozen=True)
class Constant:
    """Linear warm-up over a share of training, then constant."""

    warmup: float = 0.0

    def __post_init__(self) -> None:
        _shares(warmup=self.warmup)

    def __call__(self, progress: Progress) -> float:
        return _ramp(progress.fraction, self.warmup)


@dataclass(frozen=True)
class Cosine:
    """Linear warm-up, then half a cosine down to `final` (SGDR, arXiv:1608.03983, without restarts)."""

    warmup: float = 0.05
    final: float = 0.0

    def __post_init__(self) -> None:
        _shares(warmup=self.warmup, final=self.final)

    def __call__(self, progress: Progress) -> float:
        t = progress.fraction
        if t < self.warmup:
            return _ramp(t, self.warmup)
        past = (t - self.warmup) / max(1e-12, 1 - self.warmup)
        return self.final + (1 - self.final) * (1 + cos(pi * past)) / 2


@dataclass(frozen=True)
class WSD:
    """Warm-up, stable, decay: linear down to `final` over the last `decay` of training (MiniCPM, arXiv:2404.06395)."""

    warmup: float = 0.05
    decay: float = 0.2
    final: float = 0.0

    def __post_init__(self) -> None:
        _shares(warmup=self.warmup, decay=self.decay, final=self.final)

    def __call__(self, progress: Progress) -> float:
        t = progress.fraction
        down = max(0.0, (t - (1 - self.decay)) / self.decay) if self.decay else 0.0
        return _ramp(t, self.warmup) * (1 - (1 - self.final) * down)


@dataclass(frozen=True)
class Infinite:
    """Warm-up, cosine cool-down, constant, and an exponential anneal at the end (arXiv:2503.02844).

    Its first phases are counted in steps, not in shares, so that training can go on past any planned end: a run that
    is continued on new data starts from the constant rate. Only the anneal looks at the planned end.

    Args:
        warmup, cooldown: length of the first two phases in steps.
        constant: factor during the constant phase.
        anneal: share of training, at its end, over which the rate falls to `final`; 0 to go on for ever.
    """

    warmup: int = 100
    cooldown: int = 1000
    constant: float = 0.3
    anneal: float = 0.0
    final: float = 0.01

    def __post_init__(self) -> None:
        _shares(constant=self.constant, anneal=self.anneal, final=self.final)
        if self.warmup < 0 or self.cooldown < 0:
            raise ValueError(f"warmup and cooldown should be 0 steps or more, got {self.warmup} and {self.cooldown}")
        if not self.constant or not self.final:  # an exponential reaches no zero
            raise ValueError(f"constant and final should be more than 0, got {self.constant} and {self.final}")

    def __call__(self, progress: Progress) -> float:
        step = progress.step
        if step < self.warmup:
            return (step + 1) / self.warmup
        past = min(1.0, (step - self.warmup) / max(1, self.cooldown))
        rate = self.constant + (1 - self.constant) * (1 + cos(pi * past)) / 2
        t = progress.fraction
        if self.anneal and t > 1 - self.anneal:
            rate *= exp(log(self.final / self.constant) * (t - 1 + self.anneal) / self.anneal)
        return rate


SCHEDULES = {"constant": Constant, "cosine": Cosine, "wsd": WSD, "infinite": Infinite}
