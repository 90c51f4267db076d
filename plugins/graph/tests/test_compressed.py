"""Products with matrices in compressed rows: against dense ones, value and gradient."""
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from ssl_graph.compressed import _counted, _sorted, product, transposed, valued


def some(height, width, share=0.3):
    """A matrix that is neither square nor symmetric, with empty rows and columns, dense and in compressed rows."""
    g = torch.Generator().manual_seed(height)
    full = torch.randn(height, width, generator=g, dtype=torch.float64)
    full = full * (torch.rand(height, width, generator=g) < share)
    full[::4] = full[:, ::3] = 0
    return full, full.to_sparse_csr()


@pytest.mark.parametrize("height, width", [(7, 11), (12, 5), (1, 4), (6, 6)])
def test_products_and_their_gradients_equal_dense_ones(height, width):
    full, sparse = some(height, width)
    rows = torch.randn(width, 3, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(product(sparse, rows), full @ rows)
    assert gradcheck(lambda x: product(sparse, x), rows) and gradgradcheck(lambda x: product(sparse, x).square(), rows)
    torch.testing.assert_close(transposed(sparse, sparse.values()).to_dense(), full.T)
    other = torch.randn(len(sparse.values()), dtype=torch.float64)
    torch.testing.assert_close(transposed(sparse, other).to_dense(), valued(sparse, other).to_dense().T)


def test_a_matrix_without_entries():
    sparse, rows = torch.zeros(4, 3).to_sparse_csr(), torch.ones(3, 2, requires_grad=True)
    product(sparse, rows).sum().backward()
    assert torch.equal(rows.grad, torch.zeros(3, 2))


@pytest.mark.parametrize("height, width", [(7, 11), (12, 5), (6, 6)])
def test_counting_and_sorting_turn_a_matrix_alike(height, width):
    _, sparse = some(height, width)
    for counted, ordered in zip(_counted(sparse), _sorted(sparse), strict=True):
        torch.testing.assert_close(counted.long(), ordered)


def test_entries_that_are_learned_get_their_gradient():
    full, sparse = some(6, 6, share=1.0)
    sparse.requires_grad_()
    product(sparse, torch.ones(6, 2, dtype=torch.float64)).sum().backward()
    assert torch.equal(sparse.grad.to_dense()[full != 0], torch.full((int((full != 0).sum()),), 2.0, dtype=torch.float64))


def test_half_precision_is_widened_to_that_of_the_matrix():
    full, sparse = some(5, 5)
    with torch.autocast("cpu", torch.bfloat16):
        found = product(sparse.float(), torch.ones(5, 2, dtype=torch.bfloat16))
    assert found.dtype is torch.float32
    torch.testing.assert_close(found, full.float() @ torch.ones(5, 2))
