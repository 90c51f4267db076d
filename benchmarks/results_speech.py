"""Train methods of the speech plugin on Free Spoken Digits over several seeds, and write what their frozen features know,
beside the untrained encoder and plain statistics over time, to the section "speech" of docs/results.md.

Every cell (a method, a front end, a seed) gets as many whole epochs as fit into its minutes of processor time, measured on
its first steps. Digits and speakers are told by a linear probe of the same trained encoder. Cells that are done are kept in
a file, so that a command that was stopped goes on where it was. With `--on validation` nothing sees the test takes and no
page is written: options are chosen that way. Pre-training hears the validation takes, so that these scores are too kind.

    python benchmarks/results_speech.py --root FOLDER [--minutes 5,2] [--seeds 3] [--methods hubert,tera] [--fronts wave]
        [--piece 20] [--on validation] [KEY=VALUE ...]
"""
from __future__ import annotations

import argparse
import dataclasses
import platform
import statistics
import sys
import tempfile
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from budget import CLOCK, CUDA, Cells, Out, clock, epochs_within
from page import PAGE, write_section

from ssl_core import Data, Fold, __version__, pretrain
from ssl_core.assembly import assemble
from ssl_core.config import parse, resolve
from ssl_core.evaluation import folds, raw, score
from ssl_core.plugins import Plugins
from ssl_core.probes.linear import linear
from ssl_core.verdict import rows
from ssl_speech import data
from ssl_speech.layered import layer_means, weighted

METHODS = "wav2vec2,hubert,data2vec-audio,tera"
LABELS = ("digit", "speaker")
COLUMNS = (*LABELS, *(f"{label}, layers" for label in LABELS))
FRONTS: dict[str, dict[str, Any]] = {"wave": {"encoder": "wav2vec2", "data.rate": 16000},
                                     "mel": {"encoder": "mel", "data.rate": 8000}}  # as recorded
CMVN = {"encoder.normalize": "each"}  # each bin over each word, as in TERA; whole levels tell voices at once
SETTINGS: dict[str, dict[str, Any]] = {  # of a method and its front, where they differ from the recipe
    "hubert wave": {"encoder.norm": "group", "method.penalty": 10.0},  # the paper's; wav2vec2 learns nothing with them
    **{f"{method} mel": CMVN for method in METHODS.split(",")},
    # the paper's dropout and a slower teacher, all blocks: looked for on validation after the recipe had lost voices on test
    "data2vec-audio mel": CMVN | {"method.layers": 3, "method.momentum": 0.999, "encoder.dropout": 0.1}}
ABOUT = """Free Spoken Digits (8 kHz), {minutes} minutes {clock} per run, without labels, on the takes that are not for
testing. A linear probe of the mean over time of the frozen frames, of the last layer, and of all layers with learned weights
("layers", as in SUPERB): test are the official takes 0 to 4 of each digit and
speaker, the penalty is chosen on takes 5 to 9. Options are those of the recipes and of `SETTINGS` in the script, which were
chosen on takes 5 to 9 too (which pre-training hears, without labels); those of data2vec-audio from log-mel were looked for
after the recipe's had failed on the test speakers. Mean and standard deviation over {seeds} seeds.
Statistics (mean and deviation over time) of MFCCs alone nearly solve both tasks, and no method here does better: what
counts is the distance from the untrained encoder."""


def cases(methods: str, fronts: str) -> list[tuple[str, str]]:
    """Methods with each front end that they can have: "hubert" -> ("hubert", "wave"), ("hubert", "mel")."""
    offered = Plugins()["speech"].offers["methods"]
    return [(name, front) for name in methods.split(",") for front in fronts.split(",")
            if front == "mel" or offered[name].encoder == "wav2vec2"]


def settings(method: str, front: str) -> dict[str, Any]:
    """The options of a cell, beside those of the recipe."""
    return FRONTS[front] | SETTINGS.get(f"{method} {front}", {})


