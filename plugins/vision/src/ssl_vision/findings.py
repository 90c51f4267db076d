"""What is wrong with images that can be decoded: hardly any difference between their pixels."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ssl_core import Finding

from .images import unit

FLAT = 8 / 255  # largest difference between two pixels of a channel


def findings(batches: Iterable[Any], names: Sequence[str] | None) -> Iterator[Finding]:
    """Images of one colour, or nearly so."""
    flat, count = list[int](), 0
    for batch in batches:
        x = unit(batch.pixels).flatten(2)  # (B, C, H * W)
        spread = (x.amax(dim=2) - x.amin(dim=2)).amax(dim=1)
        flat += (count + (spread <= FLAT).nonzero()[:, 0]).tolist()
        count += len(x)
    if flat:
        first = ", ".join(names[i] if names is not None else str(i) for i in flat[:3])
        yield Finding("empty images", first + (f" and {len(flat) - 3:,} more" if len(flat) > 3 else ""),
                      f"the pixels of {len(flat):,} of {count:,} images hardly differ", bad=len(flat) > 0.1 * count)
