"""MIRROR: align a slide with its gene expression, and keep what only one of them knows (arXiv:2503.00374)."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ssl_core import Method
from ssl_core.modules import mlp, scatter_mean

from ..bags import Bags


class MIRROR(Method):
    """Alignment, retention of each side, and a style that both share by way of prototypes.

    Retention rebuilds hidden parts of an embedding, which takes no gradient as a target: the published code leaves it one,
    and an encoder can then lower the loss by shrinking. Patches have no places here, so the hidden ones of a slide share one
    guess, made from the visible ones. The paper's temperature is learned, here it is the objective's.

    Args:
        encoder: of slides as bags of patches.
        augmentation: the first view is taken.
        objective: of projected slides and expressions, (B, projection) each.
        paired_features: of an expression; from the data.
        projection: width of what the objective compares.
        style: width of the styles.
        prototypes: of styles. (The paper: 3000.)
        hidden: share of the patches, and of an expression's embedding, that is hidden.
        align, slide, expression, normal, cluster: weights of the terms.
    """

    def __init__(self, encoder: Any, augmentation: Any, objective: Any, paired_features: int, projection: int = 128,
                 style: int = 128, prototypes: int = 3000, hidden: float = 0.75, align: float = 0.5, slide: float = 0.15,
                 expression: float = 0.15, normal: float = 0.1, cluster: float = 0.1) -> None:
        super().__init__(encoder, augmentation, objective, projection)
        if not 0 < hidden < 1 or prototypes < 2 or style < 1:
            raise ValueError(f"hidden should lie in (0, 1), prototypes be 2 or more and style 1 or more, got {hidden}, "
                             f"{prototypes} and {style}")
        width = encoder.width
        self.expression = mlp(paired_features, width, width, norm="layer", activation=nn.GELU)
        self.projectors = nn.ModuleList(nn.Linear(width, projection) for _ in range(2))
        self.rebuild = nn.ModuleList(mlp(width, 2 * width, width, norm="layer", activation=nn.GELU) for _ in range(2))
        self.styles = nn.ModuleList(nn.Linear(width, 2 * style) for _ in range(2))
        self.prototypes = nn.Parameter(nn.init.orthogonal_(torch.empty(prototypes, style)))
        self.register_buffer("mean", torch.zeros(paired_features))
        self.register_buffer("spread", torch.ones(paired_features))
        self.hidden, self.weights = hidden, (align, slide, expression, normal, cluster)

    def prepare(self, batches: Iterable[Bags]) -> None:
        """Mean and deviation of the expressions."""
        rows = torch.cat([batch.paired for batch in batches if batch.paired is not None])
        self.mean.copy_(rows.mean(dim=0))
        self.spread.copy_(rows.std(dim=0, correction=0).clamp(min=1e-6))

    def step(self, batch: Bags) -> dict[str, Tensor]:
        view, *_ = self.augmentation(batch)
        seen = self.encoder(view)
        genes = self.expression((batch.paired - self.mean) / self.spread)  # (B, D)
        align = self.compare(*(layer(row) for layer, row in zip(self.projectors, (seen.pooled, genes), strict=True)))
        (normal, one), (further, two) = (self.styled(i, row) for i, row in enumerate((seen.pooled, genes)))
        terms = {"align": align, "slide": self.of_slide(seen.tokens, view.owner, len(genes)),
                 "expression": self.of_genes(genes), "normal": normal + further, "cluster": apart(one, two)}
        weighted = [weight * term for weight, term in zip(self.weights, terms.values(), strict=True)]
        return {"loss": torch.stack(weighted).sum(), **terms}

    def of_slide(self, tokens: Tensor, owner: Tensor, slides: int) -> Tensor:
        """Squared error of hidden patches (T, D) as guessed from the mean of the visible ones of their slide."""
        hidden = torch.rand(len(tokens), device=tokens.device) < self.hidden
        seen = (~hidden).to(tokens.dtype)[:, None]
        visible = scatter_mean(tokens * seen, owner, slides) / scatter_mean(seen, owner, slides).clamp(min=1e-6)
        guess = self.rebuild[0](visible)
        error = (guess[owner] - tokens.detach()).float().square().mean(dim=1)
        return (error * hidden).sum() / hidden.sum().clamp(min=1)

    def of_genes(self, rows: Tensor) -> Tensor:
        """Squared error of the hidden part of embedded expressions (B, D) as guessed from the rest of it."""
        hidden = torch.rand_like(rows) < self.hidden
        error = (self.rebuild[1](rows * ~hidden) - rows.detach()).float().square()
        return (error * hidden).sum() / hidden.sum().clamp(min=1)

    def styled(self, side: int, rows: Tensor) -> tuple[Tensor, Tensor]:
        """How far the styles of rows (B, D) are from a normal sample, and their scores among the prototypes, (B, K)."""
        mean, log_variance = self.styles[side](rows).float().chunk(2, dim=1)
        drawn = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        far = 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(dim=1).mean()
        return far, drawn @ self.prototypes.float().T


def apart(a: Tensor, b: Tensor) -> Tensor:
    """Symmetric Kullback-Leibler divergence of the softmax of scores (B, K), (B, K)."""
    a, b = a.log_softmax(dim=1), b.log_softmax(dim=1)
    return 0.5 * ((a.exp() - b.exp()) * (a - b)).sum(dim=1).mean()
