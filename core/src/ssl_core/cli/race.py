"""`sslrun race --plugin graph --budget 10m`: which method suits these data?"""
from __future__ import annotations

import sys
from typing import Any

from ..config import parse
from ..errors import ConfigError
from . import parser


def race(words: list[str]) -> int:
    """Race the methods of a plugin by successive halving."""
    options = parser("race")
    options.add_argument("--plugin", required=True, metavar="NAME", help="whose methods")
    options.add_argument("--budget", required=True, metavar="TIME", help="for everything: 90s, 10m, 1h")
    options.add_argument("--methods", metavar="A,B,C", help="default: all that are not experimental and need no labels")
    options.add_argument("--out", metavar="DIR", help="for the runs, one folder each (default: as usual, under runs/)")
    options.add_argument("--seed", type=int, help="of every run (default: 0)")
    options.add_argument("--json", action="store_true", help="print the table as the last line, as JSON")
    options.add_argument("options", nargs="*", metavar="key=value", help="of every run: data=..., epochs=..., ...")
    args = options.parse_intermixed_args(words)
    given = parse(args.options) | ({} if args.seed is None else {"seed": args.seed})
    refused = [key for key in given if key in ("plugin", "method")]
    if refused:
        raise ConfigError(f"{refused[0]} is given as --{refused[0]}{'s' if refused[0] == 'method' else ''} here")
    from ..files import dumps
    from ..race import race as run, seconds
    names = [name.strip() for name in (args.methods or "").split(",") if name.strip()]
    found = [contender.row() for contender in run(args.plugin, names, budget=seconds(args.budget), options=given, out=args.out,
                                                  say=lambda line: print(line, file=sys.stderr))]
    print(summary(found), file=sys.stderr if args.json else sys.stdout)
    if args.json:
        print(dumps({"plugin": args.plugin, "winner": found[0]["method"], "contenders": found}))
    return 0 if not found[0]["why"] else 1


def summary(found: list[dict[str, Any]]) -> str:
    """The final table, and what to do next."""
    from .table import table
    rows = [[row["method"], f"{row['score']:.1f}", str(row["width"] or ""), str(row["rounds"]), str(row["steps"] or 0),
             row["why"] or row["verdict"] or "", row["run"] or ""] for row in found]
    header = ["method", "rank", "width", "rounds", "steps", "", "run"]
    winner = found[0]
    again = f"sslrun --resume {winner['run']}" if winner["verdict"] == "interrupted" else f"sslrun evaluate {winner['run']}"
    return "\n".join([table(rows, header, right=(1, 2, 3, 4)), "",
                      "The score is label-free: it shows what fails on these data, not which of the others is best.",
                      f"Next: {again}"])
