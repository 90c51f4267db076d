"""Train the recent vision methods on CIFAR-10 with equal small budgets, beside simclr and mae, their untrained encoders and
raw pixels, and ask some of them what they promise; write all of it as tables.

Every method gets as many whole epochs as fit into its minutes of processor time, one at least. Runs are kept: started
again, the script resumes the one that was cut off and reads the scores of those that are done.

    python benchmarks/results_recent.py --root FOLDER [--minutes 1] [--methods bss,sie] [--runs DIR]
"""
from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from budget import CLOCK, Cells
from page import PAGE, write_section
from results_vision import SHORT, trained

from ssl_core import Run, __version__
from ssl_core.assembly import load_probes
from ssl_core.evaluation import embed, score
from ssl_core.plugins import Plugins
from ssl_vision.equivariance import equivariance
from ssl_vision.shifts import SHIFTS, shifted
from ssl_vision.views import Traced

OLD = ("simclr", "mae")
NEW = ("bss,bss-swav,g-simclr,scatsimclr,tov-vicreg,obow,mugs,slotcon,sie,seq-jepa,genview,transitive,freecos,simmim,satvision,"
       "dmt-jepa,cropmae,mixedae,semaim,hybrid-distill,fsfm,solider")
#: Smaller encoders than the recipes', the same for all methods of a kind, so that a minute is worth something.
CONV, VIT = {"encoder": "conv", "encoder.width": 64}, {"encoder": "vit", "encoder.width": 96, "encoder.depth": 3,
                                                       "encoder.heads": 4, "encoder.patch": 4}
SMALL = {"resnet18": CONV, "conv": CONV, "vit-small": CONV, "scatter": {"encoder.width": 64, "encoder.orientations": 4},
         "vit": VIT, "swin": {"encoder.width": 96, "encoder.depths": (2, 2)}}
SHARES = (0.01, 0.1, 1.0)


def options_of(method: str, root: Path) -> dict[str, Any]:
    """What a method is trained with: its recipe for small photos, a small encoder, and the same optimizer for all."""
    recipe = Plugins()["vision"].offers["methods"][method]
    encoder = recipe.per_data["cifar10"].get("encoder", recipe.encoder)  # ResNets and ViTs of timm become small convolutions
    return {"data": "cifar10", "data.root": str(root), "data.batch_size": 256, "probe": "linear,knn", "seed": 0,
            "trainer.tensorboard": False} | SHORT | SMALL[encoder]


def lines_of(method: str) -> int:
    """Lines of the file that a method is written in, without blank ones; 0 where the core's composer is enough."""
    target = Plugins()["vision"].offers["methods"][method].load()
    file = inspect.getsourcefile(target) or ""
    return sum(bool(line.strip()) for line in Path(file).read_text().splitlines()) if "ssl_vision" in file else 0


def compared(results: Mapping[str, dict[str, Any]], runs: Path) -> list[str]:
    """The first table: what frozen features know."""
    out = ["| encoder, method | linear | k-NN | RankMe | epochs | training, s | verdict | lines |",
           "|---|--:|--:|--:|--:|--:|---|--:|"]
    raw, shown = next(r["raw"] for r in results.values() if r["raw"]), set[str]()
    out.append(f"| raw pixels | {raw['linear']:.3f} | {raw['knn']:.3f} | | | | | |")
    for method, r in results.items():
        encoder = Run.load(runs / method).config.encoder
        if encoder not in shown and r["untrained"]:
            out.append(f"| {encoder}, untrained | {r['untrained']['linear']:.3f} | {r['untrained']['knn']:.3f} | | 0 | | | |")
            shown.add(encoder)
        out.append(f"| {encoder}, {method} | {r['scores']['linear']:.3f} | {r['scores']['knn']:.3f} | {r['rankme']:.0f} of "
                   f"{r['width']} | {r['epochs']} | {r['seconds']:.0f} | {r['verdict']} | {lines_of(method) or ''} |")
    return out


def known(run: Run, encoder: Any) -> dict[str, float]:
    """How well the change between two views is told from their embeddings."""
    return equivariance(lambda batch: encoder(batch).pooled, run.data(), Traced(2, angle=15.0))


def under_shift(run: Run, encoder: Any) -> dict[str, float]:
    """Linear accuracy on changed test images, of a probe that saw the others as they are."""
    data, probes = run.data(), {"linear": load_probes(run.config)["linear"]}
    return {name: score(embed(encoder, shifted(data, change).items or ()), data, probes)["linear"]
            for name, change in SHIFTS.items()}


