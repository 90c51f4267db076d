"""Data sets of volumes. Each is a function whose parameters are its options: `data=FOLDER data.size=64`."""
from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_core import Data, DataError

from . import bags, decoding, kept, readers
from .decoding import Modality, Wish
from .findings import findings
from .readers import Case, Known
from .reduction import By, near_copies, redundant
from .volumes import Crops, Prepared, Size, Volumes, prepared, unit

Schema = Mapping[str, Any] | None
CACHE = Path(os.environ.get("SSL_DATA", "~/.cache/ssl-core")).expanduser() / "medical"


@dataclass(frozen=True)
class Wanted:
    """How volumes should be given out, whatever they are read from.

    Args:
        batch_size: cubes per step.
        size: side of a cube in voxels; 0: that of the volumes where all are alike, else 32.
        foreground: share of training cubes that are centred on a voxel brighter than the mean of its volume.
        repeats: training cubes from each volume per epoch.
        paired: cubes 2k and 2k + 1 of a batch are cut at the same place of two bodies.
        distinct: bits of 192 in which training volumes differ at least; of those that are nearer to each other the first one
            is trained on. 0 takes all. See `reduction`.
        reduce: share of the training volumes that is left out because others stand for them, or because they show little.
        reduce_by: `embedding` or `entropy`.
        reduce_with: run directory whose encoder embeds; none: the voxels themselves, coarsely.
        seed: of the split.
        schema: what an encoder was trained on: its cubes' channels, size, mean and deviation.
    """

    batch_size: int = 16
    size: int = 0
    foreground: float = 0.5
    repeats: int = 1
    paired: bool = False
    seed: int = 0
    schema: Schema = None
    distinct: int = 0
    reduce: float = 0.0
    reduce_by: By = "embedding"
    reduce_with: Path | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 2:
            raise ValueError(f"batch_size should be 2 or more, got {self.batch_size}: contrasts need company")
        if self.size < 0 or self.repeats < 1 or not 0 <= self.foreground <= 1:
            raise ValueError(f"size should be 0 or more, repeats 1 or more and foreground a share, got size={self.size}, "
                             f"repeats={self.repeats}, foreground={self.foreground}")

    def cube(self, volumes: Sequence[Prepared]) -> Size:
        """The size of a cube."""
        if self.size:
            return (self.size,) * 3
        if self.schema:
            return tuple(self.schema["image_size"])  # type: ignore[return-value]
        shapes = {tuple(volume.voxels.shape[1:]) for volume in volumes}
        return shapes.pop() if len(shapes) == 1 and max(next(iter(shapes))) <= 64 else (32, 32, 32)  # type: ignore[return-value]


def assembled(volumes: Sequence[Prepared], known: Known, where: str, wanted: Wanted, names: Sequence[str] | None = None,
              skipped: Sequence[tuple[str, str]] = (), subjects: Sequence[str] | None = None, fingerprint: str = "") -> Data:
    """The record of a set of volumes: loaders, folds, facts.

    Official folds are kept; otherwise 60 % of the subjects are for training, 20 % for validation and 20 % for the test.
    Volumes of an official validation or test fold are never trained on, whether or not there are labels.

    Raises:
        DataError: fewer than two volumes to learn from.
    """
    train, folds = split(known, subjects or [str(i) for i in range(len(volumes))], wanted.seed)
    if len(train) < 2 and wanted.repeats < 2 and not wanted.schema:
        raise DataError(f"{where} holds {len(train)} volume{'s' * (len(train) != 1)} to learn from; two or more are needed.\n"
                        f"  Try: data.repeats=100, to cut many cubes from each")
    copies = near_copies(volumes, train, wanted.distinct)
    train = train[~torch.isin(train, torch.tensor(list(copies), dtype=torch.long))]
    skipped = [*skipped, *((names[i] if names else str(i), f"not trained on: nearly the same as {names[j] if names else j}")
                           for i, j in copies.items())]
    left = redundant(volumes, train, names, wanted.reduce, wanted.reduce_by, wanted.reduce_with)
    train = train[~torch.isin(train, torch.tensor(list(left), dtype=torch.long))]
    skipped += [(names[i] if names else str(i), why) for i, why in left.items()]
    size = wanted.cube(volumes)
    facts = dict(wanted.schema or described(volumes, train, size))
    labels = known.labels
    counted = {} if labels is None or labels.is_floating_point() else {"classes": int(labels.max()) + 1}
    batches = Crops(volumes, labels, train, size, wanted.batch_size, True, wanted.foreground, wanted.repeats, wanted.paired)
    return Data(train=batches, size=len(batches) * batches.batch_size, labels=labels, raw=plain,
                items=Crops(volumes, labels, torch.arange(len(volumes)), size, wanted.batch_size),
                folds={} if labels is None else folds, target=None if labels is None else target, facts=facts | counted,
                schema=facts, names=names, classes=known.classes, skipped=skipped, preview=slices_of,
                findings=lambda: findings(volumes, names),
                fingerprint=fingerprint or digest(volumes, labels))


