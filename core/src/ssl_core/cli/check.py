"""`sslrun check NAME`: the conformance kit on an installed plugin."""
from __future__ import annotations

import json
import sys
import time
from typing import Any
from unittest import SkipTest

from . import parser

MARKS = {"passed": "ok", "failed": "FAILED", "expected": "x", "skipped": "-"}  # x: fails, as the plugin says it would


def check(words: list[str]) -> int:
    """Ask a plugin everything that can be asked without knowing its domain; exit code 2 if something fails."""
    options = parser("check")
    options.add_argument("plugin", help="the name of an installed plugin")
    options.add_argument("--data", default="", help="a data set or a path, in place of those that the methods name")
    options.add_argument("--only", default="", metavar="TEXT", help="only the cases whose name holds TEXT")
    options.add_argument("--json", action="store_true", help="as one JSON object")
    args = options.parse_args(words)
    from ..checks import cases
    found, started, seen = [], time.monotonic(), None
    for case in cases(args.plugin, data=args.data):
        if args.only not in case.name:
            continue
        outcome = _outcome(case)
        found.append(outcome)
        component, _, question = case.name.partition(": ")
        if not args.json:
            print(("" if component == seen else f"{component}\n") + _line(question, outcome), flush=True)
        elif sys.stderr.isatty():
            print(f"{outcome['outcome']}  {case.name}", file=sys.stderr)
        seen = component
    counts = {word: sum(one["outcome"] == word for one in found) for word in MARKS}
    if args.json:
        print(json.dumps({"plugin": args.plugin, **counts, "seconds": round(time.monotonic() - started, 1), "cases": found}))
    else:
        print(f"\n{args.plugin}: " + ", ".join(f"{count} {word}" for word, count in counts.items()) +
              f" in {time.monotonic() - started:.0f} s")
    return 2 if counts["failed"] or not found else 0


def _outcome(case: Any) -> dict[str, str]:
    try:
        case()
    except SkipTest as why:
        return {"case": case.name, "outcome": "skipped", "why": str(why)}
    except Exception as error:
        return {"case": case.name, "outcome": "failed", "why": str(error)}
    return {"case": case.name, "outcome": "expected" if case.expected else "passed", "why": case.expected}


def _line(question: str, outcome: dict[str, str]) -> str:
    return f"  {MARKS[outcome['outcome']]:<6} {question}" + (f": {outcome['why']}" if outcome["why"] else "")
