"""What is wrong with a data set before anything is trained on it, seen in `Data` alone, whatever the domain.

What only a domain can see (silence, isolated nodes, empty slices) its plugin says in `Data.findings`.
"""
from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .checks import attempt
from .contracts import Data, Finding

SAMPLE = 10_000  # items that are compared with each other; of more, so many evenly spread
FLOATS = 2**27  # numbers of them that are held at once
ALIKE = 0.999  # cosine of standardised raw features, from which on two items are near-duplicates
TOLD = 0.99  # share of held-out items whose label one column tells, from which on it leaks; or correlation of ranks
BINS, WIDEST = 64, 1024  # of a column's values, and columns looked at for leaks
SECONDS = 10.0  # of reading batches, to learn how long an epoch takes


@dataclass
class Look:
    """What one pass over the items saw of their raw features."""

    digests: list[bytes]  # of every item
    rows: Tensor  # (K, F) of the sampled items
    which: Tensor  # (K,) their positions
    low: Tensor  # (F,) of every item
    high: Tensor
    blank: list[int]  # items whose features are all one value
    broken: list[int]  # items with NaN or infinite ones


def examine(data: Data) -> list[Finding]:
    """Everything that was found, the worst first."""
    found = [*left_out(data), *overlaps(data), *labels(data), *(data.findings() if data.findings else ())]
    seen = look(data)
    if seen is None:
        found.append(Finding("no raw features", "the data set", "duplicates and columns were not looked at"))
    else:
        found += [*values(seen, data), *duplicates(seen, data), *near(seen, data), *leaks(seen, data)]
    return sorted(found, key=lambda finding: not finding.bad)


