"""Steps of GRACE, BGRL and DGI beside the same methods written with PyTorch Geometric's public parts: time and memory, as the
section "graph-steps" of docs/results.md.

    python benchmarks/graph.py [--nodes 4000] [--edges 40000] [--features 512] [--repeat 7]

Same widths, same graph, same optimizer, one process, alternating. The graph is synthetic: random edges and features.
"""
from __future__ import annotations

import argparse
import ctypes
import platform
import statistics
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from graph_gcool import measured
from page import PAGE, write_section
from torch import Tensor, nn
from torch_geometric.data import Data as Graph
from torch_geometric.nn import DeepGraphInfomax, GCNConv
from torch_geometric.utils import dropout_edge

from ssl_core.assembly import assemble
from ssl_core.batches import seed_all
from ssl_core.config import IN_MEMORY, resolve
from ssl_core.optimizers import groups
from ssl_core.plugins import Plugins

HIDDEN, WIDTH, TEMPERATURE = 512, 256, 0.4
SIZES = {"encoder.width": WIDTH, "probe": "", "data": IN_MEMORY}
OURS: dict[str, dict[str, Any]] = {
    "grace": {"encoder.hidden": HIDDEN, "method.projector": (WIDTH, WIDTH), "encoder.activation": "prelu"},
    "bgrl": {"encoder.hidden": HIDDEN, "method.predictor": (HIDDEN,)},
    "dgi": {"encoder.width": HIDDEN, "encoder.depth": 1},
}
SHARES = {"grace": ((0.2, 0.4), (0.3, 0.4)), "bgrl": ((0.2, 0.3), (0.2, 0.1))}  # of edges and of columns, as in our recipes


class Encoder(nn.Module):
    """PyG's layers, activated as ours are."""

    def __init__(self, *widths: int, norm: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(GCNConv(i, o) for i, o in zip(widths, widths[1:]))
        self.norms = nn.ModuleList(nn.BatchNorm1d(o) if norm else nn.Identity() for o in widths[1:])
        self.activation = nn.PReLU()

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for layer, norm in zip(self.layers, self.norms):
            x = self.activation(norm(layer(x, edge_index)))
        return x


def views(graph: Graph, method: str) -> list[tuple[Tensor, Tensor]]:
    """Two views, with edges dropped and columns blanked."""
    return [(graph.x * (torch.rand(graph.x.shape[1]) >= columns), dropout_edge(graph.edge_index, edges)[0])
            for edges, columns in zip(*SHARES[method])]


class Grace(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.encoder = Encoder(features, HIDDEN, WIDTH)
        self.projector = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))

    def step(self, graph: Graph) -> Tensor:
        a, b = (F.normalize(self.projector(self.encoder(*view))) for view in views(graph, "grace"))
        return (self.contrast(a, b) + self.contrast(b, a)) / 2

    @staticmethod
    def contrast(a: Tensor, b: Tensor) -> Tensor:
        """As the paper writes it: whole matrices of similarities."""
        within, between = (a @ a.T / TEMPERATURE).exp(), (a @ b.T / TEMPERATURE).exp()
        return -(between.diag() / (within.sum(dim=1) + between.sum(dim=1) - within.diag())).log().mean()


class Bgrl(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.encoder = Encoder(features, HIDDEN, WIDTH, norm=True)
        self.predictor = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH))
        self.slow = deepcopy(self.encoder).requires_grad_(False)

    def step(self, graph: Graph) -> Tensor:
        both = views(graph, "bgrl")
        guesses = [self.predictor(self.encoder(*view)) for view in both]
        with torch.no_grad():
            targets = [self.slow(*view) for view in both]
        return sum(2 - 2 * F.cosine_similarity(guesses[i], targets[1 - i]).mean() for i in (0, 1)) / 2

    @torch.no_grad()
    def after(self) -> None:
        for mine, theirs in zip(self.slow.parameters(), self.encoder.parameters()):
            mine.mul_(0.99).add_(theirs, alpha=0.01)


