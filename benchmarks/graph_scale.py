"""A large random graph through the runner: seconds and memory of one epoch of gCooL.

    python benchmarks/graph_scale.py [--nodes 200000] [--edges 2000000] [--negatives 8192 | --negatives 0]

With `--negatives 0` the node contrast is exact: N^2 similarities, never held.
"""
from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from torch_geometric.data import Data as Graph

from ssl_core import pretrain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=200_000)
    parser.add_argument("--edges", type=int, default=2_000_000, help="directed")
    parser.add_argument("--features", type=int, default=128)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--negatives", type=int, default=8192, help="0: all, exactly")
    parser.add_argument("--epochs", type=int, default=2)
    args = parser.parse_args()
    torch.manual_seed(0)
    graph = Graph(x=torch.randn(args.nodes, args.features), edge_index=torch.randint(args.nodes, (2, args.edges // 2)))
    with tempfile.TemporaryDirectory() as folder:
        run = pretrain("graph", "gcool", graph, out=Path(folder) / "run", epochs=args.epochs, baselines=False, probe="",
                       encoder={"width": args.width}, objective={"negatives": args.negatives}, method={"communities": 10},
                       trainer={"log_every": 1, "tensorboard": False})
        result = run.result
    print(f"N = {args.nodes:,}, E = {args.edges:,}, width {args.width}, "
          f"{f'{args.negatives:,} sampled' if args.negatives else 'all'} negatives, {torch.get_num_threads()} threads: "
          f"{result['seconds'] / args.epochs:.0f} s an epoch, {result['peak_memory_mb'] / 1024:.1f} GiB at most, "
          f"loss {result['loss']:.3f}")


if __name__ == "__main__":
    main()
