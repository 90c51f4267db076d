"""Views of rows, and subsets of columns. All are drawn on the device of the batch, without a loop over rows."""
from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ssl_core import Layout

from .rows import Rows


class Corrupt:
    """Replace random cells by cells of the same column from other rows, that is, by draws from its empirical marginal.

    Args:
        share: of the cells of a row to replace.
        exact: replace the same number of cells in every row (SCARF, arXiv:2106.15147, algorithm 1), else each by chance.
        draw: `marginal`: each cell from a random row of the batch; `shuffle`: a permutation per column (VIME, NeurIPS 2020);
            `row`: all cells from one other row (CutMix, SAINT, arXiv:2106.01342).
        clean: the first view is the batch itself; else all are corrupted.
        views: how many.
    """

    def __init__(self, share: float = 0.6, exact: bool = True, draw: Literal["marginal", "shuffle", "row"] = "marginal",
                 clean: bool = True, views: int = 2) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"share should lie in (0, 1], got {share}")
        if views < 2:
            raise ValueError(f"views should be 2 or more, got {views}")
        self.share, self.exact, self.draw, self.clean, self.views = share, exact, draw, clean, views

    def __call__(self, rows: Rows) -> tuple[Rows, ...]:
        first = (rows,) if self.clean else ()
        return (*first, *(self.corrupted(rows) for _ in range(self.views - len(first))))

    def corrupted(self, rows: Rows) -> Rows:
        """The rows with some cells of others."""
        items, columns = rows.size, rows.numeric.shape[1] + rows.categorical.shape[1]
        noise = torch.rand(items, columns, device=rows.numeric.device)
        if self.exact:  # at least one cell, so that the view is one
            replace = noise.argsort(dim=1) < max(1, round(self.share * columns))
        else:
            replace = noise < self.share
        return rows.gather(self.sources(items, columns, noise.device)).where(replace, rows)

    def sources(self, items: int, columns: int, device: torch.device) -> Tensor:
        """(B, D): the row that each cell would come from."""
        if self.draw == "marginal":
            return torch.randint(items, (items, columns), device=device)
        if self.draw == "shuffle":
            return torch.rand(items, columns, device=device).argsort(dim=0)
        return torch.randperm(items, device=device)[:, None].expand(-1, columns)


class Variants:
    """The row, and copies as another source might hold it: some cells missing, numbers a little off (arXiv:2412.00324).

    The paper's own operators could not be checked; these are attribute drop and typing errors, on cells as they are encoded.

    Args:
        copies: of each row, beside itself.
        drop: share of the cells that are missing in a copy; at least one is left.
        jitter: deviation of what is added to the numbers, in scaled units.
    """

    def __init__(self, copies: int = 6, drop: float = 0.2, jitter: float = 0.05) -> None:
        if copies < 1 or not 0 <= drop < 1 or jitter < 0:
            raise ValueError(f"copies should be 1 or more, drop in [0, 1), jitter 0 or more, got {copies}, {drop}, {jitter}")
        self.copies, self.drop, self.jitter = copies, drop, jitter

    def __call__(self, rows: Rows) -> tuple[Rows, ...]:
        return (rows, *(self.variant(rows) for _ in range(self.copies)))

    def variant(self, rows: Rows) -> Rows:
        """One copy of each row."""
        noise = torch.rand(rows.size, rows.numeric.shape[1] + rows.categorical.shape[1], device=rows.numeric.device)
        gone = (noise < self.drop) & (noise != noise.amax(dim=1, keepdim=True))
        off = rows.numeric + self.jitter * torch.randn_like(rows.numeric)
        return rows._replace(numeric=off.masked_fill(rows.missing, 0.0)).hidden(gone)


