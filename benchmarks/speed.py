"""Every speed measurement, one after the other: the section "speed" of docs/results.md.

    python benchmarks/speed.py [--only overhead,graph_gcool]

Run it on a machine that does nothing else.
"""
from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import torch
from page import write_section

MEASURED = {  # script: what it compares
    "overhead": "The runner's step against a hand-written loop of the same method.",
    "monitors": "The monitors' share of the time of a step, at default settings.",
    "graph_gcool": "gCooL's losses, forward and backward, against a dense textbook version.",
    "graph_layers": "A graph convolution against PyTorch Geometric's.",
    "tabular": "A T-JEPA step against a plain version of the published algorithm.",
}


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--only", default="", help="some of the scripts")
    only = ask.parse_args().only.split(",")
    here = Path(__file__).resolve().parent
    lines = ["## Speed", "", f"Made by `python benchmarks/speed.py`; torch {torch.__version__}, "
             f"{torch.get_num_threads()} CPU threads. Ratios are of runs side by side in one process."]
    for command, about in MEASURED.items():
        script, *words = command.split()
        if only == [""] or script in only:
            print(command, file=sys.stderr)
            done = subprocess.run([sys.executable, str(here / f"{script}.py"), *words], stdout=subprocess.PIPE, text=True)
            said = done.stdout.strip() or f"failed with exit code {done.returncode}"
            lines += ["", f"{about} `python benchmarks/{script}.py{''.join(f' {w}' for w in words)}`", "", "```", said, "```"]
    write_section("speed", "\n".join(lines))


if __name__ == "__main__":
    main()
