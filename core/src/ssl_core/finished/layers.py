"""What the layers of an encoder have in common: linear CKA between each two of them (arXiv:1905.00414)."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..batches import move
from ..metrics import linear_cka

LAYERS = 256  # items whose layers are compared


@torch.no_grad()
def layers(encoder: Any, batches: Any, device: str = "cpu") -> dict[str, Tensor]:
    """What each block of an encoder makes of the first items, flattened, (n, F): of its longest list of modules.

    {} for an encoder without such a list, or whose blocks give no tensor with a row for each item (packed tokens).
    """
    lists = [(name, part) for name, part in encoder.named_modules() if isinstance(part, (nn.ModuleList, nn.Sequential))]
    name, blocks = max(lists, key=lambda item: len(item[1]), default=("", nn.ModuleList()))
    seen: dict[str, list[Tensor]] = {}

    def keep(at: str) -> Callable[..., None]:
        def hook(module: nn.Module, given: Any, out: Any) -> None:
            if isinstance(out, Tensor):
                seen.setdefault(at, []).append(out.clone())  # later layers may work in place
        return hook
    hooks = [block.register_forward_hook(keep(f"{name}.{i}".lstrip("."))) for i, block in enumerate(blocks)]
    kept: dict[str, list[Tensor]] = {}
    items = 0
    try:
        for batch in batches:
            seen.clear()
            count = len(encoder(move(batch, device)).pooled)
            for at, found in seen.items():
                if len(found) == 1 and len(found[0]) == count:
                    kept.setdefault(at, []).append(found[0].flatten(1)[: LAYERS - items].float())
            items += count
            if items >= LAYERS:
                break
    finally:
        for hook in hooks:
            hook.remove()
    total = min(items, LAYERS)
    joined = {at: torch.cat(parts) for at, parts in kept.items() if len({part.shape[1] for part in parts}) == 1}
    return {at: rows for at, rows in joined.items() if len(rows) == total and rows.isfinite().all()}


def alike(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> list[list[float]]:
    """Linear CKA of every layer of one encoder with every layer of another, for the same items."""
    return [[linear_cka(x, y) for y in b.values()] for x in a.values()]
