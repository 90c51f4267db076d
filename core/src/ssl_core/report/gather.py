"""What a report shows of a run: its files, and the embedding of its data with pictures of some items."""
from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..assembly import Assembly, assemble
from ..batches import move, seed_all, unnoticed
from ..contracts import Data
from ..errors import RunError, SSLError
from ..evaluation import embed
from ..run import Run
from . import maps
from .looks import Hidden

KEPT = 800  # items on a map
QUERIES, NEIGHBOURS, SHOWN = 6, 5, 4  # items whose neighbours are shown, how many of them; items whose views are shown


@dataclass
class Neighbour:
    """An item beside another one, and how near it is (cosine)."""

    item: int
    similarity: float


@dataclass
class Embedded:
    """The items of a run as its encoder sees them; some of them, evenly spaced. Items are numbered among these.

    Args:
        names, labels: of these items; the labels (n,) or None.
        classes: names of the classes, or None.
        maps: name of a map -> (n, 2).
        remarks: what was left out of the maps and why.
        spectrum: variance along the principal axes of all items, falling.
        neighbours: item -> its nearest.
        looks: item -> what `Data.preview` gave.
        thumbnails: what it gave for every item, where that is a picture.
    """

    names: list[str]
    labels: Tensor | None
    classes: Sequence[str] | None
    maps: dict[str, Any]
    remarks: list[str]
    spectrum: list[float]
    neighbours: dict[int, list[Neighbour]]
    looks: dict[int, Any] = field(default_factory=dict)
    thumbnails: list[Any] = field(default_factory=list)


@dataclass
class Views:
    """Some training items, and what the augmentation made of each: views, or what a mask hides."""

    items: list[Any]
    views: list[list[Any]]
    hidden: list[Hidden]


@dataclass
class Findings:
    """All that there is to say of one run. What could not be found out stands in `missing`, as a sentence."""

    run: Run
    config: Mapping[str, Any]
    result: Mapping[str, Any]
    environment: Mapping[str, Any]
    metrics: dict[str, tuple[list[float], list[float]]]  # name -> steps, values
    embedded: Embedded | None = None
    views: Views | None = None
    synthetic: bool = False
    missing: list[str] = field(default_factory=list)


def gather(run: Run, assembly: Assembly | None = None, *, device: torch.device | str = "cpu", full: bool = True) -> Findings:
    """Everything a report shows of a run; an unfinished one, or one whose data are gone, gives what there is.

    Args:
        assembly: of the run, trained, where it is at hand; else it is built again from the configuration.
        device: where to embed.
        full: with t-SNE, UMAP and small pictures on the map, which take seconds.
    """
    config = run.config
    found = Findings(run, config.flat(), run.result, run.read_json("environment.json"), metrics(run.path / "metrics.csv"))
    with unnoticed():
        try:
            encoder = run.encoder if assembly is None else assembly.method.kept
            built = assemble(config, fresh=False) if assembly is None else assembly
            found.synthetic = synthetic(config)
            seed_all(config.seed)
            found.embedded = look_at(encoder.to(device), built.data, device, full)
            found.views = made(built, device) if built.data.preview is not None else None
        except SSLError as error:
            found.missing.append(str(error))
    return found


def synthetic(config: Any) -> bool:
    """Whether the data of a run are made up."""
    from ..config import dataset
    from ..plugins import Plugins
    return dataset(Plugins(), config.plugin, config.data).synthetic


