"""Train methods of the vision plugin on CIFAR-10 for some minutes each, and write what they learned as a table.

Every method gets as many whole epochs as fit into its minutes of processor time, one at least. Beside it stand
the untrained encoder and the raw pixels. The optimizer is AdamW for all: the papers' LARS needs hundreds of epochs.
Runs are kept: started again, the script resumes the one that was cut off and reads the scores of those that are done.

    python benchmarks/results_vision.py --root FOLDER [--minutes 30] [--methods simclr,vicreg] [KEY=VALUE ...]
"""
from __future__ import annotations

import argparse
import os
import platform
import sys
from pathlib import Path
from typing import Any

import torch
from budget import CLOCK, epochs_within
from page import PAGE, write_section

from ssl_core import Run, __version__, pretrain, resume
from ssl_core.config import parse
from ssl_core.plugins import Plugins

METHODS = "simclr,vicreg,barlow-twins,byol,dino,swav,lejepa"
SHORT = {"optimizer": "adamw", "optimizer.lr": 1e-3, "optimizer.weight_decay": 1e-4, "schedule.warmup": 0.1}
COLUMNS = ("linear", "knn")


def trained(method: str, minutes: float, options: dict[str, Any], where: Path, baselines: bool) -> dict[str, Any]:
    """The result of one run: read, if it is done; brought to its end, if it was begun; else made."""
    if (where / "config.yaml").exists():
        run = Run.load(where)
        run = run if run.result.get("scores") else resume(where, quiet=True)
    else:
        epochs = epochs_within(minutes, "vision", method, options)
        print(f"{method}: {epochs} epochs", file=sys.stderr)
        run = pretrain("vision", method, out=where, quiet=True, epochs=epochs, baselines=baselines, **options)
    return run.result


def row(name: str, scores: dict[str, float], *more: Any) -> str:
    cells = [f"{scores[key]:.3f}" if key in scores else "" for key in COLUMNS]
    return "| " + " | ".join([name, *cells, *map(str, more)]) + " |"


def table(results: list[dict[str, Any]], minutes: float, words: list[str]) -> str:
    """The page, in Markdown."""
    first, device = next(r for r in results if r["raw"]), torch.cuda.get_device_name() if torch.cuda.is_available() else \
        f"{platform.machine()} CPU, {torch.get_num_threads()} of {os.cpu_count()} cores"
    lines = [
        "## Vision", "",
        f"CIFAR-10 as it was found (see `--root`), {minutes:g} minutes {CLOCK} for the training of each method (one epoch at "
        f"least), scored on the test fold by probes on frozen features; the penalty and the neighbours are chosen on a tenth "
        f"of the training fold. "
        f"ssl-core {__version__}, torch {torch.__version__}, {device}.", "",
        f"    python benchmarks/results_vision.py --root FOLDER {' '.join(words)}", "",
        "| | linear | k-NN | RankMe | epochs | training, s of the clock | verdict |", "|---|---|---|---|---|---|---|",
        row("raw pixels", first["raw"], "", "", "", ""), row("untrained encoder", first["untrained"], "", 0, 0, "")]
    lines += [row(r["method"], r["scores"], f"{r['rankme']:.0f} of {r['width']}", r["epochs"], round(r["seconds"]),
                  r["verdict"]) for r in results]
    return "\n".join(lines) + "\n"


def main() -> None:
    read = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    read.add_argument("--root", type=Path, required=True, help="where CIFAR-10 lies: binary, Python, or cifar10_jpg.zip")
    read.add_argument("--minutes", type=float, default=30.0, help=f"{CLOCK}, for training a method")
    read.add_argument("--methods", default=METHODS, help="names, separated by commas")
    read.add_argument("--runs", type=Path, default=Path("runs/results-vision"), help="where runs are kept, by minutes")
    read.add_argument("--out", type=Path, default=PAGE, help="the page whose section is replaced")
    read.add_argument("options", nargs="*", metavar="KEY=VALUE", help="for every method, as with sslrun")
    args = read.parse_args()
    options = {"data": "cifar10", "data.root": str(args.root.resolve()), "probe": "linear,knn"} | SHORT
    options |= parse(args.options)
    offered = Plugins()["vision"].offers["methods"]
    chosen = [name for name in args.methods.split(",") if name in offered]
    results: list[dict[str, Any]] = []
    for name in chosen:
        results.append(trained(name, args.minutes, options, args.runs / f"{args.minutes:g}" / name, not results))
        shown = [f"--minutes {args.minutes:g}", f"--methods {','.join(chosen)}", *args.options]
        text = table(results, args.minutes, shown)
        write_section("vision", text, args.out)  # after each, so that none is lost
        print(text, file=sys.stderr)


if __name__ == "__main__":
    main()