class CorrelatedFeatures:
    """Two views without a cell in common: a feature and those that tell most about it are hidden in one, the rest in the other.

    Correlated feature masking (arXiv:2007.12865, as recalled): were they hidden at random, what is hidden could be
    copied from its neighbours. Which features go together is measured by the method (`ItemContrast`).

    Args:
        share: of the features that are hidden in the first view.
    """

    def __init__(self, share: float = 0.5) -> None:
        if not 0 < share < 1:
            raise ValueError(f"share should lie in (0, 1), got {share}")
        self.share = share

    def __call__(self, rows: Rows) -> tuple[Rows, Rows]:
        features = rows.numeric.shape[1] + rows.categorical.shape[1]
        return self.apart(rows, torch.rand(features, features, device=rows.numeric.device).argsort(dim=1))

    def apart(self, rows: Rows, near: Tensor) -> tuple[Rows, Rows]:
        """Views of rows. near: (F, F), for each feature all of them, itself first, then from the closest on."""
        features = len(near)
        count = min(features - 1, max(1, round(self.share * features)))
        seed = torch.randint(features, (rows.size,), device=near.device)
        mask = torch.zeros(rows.size, features, dtype=torch.bool, device=near.device).scatter_(1, near[seed, :count], True)
        return rows.hidden(mask), rows.hidden(~mask)


class Subsets(NamedTuple):
    """Columns to see and to predict: context (B, n), targets (K, B, m). The same n and m for all rows of a batch."""

    context: Tensor
    targets: Tensor


class ColumnSubsets:
    """Some columns of each row as context, and others, disjoint from them, as targets (T-JEPA, arXiv:2410.05016, section 3.2).

    How many is drawn once for a batch, uniformly between the bounds; which, for every row.

    Args:
        context: least and largest share of the columns that are seen.
        target: least and largest share of the columns that are predicted at a time.
        targets: subsets to predict, drawn independently of each other. (The published code draws 4, which alias one
            another: 1 has the same loss and gradient.)
    """

    def __init__(self, context: tuple[float, float] = (0.14, 0.37), target: tuple[float, float] = (0.16, 0.62),
                 targets: int = 4) -> None:
        for name, (low, high) in (("context", context), ("target", target)):
            if not 0 <= low <= high < 1:
                raise ValueError(f"{name} should be two rising shares in [0, 1), got {low}, {high}")
        if context[0] + target[0] >= 1 or targets < 1:
            raise ValueError(f"context and target leave no room for each other, or targets={targets} is below 1")
        self.context, self.target, self.number = context, target, targets

    def draw(self, items: int, columns: int, device: torch.device | str) -> Subsets:
        """Subsets for each of `items` rows of `columns` columns."""
        seen, wanted = self.counts(columns)
        order = torch.rand(items, columns, device=device).argsort(dim=1)
        context, rest = order[:, :seen], order[:, seen:]
        if self.number == 1:
            return Subsets(context, rest[None, :, :wanted])
        some = torch.rand(self.number, *rest.shape, device=device).argsort(dim=2)[..., :wanted]
        return Subsets(context, rest.expand(self.number, -1, -1).gather(2, some))

    def counts(self, columns: int) -> tuple[int, int]:
        """How many columns to see and to predict, at least one of each, together no more than there are."""
        if columns < 2:
            raise ValueError(f"columns are predicted from others: two or more are needed, there is {columns}")
        bounds = [[max(1, round(share * columns)) for share in pair] for pair in (self.context, self.target)]
        for u in torch.rand(64, 2).tolist():  # on the CPU: the counts are shapes
            seen, wanted = (round(low + (high - low) * v) for (low, high), v in zip(bounds, u, strict=True))
            if seen + wanted <= columns:
                return seen, wanted
        seen = min(bounds[0][0], columns - 1)  # the bounds hardly ever fit, as in a table of two columns
        return seen, min(bounds[1][0], columns - seen)

    def __call__(self, layout: Layout) -> Tensor:
        """As a mask, (T,), True = hidden: all but the context."""
        items = int(layout.owner[-1]) + 1
        columns = len(layout.owner) // items
        hidden = torch.ones(items, columns, dtype=torch.bool, device=layout.owner.device)
        return hidden.scatter_(1, self.draw(items, columns, hidden.device).context, False).flatten()
