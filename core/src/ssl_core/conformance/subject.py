"""The plugin under examination: its runs, built but not trained, and small batches of their data."""
from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any
from unittest import SkipTest

import torch
from torch import Tensor

from ..assembly import Assembly, assemble
from ..batches import cut, seed_all
from ..checks import need
from ..config import resolve
from ..errors import ContractError, DataError, MissingFacts, SSLError
from ..plugins import Plugins

ITEMS = 32  # of a batch, where one can be cut


class Subject:
    """A plugin, and runs of it.

    Args:
        plugin: its name.
        data: the data set to use in place of those that its methods name.
    """

    def __init__(self, plugin: str, data: str = "") -> None:
        self.plugin, self.data, self.plugins = plugin, data, Plugins()
        self.offers = self.plugins[plugin].offers
        self.kept: tuple[str, Any] = ("", None)  # the last run: several cases in a row ask for the same
        self.halves: list[dict[str, Any]] | None = None  # what two processes found, once they were asked

    @property
    def expected_failures(self) -> dict[str, str]:
        """What the plugin itself says of promises that it does not keep, and why: a name of its shop window."""
        return dict(getattr(self.plugins.manager.get_plugin(self.plugin), "expected_failures", {}))

    def run(self, method: str, **options: str) -> Assembly:
        """A run of one method, built; its parts are the caller's to change."""
        chosen = {"probe": ""} | ({"data": self.data} if self.data else {}) | options
        key = f"{method} {sorted(chosen.items())}"
        if self.kept[0] != key:
            config = resolve(self.plugins, self.plugin, method, chosen)
            try:
                self.kept = key, assemble(config)
            except DataError as error:
                raise SkipTest(f"{error}\n  Or: other data, with --data") from error
        found: Assembly = self.kept[1]
        return replace(found, method=deepcopy(found.method))

    def using(self, slot: str, name: str) -> Assembly:
        """A run with this component: of a method that names it, else of the first method and data that it goes with.

        Raises:
            ContractError: it cannot be built.
            SkipTest: no data at hand say what it needs to know.
        """
        refused: list[SSLError] = []
        methods = self.offers["methods"]
        named = [method for method, recipe in methods.items() if getattr(recipe, slot) == name]
        for method in dict.fromkeys([*named, *methods]):
            try:
                run = self.run(method, **{slot: name})
                pooled(run.method.encoder, batch_of(run))
                return run
            except SSLError as error:
                refused.append(error)
        if all(isinstance(error, MissingFacts) for error in refused):
            raise SkipTest(str(refused[-1]) if refused else "the plugin has no method to try it with")
        worst = next(error for error in reversed(refused) if not isinstance(error, MissingFacts))
        raise ContractError(f"{slot} {name}: no method of the plugin can be built with it: {worst}")


def batch_of(run: Assembly) -> Any:
    """The first training batch, cut to a few items where it can be cut."""
    seed_all(0)
    batch = next(iter(run.data.train))
    items = len(pooled(run.method.encoder, batch))
    smaller = cut(batch, items, ITEMS) if items > ITEMS else None
    return batch if smaller is None else smaller


@torch.no_grad()
def pooled(encoder: Any, batch: Any) -> Tensor:
    """What the encoder says of a batch in eval mode, (B, D)."""
    seed_all(1)
    rows: Tensor = encoder.eval()(batch).pooled
    return rows


def close(who: str, what: str, a: Tensor, b: Tensor, tolerance: float = 1e-4) -> None:
    """Two tensors agree, relative to their size."""
    need(a.shape == b.shape, who, f"{what}: {tuple(a.shape)} and {tuple(b.shape)}")
    apart = ((a - b).abs().max() / b.abs().max().clamp(min=1e-6)).item() if a.numel() else 0.0
    need(apart <= tolerance, who, f"{what}: they differ by {apart:.1e} of their size")
