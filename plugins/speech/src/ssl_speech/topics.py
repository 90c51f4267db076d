"""Topics of recordings, whose words are clusters of frames: latent Dirichlet allocation by variational Bayes
(Blei, Ng and Jordan, 2003; Hoffman et al., 2010), for HuBERTopic (arXiv:2310.03975)."""
from __future__ import annotations

import torch
from torch import Tensor, nn


def words(labels: Tensor, valid: Tensor, vocabulary: int) -> Tensor:
    """How often each cluster begins in each recording, repetitions left out: (B, L), (B, L) -> (B, V) float."""
    begins = valid.clone()
    begins[:, 1:] &= labels[:, 1:] != labels[:, :-1]
    found = torch.zeros(len(labels), vocabulary, device=labels.device)
    return found.scatter_add_(1, labels, begins.to(found.dtype))


def expected_log(rows: Tensor) -> Tensor:
    """Mean of the logarithm under Dirichlet distributions with these parameters, (N, K) -> (N, K)."""
    return torch.digamma(rows) - torch.digamma(rows.sum(dim=1, keepdim=True))


class Topics(nn.Module):
    """Topics as distributions over words. Words in more than `common` of the recordings tell nothing and are dropped.

    Args:
        vocabulary: V, number of words.
        count: Z, number of topics.
        common: share of the recordings above which a word is dropped: silence, mostly.
        prior: of topics in a recording and of words in a topic; 0 for 1 / Z.
    """

    def __init__(self, vocabulary: int, count: int, common: float = 0.95, prior: float = 0.0) -> None:
        super().__init__()
        self.common, self.prior = common, prior or 1 / count
        self.register_buffer("book", torch.ones(count, vocabulary))  # parameters of the distributions over words
        self.register_buffer("used", torch.ones(vocabulary))

    @torch.no_grad()
    def forward(self, counts: Tensor) -> Tensor:
        """Shares of the topics in recordings: (N, V) -> (N, Z), each row adding up to 1."""
        shares = self.shares(counts * self.used, expected_log(self.book).exp())
        return shares / shares.sum(dim=1, keepdim=True)

    @torch.no_grad()
    def fit(self, counts: Tensor, rounds: int = 30) -> None:
        """Learn the topics from all recordings at once, (N, V)."""
        used = ((counts > 0).float().mean(dim=0) <= self.common).to(counts.dtype)
        self.used.copy_(used if used.any() else torch.ones_like(used))
        counts = counts * self.used
        self.book.copy_(torch.distributions.Gamma(100.0, 100.0).sample(self.book.shape).to(self.book))
        for _ in range(rounds):
            book = expected_log(self.book).exp()
            shares = expected_log(self.shares(counts, book)).exp()
            self.book.copy_(self.prior + book * (shares.T @ (counts / (shares @ book + 1e-20))))

    def shares(self, counts: Tensor, book: Tensor, steps: int = 30) -> Tensor:
        """Parameters of the distributions over topics, (N, V), (Z, V) -> (N, Z)."""
        found = counts.new_ones(len(counts), len(book))
        for _ in range(steps):
            log = expected_log(found).exp()
            found = self.prior + log * ((counts / (log @ book + 1e-20)) @ book.T)
        return found
