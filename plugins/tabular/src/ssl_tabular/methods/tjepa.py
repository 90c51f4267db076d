"""T-JEPA: predict what a slow encoder makes of hidden columns from what the encoder makes of others (arXiv:2410.05016).

Two things differ between the paper and its published code, and both can be had: whether the regularisation token is always
in the context, and whether the targets of a row are drawn independently (`augmentation.targets`). Sequences are
[REG, numbers, categories]; in what follows a place is an index into that sequence, and a column is place - 1.
"""
from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from ssl_core import Method
from ssl_core.modules import Teacher

from ..blocks import Body, truncated
from ..tokenizer import waves


class Predictor(nn.Module):
    """Guess tokens at some places from context tokens at others (section 3.3 and appendix of the paper).

    Args:
        width: of the encoder's tokens.
        places: length of the sequence.
        inner, depth, heads, hidden, dropout: of the transformer inside.
        shared: context tokens look at context only, so that they are processed once for all targets; else each target has
            a pass of its own, in which context tokens look at its queries too (the paper).
    """

    def __init__(self, width: int, places: int, inner: int, depth: int, heads: int, hidden: int, dropout: float, shared: bool
                 ) -> None:
        super().__init__()
        self.enter, self.query = nn.Linear(width, inner), nn.Parameter(torch.randn(inner) * 0.02)
        self.body = Body(inner, heads, hidden, depth, dropout)
        self.leave = nn.Sequential(nn.LayerNorm(inner), nn.Linear(inner, width))
        self.register_buffer("place", waves(places, inner, 10_000.0), persistent=False)
        self.shared = shared
        truncated(self)

    def forward(self, context: Tensor, at: Tensor, targets: Tensor) -> Tensor:
        """Context tokens (B, n, width) at places (B, n), targets: places (K, B, m) -> guesses (K, B, m, width)."""
        known = self.enter(context) + self.place[at]
        asked = self.query + self.place[targets]  # (K, B, m, inner)
        (number, items, m), n = targets.shape, at.shape[1]
        if not self.shared or number == 1:
            rows = torch.cat([known.expand(number, -1, -1, -1), asked.to(known.dtype)], dim=2).flatten(0, 1)
            mask = blocks(n, m, 1, at.device) if self.shared else None
            return self.leave(self.body(rows, mask, lambda x: x[:, n:])).view(number, items, m, -1)
        rows = torch.cat([known, asked.transpose(0, 1).flatten(1, 2).to(known.dtype)], dim=1)
        out = self.leave(self.body(rows, blocks(n, m, number, at.device), lambda x: x[:, n:]))
        return out.view(items, number, m, -1).transpose(0, 1)


def blocks(context: int, target: int, number: int, device: torch.device) -> Tensor:
    """(L, L) bool: all look at the context, and the queries of one target at each other too."""
    group = torch.cat([torch.zeros(context, device=device), torch.arange(1, number + 1, device=device)
                       .repeat_interleave(target)])
    return (group == 0) | (group[:, None] == group)