class Dgi(nn.Module):
    """PyG's own DeepGraphInfomax."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.whole = DeepGraphInfomax(
            hidden_channels=HIDDEN, encoder=Encoder(features, HIDDEN), summary=lambda z, *_: z.mean(dim=0).sigmoid(),
            corruption=lambda x, edges: (x[torch.randperm(len(x))], edges))

    def step(self, graph: Graph) -> Tensor:
        return self.whole.loss(*self.whole(graph.x, graph.edge_index))


THEIRS: dict[str, type[nn.Module]] = {"grace": Grace, "bgrl": Bgrl, "dgi": Dgi}


def steps(method: str, graph: Graph) -> tuple[Callable[[], None], Callable[[], None]]:
    """One step of ours, and one of theirs, on the graph; both with Adam."""
    run = assemble(resolve(Plugins(), "graph", method, SIZES | OURS[method]), held=graph)
    learner, other, (batch,) = run.method.train(), THEIRS[method](graph.x.shape[1]), run.data.train
    ours, theirs = (torch.optim.Adam(parameters, lr=1e-3, fused=True) for parameters in (groups(learner), other.parameters()))

    def step_ours() -> None:
        ours.zero_grad()
        learner.step(batch)["loss"].backward()
        ours.step()
        learner.after_step()

    def step_theirs() -> None:
        theirs.zero_grad()
        other.step(batch).backward()
        theirs.step()
        if isinstance(other, Bgrl):
            other.after()
    return step_ours, step_theirs


def fresh(step: Callable[[], None]) -> tuple[float, float]:
    """Seconds of a step, and what the process grew by: memory that malloc keeps for later is given back first (glibc)."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return measured(step)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--nodes", type=int, default=4000)
    ask.add_argument("--edges", type=int, default=40_000, help="directed")
    ask.add_argument("--features", type=int, default=512)
    ask.add_argument("--repeat", type=int, default=7)
    ask.add_argument("--methods", default=",".join(OURS))
    ask.add_argument("--out", type=Path, default=PAGE, help="the page whose section is replaced")
    given = ask.parse_args()
    seed_all(0)
    graph = Graph(x=torch.randn(given.nodes, given.features), edge_index=torch.randint(given.nodes, (2, given.edges // 2)))
    lines = ["| method | ours, ms a step | PyG, ms a step | times as fast | ours, extra MiB | PyG, extra MiB |",
             "|---|" + "--:|" * 5]
    for method in given.methods.split(","):
        pair = steps(method, graph)
        for step in pair:
            step()  # warm-up
        found = [[fresh(step) for step in pair] for _ in range(given.repeat)]  # alternating: (seconds, MiB) of both
        (ms, mib), (their_ms, their_mib) = ([statistics.median(turn[side][i] for turn in found) for i in (0, 1)]
                                            for side in (0, 1))
        ratio = statistics.median(theirs[0] / ours[0] for ours, theirs in found)
        lines.append(f"| {method} | {1000 * ms:.0f} | {1000 * their_ms:.0f} | {ratio:.2f} | {mib:.0f} | {their_mib:.0f} |")
        print(lines[-1], file=sys.stderr, flush=True)
    about = (f"Made by `{' '.join(['python benchmarks/graph.py', *sys.argv[1:]])}`: a synthetic graph of {given.nodes:,} "
             f"nodes, {given.edges:,} directed edges drawn at random and {given.features} features; GCN {HIDDEN} to {WIDTH} "
             f"(DGI: one layer of {HIDDEN}), Adam, views drawn in the step; median of {given.repeat} turns, "
             f"{torch.get_num_threads()} threads, {platform.machine()}. PyG: GCNConv, dropout_edge and "
             "DeepGraphInfomax as published; GRACE's and BGRL's losses written plainly, since PyG has none. Times are "
             "of the wall, in one process, each turn a step of ours and one of theirs; memory is what the "
             "process grew by during a step, after all that was free was given back.")
    write_section("graph-steps", "\n".join(["## Steps of graph methods beside PyTorch Geometric", "", about, "", *lines]),
                  given.out)


if __name__ == "__main__":
    main()
