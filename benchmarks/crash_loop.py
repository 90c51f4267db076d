"""Kill trainings at random moments, resume them, and compare what comes out with a run that was let be, bit for bit.

Most kills are made inside the process, at a random step and moment of it (see `ssl_core.testing.MOMENTS`); some are real
SIGKILLs of a process of its own, after a random time. The counts are those in docs/reliability.md.

    python benchmarks/crash_loop.py [--kills 46] [--sigkills 4] [--only graph/gcool,vision/mae] [--seed 0]
"""
from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ssl_core import pretrain, resume
from ssl_core.testing import MOMENTS, crash_loop, rows, same

METHODS = {  # one for each composer, each plugin and each kind of memory, made small
    "graph/gcool": {"epochs": 12, "encoder.width": 16},
    "graph/grace": {"epochs": 12, "encoder.width": 16, "encoder.hidden": 32, "method.projector": "[16,16]"},
    "graph/graphmae": {"epochs": 12, "encoder.width": 16},
    "vision/simclr": {"epochs": 4, "data.batch_size": 256, "encoder.width": 16},
    "vision/mae": {"epochs": 4, "data.batch_size": 256, "encoder.width": 16, "encoder.depth": 1},
    "vision/moco-v2": {"epochs": 4, "data.batch_size": 256, "encoder.width": 16, "objective.queue": 512},
    "vision/swav": {"epochs": 4, "data.batch_size": 256, "encoder.width": 16, "objective.prototypes": 16},
    "vision/dino": {"epochs": 4, "data.batch_size": 256, "encoder.width": 16, "objective.prototypes": 64},
    "speech/tera": {"epochs": 2, "data.items": 60},
    "speech/wav2vec2": {"epochs": 2, "data.items": 60},
    "speech/hubert": {"epochs": 2, "data.items": 60},
    "tabular/scarf": {"epochs": 8, "encoder.width": 16},
    "tabular/tjepa": {"epochs": 8, "encoder.width": 16},
    "tabular/vime": {"epochs": 8, "encoder.width": 16},
}
QUICK = {"baselines": False, "probe": "", "trainer.checkpoint_steps": 1, "trainer.log_every": 1, "trainer.tensorboard": False,
         "trainer.monitor_every": 0, "trainer.accelerator": "cpu"}


def real_kills(plugin: str, method: str, options: dict[str, object], folder: Path, kills: int, draw: random.Random) -> int:
    """SIGKILL the process of one run so many times, resume it, and compare."""
    if not kills:
        return 0
    whole, path, made = folder / "whole", folder / "real-0", 0
    words = ["--plugin", plugin, "--method", method, *(f"{key}={item}" for key, item in options.items())]
    for attempt in range(20 * kills):
        begun = path.exists() and (path / "config.yaml").exists()
        command = [sys.executable, "-m", "ssl_core", *(["--resume", path] if begun else [*words, "--out", path])]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = stamp(path)
        while process.poll() is None and stamp(path) == before:
            time.sleep(0.002)
        time.sleep(draw.random() * 0.3)
        process.kill()
        made += process.wait() == -9
        if made == kills:
            break
        if process.returncode == 0:  # it came to its end before; another one
            same(path, whole)
            path = folder / f"real-{attempt + 1}"
    resume(path, quiet=True)
    same(path, whole)
    return made


def stamp(path: Path) -> int:
    """Changes with every row of metrics."""
    return (path / "metrics.csv").stat().st_mtime_ns if (path / "metrics.csv").exists() else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=46)
    parser.add_argument("--sigkills", type=int, default=4)
    parser.add_argument("--only", default=",".join(METHODS))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    totals = dict.fromkeys(MOMENTS, 0)
    for name in args.only.split(","):
        plugin, _, method = name.partition("/")
        options, start = QUICK | METHODS[name], time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            counts = crash_loop(lambda path: pretrain(plugin, method, out=path, quiet=True, **parsed(options)),  # noqa: B023
                                lambda path: resume(path, quiet=True), Path(folder), args.kills, args.seed)
            real = real_kills(plugin, method, options, Path(folder), args.sigkills, random.Random(args.seed))
            steps = int(rows(Path(folder) / "whole")[-1][0])
        totals = {moment: totals[moment] + counts[moment] for moment in MOMENTS}
        print(f"{name:<18} {counts['kills'] + real:4} kills ({real} SIGKILL) of runs of {steps} steps: nothing lost "
              f"({time.monotonic() - start:.0f} s)", flush=True)
    print("moments:", ", ".join(f"{moment} {count}" for moment, count in totals.items()))


def parsed(options: dict[str, object]) -> dict[str, object]:
    """Lists that are written for the command line."""
    from ssl_core.config import value
    return {key: value(item) if isinstance(item, str) and item.startswith("[") else item for key, item in options.items()}


if __name__ == "__main__":
    main()
