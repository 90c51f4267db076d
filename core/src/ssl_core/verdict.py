"""Is the encoder any good to use? One word, the reason in a sentence, and the numbers behind it.

Each sign looks at what was measured before the first step and since. The worst sign gives the word.
"""
from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from math import inf, isfinite
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

Row = Mapping[str, float]


class Verdict(NamedTuple):
    """What became of a training.

    Args:
        word: healthy, collapsed, diverged, stalled, starved, undertrained, untrained or interrupted.
        reason: what was seen, when, and what to try.
        evidence: the numbers; `step`: where it was first seen.
    """

    word: str
    reason: str
    evidence: dict[str, float]


def rows(path: Path) -> list[dict[str, float]]:
    """The rows of a metrics.csv, without blanks; [] if there is none."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items() if name and value} for row in csv.DictReader(file)]


def verdict(*, steps: int, loss: float | None, rankme: float, untrained_rankme: float | None, width: int,
            start: Row | None = None, rows: Sequence[Row] = ()) -> Verdict:
    """Judge a finished run.

    Args:
        steps, loss, rankme, width: of the trained encoder.
        untrained_rankme: of the same encoder before training, on the same items.
        start: what the monitors measured before the first step.
        rows: of metrics.csv.
    """
    if not steps:
        return Verdict("untrained", "no step was taken: these are the scores of the untrained encoder", {})
    if loss is not None and not isfinite(loss) or rankme == 0.0:
        return Verdict("diverged", f"the loss ended at {loss}. Try a lower optimizer.lr or trainer.clip=1.0", {})
    start, measured = start or {}, [row for row in rows if "rankme" in row]
    if not measured and untrained_rankme is not None:  # without monitors: before and after
        start, measured = {"rankme": untrained_rankme}, [{"step": steps, "rankme": rankme}]
    for word, sign in (("diverged", blown_up), ("collapsed", collapsed)):
        found = sign(start, measured, rows, width)
        if found is not None:
            return Verdict(word, *found)
    for word, slow in (("starved", starved), ("stalled", stalled), ("undertrained", undertrained)):
        found = slow(rows)
        if found is not None:
            return Verdict(word, *found)
    before = {} if untrained_rankme is None else {"rankme_start": untrained_rankme}
    return Verdict("healthy", f"the embedding uses {rankme:.1f} of {width} dimensions", {"rankme": rankme} | before)


Sign = tuple[str, dict[str, float]] | None


def blown_up(start: Row, measured: Sequence[Row], rows: Sequence[Row], width: int) -> Sign:
    """The weights grew out of all proportion; or the loss did, and nothing is left of the embedding. (Features may well
    grow a hundredfold: those of an untrained network without statistics of its batch norms are tiny. And a loss may well
    jump where a method's next stage begins: then the weights are where they were.)"""
    if not measured or not start.get("weights"):
        return None

    def growth(row: Row) -> float:
        found = row.get("weights", 0.0) / start["weights"]
        return found if isfinite(found) else inf

    peak = max((abs(row["loss"]) for row in rows if "loss" in row), default=0.0)
    burst = peak > 10 * abs(rows[0].get("loss", inf)) if rows else False
    now = growth(measured[-1])
    if not (now > 30 or (now > 5 or burst and now > 1.5) and collapse(start, measured[-1], width)):
        return None
    step = _first(measured, lambda row: growth(row) > min(5.0, now / 2))
    return (f"from step {step:.0f} on the weights are {now:.0f} times as large as before training, and the loss went up to "
            f"{peak:.3g}. Try a lower optimizer.lr, schedule.warmup=0.1 or trainer.clip=1.0",
            {"step": step, "weights": measured[-1]["weights"], "weights_start": start["weights"], "loss_peak": peak})


def collapsed(start: Row, measured: Sequence[Row], rows: Sequence[Row], width: int) -> Sign:
    """The embedding, the rows that are compared, or the codebook came down to a point or to a few directions."""
    used = [row for row in rows if "perplexity" in row]
    dead = used and (used[-1]["perplexity"] <= 2.05 or used[-1]["perplexity"] < 0.1 * max(r["perplexity"] for r in used))
    if dead:
        step = _first(used, lambda row: row["perplexity"] <= max(2.05, 1.5 * used[-1]["perplexity"]))
        left = used[-1]["perplexity"]
        return (f"from step {step:.0f} on the codebook uses {left:.1f} of its entries. Try a larger weight of its diversity, "
                "balanced or sharper targets, or a lower optimizer.lr", {"step": step, "perplexity": left})
    if not measured:
        return None
    last = dict(next((row for row in reversed(measured) if "val_knn" in row), {})) | dict(measured[-1])
    what = collapse(start, last, width)
    if not what:
        return None
    step = _first(measured, lambda row: bool(collapse(start, {**last, **row}, width)))
    names = ("rankme", "std", "rows_std", "uniformity", "lidar", "val_knn", "val_linear")
    return (f"from step {step:.0f} on {what}", {"step": step} | {name: last[name] for name in names if name in last}
            | {f"{name}_start": start[name] for name in names if name in start})


def collapse(start: Row, now: Row, width: int) -> str:
    """What has collapsed and what to try, or "". Told by what there was before training: data of few directions, and
    encoders whose rows share a large mean, look narrow from the start."""
    std, rows_std, rank = now.get("std", 1.0), now.get("rows_std", 1.0), now.get("rankme", inf)
    if std < 0.01 and std < start.get("std", 1.0) / 4:
        return (f"all items have the same embedding (deviation {std:.1g} of unit rows, {start.get('std', 1.0):.2g} before). "
                f"{REMEDY}")
    if rows_std < 0.3 and rows_std < 0.3 * start.get("rows_std", 1.0):
        return (f"the rows that the objective compares are as good as one point (deviation {rows_std:.2g} of unit rows, "
                f"{start.get('rows_std', 1.0):.2g} at first). {REMEDY}")
    few = rank < max(1.5, 0.05 * width) and rank < start.get("rankme", inf) / 2
    if few and not tells_apart(start, now):
        return f"the embedding uses {rank:.1f} of {width} dimensions, {start['rankme']:.1f} before training. {REMEDY}"
    return ""


REMEDY = ("Try an objective with negatives or a variance term, a teacher or method.stop_gradient=true with a predictor, "
          "stronger views, or a lower optimizer.lr")


def tells_apart(start: Row, now: Row) -> bool:
    """Whether few directions still hold what matters: validation scores have risen by a point or more; or, where they did not
    move or there are no labels, as many directions as before are left alone by the views, or half as many. (A method that
    gathers items in a few clusters needs few.)"""
    known = [name for name in ("val_knn", "val_linear") if name in start and name in now]
    gain = fmean(now[name] - start[name] for name in known) if known else 0.0
    return gain > 0 if abs(gain) > 0.01 else now.get("lidar", 0.0) > start.get("lidar", inf) / 2


def starved(rows: Sequence[Row]) -> Sign:
    """More than half of the time went by without a batch, and it mattered."""
    times = [row["seconds"] - before for row, before in zip(rows, [0.0, *(row["seconds"] for row in rows)])]
    lost = sum(row.get("data_wait", 0.0) * time for row, time in zip(rows, times))
    if not rows or lost < 2.0 or lost < 0.5 * rows[-1]["seconds"]:
        return None
    share, step = lost / rows[-1]["seconds"], next(row["step"] for row in rows if row.get("data_wait", 0.0) > 0.5)
    return (f"training waited for data {share:.0%} of the time, from step {step:.0f} on. Try data.workers=4, smaller files, or "
            "a faster disk; what it learned is not worse for it", {"step": step, "data_wait": share})


def quarters(rows: Sequence[Row]) -> list[list[float]]:
    """The losses of the four quarters of training; [] of too few rows to tell."""
    losses = [row["loss"] for row in rows if "loss" in row]
    count = len(losses) // 4
    return [losses[len(losses) - (4 - i) * count: len(losses) - (3 - i) * count] for i in range(4)] if count >= 3 else []


def stalled(rows: Sequence[Row]) -> Sign:
    """Neither the loss nor the embedding moved."""
    parts, measured = quarters(rows), [row for row in rows if "norm" in row]
    if not parts or len(measured) < 2:
        return None
    fall, noise = fmean(parts[0]) - fmean(parts[3]), stdev(parts[3]) + stdev(parts[0])
    moved = max(abs(measured[-1][name] / measured[0][name] - 1) for name in ("rankme", "std", "norm") if measured[0].get(name))
    if fall > max(noise, 0.01 * abs(fmean(parts[0]))) or moved > 0.05:
        return None
    lr, step, early, late = max(row.get("lr", 0.0) for row in rows), measured[0]["step"], fmean(parts[0]), fmean(parts[3])
    return (f"since step {step:.0f} neither the loss ({early:.4g}, then {late:.4g}) nor the embedding has moved. Try a higher "
            f"optimizer.lr than {lr:.1g}, or other views",
            {"step": step, "loss_start": early, "loss": late, "moved": moved})


def undertrained(rows: Sequence[Row]) -> Sign:
    """The loss fell as fast in the last quarter as in the ones before."""
    parts = quarters(rows)
    if not parts:
        return None
    means = [fmean(part) for part in parts]
    fall, late = means[0] - means[3], means[2] - means[3]
    if fall < 0.05 * abs(means[0]) or late < 0.3 * fall or late < stdev(parts[3]):
        return None
    step = rows[-len(parts[3])]["step"]
    return (f"the loss still fell by {late:.3g} in the last quarter (from step {step:.0f} on), of {fall:.3g} since the first. "
            "Try more epochs", {"step": step, "fall": fall, "fall_late": late})


def _first(measured: Sequence[Row], seen: Callable[[Row], bool]) -> float:
    """The step from which on it was seen in every row."""
    step = measured[-1]["step"]
    for row in reversed(measured):
        if not seen(row):
            break
        step = row["step"]
    return step
