"""LARS against a plain numpy version; the two groups of parameters; optimizers by name."""
import numpy as np
import pytest
import torch
from torch import nn

from ssl_core import ConfigError
from ssl_core.modules import Teacher, mlp
from ssl_core.optimizers import LARS, find, groups


def lars(weight, grads, lr, momentum, weight_decay, trust, adapt):
    """The paper's update (arXiv:1708.03888, algorithm 1, with the decay inside the norm), in float64."""
    velocity = np.zeros_like(weight)
    for grad in grads:
        grad = grad + weight_decay * weight
        if adapt and np.linalg.norm(weight) > 0 and np.linalg.norm(grad) > 0:
            grad = grad * (trust * np.linalg.norm(weight) / np.linalg.norm(grad))
        velocity = momentum * velocity + grad
        weight = weight - lr * velocity
    return weight


OPTIONS = [dict(lr=0.2, momentum=0.9, weight_decay=1e-2, trust=1e-2), dict(lr=1.0, momentum=0.0, weight_decay=0.0, trust=1e-3)]
STARTS = {"random": np.random.default_rng(0).normal(size=(4, 3)), "zero": np.zeros((4, 3))}


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("adapt", [True, False])
def test_lars_equals_a_plain_version(options, start, adapt):
    grads = np.random.default_rng(1).normal(size=(5, 4, 3))
    weight = nn.Parameter(torch.from_numpy(STARTS[start].copy()))
    optimizer = LARS([{"params": [weight], "adapt": adapt}], **options)
    for grad in grads:
        weight.grad = torch.from_numpy(grad.copy())
        optimizer.step()
    plain = lars(STARTS[start], grads, **options, adapt=adapt)
    np.testing.assert_allclose(weight.detach().numpy(), plain, rtol=1e-12, atol=1e-14)


def test_the_step_of_lars_does_not_depend_on_the_size_of_the_gradient():
    moved = []
    for scale in (1e-4, 1.0, 1e4):
        weight = nn.Parameter(torch.arange(1.0, 7).view(2, 3))
        weight.grad = scale * torch.ones(2, 3)
        LARS([weight], weight_decay=0.0).step()
        moved.append(weight.detach())
    torch.testing.assert_close(moved[0], moved[1])
    torch.testing.assert_close(moved[0], moved[2])


def test_lars_resumes_from_its_state():
    def steps(weight, optimizer, count):
        for _ in range(count):
            optimizer.zero_grad()
            weight.square().sum().backward()
            optimizer.step()

    straight = nn.Parameter(torch.ones(2, 3))
    steps(straight, LARS([straight]), 4)
    first = nn.Parameter(torch.ones(2, 3))
    before = LARS([first])
    steps(first, before, 2)
    second = nn.Parameter(first.detach().clone())
    after = LARS([second])
    after.load_state_dict(before.state_dict())
    steps(second, after, 2)
    assert torch.equal(straight, second)


def test_lars_leaves_alone_what_has_no_gradient_and_calls_the_closure():
    still, moved = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    optimizer = LARS([still, moved])

    def closure():
        loss = moved.sum()
        loss.backward()
        return loss

    assert optimizer.step(closure) == 4
    assert torch.equal(still, torch.ones(2, 2)) and not torch.equal(moved, torch.ones(2, 2))


def test_only_matrices_decay_and_nothing_frozen_is_trained():
    head = mlp(4, 8, 2)
    both = nn.ModuleDict({"student": head, "teacher": Teacher(head)})
    matrices, plain = groups(both)
    assert {id(p) for p in matrices["params"]} == {id(p) for p in head.parameters() if p.ndim > 1}
    assert {id(p) for p in plain["params"]} == {id(p) for p in head.parameters() if p.ndim <= 1}
    assert plain["weight_decay"] == 0 and plain["adapt"] is False and "weight_decay" not in matrices


def test_a_part_may_keep_its_rate():
    """Its matrices still decay and its biases still do not; no parameter is in two groups, and none is lost."""
    net = nn.ModuleDict({"encoder": mlp(4, 8, 2), "predictor": mlp(2, 8, 2)})
    net["predictor"].constant_rate = True
    found = groups(net)
    assert [group.get("constant", False) for group in found] == [False, False, True, True]
    assert ["weight_decay" in group for group in found] == [False, True, False, True]
    assert {p for group in found[2:] for p in group["params"]} == {*net["predictor"].parameters()}
    assert sorted(map(id, net.parameters())) == sorted(id(p) for group in found for p in group["params"])


def test_no_group_is_empty():
    assert len(groups(nn.Linear(2, 2, bias=False))) == len(groups(nn.BatchNorm1d(2))) == 1
    assert groups(nn.Identity()) == []


@pytest.mark.parametrize("name, cls", [("adamw", torch.optim.AdamW), ("AdamW", torch.optim.AdamW), ("SGD", torch.optim.SGD),
                                       ("lars", LARS), ("LARS", LARS), ("radam", torch.optim.RAdam)])
def test_found_by_name(name, cls):
    assert find(name) is cls


@pytest.mark.parametrize("name, near", [("adamww", "adamw"), ("larss", "lars"), ("optimizer", "Offered"), ("zzz", "Offered")])
def test_an_unknown_name_is_answered_with_the_nearest(name, near):
    with pytest.raises(ConfigError, match=near):
        find(name)


def test_every_optimizer_that_is_offered_trains():
    with pytest.raises(ConfigError) as caught:
        find("zzz")
    offered = str(caught.value).partition("Offered: ")[2].split(", ")
    assert len(offered) > 8
    for name in offered:
        torch.manual_seed(0)
        net, x = mlp(3, 8, 1), torch.randn(64, 3)
        y = x.sum(1, keepdim=True)
        optimizer = find(name)(groups(net), lr=1e-2)
        before = [p.detach().clone() for p in net.parameters()]
        for _ in range(3):
            optimizer.zero_grad()
            (net(x) - y).square().mean().backward()
            optimizer.step()
        assert any(not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True)), name
        assert all(p.isfinite().all() for p in net.parameters()), name
