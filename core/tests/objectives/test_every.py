"""What holds for every objective that the core offers, by name: one table."""
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

from ssl_core import Method, Progress, builtin

OFFERED = {component.name: component for component in builtin.ssl_objectives()}
N, D = 16, 8
SMALL = {  # options that fit a test, and the number of views
    "moco": {"queue": 64}, "nnclr": {"queue": 64}, "interclr": {"queue": 64, "clusters": 4, "negatives": 16},
    "mochi": {"queue": 64, "hardest": 16, "mixed": 8, "with_query": 4}, "halp": {"queue": 64, "prototypes": 6, "recent": 32},
    "swav": {"prototypes": 12, "queue": 32}, "dino": {"prototypes": 12}, "depict": {"clusters": 4},
    "unicon": {"transformations": 2}, "sla": {"classes": 3, "transformations": 2}, "visreg": {"slices": 64},
    "lejepa": {"slices": 64}, "hydra": {"classes": 3},
}
VIEWS = {"unicon": 4, "mv-dhel": 3, "mv-infonce": 3, "lejepa": 3, "dino": 3, "mmcr": 3}
CLASSES = torch.arange(N) % 3
LABELS = {"supcon": CLASSES, "sla": CLASSES, "hydra": CLASSES, "supremix": torch.arange(N) / N}
DRAWS = {"interclr", "mochi", "halp", "supremix"}  # something per item, so that two orders draw differently
REGRESSION = {"cosine", "directpred", "smooth-l1", "mse"}


def made(name):
    torch.manual_seed(0)
    objective = OFFERED[name].load()(**SMALL.get(name, {}))
    if hasattr(objective, "allocate"):
        objective.allocate(D)
    objective.progress = Progress(9, 10)  # past every warm-up
    return objective


def views(name, spread=1.0, n=N):
    torch.manual_seed(1)
    base = torch.randn(n, D)
    return [base + spread * torch.randn(n, D) for _ in range(VIEWS.get(name, 2))]


def more(name, order=slice(None)):
    return {"labels": LABELS[name][order]} if name in LABELS else {}


def loss_of(name, objective, rows, **given):
    torch.manual_seed(2)
    return objective(*rows, **{**more(name), **given})


@pytest.mark.parametrize("name", OFFERED)
def test_is_described(name):
    record = OFFERED[name]
    assert record.paper.startswith("arXiv:") and 10 < len(record.summary) < 80
    assert OFFERED[name].load().__doc__ and OFFERED[name].load().forward.__doc__


@pytest.mark.parametrize("name", OFFERED)
@pytest.mark.parametrize("kind", ["usual", "equal", "tiny", "huge"])
def test_loss_and_gradient_are_finite(name, kind):
    rows = views(name)
    rows = {"usual": rows, "equal": [torch.ones(N, D) for _ in rows], "tiny": [1e-6 * r for r in rows],
            "huge": [1e3 * r for r in rows]}[kind]
    rows = [r.requires_grad_() for r in rows]
    loss = loss_of(name, made(name), rows)
    assert loss.ndim == 0 and loss.isfinite()
    grads = [g for g in torch.autograd.grad(loss, rows, allow_unused=True) if g is not None]
    assert grads and all(g.isfinite().all() for g in grads)
    assert kind == "equal" or any(g.any() for g in grads)


@pytest.mark.parametrize("name", sorted(set(OFFERED) - DRAWS))
def test_order_of_items_changes_nothing(name):
    order = torch.randperm(N)
    loss = loss_of(name, made(name), views(name))
    turned = loss_of(name, made(name), [row[order] for row in views(name)], **more(name, order))
    torch.testing.assert_close(turned, loss, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(set(OFFERED) - {"depict"}))  # whose targets move with what is trained
def test_training_lowers_the_loss(name):
    """Rows that a linear map makes of noisy items; fifty steps should help."""
    objective, rows = made(name), views(name, 0.5)
    torch.manual_seed(3)
    weight = torch.randn(D, D).mul(0.3).requires_grad_()
    optimizer = torch.optim.Adam([weight, *objective.parameters()], lr=0.02)
    goal = torch.randn(D, D)

    def loss():
        if name in REGRESSION:
            return loss_of(name, objective, [rows[0] @ weight, rows[0] @ goal])
        return loss_of(name, objective, [row @ weight for row in rows])

    before = loss().item()
    for _ in range(50):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert loss().item() < before


