"""The blockwise log-sum-exp is the dense one, in value and gradient, in both of its code paths."""
import pytest
import torch
from torch.autograd import gradcheck

from ssl_core.objectives.blockwise import log_sum_exp

N, M, D = 7, 11, 5
SAFE, SHIFTED = 3.0, None  # a known bound: exponentials without a shift; none: with one


def matrices(same=False):
    torch.manual_seed(0)
    a = torch.randn(N, D, dtype=torch.float64, requires_grad=True)
    return a, a if same else torch.randn(M, D, dtype=torch.float64, requires_grad=True)


def dense(a, b, scale, exclude=()):
    logits = scale * a @ b.T
    for shift in exclude:
        hidden = torch.zeros_like(logits, dtype=torch.bool)
        hidden.diagonal(shift).fill_(True)
        logits = logits.masked_fill(hidden, -torch.inf)
    return logits.logsumexp(1), logits.logsumexp(0)


def assert_same(a, b, ours, theirs):
    weights = [torch.randn_like(x) for x in theirs]
    grads = [torch.autograd.grad(sum((w * x).sum() for w, x in zip(weights, out)), {id(t): t for t in (a, b)}.values())
             for out in (ours, theirs)]
    for x, y in zip((*ours, *grads[0]), (*theirs, *grads[1])):
        torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("bound", [SAFE, SHIFTED])
@pytest.mark.parametrize("block", [1, M, 3 * M, 10**6])
def test_equals_dense_over_rows_and_columns(bound, block):
    a, b = matrices()
    ours = log_sum_exp(a, b, 0.7, bound=bound, columns=True, block=block)
    assert_same(a, b, ours, dense(a, b, 0.7))


@pytest.mark.parametrize("bound", [SAFE, SHIFTED])
@pytest.mark.parametrize("block", [1, 2 * N, 10**6])
def test_without_oneself(bound, block):
    a, _ = matrices(same=True)
    ours = log_sum_exp(a, a, 0.7, bound=bound, exclude_self=True, block=block)[:1]
    assert_same(a, a, ours, dense(a, a, 0.7, exclude=(0,))[:1])


@pytest.mark.parametrize("bound", [SAFE, SHIFTED])
@pytest.mark.parametrize("exclude", [(2,), (-3,), (0, 4), (9,), (50,)])
def test_without_diagonals(bound, exclude):
    a, b = matrices()
    ours = log_sum_exp(a, b, 0.7, bound=bound, columns=True, exclude=exclude, block=3 * M)
    assert_same(a, b, ours, dense(a, b, 0.7, exclude))


@pytest.mark.parametrize("bound", [SAFE, SHIFTED])
def test_gradcheck(bound):
    assert gradcheck(lambda a, b: log_sum_exp(a, b, 1.3, bound=bound, columns=True, block=2 * M), matrices())


@pytest.mark.parametrize("bound", [SAFE, SHIFTED])
def test_candidates_without_gradient_cost_none(bound):
    a, b = matrices()
    log_sum_exp(a, b.detach(), 0.7, bound=bound)[0].sum().backward()
    torch.testing.assert_close(a.grad, torch.autograd.grad(dense(a, b, 0.7)[0].sum(), a)[0])
    assert b.grad is None


def test_large_logits_do_not_overflow():
    a = torch.full((3, 2), 30.0, requires_grad=True)
    rows, columns = log_sum_exp(a, a, 10.0, columns=True)
    assert rows.isfinite().all() and columns.isfinite().all()
    assert torch.autograd.grad(rows.sum(), a)[0].isfinite().all()


def test_holds_one_block_only():
    """The backward pass keeps two vectors, not N x M logits."""
    a = torch.randn(600, 4, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        log_sum_exp(a, a, 1.0, exclude_self=True, block=600)
    assert max(kept) < 600 * 600 / 10
