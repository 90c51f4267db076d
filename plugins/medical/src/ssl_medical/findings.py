"""What is wrong with volumes that can be read: slices without content."""
from __future__ import annotations

from collections.abc import Iterator, Sequence

from ssl_core import Finding

from .volumes import Prepared

EMPTY = 0.5  # share of empty slices along an axis from which on a volume is worth a word


def findings(volumes: Sequence[Prepared], names: Sequence[str] | None) -> Iterator[Finding]:
    """Volumes that are empty in many slices, and by how much the worst one is."""
    found: dict[int, float] = {}
    for i, volume in enumerate(volumes):
        voxels = volume.voxels  # (C, X, Y, Z)
        for axis in (1, 2, 3):
            slices = voxels.movedim(axis, 0).flatten(1)
            share = float((slices.amax(dim=1) == slices.amin(dim=1)).double().mean())
            if share >= EMPTY:
                found[i] = max(share, found.get(i, 0.0))
    if found:
        first = ", ".join(names[i] if names is not None else str(i) for i in list(found)[:3])
        yield Finding("empty slices", first + (f" and {len(found) - 3:,} more" if len(found) > 3 else ""),
                      f"{len(found):,} of {len(volumes):,} volumes hold one value only in half of their slices or more, at "
                      f"worst in {max(found.values()):.0%}", bad=len(found) > 0.1 * len(volumes))