@cache
def labelled(root: str, rate: int, on: str, kind: Any = "mfcc") -> dict[str, Data]:
    """The recordings with each kind of label; for `validation` with takes 5 to 9 as test and 10 to 14 as validation."""
    sets = {label: data.fsdd(root=Path(root), label=label, rate=rate, raw=kind) for label in LABELS}  # type: ignore[arg-type]
    if on == "test":
        return sets
    takes = torch.tensor([int(name.partition(".")[0].rsplit("_", 1)[1]) for name in sets["digit"].names or []])
    parts = {name: ((takes >= low) & (takes < high)).nonzero()[:, 0]
             for name, low, high in (("test", 5, 10), ("validation", 10, 15), ("train", 15, 1000))}
    return {label: dataclasses.replace(held, folds=parts) for label, held in sets.items()}


def told(features: torch.Tensor, sets: dict[str, Data]) -> dict[str, float]:
    """Accuracy of a linear probe for every kind of label."""
    return {label: score(features.cpu(), sets[label], {"linear": linear})["linear"] for label in LABELS}


def known(encoder: Any, sets: dict[str, Data]) -> dict[str, float]:
    """What a frozen encoder knows: the mean of its last layer, and all layers weighted (SUPERB's way)."""
    device = "cuda" if CUDA else "cpu"
    means = layer_means(encoder.to(device), sets["digit"].items or (), device).cpu()  # (N, layers, D)
    found = told(means[:, -1], sets)
    for label in LABELS:
        parts = folds(means.flatten(1), sets[label])
        found[f"{label}, layers"] = weighted(*(Fold(x.unflatten(1, means.shape[1:]), y) for x, y in parts))["layers"]
    return found


def plain(kind: str, root: str, on: str) -> dict[str, float]:
    """The probe on mean and deviation over time, without any learning."""
    sets = labelled(root, 8000, on, kind)
    features = raw(sets["digit"])
    assert features is not None
    return told(features, sets)


def trained(method: str, options: dict[str, Any], epochs: int, on: str) -> dict[str, Any]:
    """One run: its scores, those of the encoder that it started from, and how long it took."""
    print(f"{method} {options}: {epochs} epochs", file=sys.stderr, flush=True)
    sets = labelled(options["data.root"], int(options["data.rate"]), on)
    before = known(assemble(resolve(Plugins(), "speech", method, options)).method.encoder, sets)
    with tempfile.TemporaryDirectory() as folder:
        start = clock()
        run = pretrain("speech", method, out=Path(folder) / "run", quiet=True, epochs=epochs, probe="", baselines=False,
                       **{"trainer.tensorboard": False} | options)
        spent, result = clock() - start, run.result
        if result["verdict"] == "interrupted":
            sys.exit(130)
        used = [row["perplexity"] for row in rows(run.path / "metrics.csv") if "perplexity" in row]
        return {"before": before, "after": known(run.encoder, sets), "epochs": epochs, "seconds": round(spent),
                "verdict": result["verdict"], "rankme": result["rankme"], "perplexity": used[-1] if used else None}


def spread(values: list[float]) -> str:
    mean = statistics.fmean(values)
    return f"{mean:.3f} ± {statistics.stdev(values):.3f}" if len(values) > 1 else f"{mean:.3f}"


def row(name: str, scores: list[dict[str, float]], *more: Any) -> str:
    told = (spread([s[column] for s in scores]) if column in scores[0] else "" for column in COLUMNS)
    return "| " + " | ".join([name, *told, *map(str, more)]) + " |"


def told_minutes(args: argparse.Namespace) -> str:
    """Such as "5 (wave) or 2 (mel)"."""
    return " or ".join(f"{minutes:g} ({front})" for front, minutes in per_front(args).items())


def per_front(args: argparse.Namespace) -> dict[str, float]:
    """The minutes of each front end that is asked for; one number is for all."""
    minutes = [float(word) for word in args.minutes.split(",")]
    if len(minutes) not in (1, len(FRONTS)):
        sys.exit(f"--minutes: one number, or one for each of {', '.join(FRONTS)}; got {args.minutes}")
    known = dict(zip(FRONTS, minutes * len(FRONTS) if len(minutes) == 1 else minutes, strict=True))
    return {front: known[front] for front in args.fronts.split(",")}


