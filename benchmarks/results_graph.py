"""Every graph method on every data set it applies to, over several seeds, beside raw features, the untrained encoder and
a supervised network: the section "graph" of docs/results.md.

    python benchmarks/results_graph.py --data ../shared/data/graph [--methods gcool,grace] [--datasets cora,citeseer]
        [--seeds 5] [--minutes 1] [--cache FOLDER] [--piece 20] [--section NAME] [--set epochs=50 data.split=public]

A seed draws weights, views and, where a split is random, the split (10/10/80 for nodes, 80/10/10 for graphs). Every run is
one JSON file in the cache; runs that are there are not repeated, so the command can be stopped and given again. With
`--minutes`, a training has the epochs of its recipe or as many as fit into so much processor time, whichever are fewer.
"""
from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from budget import Out, epochs_within
from page import PAGE, write_section
from torch import nn

from ssl_core import SSLError, evaluation, pretrain
from ssl_core.assembly import assemble, load_probes
from ssl_core.batches import seed_all
from ssl_core.config import parse, resolve
from ssl_core.files import write_json
from ssl_core.plugins import Plugins

NODES = ("cora", "citeseer", "actor", "chameleon")
MULTIPLEX = ("acm",)
GRAPHS = ("mutag", "proteins", "enzymes")
SCORES = ("linear", "knn", "nmi", "ari", "svm", "sim@5", "link_auc", "partition", "four_tasks")
#: What is asked of a data set, where it is more than the core's probes.
PROBES = dict.fromkeys(GRAPHS, "linear,knn,clustering,svm") | dict.fromkeys(MULTIPLEX, "linear,knn,clustering,similar")
#: Methods of which an item can be a whole graph, methods of which it has to be one, and those with data of their own.
EMBEDS_GRAPHS = ("graphcl", "d-sla", "graphmae", "graph-barlow", "graph-vicreg", "graph-dino")
NEEDS_GRAPHS = ("graphcl", "d-sla")
NEEDS_RELATIONS = ("meow", "adameow")
NEEDS_POINTS = ("profsa", "s-molsearch")
RAW, SUPERVISED = "raw features", "supervised"
#: Accuracy in percent by data set and split, as the GraphMAE paper (arXiv:2205.10803, table 1) and the GRACE paper
#: (arXiv:2006.04131, table 2; 10 % of the nodes for training, the rest for testing) print it.
PUBLISHED = {
    ("cora", "public"): {"graphmae": 84.2, "bgrl": 82.7, "dgi": 82.3, "mvgrl": 83.5, "cca-ssg": 84.0},
    ("citeseer", "public"): {"graphmae": 73.4, "bgrl": 71.1, "dgi": 71.8, "mvgrl": 73.3, "cca-ssg": 73.1},
}
NOTES = {"acm": "More than a quarter of all pairs of papers share a subject. Methods that take both relations as one graph "
                "average over them all; without (`--set data.relations=[authors]`), see section acm-authors."}
ABOUT = """A seed draws weights, views and random splits. `linear` is logistic regression and `knn` a nearest-neighbour vote on
the frozen encoder, their penalty and k chosen on validation; `nmi` and `ari` are of k-means on the test items; `svm` is the
mean over 10 folds of all graphs, C chosen within the training part; `sim@5` is the share of equal labels among the 5 nearest.
No epoch was chosen on test items and no option by test scores; options chosen on the validation nodes of one split have seen
nodes that other random splits test. `untrained` is the linear score of the same encoder before training; the
supervised network is a GCN (GIN for graphs) trained on the training fold, its epoch chosen on validation."""

FOUR = """`link_auc` is of logistic regression on products of two rows, for links that were hidden before training; `partition`
is the accuracy with which the region of a node is told; `four_tasks` is the mean of `linear`, `nmi` and these two (ParetoGNN's
tasks). `untrained` is the mean of the four here."""


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--data", type=Path, help="folder that holds the data sets; default: the plugin's cache")
    ask.add_argument("--methods", default="", help="default: all, and the supervised network")
    ask.add_argument("--datasets", default=",".join(NODES + MULTIPLEX + GRAPHS))
    ask.add_argument("--seeds", type=int, default=5)
    ask.add_argument("--minutes", type=float, default=0.0, help="most processor time of a training; 0 for no limit")
    ask.add_argument("--piece", type=float, default=0.0, help="minutes after which no further run is begun; 0 for no end")
    ask.add_argument("--cache", type=Path, default=Path("runs/results-graph"), help="one JSON file per run")
    ask.add_argument("--section", default="graph", help="of the page, for a second table with other options")
    ask.add_argument("--out", type=Path, default=PAGE, help="the page whose section is replaced")
    ask.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="options of every run, as for sslrun")
    given = ask.parse_args()
    options = parse(given.set)
    methods = [RAW, *(filter(None, given.methods.split(",")) if given.methods else
                      [*Plugins()["graph"].offers["methods"], SUPERVISED])]
    datasets = [*filter(None, given.datasets.split(","))]
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    end, missing = time.monotonic() + 60 * given.piece if given.piece else float("inf"), 0
    for seed in range(given.seeds):  # seed by seed, so that a table that is cut short has every method
        for data in datasets:
            for method in (name for name in methods if applies(name, data)):
                try:
                    row = cached(given.cache, method, data, seed, given.data, given.minutes, options, end)
                    found.setdefault((data, method), []).extend([row] if row else [])
                except Out:
                    missing += 1
    if missing:
        print(f"the time of this piece is over, {missing} runs are missing; give the same command again to go on",
              file=sys.stderr)
    found = {key: rows for key, rows in found.items() if rows}
    write_section(given.section, page(found, datasets, methods, given, options), given.out)
    print(given.out)


