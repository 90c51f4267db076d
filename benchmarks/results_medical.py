"""Pre-train methods of the medical plugin on MRI of the hippocampus, fine-tune each for segmentation with few labelled
cases beside the same network from scratch, and score frozen features of AdrenalMNIST3D; write both as tables.

Every cell gets the same number of fine-tuning steps. Nothing is chosen on the test cases: the last state counts. Cells that
are done are kept in a file, so that a run that was stopped goes on where it was.

    python benchmarks/results_medical.py --root FOLDER [--minutes 3] [--methods mae3d,alice] [--piece 20]
"""
from __future__ import annotations

import argparse
import random
import statistics
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from budget import Cells, Out, epochs_within
from page import PAGE, write_section

from ssl_core import Run, __version__, pretrain, resume
from ssl_core.config import IN_MEMORY
from ssl_core.plugins import Plugins

METHODS = "mae3d,swin-unetr-ssl,models-genesis,alice"
COUNTS = (10, 40, 0)  # labelled training cases; 0 for all
FROZEN = "mae3d,models-genesis,medical-simclr"  # methods whose frozen features are probed
SIZES = {"vit3d": {"encoder.patch": 4, "encoder.width": 72, "encoder.depth": 3}, "unet3d": {"encoder.width": 64},
         "swin": {"encoder.width": 96}, "resnet3d": {"encoder.width": 64}}
DECODERS = {"swin-unetr-ssl": {"method.width": 8}, "models-genesis": {"method.width": 8}, "alice": {"method.width": 16}}
HELD = {"validation": 20, "test": 40}


def pretrained(method: str, where: Path, minutes: float, data: Any, options: dict[str, Any]) -> dict[str, Any]:
    """The result of a run of so many minutes of one core; one that was stopped goes on, one that has ended is opened."""
    held = data if isinstance(data, list) else None
    if (where / "config.yaml").exists():
        return resume(where, data=held, quiet=True).result
    chosen = SIZES[Plugins()["medical"].offers["methods"][method].encoder] | DECODERS.get(method, {}) | options
    told = chosen | {"data": IN_MEMORY if held is not None else str(data)}
    epochs = epochs_within(minutes, "medical", method, told, held)
    print(f"{method}: {epochs} epochs", file=sys.stderr, flush=True)
    return pretrain("medical", method, data, out=where, quiet=True, epochs=epochs, **chosen).result


def hippocampus(args: argparse.Namespace, cells: Cells) -> list[str]:
    """Dice and HD95 after fine-tuning, as lines of a table."""
    from ssl_medical import readers
    folder = args.root / "hippocampus"
    names = sorted(case.name for case in readers.cases(folder))
    random.Random(1).shuffle(names)
    test, train = names[: HELD["test"]], names[HELD["test"] + HELD["validation"]:]
    paths = [str(folder / "images" / name) for name in sorted(train)]
    options = {"data.size": 32, "data.batch_size": 8, "data.repeats": 2, "probe": "", "baselines": False}
    runs, encoders = {}, {}
    for method in args.methods.split(","):
        where = args.runs / f"hippocampus-{method}"
        cells.get(f"pre-train {method} {args.minutes:g}",
                  partial(pretrained, method, where, args.minutes, paths, options))
        runs[method] = Run.load(where)
        encoders[runs[method].read_json("encoder.json")["encoder"]] = method
    held: dict[str, Any] = {}
    try:
        for seed in range(args.seeds):
            for count in COUNTS:
                chosen = sorted(train) if not count else random.Random(f"{seed} {count}").sample(sorted(train), count)
                starts = [(name, runs[method]) for name, method in encoders.items()] + list(runs.items())
                for start, run in starts:  # an encoder's name stands for fresh weights, a method's for those of its run
                    cells.get(f"segment {start} {count} {seed} {args.steps}",
                              partial(segmented, run, start in encoders, seed, chosen, test, folder, held, args.steps))
    except Out:
        pass
    return lines(cells, list(runs), list(encoders), args, len(train), len(test))


def segmented(run: Run, fresh: bool, seed: int, train: list[str], test: list[str], folder: Path, held: dict[str, Any],
              steps: int) -> dict[str, float]:
    """Fine-tune one network, from the weights of a run or from fresh ones."""
    from ssl_medical.segmentation import labelled, transfer
    if not held:
        held.update({case.name: case for case in labelled(folder)})
    encoder = run.encoder
    if fresh:
        record = run.read_json("encoder.json")
        with torch.random.fork_rng():
            torch.manual_seed(1000 + seed)
            encoder = Plugins().find("encoders", record["encoder"], "medical").load()(**record["options"])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return transfer(encoder, [held[name] for name in train], [held[name] for name in test], steps=steps, width=8,
                    overlap=0.25, seed=seed, device=device)


