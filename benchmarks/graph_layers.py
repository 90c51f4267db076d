"""One graph convolution, forward and backward: a sparse product in compressed rows against PyTorch Geometric's layer.

Same weights, same graph, one process, alternating.

    python benchmarks/graph_layers.py [--nodes 13752] [--edges 491722] [--width 256] [--repeat 5]
"""
from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch_geometric.nn import GCNConv

from ssl_graph.encoders import GCNLayer
from ssl_graph.graphs import adjacency, checked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=13_752)
    parser.add_argument("--edges", type=int, default=491_722, help="directed")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    torch.manual_seed(0)
    graph = checked(torch.randn(args.nodes, args.width), torch.randint(args.nodes, (2, args.edges // 2)), where="random")
    ours, theirs = GCNLayer(args.width, args.width), GCNConv(args.width, args.width)
    theirs.lin.weight, theirs.bias = ours.linear.weight, ours.bias

    def compressed() -> torch.Tensor:
        neighbours = adjacency(graph)
        return ours(graph.x, neighbours, neighbours.sum(dim=1, keepdim=True).to_dense()[:, 0])

    def gathered() -> torch.Tensor:
        return theirs(graph.x, graph.edge_index)

    graph.x.requires_grad_(True)
    torch.testing.assert_close(compressed(), gathered(), rtol=1e-4, atol=1e-4)
    times: dict[str, list[float]] = {"compressed rows": [], "PyTorch Geometric": []}
    for _ in range(args.repeat):
        for name, layer in zip(times, (compressed, gathered), strict=True):
            start = time.perf_counter()
            layer().square().sum().backward()
            times[name].append(time.perf_counter() - start)
    for name, found in times.items():
        print(f"{name:<18} {1000 * statistics.median(found):8.1f} ms")
    ratio = statistics.median(b / a for a, b in zip(*times.values(), strict=True))
    print(f"compressed rows are {ratio:.1f} times as fast (N = {args.nodes:,}, E = {graph.num_edges:,}, D = {args.width}, "
          f"{torch.get_num_threads()} threads)")


if __name__ == "__main__":
    main()
