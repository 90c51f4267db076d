"""`sslrun`: imports nothing heavier than argparse until there is something to train."""
from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from importlib import import_module

from ..errors import ConfigError, SSLError, nearest

VERBS = {  # word -> function in this package, one line of help
    "list": ("listing:list_", "what is installed: methods, encoders, data sets, ..."),
    "show": ("listing:show", "one method or component: every option with its default"),
    "evaluate": ("evaluate:evaluate", "score the encoder of a run, or of several, on its own or other data"),
    "embed": ("use:embed", "write the features of a data set to a file"),
    "export": ("export:export", "the encoder as safetensors, ONNX or a Hugging Face directory"),
    "race": ("race:race", "which method suits these data? train all a little, the better ones more"),
    "merge": ("merge:merge", "one encoder from several runs: an average, or a learned mixture"),
    "distill": ("distill:distill", "a few synthetic items in place of the data of a run"),
    "report": ("report:report", "one HTML file of a run, or of several side by side"),
    "doctor": ("doctor:doctor", "what is installed, what is broken, and why"),
    "check": ("check:check", "ask a plugin everything that its contracts promise"),
    "new": ("new:new", "write a plugin of your own from a template"),
    "completion": ("completion:completion", "print a script that completes commands in bash or zsh"),
}
USAGE = """sslrun --plugin NAME --method NAME [data=NAME_OR_PATH] [key=value ...]
       sslrun --resume RUN
       sslrun list [PLUGIN]
       sslrun show PLUGIN/NAME
       sslrun evaluate RUN [RUN ...] [data=...] [--probe knn,linear] [--seeds N]
       sslrun embed RUN --data NAME_OR_PATH --out FILE
       sslrun export RUN --to safetensors|onnx|hf --out PATH
       sslrun race --plugin NAME --budget 10m [data=...] [--methods A,B,C]
       sslrun merge RUN RUN [...] --out DIR
       sslrun distill RUN --items N --out FILE.npz
       sslrun report RUN [RUN ...]
       sslrun doctor [PLUGIN] [--data NAME_OR_PATH]
       sslrun check PLUGIN
       sslrun new NAME [--dir DIR] [--like table|sequence|grid|node]"""


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 done, 2 the user's mistake, 1 a failure of ours, 130 interrupted."""
    words = sys.argv[1:] if argv is None else list(argv)
    traceback = "--traceback" in words
    words = [word for word in words if word != "--traceback"]
    try:
        return _command(words)(words)
    except SSLError as error:
        if traceback:
            _print_traceback()
        print(f"sslrun: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("sslrun: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # sslrun list | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if traceback:
            _print_traceback()
        print(f"sslrun: this is a failure of ours: {type(error).__name__}: {error}\n"
              f"  Try: the same command with --traceback, and report what it prints", file=sys.stderr)
        return 1


def _print_traceback() -> None:
    from traceback import print_exc
    print_exc()


def _command(words: list[str]) -> Callable[[list[str]], int]:
    if words and words[0] not in VERBS and not words[0].startswith("-") and "=" not in words[0]:
        raise ConfigError(f"no command named {words[0]!r}{nearest(words[0], VERBS)}\n  Try: sslrun --help")
    place = VERBS[words.pop(0)][0] if words and words[0] in VERBS else "run:run"
    module, _, function = place.partition(":")
    return getattr(import_module(f".{module}", __name__), function)


def parser(verb: str) -> argparse.ArgumentParser:
    """A parser whose mistakes read like all others."""
    return argparse.ArgumentParser(f"sslrun {verb}", description=VERBS[verb][1], allow_abbrev=False)