def look(data: Data) -> Look | None:
    """One pass over the raw features of every item; None where there are none."""
    if data.raw is None or data.items is None:
        return None
    count = data.size if data.labels is None else len(data.labels)
    digests, kept, which, blank, broken = list[bytes](), list[Tensor](), list[Tensor](), list[int](), list[int]()
    low = high = torch.zeros(0)
    for batch in data.items:
        x = attempt("the raw features", data.raw, batch).detach().cpu().float().flatten(1)  # (B, F)
        start, step = len(digests), max(1, -(-count // max(1, min(SAMPLE, FLOATS // max(1, x.shape[1])))))
        digests += [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in x.contiguous().numpy()]
        finite = x.isfinite().all(dim=1)
        broken += (start + (~finite).nonzero()[:, 0]).tolist()
        spread = x.amax(dim=1) - x.amin(dim=1)
        blank += (start + (finite & (spread == 0)).nonzero()[:, 0]).tolist() if x.shape[1] > 1 else []
        low = x.amin(dim=0) if not start else torch.minimum(low, x.amin(dim=0))
        high = x.amax(dim=0) if not start else torch.maximum(high, x.amax(dim=0))
        rows = torch.arange(-start % step, len(x), step)
        kept.append(x[rows])
        which.append(start + rows)
    return Look(digests, torch.cat(kept), torch.cat(which), low, high, blank, broken)


def some(data: Data, items: Iterable[int], most: int = 3) -> str:
    """The first few items by name, and how many more there are."""
    listed = list(items)
    named = [str(data.names[i]) if data.names is not None and i < len(data.names) else str(i) for i in listed[:most]]
    return ", ".join(named) + (f" and {len(listed) - most:,} more" if len(listed) > most else "")


def left_out(data: Data) -> Iterator[Finding]:
    """What the reader could not use, by reason."""
    reasons = Counter(why.partition(":")[0] if len(why) > 60 else why for _, why in data.skipped)
    for why, times in reasons.most_common(10):
        which = [name for name, reason in data.skipped if reason.startswith(why)]
        more = f" and {times - 3:,} more" if times > 3 else ""
        yield Finding("left out", ", ".join(which[:3]) + more, why, bad=times > 0.1 * max(1, data.size))


def overlaps(data: Data) -> Iterator[Finding]:
    """Folds that share positions, or that are empty."""
    names = list(data.folds)
    for i, one in enumerate(names):
        if not len(data.folds[one]):
            yield Finding("empty fold", one, "no item lies in it", bad=True)
        for other in names[i + 1:]:
            shared = data.folds[one][torch.isin(data.folds[one], data.folds[other])]
            if len(shared):
                yield Finding("leakage", f"{one} and {other}", f"{len(shared):,} items lie in both: "
                              f"{some(data, shared.tolist())}", bad=True)


def labels(data: Data) -> Iterator[Finding]:
    """Classes that are rare, alone, or missing where they are learned from; labels that are unknown."""
    if data.labels is None:
        return
    known = data.labels.isfinite() if data.labels.is_floating_point() else data.labels >= 0
    if not known.all():
        yield Finding("unlabelled", some(data, (~known).nonzero()[:, 0].tolist()),
                      f"{int((~known).sum()):,} of {len(known):,} items have no label", bad=not known.any())
    if data.labels.is_floating_point() or not known.any():
        return

    def name(i: int) -> str:
        return str(data.classes[i]) if data.classes is not None and i < len(data.classes) else str(i)

    counts = torch.bincount(data.labels[known])
    there = counts.nonzero()[:, 0]
    least, most = int(there[counts[there].argmin()]), int(counts.argmax())
    if len(there) == 1:
        yield Finding("one class", name(most), "every label is the same: nothing to tell apart", bad=True)
    elif counts[most] >= 10 * counts[least]:
        yield Finding("imbalance", f"{name(most)} and {name(least)}", f"{int(counts[most]):,} items and "
                      f"{int(counts[least]):,}; guessing the larger class is right in {counts[most] / counts.sum():.1%}")
    if {"train", "test"} <= set(data.folds):
        learned, asked = (set(data.labels[data.folds[fold]].tolist()) - {-1} for fold in ("train", "test"))
        if asked - learned:
            yield Finding("classes never seen", ", ".join(name(i) for i in sorted(asked - learned)[:5]),
                          f"{len(asked - learned)} classes of the test fold have no item in the training fold", bad=True)


def values(seen: Look, data: Data) -> Iterator[Finding]:
    """Numbers that are none, items without content, columns that say nothing."""
    if seen.broken:
        yield Finding("NaN or infinite", some(data, seen.broken), f"{len(seen.broken):,} items have such features", bad=True)
    if seen.blank:
        share = len(seen.blank) / len(seen.digests)
        yield Finding("blank items", some(data, seen.blank), f"all raw features of {len(seen.blank):,} items are one value",
                      bad=0.1 < share)
    constant = (seen.low == seen.high).nonzero()[:, 0].tolist()
    if constant:
        yield Finding("constant columns", columns(data, constant), f"{len(constant):,} of {len(seen.low):,} columns of the raw "
                      f"features are the same in every item", bad=len(constant) == len(seen.low))


def columns(data: Data, which: Sequence[int]) -> str:
    named = [data.columns[i] if data.columns is not None and i < len(data.columns) else f"column {i}" for i in which[:5]]
    return ", ".join(named) + (f" and {len(which) - 5:,} more" if len(which) > 5 else "")


def duplicates(seen: Look, data: Data) -> Iterator[Finding]:
    """Items whose raw features are the same: how many, across which folds, and with which labels."""
    first: dict[bytes, int] = {}
    twin = [first.setdefault(digest, i) for i, digest in enumerate(seen.digests)]
    copies = [i for i, j in enumerate(twin) if i != j]
    if not copies:
        return
    if len(first) < len(twin) / 2:
        yield Finding("items that are alike", "raw features", f"{len(twin):,} items have {len(first):,} different ones, "
                      f"so duplicates and leakage cannot be told")
        return
    yield Finding("duplicates", some(data, copies), f"{len(copies):,} of {len(twin):,} items are the same as one before, the "
                  f"first as {some(data, [twin[copies[0]]])}")
    if data.labels is not None and len(data.labels) == len(twin):
        unlike = [i for i in copies if data.labels[i] != data.labels[twin[i]]]
        if unlike:
            yield Finding("contradictions", some(data, unlike), f"{len(unlike):,} items are the same as one with another label")
    yield from shared(data, twin, "the same as", bad=0.01)


def shared(data: Data, twin: Sequence[int], how: str, bad: float) -> Iterator[Finding]:
    """Items to be scored on that are also learned from."""
    if not {"train", "test"} <= set(data.folds):
        return
    learned = set(data.folds["train"].tolist())
    groups = {twin[i] for i in learned if i < len(twin)}
    for fold in ("validation", "test"):
        asked = data.folds.get(fold, torch.tensor([])).tolist()
        again = [i for i in asked if i < len(twin) and i not in learned and twin[i] in groups]
        if again:
            yield Finding("leakage", f"{fold}: {some(data, again)}", f"{len(again):,} of {len(asked):,} items are {how} one of "
                          f"the training fold ({len(again) / len(asked):.1%})", bad=bad * len(asked) < len(again))


def near(seen: Look, data: Data) -> Iterator[Finding]:
    """Sampled items whose raw features are nearly the same, by their cosine once every column is standardised."""
    x = seen.rows[:, seen.low < seen.high].nan_to_num(0, 0, 0)
    if x.shape[1] < 4 or len(x) < 2:
        return  # the cosine of a few numbers says nothing
    x = (x - x.mean(dim=0)) / x.std(dim=0).clamp(min=1e-12)
    x = x / x.norm(dim=1, keepdim=True).clamp(min=1e-12)
    twin, order = torch.arange(len(x)), torch.arange(len(x))
    for start in range(0, len(x), 1024):
        close = x[start: start + 1024] @ x.T > ALIKE  # (1024, K)
        close &= order[None] < order[start: start + 1024, None]
        twin[start: start + 1024] = torch.where(close.any(dim=1), close.int().argmax(dim=1), twin[start: start + 1024])
    which = seen.which.tolist()
    pairs = [(which[i], which[j]) for i, j in enumerate(twin.tolist()) if i != j]
    pairs = [(i, j) for i, j in pairs if seen.digests[i] != seen.digests[j]]
    if not pairs or len(pairs) > len(x) / 2:
        return
    yield Finding("near-duplicates", some(data, (i for i, _ in pairs)), f"{len(pairs):,} of {len(x):,} compared items "
                  f"have a cosine above {ALIKE} with another, the first with {some(data, [pairs[0][1]])}")
    groups = list(range(len(seen.digests)))
    for i, j in pairs:
        groups[i] = groups[j]
    yield from shared(data, groups, "nearly the same as", bad=1.0)


def leaks(seen: Look, data: Data) -> Iterator[Finding]:
    """Columns of the raw features that tell the label alone."""
    if data.labels is None or not {"train", "test"} <= set(data.folds) or len(data.labels) != len(seen.digests):
        return
    learned = torch.isin(seen.which, data.folds["train"])
    known = data.labels[seen.which]
    known_ones = known.isfinite() if known.is_floating_point() else known >= 0
    train, held = learned & known_ones, ~learned & known_ones
    if train.sum() < 20 or held.sum() < 20:
        return
    for i in (seen.low < seen.high).nonzero()[:WIDEST, 0].tolist():
        x = seen.rows[:, i]
        if known.is_floating_point():
            ranks = torch.stack([values[held].argsort().argsort().double() for values in (x, known)])
            if abs(float(torch.corrcoef(ranks)[0, 1])) >= TOLD:
                yield Finding("leaking column", columns(data, [i]), "it alone orders held-out items as labels do", bad=True)
            continue
        few = x[train].unique()
        cuts = few if len(few) <= BINS else x[train].quantile(torch.linspace(0, 1, BINS + 1)[1:-1]).unique()
        share, usual = told(torch.bucketize(x.contiguous(), cuts), known, train, held)
        if share >= TOLD and usual < 0.9:
            yield Finding("leaking column", columns(data, [i]), f"it alone tells the label of {share:.1%} of held-out items; "
                          f"guessing is right in {usual:.1%}", bad=True)


def told(codes: Tensor, y: Tensor, train: Tensor, held: Tensor) -> tuple[float, float]:
    """Share of held-out items whose label is the most frequent one of their code in training, and that of the best guess.

    Args:
        codes, y: (K,) long, the value of a column and the label of each item.
        train, held: (K,) bool.
    """
    classes = int(y.max()) + 1
    table = torch.bincount(codes[train] * classes + y[train], minlength=(int(codes.max()) + 1) * classes).view(-1, classes)
    right = (table.argmax(dim=1)[codes[held]] == y[held]).double().mean()
    return float(right), float((y[held] == table.sum(dim=0).argmax()).double().mean())


def cost(data: Data) -> dict[str, Any]:
    """What it takes to read one epoch, measured on as many batches as can be read in ten seconds."""
    total, read, size, since = len(data.train), 0, 0, time.perf_counter()  # type: ignore[arg-type]
    for batch in data.train:
        read, size = read + 1, max(size, nbytes(batch))
        if time.perf_counter() - since > SECONDS:
            break
    spent = (time.perf_counter() - since) * total / max(1, read)
    return {"items": data.size, "batches": total, "batches_read": read, "seconds": round(spent, 6),
            "batch_mb": round(size / 2**20, 6), "epoch_mb": round(size * total / 2**20, 1)}


def nbytes(batch: Any) -> int:
    """Bytes of the tensors in a batch, whatever holds them."""
    if isinstance(batch, Tensor):
        return batch.nbytes
    if isinstance(batch, dict):
        return sum(map(nbytes, batch.values()))
    if isinstance(batch, (list, tuple)):
        return sum(map(nbytes, batch))
    if hasattr(batch, "to_dict"):
        return nbytes(batch.to_dict())
    return sum(map(nbytes, vars(batch).values())) if hasattr(batch, "__dict__") else 0
