"""`sslrun report RUN [RUN ...]`: one HTML file to look at."""
from __future__ import annotations

import sys
from pathlib import Path

from . import parser
from .device import usable


def report(words: list[str]) -> int:
    """Write the report of one run, or of several side by side."""
    options = parser("report")
    options.add_argument("runs", nargs="+", metavar="RUN", help="run directories")
    options.add_argument("--out", metavar="FILE", help="default: report.html in the first run's directory")
    options.add_argument("--device", default="cpu", help="cpu or cuda")
    options.add_argument("--json", action="store_true", help="print what was written as the last line, as JSON")
    args = options.parse_args(words)
    from ..files import dumps
    from ..report import write
    from ..run import Run
    runs = [Run.load(path) for path in args.runs]
    out = write(runs, args.out, usable(args.device))
    print(f"{len(runs)} run{'s' * (len(runs) > 1)} in {out}", file=sys.stderr if args.json else sys.stdout)
    if args.json:
        print(dumps({"out": str(Path(out)), "runs": args.runs}))
    return 0
