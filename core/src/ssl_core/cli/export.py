"""`sslrun export RUN --to onnx --out PATH`: the encoder for use elsewhere."""
from __future__ import annotations

import sys

from . import parser

FORMS = ("safetensors", "onnx", "hf")


def export(words: list[str]) -> int:
    """Write the encoder of a run, with a card."""
    options = parser("export")
    options.add_argument("run", help="a run directory")
    options.add_argument("--to", required=True, choices=FORMS, help="hf: a Hugging Face directory")
    options.add_argument("--out", required=True, metavar="PATH", help="a new directory, or FILE.safetensors or FILE.onnx")
    options.add_argument("--data", help="for onnx, where the run's own data are gone: others to take an example from")
    options.add_argument("--json", action="store_true", help="print what was written as the last line, as JSON")
    args = options.parse_args(words)
    from ..files import dumps
    from ..finished.export import export as write
    from ..run import Run
    said = write(Run.load(args.run), args.to, args.out, args.data)
    print(f"wrote {', '.join([*said['files'], said['card']])}", file=sys.stderr if args.json else sys.stdout)
    if args.json:
        print(dumps(said))
    return 0
