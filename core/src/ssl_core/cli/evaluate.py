"""`sslrun evaluate`: scores of one run or of several, in one table."""
from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from . import parser
from .device import usable


def evaluate(words: list[str]) -> int:
    """Score the encoders of some runs."""
    options = parser("evaluate")
    options.add_argument("run", nargs="+", help="run directories, and data=NAME_OR_PATH for other data than their own")
    options.add_argument("--probe", help="which probes, separated by commas (default: those of the run); "
                         "also: retrieval, transfer")
    options.add_argument("--seeds", type=int, default=1, metavar="N", help="draw training and validation folds N times")
    options.add_argument("--confidence", action="store_true", help="intervals of 95 %%, over draws of the test items")
    options.add_argument("--labels", default="", metavar="SHARES", help="learn from a part of the labels: 0.01,0.1,1")
    options.add_argument("--corruptions", action="store_true", help="test items as the run's augmentation changes them")
    options.add_argument("--layers", action="store_true", help="CKA between the layers, and with the untrained encoder's")
    options.add_argument("--finetune", type=int, default=0, metavar="EPOCHS", help="train the encoder with the labels too")
    options.add_argument("--core", action="store_true", help="fine-tune by Core-tuning: mixed hard pairs and a contrast")
    options.add_argument("--device", default="cpu", help="cpu or cuda")
    options.add_argument("--json", action="store_true", help="print the scores as the last line, as one JSON object")
    args = options.parse_args(words)
    runs, data = _sorted(args.run)
    from ..files import dumps
    from ..finished.scoring import Questions, similarities
    from ..run import Run
    asked = Questions(seeds=args.seeds, labels=_shares(args.labels), confidence=args.confidence,
                      corruptions=args.corruptions, finetune=args.finetune, core=args.core,
                      layers=args.layers)
    opened, device = [Run.load(path) for path in runs], usable(args.device)
    results = [run.evaluate(data, args.probe, device, **vars(asked)) for run in opened]
    alike = similarities(opened, data, device) if len(runs) > 1 and _same_data(results) else None
    print(summary(results, alike), file=sys.stderr if args.json else sys.stdout)
    if args.json:
        print(dumps(results[0] if len(runs) == 1 else {"runs": results, "cka": alike}))
    return 0


def _sorted(words: list[str]) -> tuple[list[str], str | None]:
    """Run directories, and what stands behind `data=`."""
    given = [word.removeprefix("data=") for word in words if word.startswith("data=")]
    runs = [word for word in words if not word.startswith("data=")]
    wrong = [word for word in runs[1:] if not Path(word).exists()]
    if wrong:
        raise ConfigError(f"expected data=NAME_OR_PATH, got {wrong[0]!r}, which is no run directory either")
    if len(given) > 1 or not runs:
        raise ConfigError(f"expected run directories and at most one data=NAME_OR_PATH, got {' '.join(words)!r}")
    return runs, given[0] if given else None


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(",") if word.strip())
    except ValueError:
        raise ConfigError(f"--labels should be shares between 0 and 1, such as 0.01,0.1,1; got {text!r}") from None


def _same_data(results: list[dict[str, Any]]) -> bool:
    return len({result["data"] for result in results}) == 1


def summary(results: list[dict[str, Any]], alike: list[list[float]] | None = None) -> str:
    """The table that people read: raw features once, then each run and its untrained twin."""
    from .table import table
    lines = [columns(results, lambda result, who: _cells(result, who))]
    for share in results[0].get("labels", {}):
        lines += ["", f"learned from {float(share):.3g} of the labels",
                  columns(results, lambda result, who, share=share: _plain(result["labels"][share].get(who, {})))]
    for key, title in (("corrupted", "test items changed by the augmentation"), ("finetuned", "encoder trained with labels")):
        if key in results[0]:
            lines += ["", title, columns(results, lambda result, who, key=key: _plain(result[key].get(who, {})))]
    for result in results:
        found: Any = result.get("layers")
        if found is not None and not found["names"]:
            lines += ["", f"{Path(result['run']).name}: no list of layers with one row for each item, so none are compared"]
        for who in ("scores", "untrained") if found and found["names"] else ():
            title = f"linear CKA between the layers of {Path(result['run']).name}"
            rows = [[name, *(f"{value:.3f}" for value in row)] for name, row in zip(found["names"], found[who])]
            lines += ["", title + ("" if who == "scores" else " and of its untrained encoder"),
                      table(rows, ["", *found["names"]], right=range(1, len(found["names"]) + 1))]
    if alike is not None:
        names = [Path(result["run"]).name for result in results]
        rows = [[name, *(f"{value:.3f}" for value in row)] for name, row in zip(names, alike)]
        lines += ["", "linear CKA between the embeddings", table(rows, ["", *names], right=range(1, len(names) + 1))]
    return "\n".join(lines)


def columns(results: list[dict[str, Any]], of: Any) -> str:
    """A row per run, its untrained twin and, once per data set, the raw features."""
    from .table import table
    rows: dict[str, Mapping[str, str]] = {}
    for result in results:
        raw = of(result, "raw")
        if raw:
            rows.setdefault("raw features" if _same_data(results) else f"raw {result['data']}", raw)
        name = Path(result["run"]).name
        rows["untrained encoder" if len(results) == 1 else f"{name}, untrained"] = of(result, "untrained")
        rows[name] = of(result, "scores")
    names = list(dict.fromkeys(name for found in rows.values() for name in found))
    if not any(set(found) - {"rankme", "of"} for found in rows.values()):
        return "no labels or no probes: nothing to score\n" + "\n".join(
            f"rankme: {result['rankme']:.1f} of {result['width']}" for result in results)
    body = [[row, *(found.get(name, "-") for name in names)] for row, found in rows.items()]
    return table(body, ["", *names], right=range(1, len(names) + 1))


def _cells(result: Mapping[str, Any], who: str) -> dict[str, str]:
    """Scores with their deviation or interval, and the effective rank."""
    deviation, interval = result.get("deviation", {}).get(who, {}), result.get("confidence", {}).get(who, {})
    cells = {}
    for name, value in result[who].items():
        cells[name] = f"{value:.4f}"
        if name in deviation:
            cells[name] += f" ± {deviation[name]:.4f}"
        if name in interval:
            cells[name] += " [{:.4f}, {:.4f}]".format(*interval[name])
    rank = {"scores": result["rankme"], "untrained": result["untrained_rankme"]}.get(who)
    return cells | ({} if rank is None else {"rankme": f"{rank:.1f}", "of": str(result["width"])})


def _plain(scores: Mapping[str, float]) -> dict[str, str]:
    return {name: f"{value:.4f}" for name, value in scores.items()}
