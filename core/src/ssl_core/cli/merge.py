"""`sslrun merge RUN RUN --out DIR`: one encoder from several."""
from __future__ import annotations

import sys

from ..errors import ConfigError
from . import parser
from .device import usable


def merge(words: list[str]) -> int:
    """Merge the encoders of several runs into a new run directory."""
    options = parser("merge")
    options.add_argument("runs", nargs="+", metavar="RUN", help="two finished runs or more, with the same encoder")
    options.add_argument("--out", required=True, metavar="DIR", help="the new run directory")
    options.add_argument("--how", default="mean", choices=("mean", "self-positioning"),
                         help="self-positioning learns the shares")
    options.add_argument("--weights", metavar="A,B,...", help="shares of the runs in a mean (default: equal)")
    options.add_argument("--steps", type=int, default=50, help="of self-positioning")
    options.add_argument("--device", default="cpu", help="cpu or cuda")
    options.add_argument("--json", action="store_true", help="print the result as the last line, as one JSON object")
    args = options.parse_args(words)
    try:
        shares = [float(word) for word in (args.weights or "").split(",") if word]
    except ValueError as error:
        raise ConfigError(f"--weights should be numbers, such as 0.7,0.3; got {args.weights!r}") from error
    if any(share < 0 for share in shares) or shares and not sum(shares):
        raise ConfigError(f"--weights should be 0 or more, and not all of them 0; got {args.weights!r}")
    from ..files import dumps
    from ..finished.merging import merge as run
    from ..run import Run
    from .table import scores
    opened = [Run.load(path) for path in args.runs]
    merged = run(opened, args.out, args.how, shares, args.steps, usable(args.device))
    rows = {str(one.path): one.result.get("scores") or {} for one in [*opened, merged]}
    shown = scores(rows) if all(rows.values()) else "no scores: no labels or no probes"
    print(f"{shown}\nrun directory: {merged.path}", file=sys.stderr if args.json else sys.stdout)
    if args.json:
        print(dumps(merged.result))
    return 0