def table(simple: dict[str, dict[str, float]], runs: dict[str, list[dict[str, Any]]], args: argparse.Namespace) -> str:
    """The section, in Markdown."""
    machine = torch.cuda.get_device_name() if CUDA else f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    words = [f"--minutes {args.minutes}", f"--seeds {args.seeds}", f"--methods {args.methods}", f"--fronts {args.fronts}"]
    about = ABOUT.format(minutes=told_minutes(args), seeds=args.seeds, clock=CLOCK)
    lines = ["## Speech", "", f"{about} ssl-core {__version__}, torch {torch.__version__}, {machine}.", "",
             f"    python benchmarks/results_speech.py --root FOLDER {' '.join([*words, *args.options])}", "",
             f"| | {' | '.join(COLUMNS)} | epochs | training, s | codes in use | verdict |", "|---" * (len(COLUMNS) + 5) + "|"]
    lines += [row(f"{kind} statistics", [scores], "", "", "", "") for kind, scores in simple.items()]
    for name, some in runs.items():
        count = f" ({len(some)} of {args.seeds} seeds)" if len(some) < args.seeds else ""
        seconds, verdicts = statistics.fmean(r["seconds"] for r in some), ", ".join(sorted({r["verdict"] for r in some}))
        codes = [r["perplexity"] for r in some if r.get("perplexity")]
        least = f"{min(codes):.0f} or more of 64" if codes else ""
        lines.append(row(f"{name}, untrained", [r["before"] for r in some], 0, 0, "", ""))
        lines.append(row(f"**{name}**{count}", [r["after"] for r in some], some[0]["epochs"], round(seconds), least, verdicts))
    return "\n".join(lines) + "\n"


def fill(cells: Cells, args: argparse.Namespace) -> None:
    """Make the cells that are not there, a seed of every method before the next seed."""
    root, more = str(args.root.resolve()), parse(args.options)
    simple = {name: cells.get(f"{name} {args.on}", partial(plain, kind, root, args.on))
              for name, kind in (("MFCC", "mfcc"), ("log-mel", "mel"))}
    runs: dict[str, list[dict[str, Any]]] = {}
    for seed in range(args.seeds):
        for method, front in cases(args.methods, args.fronts):
            chosen = settings(method, front) | more
            options = {"data": "fsdd", "data.root": root, "seed": seed} | chosen
            minutes = per_front(args)[front]
            tail = " ".join([f"{minutes:g}", args.on, *(f"{key}={item}" for key, item in chosen.items())])
            epochs = cells.get(f"{method} {front} epochs {tail}",
                               partial(epochs_within, minutes, "speech", method, options))
            made = cells.get(f"{method} {front} {seed} {tail}", partial(trained, method, options, epochs, args.on))
            runs.setdefault(f"{method}, {front}", []).append(made)
            text = table(simple, runs, args)
            if args.on == "test":
                write_section("speech", text, args.out)  # after each cell, so that none is lost
    print(text)


def main() -> None:
    read = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    read.add_argument("--root", type=Path, required=True, help="the folder with the recordings of Free Spoken Digits")
    read.add_argument("--minutes", default="5,2", help="of processor time per run: of wave and mel, or one for both")
    read.add_argument("--seeds", type=int, default=3, help="runs per method")
    read.add_argument("--methods", default=METHODS, help="names, separated by commas")
    read.add_argument("--fronts", default="wave,mel", help="front ends: wave, mel or both")
    read.add_argument("--cache", type=Path, default=Path("runs/results-speech/cells.json"), help="finished cells")
    read.add_argument("--piece", type=float, default=0.0, help="minutes after which no further cell is begun; 0 for no end")
    read.add_argument("--on", choices=("test", "validation"), default="test", help="the takes that are scored")
    read.add_argument("--out", type=Path, default=PAGE, help="the page whose section is replaced")
    read.add_argument("options", nargs="*", metavar="KEY=VALUE", help="for every method, as with sslrun")
    args = read.parse_args()
    args.cache.parent.mkdir(parents=True, exist_ok=True)
    try:
        fill(Cells(args.cache, args.piece), args)
    except Out:
        print("stopped; run the same command again to go on", file=sys.stderr)


if __name__ == "__main__":
    main()
