"""`sslrun doctor --plugin X --data PATH`: what is wrong with a data set, before anything is trained on it."""
from __future__ import annotations

import argparse
from typing import Any

from ..config import Config, checked, parse
from ..errors import ConfigError


def examine(args: argparse.Namespace, words: list[str]) -> int:
    """Print what was found; exit code 2 if something is badly wrong.

    Args:
        args: `data`, `plugin` (its positional or `--plugin`) and `json`.
        words: options of the data set: ["data.target=income"].
    """
    plugin = args.use or args.plugin
    if not plugin:
        raise ConfigError("whose data are these?\n  Try: sslrun doctor --plugin NAME --data PATH (see `sslrun list`)")
    options = {key: checked(key, item) for key, item in parse(words).items()}
    other = [key for key in options if not key.startswith("data.")]
    if other:
        raise ConfigError(f"doctor takes options of the data only, not {other[0]!r}.\n  Try: data.OPTION=...")
    from .. import examination
    from ..assembly import load_data
    from ..files import dumps
    data = load_data(Config(plugin=plugin, method="", data=args.data, options=options), {})
    found, cost = examination.examine(data), examination.cost(data)
    bad = [finding for finding in found if finding.bad]
    record = {"plugin": plugin, "data": args.data, "items": len(data.labels) if data.labels is not None else data.size,
              "findings": [finding._asdict() for finding in found], "epoch": cost, "bad": len(bad)}
    print(dumps(record) if args.json else _text(record, found))
    return 2 if bad else 0


def _text(record: dict[str, Any], found: list[Any]) -> str:
    from .table import table
    cost = record["epoch"]
    lines = [f"{record['plugin']}: {record['data']}, {record['items']:,} items, {cost['items']:,} to learn from in "
             f"{cost['batches']:,} batches", ""]
    if found:
        rows = [["x" if finding.bad else "", finding.what, _cell(finding.where), _cell(finding.why)] for finding in found]
        lines += [table(rows, ["", "what", "where", "why"]), ""]
    lines += [f"to read one epoch: about {cost['seconds']:.2f} s (measured on {cost['batches_read']:,} batches); "
              f"the largest batch takes {cost['batch_mb']:.2f} MiB"]
    return "\n".join([*lines, f"badly wrong: {', '.join(dict.fromkeys(f.what for f in found if f.bad))}" if record["bad"]
                      else "nothing is badly wrong"])


def _cell(text: str, most: int = 160) -> str:
    """Names of files and columns as text: no line ends, nothing that a terminal would obey."""
    shown = "".join(c if c.isprintable() else "?" for c in text)
    return shown if len(shown) <= most else shown[: most - 3] + "..."
