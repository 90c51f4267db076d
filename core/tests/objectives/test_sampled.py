"""Sampled negatives: what they estimate, and what they leave alone."""
import pytest
import torch
import torch.nn.functional as F

from ssl_core.objectives.infonce import InfoNCE, sampled

N, D, SCALE = 64, 8, 2.5


@pytest.fixture
def views():
    torch.manual_seed(0)
    return [F.normalize(torch.randn(N, D, dtype=torch.double)) for _ in range(2)]


def plain(a, b, chosen):
    """One row at a time: its own row, and the mean of the drawn others N - 1 times."""
    logits, found = SCALE * a @ b.T, []
    for i in range(N):
        others = [logits[i, j].exp() for j in chosen.tolist() if j != i]
        found.append((logits[i, i].exp() + (N - 1) * sum(others) / len(others)).log())
    return torch.stack(found)


def test_equals_one_row_at_a_time(views):
    ours, theirs = ([v.clone().requires_grad_() for v in views] for _ in range(2))
    torch.manual_seed(1)
    value = sampled(*ours, (ours[0] * ours[1]).sum(dim=1) * SCALE, SCALE, 20)
    torch.manual_seed(1)
    expected = plain(*theirs, torch.randperm(N)[:20])
    torch.testing.assert_close(value, expected)
    value.sum().backward(), expected.sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_is_close_to_all_negatives(views):
    torch.manual_seed(0)
    some = torch.stack([InfoNCE(0.4, negatives=32)(*views) for _ in range(200)])
    assert some.mean().item() == pytest.approx(InfoNCE(0.4)(*views).item(), abs=0.02)
    assert some.std() > 0


@pytest.mark.parametrize("negatives", [0, N - 1, 10 * N])
def test_as_many_as_there_are_is_exact(negatives, views):
    torch.testing.assert_close(InfoNCE(0.4, negatives=negatives)(*views), InfoNCE(0.4)(*views))
