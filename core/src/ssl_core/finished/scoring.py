"""Everything that can be asked of a finished run: seeds, intervals, few labels, robustness, fine-tuning, similarity.

Whatever is asked of the trained encoder is asked of its untrained twin and of the raw features too.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import build, evaluation
from ..assembly import load_probes
from ..batches import move, seed_all, unnoticed
from ..contracts import Data, Fold
from ..errors import ConfigError, RunError
from ..metrics import linear_cka, rankme
from ..plugins import Plugins
from ..probes.base import mean
from .finetuning import finetune
from .layers import alike, layers

if TYPE_CHECKING:
    from ..run import Run

Folds = tuple[Fold, Fold, Fold]
DRAWS = 1000  # of the test fold, for an interval


@dataclass(frozen=True, kw_only=True)
class Questions:
    """What to ask, besides the scores.

    Args:
        seeds: how often the training and validation folds are drawn; the first time they are the data set's own. The test
            fold always is. Scores are means, and deviations are given.
        labels: shares of the labelled training items to learn from: (0.01, 0.1, 1.0).
        confidence: intervals that hold 95 % of 1,000 draws of the test items, with replacement.
        corruptions: scores of test items as the run's own augmentation changes them, by probes that saw clean ones.
        layers: CKA of each layer with each other one, and with the untrained encoder's, on the first 256 items.
        finetune: epochs of training all of the encoder with the labels of the training fold; 0 for none.
        core: fine-tune by Core-tuning (arXiv:2102.06605).
    """

    seeds: int = 1
    labels: Sequence[float] = ()
    confidence: bool = False
    corruptions: bool = False
    layers: bool = False
    finetune: int = 0
    core: bool = False

    def __post_init__(self) -> None:
        if self.seeds < 1 or self.finetune < 0:
            raise ConfigError(f"--seeds should be 1 or more and --finetune 0 or more, got {self.seeds} and {self.finetune}")
        wrong = [share for share in self.labels if not 0 < share <= 1]
        if wrong:
            raise ConfigError(f"a share of the labels should be more than 0 and at most 1, got {wrong[0]}.\n"
                              f"  Try: --labels 0.01,0.1,1")


def assess(run: Run, data: Any = None, probe: str | None = None, device: str = "cpu", asked: Questions = Questions()
           ) -> dict[str, Any]:
    """Score a run: see `Run.evaluate` for what is returned.

    Raises:
        RunError: its training has not ended.
        DataError: the labels do not allow what is asked.
    """
    config = run.config if probe is None else replace(run.config, probe=probe)
    encoder, held, probes = run.encoder.to(device), run.data(data), load_probes(config)
    twin = run.untrained().to(device)
    items = held.train if held.items is None else held.items
    features, before = (evaluation.embed(net, items, device) for net in (encoder, twin))
    raw = evaluation.raw(held) if evaluation.is_scored(held, probes) else None
    rows = {"scores": features, "untrained": before, "raw": None if raw is None else raw.to(device)}
    name = str(data) if isinstance(data, (str, Path)) else config.data
    result: dict[str, Any] = {
        "run": str(run.path), "data": name, "rankme": _rank(features), "width": features.shape[1],
        "untrained_rankme": _rank(before), "cka_untrained": linear_cka(features, before)}
    result |= each(rows, lambda x: scored(x, held, probes, asked.seeds))
    if asked.seeds > 1:
        result["deviation"] = each(rows, lambda x: scored(x, held, probes, asked.seeds, spread=True))
    if asked.confidence:
        result["confidence"] = each(rows, lambda x: intervals(x, held, probes))
    if asked.labels:
        def by(share: float) -> dict[str, dict[str, Any]]:
            return each(rows, lambda x: scored(x, held, probes, asked.seeds, share))
        result["labels"] = {f"{share:g}": by(share) for share in asked.labels}
    if asked.corruptions:
        change = _augmentation(run, held)
        changed = {"scores": corrupted(encoder, items, change, device), "untrained": corrupted(twin, items, change, device)}
        result["corrupted"] = {who: {} if x is None else scored(x, held, probes, asked.seeds, test=changed[who])
                               for who, x in rows.items() if who in changed}
    if asked.layers:
        own, other = layers(encoder, items, device), layers(twin, items, device)
        result["layers"] = {"names": list(own), "scores": alike(own, own), "untrained": alike(own, other)}
    if asked.finetune:
        result["finetuned"] = {who: finetune(net, held, asked.finetune, config.seed, device, asked.core)
                               for who, net in (("scores", encoder), ("untrained", twin))}
    return result


def each(rows: Mapping[str, Tensor | None], ask: Callable[[Tensor], dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The same question to each matrix of features; {} where there is none."""
    return {who: {} if x is None else ask(x) for who, x in rows.items()}


def _rank(features: Tensor) -> float:
    return rankme(features) if features.isfinite().all() else 0.0