def metrics(path: Path) -> dict[str, tuple[list[float], list[float]]]:
    """The columns of metrics.csv over `step`, without blanks and what is no number."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(f"cannot read {path}: {error}") from error
    found: dict[str, tuple[list[float], list[float]]] = {}
    for row in rows:
        step = _number(row.get("step"))
        for name, text in row.items():
            value = _number(text)
            if step is not None and value is not None and name != "step":
                steps, values = found.setdefault(str(name), ([], []))
                steps.append(step)
                values.append(value)
    return found


def _number(text: Any) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if isfinite(value) else None


def look_at(encoder: Any, data: Data, device: torch.device | str, full: bool) -> Embedded:
    """Embed every item; take `KEPT` evenly spaced ones for maps, neighbours and pictures.

    Raises:
        RunError: the embedding holds NaN.
    """
    items = data.train if data.items is None else data.items
    parts = [embed(encoder, [batch], device).cpu() for batch in items]
    features = torch.cat(parts)
    if not features.isfinite().all():
        raise RunError("the embedding holds NaN or infinite numbers, so there is no map of it")
    places = torch.arange(min(KEPT, len(features))) * len(features) // min(KEPT, len(features))
    some = features[places]
    chosen, remarks = maps.maps(some, full)
    aligned = data.labels is not None and len(data.labels) == len(features)
    found = Embedded(
        names=[str(data.names[i]) if data.names is not None else f"item {i}" for i in places.tolist()],
        labels=data.labels[places].cpu() if aligned and data.labels is not None else None, classes=data.classes,
        maps=chosen, remarks=remarks, spectrum=spectrum(features), neighbours=neighbours(some))
    if data.preview is not None:
        wanted = sorted({i for item, near in found.neighbours.items() for i in (item, *(n.item for n in near))})
        sizes = [len(part) for part in parts]
        found.looks = dict(zip(wanted, previews(data, sizes, places[wanted].tolist()), strict=True))
        if full and all(hasattr(thing, "ndim") for thing in found.looks.values()):
            found.thumbnails = previews(data, sizes, places.tolist())
    return found


def previews(data: Data, sizes: Sequence[int], wanted: Sequence[int]) -> list[Any]:
    """What `Data.preview` gives for some items, by their positions, ascending. The batches are read once more: none is kept,
    because a batch of volumes is large."""
    assert data.preview is not None
    found: list[Any] = []
    start = 0
    for batch, size in zip(data.train if data.items is None else data.items, sizes, strict=True):
        rows = [i - start for i in wanted if start <= i < start + size]
        found += data.preview(batch, rows) if rows else []
        start += size
        if len(found) == len(wanted):
            break
    return found


def spectrum(features: Tensor) -> list[float]:
    """Eigenvalues of the covariance of the embedding, falling."""
    centred = (features - features.mean(dim=0)).double()
    values = torch.linalg.eigvalsh(centred.T @ centred / len(features)).flip(0)
    return values.clamp(min=0).tolist()


def neighbours(features: Tensor) -> dict[int, list[Neighbour]]:
    """The nearest by cosine of some evenly spaced items."""
    count = len(features)
    unit = F.normalize(features, dim=1)
    queries = sorted({round((i + 0.5) * count / QUERIES - 0.5) for i in range(min(QUERIES, count))})
    alike = unit[queries] @ unit.T  # (Q, n)
    alike[torch.arange(len(queries)), torch.tensor(queries)] = -2.0
    top = alike.topk(min(NEIGHBOURS, count - 1), dim=1)
    return {query: [Neighbour(i, s) for i, s in zip(near, similar, strict=True)]
            for query, near, similar in zip(queries, top.indices.tolist(), top.values.tolist(), strict=True)}


def made(built: Assembly, device: torch.device | str) -> Views | None:
    """Some items of the first training batch, and what the augmentation makes of them."""
    method, preview = built.method, built.data.preview
    batch = move(next(iter(built.data.train)), device)
    method.to(device).eval()
    assert preview is not None
    with torch.no_grad():
        if method.shown == "mask":
            layout = method.encoder.layout(batch)
            hidden = method.augmentation(layout)
            some = layout.owner.unique()[:SHOWN].tolist()
            found = [Hidden(layout.position[layout.owner == i].cpu().numpy(), hidden[layout.owner == i].cpu().numpy())
                     for i in some]
            return Views(list(preview(batch, some)), [], found)
        count = len(method.encoder(batch).pooled)
        rows = [i * count // min(SHOWN, count) for i in range(min(SHOWN, count))]
        views = [list(preview(view, rows)) for view in method.augmentation(batch)]
        return Views(list(preview(batch, rows)), views, [])