def slices_of(batch: Volumes, rows: Sequence[int]) -> list[Any]:
    """The middle axial slice of some volumes for reports, front above: uint8 (Y, X), the mean of the channels."""
    voxels = unit(batch.voxels[list(rows)]).float().mean(dim=1)  # (R, X, Y, Z)
    middle = voxels[..., voxels.shape[3] // 2].clamp(0, 1).mul(255).to(torch.uint8)
    return [picture.T.flip(0).numpy() for picture in middle.cpu()]


def split(known: Known, subjects: Sequence[str], seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Positions to learn from, and the three folds; what is not official is drawn by `seed`, whole subjects at a time."""
    folds = dict(known.folds)
    held = torch.cat([torch.tensor([], dtype=torch.long), *(rows for name, rows in folds.items() if name != "train")])
    rest = torch.arange(len(subjects))
    rest = rest[~torch.isin(rest, held)]
    if known.labels is None:
        return rest, {}
    people = sorted({subjects[i] for i in rest.tolist()})
    order = torch.randperm(len(people), generator=torch.Generator().manual_seed(seed)).tolist()
    place = {people[i]: n / len(people) for n, i in enumerate(order)}  # each subject's lot in [0, 1)
    lots = torch.tensor([place[subjects[i]] for i in rest.tolist()])
    if "test" not in folds and "validation" not in folds:
        folds |= {"train": rest[lots < 0.6], "validation": rest[(lots >= 0.6) & (lots < 0.8)], "test": rest[lots >= 0.8]}
    else:  # the missing one is a tenth of the training part
        missing = next((name for name in ("validation", "test") if name not in folds), None)
        folds["train"] = rest[lots >= 0.1] if missing else rest
        if missing:
            folds[missing] = rest[lots < 0.1]
    return folds["train"], folds


def described(volumes: Sequence[Prepared], rows: Tensor, size: Size) -> dict[str, Any]:
    """What encoders ask for: channels, image_size, and mean and deviation of each channel over up to 200 volumes."""
    some = [volumes[i].voxels[:, ::2, ::2, ::2] for i in rows[:: max(1, len(rows) // 200)].tolist()]
    values = [unit(x).flatten(1).double() for x in some]
    mean = torch.stack([x.mean(dim=1) for x in values]).mean(dim=0)
    square = torch.stack([x.square().mean(dim=1) for x in values]).mean(dim=0)
    return {"channels": len(mean), "image_size": list(size), "mean": [round(m, 4) for m in mean.tolist()],
            "std": [round(s, 4) for s in (square - mean**2).clamp(min=1e-4).sqrt().tolist()]}


def plain(batch: Volumes) -> Tensor:
    """The voxels from 0 to 1, (B, F); of cubes larger than 16 x 16 x 16 the means of as many cells."""
    x = unit(batch.voxels)
    return F.adaptive_avg_pool3d(x, [min(16, side) for side in x.shape[2:]]).flatten(1)


def target(batch: Volumes) -> Tensor:
    """The labels of a training batch, (B,)."""
    assert batch.labels is not None
    return batch.labels


def digest(volumes: Sequence[Prepared], labels: Tensor | None) -> str:
    """A short hash of volumes and labels."""
    found = hashlib.sha256()
    for volume in volumes:
        found.update(volume.voxels.contiguous().numpy().tobytes())
    if labels is not None:
        found.update(labels.numpy().tobytes())
    return found.hexdigest()[:16]


def synthetic(volumes: int = 200, side: int = 32, batch_size: int = 16, size: int = 0, foreground: float = 0.5,
              repeats: int = 1, paired: bool = False, seed: int = 0, schema: Schema = None) -> Data:
    """Made-up volumes: MONAI's random spheres in noise, a third of them with a bright and a third with a dark lesion.

    Args:
        volumes: how many.
        side: of a volume in voxels; 24 or more.
        batch_size, size, foreground, repeats, paired, seed, schema: see `Wanted`.
    """
    from .shapes import spheres
    if volumes < 10 or side < 24:
        raise ValueError(f"there should be 10 volumes or more, with sides of 24 or more, got {volumes} of {side}")
    voxels, labels = spheres(volumes, side)
    wanted = Wanted(batch_size, size, foreground, repeats, paired, seed, schema)
    return assembled([prepared(x, i) for i, x in enumerate(voxels)], Known(labels, ["none", "bright", "dark"], {}),
                     "the synthetic set", wanted)


def read(source: Any, batch_size: int = 16, size: int = 0, spacing: float | tuple[float, float, float] = 0.0,
         modality: Modality = "auto", window: tuple[float, float] = (-1000.0, 1000.0),
         percentiles: tuple[float, float] = (0.5, 99.5), orient: bool = True, label: str = "", suffix: str = "",
         foreground: float = 0.5, repeats: int = 1, paired: bool = False, distinct: int = 0, reduce: float = 0.0,
         reduce_by: By = "embedding", reduce_with: Path | None = None, skip: float = 0.1, memory: float = 2.0,
         cache: Path | None = None, seed: int = 0, schema: Schema = None) -> Data:
    """The user's own volumes: NIfTI, NRRD, MetaImage or DICOM in a folder, a BIDS tree or a manifest; `.npz`; or arrays.

    An `.npz` with `features`, `bag` and `labels` is a set of bags, for methods that learn from those; see `bags.from_npz`.

    Args:
        source: the path, a list of paths, an array (N, X, Y, Z) or (N, C, X, Y, Z), or a pair of such an array and labels.
        spacing, modality, window, percentiles, orient: see `decoding.Wish`.
        label, suffix: see `readers.cases`.
        skip: largest share of unreadable volumes that is put up with; they are listed in the result.
        memory: GiB of prepared volumes to hold; more are kept in files and mapped, so that a crop reads its part only.
        cache: folder for those files; given, it is used in any case, and the next run decodes nothing again.
        batch_size, size, foreground, repeats, paired, distinct, reduce, reduce_by, reduce_with, seed, schema: see `Wanted`.
    """
    wanted = Wanted(batch_size, size, foreground, repeats, paired, seed, schema, distinct, reduce, reduce_by, reduce_with)
    edges = (spacing,) * 3 if isinstance(spacing, (int, float)) else tuple(spacing)
    wish = Wish(edges, modality, window, percentiles, orient)  # type: ignore[arg-type]
    if not 0 <= skip <= 1:
        raise ValueError(f"skip should lie between 0 and 1, got {skip}")
    if isinstance(source, (list, tuple)) and source and all(isinstance(item, (str, Path)) for item in source):
        found = [Case(str(item), Path(item), subject=str(item)) for item in source]
        return from_cases(found, "the list given as data", wish, wanted, skip, memory, cache)
    if not isinstance(source, (str, Path)):
        return from_array(readers.array(source), "the array given as data", wanted)
    path = Path(source)
    if path.suffix in (".npz", ".npy"):
        held = readers.loaded(path)
        return bags.from_npz(held, path, batch_size, seed) if "features" in held else \
            from_array(readers.volumes_of(held, path), str(path), wanted)
    return from_cases(readers.cases(path, label, suffix), str(path), wish, wanted, skip, memory, cache)


def from_array(held: readers.Arrays, where: str, wanted: Wanted) -> Data:
    """A record of volumes that were given as an array; their axes are taken as they are."""
    volumes = [prepared(x, i) for i, x in enumerate(held.voxels)]
    classed = held.labels is not None and not held.labels.is_floating_point()
    names = [str(i) for i in range(int(held.labels.max()) + 1)] if classed else None  # type: ignore[union-attr]
    return assembled(volumes, Known(held.labels, names, held.folds), where, wanted)


def from_cases(found: Sequence[Case], where: str, wish: Wish, wanted: Wanted, skip: float, memory: float,
               cache: Path | None) -> Data:
    """A record of volumes that lie in files."""
    good, bad = [], []  # (case, opened, kind, low, high); (name, reason)
    for case in found:
        try:
            volume = decoding.opened(case.image, wish.orient)
            good.append((case, volume, *kept.looked_at(volume, wish, cache)))
        except DataError as error:
            bad.append((case.name, str(error)))
    tolerated(bad, len(found), skip)
    one_kind([(case.name, what) for case, _, what, _, _ in good])
    bytes_needed = sum(2 * int(np.prod(decoding.target(volume, wish.spacing))) for _, volume, *_ in good)
    keep = cache or (CACHE if bytes_needed > memory * 2**30 else None)
    volumes = []
    for i, (_, volume, _, low, high) in enumerate(good):
        volumes.append(prepared(kept.voxels_of(volume, wish, low, high, keep)[None], i))
    cases = [case for case, *_ in good]
    said = "\n".join([repr(wish), *(f"{case.name} {kept.stamp(case.image)} {case.label} {case.fold}" for case in cases)])
    return assembled(volumes, readers.known(cases), where, wanted, [case.name for case in cases], bad,
                     [case.subject for case in cases], hashlib.sha256(said.encode()).hexdigest()[:16])


def tolerated(bad: Sequence[tuple[str, str]], count: int, skip: float) -> None:
    """Raise a DataError that lists the first unreadable volumes if there are more than a share `skip` of them."""
    if bad and (len(bad) > skip * count or len(bad) == count):
        listed = "".join(f"\n  {why}" for _, why in bad[:5])
        more = "" if len(bad) == count else f", or data.skip={len(bad) / count + 0.01:.2f}"
        raise DataError(f"{len(bad)} of {count} volumes cannot be used (data.skip={skip:g} of them may be):{listed}\n"
                        f"  Try: removing them{more}")


def one_kind(kinds: Sequence[tuple[str, str]]) -> None:
    """Raise a DataError if some volumes look like CT and some do not."""
    first: dict[str, str] = {}
    for name, what in kinds:
        first.setdefault(what, name)
    if len(first) > 1:
        shown = " and ".join(f"{name} looks like {what.upper()}" for what, name in first.items())
        raise DataError(f"these volumes are of mixed modalities: {shown}.\n"
                        f"  Try: one modality per data set, or data.modality=mr to scale each by its own percentiles")
