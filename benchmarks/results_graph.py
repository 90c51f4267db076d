"""Every graph method on every data set it applies to, over several seeds, beside raw features, the untrained encoder and
a supervised network: the section "graph" of docs/results.md.

    python benchmarks/results_graph.py --data ../shared/data/graph [--methods gcool,grace] [--datasets cora,citeseer]
        [--seeds 5] [--cache FOLDER] [--set epochs=50 data.split=public]

A seed draws weights, views and, where a split is random, the split (10/10/80 for nodes, 80/10/10 for graphs). Every run is
one JSON file in the cache; runs that are there are not repeated, so the command can be stopped and given again.
"""
from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from page import PAGE, write_section
from torch import nn

from ssl_core import SSLError, evaluation, pretrain
from ssl_core.batches import seed_all
from ssl_core.config import parse
from ssl_core.files import write_json
from ssl_core.plugins import Plugins

NODES = ("cora", "citeseer", "actor", "chameleon")
MULTIPLEX = ("acm",)
GRAPHS = ("mutag", "proteins", "enzymes")
SCORES = ("linear", "knn", "nmi", "ari", "svm", "sim@5")
#: What else than the core's probes is asked of a data set.
PROBES = dict.fromkeys(GRAPHS, "linear,knn,clustering,svm") | dict.fromkeys(MULTIPLEX, "linear,knn,clustering,similar")
#: Methods of which an item can be a whole graph; all others embed nodes.
EMBEDS_GRAPHS = ("graphcl", "graphmae", "graph-barlow", "graph-vicreg")
SUPERVISED = "supervised"
ABOUT = """A seed draws weights, views and random splits. `linear` is logistic regression and `knn` a nearest-neighbour vote on
the frozen encoder, their penalty and k chosen on validation; `nmi` and `ari` are of k-means on the test items; `svm` is the
mean over 10 folds of all graphs, C chosen within the training part; `sim@5` is the share of equal labels among the 5 nearest.
No epoch and no option was chosen on test items. `untrained` is the linear score of the same encoder before training; the
supervised network is a GCN (GIN for graphs) trained on the training fold, its epoch chosen on validation."""


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--data", type=Path, help="folder that holds the data sets; default: the plugin's cache")
    ask.add_argument("--methods", default="", help="default: all, and the supervised network")
    ask.add_argument("--datasets", default=",".join(NODES + MULTIPLEX + GRAPHS))
    ask.add_argument("--seeds", type=int, default=5)
    ask.add_argument("--cache", type=Path, default=Path("runs/results-graph"), help="one JSON file per run")
    ask.add_argument("--out", type=Path, default=PAGE, help="the page whose section is replaced")
    ask.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="options of every run, as for sslrun")
    given = ask.parse_args()
    options = parse(given.set)
    methods = [*filter(None, given.methods.split(","))] or [*Plugins()["graph"].offers["methods"], SUPERVISED]
    datasets = [*filter(None, given.datasets.split(","))]
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for data in datasets:
        for method in methods:
            if applies(method, data):
                rows = [row for seed in range(given.seeds)
                        if (row := cached(given.cache, method, data, seed, given.data, options))]
                found |= {(data, method): rows} if rows else {}
    write_section("graph", page(found, datasets, given.seeds, options), given.out)
    print(given.out)


def applies(method: str, data: str) -> bool:
    """Whether the items that a method embeds are those of a data set."""
    return method == SUPERVISED or (method in EMBEDS_GRAPHS if data in GRAPHS else method != "graphcl")


def cached(folder: Path, method: str, data: str, seed: int, root: Path | None, options: dict[str, Any]) -> dict[str, Any]:
    """The result of one run, from its file or made now; {} for one that failed, with the reason on standard error."""
    key = hashlib.sha256(json.dumps(options, sort_keys=True, default=str).encode()).hexdigest()[:6] if options else "recipe"
    path = folder / f"{method}-{data}-{seed}-{key}.json"
    if path.exists():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    start = time.perf_counter()
    given = options | ({"data.root": str(root)} if root and data != "digits" else {})
    try:
        result = supervised(data, seed, given) if method == SUPERVISED else trained(method, data, seed, given)
    except SSLError as error:
        print(f"{method} on {data}, seed {seed}: {error}", file=sys.stderr)
        return {}
    result["all_seconds"] = round(time.perf_counter() - start, 1)
    write_json(path, result)
    scores = "  ".join(f"{name} {value:.3f}" for name, value in result["scores"].items())
    print(f"{method:14} {data:10} seed {seed}  {scores}  {result['all_seconds']:.0f} s", file=sys.stderr)
    return result