def scored(x: Tensor, data: Data, probes: Mapping[str, Any], seeds: int = 1, share: float = 1.0, test: Tensor | None = None,
           spread: bool = False) -> dict[str, float]:
    """Mean, or deviation, over seeds of every score of every probe.

    Args:
        share: of the labelled training items.
        test: features of the test items, where they are others than `x`.
    """
    if not x.isfinite().all() or test is not None and not test.isfinite().all():
        return {}
    whole = share == 1 and test is None and not spread  # what the data ask does not depend on labels
    if data.labels is None or not probes:
        return evaluation.asked(x, data) if whole else {}
    found: dict[str, list[float]] = {name: [value] for name, value in evaluation.asked(x, data).items()} if whole else {}
    for seed, folds in drawn(x, data, seeds, share):
        asked = folds if test is None else (*folds[:2], evaluation.folds(test, data)[2])
        for name, outcomes in outcomes_of(probes, asked, seed).items():
            found.setdefault(name, []).append(float(mean(name, outcomes)) if isinstance(outcomes, Tensor) else outcomes)
    return {name: stdev(values) if spread else fmean(values) for name, values in found.items() if len(values) > spread}


def outcomes_of(probes: Mapping[str, Any], folds: Folds, seed: int) -> dict[str, Tensor | float]:
    """Of each score its outcomes per test item (N,), or its value where a probe gives no more."""
    found: dict[str, Tensor | float] = {}
    for probe in probes.values():
        with unnoticed():
            seed_all(seed)
            found |= getattr(probe, "outcomes", probe)(*folds)
    return found


def drawn(x: Tensor, data: Data, seeds: int, share: float) -> Iterator[tuple[int, Folds]]:
    """The folds of each seed. The first seed takes those of the data set, the others draw training and validation anew from
    both; the test fold stays. Of the training fold, `share` is kept."""
    train, validation, test = evaluation.folds(x, data)
    both = Fold(*(torch.cat(parts) for parts in zip(train, validation, strict=True)))
    for seed in range(seeds):
        draw = torch.Generator().manual_seed(seed)
        if seed:
            order = torch.randperm(len(both.labels), generator=draw).to(x.device)
            train, validation = (take(both, part) for part in order.tensor_split([len(train.labels)]))
        yield seed, (take(train, few(train.labels, share, draw)), validation, test)


def take(fold: Fold, rows: Tensor) -> Fold:
    return Fold(fold.features[rows], fold.labels[rows])


def few(labels: Tensor, share: float, draw: torch.Generator) -> Tensor:
    """Positions of a share of the items, the same share of each class, and at least one of it (of a quantity, two)."""
    order = torch.randperm(len(labels), generator=draw).to(labels.device)
    if share == 1:
        return order.sort().values
    if labels.is_floating_point():
        return order[: max(2, round(share * len(labels)))].sort().values
    parts = [order[labels[order] == c] for c in labels.unique()]
    return torch.cat([part[: max(1, round(share * len(part)))] for part in parts]).sort().values


def intervals(x: Tensor, data: Data, probes: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Where 95 % of the scores lie when the test items are drawn anew; of the probes that judge item by item."""
    if data.labels is None or not x.isfinite().all():
        return {}
    outcomes = outcomes_of(probes, evaluation.folds(x, data), 0)
    return {name: bootstrap(name, found) for name, found in outcomes.items() if isinstance(found, Tensor)}


def bootstrap(name: str, outcomes: Tensor, draws: int = DRAWS) -> tuple[float, float]:
    """2.5th and 97.5th percentile of the mean of outcomes (N,) drawn with replacement."""
    values, draw = outcomes.double().cpu(), torch.Generator().manual_seed(0)
    block = max(1, 2**22 // len(values))
    found = [mean(name, values[torch.randint(len(values), (min(block, draws - done), len(values)), generator=draw)])
             for done in range(0, draws, block)]
    low, high = torch.cat(found).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))
    return float(low), float(high)


def _augmentation(run: Run, data: Data) -> tuple[Any, Any]:
    """The augmentation of a run, built for these data."""
    config = run.config
    found = Plugins().find("augmentations", config.augmentation, config.plugin)
    facts = {**data.facts, "seed": config.seed}
    return build.build("augmentation", found.load(), chosen=config.of("augmentation"), facts=facts)[0], found


@torch.no_grad()
def corrupted(encoder: Any, items: Any, change: tuple[Any, Any], device: str, seed: int = 0) -> Tensor:
    """Features of every item as an augmentation changes it: its first view, or what its mask leaves, (N, D)."""
    augment, record = change
    rows = []
    with unnoticed():
        seed_all(seed)
        for batch in items:
            batch = move(batch, device)
            if getattr(record, "makes", "views") == "mask":
                rows.append(encoder(batch, keep=~augment(encoder.layout(batch))).pooled.float())
            else:
                rows.append(encoder(augment(batch)[0]).pooled.float())
    return torch.cat(rows)


def similarities(runs: Sequence[Run], data: Any = None, device: str = "cpu") -> list[list[float]]:
    """Linear CKA between the embeddings that some runs give the same items.

    Raises:
        RunError: the runs embed different items.
    """
    found = [run.embed(data, device) for run in runs]
    if len({len(x) for x in found}) > 1:
        raise RunError(f"these runs embed different items: {', '.join(f'{r.path} {len(x)}' for r, x in zip(runs, found))}")
    return [[linear_cka(a, b) for b in found] for a in found]