def lines(cells: Cells, methods: list[str], encoders: list[str], args: argparse.Namespace, train: int, test: int) -> list[str]:
    """The table of the segmentation."""
    heads = [f"{count or train} cases" for count in COUNTS]
    out = [
        f"Hippocampus MRI, {train} training and {test} test cases, split by case; {HELD['validation']} more are kept for "
        f"choosing options, of which none was tuned. Pre-training on the images of the training cases: {args.minutes:g} "
        f"minutes of one core per method, cubes of 32 x 32 x 32. Fine-tuning of encoder and decoder: {args.steps} steps of 4 "
        f"cubes for every cell, without "
        f"selection. Mean Dice of both parts of the hippocampus over the test cases, and in brackets the 95th percentile of "
        f"the Hausdorff distance in mm; mean and deviation over {args.seeds} seeds (labelled cases, decoder, cubes).", "",
        "| encoder and start | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
    for start in (*encoders, *methods):
        row = []
        for count in COUNTS:
            found = [cells.done[key] for seed in range(args.seeds)
                     if (key := f"segment {start} {count} {seed} {args.steps}") in cells.done]
            distance = f" ({statistics.mean(f['hd95'] for f in found):.1f})" if found else ""
            row.append(spread([f["dice"] for f in found]) + distance)
        shown = start if start in encoders else f"{start} ({Plugins()['medical'].offers['methods'][start].encoder})"
        out.append(f"| {shown}{', from scratch' * (start in encoders)} | " + " | ".join(row) + " |")
    return out


def spread(found: list[float]) -> str:
    """Mean and deviation; the mean alone, with the number of runs, where they are fewer than planned."""
    if len(found) < 2:
        return f"{found[0]:.3f} (1 seed)" if found else "not run"
    return f"{statistics.mean(found):.3f} ± {statistics.stdev(found):.3f}"


def adrenal(args: argparse.Namespace, cells: Cells) -> list[str]:
    """Area under the ROC curve of frozen features, as lines of a table."""
    path, options = args.root / "adrenalmnist3d" / "adrenalmnist3d.npz", {"probe": "auc", "data.batch_size": 32}
    try:
        for method in FROZEN.split(","):
            cells.get(f"adrenal {method} {args.minutes:g}",
                      partial(pretrained, method, args.runs / f"adrenal-{method}", args.minutes, path, options))
    except Out:
        pass
    found = {method: cells.done[key] for method in FROZEN.split(",")
             if (key := f"adrenal {method} {args.minutes:g}") in cells.done}
    out = ["", f"AdrenalMNIST3D, 28 x 28 x 28, official folds: area under the ROC curve on the test fold, of probes on frozen "
           f"features whose options are chosen on validation; {args.minutes:g} minutes of one core per method, one seed.", "",
           "| | linear | k-NN | epochs |", "|---|---|---|---|"]

    def row(name: str, scores: dict[str, float], epochs: Any) -> str:
        return f"| {name} | {scores['linear_auc']:.3f} | {scores['knn_auc']:.3f} | {epochs} |"
    for i, (method, result) in enumerate(found.items()):
        encoder = Plugins()["medical"].offers["methods"][method].encoder
        out += [] if i else [row("raw voxels", result["raw"], "")]
        out += [row(f"{encoder}, untrained", result["untrained"], 0), row(f"{encoder}, {method}", result["scores"],
                                                                        result["epochs"])]
    return out


def main() -> None:
    read = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    read.add_argument("--root", type=Path, required=True, help="holds hippocampus/ and adrenalmnist3d/")
    read.add_argument("--minutes", type=float, default=3.0, help="of one core, of pre-training per method")
    read.add_argument("--methods", default=METHODS, help="names, separated by commas")
    read.add_argument("--steps", type=int, default=100, help="of fine-tuning per cell")
    read.add_argument("--seeds", type=int, default=3)
    read.add_argument("--runs", type=Path, default=Path("runs/results-medical"), help="where runs and finished cells are kept")
    read.add_argument("--piece", type=float, default=0.0, help="minutes after which no further cell is begun; 0 for no end")
    read.add_argument("--out", type=Path, default=PAGE, help="the page whose section is replaced")
    args = read.parse_args()
    args.root = args.root.resolve()
    cells = Cells(args.runs / "cells.json", args.piece)
    try:
        tables = hippocampus(args, cells) + adrenal(args, cells)
    except Out:
        print("not enough for a table yet; run the same command again", file=sys.stderr)
        return
    head = ["## Medical", "", f"    python benchmarks/results_medical.py --root FOLDER --minutes {args.minutes:g} "
            f"--steps {args.steps} --seeds {args.seeds}", "", f"ssl-core {__version__}, torch {torch.__version__}.", ""]
    write_section("medical", "\n".join(head + tables), args.out)


if __name__ == "__main__":
    main()
