"""The few types that plugins and the core agree on. A batch is opaque to the core: encoder and augmentation agree on it.

Letters in shapes: B items of a batch, T tokens of all its items together, D width, N rows, K axes.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from torch import Tensor


class Representation(NamedTuple):
    """What an encoder makes of a batch.

    Args:
        pooled: (B, D), one row per item, in the order of the batch.
        tokens: (T, D), one row per token, item after item, no padding; None for encoders without tokens.
    """

    pooled: Tensor
    tokens: Tensor | None = None


class Layout(NamedTuple):
    """How a batch falls into tokens: patches, frames, nodes, columns, blocks of voxels.

    Args:
        owner: (T,) long, the item that each token belongs to, ascending.
        position: (T, K) in [0, 1], the centre of each token along K axes; the same K for every batch.
    """

    owner: Tensor
    position: Tensor


class Encoder(Protocol):
    """Any `nn.Module` with a width. Items keep their order; in eval mode a row does not depend on the other items."""

    width: int

    def __call__(self, batch: Any, /) -> Representation: ...


class TokenEncoder(Protocol):
    """An encoder that can be shown some tokens only, for masked methods."""

    width: int
    axes: int  # K of its layout

    def layout(self, batch: Any, /) -> Layout: ...

    def __call__(self, batch: Any, /, keep: Tensor | None = None) -> Representation:
        """`keep`, (T,) bool: the tokens that it may see; `tokens` are then those only."""
        ...


Views = Callable[[Any], tuple[Any, ...]]  # batch -> views; items kept, in order; the batch is left as it was
Mask = Callable[[Layout], Tensor]  # layout -> (T,) bool, True = hidden; leaves at least one token of each item
Objective = Callable[..., Tensor]  # (N, D), (N, D), ... -> (); an nn.Module where it has state


class Progress(NamedTuple):
    """Where a training stands. Every schedule is a function of it, so nothing needs to be fast-forwarded on resume.

    Args:
        step: optimizer steps done.
        total: optimizer steps planned.
    """

    step: int = 0
    total: int = 1

    @property
    def fraction(self) -> float:
        """Share of training done, in [0, 1]."""
        return min(1.0, self.step / max(1, self.total))


class Fold(NamedTuple):
    """Frozen features (N, D) float and their labels (N,): long for classes, float for a quantity."""

    features: Tensor
    labels: Tensor


class Drawing(NamedTuple):
    """A graph small enough to look at; point 0 is the item itself.

    Args:
        points: (N, 2), anywhere in the plane; y grows downwards.
        edges: (E, 2) pairs of points.
    """

    points: Sequence[Sequence[float]]
    edges: Sequence[Sequence[int]]


class Finding(NamedTuple):
    """Something that is wrong with the data.

    Args:
        what: in a word or two: "silence", "isolated nodes".
        where: which items, columns or files.
        why: what was seen, in numbers.
        bad: whether it would be a mistake to go on without a look at it.
    """

    what: str
    where: str
    why: str
    bad: bool = False


Probe = Callable[[Fold, Fold, Fold], dict[str, float]]  # train, validation, test -> scores


@dataclass(frozen=True, kw_only=True)
class Data:
    """What the runner needs of a data set, whatever the domain.

    Args:
        train: batches to learn from; iterated once per epoch.
        size: training items in one epoch (images, nodes, clips, rows).
        items: batches of every item to embed, in a fixed order. Default: `train`, for data without labels. If it has a
            `count` of items and `items_at(places)`, (B,) long -> batch, monitors look at items from all over the data.
        labels: (N,) aligned with `items`, long for classes, float for a quantity; or None.
        folds: positions in `items` of "train", "validation" and "test"; needed where there are labels.
        raw: batch -> (B, F) float, the plain features that a representation should beat; or None.
        target: training batch -> (B,) labels of its items, for methods that learn from labels; or None.
        ids: training batch -> (B,) long, the number of each of its items, the same in every epoch, for methods that remember
            every item; or None. With it comes the fact `places`, which is above every such number.
        facts: what components may ask for by parameter name: {"in_features": 64}. Plain values only.
        schema: what reading learned (column types, vocabularies); given back to the reader as `schema` when the
            encoder is used on other data. Plain values only.
        preview: (batch or view, positions of some items in it) -> for each of them something to look at, for reports: a
            picture (uint8 array, (H, W) or (H, W, 3); of a volume the middle slice along its third axis, rows against the
            second), a row (mapping of column to value) or a `Drawing`; or None.
        columns: one name per column of `raw`; or None.
        asks: (N, D) features of all items -> scores of what else can be asked of them, whether or not there are labels: which
            edges were hidden, which recordings have one speaker; or None. It fits on some items and scores others.
        findings: () -> what is wrong with the data that only their domain can see, for `sslrun doctor --data`; or None.
        names: one name per item of `items`; or None.
        classes: names of the classes; or None.
        skipped: (item, reason) for everything that was left out.
        fingerprint: changes when the data change.
    """

    train: Iterable[Any]
    size: int
    items: Iterable[Any] | None = None
    labels: Tensor | None = None
    folds: Mapping[str, Tensor] = field(default_factory=dict)
    raw: Callable[[Any], Tensor] | None = None
    target: Callable[[Any], Tensor] | None = None
    ids: Callable[[Any], Tensor] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    schema: Mapping[str, Any] = field(default_factory=dict)
    preview: Callable[[Any, Sequence[int]], Sequence[Any]] | None = None
    columns: Sequence[str] | None = None
    asks: Callable[[Tensor], dict[str, float]] | None = None
    findings: Callable[[], Iterable[Finding]] | None = None
    names: Sequence[str] | None = None
    classes: Sequence[str] | None = None
    skipped: Sequence[tuple[str, str]] = ()
    fingerprint: str = ""