def applies(method: str, data: str) -> bool:
    """Whether the items that a method embeds are those of a data set."""
    if method in (RAW, SUPERVISED):
        return True
    if method in NEEDS_POINTS:
        return False
    if method in NEEDS_RELATIONS:
        return data in MULTIPLEX
    return method in EMBEDS_GRAPHS if data in GRAPHS else method not in NEEDS_GRAPHS


def cached(folder: Path, method: str, data: str, seed: int, root: Path | None, minutes: float, options: dict[str, Any],
           end: float) -> dict[str, Any]:
    """The result of one run, from its file or made now; {} for one that failed, with the reason on standard error.

    Raises:
        Out: it would have to be made, and the time is over.
    """
    said = options | ({"minutes": minutes} if minutes and method not in (RAW, SUPERVISED) else {})
    key = hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:6] if said else "recipe"
    path = folder / f"{method.replace(' ', '-')}-{data}-{seed}-{key}.json"
    if path.exists():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    if time.monotonic() > end:
        raise Out
    start = time.process_time()
    given = options | ({"data.root": str(root)} if root and data != "digits" else {}) | {"seed": seed, "data": data}
    given = ({"probe": PROBES[data]} if data in PROBES else {}) | given
    try:
        result = (plain(given) if method == RAW else supervised(data, seed, given) if method == SUPERVISED else
                  trained(method, minutes, given))
    except SSLError as error:
        print(f"{method} on {data}, seed {seed}: {error}", file=sys.stderr)
        return {}
    result["all_seconds"] = round(time.process_time() - start, 1)
    write_json(path, result)
    scores = "  ".join(f"{name} {value:.3f}" for name, value in result["scores"].items())
    print(f"{method:14} {data:10} seed {seed}  {scores}  {result['all_seconds']:.0f} s", file=sys.stderr, flush=True)
    return result


def trained(method: str, minutes: float, options: dict[str, Any]) -> dict[str, Any]:
    """Train one method by its recipe, for some minutes at most, and score it by the core's one protocol."""
    given = {"trainer.tensorboard": False, "trainer.checkpoint_seconds": 1e9, "baselines": False} | options
    config = resolve(Plugins(), "graph", method, given)
    epochs = min(config.epochs, epochs_within(minutes, "graph", method, given)) if minutes else config.epochs
    start = assemble(config)
    rows = evaluation.embed(start.method.kept, start.data.items)
    untrained = evaluation.score(rows, start.data, {"linear": load_probes(config)["linear"]})
    before = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        run = pretrain("graph", method, out=Path(folder) / "run", quiet=True, **given | {"epochs": epochs})
        seconds = time.process_time() - before
        return {key: item for key, item in run.result.items() if key != "run"} | {
            "untrained": untrained, "wall_seconds": run.result["seconds"], "cpu_seconds": round(seconds, 1)}


def plain(options: dict[str, Any]) -> dict[str, Any]:
    """The probes on the raw features."""
    method = next(name for name in Plugins()["graph"].offers["methods"] if applies(name, options["data"]))
    config = resolve(Plugins(), "graph", method, {key: item for key, item in options.items()
                                                  if key in ("probe", "seed", "data") or key.startswith("data.")})
    data = assemble(config).data
    return {"scores": evaluation.score(evaluation.raw(data), data, load_probes(config)), "untrained": {}}


def supervised(data: str, seed: int, options: dict[str, Any], epochs: int = 200) -> dict[str, Any]:
    """Cross-entropy of a GCN (items are nodes) or GIN (graphs) on the training fold; the epoch is chosen on validation."""
    given = {key.partition(".")[2]: item for key, item in options.items() if key.startswith("data.")}
    held = Plugins().find("datasets", data, "graph").load()(seed=seed, **given)
    seed_all(seed)
    from ssl_graph.encoders import GCN, GIN
    encoder = (GIN(held.facts["in_features"], 64, dropout=0.2, level="graph") if data in GRAPHS else
               GCN(held.facts["in_features"], 64, activation="relu", dropout=0.5))
    head = nn.Linear(encoder.width, held.facts["classes"])
    adam = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=0.01, weight_decay=5e-4)
    start, best, test = time.process_time(), -1.0, 0.0
    train = torch.zeros(len(held.labels), dtype=torch.bool).index_fill(0, held.folds["train"], True)
    for number, graph in enumerate(held.train.dataset if data in GRAPHS else ()):
        graph.number = torch.tensor([number])  # graphs are drawn in a new order in each epoch
    for _ in range(epochs):
        for batch in held.train:
            rows, here = encoder(batch).pooled, batch.number if data in GRAPHS else torch.arange(len(held.labels))
            chosen, labels = train[here], held.labels[here]
            if chosen.sum() > 1:
                adam.zero_grad()
                F.cross_entropy(head(rows[chosen]), labels[chosen]).backward()
                adam.step()
        with torch.no_grad():
            right = (head(evaluation.embed(encoder, held.items)).argmax(dim=1) == held.labels).double()
        if right[held.folds["validation"]].mean() > best:
            best, test = float(right[held.folds["validation"]].mean()), float(right[held.folds["test"]].mean())
    return {"scores": {"linear": test}, "untrained": {}, "seconds": round(time.process_time() - start, 2), "epochs": epochs,
            "verdict": ""}


