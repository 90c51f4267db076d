"""Train methods of the speech plugin on Free Spoken Digits, and write what their frozen features know as a table.

Every method gets as many whole epochs as fit into its minutes, measured on its first steps, one at least. Digits and
speakers are told by a linear probe on the official test takes, from the same trained encoder, beside the untrained encoder
and the statistics over time of MFCCs and of log-mel bins. Several seeds give mean and deviation.

    python benchmarks/results_speech.py --root FOLDER [--minutes 30] [--seeds 3] [--methods hubert,tera] [KEY=VALUE ...]
"""
from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from page import PAGE, write_section

from ssl_core import __version__, pretrain
from ssl_core.assembly import assemble
from ssl_core.batches import move
from ssl_core.config import parse, resolve
from ssl_core.evaluation import embed, raw, score
from ssl_core.optimizers import groups
from ssl_core.plugins import Plugins
from ssl_core.probes.linear import linear
from ssl_speech import data

METHODS = "wav2vec2,hubert,tera,data2vec-audio"
LABELS = ("digit", "speaker")
FRONTS: dict[str, dict[str, Any]] = {"wave": {"encoder": "wav2vec2", "data.rate": 16000}, "mel": {"encoder": "mel"}}


def cases(methods: str) -> list[tuple[str, str]]:
    """Methods with each front end that they can have: "hubert" -> ("hubert", "wave"), ("hubert", "mel")."""
    offered = Plugins()["speech"].offers["methods"]
    chosen = [name for name in methods.split(",") if name in offered]
    return [(name, front) for name in chosen for front in FRONTS if front == "mel" or offered[name].encoder == "wav2vec2"]


def seconds_per_epoch(method: str, options: dict[str, Any], steps: int = 4) -> float:
    """How long an epoch takes, from a few steps without the first."""
    parts = assemble(resolve(Plugins(), "speech", method, options))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    learner, batches, spent = parts.method.to(device), iter(parts.data.train), []
    optimizer = parts.optimizer(groups(learner))
    learner.prepare([move(next(batches), device)])
    for _ in range(steps):
        start = time.perf_counter()
        learner.step(move(next(batches), device))["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        learner.after_step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        spent.append(time.perf_counter() - start)
    return statistics.median(spent[1:]) * len(parts.data.train)


def known(encoder: Any, sets: dict[str, Any]) -> dict[str, float]:
    """What a frozen encoder knows: accuracy of a linear probe for every kind of label, from one embedding."""
    features = embed(encoder, sets["digit"].items)
    return {label: score(features, sets[label], {"linear": linear})["linear"] for label in LABELS}


def trained(method: str, front: str, seed: int, minutes: float, root: str, more: dict[str, Any], out: Path | None
            ) -> dict[str, Any]:
    """One run: its scores, those of the encoder that it started from, and how long it took."""
    options = {"data": "fsdd", "data.root": root, "trainer.tensorboard": False, "seed": seed} | FRONTS[front] | more
    epochs = max(1, int(minutes * 60 / seconds_per_epoch(method, options)))
    print(f"{method} {front} seed {seed}: {epochs} epochs", file=sys.stderr)
    sets = {label: data.fsdd(root=Path(root), label=label, rate=options.get("data.rate", 8000)) for label in LABELS}
    before = known(assemble(resolve(Plugins(), "speech", method, options)).method.encoder, sets)
    run = pretrain("speech", method, out=out and out / f"{method}-{front}-{seed}", quiet=True, epochs=epochs, probe="",
                   baselines=False, **options)
    result = run.result
    return {"name": f"{method}, {front}", "before": before, "after": known(run.encoder, sets), "epochs": epochs,
            "seconds": result["seconds"], "verdict": result["verdict"], "rankme": result["rankme"]}


def statistics_of(kind: str, root: str) -> dict[str, float]:
    """The probe on mean and deviation over time, without any learning."""
    sets = {label: data.fsdd(root=Path(root), label=label, raw=kind) for label in LABELS}  # type: ignore[arg-type]
    features = raw(sets["digit"])
    assert features is not None
    return {label: score(features, sets[label], {"linear": linear})["linear"] for label in LABELS}


def spread(values: list[float]) -> str:
    mean = statistics.fmean(values)
    return f"{mean:.3f} ± {statistics.stdev(values):.3f}" if len(values) > 1 else f"{mean:.3f}"


def row(name: str, scores: list[dict[str, float]], *more: Any) -> str:
    return "| " + " | ".join([name, *(spread([s[label] for s in scores]) for label in LABELS), *map(str, more)]) + " |"


def table(plain: dict[str, dict[str, float]], runs: list[dict[str, Any]], minutes: float, words: list[str]) -> str:
    """The page, in Markdown."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else \
        f"{platform.machine()} CPU, {torch.get_num_threads()} of {os.cpu_count()} cores"
    lines = [
        "## Speech", "",
        f"Free Spoken Digits (8 kHz), about {minutes:g} minutes of training per run on the takes that are not for testing, "
        f"scored by a linear probe of the mean over time of frozen features: test are the official takes 0 to 4, the penalty "
        f"is chosen on takes 5 to 9. Statistics of MFCCs alone nearly solve both tasks: what counts here is the distance from "
        f"the untrained encoder. ssl-core {__version__}, torch {torch.__version__}, {device}.", "",
        f"    python benchmarks/results_speech.py --root FOLDER {' '.join(words)}", "",
        "| | digit | speaker | epochs | training, s | verdict |", "|---|---|---|---|---|---|"]
    lines += [row(f"{kind} statistics", [scores], "", "", "") for kind, scores in plain.items()]
    for name in dict.fromkeys(r["name"] for r in runs):
        some = [r for r in runs if r["name"] == name]
        seconds, verdicts = statistics.fmean(r["seconds"] for r in some), ", ".join(sorted({r["verdict"] for r in some}))
        lines.append(row(f"{name}, untrained", [r["before"] for r in some], 0, 0, ""))
        lines.append(row(f"**{name}**", [r["after"] for r in some], some[0]["epochs"], round(seconds), verdicts))
    return "\n".join(lines) + "\n"


def main() -> None:
    read = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    read.add_argument("--root", type=Path, required=True, help="the folder with the recordings of Free Spoken Digits")
    read.add_argument("--minutes", type=float, default=30.0, help="of training per run, at most one epoch more")
    read.add_argument("--seeds", type=int, default=3, help="runs per method")
    read.add_argument("--methods", default=METHODS, help="names, separated by commas")
    read.add_argument("--fronts", default="wave,mel", help="front ends: wave, mel or both")
    read.add_argument("--runs", type=Path, help="keep the runs in this folder (default: runs/)")
    read.add_argument("--out", type=Path, default=PAGE, help="the page whose section is replaced")
    read.add_argument("options", nargs="*", metavar="KEY=VALUE", help="for every method, as with sslrun")
    args = read.parse_args()
    root, more = str(args.root.resolve()), parse(args.options)
    plain = {kind: statistics_of(kind, root) for kind in ("mfcc", "mel")}
    words = [f"--minutes {args.minutes:g}", f"--seeds {args.seeds}", f"--methods {args.methods}", f"--fronts {args.fronts}"]
    runs: list[dict[str, Any]] = []
    for method, front in cases(args.methods):
        for seed in range(args.seeds if front in args.fronts.split(",") else 0):
            runs.append(trained(method, front, seed, args.minutes, root, more, args.runs))
            text = table(plain, runs, args.minutes, [*words, *args.options])
            write_section("speech", text, args.out)  # after each run, so that none is lost
            print(text, file=sys.stderr)


if __name__ == "__main__":
    main()
