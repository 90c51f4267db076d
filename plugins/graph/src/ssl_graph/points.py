"""Molecules as points and bonds: read from coordinates, or made up; and an encoder that sees distances only."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Data as Graph
from torch_geometric.utils import scatter

from ssl_core import Data, DataError, Representation
from ssl_core.modules import mlp
from ssl_core.opening import arrays

from .encoders import Readout
from .graphs import owners

#: Elements that are told apart, with their covalent radii in angstrom (Cordero et al., doi:10.1039/b801115j); all others
#: are alike.
RADII = {"H": 0.31, "C": 0.76, "N": 0.71, "O": 0.66, "F": 0.57, "P": 1.07, "S": 1.05, "Cl": 1.02, "Br": 1.20, "I": 1.39,
         "other": 1.20}
ELEMENTS = tuple(RADII)
SLACK = 1.25  # how much longer than the sum of the radii a bond may be


class Molecule(NamedTuple):
    """One item: kinds (N,) as positions in ELEMENTS, coordinates (N, 3) in angstrom, bonds (2, E) or None: told by distance."""

    kinds: Any
    places: Any
    bonds: Any = None


def chains(items: int = 400, atoms: int = 32, radius: float = 4.0, batch_size: int = 64, labelled: float = 0.2,
           seed: int = 0) -> Data:
    """Synthetic chain molecules: random walks in space, straight or coiled, of two compositions: four classes.

    Args:
        items: how many.
        atoms: of the largest; the smallest has three quarters of them.
        radius: distance in angstrom up to which two atoms see each other.
        batch_size: molecules of a batch.
        labelled: share of the training molecules whose class may be used in training, by methods that ask for it.
        seed: of the random 80/10/10 split; the molecules are always the same.
    """
    if items < 20 or atoms < 8:
        raise ValueError(f"there should be 20 items or more, of 8 atoms or more, got {items} and {atoms}")
    draw = np.random.default_rng(0)
    labels = draw.integers(4, size=items)
    made = [chain(draw, int(draw.integers(3 * atoms // 4, atoms + 1)), bool(label % 2), bool(label // 2)) for label in labels]
    return collection(made, labels, "chains", radius=radius, batch_size=batch_size, labelled=labelled, seed=seed)


def chain(draw: np.random.Generator, atoms: int, straight: bool, polar: bool) -> Molecule:
    """A walk of steps of 1.5 angstrom that turns little or much; kinds of atoms come in runs, with more or less N and O."""
    turn = draw.normal(size=(atoms, 3)) * (0.35 if straight else 0.9)
    way, steps = draw.normal(size=3), []
    for bend in turn:  # each direction is the one before, bent
        way = way / np.linalg.norm(way) + bend
        steps.append(1.5 * way / np.linalg.norm(way))
    shares = (0.45, 0.25, 0.25, 0.05) if polar else (0.7, 0.1, 0.1, 0.1)
    new = draw.random(atoms) < 0.6
    drawn = draw.choice([ELEMENTS.index(name) for name in ("C", "N", "O", "S")], size=atoms, p=shares)
    kinds = drawn[np.maximum.accumulate(np.where(new, np.arange(atoms), 0))]
    return Molecule(kinds, np.cumsum(steps, axis=0), np.stack([np.arange(atoms - 1), np.arange(1, atoms)]))


def read(path: Path, radius: float = 4.0, batch_size: int = 64, labelled: float = 1.0, seed: int = 0) -> Data:
    """Molecules from an `.sdf`, an `.xyz` (one or many), or an `.npz` with kinds (T,), places (T, 3), owner (T,) and, if there
    are any, bonds (2, E), y (items,)."""
    if path.suffix == ".npz":
        found, labels = _npz(path)
    else:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        found, labels = [*(_sdf if path.suffix == ".sdf" else _xyz)(path, lines)], None
    if not found:
        raise DataError(f"{path} holds no molecule")
    return collection(found, labels, str(path), radius=radius, batch_size=batch_size, labelled=labelled, seed=seed)


def collection(molecules: Sequence[Molecule], labels: Any, where: str, *, radius: float, batch_size: int, labelled: float,
               seed: int) -> Data:
    """The record of some molecules; `known` of a batch are the labels that training may use, -1 elsewhere."""
    from .data import graph_level
    if radius <= 0 or not 0 <= labelled <= 1:
        raise ValueError(f"radius should be above 0 and labelled in [0, 1], got {radius} and {labelled}")
    graphs = [joined(molecule, radius, f"{where}, molecule {i}") for i, molecule in enumerate(molecules)]
    classes = None if labels is None else torch.as_tensor(labels).long()
    made = graph_level(graphs, classes, batch_size, seed)
    known = torch.full((len(graphs),), -1)
    if classes is not None:
        some = made.folds["train"][: round(labelled * len(made.folds["train"]))]  # in random order
        known[some] = classes[some]
    for graph, label in zip(graphs, known, strict=True):
        graph.known = label[None]
    return replace(made, target=None if classes is None else lambda batch: batch.known)


def joined(molecule: Molecule, radius: float, where: str) -> Graph:
    """A graph whose edges are all pairs within `radius` and all bonds; `edge_type` is 1 for bonds."""
    kinds, places = torch.as_tensor(np.asarray(molecule.kinds)).long(), torch.as_tensor(np.asarray(molecule.places)).float()
    n = len(kinds)
    if not n or places.shape != (n, 3) or not places.isfinite().all():
        raise DataError(f"{where}: expected a kind and three finite coordinates of each atom, got {n} kinds and places "
                        f"{tuple(places.shape)}")
    if int(kinds.min()) < 0 or int(kinds.max()) >= len(ELEMENTS):
        raise DataError(f"{where}: kinds should be 0 to {len(ELEMENTS) - 1} ({', '.join(ELEMENTS)})")
    apart = torch.cdist(places, places)
    bonded = torch.zeros(n, n, dtype=torch.bool)
    if molecule.bonds is None:
        reach = torch.tensor([*RADII.values()])[kinds]
        bonded = apart < SLACK * (reach[:, None] + reach)
    else:
        i, j = torch.as_tensor(np.asarray(molecule.bonds)).long().reshape(2, -1)
        if len(i) and not 0 <= int(torch.minimum(i, j).min()) <= int(torch.maximum(i, j).max()) < n:
            raise DataError(f"{where}: a bond names an atom that is not there; there are {n}, numbered from 0")
        bonded[i, j] = bonded[j, i] = True
    near = ((apart < radius) | bonded).fill_diagonal_(False)
    edges = near.nonzero().T.flip(0)  # sorted by target
    graph = Graph(x=nn.functional.one_hot(kinds, len(ELEMENTS)).float(), pos=places, edge_index=edges,
                  edge_type=bonded[edges[1], edges[0]].long())
    graph.by_target = True
    return graph


def _element(word: str) -> int:
    name = word.strip().capitalize()
    return ELEMENTS.index(name if name in RADII else "other")


def _xyz(path: Path, lines: list[str]) -> Iterator[Molecule]:
    """Frames of: the number of atoms, a line of anything, and one line of element and coordinates per atom."""
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        try:
            count = int(lines[at])
            rows = [line.split() for line in lines[at + 2: at + 2 + count]]
            if len(rows) < count:
                raise ValueError(f"{count} atoms, but {len(rows)} lines follow")
            yield Molecule([_element(row[0]) for row in rows], [[float(word) for word in row[1:4]] for row in rows])
        except (ValueError, IndexError) as error:
            raise DataError(f"{path}, at line {at + 1}: this is no .xyz: {error}") from error
        at += 2 + count


def _sdf(path: Path, lines: list[str]) -> Iterator[Molecule]:
    """Records of the V2000 format, up to `$$$$` each: three lines, counts, atoms, bonds."""
    start = 0
    ends = [i for i, line in enumerate(lines) if line.startswith("$$$$")] or [len(lines)]
    for end in ends:
        record = lines[start:end]
        try:
            atoms, bonds = int(record[3][:3]), int(record[3][3:6])
            if "V3000" in record[3] or len(record) < 4 + atoms + bonds:
                raise ValueError("expected V2000, with as many atoms and bonds as its counts say")
            points = [(float(row[:10]), float(row[10:20]), float(row[20:30])) for row in record[4: 4 + atoms]]
            pairs = [(int(row[:3]) - 1, int(row[3:6]) - 1) for row in record[4 + atoms: 4 + atoms + bonds]]
            yield Molecule([_element(row[31:34]) for row in record[4: 4 + atoms]], points,
                           np.array(pairs, dtype=np.int64).reshape(-1, 2).T)
        except (ValueError, IndexError) as error:
            raise DataError(f"{path}, at line {start + 1}: this is no molecule of an .sdf: {error}") from error
        start = end + 1


def _npz(path: Path) -> tuple[list[Molecule], Any]:
    held = arrays(path)
    missing = [name for name in ("kinds", "places", "owner") if name not in held]
    if missing:
        raise DataError(f"{path} holds {', '.join(held)}, and no {', '.join(missing)}")
    owner = np.asarray(held["owner"])
    if owner.ndim != 1 or not len(owner) == len(held["kinds"]) == len(held["places"]) or (np.diff(owner) < 0).any() or owner[0]:
        raise DataError(f"{path}: owner should say the molecule of each atom, from 0, molecule after molecule")
    count = np.bincount(owner)
    first, bonds = np.cumsum(count) - count, held.get("bonds")
    inside = None if bonds is None else [bonds[:, owner[bonds[0]] == i] - first[i] for i in range(len(count))]
    return [Molecule(held["kinds"][owner == i], held["places"][owner == i], None if inside is None else inside[i])
            for i in range(len(count))], held.get("y")


def molecules(graph: Graph) -> Graph:
    """The same graph, if its nodes are points in space with bonds and pairs that are near.

    Raises:
        DataError: it is one of another kind.
    """
    if graph.get("pos") is None or graph.get("edge_type") is None:
        raise DataError("molecules are needed, and these graphs have no points in space.\n"
                        "  Try: data=chains, or data=FILE of coordinates")
    return graph


class Points(nn.Module):
    """Continuous filters of distances and bonds (SchNet, arXiv:1706.08566): what it says does not turn with a molecule.

    Args:
        in_features: features of a point; from the data.
        width: of the representation.
        depth: rounds of messages.
        radius: distance in angstrom over which the filters are spread.
        basis: Gaussians that a distance is seen through.
        readout: how the points of a molecule become its row.
    """

    def __init__(self, in_features: int, width: int = 64, depth: int = 3, radius: float = 4.0, basis: int = 16,
                 readout: Readout = "mean") -> None:
        super().__init__()
        if radius <= 0 or basis < 2:
            raise ValueError(f"radius should be above 0 and basis 2 or more, got {radius} and {basis}")
        self.width, self.readout = width, readout
        self.enter = nn.Linear(in_features, width)
        self.filters = nn.ModuleList(mlp(basis + 1, width, width, norm="none", activation=nn.SiLU) for _ in range(depth))
        self.given = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(depth))
        self.taken = nn.ModuleList(mlp(width, width, width, norm="none", activation=nn.SiLU) for _ in range(depth))
        self.register_buffer("middles", torch.linspace(0, radius, basis))

    def forward(self, graph: Graph) -> Representation:
        x, (source, target) = self.enter(molecules(graph).x), graph.edge_index
        apart = (graph.pos[source] - graph.pos[target]).square().sum(dim=1, keepdim=True).add(1e-12).sqrt()
        spacing = self.middles[1] - self.middles[0]  # type: ignore[index]
        seen = torch.cat([(-0.5 * ((apart - self.middles) / spacing).square()).exp(), graph.edge_type[:, None]], dim=1)
        for filters, given, taken in zip(self.filters, self.given, self.taken, strict=True):
            message = given(x).index_select(0, source) * filters(seen)
            x = x + taken(torch.zeros_like(x).index_add(0, target, message.to(x.dtype)))
        owner, items = owners(graph)
        return Representation(scatter(x, owner, dim=0, dim_size=items, reduce=self.readout), x)


class Jitter:
    """Two views; each moves all points a little and blanks some of them.

    Args:
        distance: standard deviation of the movement along each axis, in angstrom.
        blank: share of the points whose kind is blanked.
    """

    def __init__(self, distance: float = 0.1, blank: float = 0.1) -> None:
        if distance < 0 or not 0 <= blank < 1:
            raise ValueError(f"distance should be 0 or more and blank in [0, 1), got {distance} and {blank}")
        self.distance, self.blank = distance, blank

    def __call__(self, graph: Graph) -> tuple[Graph, ...]:
        return tuple(self.moved(graph) for _ in range(2))

    def moved(self, graph: Graph) -> Graph:
        made = molecules(graph).clone("pos")
        made.pos = graph.pos + self.distance * torch.randn_like(graph.pos)
        made.x = graph.x * (torch.rand(graph.num_nodes, 1, device=graph.x.device) >= self.blank)
        return made


def part(graph: Graph, nodes: Tensor) -> Graph:
    """A batch of the same items with some of their points only, (N,) bool, and the edges between them."""
    source, target = graph.edge_index
    inside, number = nodes[source] & nodes[target], nodes.cumsum(0) - 1
    made = Graph(x=graph.x[nodes], pos=graph.pos[nodes], edge_index=number[graph.edge_index[:, inside]],
                 edge_type=graph.edge_type[inside])
    owner, items = owners(graph)
    made.by_target, made.batch, made.num_graphs = True, owner[nodes], items
    return made
