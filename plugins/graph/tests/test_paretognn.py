"""ParetoGNN: one encoder for all tasks, and gradients that oppose no task."""
import pytest
import torch

from ssl_core.objectives.infonce import NTXent
from ssl_graph.encoders import GCN
from ssl_graph.graphs import checked
from ssl_graph.methods.paretognn import TASKS, ParetoGNN
from ssl_graph.methods.pretext import Same


@pytest.fixture
def graph():
    torch.manual_seed(0)
    return checked(torch.rand(50, 6) + 0.1, torch.randint(50, (2, 150)), where="test")


def flat(grads):
    return torch.cat([torch.zeros(0)] + [g.flatten() for g in grads if g is not None])


def made(**options):
    torch.manual_seed(1)
    return ParetoGNN(GCN(6, 8), Same(), NTXent(0.3), projector=(8,), **options)


def gradients(method, graph):
    """What the mixed loss and each task ask of the encoder."""
    torch.manual_seed(2)
    losses = method.step(graph)
    return {name: flat(torch.autograd.grad(loss, [*method.encoder.parameters()], retain_graph=True, materialize_grads=True))
            for name, loss in losses.items()}


def test_all_tasks_share_one_encoder(graph):
    method = made()
    assert set(method.tasks) == set(TASKS)
    assert all(task.encoder is method.encoder for task in method.tasks.values())
    losses = method.step(graph)
    assert set(losses) == {"loss", *TASKS}
    torch.testing.assert_close(losses["loss"], sum(losses[name] for name in TASKS))


def test_the_mixture_serves_every_task_alike(graph):
    """Weights found on gradients of one length and put on losses of any size let the largest win."""
    found = gradients(made(), graph)
    mixed = found.pop("loss")
    served = torch.stack([torch.cosine_similarity(mixed, own, dim=0) for own in found.values()])
    assert served.min() > 0
    used = served < served.min() + 0.02  # of the shortest vector of a hull, all used corners are equally far
    assert used.sum() >= 2
    lengths = [own.norm() for own in found.values()]
    assert max(lengths) > 100 * min(lengths), "the case that matters"
    plain = gradients(made(mixer="sum"), graph)["loss"]
    largest = max(found.values(), key=torch.norm)
    assert torch.cosine_similarity(plain, largest, dim=0) > 0.9 > torch.cosine_similarity(mixed, largest, dim=0)


def test_two_tasks_by_hand(graph):
    """Of two gradients made equally long, the shortest mixture is their bisector."""
    found = gradients(made(tasks=("belong", "contrast")), graph)
    a, b = found["belong"], found["contrast"]
    plain = (a / a.norm() + b / b.norm()) / 2 * (a.norm() + b.norm()) / 2
    torch.testing.assert_close(found["loss"], plain, atol=1e-6, rtol=1e-4)


def test_heads_learn_from_their_own_task_alone(graph):
    method = made()
    head = method.tasks["belong"].discriminator.between.weight
    torch.manual_seed(2)
    losses = method.step(graph)
    mixed, own = (torch.autograd.grad(losses[name], head, retain_graph=True)[0] for name in ("loss", "belong"))
    torch.testing.assert_close(mixed, own)


def test_options_are_checked():
    with pytest.raises(ValueError, match="did you mean 'link'"):
        made(tasks=("links",))
    with pytest.raises(ValueError, match="one or more"):
        made(tasks=())