def page(found: dict[tuple[str, str], list[dict[str, Any]]], datasets: Iterable[str], methods: list[str],
         given: argparse.Namespace, options: dict[str, Any]) -> str:
    """The whole text of the section."""
    said = " ".join(f"{key}={item}" for key, item in options.items()) if options else "the recipes' own"
    seconds = sum(row["all_seconds"] for rows in found.values() for row in rows)
    time_said = (f" A training has the epochs of its recipe, or as many as fit into {given.minutes:g} minutes of processor "
                 f"time if those are fewer: `epochs` says how many of how many." if given.minutes else "")
    title = given.section.removeprefix("graph").strip("-")
    head = [f"## Graphs{f', {title}' if title else ''}", "",
            f"Made by `python benchmarks/results_graph.py {command(given)}`: {sum(map(len, found.values()))} runs, "
            f"{seconds / 60:.0f} minutes of processor time in all. Options: {said}.{time_said}", "",
            f"Mean and standard deviation over up to {given.seeds} seeds, in percent. {ABOUT}"
            + f"\n{FOUR}" * ("data.regions" in options), ""]
    for data in datasets:
        rows = {method: found[data, method] for method in methods if (data, method) in found}
        if rows:
            split = str(options.get("data.split", "random"))
            noted = [NOTES[data], ""] if data in NOTES and "data.relations" not in options else []
            head += [f"### {data}{f', {title}' if title else ''}", "", *noted,
                     *table(rows, data, PUBLISHED.get((data, split), {})), ""]
    return "\n".join(head)


def command(given: argparse.Namespace) -> str:
    """What was asked for, without the places of this machine."""
    words = ["--data FOLDER", f"--datasets {given.datasets}" * bool(given.datasets), f"--methods {given.methods}",
             f"--seeds {given.seeds}", f"--minutes {given.minutes:g}" * bool(given.minutes),
             f"--section {given.section}" * (given.section != "graph"), f"--set {' '.join(given.set)}" * bool(given.set)]
    return " ".join(word for word in words if word)


def table(rows: dict[str, list[dict[str, Any]]], data: str, published: dict[str, float]) -> list[str]:
    """One line per method, and one for the raw features."""
    shown = [key for key in SCORES if any(key in row["scores"] for results in rows.values() for row in results)]
    published = {method: score for method, score in published.items() if method in rows}
    head = f"| method | {' | '.join(shown)} | untrained |{' published |' if published else ''}"
    return [f"{head} RankMe | epochs | seconds | seeds | verdict |",
            "|---|" + "--:|" * (len(shown) + 5 + bool(published)) + "---|",
            *(line(method, results, shown, data, published) for method, results in rows.items())]


def line(name: str, results: list[dict[str, Any]], shown: list[str], data: str,
         published: dict[str, float]) -> str:
    scores = [spread([row["scores"][key] for row in results if key in row["scores"]]) for key in shown]
    key = "four_tasks" if "four_tasks" in shown else "linear"
    untrained = spread([row["untrained"][key] for row in results if key in row["untrained"]])
    rank = [row["rankme"] for row in results if row.get("rankme")]
    verdicts = ", ".join(sorted({row.get("verdict", "") for row in results} - {""}))
    mean_rank = f"{statistics.mean(rank):.0f}" if rank else ""
    epochs, seconds = "", ""
    if name != RAW:
        least = min(row["epochs"] for row in results)
        whole = least if name == SUPERVISED else resolve(Plugins(), "graph", name, {"data": data}).epochs
        epochs = f"{least:,} of {whole:,}" if least < whole else f"{least:,}"
        seconds = f"{statistics.mean(row.get('cpu_seconds', row['seconds']) for row in results):.0f}"
    untrained += f" | {published.get(name, '')}" if published else ""
    return f"| {name} | {' | '.join(scores)} | {untrained} | {mean_rank} | {epochs} | {seconds} | {len(results)} | {verdicts} |"


def spread(values: list[float]) -> str:
    """Mean and deviation in percent."""
    if not values:
        return ""
    deviation = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.1f}{deviation}"


if __name__ == "__main__":
    main()