def trained(method: str, data: str, seed: int, options: dict[str, Any]) -> dict[str, Any]:
    """Train one method by its recipe, and score it by the core's one protocol."""
    with tempfile.TemporaryDirectory() as folder:
        given = {"trainer.tensorboard": False, "trainer.checkpoint_seconds": 1e9, "seed": seed} | options
        given = {"probe": PROBES[data]} | given if data in PROBES else given
        run = pretrain("graph", method, data=data, out=Path(folder) / "run", quiet=True, **given)
        return {key: item for key, item in run.result.items() if key != "run"}


def supervised(data: str, seed: int, options: dict[str, Any], epochs: int = 200) -> dict[str, Any]:
    """Cross-entropy of a GCN (items are nodes) or GIN (graphs) on the training fold; the epoch is chosen on validation."""
    given = {key.partition(".")[2]: item for key, item in options.items() if key.startswith("data.")}
    held = Plugins().find("datasets", data, "graph").load()(seed=seed, **given)
    seed_all(seed)
    from ssl_graph.encoders import GCN, GIN
    encoder = (GIN(held.facts["in_features"], 64, dropout=0.2, readout="sum") if data in GRAPHS else
               GCN(held.facts["in_features"], 64, activation="relu", dropout=0.5))
    head = nn.Linear(encoder.width, held.facts["classes"])
    adam = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=0.01, weight_decay=5e-4)
    start, best, test = time.perf_counter(), -1.0, 0.0
    train = torch.zeros(len(held.labels), dtype=torch.bool).index_fill(0, held.folds["train"], True)
    for _ in range(epochs):
        place = 0
        for batch in held.items:
            rows = encoder(batch).pooled
            here = slice(place, place := place + len(rows))
            chosen, labels = train[here], held.labels[here]
            if chosen.sum() > 1:
                adam.zero_grad()
                F.cross_entropy(head(rows[chosen]), labels[chosen]).backward()
                adam.step()
        with torch.no_grad():
            right = (head(evaluation.embed(encoder, held.items)).argmax(dim=1) == held.labels).double()
        if right[held.folds["validation"]].mean() > best:
            best, test = float(right[held.folds["validation"]].mean()), float(right[held.folds["test"]].mean())
    return {"scores": {"linear": test}, "untrained": {}, "raw": {}, "seconds": round(time.perf_counter() - start, 2),
            "verdict": ""}


def page(found: dict[tuple[str, str], list[dict[str, Any]]], datasets: Iterable[str], seeds: int,
         options: dict[str, Any]) -> str:
    """The whole text of the page."""
    said = " ".join(f"{key}={item}" for key, item in options.items()) if options else "the recipes' own"
    seconds = sum(row["all_seconds"] for rows in found.values() for row in rows)
    head = ["## Graphs", "",
            f"Made by `python benchmarks/results_graph.py {' '.join(sys.argv[1:])}`: {sum(map(len, found.values()))} runs, "
            f"{seconds / 60:.0f} minutes of one process in all. Options: {said}.", "",
            f"Mean and standard deviation over up to {seeds} seeds, in percent. {ABOUT}", ""]
    for data in datasets:
        rows = {method: results for (where, method), results in found.items() if where == data}
        if rows:
            head += [f"### {data}", "", *table(rows), ""]
    return "\n".join(head)


def table(rows: dict[str, list[dict[str, Any]]]) -> list[str]:
    """One line per method, and one for the raw features."""
    shown = [key for key in SCORES if any(key in row["scores"] for results in rows.values() for row in results)]
    lines = [f"| method | {' | '.join(shown)} | untrained | RankMe | seconds to train | seeds | verdict |",
             "|---|" + "--:|" * (len(shown) + 4) + "---|"]
    some = next((results for results in rows.values() if results[0]["raw"]), None)
    if some:
        lines.append(line("raw features", some, lambda row: row["raw"], shown, trained=False))
    for method, results in rows.items():
        lines.append(line(method, results, lambda row: row["scores"], shown, trained=True))
    return lines


def line(name: str, results: list[dict[str, Any]], of: Callable[[dict[str, Any]], dict[str, float]],
         shown: list[str], trained: bool) -> str:
    scores = [spread([of(row)[key] for row in results if key in of(row)]) for key in shown]
    if not trained:
        return f"| {name} | {' | '.join(scores)} | | | | {len(results)} | |"
    untrained = spread([row["untrained"]["linear"] for row in results if "linear" in row["untrained"]])
    rank = [row["rankme"] for row in results if row.get("rankme")]
    seconds = statistics.mean(row["seconds"] for row in results)
    verdicts = ", ".join(sorted({row["verdict"] for row in results} - {""}))
    mean_rank = f"{statistics.mean(rank):.0f}" if rank else ""
    return f"| {name} | {' | '.join(scores)} | {untrained} | {mean_rank} | {seconds:.1f} | {len(results)} | {verdicts} |"


def spread(values: list[float]) -> str:
    """Mean and deviation in percent."""
    if not values:
        return ""
    deviation = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.1f}{deviation}"


if __name__ == "__main__":
    main()
