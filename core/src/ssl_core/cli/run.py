"""`sslrun --plugin graph --method gcool`: train, score, and say what came out."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..config import parse, read, resolve
from ..errors import ConfigError
from ..plugins import Plugins
from . import USAGE, VERBS

ABOUT = """Self-supervised learning for any domain. Verbs:
""" + "\n".join(f"  {verb:<10}{about}" for verb, (_, about) in VERBS.items()) + """

Options are key=value: epochs=50 encoder.width=256 objective=barlow-twins trainer.precision=bf16.
`sslrun show PLUGIN/METHOD` lists them all."""


def run(words: list[str]) -> int:
    """Train a method, or go on with a run."""
    parser = argparse.ArgumentParser("sslrun", usage=USAGE, description=ABOUT, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plugin", metavar="NAME", help="the domain: one of `sslrun list`")
    parser.add_argument("--method", metavar="NAME", help="one of `sslrun list PLUGIN`")
    parser.add_argument("--config", metavar="FILE", help="options from a YAML file; those on the command line win")
    parser.add_argument("--out", metavar="DIR", help="the run directory (default: the next free one under runs/)")
    parser.add_argument("--seed", type=int, help="of weights, views, order and splits (default: 0)")
    parser.add_argument("--init", metavar="WEIGHTS",
                        help="start from a run, a Hugging Face directory, a .safetensors file or a state dict of torch")
    parser.add_argument("--resume", metavar="RUN", help="go on where a run stopped")
    parser.add_argument("--dry-run", action="store_true", help="build everything, print the options, train nothing")
    parser.add_argument("--json", action="store_true", help="print the result as the last line, as one JSON object")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    parser.add_argument("options", nargs="*", metavar="key=value", help="options of the run and its parts")
    args = parser.parse_intermixed_args(words)
    if not words:
        parser.print_help()
        return 0
    if args.resume:
        return _resume(args)
    return _start(args)


def _resume(args: argparse.Namespace) -> int:
    """Go on as it was started; or with `epochs=+20`, go on from a run that has ended, on `data=` and into `--out`."""
    given = parse(args.options)
    if "epochs" in given:  # "+20" is a number to `parse`
        given["epochs"] = [word for word in args.options if word.startswith("epochs=")][-1].removeprefix("epochs=")
    fixed = args.plugin, args.method, args.config, args.seed, args.init, args.dry_run or None
    if any(item is not None for item in fixed) or (given or args.out) and "epochs" not in given:
        raise ConfigError("--resume takes no other option: a run goes on as it was started.\n"
                          "  Try: epochs=+20, to go on from a run that has ended, with data=NEW if you like")
    from ..pretraining import proceed, resume
    quiet = args.json and not sys.stderr.isatty()
    run = proceed(args.resume, given, None, args.out, quiet) if given else resume(args.resume, quiet=quiet)
    return report(run, args.json)


def _start(args: argparse.Namespace) -> int:
    plugins = Plugins()
    layers = [read(Path(args.config))] if args.config else []
    layers.append(parse(args.options) | {key: item for key in ("seed", "init") if (item := getattr(args, key)) is not None})
    named = {key: item for layer in layers for key, item in layer.items() if key in ("plugin", "method")}
    plugin, method = args.plugin or named.get("plugin"), args.method or named.get("method")
    if not plugin or not method:
        offered = f"; {plugin} offers {', '.join(plugins[plugin].offers['methods'])}" if plugin else ""
        raise ConfigError(f"--plugin and --method are needed{offered} (see `sslrun list`)")
    config = resolve(plugins, plugin, method, *({k: v for k, v in layer.items() if k not in ("plugin", "method")}
                                                for layer in layers))
    from ..assembly import assemble
    from ..pretraining import start
    if args.dry_run:
        return _dry_run(assemble(config), args.json)
    return report(start(config, out=args.out), args.json)


def _dry_run(assembly: Any, as_json: bool) -> int:
    from ..checks import first_batch
    from ..files import dumps
    first_batch(assembly.method, next(iter(assembly.data.train)))
    if as_json:
        print(dumps(assembly.config.flat()))
    else:
        for key, item in assembly.config.flat().items():
            print(f"{key}={item}")
        print(f"all parts fit together: {assembly.data.size} items, {len(assembly.data.train)} batches an epoch")
    return 0


def report(run: Any, as_json: bool) -> int:
    """The result of a run, as a table or as JSON; the exit code."""
    from ..distributed import first
    from ..files import dumps
    if not first():
        return 0
    result = run.result
    print(summary(result), file=sys.stderr if as_json else sys.stdout)
    if as_json:
        print(dumps(result))
    return 130 if result["verdict"] == "interrupted" else 0


def summary(result: dict[str, Any]) -> str:
    """What a person wants to read when a run has ended."""
    from .table import scores
    title = f"{result['plugin']}/{result['method']} on {result['data']}: {result['epochs']} epochs"
    title += f" in {result['seconds']:.0f} s" if result.get("seconds") else ""
    lines = ["", title, f"{result['verdict']}: {result['reason']}"]
    if result["scores"]:
        rows = {"raw features": result["raw"], "untrained encoder": result["untrained"], result["method"]: result["scores"]}
        lines += ["", scores(rows)]
    if result["skipped"]:
        first = "; ".join(": ".join(item) for item in result["skipped"][:3])
        lines += ["", f"{len(result['skipped'])} items were left out: {first}"]
    return "\n".join([*lines, "", f"run directory: {result['run']}"])
