"""`sslrun distill RUN --items 100 --out FILE.npz`: a small synthetic set in place of the data of a run."""
from __future__ import annotations

import sys
from pathlib import Path

from ..errors import ConfigError
from . import parser
from .device import usable


def distill(words: list[str]) -> int:
    """Distil the data of a run into a few synthetic items."""
    options = parser("distill")
    options.add_argument("run", help="a finished run")
    options.add_argument("--items", type=int, required=True, help="how many synthetic items")
    options.add_argument("--out", required=True, metavar="FILE.npz", help="inputs, targets, names")
    options.add_argument("--steps", type=int, default=500, help="of the synthetic set")
    options.add_argument("--device", default="cpu", help="cpu or cuda")
    options.add_argument("--json", action="store_true", help="print what was written as the last line, as JSON")
    args = options.parse_args(words)
    if Path(args.out).suffix != ".npz":
        raise ConfigError(f"--out should end in .npz, got {args.out!r}")
    if args.items < 1 or args.steps < 1:
        raise ConfigError(f"--items and --steps should be 1 or more, got {args.items} and {args.steps}")
    from ..files import dumps
    from ..finished.distillation import distil
    from ..run import Run
    found = distil(Run.load(args.run), args.items, args.out, steps=args.steps, device=usable(args.device),
                   say=lambda line: print(line, file=sys.stderr))
    print(f"{len(found.inputs)} synthetic items in {args.out}; error on held-out items {found.error:.3f} of their variance "
          f"({found.before:.3f} by as many real items)", file=sys.stderr if args.json else sys.stdout)
    if args.json:
        print(dumps({"out": args.out, "items": len(found.inputs), "error": found.error, "error_real": found.before}))
    return 0
