"""The hooks that a plugin may implement.

All of them describe and none of them builds: a hook yields records (see `components.py`) and must not import torch,
because it is called for `sslrun list`. The one exception is `ssl_callbacks`, called once per run.
"""
from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pluggy import HookimplMarker, HookspecMarker

from .components import Augmentation, Component, Dataset, Recipe

if TYPE_CHECKING:
    from lightning.pytorch import Callback

PROJECT = "ssl_core"
hookspec = HookspecMarker(PROJECT)
hookimpl = HookimplMarker(PROJECT)


@hookspec
def ssl_encoders() -> Iterable[Component]:  # type: ignore[empty-body]
    """Encoders: modules with `width: int` and `encoder(batch) -> Representation`."""


@hookspec
def ssl_augmentations() -> Iterable[Augmentation]:  # type: ignore[empty-body]
    """Augmentations: `augmentation(batch) -> tuple[batch, ...]`, or `mask(layout) -> (T,) bool`."""


@hookspec
def ssl_objectives() -> Iterable[Component]:  # type: ignore[empty-body]
    """Objectives: `objective(*rows) -> ()` on aligned rows, each (N, D)."""


@hookspec
def ssl_methods() -> Iterable[Recipe]:  # type: ignore[empty-body]
    """Methods: which components, how they are composed, and the options of the paper."""


@hookspec
def ssl_datasets() -> Iterable[Dataset]:  # type: ignore[empty-body]
    """Data sets: `dataset(**options) -> Data`."""


@hookspec
def ssl_probes() -> Iterable[Component]:  # type: ignore[empty-body]
    """Probes: `probe(train, validation, test) -> dict[str, float]` on frozen features."""


@hookspec
def ssl_callbacks(config: Any) -> Iterable[Callback]:  # type: ignore[empty-body]
    """Lightning callbacks to add to every run, whatever its plugin. Called once per run, after torch.

    `config` is the `ssl_core.config.Config` of the run.
    """


#: The hooks that yield records, by the word that the command line uses for them, and the record each must yield.
KINDS: dict[str, type[Component]] = {
    "methods": Recipe, "encoders": Component, "augmentations": Augmentation,
    "objectives": Component, "datasets": Dataset, "probes": Component,
}
