"""What is forgotten when training goes on with other data: the infinite schedule against a repeated cosine.

First thirteen letters of the UCI letter recognition set, then the other thirteen, with SCARF and a perceptron. After each
part the frozen encoder is scored on both. `cosine, twice` warms up and decays once more for the second part, with all
else as it was; `infinite` goes on at its constant rate and anneals at the end; `with replay` mixes old batches in.

    python benchmarks/continual.py --data letter-recognition.csv --runs FOLDER [--seeds 5] [--epochs 15]
"""
from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from page import write_section

from ssl_core import Run, pretrain, resume
from ssl_core.assembly import load_probes
from ssl_core.contracts import Progress
from ssl_core.evaluation import evaluate
from ssl_core.files import write_json
from ssl_core.schedules import SCHEDULES, Cosine

SMALL = {"encoder.width": 64, "optimizer": "adamw", "optimizer.lr": 3e-3, "data.target": "letter", "data.batch_size": 256,
         "baselines": False, "probe": "", "trainer.tensorboard": False, "trainer.monitor_every": 0,
         "trainer.accelerator": "cpu"}
SMALL_DATA = {key: item for key, item in SMALL.items() if key.startswith("data.")}
ARMS = ("cosine, twice", "infinite", "infinite, with replay")


def parts(source: Path, folder: Path) -> list[str]:
    """Two files, of every other letter of the alphabet; the label is its place among the thirteen of its file."""
    table = pd.read_csv(source)
    number = table.pop("Letter").map(ord) - ord("A")
    files = []
    for name, rest in (("first", 0), ("second", 1)):
        rows = table[number % 2 == rest].add_prefix("column")
        rows.assign(letter=(number[number % 2 == rest] // 2).map("letter{}".format)).to_csv(folder / f"{name}.csv", index=False)
        files.append(str(folder / f"{name}.csv"))
    return files


class Twice:
    """A cosine that starts again, with its warm-up, at some step."""

    def __init__(self, start: int = 0) -> None:
        self.start = start

    def __call__(self, progress: Progress) -> float:
        return Cosine()(Progress(progress.step - self.start, progress.total - self.start))


def trained(arm: str, files: list[str], out: Path, epochs: int, seed: int) -> tuple[Run, Run]:
    """The run on the first part, shared by the arms of one schedule, and the one that goes on with the second."""
    rate: dict[str, Any] = {"schedule": "twice"} if arm == ARMS[0] else {
        "schedule": "infinite", "schedule.warmup": 50, "schedule.cooldown": 13 * epochs, "schedule.constant": 0.3}
    path = out / rate["schedule"]
    first = resume(path, quiet=True) if path.exists() else pretrain(
        "tabular", "scarf", files[0], out=path, quiet=True, epochs=epochs, seed=seed, **SMALL, **rate)
    learned = out / "learned.csv"  # rows of the second part's training fold; read by the first part's schema, all are learned
    if not learned.exists():
        pd.read_csv(files[1]).iloc[first.data(files[1]).folds["train"].numpy()].to_csv(learned, index=False)
    more = {"schedule.start": first.result["steps"]} if arm == ARMS[0] else {"schedule.anneal": 0.1}
    more |= {"trainer.replay": 0.25} if arm == ARMS[2] else {}
    path = out / f"then {arm}"
    return first, resume(path, quiet=True) if path.exists() else resume(
        first.path, data=str(learned), epochs=f"+{epochs}", out=path, quiet=True, **SMALL_DATA, **more)


def scores(run: Run, files: list[str]) -> dict[str, float]:
    """Linear accuracy on both parts."""
    if run.result["verdict"] == "interrupted":
        raise SystemExit(f"{run.path} was interrupted; the same command goes on")
    probes = load_probes(replace(run.config, probe="linear"))
    return {f"{name} {score}": value for name, file in zip(("first", "second"), files, strict=True)
            for score, value in evaluate(run.encoder, run.data(file), probes)["scores"].items()}


def table(found: dict[str, list[tuple[dict[str, float], dict[str, float]]]]) -> list[str]:
    lines = ["| schedule | first, before | first, after | forgotten | second, after |", "|---|---|---|---|---|"]
    for arm, pairs in found.items():
        cells = [[a["first linear"] for a, _ in pairs], [b["first linear"] for _, b in pairs],
                 [a["first linear"] - b["first linear"] for a, b in pairs], [b["second linear"] for _, b in pairs]]
        shown = [f"{np.mean(cell):.4f} ± {np.std(cell, ddof=1):.4f}" for cell in cells]
        lines.append(f"| {arm} | {' | '.join(shown)} |")
    return lines


def verdict(found: dict[str, list[tuple[dict[str, float], dict[str, float]]]]) -> str:
    """How often, over the seeds, each arm forgot less than the repeated cosine."""
    def lost(arm: str) -> list[float]:
        return [a["first linear"] - b["first linear"] for a, b in found[arm]]
    less = {arm: sum(x < y for x, y in zip(lost(arm), lost(ARMS[0]), strict=True)) for arm in ARMS[1:]}
    return "; ".join(f"`{arm}` forgot less than the repeated cosine in {count} of {len(found[arm])} seeds"
                     for arm, count in less.items()) + "."


def write(found: dict[str, list[tuple[dict[str, float], dict[str, float]]]], epochs: int) -> None:
    """The section of docs/results.md, for the seeds so far."""
    seeds = len(found[ARMS[0]])
    write_section("continual", "\n".join([
        "## Continual pre-training", "",
        f"SCARF on every other letter of the UCI letter recognition set, then on the letters between, {epochs} epochs each, "
        f"{seeds} seeds, mean ± deviation of linear accuracy on the test rows of each part, of thirteen letters. `forgotten` "
        f"is what the score on the first part lost (less than 0: it gained). Nothing was tuned. Made by `python "
        f"benchmarks/continual.py --data letter-recognition.csv --runs FOLDER --seeds {seeds} --epochs {epochs}`.",
        "", *table(found), "", verdict(found)]))


def both(arm: str, files: list[str], out: Path, epochs: int, seed: int) -> tuple[dict[str, float], dict[str, float]]:
    """Scores after the first part and after the second; kept in a file, so that the measurement can be made in pieces."""
    path = out / f"{arm}.json"
    if not path.exists():
        write_json(path, {"scores": [scores(run, files) for run in trained(arm, files, out, epochs, seed)]})
    first, second = json.loads(path.read_text())["scores"]
    return first, second


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True, help="a folder for the runs; what is there is not made again")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=15)
    args = parser.parse_args()
    SCHEDULES["twice"] = Twice  # of this measurement only
    args.runs.mkdir(parents=True, exist_ok=True)
    files = parts(args.data, args.runs)
    found = {arm: [both(arm, files, args.runs / str(seed), args.epochs, seed) for seed in range(args.seeds)] for arm in ARMS}
    write(found, args.epochs)
    print("\n".join([*table(found), verdict(found)]))


if __name__ == "__main__":
    main()