def by_images(methods: Sequence[str], minutes: float, root: Path, runs: Path) -> list[str]:
    """A table of the linear accuracy by the share of the training images that encoder and probe learned from."""
    rows: dict[str, list[float]] = {}
    for share, method in product(SHARES, methods):
        options, name = options_of(method, root), method if share == 1 else f"{method}-{share:g}"
        fewer = {} if share == 1 else {"data.share": share}
        result = trained(method, minutes, options | fewer, runs / name, share < 1)
        encoder = Run.load(runs / name).config.encoder
        rows.setdefault(f"{encoder}, {method}", []).append(result["scores"]["linear"])
        rows.setdefault(f"{encoder}, untrained", []).append(result["untrained"]["linear"])
    return ["", "Linear accuracy by the share of the training images that both encoder and probe learn from.", "",
            f"| | {' | '.join(f'{share:.0%}' for share in SHARES)} |", "|---|" + "--:|" * len(SHARES),
            *(f"| {name} | {' | '.join(f'{score:.3f}' for score in found)} |" for name, found in rows.items())]


def asked(title: str, ask: Callable[[Run, Any], dict[str, float]], methods: list[str], runs: Path, cells: Cells) -> list[str]:
    """A table of one question to some methods and to the untrained encoder of each kind."""
    rows: dict[str, dict[str, float]] = {}
    for method in methods:
        run = Run.load(runs / method)
        name = run.config.encoder
        key = f"{title}: {method}"
        rows[f"{name}, {method}"] = cells.get(key, lambda run=run: ask(run, run.encoder))
        if f"{name}, untrained" not in rows:
            rows[f"{name}, untrained"] = cells.get(f"{title}: {name}", lambda run=run: ask(run, run.untrained()))
    heads = list(next(iter(rows.values())))
    return ["", title, "", "| | " + " | ".join(heads) + " |", "|---|" + "--:|" * len(heads),
            *(f"| {name} | " + " | ".join(f"{found[head]:.3f}" for head in heads) + " |" for name, found in rows.items())]


def main() -> None:
    read = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    read.add_argument("--root", type=Path, required=True, help="where CIFAR-10 lies: binary, Python, or cifar10_jpg.zip")
    read.add_argument("--minutes", type=float, default=1.0, help=f"{CLOCK}, for training a method")
    read.add_argument("--methods", default=NEW, help="names, separated by commas")
    read.add_argument("--runs", type=Path, default=Path("runs/results-recent"), help="where runs are kept, by minutes")
    read.add_argument("--out", type=Path, default=PAGE, help="the page whose section is replaced")
    args = read.parse_args()
    chosen, runs = [*OLD, *args.methods.split(",")], args.runs / f"{args.minutes:g}"
    results, seen = dict[str, dict[str, Any]](), set[str]()
    for name in chosen:
        options = options_of(name, args.root.resolve())
        kind = str({key: value for key, value in options.items() if key.startswith("encoder")})
        results[name] = trained(name, args.minutes, options, runs / name, kind not in seen)  # baselines once for each
        seen.add(kind)
    cells = Cells(runs / "asked.json")
    text = ["## Recent vision methods", "",
            f"CIFAR-10 as it was found (see `--root`), {args.minutes:g} minutes {CLOCK} for the training of each method (one "
            f"epoch at least), one seed, small encoders and AdamW for all: this compares what a method gives at once, not what "
            f"it reaches. Scores are of probes on frozen features, chosen on a tenth of the training fold, on the test fold. "
            f"Lines are those of the file of a method, blank ones aside; none where a record alone is enough. ssl-core "
            f"{__version__}, torch {torch.__version__}.", "",
            f"    python benchmarks/results_recent.py --root FOLDER --minutes {args.minutes:g}"
            f"{f' --methods {args.methods}' if args.methods != NEW else ''}", "", *compared(results, runs)]
    questions: tuple[tuple[str, Callable[[Run, Any], dict[str, float]], tuple[str, ...]], ...] = (
        ("R^2 of a ridge regression from the embeddings of two views to what was changed between them (crop, flip, turn of up "
         "to 15 degrees, colour), on the test fold.", known, ("simclr", "sie", "seq-jepa")),
        ("Linear accuracy on test images that were changed in one way.", under_shift, ("simclr", "bss", "bss-swav")))
    for title, ask, methods in questions:
        some = [name for name in methods if name in results]
        if some != ["simclr"]:  # which is there to compare with
            text += asked(title, ask, some, runs, cells)
    if "scatsimclr" in results:
        text += by_images(("simclr", "scatsimclr"), args.minutes, args.root.resolve(), runs)
    write_section("recent", "\n".join(text), args.out)
    print("\n".join(text), file=sys.stderr)


if __name__ == "__main__":
    main()