def good_rows(name):
    """Rows as the objective wants them: apart from item to item, or as the labels say."""
    count = VIEWS.get(name, 2)
    if name == "unicon":  # inliers together, outliers apart
        return [torch.ones(N, D) + 0.1 * torch.randn(N, D) for _ in range(2)] + [torch.randn(N, D)] * 2
    if name == "supremix":  # along an arc, in order
        angle = 3 * LABELS[name]
        item = torch.stack([angle.cos(), angle.sin()], dim=1) @ torch.eye(2, D)
    elif name in LABELS:
        item = torch.eye(D)[CLASSES]
    else:
        item = F.normalize(torch.randn(N, D), dim=1) * D**0.5
    return [item + 0.01 * torch.randn(N, D) for _ in range(count)]


@pytest.mark.parametrize("name", sorted(set(OFFERED) - REGRESSION - {"groco"}))  # these leave it to the composer
def test_collapse_costs_more_than_good_rows(name):
    """Equal rows against good ones, after prototypes, heads and queues had thirty steps to settle on either."""
    torch.manual_seed(4)
    good, found = good_rows(name), {}
    for kind, rows in (("good", good), ("equal", [torch.ones(N, D) for _ in good])):
        objective = made(name)
        optimizer = torch.optim.Adam([*objective.parameters(), torch.zeros(1, requires_grad=True)], lr=0.05)
        for _ in range(30):
            optimizer.zero_grad()
            loss = loss_of(name, objective, rows)
            if loss.requires_grad:
                loss.backward()
                optimizer.step()
            if hasattr(objective, "after_step"):
                objective.after_step()
        found[kind] = loss_of(name, objective, rows).item()
    assert found["good"] < found["equal"]


@pytest.mark.parametrize("name", OFFERED)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_rows_are_compared_in_single(name, dtype):
    """A softmax at temperature 0.05 has exponents up to 20, which float16 cannot hold."""
    options = SMALL.get(name, {})
    if "temperature" in OFFERED[name].load().__init__.__annotations__:
        options = options | {"temperature": 0.05}

    class Compare(Method):
        def __init__(self):
            torch.manual_seed(0)
            super().__init__(None, None, OFFERED[name].load()(**options), D)

    rows = [row.to(dtype) for row in views(name)]
    for context in (torch.autocast("cpu", dtype=torch.bfloat16), torch.autocast("cpu", enabled=False)):
        with context:
            torch.manual_seed(2)
            half = Compare().compare(*rows, **more(name))
        torch.manual_seed(2)
        single = Compare().compare(*(row.float() for row in rows), **more(name))
        assert half.dtype is torch.float32 and half.isfinite()
        torch.testing.assert_close(half, single)


@pytest.mark.parametrize("name", [n for n in OFFERED if hasattr(OFFERED[n].load(), "after_step")])
def test_goes_on_from_its_state(name):
    """Saved after two steps and loaded elsewhere: the next losses are the same, bit for bit."""
    objective, other = made(name), made(name)
    for parameter in other.parameters():
        parameter.data.add_(1)

    def step(one, seed):
        torch.manual_seed(seed)
        loss = one(*(row + seed for row in views(name)), **more(name))
        one.after_step()
        return loss

    for seed in range(2):
        step(objective, seed)
    other.load_state_dict(objective.state_dict())
    assert [step(objective, s).item() for s in (2, 3)] == [step(other, s).item() for s in (2, 3)]


@pytest.mark.parametrize("name", OFFERED)
def test_a_trial_on_a_copy_leaves_no_trace(name):
    objective = made(name)
    before = deepcopy(objective.state_dict())
    loss_of(name, deepcopy(objective), views(name))
    assert all(torch.equal(before[key], value) for key, value in objective.state_dict().items())
    assert not any(getattr(module, "held", None) for module in objective.modules())


@pytest.mark.parametrize("name", [n for n in OFFERED if n not in LABELS and n != "unicon"])
def test_evaluation_changes_no_state(name):
    objective = made(name).eval()
    before = deepcopy(objective.state_dict())
    with torch.no_grad():
        loss_of(name, objective, views(name))
    if hasattr(objective, "after_step"):
        assert not any(getattr(module, "held", None) for module in objective.modules())
    assert all(torch.equal(before[key], value) for key, value in objective.state_dict().items())


@pytest.mark.parametrize("name", OFFERED)
def test_a_step_never_waits_for_the_device(name):
    """On tensors without values, whatever asks for one (`.item()`, a boolean index, `unique`) raises an error."""
    objective, mode = made(name), FakeTensorMode()
    for module in objective.modules():
        for held in (module._parameters, module._buffers):
            held.update({key: mode.from_tensor(tensor) for key, tensor in held.items()})
    with mode:
        rows = [torch.randn(N, D, requires_grad=True) for _ in range(VIEWS.get(name, 2))]
        labels = {"labels": torch.zeros(N, dtype=LABELS[name].dtype)} if name in LABELS else {}
        objective(*rows, **labels).backward()
        if hasattr(objective, "after_step"):
            objective.after_step()
    assert any(row.grad is not None for row in rows)
