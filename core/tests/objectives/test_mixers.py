"""Mixed gradients: what each mixer promises, in the shared rows, and that heads keep the gradient of the sum."""
import pytest
import torch

from ssl_core.mixers import mgda, mix, pcgrad, realigned

OPPOSED = torch.tensor([[1.0, 0.0], [-0.5, 1.0]], dtype=torch.float64)
FRIENDLY = torch.tensor([[1.0, 0.2], [0.5, 1.0]], dtype=torch.float64)


def combined(how, gradients):
    """The gradient in one shared row of losses that are linear in it."""
    x = torch.zeros(1, gradients.shape[1], dtype=torch.float64, requires_grad=True)
    losses = {str(k): (g * x).sum() for k, g in enumerate(gradients)}
    return torch.autograd.grad(mix(losses, [x], how), x)[0][0]


def test_two_gradients_by_hand():
    one, two = OPPOSED
    share = ((two - one) @ two / (one - two).square().sum()).clamp(0, 1)
    torch.testing.assert_close(combined("mgda", OPPOSED), 2 * (share * one + (1 - share) * two))
    expected = one - one @ two / (two @ two) * two + two - one @ two / (one @ one) * one
    torch.testing.assert_close(combined("pcgrad", OPPOSED), expected)
    torch.testing.assert_close(combined("realign", OPPOSED), expected)


@pytest.mark.parametrize("how", ["pcgrad", "realign"])
def test_what_does_not_conflict_is_left_alone(how):
    torch.testing.assert_close(combined(how, FRIENDLY), FRIENDLY.sum(0))


@pytest.mark.parametrize("count", [2, 3, 5])
def test_mgda_is_the_shortest_combination_and_hurts_no_loss(count):
    torch.manual_seed(count)
    gradients = torch.randn(count, 8, dtype=torch.float64) + 0.3
    shares = mgda(gradients @ gradients.T, rounds=2000) / count
    assert shares.sum().item() == pytest.approx(1) and (shares >= 0).all()
    shortest = shares @ gradients
    assert ((gradients @ shortest) >= shortest @ shortest - 1e-2).all()  # the condition of the minimum
    others = torch.distributions.Dirichlet(torch.ones(count, dtype=torch.float64)).sample((500,)) @ gradients
    assert (others.norm(dim=1) >= shortest.norm() - 1e-6).all()


def test_realignment_is_item_by_item():
    torch.manual_seed(0)
    rows = torch.randn(3, 6, 4, dtype=torch.float64)
    for i in range(6):
        left = sum(g - sum((g @ h).clamp(max=0) / (h @ h) * h for h in rows[:, i] if h is not g) for g in rows[:, i])
        torch.testing.assert_close(realigned(rows)[i], left)


@pytest.mark.parametrize("how", ["mgda", "pcgrad", "realign"])
def test_value_is_the_sum_and_heads_keep_its_gradient(how):
    torch.manual_seed(0)
    trunk, head = (torch.randn(4, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    x = torch.randn(5, 4, dtype=torch.float64) @ trunk
    losses = {"a": (x @ head).square().sum(), "b": -(x @ head).sum() * 9}
    whole = sum(losses.values())
    expected = torch.autograd.grad(whole, [trunk, head], retain_graph=True)
    loss = mix(losses, [x], how)
    torch.testing.assert_close(loss, whole)
    found = torch.autograd.grad(loss, [trunk, head])
    torch.testing.assert_close(found[1], expected[1])
    assert not torch.allclose(found[0], expected[0])


def test_weights_of_pcgrad_for_aligned_gradients_are_one():
    torch.testing.assert_close(pcgrad(FRIENDLY @ FRIENDLY.T), torch.ones(2, dtype=torch.float64))


def test_losses_that_share_some_rows_only():
    x, y = (torch.randn(3, 2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    for how in ("sum", "mgda", "pcgrad", "realign"):
        mix({"a": (x * y).sum(), "b": x.square().sum()}, [x, y], how).backward()
        assert x.grad.isfinite().all() and y.grad.isfinite().all()
