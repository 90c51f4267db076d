"""The objectives of this plugin against plain versions in float64."""
import pytest
import torch
from torch.autograd import gradcheck

from ssl_core.objectives.infonce import NTXent
from ssl_graph.objectives import BCE, CCA, ScaledCosine

N, D = 12, 5


@pytest.fixture
def rows():
    torch.manual_seed(0)
    return torch.randn(N, D, dtype=torch.float64), torch.randn(N, D, dtype=torch.float64)


def plain_cca(a, b, weight):
    za, zb = ((z - z.mean(0)) / z.std(0, unbiased=False) / N**0.5 for z in (a, b))
    eye = torch.eye(D, dtype=a.dtype)
    return (za - zb).norm() ** 2 / 2 + weight * sum((z.T @ z - eye).norm() ** 2 for z in (za, zb))


def plain_scaled_cosine(a, b, power):
    terms = [(1 - a[i] @ b[i] / (a[i].norm() * b[i].norm())) ** power for i in range(len(a))]
    return sum(terms) / len(terms)


CASES = {
    "cca": (CCA(0.3), lambda a, b: plain_cca(a, b, 0.3)),
    "scaled-cosine": (ScaledCosine(3.0), lambda a, b: plain_scaled_cosine(a, b, 3.0)),
    "bce": (BCE(), lambda a, b: -(b.sigmoid() * a.sigmoid().log() + (1 - b.sigmoid()) * (1 - a.sigmoid()).log()).mean()),
}


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient_match_a_plain_version(name, rows):
    ours, plain = CASES[name]
    a, b = rows
    given = (a, b.sigmoid()) if name == "bce" else (a, b)
    left, right = a.clone().requires_grad_(), a.clone().requires_grad_()
    value, expected = ours(left, given[1]), plain(right, b)
    torch.testing.assert_close(value, expected)
    value.backward()
    expected.backward()
    torch.testing.assert_close(left.grad, right.grad)
    assert gradcheck(lambda a: ours(a, given[1]), left, atol=1e-6)


def test_cca_does_not_care_for_scale_so_shrinking_wins_nothing(rows):
    """Variances far below any constant that is added to them: features that sum to 1 give rows of this size."""
    a, b = rows
    torch.testing.assert_close(CCA()(a * 1e-4, b * 1e-4), CCA()(a, b), rtol=1e-3, atol=0)
    assert CCA()(torch.zeros(N, D), torch.zeros(N, D)).isfinite()


def test_scaled_cosine_leaves_rows_without_a_direction_out(rows):
    """A blank row has no cosine: counted as 1 it would dilute the loss and teach nothing."""
    a, b = rows
    blank = torch.cat([b, torch.zeros(3, D, dtype=b.dtype)])
    guess = torch.cat([a, torch.randn(3, D, dtype=a.dtype)]).requires_grad_()
    loss = ScaledCosine(2.0)(guess, blank)
    torch.testing.assert_close(loss, ScaledCosine(2.0)(a, b))
    loss.backward()
    assert (guess.grad[-3:] == 0).all()
    assert ScaledCosine()(a, torch.zeros_like(b)) == 0


def test_scaled_cosine_is_zero_and_finite_where_all_is_right(rows):
    a = rows[0].float().requires_grad_()
    loss = ScaledCosine(1.5)(a, a * 3)
    loss.backward()
    assert 0 <= loss < 1e-5 and a.grad.isfinite().all()
    with pytest.raises(ValueError, match="at least 1"):
        ScaledCosine(0.5)


def test_bce_takes_scores_of_any_size():
    """A sigmoid before the logarithm gives infinity here."""
    scores = torch.tensor([[200.0], [-200.0]], requires_grad=True)
    loss = BCE()(scores, torch.tensor([[0.0], [1.0]]))
    loss.backward()
    assert loss == 200 and scores.grad.abs().sum() > 0


def test_grace_is_nt_xent(rows):
    """GRACE: -log e^s12_ii / (sum_j e^s12_ij + sum_{j != i} e^s11_ij), the mean of both directions."""
    a, b = (torch.nn.functional.normalize(r) for r in rows)

    def one_way(x, y, tau=0.4):
        terms = []
        for i in range(N):
            across = sum((x[i] @ y[j] / tau).exp() for j in range(N))
            within = sum((x[i] @ x[j] / tau).exp() for j in range(N) if j != i)
            terms.append(-((x[i] @ y[i] / tau).exp() / (across + within)).log())
        return sum(terms) / N

    torch.testing.assert_close(NTXent(0.4)(*rows), (one_way(a, b) + one_way(b, a)) / 2)