class TJEPA(Method):
    """Hide columns, predict their tokens in the embedding of a slow copy of the encoder.

    Args:
        encoder: `transformer`; the paper's reads a row out as all of its tokens (`encoder.readout=flatten`).
        augmentation: draws the subsets: `column-subsets`.
        reg_token_policy: `always_context`: regularisation tokens are always in the context and never a target;
            `paper_code`: places are drawn as if the sequence began with the first column, so that the REG token is seen or
            predicted like a column and the last column never is.
        shared_context: process the context once for all targets (see `Predictor`).
        width, depth, heads, hidden, dropout: of the predictor.
        momentum: of the slow encoder at the start; rises to 1 in a straight line.
        clamp: largest absolute value of an entry of a gradient; 0 for none.
        keep: `teacher` (the paper) or `student`: whose encoder is scored and saved.
    """

    shown = "mask"

    def __init__(self, encoder: Any, augmentation: Any, objective: Any,
                 reg_token_policy: Literal["always_context", "paper_code"] = "always_context", shared_context: bool = True,
                 width: int = 32, depth: int = 4, heads: int = 4, hidden: int = 256, dropout: float = 0.0,
                 momentum: float = 0.996, clamp: float = 1.0, keep: Literal["teacher", "student"] = "teacher") -> None:
        super().__init__(encoder, augmentation, objective)
        if not hasattr(encoder, "tokens") or not hasattr(encoder, "token_width"):
            raise ValueError("tjepa needs an encoder with tokens of columns: encoder=transformer")
        if not hasattr(augmentation, "draw"):
            raise ValueError("tjepa needs subsets of columns: augmentation=column-subsets")
        if reg_token_policy == "paper_code" and encoder.reg != 1:
            raise ValueError(f"reg_token_policy=paper_code needs encoder.reg=1, got {encoder.reg}")
        places = encoder.reg + encoder.columns
        self.predictor = Predictor(encoder.token_width, places, width, depth, heads, hidden, dropout, shared_context)
        self.teacher, self.momentum, self.keep = Teacher(encoder, momentum), momentum, keep
        self.as_published = reg_token_policy == "paper_code"
        if clamp:
            for weight in [*encoder.parameters(), *self.predictor.parameters()]:
                weight.register_hook(lambda grad: grad.clamp(-clamp, clamp))

    def train(self, mode: bool = True) -> TJEPA:
        """The slow encoder stays in eval mode: its targets are without dropout."""
        super().train(mode)
        self.teacher.eval()
        return self

    def step(self, batch: Any) -> dict[str, Tensor]:
        context, targets = self.places(batch)
        tokens = self.encoder.tokens(batch)  # (B, L, H)
        seen = self.encoder.body(rows_at(tokens, context))
        guess = self.predictor(seen, context, targets)
        wanted = self.wanted(batch, targets)
        return {"loss": self.compare(guess.flatten(0, 2), wanted.flatten(0, 2)),
                "spread": spread(wanted, targets, tokens.shape[1])}

    @torch.no_grad()
    def wanted(self, batch: Any, targets: Tensor) -> Tensor:
        """What the slow encoder makes of the whole rows, at the targets: (K, B, m, H)."""
        slow: Any = self.teacher.copy
        tokens, asked = slow.tokens(batch), targets.transpose(0, 1)  # (B, L, H), (B, K, m)
        if asked[0].numel() < tokens.shape[1]:
            found = slow.body(tokens, pick=lambda x: rows_at(x, asked.flatten(1)))
        else:  # several targets ask for most tokens more than once
            found = rows_at(slow.body(tokens), asked.flatten(1))
        return found.unflatten(1, asked.shape[1:]).transpose(0, 1)

    def places(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Where the context and the targets of each row are in the sequence: (B, n), (K, B, m)."""
        reg = self.encoder.reg
        context, targets = self.augmentation.draw(batch.size, self.encoder.columns, batch.numeric.device)
        if self.as_published:
            return context, targets
        always = torch.arange(reg, device=context.device).expand(len(context), -1)
        return torch.cat([always, context + reg], dim=1), targets + reg

    @torch.no_grad()
    def after_step(self) -> None:
        super().after_step()
        pull = (1 - self.momentum) * (1 - self.progress.fraction)
        slow, fast = list(self.teacher.copy.parameters()), [weight.detach() for weight in self.encoder.parameters()]
        torch._foreach_lerp_(slow, fast, pull)

    @property
    def kept(self) -> Any:
        return self.teacher.copy if self.keep == "teacher" else self.encoder


def rows_at(tokens: Tensor, places: Tensor) -> Tensor:
    """Tokens (B, L, H) at places (B, n): (B, n, H)."""
    return tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[2]))


@torch.no_grad()
def spread(tokens: Tensor, places: Tensor, length: int) -> Tensor:
    """How much the token of a column varies from row to row, as a root mean square, in the first 64 rows; 0 in a collapse.

    Args:
        tokens: (K, B, m, H).
        places: (K, B, m), below `length`.
    """
    rows, at = tokens[:, :64].flatten(0, 2).float(), places[:, :64].flatten()
    mean = rows.new_zeros(length, rows.shape[1]).index_add_(0, at, rows)
    mean /= torch.bincount(at, minlength=length).clamp_(min=1)[:, None]
    return (rows - mean[at]).square().mean().sqrt()
