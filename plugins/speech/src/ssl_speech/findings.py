"""What is wrong with recordings that can be decoded: silence, clipping, and a mean that is not zero."""
from __future__ import annotations

from collections.abc import Iterator

from ssl_core import Finding

from .batching import Store
from .readers import Bad, decode

QUIET, FULL, CLIPPED, SHIFTED = 1e-3, 0.99, 0.002, 0.05  # peak; full scale; share of samples there; mean by deviation


def findings(store: Store) -> Iterator[Finding]:
    """Every recording is listened to once."""
    found: dict[str, list[str]] = {"silence": [], "clipping": [], "offset": [], "unreadable": []}
    for i, clip in enumerate(store.clips):
        try:
            samples = store.held[i] if i in store.held else decode(clip, store.rate)
        except Bad:
            found["unreadable"].append(clip.name)
            continue
        loud = samples.abs()
        if loud.max() < QUIET:
            found["silence"].append(clip.name)
        elif (loud >= FULL).float().mean() > CLIPPED:
            found["clipping"].append(clip.name)
        if samples.mean().abs() > SHIFTED * samples.std():
            found["offset"].append(clip.name)
    why = {"silence": f"no sample exceeds {QUIET} of full scale",
           "clipping": f"more than {CLIPPED:.1%} of the samples are at full scale",
           "offset": f"the mean of the samples is not zero, by more than {SHIFTED:.0%} of their deviation",
           "unreadable": "they cannot be decoded"}
    for what, names in found.items():
        if names:
            more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
            yield Finding(what, ", ".join(names[:3]) + more, f"{len(names):,} of {len(store.clips):,} recordings: {why[what]}",
                          bad=what != "offset" and len(names) > 0.1 * len(store.clips))
