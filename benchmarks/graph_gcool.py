"""gCooL's losses, blockwise and along edges, against a dense textbook version: time, extra memory, gradients.

Both run in this process on the same tensors, alternating, forward and backward.

    python benchmarks/graph_gcool.py [--nodes 13752] [--edges 491722] [--width 128] [--repeat 5]
"""
from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_core.objectives.infonce import InfoNCE
from ssl_graph.communities import communal_contrast, deca, prototypes

TEMPERATURE, COMMUNITIES, WEIGHT, EARLY = 0.2, 10, 0.5, 0.8


def ours(a: Tensor, b: Tensor, centres: Tensor, edges: Tensor) -> Tensor:
    """The losses of `ssl_graph.gcool` for two views."""
    h1, h2 = F.normalize(a), F.normalize(b)
    shares = [(h.detach() @ F.normalize(centres).T / TEMPERATURE).softmax(dim=1) for h in (h1, h2)]
    dense = sum(deca(r, edges) for r in shares) / 2
    communal = a.new_zeros(())
    for anchors, others, share in ((h1, h2, shares[1]), (h2, h1, shares[0])):
        member = share.argmax(dim=1)
        means, alive = prototypes(others.detach(), member, COMMUNITIES)
        communal = communal + communal_contrast(anchors, means, alive, member, TEMPERATURE, None) / 2
    return InfoNCE(TEMPERATURE)(h1, h2) + WEIGHT * (EARLY * dense + (1 - EARLY) * communal)


def textbook(a: Tensor, b: Tensor, centres: Tensor, edges: Tensor) -> Tensor:
    """The same formulas, written as in the paper: N x N similarities, a dense adjacency, R^T A R."""
    n, h1, h2 = len(a), F.normalize(a), F.normalize(b)
    similar = (h1 @ h2.T / TEMPERATURE).exp()
    node = (-(similar.diag() / similar.sum(dim=1)).log() - (similar.diag() / similar.sum(dim=0)).log()).mean() / 2
    adjacency = a.new_zeros(n, n).index_put_((edges[1], edges[0]), a.new_ones(edges.shape[1]))
    shares = [(h.detach() @ F.normalize(centres).T / TEMPERATURE).softmax(dim=1) for h in (h1, h2)]
    dense = a.new_zeros(())
    for r in shares:
        flow = r.T @ adjacency @ r  # (K, K)
        dense = dense + ((flow.sum() - flow.trace()) / (n * (n - 1)) - flow.trace() / n + (r.T @ r).trace() / (2 * n)) / 2
    communal = a.new_zeros(())
    for anchors, others, share in ((h1, h2, shares[1]), (h2, h1, shares[0])):
        member = F.one_hot(share.argmax(dim=1), COMMUNITIES).to(a.dtype)  # (N, K)
        alive = member.sum(dim=0) > 0
        means = F.normalize(member.T @ others.detach() / member.sum(dim=0).clamp(min=1)[:, None])
        towards = (anchors @ means.T / TEMPERATURE).exp() * alive
        communal = communal - (towards * member).sum(dim=1).div(towards.sum(dim=1)).log().mean() / 2
    return node + WEIGHT * (EARLY * dense + (1 - EARLY) * communal)


def gradients(loss: Callable[..., Tensor], leaves: list[Tensor], edges: Tensor) -> list[Tensor]:
    """The loss and its gradient with respect to every leaf."""
    for leaf in leaves:
        leaf.grad = None
    value = loss(*leaves, edges)
    value.backward()
    return [value.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


def resident() -> float:
    """Memory of this process now, MiB (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def measured(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and the most memory that was added while it ran, MiB, sampled every millisecond."""
    before, most, done = resident(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.001):
            most[0] = max(most[0], resident() - before)
    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    call()
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    return seconds, most[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=13_752, help="Amazon-Computers has 13,752")
    parser.add_argument("--edges", type=int, default=491_722, help="directed")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    torch.manual_seed(0)
    edges = torch.randint(args.nodes, (2, args.edges))
    edges = torch.unique(edges, dim=1)
    a, b = torch.randn(2, args.nodes, args.width).unbind()
    centres = torch.randn(COMMUNITIES, args.width)
    leaves = [t.clone().requires_grad_(True) for t in (a, b, centres)]

    def step(loss: Callable[..., Tensor]) -> list[Tensor]:
        return gradients(loss, leaves, edges)

    versions = {"blockwise": ours, "textbook": textbook}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in versions}
    for loss in versions.values():
        step(loss)  # warm-up
    for _ in range(args.repeat):
        for name, loss in versions.items():
            found[name].append(measured(lambda loss=loss: step(loss)))
    print(f"N = {args.nodes:,}, E = {edges.shape[1]:,}, d = {args.width}, {torch.get_num_threads()} threads, "
          f"median of {args.repeat}")
    for name in versions:
        seconds, memory = (statistics.median(column) for column in zip(*found[name], strict=True))
        print(f"{name:<10} {seconds:7.3f} s  {memory:8.0f} MiB extra")
    pairs = list(zip(*found.values(), strict=True))
    time_ratio, memory_ratio = (statistics.median(theirs[i] / max(mine[i], 1e-9) for mine, theirs in pairs) for i in (0, 1))
    print(f"blockwise is {time_ratio:.2f} times as fast, with 1/{memory_ratio:.1f} of the memory")
    few = min(args.nodes, 4000)
    double = [leaf.detach()[:few].double().requires_grad_(True) for leaf in leaves]
    results = [gradients(loss, double, edges[:, (edges < few).all(dim=0)]) for loss in versions.values()]
    worst = max(float((x - y).norm() / y.norm()) for x, y in zip(*results, strict=True))
    print(f"largest relative difference of loss and gradients in float64 on {few:,} nodes: {worst:.1e}")
    return 0 if worst < 1e-6 else 1


if __name__ == "__main__":
    sys.exit(main())
